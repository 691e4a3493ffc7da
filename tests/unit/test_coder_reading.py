"""What is read from a contract: words, fields, English, YAML and JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.agents.coder.contract import find_contract, read_contract
from dispatch_runner.agents.coder.fields import parse_field
from dispatch_runner.agents.coder.prose import read_prose
from dispatch_runner.agents.coder.spec import FieldSpec, FieldType
from dispatch_runner.agents.coder.types import type_of_name, type_of_phrase
from dispatch_runner.agents.coder.words import base_verb, constant, identifier, pascal, singular


def spelled(type_: FieldType | None) -> str:
    """A type in short: `list[float]?`."""
    if type_ is None:
        return "nothing"
    inner = (
        f"[{spelled(type_.item)}]"
        if type_.item
        else f"{list(type_.values)}"
        if type_.values
        else ""
    )
    return f"{type_.base}{inner}{'?' if type_.optional else ''}"


def shown(fields: list[FieldSpec]) -> dict[str, str]:
    return {field.name: spelled(field.type) for field in fields}


@given(st.text())
def test_every_text_gives_an_identifier_a_class_part_and_a_constant(text):
    assert identifier(text).isidentifier()
    assert identifier(text).isascii()
    assert f"Node{pascal(text)}".isidentifier()
    assert constant(text).isidentifier()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("HTTPFetch URL", "http_fetch_url"),
        ("sha256_hash", "sha256_hash"),
        ("from", "from_"),
        ("json", "json_"),
        ("str", "str_"),
        ("3 things", "n_3_things"),
        ("model_config", "config"),
        ("model_name", "model_name"),
        ("", "value"),
        ("Größe", "groe"),
    ],
)
def test_identifiers_are_safe_in_a_model(text, name):
    assert identifier(text) == name


def test_verbs_and_nouns_get_their_plain_form():
    verbs = {
        "fetches": "fetch",
        "queries": "query",
        "stores": "store",
        "has": "have",
        "process": "process",
    }
    nouns = {
        "queries": "query",
        "boxes": "box",
        "status": "status",
        "urls": "url",
        "addresses": "address",
    }

    assert {word: base_verb(word) for word in verbs} == verbs
    assert {word: singular(word) for word in nouns} == nouns


@pytest.mark.parametrize(
    ("phrase", "type_"),
    [
        ("str", "str"),
        ("list[str]", "list[str]"),
        ("list of integers", "list[int]"),
        ("dict[str, int]", "dict[int]"),
        ("Optional[float]", "float?"),
        ("UUID | None", "UUID?"),
        ("an array of objects", "list[dict[json]]"),
        ("one of low, medium or high", "enum['low', 'medium', 'high']"),
        ("Any", "json"),
        ("the colour of the sky", "nothing"),
    ],
)
def test_a_phrase_spells_a_type(phrase, type_):
    assert spelled(type_of_phrase(phrase)) == type_


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("row_count", "int"),
        ("timeout_seconds", "float"),
        ("is_valid", "bool"),
        ("created_at", "datetime"),
        ("due_date", "date"),
        ("tags", "list[str]"),
        ("quality_scores", "list[float]"),
        ("status", "str"),
        ("headers", "dict[str]"),
        ("counts_by_outcome", "dict[int]"),
        ("embedding", "list[float]"),
        ("session_id", "str"),
    ],
)
def test_a_name_has_its_usual_type(name, type_):
    assert spelled(type_of_name(name)) == type_


@pytest.mark.parametrize(
    ("phrase", "name", "type_", "default", "bounds"),
    [
        ("an optional limit (1 to 100, default 10)", "limit", "int", 10, {"ge": 1, "le": 100}),
        ("`tags`: list[str] - what it is about", "tags", "list[str]", None, {}),
        (
            "severity (one of info, error; default info)",
            "severity",
            "enum['info', 'error']",
            "info",
            {},
        ),
        ("retries: int = 3", "retries", "int", 3, {}),
        ("number of rows", "row_count", "int", None, {}),
        ("whether it is valid", "is_valid", "bool", None, {}),
        ("x (>= 0)", "x", "float", None, {"ge": 0}),
        ("text (string, non-empty)", "text", "str", None, {"min_length": 1}),
        ("optional filters", "filters", "dict[json]?", None, {}),
        ("list of quality scores", "quality_scores", "list[float]", None, {}),
        ("limit (5 to 10, default 99)", "limit", "int", 99, {}),
        ("port (10 to 1)", "port", "int", None, {}),
    ],
)
def test_a_phrase_is_a_field(phrase, name, type_, default, bounds):
    field = parse_field(phrase)

    assert field is not None
    assert (field.name, spelled(field.type), field.default) == (name, type_, default)
    assert dict(field.bounds) == bounds


def test_a_clause_of_many_words_is_no_field():
    assert parse_field("everything that the user might ever want to know about it") is None


def test_running_text_gives_what_is_taken_and_what_is_returned():
    reading = read_prose(
        "Effect node that fetches a web page over HTTP with url and timeout_seconds and returns "
        "status_code, body and headers. Retries up to 4 times."
    )

    assert reading.name == "FetchWebPage"
    assert shown(reading.input_fields) == {"url": "str", "timeout_seconds": "float"}
    assert shown(reading.output_fields) == {
        "status_code": "int",
        "body": "str",
        "headers": "dict[str]",
    }
    assert reading.retry.max_attempts == 5


def test_clauses_after_an_enumeration_are_no_fields():
    reading = read_prose(
        "Takes a SQL query string and a list of parameters, executes it, and returns rows."
    )

    assert shown(reading.input_fields) == {"sql_query": "str", "parameters": "list[str]"}
    assert shown(reading.output_fields) == {"rows": "list[dict[json]]"}


@pytest.mark.parametrize(
    "text",
    [
        "Inputs:\n- url: str\n- depth (int)\nOutputs:\n- found: bool",
        "## Inputs\n\n* `url` (string)\n* `depth`: int\n\n## Outputs\n\n* `found`: bool\n",
        "Input: url (str), depth (int). Output: found (bool).",
        "It takes url and depth (int) and returns found.",
    ],
)
def test_sections_bullets_headings_and_sentences_say_the_same(text):
    reading = read_prose(text)

    assert shown(reading.input_fields) == {"url": "str", "depth": "int"}
    assert shown(reading.output_fields) == {"found": "bool"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NodePageFetchEffect gets pages", "PageFetch"),
        ("make node_page_fetch_effect", "PageFetch"),
        ("An Effect node called page-fetch", "PageFetch"),
        ("Slack notification effect", "SlackNotification"),
        ("Compute node that parses JSON text into an object", "ParseJsonText"),
        ("Orchestrates user onboarding", "UserOnboarding"),
        ("", ""),
    ],
)
def test_a_name_is_found_in_the_text(text, name):
    assert read_prose(text).name == name


@pytest.mark.parametrize(
    ("text", "inputs", "outputs"),
    [
        (
            (
                "Given an outcome (a JSON object) and a list of criteria (each an object with field and value), it evaluates "
                "every criterion and returns whether all required ones passed and the matched_criteria."
            ),
            {"outcome": "dict[json]", "criteria": "list[dict[json]]"},
            {"all_required_passed": "bool", "matched_criteria": "list[str]"},
        ),
        (
            "Inputs: a (int). Outputs: b (int). It combines two readings of the same thing and gives up after 10 seconds.",
            {"a": "int"},
            {"b": "int"},
        ),
        (
            "Takes a (int); returns success (bool) and an optional error text. Two runs give the same result.",
            {"a": "int"},
            {"success": "bool", "error": "str?"},
        ),
        (
            "### Inputs\n* offset: integer >= 0\n### Outputs\n* id: UUID or null",
            {"offset": "int"},
            {"id": "UUID?"},
        ),
        (
            "Takes text. Returns the length of the output text as size (int) and average_length",
            {"text": "str"},
            {"size": "int", "average_length": "float"},
        ),
    ],
)
def test_what_is_said_of_other_things_is_no_field(text, inputs, outputs):
    reading = read_prose(text)

    assert shown(reading.input_fields) == inputs
    assert shown(reading.output_fields) == outputs


def test_the_node_that_carries_out_a_step_is_its_target_and_no_part_of_its_name():
    text = "Steps:\n1. fetch_page (NodeWebPageFetchEffect)\n2. store_page"
    running = "First it fetches the page with NodeWebPageFetchEffect, then it is stored."

    assert [(step.name, step.target) for step in read_prose(text).steps] == [
        ("fetch_page", "NodeWebPageFetchEffect"),
        ("store_page", ""),
    ]
    assert read_prose(running).steps[0].target == "NodeWebPageFetchEffect"


@pytest.mark.parametrize(
    "text",
    [
        "Steps:\n- fetch: gets, and keeps, a page\n- read: NodeReadCompute, needs fetch\n- keep: needs fetch",
        "It calls NodeFetchEffect. Then NodeReadCompute and NodeKeepEffect in parallel.",
    ],
)
def test_steps_side_by_side_need_the_same_one(text):
    steps = read_prose(text, "Orchestrator").steps

    assert [(step.name, step.needs) for step in steps] == [
        ("fetch", ()),
        ("read", ("fetch",)),
        ("keep", ("fetch",)),
    ]


def test_a_step_may_need_several():
    text = "Steps: load, logs (after load), metrics (after load), bundle (after logs and metrics), publish."

    assert [(step.name, step.needs) for step in read_prose(text).steps] == [
        ("load", ()),
        ("logs", ("load",)),
        ("metrics", ("load",)),
        ("bundle", ("logs", "metrics")),
        ("publish", ("bundle",)),
    ]


def test_arrows_join_steps_of_several_words():
    steps = read_prose("build loop: closing out -> verifying it -> filling. Takes x.").steps

    assert [step.name for step in steps] == ["closing_out", "verifying", "filling"]


def test_a_choice_that_is_named_by_what_it_may_be_is_an_input():
    reading = read_prose("operation is one of start, stop; it is one of many. outputs are healthy")

    assert shown(reading.input_fields) == {"operation": "enum['start', 'stop']"}
    assert shown(reading.output_fields) == {"healthy": "bool"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Times out after 5 seconds", 5.0),
        ("with a timeout of 250 ms", 0.25),
        ("it gives up after 2 minutes", 120.0),
        ("looks for entries within 10 seconds of each other", None),
    ],
)
def test_the_limit_of_a_try_is_read(text, seconds):
    assert read_prose(text).retry.timeout_seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "first validates the order, then charges the card, and finally sends a receipt",
        "validate_order -> charge_card -> send_receipt",
        "Steps:\n1. Validate the order\n2. Charge the card\n3. Send a receipt",
        "Runs validate order, charge card and send receipt in order.",
        "First, validate the order; second, charge the card; finally, send a receipt.",
        "Does this: 1) validate the order 2) charge the card 3) send a receipt",
    ],
)
def test_steps_are_read_in_order(text):
    steps = read_prose(text).steps

    assert [step.name for step in steps] == ["validate_order", "charge_card", "send_receipt"]
    assert [step.needs for step in steps] == [(), ("validate_order",), ("charge_card",)]


def test_a_state_machine_in_sentences_is_read():
    reading = read_prose(
        "It starts in draft. draft becomes sent on send; sent becomes done on accept; sent becomes draft on return. "
        "Emits notify_author when it is done or draft."
    )

    assert reading.machine is not None
    assert reading.machine.initial == "draft"
    assert [(t.source, t.trigger, t.target) for t in reading.machine.transitions] == [
        ("draft", "send", "sent"),
        ("sent", "accept", "done"),
        ("sent", "return_", "draft"),
    ]
    assert [(rule.name, rule.words) for rule in reading.intents] == [
        ("notify_author", "when it is done or draft")
    ]


def test_a_state_machine_and_intents_are_read():
    reading = read_prose(
        "States: idle, running, done. idle -> running on start, running -> done on finish. "
        "Emits a report_ready intent when the count reaches 3."
    )

    assert reading.machine is not None
    assert (reading.machine.initial, reading.machine.final) == ("idle", ("done",))
    assert [(t.source, t.trigger, t.target) for t in reading.machine.transitions] == [
        ("idle", "start", "running"),
        ("running", "finish", "done"),
    ]
    assert [(rule.name, rule.condition) for rule in reading.intents] == [
        ("report_ready", ("count", ">=", "3"))
    ]


CONTRACT = """name: node_page_fetch_effect
node_type: EFFECT_GENERIC
contract_version: {major: 1, minor: 0, patch: 0}
input_model: {name: ModelPageRequest, module: web.models}
output_model: ModelPage
"""


@pytest.mark.parametrize(
    "text",
    [
        CONTRACT,
        f"Please make this node:\n\n```yaml\n{CONTRACT}```\nThanks!",
        f"Please make this node.\n\n{CONTRACT}",
        (
            '{"name": "node_page_fetch_effect", "node_type": "EFFECT", "input_model": "ModelPageRequest",'
            ' "output_model": "web.models.ModelPage"}'
        ),
    ],
)
def test_a_contract_is_found_wherever_it_stands(text):
    contract = find_contract(text)

    assert contract is not None
    reading = read_contract(contract)
    assert (reading.name, reading.node_type) == ("PageFetch", "Effect")
    assert (reading.input_model, reading.output_model) == ("ModelPageRequest", "ModelPage")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Effect node: fetches things",
        "name: only",
        "- a\n- b",
        "name: [\nnode_type: x",
        "[" * 50_000,
        "a: " * 9_999,
    ],
)
def test_what_is_no_contract_is_none(text):
    assert find_contract(text) is None


def test_the_fields_of_a_json_schema_keep_types_limits_and_defaults():
    reading = read_contract(
        {
            "input_schema": {
                "required": ["url"],
                "properties": {
                    "url": {"type": "string", "minLength": 1},
                    "depth": {"type": "integer", "minimum": 0, "maximum": 9, "default": 2},
                    "mode": {"enum": ["fast", "full"]},
                    "seen": {"type": "array", "items": {"type": "string", "format": "uuid"}},
                    "score": {"type": ["number", "null"]},
                },
            }
        }
    )

    assert shown(reading.input_fields) == {
        "url": "str",
        "depth": "int",
        "mode": "enum['fast', 'full']?",
        "seen": "list[UUID]?",
        "score": "float?",
    }
    by_name = {field.name: field for field in reading.input_fields}
    assert by_name["depth"].default == 2
    assert dict(by_name["depth"].bounds) == {"ge": 0, "le": 9}
    assert dict(by_name["url"].bounds) == {"min_length": 1}


def test_present_day_spellings_of_lists_and_operations_are_read():
    reading = read_contract(
        {
            "input_model": "ModelX",
            "definitions": {
                "ModelX": {
                    "type": "object",
                    "properties": {
                        "names": {"type": "array", "item_type": "string", "default_factory": "list"}
                    },
                }
            },
            "operations": [{"name": "look", "input_fields": ["names"], "output_fields": ["found"]}],
        }
    )

    assert shown(reading.input_fields) == {"names": "list[str]"}
    assert reading.input_fields[0].default == ()
    assert [operation.name for operation in reading.operations] == ["look"]


def test_a_contracts_own_description_tells_no_intents_and_steps_only_in_order():
    reading = read_contract(
        {"description": "Runs a -> b. Emits registration intents. Coordinates x, y and z."}
    )

    assert (reading.intents, reading.steps) == ([], [])


def test_a_type_that_is_defined_elsewhere_is_an_open_point():
    reading = read_contract(
        {"io_operations": [{"operation": "go", "input_fields": [{"x": "ModelX"}]}]}
    )

    assert shown(list(reading.operations[0].input_fields)) == {"x": "dict[json]"}
    assert [point.where for point in reading.open_points] == ["x"]


def test_steps_listed_before_what_they_need_are_put_in_order():
    steps = [{"name": "b", "depends_on": ["a"]}, {"name": "a", "depends_on": []}]

    assert [step.name for step in read_contract({"steps": steps}).steps] == ["a", "b"]


def test_a_cycle_of_steps_is_said_and_does_not_hang():
    steps = [{"name": "a", "depends_on": ["b"]}, {"name": "b", "depends_on": ["a"]}]
    reading = read_contract({"steps": steps})

    assert [(step.name, step.needs) for step in reading.steps] == [("a", ()), ("b", ("a",))]
    assert "cycle" in reading.warnings[0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_no_value_in_a_contract_is_too_strange(value):
    keys = ("inputs", "output_state", "steps", "io_operations", "state_transitions", "intents", "name", "description",
            "input_model", "definitions", "error_handling", "node_type")  # fmt: skip

    read_contract(dict.fromkeys(keys, value))
