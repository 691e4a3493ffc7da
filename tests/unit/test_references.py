"""References between tasks: found, read, replaced."""

from typing import Any

import pytest

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.references import Reference, find, has_references, resolve

OUTPUTS: dict[str, dict[str, Any] | None] = {
    "a": {"file": "x.py", "size": 3, "list": [{"n": 1}, 2], "none": None, "a.b": True, "0": "zero"},
    "a.output.b": {"file": "longer id"},
    'odd } "id': {"n": 1},
    "with space": {"n": 2},
    "failed": None,
    "empty": {},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${tasks.a.output}", OUTPUTS["a"]),
        ("${tasks.a.output.size}", 3),
        ("${tasks.a.output.none}", None),
        ("${tasks.a.output.list.0.n}", 1),
        ("${tasks.a.output.list[1]}", 2),
        ('${tasks.a.output["a.b"]}', True),
        ("${tasks.a.output.0}", "zero"),
        ("${tasks.with space.output.n}", 2),
        ('${tasks["with space"].output.n}', 2),
        ('${tasks["odd } \\"id"].output.n}', 1),
        ("${tasks.a.output.b.output.file}", "longer id"),
        ("size ${tasks.a.output.size}, ${tasks.a.output.file}", "size 3, x.py"),
        ("${tasks.a.output.list}!", '[{"n":1},2]!'),
        ("${tasks.a.output.none} ", "null "),
        ("$${tasks.a.output}", "${tasks.a.output}"),
        ("a $${HOME} ${HOME} $HOME ${taskset.x}", "a ${HOME} ${HOME} $HOME ${taskset.x}"),
        ("no reference", "no reference"),
    ],
)
def test_reference_becomes_its_value(text: str, value: Any) -> None:
    assert resolve(text, OUTPUTS) == value


def test_references_are_replaced_in_values_only_and_the_input_is_kept() -> None:
    given = {"${tasks.a.output}": [{"deep": "${tasks.a.output.size}"}], "plain": 1}
    assert resolve(given, OUTPUTS) == {"${tasks.a.output}": [{"deep": 3}], "plain": 1}
    assert given["${tasks.a.output}"] == [{"deep": "${tasks.a.output.size}"}]


def test_resolved_text_is_data_and_is_not_read_again() -> None:
    outputs = {"a": {"text": "${tasks.b.output.secret}"}, "b": {"secret": "s"}}
    assert resolve("${tasks.a.output.text}", outputs) == "${tasks.b.output.secret}"
    assert resolve("<${tasks.a.output.text}>", outputs) == "<${tasks.b.output.secret}>"


def test_values_are_copies_so_that_agents_share_nothing() -> None:
    outputs = {"a": {"list": [1]}}
    resolve({"x": "${tasks.a.output.list}"}, outputs)["x"].append(2)
    assert outputs == {"a": {"list": [1]}}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("${tasks.a.output.fiel}", "output of 'a' has no 'fiel'; it has 'file', 'size'", "'file'"),
        ("${tasks.a.output.list.2}", "output of 'a' at 'list' has no '2'; it is a list of 2", None),
        ("${tasks.a.output.list.x}", "it is a list of 2", None),
        ("${tasks.a.output.list[-1]}", "malformed", "write ${tasks"),
        ("${tasks.a.output.size.x}", "at 'size' has no 'x'", None),
        ("${tasks.empty.output.x}", "it is empty", None),
        ("${tasks.failed.output.x}", "task 'failed' has no output", None),
        ("${tasks.unknown.output}", "names no task", None),
        ("${tasks.a.outputs}", "malformed", "write ${tasks"),
    ],
)
def test_what_is_not_there_is_explained(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(AgentError) as caught:
        resolve([text], OUTPUTS)
    assert message in caught.value.message
    assert (hint is None) == (caught.value.hint is None)
    assert hint is None or hint in str(caught.value.hint)
    assert not caught.value.retryable
    assert caught.value.type is ErrorType.INVALID_INPUT


def test_keys_that_exist_are_in_the_details_and_bounded() -> None:
    outputs = {"a": {f"key{n}": n for n in range(1000)}}
    with pytest.raises(AgentError, match="and 980 more") as caught:
        resolve("${tasks.a.output.x}", outputs)
    assert caught.value.details["keys"] == [f"key{n}" for n in range(20)]


@pytest.mark.parametrize(
    "text",
    [
        "${tasks.a.output",
        "${tasks.a}",
        "${tasks}",
        "${tasks.output}",
        "${tasks..output}",
        "${tasks.a.output.}",
        "${tasks.a.output..x}",
        "${tasks.a.output[x]}",
        '${tasks.a.output["x}',
        '${tasks[""].output}',
        '${tasks["\\x"].output}',
        "${ tasks.a.output }",
        "${task.a.output}",
        "${Tasks.a.output}",
        "${tasks." + "a" * 201 + ".output}",
        "${tasks.a.output." + "a" * 1000 + "}",
    ],
)
def test_malformed_reference_is_refused_not_passed_on(text: str) -> None:
    (reference,) = find(text)
    with pytest.raises(ValueError, match="malformed"):
        reference.target({"a"})


def test_find_gives_places_in_order_and_whole_strings() -> None:
    value = {"x": ["-", "${tasks.a.output}"], "y": "${tasks.b.output.k} and ${tasks.c.output}"}
    found = find(value)
    assert [(it.location, it.text, it.whole) for it in found] == [
        (("x", 1), "${tasks.a.output}", True),
        (("y",), "${tasks.b.output.k}", False),
        (("y",), "${tasks.c.output}", False),
    ]
    assert found[1].target({"b"}) == ("b", ("k",))
    assert found[1].target({"a"}) is None


def test_longest_known_id_wins() -> None:
    (reference,) = find("${tasks.a.output.b.output.c}")
    assert reference == Reference(
        (),
        "${tasks.a.output.b.output.c}",
        (("a.output.b", ".c"), ("a", ".b.output.c")),
        whole=True,
    )
    assert reference.target({"a", "a.output.b"}) == ("a.output.b", ("c",))
    assert reference.target({"a"}) == ("a", ("b", "output", "c"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${", True),
        ({"a": [1, {"b": "x ${y}"}]}, True),
        ({"${tasks.a.output}": "key"}, False),
        (["$", "{", 1, None, True], False),
        ({}, False),
    ],
)
def test_has_references_looks_at_values_only(value: Any, expected: bool) -> None:
    assert has_references(value) is expected


def test_deep_nesting_is_survived() -> None:
    value: Any = "${tasks.a.output.size}"
    for _ in range(100_000):
        value = [value]
    assert has_references(value)
    assert len(find(value)[0].location) == 100_000
    resolved = resolve(value, OUTPUTS)
    for _ in range(100_000):
        resolved = resolved[0]
    assert resolved == 3


@pytest.mark.parametrize(
    "text",
    [
        "${tasks" * 200_000,
        '${tasks["\\"' * 100_000,
        "${tasks." + ".output" * 100_000 + "}",
        ("${tasks." + ".output" * 130 + "}") * 200,
    ],
)
@pytest.mark.timeout(5)
def test_hostile_text_takes_linear_time(text: str) -> None:
    assert all(reference.target(()) is None for reference in find(text) if reference.readings)


def test_copies_of_copies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatch_runner.references.MAX_RESOLVED_BYTES", 1_000)
    outputs = {"a": {"text": "x" * 400}}
    assert len(resolve("${tasks.a.output.text}-${tasks.a.output.text}", outputs)) == 801
    with pytest.raises(AgentError, match="larger than 1000 bytes"):
        resolve(["${tasks.a.output.text}"] * 3, outputs)


def test_output_that_is_too_deep_to_copy_is_an_error_value() -> None:
    deep: Any = 1
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(AgentError, match="cannot be copied"):
        resolve("${tasks.a.output}", {"a": {"deep": deep}})
