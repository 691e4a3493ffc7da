"""What bad input gets: exit 2, one document with all errors, nothing started, nothing written."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GOOD = '{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {}}]}'


def task(**fields):
    """The text of a request of one task with these fields changed."""
    return json.dumps({"tasks": [{"task_id": "a", "agent": "echo", "input_data": {}} | fields]})


def rejected(cli, text):
    ran = cli("-q", stdin=text, writes=())
    assert ran.code == 2, ran
    assert ran.document["status"] == "rejected"
    assert all(error["message"] for error in ran.errors)
    return ran


TEXTS = {
    "empty": (b"", "empty_document", "pipe"),
    "white space": (b" \n\t ", "empty_document", "pipe"),
    "a bare array": (b'[{"task_id": "a"}]', "not_an_object", '{"tasks": [...]}'),
    "a string": (b'"x"', "not_an_object", "tasks"),
    "encoded twice": (json.dumps(GOOD).encode(), "not_an_object", "encoded twice"),
    "a comment": (b'{// tasks\n "tasks": []}', "invalid_json", "no comments"),
    "a trailing comma": (b'{"tasks": [1,]}', "invalid_json", "trailing comma"),
    "single quotes": (b"{'tasks': []}", "invalid_json", "double quotes"),
    "a fence": (b"```json\n{}\n```", "invalid_json", "```"),
    "prose and a fence": (b"Here it is:\n```json\n{}\n```", "invalid_json", "```"),
    "truncated": (GOOD[:-3].encode(), "invalid_json", "cut off"),
    "two documents": ((GOOD * 2).encode(), "invalid_json", "one document"),
    "lines of JSON": (f"{GOOD}\n{GOOD}\n".encode(), "invalid_json", "one document"),
    "a Python literal": (b'{"tasks": None}', "invalid_json", "null"),
    "no quotes": (b"{tasks: []}", "invalid_json", '"tasks"'),
    "a missing comma": (b'{"a": 1 "b": 2}', "invalid_json", "comma"),
    "a line break in a string": (b'{"a": "x\ny"}', "invalid_json", "\\n"),
    "NaN": (task(input_data={"x": float("nan")}).encode(), "invalid_number", "null"),
    "Infinity": (task(input_data={"x": float("inf")}).encode(), "invalid_number", "null"),
    "1e999": (b'{"tasks": [], "metadata": {"x": 1e999}}', "invalid_number", "string"),
    "5,000 digits": (b'{"metadata": {"x": ' + b"9" * 5000 + b"}}", "invalid_number", "string"),
    "a key twice": (b'{"tasks": [], "tasks": []}', "duplicate_key", "one of them"),
    "a lone surrogate": (task(description="\ud800").encode(), "lone_surrogate", "pair"),
    "a NUL byte": (b'{"tasks": \x00}', "invalid_json", "NUL"),
    "nothing but NUL": (b"\x00" * 100, "invalid_json", "NUL"),
    "not UTF-8": (b'{"tasks": "\xff"}', "not_utf8", "UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "not_utf8", "UTF-8"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), "invalid_json", "UTF-8"),
    "UTF-32": (GOOD.encode("utf-32-le"), "invalid_json", "UTF-8"),
    "Latin-1": (task(description="é").encode().replace(b"\\u00e9", b"\xe9"), "not_utf8", "UTF-8"),
    "100,000 arrays": (b"[" * 100_000, "nested_too_deeply", "flatten"),
    "deep in a task": (
        b'{"tasks": [{"input_data": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}]}",
        "nested_too_deeply",
        "flatten",
    ),
    "HTML": (b"<!DOCTYPE html><html></html>", "invalid_json", ""),
    "YAML": (b"tasks:\n  - task_id: a\n", "invalid_json", "JSON"),
    "an escape sequence": (b"\x1b[31m{}", "invalid_json", ""),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_no_request_is_explained(cli, name):
    text, code, hint = TEXTS[name]
    ran = rejected(cli, text)
    assert code in ran.codes
    error = ran.errors[ran.codes.index(code)]
    assert hint in f"{error['message']} {error['hint']}"
    assert len(ran.stdout) < 4_000


def test_a_syntax_error_names_line_column_and_place(cli):
    ran = rejected(cli, b'{"tasks": [\n  {"task_id": "a",, "agent": "echo"}\n]}')
    message = ran.errors[0]["message"]
    assert "line 2, column 19" in message
    assert '{"task_id": "a",, "agent"' in message
    assert message.endswith("^")


TASKS = {
    "no tasks": ("{}", "", "tasks"),
    "an empty list": ('{"tasks": []}', "/tasks", "at least"),
    "tasks is an object": ('{"tasks": {}}', "/tasks", "list"),
    "a task is a string": ('{"tasks": ["a"]}', "/tasks/0", "object"),
    "an unknown field": (task(priorty=1), "/tasks/0/priorty", "priority"),
    "an unknown field at the top": ('{"task": []}', "/task", "tasks"),
    "an unknown config": ('{"tasks": [], "config": {"workers": 3}}', "/config/workers", ""),
    "no agent": ('{"tasks": [{"task_id": "a", "input_data": {}}]}', "/tasks/0", "agent"),
    "an unknown agent": (task(agent="ecko"), "/tasks/0/agent", "echo"),
    "auto": (task(agent="auto"), "/tasks/0/agent", ""),
    "no input": ('{"tasks": [{"task_id": "a", "agent": "echo"}]}', "/tasks/0", "input_data"),
    "input is a list": (task(input_data=[]), "/tasks/0/input_data", "object"),
    "an empty id": (task(task_id=""), "/tasks/0/task_id", ""),
    "an id of 201 characters": (task(task_id="x" * 201), "/tasks/0/task_id", "200"),
    "an id with a line break": (task(task_id="a\nb"), "/tasks/0/task_id", ""),
    "an id that is a number": (task(task_id=1), "/tasks/0/task_id", "string"),
    "a string for a number": (task(priority="1"), "/tasks/0/priority", ""),
    "a fraction for a whole number": (task(priority=1.5), "/tasks/0/priority", ""),
    "true for a number": (task(retries=True), "/tasks/0/retries", ""),
    "11 retries": (task(retries=11), "/tasks/0/retries", "10"),
    "no time": (task(timeout_seconds=0), "/tasks/0/timeout_seconds", "0"),
    "an unknown run_when": (task(run_when="any"), "/tasks/0/run_when", "all_done"),
    "an unknown limit": (task(resources={"gpu": 1}), "/tasks/0/resources/gpu", ""),
    "an unknown dependency": (task(dependencies=["b"]), "/tasks/0/dependencies/0", "'b'"),
    "itself": (task(dependencies=["a"]), "/tasks/0/dependencies/0", "itself"),
    "a wrong correlation id": (
        '{"tasks": [], "correlation_id": "x"}', "/correlation_id", "UUID"),
    "a reference to nothing": (
        task(input_data={"x": ["${tasks.b.output}"]}), "/tasks/0/input_data/x/0", "'b'"),
    "a malformed reference": (
        task(input_data={"x": "${task.a}"}), "/tasks/0/input_data/x", "tasks.ID.output"),
    "a relative lock": (task(modifies_files=["x.py"]), "/tasks/0/modifies_files/0", "absolute"),
    "a lock outside": (
        task(modifies_files=["/etc/passwd"]), "/tasks/0/modifies_files/0", "--allow-path"),
    "a command": (task(command=["rm", "-rf"]), "/tasks/0/command", ""),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_wrong_task_is_told_with_its_place_and_its_cure(cli, name):
    text, pointer, words = TASKS[name]
    ran = rejected(cli, text)
    matching = [error for error in ran.errors if error["pointer"] == pointer]
    assert matching, ran.errors
    assert words in f"{matching[0]['message']} {matching[0]['hint']}"


def test_everything_that_is_wrong_is_told_at_once(cli):
    document = {
        "tsks": 1,
        "config": {"max_workers": 0},
        "tasks": [
            cli.echo("a", ["b"]),
            cli.echo("b", ["c"]),
            cli.echo("c", ["a"]),
            cli.echo("dup"),
            cli.echo("dup"),
            cli.echo("gen-api", ["gen-modle"]),
            cli.echo("gen-model"),
            cli.task("x", "codr"),
            cli.task("y", "coder", input_data={"node_type": "Efect"}),
        ],
    }
    ran = rejected(cli, document)
    pointers = {error["pointer"] for error in ran.errors}
    assert {
        "/tsks",
        "/config/max_workers",
        "/tasks/4/task_id",
        "/tasks/5/dependencies/0",
        "/tasks/7/agent",
        "/tasks/8/input_data/node_type",
    } <= pointers
    by_code = {error["code"]: error for error in ran.errors}
    assert by_code["unknown_dependency"]["hint"] == "did you mean 'gen-model'?"
    assert by_code["unknown_dependency"]["task_id"] == "gen-api"
    assert "a -> " in by_code["cycle"]["message"]


def test_stderr_shows_the_first_errors_and_says_how_many_more(cli):
    ran = cli(stdin=[cli.task(f"t{n}", "nobody") for n in range(20)], writes=())
    assert len(ran.errors) == 20
    assert "and 15 more" in ran.stderr
    assert len(ran.stderr.splitlines()) == 6


def test_a_million_errors_are_counted_and_not_listed(cli):
    ran = rejected(cli, {"tasks": [1] * 5_000})
    assert len(ran.errors) == 1_000
    assert "4000" in " ".join(ran.document["warnings"])


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = [
    "task_id", "agent", "description", "input_data", "dependencies", "priority", "timeout_seconds",
    "retries", "estimated_seconds", "modifies_files", "resources", "run_when", "x",
]  # fmt: skip
ODD_TASK = st.dictionaries(st.sampled_from(FIELDS), ANY_JSON, max_size=6)
ODD_REQUEST = st.fixed_dictionaries(
    {"tasks": ANY_JSON | st.lists(ODD_TASK, max_size=4)},
    optional={"config": ANY_JSON, "metadata": ANY_JSON, "correlation_id": ANY_JSON},
)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ODD_REQUEST.map(json.dumps).map(str.encode) | st.binary(max_size=200))
def test_no_input_whatever_gives_anything_but_one_document(cli, text):
    ran = cli("-q", stdin=text)
    assert ran.code in {0, 1, 2}


@pytest.mark.slow
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_good_request_with_any_bytes_changed(cli, data):
    text = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    assert cli("-q", stdin=bytes(text)).code in {0, 1, 2}
