"""Whatever comes in, a request comes out or a rejection that can be followed."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dispatch_runner.errors import RequestRejected
from dispatch_runner.models import Problem
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.preflight.check import check
from dispatch_runner.preflight.document import from_object, parse
from dispatch_runner.preflight.graph import cycles, not_above, topological_order
from dispatch_runner.references import find, has_references, resolve
from dispatch_runner.testing import FixedAgents, scripted_agent

AGENTS = FixedAgents(scripted_agent("echo"))
ROOTS = AllowedRoots.of()
LIMITS = {"units": 2}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=5), values, max_size=4)

ids = st.sampled_from(["a", "b", "c", "a.output", "x y", "", "\n", "../x"])
texts = st.sampled_from(
    ["${tasks.a.output}", "x ${tasks.b.output.k}", "${tasks.q.output}", "${tasks", "$${", "plain"]
)
right_or_wrong = {
    "task_id": ids,
    "agent": st.sampled_from(["echo", "ecko"]),
    "input_data": st.dictionaries(st.text(max_size=3), texts | values, max_size=3),
    "dependencies": st.lists(ids, max_size=3),
    "depends_on": st.lists(ids, max_size=2),
    "timeout_seconds": st.sampled_from([1, 0, "1"]),
    "resources": st.dictionaries(
        st.sampled_from(["units", "unit"]), st.integers(-1, 3), max_size=2
    ),
    "modifies_files": st.lists(st.sampled_from(["/tmp/x", "/etc/x", "x"]), max_size=2),
    "surprise": values,
}
tasks = st.fixed_dictionaries(
    {}, optional={name: strategy | values for name, strategy in right_or_wrong.items()}
)
likely_tasks = st.fixed_dictionaries(
    {name: right_or_wrong[name] for name in ("task_id", "agent", "input_data", "dependencies")}
)
requests = st.fixed_dictionaries(
    {"tasks": st.lists(tasks | likely_tasks, max_size=6) | values},
    optional={"config": objects, "metadata": objects, "correlation_id": values, "extra": values},
)


def resolves(pointer: str, document: Any) -> bool:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            document = document[int(key) if isinstance(document, list) else key]
        except (LookupError, ValueError, TypeError):
            return False
    return True


def assert_well_formed(problems: list[Problem], document: Any) -> None:
    assert problems
    for problem in problems:
        assert problem.code.isidentifier()
        assert problem.message
        assert problem.hint != ""
        assert len(problem.message) < 500
        assert resolves(problem.pointer, document), problem
    orjson.dumps(problems)


@given(st.binary(max_size=60))
@example(b"\xef\xbb\xbf")
@example(b'{"a":"\\ud800"}')
@example(b'{"":1,"":2}')
@example(b'{"\\ud800":1,"\\udfff":2}')
def test_any_bytes_give_a_document_or_one_refusal(raw: bytes) -> None:
    try:
        document = parse(raw)
    except RequestRejected as rejected:
        (problem,) = rejected.problems
        assert_well_formed([problem], None)
    else:
        orjson.dumps(document.value)
        if document.problems.found:
            assert_well_formed(document.problems.found, document.value)


@given(objects, st.data())
def test_a_broken_document_is_explained_at_a_place_in_it(value: Any, data: st.DataObject) -> None:
    text = json.dumps({"k": value}, ensure_ascii=False)
    at = data.draw(st.integers(0, len(text)))
    to = data.draw(st.integers(at, len(text)))
    put = data.draw(st.sampled_from(["", ",", "'", "//", "NaN", "None", "{", "]", '"', "\\", "\0"]))
    raw = (text[:at] + put + text[to:]).encode()
    try:
        parse(raw)
    except RequestRejected as rejected:
        assert_well_formed(rejected.problems, None)


@given(objects)
def test_what_json_can_say_is_read_back_exactly(value: Any) -> None:
    document = parse(json.dumps(value).encode())
    assert document.value == value
    assert document.problems.found == []


@given(requests)
def test_any_request_is_admitted_or_rejected_with_pointers_into_it(document: Any) -> None:
    document = orjson.loads(orjson.dumps(document))
    before = orjson.dumps(document)
    try:
        checked = check(document, agents=AGENTS, roots=ROOTS, limits=LIMITS)
    except RequestRejected as rejected:
        assert_well_formed(rejected.problems, document)
    else:
        assert len(checked.request.tasks) == len(document["tasks"])
    assert orjson.dumps(document) == before


@given(objects)
def test_an_object_is_judged_like_its_text(value: Any) -> None:
    value["nan"] = float("nan")
    document, read = from_object(value), parse(json.dumps(value).encode())
    assert document.value == read.value
    assert [it.pointer for it in document.problems.found] == ["/nan"]


graphs = st.integers(1, 8).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, size - 1), max_size=3, unique=True), min_size=size, max_size=size
    ).map(lambda rows: [[to for to in row if to != at] for at, row in enumerate(rows)])
)


def reachable(dependencies: list[list[int]], start: int) -> set[int]:
    seen: set[int] = set()
    todo = list(dependencies[start])
    while todo:
        number = todo.pop()
        if number not in seen:
            seen.add(number)
            todo += dependencies[number]
    return seen


@given(graphs)
def test_cycles_are_real_and_mending_them_leaves_none(dependencies: list[list[int]]) -> None:
    found = list(cycles(dependencies))
    has_cycle = any(at in reachable(dependencies, at) for at in range(len(dependencies)))
    assert bool(found) == has_cycle
    for cycle in found:
        assert len(set(cycle)) == len(cycle) > 1
        for task, following in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert following in dependencies[task]
    mended = [list(row) for row in dependencies]
    for cycle in found:
        mended[cycle[-1]] = [it for it in mended[cycle[-1]] if it != cycle[0]]
    assert sorted(topological_order(mended)) == list(range(len(dependencies)))


@given(graphs)
def test_ancestors_agree_with_a_plain_search(dependencies: list[list[int]]) -> None:
    order = topological_order(dependencies)
    numbers = range(len(dependencies))
    pairs = [(task, target) for task in numbers for target in numbers]
    expected = [
        (task, target)
        for task, target in pairs
        if task in order and target not in reachable(dependencies, task)
    ]
    assert sorted(not_above(pairs, dependencies, order)) == expected


keys = st.text(max_size=6)


@given(st.text(min_size=1, max_size=200), st.lists(keys, max_size=4), values)
def test_any_id_and_any_path_can_be_referred_to_in_quotes(
    task_id: str, path: list[str], value: Any
) -> None:
    output = value
    for key in reversed(path):
        output = {key: output}
    steps = "".join(f"[{json.dumps(key, ensure_ascii=False)}]" for key in path)
    text = f"${{tasks[{json.dumps(task_id, ensure_ascii=False)}].output.k{steps}}}"
    assert resolve([text], {task_id: {"k": output}}) == [value]


@given(st.text(alphabet='${}tasks.output[]"\\a0 ', max_size=60))
def test_text_without_references_is_only_unescaped(text: str) -> None:
    found = find(text)
    assert has_references(text) or not found
    if not found:
        assert resolve(text, {}) == text.replace("$${", "${")


@given(values)
def test_escaped_text_survives(value: Any) -> None:
    def escaped(item: Any) -> Any:
        if isinstance(item, str):
            return item.replace("${", "$${")
        if isinstance(item, list):
            return list(map(escaped, item))
        if isinstance(item, dict):
            return {key: escaped(child) for key, child in item.items()}
        return item

    assert resolve(escaped(value), {}) == value
    assert find(escaped(value)) == []


@given(st.text(alphabet='${}tasks.output[]"\\a0 ', max_size=60))
def test_no_text_makes_a_reference_raise_anything_but_a_value_error(text: str) -> None:
    for reference in find(text):
        try:
            reference.target({"a", "0", "a.output"})
        except ValueError as error:
            assert "malformed" in str(error)  # noqa: PT017 - both outcomes are fine


@pytest.mark.parametrize("text", ["${tasks.a.output}", "<${tasks.a.output}>"])
@given(value=objects)
def test_what_an_output_says_is_never_read_as_a_reference(text: str, value: Any) -> None:
    resolved = resolve(text, {"a": value})
    assert resolved == (value if text[0] == "$" else f"<{orjson.dumps(value).decode()}>")
