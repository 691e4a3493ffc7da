"""What is generated: safe whatever the text, the same for the same, and working when it is run."""

import ast
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.agents.coder.generate import generate
from dispatch_runner.agents.coder.spec import NODE_TYPES

DATA = Path(__file__).parents[1] / "data" / "coder"
CONTRACTS = sorted(DATA.iterdir())
MODULES = frozenset(
    {"asyncio", "collections.abc", "datetime", "enum", "hashlib", "json", "math", "pydantic", "re",
     "statistics", "typing", "unicodedata", "uuid"}
)  # fmt: skip
FORBIDDEN = frozenset(
    {"eval", "exec", "compile", "__import__", "open", "getattr", "setattr", "globals"}
)
HOSTILE = (
    '"""', "'''", "\\", "\n", "\r", "\x00", "\ud800", "\u202e", "é", "{x!r}", "%s", "#", "${y}", "`rm`",
    "import os; os.system('x')", '"); eval("1', "\\N{BULLET}", " | None", "list[", "default ", "one of a, b",
    " -> ", " returns ", " takes ", "inputs:\n- ", "class", "__init__", "model_config", "name: ", "self",
)  # fmt: skip
NUMBERS = itertools.count()


def kind_of(contract: Path) -> Any:
    return contract.stem.rsplit("_", 1)[1].capitalize()


def made(text: str, node_type: Any = "Compute", **options: Any) -> str:
    return generate(text, node_type, "/x/out.py", **options).source


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Any]:
    """Imports a module that is generated from a text."""
    names: list[str] = []

    def build(text: str, node_type: str = "Compute", **options: Any) -> ModuleType:
        name = f"generated_{next(NUMBERS)}"
        path = tmp_path / f"{name}.py"
        path.write_text(made(text, node_type, **options))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        names.append(name)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    yield build
    for name in names:
        del sys.modules[name]


def check_harmless(source: str) -> None:
    """The source parses, imports only what the writers import, and calls nothing that runs text."""
    tree = ast.parse(source.encode())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module in MODULES
        assert not isinstance(node, ast.Import)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = node.func.id
            assert called not in FORBIDDEN - {"getattr"}
        if isinstance(node, ast.Name):
            assert node.id.isascii()


@given(
    st.sampled_from(NODE_TYPES),
    st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), max_size=12),
)
def test_no_text_breaks_the_source_or_gets_into_it_as_code(node_type, parts):
    check_harmless(made("".join(parts), node_type))


@given(
    st.sampled_from(CONTRACTS),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(HOSTILE)), min_size=1, max_size=6),
    st.sampled_from(NODE_TYPES),
)
def test_no_hostile_change_of_a_real_contract_does_either(contract, insertions, node_type):
    text = contract.read_text()
    for place, part in insertions:
        at = int(place * len(text))
        text = text[:at] + part + text[at:]

    check_harmless(made(text, node_type))


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "takes a, " * 120_000, "\\" * 1_000_000, '"' * 1_000_000]
)
def test_a_megabyte_of_text_gives_a_module_of_ordinary_size(text):
    source = made(text, "Effect")

    check_harmless(source)
    assert len(source) < 100_000


def test_the_text_stays_in_docstrings_and_literals():
    evil = (
        'Takes note (default """); import os; os.system("id") #) and returns x. It\'s "quoted" \\ é'
    )
    tree = ast.parse(made(evil))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert not names & {"os", "system", "id"}


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda path: path.stem)
def test_the_same_contract_gives_the_same_source(contract):
    text, node_type = contract.read_text(), kind_of(contract)

    assert made(text, node_type) == made(text, node_type)


def test_the_name_is_the_texts_else_the_one_asked_for_else_the_files():
    def class_of(text: str, **options: Any) -> str:
        source = generate(text, "Compute", "/x/node_of_file_compute.py", **options).source
        return next(word for word in source.split() if word.startswith('"""Node'))

    assert class_of("node called of_text", node_name="of_task") == '"""NodeOfTextCompute:'
    assert class_of("takes x", node_name="of_task") == '"""NodeOfTaskCompute:'
    assert class_of("takes x") == '"""NodeOfFileCompute:'


def test_a_contract_of_another_type_is_said():
    contract = "name: node_x_effect\nnode_type: EFFECT_GENERIC\ncontract_version: {major: 1}\n"

    warnings = generate(contract, "Compute", "/x/node_x_compute.py").warnings

    assert "the contract says Effect, the task asks for Compute: Compute was made" in warnings


def test_a_contract_in_a_context_file_is_used_and_other_files_are_named():
    contract = "name: node_tea_effect\nnode_type: EFFECT\ninputs:\n  leaves: int\n"
    result = generate(
        "Make the node of this contract",
        "Effect",
        "/x/o.py",
        context={"/a.md": "hello", "/c.yaml": contract},
    )

    assert "class NodeTeaEffect" in result.source
    assert "leaves: int" in result.source
    assert any("'/a.md'" in warning for warning in result.warnings)


def test_profiles_change_the_work_method_and_the_base_class():
    text = "takes text and returns word_count"

    assert "async def execute_compute(" in made(text)
    process = made(text, profile="standalone-process")
    assert "async def process_compute(" in process
    assert "async def get_health_status(" in process
    core = made(text, profile="omnibase-core")
    assert "from omnibase_core.nodes import NodeCompute" in core
    assert "(NodeCompute):" in core


# What is generated is run from here on.

COMPUTED = [
    ("takes numbers (list of floats) and returns count, mean, median and maximum", {"numbers": [1, 2, 6]},
     {"count": 3, "mean": 3.0, "median": 2.0, "maximum": 6.0}),
    ("takes text; returns word_count, line_count and length", {"text": "a b\nc"},
     {"word_count": 3, "line_count": 2, "length": 5}),
    ("Lowercases the text, trims it and collapses whitespace. Takes text, returns normalized_text",
     {"text": "  A \t b "}, {"normalized_text": "a b"}),
    ("Converts celsius to fahrenheit. Input: celsius (float). Output: fahrenheit (float)", {"celsius": 100},
     {"fahrenheit": 212.0}),
    ("sha256 hash of the content: takes content, returns digest", {"content": "abc"},
     {"digest": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}),
    ("takes a (int) and b (int); returns the product of a and b", {"a": 6, "b": 7}, {"product": 42}),
    ("Compares two objects, old and new. Returns added, removed and changed keys and whether they are equal",
     {"old": {"a": 1, "b": 2}, "new": {"b": 3, "c": 4}}, None),
    ("Filters values above limit. Takes values (list of floats) and limit (float), returns kept (list of floats)",
     {"values": [1, 5, 9], "limit": 4}, {"kept": [5.0, 9.0]}),
    ("Sorts and deduplicates. Takes names (list[str]), returns sorted_names (list[str])",
     {"names": ["b", "a", "b"]}, {"sorted_names": ["a", "b"]}),
    ("Parses JSON text. Input: text. Output: parsed (json)", {"text": '{"a": [1]}'}, {"parsed": {"a": [1]}}),
    ("Slugify titles: takes title, returns slug", {"title": "Ünder the Söfa!"}, {"slug": "under-the-sofa"}),
    ("Validates an e-mail address: takes address (str), returns is_valid", {"address": "a@b"}, {"is_valid": False}),
    (("Inputs: a_score (0 to 1), b_score (0 to 1), a_files (list of paths), b_files (list of paths). Outputs: score, the "
     "larger of a_score and b_score; files, the union of a_files and b_files; shared, the intersection of a_files and "
     "b_files"), {"a_score": 0.2, "b_score": 0.7, "a_files": ["x", "y"], "b_files": ["y", "z"]}, {"score": 0.7,
     "files": ["x", "y", "z"]}),
    ("Takes old_tags (list[str]) and new_tags (list[str]); returns added_tags (list[str]) and removed_tags (list[str])",
     {"old_tags": ["a", "b"], "new_tags": ["b", "c"]}, {"added_tags": ["c"], "removed_tags": ["a"]}),
    ("Takes score (float) and limit (float) and returns whether score is above limit", {"score": 2, "limit": 1},
     {"is_above_limit": True}),
    (("Takes output_text and failing_tests (list of names); it sorts the names and returns the SHA-256 hash of the output "
     "text as fingerprint, sorted_tests and test_count"), {"output_text": "abc", "failing_tests": ["b", "a"]},
     {"fingerprint": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "sorted_tests": ["a", "b"],
      "test_count": 2}),
    (("Receives chunk_lengths (list of ints) and a threshold (int, default 5); answers with total_length, average_length, "
     "longest_length, and oversized_lengths, only the lengths greater than threshold"), {"chunk_lengths": [2, 4, 9]},
     {"total_length": 15, "average_length": 5.0, "longest_length": 9, "oversized_lengths": [9]}),
    ("Takes left (str) and right (str); returns are_equal", {"left": "a", "right": "a"}, {"are_equal": True}),
    ("takes label and weight (float, default 2.5) and returns label and weight", {"label": "x"},
     {"label": "x", "weight": 2.5}),
]  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "given_", "expected"), COMPUTED, ids=lambda value: str(value)[:30]
)
async def test_a_compute_node_does_what_the_text_determines(load, text, given_, expected):
    module = load(text)
    node = next(value for name, value in vars(module).items() if name.startswith("Node"))
    model = next(
        value
        for name, value in vars(module).items()
        if name.startswith("Model") and name.endswith("Input")
    )

    if expected is None:
        fields = set(model.model_fields)
        assert {"old", "new"} <= fields
        expected = {"added": ["c"], "removed": ["a"], "changed_keys": ["b"], "is_equal": False}
    output = await node().execute_compute(model(**given_))

    assert {name: getattr(output, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        "Requires distinct sources. Takes sources (list[str]) and returns alerts (list[str])",
        "Trims the text. Takes text and returns summary_text",
    ],
)
def test_a_word_about_the_input_does_not_determine_an_output_of_another_kind(text):
    [point] = generate(text, "Compute", "/x/o.py").open_points

    assert point.where in {"alerts", "summary_text"}


@pytest.mark.anyio
async def test_what_the_text_does_not_determine_raises_and_is_listed(load):
    text = "takes text and returns beauty_score and word_count"
    module = load(text, node_name="beauty")

    with pytest.raises(
        NotImplementedError, match="how 'beauty_score' follows from the input is not stated"
    ):
        await module.NodeBeautyCompute().execute_compute(module.ModelBeautyInput(text="a"))
    assert [point.where for point in generate(text, "Compute", "/x/o.py").open_points] == [
        "beauty_score"
    ]


@pytest.mark.anyio
async def test_an_input_without_a_result_is_the_nodes_own_error(load):
    module = load("takes numbers (list of floats) and returns mean", node_name="mean")

    with pytest.raises(module.MeanError, match=r"\[invalid_input\] numbers is empty: no mean"):
        await module.NodeMeanCompute().execute_compute(module.ModelMeanInput(numbers=[]))


class Flaky:
    """A client that is unavailable a number of times, then answers."""

    def __init__(self, module: ModuleType, failures: int) -> None:
        self.module = module
        self.failures = failures
        self.keys: list[str] = []

    async def fetch(self, contract: Any, idempotency_key: str) -> Any:
        self.keys.append(idempotency_key)
        if len(self.keys) <= self.failures:
            raise self.module.PageUnavailableError("busy")
        return self.module.ModelPageOutput(body="hello", correlation_id=contract.correlation_id)


EFFECT = "An Effect node called page that fetches a page. Takes url and returns body."


async def run_effect(module: ModuleType, client: Flaky, waits: list[float]) -> Any:
    async def wait(seconds: float) -> None:
        waits.append(seconds)

    node = module.NodePageEffect(client, wait=wait)
    return await node.execute_effect(module.ModelPageInput(url="https://x"))


@pytest.mark.anyio
async def test_an_effect_tries_again_with_back_off_under_one_key(load):
    module, waits = load(EFFECT, "Effect"), list[float]()
    client = Flaky(module, failures=2)

    output = await run_effect(module, client, waits)

    assert output.body == "hello"
    assert waits == [0.5, 1.0]
    assert len(client.keys) == 3
    assert len(set(client.keys)) == 1


@pytest.mark.anyio
async def test_an_effect_gives_up_with_its_own_error_and_the_cause(load):
    module, waits = load(EFFECT, "Effect"), list[float]()

    with pytest.raises(module.PageError, match="gave up after 3 tries") as caught:
        await run_effect(module, Flaky(module, failures=99), waits)

    assert isinstance(caught.value.__cause__, module.PageUnavailableError)
    assert len(waits) == 2


@pytest.mark.anyio
async def test_work_that_is_not_idempotent_is_tried_once(load):
    module, client = (
        (loaded := load(f"{EFFECT} It is not idempotent.", "Effect")),
        Flaky(loaded, failures=1),
    )

    with pytest.raises(module.PageError):
        await run_effect(module, client, [])
    assert len(client.keys) == 1


class Slow(Flaky):
    """A client that never answers."""

    async def fetch(self, contract: Any, idempotency_key: str) -> Any:
        self.keys.append(idempotency_key)
        await anyio.sleep_forever()


@pytest.mark.anyio
async def test_a_try_takes_no_longer_than_the_text_says(load):
    module, waits = load(f"{EFFECT} Gives up after 10 ms. Retries once.", "Effect"), list[float]()
    client = Slow(module, failures=0)

    with pytest.raises(module.PageError, match="gave up after 2 tries") as caught:
        await run_effect(module, client, waits)

    assert isinstance(caught.value.__cause__, TimeoutError)
    assert (len(client.keys), waits) == (2, [0.5])


def test_the_limit_of_a_try_is_the_inputs_where_it_has_one():
    source = made(
        "Fetches a page. Takes url and timeout_seconds (default 30), returns body", "Effect"
    )

    assert "async with timeout(contract.timeout_seconds):" in source
    assert "async def fetch(" in source


def test_the_idempotency_key_is_of_the_work_not_of_the_dispatch(load):
    module = load(EFFECT, "Effect")
    key = module.NodePageEffect.idempotency_key

    assert key(module.ModelPageInput(url="a")) == key(module.ModelPageInput(url="a"))
    assert key(module.ModelPageInput(url="a")) != key(module.ModelPageInput(url="b"))


REDUCER = (
    "Reducer called scores. Each event carries name and score (0 to 1). State keeps count, mean_score, "
    "minimum_score and last_name. Emits an alert intent when mean_score falls below 0.5."
)


@pytest.mark.anyio
async def test_a_reducer_folds_events_and_emits_intents(load):
    module = load(REDUCER, "Reducer")
    state, alerts = module.ModelScoresState(), []
    for name, score in (("a", 0.9), ("b", 0.3), ("c", 0.0)):
        event = module.ModelScoresEvent(name=name, score=score)
        output = await module.NodeScoresReducer().execute_reduction(
            module.ModelScoresInput(state=state, event=event)
        )
        state = output.state
        alerts.append([intent.kind.value for intent in output.intents])

    assert state.count == 3
    assert state.mean_score == pytest.approx(0.4)
    assert (state.minimum_score, state.last_name) == (0.0, "c")
    assert alerts == [[], [], ["alert"]]


FEEDBACK = (
    "Reducer called feedback. Every event has pattern_id, success (bool), latency_ms (float) and note (optional). The "
    "state holds success_count, failure_count, average_latency_ms, max_latency_ms, unique_pattern_ids (list[str]) and "
    "last_note. When failure_count is at least 2 it emits a demote intent."
)


@pytest.mark.anyio
async def test_a_reducer_counts_outcomes_measures_numbers_and_waits_for_its_condition(load):
    module = load(FEEDBACK, "Reducer")
    state, demoted = module.ModelFeedbackState(), []
    for name, success, latency, note in (
        ("a", True, 1.5, "x"),
        ("b", False, 2.5, None),
        ("a", False, 2.0, None),
    ):
        event = module.ModelFeedbackEvent(
            pattern_id=name, success=success, latency_ms=latency, note=note
        )
        state, intents = module.reduce_feedback(state, event)
        demoted.append(len(intents))

    assert (state.success_count, state.failure_count) == (1, 2)
    assert (state.average_latency_ms, state.max_latency_ms) == (2.0, 2.5)
    assert (state.unique_pattern_ids, state.last_note) == (["a", "b"], "x")
    assert demoted == [0, 0, 1]


@pytest.mark.anyio
async def test_a_reducer_counts_the_events_of_one_choice(load):
    text = "Reducer called runs. Event: outcome (one of passed, failed). State: failed_count, passed_count."
    module = load(text, "Reducer")
    state = module.ModelRunsState()
    for outcome in ("passed", "failed", "failed"):
        state, _ = module.reduce_runs(state, module.ModelRunsEvent(outcome=outcome))

    assert (state.failed_count, state.passed_count) == (2, 1)


def test_a_transition_from_any_state_is_one_of_each_that_is_not_final():
    text = "Reducer called life: new -> up on start, up -> down on stop, and from any state to down on crash."
    source = made(text, "Reducer")

    assert "(EnumLifeState.NEW, EnumLifeTrigger.CRASH): EnumLifeState.DOWN" in source
    assert "(EnumLifeState.DOWN, EnumLifeTrigger.CRASH)" not in source


def test_an_intent_of_several_states_is_emitted_in_each():
    source = made(
        "Reducer called talk: new -> up on start, up -> down on stop. Emit tell when it is up or down: emits tell_all "
        "when up or down.",
        "Reducer",
    )

    assert "return state.current_state in {EnumTalkState.UP, EnumTalkState.DOWN}" in source


def test_a_state_update_is_no_intent_and_the_present_form_of_a_machine_is_read():
    contract = (
        "name: node_life_reducer\nnode_type: REDUCER_GENERIC\nstate_machine:\n  initial_state: new\n"
        "  states: [{state_name: new}, {state_name: up}]\n  transitions:\n"
        "    - {from_state: new, to_state: up, trigger: start, actions: [{action_name: mark, action_type: state_update},"
        " {action_name: announce, action_type: intent_emission}]}\n"
    )
    result = generate(contract, "Reducer", "/x/o.py")

    assert "ANNOUNCE = " in result.source
    assert "MARK = " not in result.source
    assert [point.where for point in result.open_points] == ["mark"]


def test_what_is_never_raised_or_used_is_not_written():
    assert "Error" not in made(FEEDBACK, "Reducer")
    assert "Error" not in made("takes text and returns word_count")
    assert "Error" in made("takes numbers (list of floats) and returns mean")
    assert "TARGETS" not in made("Orchestrator called order. Steps: check, pay", "Orchestrator")
    assert "TARGETS" in made(
        "Orchestrator called order. Steps: check (NodeStockEffect), pay", "Orchestrator"
    )


@pytest.mark.anyio
async def test_a_state_machine_moves_and_refuses_what_it_does_not_know(load):
    contract = (DATA / "task_lifecycle_reducer.yaml").read_text()
    module = load(contract, "Reducer")
    states, triggers = module.EnumTaskLifecycleState, module.EnumTaskLifecycleTrigger

    async def move(state: Any, trigger: Any) -> Any:
        return await module.NodeTaskLifecycleReducer().execute_reduction(
            module.ModelTaskLifecycleInput(
                state=module.ModelTaskLifecycleState(current_state=state),
                event=module.ModelTaskLifecycleEvent(trigger=trigger),
            )
        )

    started = await move(states.PENDING, triggers.WORKER_ASSIGNED)
    assert started.state.current_state == states.RUNNING
    assert [intent.kind.value for intent in started.intents] == ["start_timer"]
    assert (
        await move(states.PENDING, triggers.ERROR_OCCURRED)
    ).state.current_state == states.FAILED
    with pytest.raises(
        module.TaskLifecycleError, match="state 'failed' does not take 'error_occurred'"
    ):
        await move(states.FAILED, triggers.ERROR_OCCURRED)
    with pytest.raises(NotImplementedError, match="retry_count less_than 3"):
        await move(states.RUNNING, triggers.WORK_FAILED)


class Leases:
    """One lease; lost after a number of looks."""

    def __init__(self, module: ModuleType, looks: int = 99) -> None:
        self.lease = module.ModelOrderLease(lease_id=UUID(int=1), epoch=7)
        self.looks = looks
        self.released = 0

    async def acquire(self, correlation_id: UUID) -> Any:
        return self.lease

    async def is_current(self, lease: Any) -> bool:
        self.looks -= 1
        return self.looks >= 0

    async def release(self, lease: Any) -> None:
        self.released += 1


class Dispatcher:
    """Remembers the actions; fails at a step."""

    def __init__(self, fails_at: str = "") -> None:
        self.actions: list[Any] = []
        self.fails_at = fails_at

    async def issue(self, action: Any) -> dict[str, Any]:
        self.actions.append(action)
        if action.step.value == self.fails_at:
            raise RuntimeError("no stock")
        return {"total": len(self.actions)}


ORCHESTRATOR = (
    "Orchestrator called order. Steps: check, reserve, pay. Takes order_id. Returns completed_steps, status and "
    "total (float)."
)


async def run_order(module: ModuleType, dispatcher: Dispatcher, leases: Leases) -> Any:
    node = module.NodeOrderOrchestrator(dispatcher, leases)
    return await node.execute_orchestration(module.ModelOrderInput(order_id="o-1"))


@pytest.fixture
def anyio_backend() -> str:
    """What is generated is plain asyncio."""
    return "asyncio"


@pytest.mark.anyio
async def test_an_orchestrator_runs_its_steps_in_order_under_its_lease(load):
    module = load(ORCHESTRATOR, "Orchestrator")
    dispatcher, leases = Dispatcher(), Leases(module)

    output = await run_order(module, dispatcher, leases)

    assert output.completed_steps == ["check", "reserve", "pay"]
    assert (output.status, output.total) == ("completed", 3.0)
    assert {action.lease.epoch for action in dispatcher.actions} == {7}
    assert dispatcher.actions[1].payload["results"] == {"check": {"total": 1}}
    assert leases.released == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fails_at", "looks", "message", "issued"),
    [
        ("reserve", 99, "step 'reserve': no stock", 2),
        ("", 1, r"\[lease_lost\] before step 'reserve'", 1),
    ],
)
async def test_an_orchestrator_stops_at_a_failure_and_gives_the_lease_back(
    load, fails_at, looks, message, issued
):
    module = load(ORCHESTRATOR, "Orchestrator")
    dispatcher, leases = Dispatcher(fails_at), Leases(module, looks)

    with pytest.raises(module.OrderError, match=message):
        await run_order(module, dispatcher, leases)

    assert len(dispatcher.actions) == issued
    assert leases.released == 1


@pytest.mark.anyio
async def test_an_operation_gets_the_fields_that_it_needs(load):
    module = load((DATA / "vector_store_upsert_effect.yaml").read_text(), "Effect")

    with pytest.raises(ValueError, match="operation 'upsert_embeddings' needs: embeddings"):
        module.ModelVectorStoreRequest(operation="upsert_embeddings", collection="c", ids=["1"])
    assert module.ModelVectorStoreRequest(operation="delete_embeddings", collection="c", ids=["1"])
