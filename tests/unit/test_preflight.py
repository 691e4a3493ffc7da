"""The checks of a request: every problem at once, each with its place and how to mend it."""

import gc
from pathlib import Path
from typing import Any

import orjson
import pytest

from dispatch_runner.errors import RequestRejected
from dispatch_runner.models import Config, JsonObject, Problem, Task
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.preflight.check import Checked, check
from dispatch_runner.preflight.document import from_object, parse
from dispatch_runner.preflight.problems import MAX_PROBLEMS, Problems
from dispatch_runner.protocols import Agent, InputProblem, Role
from dispatch_runner.testing import AnyInputRole, FixedAgents, ScriptedBackend, scripted_agent

UUID = "1f0c9a52-7c1e-4b7e-9d0a-3f5b8e2c6a41"


class PickyRole(AnyInputRole):
    """Finds fault with every value that is text, and misses `wanted`."""

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        wrong = [
            InputProblem((key, 0) if isinstance(item, list) else (key,), "bad", f"bad {key}")
            for key, item in value.items()
        ]
        return [*wrong, InputProblem(("wanted",), "missing_field", "field 'wanted' is required")]


class AbsentBackend(ScriptedBackend):
    def unavailable(self, role: Role) -> str | None:
        return "program 'absent' is not installed"


AGENTS = FixedAgents(
    scripted_agent("echo"),
    scripted_agent("coder"),
    Agent("picky", PickyRole("picky"), ScriptedBackend()),
    Agent("absent", AnyInputRole("absent"), AbsentBackend()),
)
LIMITS = {"anthropic": 4, "rated": None}


def task(task_id: str = "a", **fields: Any) -> JsonObject:
    return {"task_id": task_id, "agent": "echo", "input_data": {}, **fields}


def run(document: Any, **more: Any) -> Checked:
    return check(document, agents=AGENTS, roots=AllowedRoots.of(), limits=LIMITS, **more)


def admitted(*tasks: Any, **top: Any) -> Checked:
    return run({"tasks": list(tasks), **top})


def problems(*tasks: Any, **top: Any) -> list[Problem]:
    with pytest.raises(RequestRejected) as caught:
        admitted(*tasks, **top)
    return caught.value.problems


def problem(*tasks: Any, **top: Any) -> Problem:
    (found,) = problems(*tasks, **top)
    return found


def codes(*tasks: Any, **top: Any) -> list[tuple[str, str]]:
    return [(it.code, it.pointer) for it in problems(*tasks, **top)]


def test_valid_request_is_admitted_with_everything_in_it(tmp_path: Path) -> None:
    second = task(
        "b",
        dependencies=["a"],
        input_data={"x": "${tasks.a.output.y}", "plain": "$${x}"},
        priority=-3,
        timeout_seconds=5,
        retries=0,
        estimated_seconds=0.5,
        modifies_files=[f"{tmp_path}/*.py"],
        resources={"anthropic": 4, "rated": 100},
        run_when="all_done",
        description="text",
    )
    config = {"max_workers": 3, "trace_dir": "traces", "fail_fast": True}
    top = {"config": config, "correlation_id": UUID, "metadata": {"k": [1]}, "$schema": "x"}
    checked = admitted(task("a"), second, **top)
    request = checked.request
    assert checked.warnings == []
    assert [it.task_id for it in request.tasks] == ["a", "b"]
    assert request.tasks[1] == Task(**second)
    assert request.config == Config(max_workers=3, trace_dir="traces", fail_fast=True)
    assert (request.correlation_id, request.metadata) == (UUID, {"k": [1]})


def test_minimal_request_has_defaults() -> None:
    request = admitted(task()).request
    assert request.config == Config()
    assert (request.correlation_id, request.metadata) == (None, {})


def test_all_problems_come_at_once() -> None:
    found = codes(
        task("a", dependencies=["b", "nobody"], colour=1),
        task("b", agent="nobody", dependencies=["a"], input_data={"x": "${tasks.c.output}"}),
        task("b", priority="1", resources={"nothing": 1}, modifies_files=["relative"]),
        5,
        extra=1,
        config={"retries": 11},
    )
    assert sorted(found) == sorted(
        [
            ("unknown_field", "/extra"),
            ("out_of_range", "/config/retries"),
            ("unknown_field", "/tasks/0/colour"),
            ("unknown_dependency", "/tasks/0/dependencies/1"),
            ("unknown_agent", "/tasks/1/agent"),
            ("cycle", "/tasks/1/dependencies/0"),
            ("unknown_reference", "/tasks/1/input_data/x"),
            ("duplicate_task_id", "/tasks/2/task_id"),
            ("invalid_type", "/tasks/2/priority"),
            ("unknown_limit", "/tasks/2/resources/nothing"),
            ("path_not_absolute", "/tasks/2/modifies_files/0"),
            ("invalid_type", "/tasks/3"),
        ]
    )


@pytest.mark.parametrize(
    ("field", "value", "code", "message", "hint"),
    [
        ("timeout_seconds", "5", "invalid_type", "a number, not the string '5'", "without quotes"),
        ("timeout_seconds", True, "invalid_type", "a number, not true", None),
        ("timeout_seconds", 0, "out_of_range", "greater than 0, not the number 0", None),
        ("priority", True, "invalid_type", "an integer, not true", None),
        ("priority", 5.0, "invalid_type", "an integer, not the number 5.0", "write 5"),
        ("retries", 11, "out_of_range", "10 or less, not the number 11", None),
        ("retries", -1, "out_of_range", "0 or more, not the number -1", None),
        ("description", None, "invalid_type", "a string, not null", "leave the field out"),
        ("dependencies", "b", "invalid_type", "a list, not the string 'b'", "into a list"),
        ("input_data", "{}", "invalid_type", "an object, not the string '{}'", "object itself"),
        ("run_when", "always", "invalid_value", "'all_success', 'all_done' or 'one", None),
        ("task_id", "", "out_of_range", "1 or more characters long, it has 0", None),
        ("task_id", "x" * 201, "out_of_range", "at most 200 characters long, it has 201", None),
        ("task_id", ["a"], "invalid_type", "a string, not a list", None),
    ],
)
def test_wrong_values_are_explained(
    field: str, value: Any, code: str, message: str, hint: str | None
) -> None:
    found = problem({**task(), field: value})
    assert (found.code, found.pointer) == (code, f"/tasks/0/{field}")
    assert found.message.startswith(f"'{field}' must be ")
    assert message in found.message
    assert (hint is None) == (found.hint is None)
    assert hint is None or hint in str(found.hint)
    assert found.task_id == (value if value == "" else "a" if field != "task_id" else None)


def test_items_of_a_wrong_type_are_each_reported() -> None:
    wrong = task(
        dependencies=[1, "b", None],
        modifies_files=[{}],
        resources={"anthropic": True, "rated": 0},
    )
    assert sorted(codes(wrong, task("b"))) == [
        ("invalid_type", "/tasks/0/dependencies/0"),
        ("invalid_type", "/tasks/0/dependencies/2"),
        ("invalid_type", "/tasks/0/modifies_files/0"),
        ("invalid_type", "/tasks/0/resources/anthropic"),
        ("out_of_range", "/tasks/0/resources/rated"),
    ]


@pytest.mark.parametrize("field", ["task_id", "agent", "input_data"])
def test_missing_field_is_reported_at_its_task(field: str) -> None:
    less = {key: value for key, value in task().items() if key != field}
    found = problem(less)
    assert (found.code, found.pointer) == ("missing_field", "/tasks/0")
    assert found.message == f"field '{field}' is missing"
    assert found.hint


@pytest.mark.parametrize(
    ("place", "field", "hint"),
    [
        ("task", "dependancies", "did you mean 'dependencies'?"),
        ("task", "needs", "did you mean 'dependencies'?"),
        ("task", "timeout", "did you mean 'timeout_seconds'?"),
        ("task", "max_workers", "'config'"),
        ("task", "qqq", "known fields: 'agent', 'cache'"),
        ("config", "max_worker", "did you mean 'max_workers'?"),
        ("config", "workers", "did you mean 'max_workers'?"),
        ("top", "task", "did you mean 'tasks'?"),
        ("top", "max_workers", "'config'"),
        ("top", "agent", "it belongs into a task"),
    ],
)
def test_unknown_fields_are_refused_with_what_was_meant(place: str, field: str, hint: str) -> None:
    if place == "task":
        found = problem(task(**{field: 1}))
    elif place == "config":
        found = problem(task(), config={field: 1})
    else:
        found = problem(task(), **{field: 1})
    pointer = {"task": "/tasks/0/", "config": "/config/", "top": "/"}[place] + field
    assert (found.code, found.pointer) == ("unknown_field", pointer)
    assert hint in str(found.hint)


def test_depends_on_is_read_as_dependencies_with_one_warning() -> None:
    checked = admitted(task("a"), task("b", depends_on=["a"]), task("c", depends_on=["a"]))
    assert [it.dependencies for it in checked.request.tasks] == [[], ["a"], ["a"]]
    assert checked.warnings == [
        "'depends_on' is read as 'dependencies' in 2 tasks, first in 'b'",
    ]


def test_problems_of_depends_on_point_to_it() -> None:
    assert codes(task("a", depends_on=["x", 1]), task("b", depends_on="a")) == [
        ("invalid_type", "/tasks/0/depends_on/1"),
        ("invalid_type", "/tasks/1/depends_on"),
        ("unknown_dependency", "/tasks/0/depends_on/0"),
    ]


def test_both_spellings_of_dependencies_are_refused() -> None:
    found = problem(task("a"), task("b", depends_on=["a"], dependencies=["a"]))
    assert (found.code, found.pointer) == ("conflicting_fields", "/tasks/1/depends_on")


@pytest.mark.parametrize(
    "task_id",
    ["../x", "CON", "a.b c", "x\u00a0", "\u200d\U0001f680", "x" * 200, "\u65e5\u672c", "."],
)
def test_any_printable_id_is_admitted(task_id: str) -> None:
    assert admitted(task(task_id)).request.tasks[0].task_id == task_id


@pytest.mark.parametrize("task_id", ["a\nb", "\0", "\x7f", "\x85", "a\u2028", "\u202eb", " ", "\t"])
def test_unprintable_id_is_refused(task_id: str) -> None:
    found = problem(task(task_id))
    assert (found.code, found.pointer) == ("unprintable_id", "/tasks/0/task_id")


def test_duplicate_id_says_where_the_first_one_is() -> None:
    found = problem(task("a"), task("b"), task("a"))
    assert (found.code, found.pointer, found.task_id) == (
        "duplicate_task_id",
        "/tasks/2/task_id",
        "a",
    )
    assert "/tasks/0" in str(found.hint)


def test_unknown_dependency_has_a_suggestion() -> None:
    found = problem(task("gen-model"), task("api", dependencies=["gen-modle"]))
    assert found == Problem(
        "unknown_dependency",
        "/tasks/1/dependencies/0",
        "dependency 'gen-modle' does not exist",
        "did you mean 'gen-model'?",
        "api",
    )


def test_dependency_on_itself_is_no_cycle_of_its_own() -> None:
    assert codes(task("a", dependencies=["a"])) == [("self_dependency", "/tasks/0/dependencies/0")]


def test_repeated_dependency_is_a_warning() -> None:
    assert admitted(task("a"), task("b", dependencies=["a", "a"])).warnings == [
        "a dependency is named more than once in task 'b'"
    ]


def test_cycle_is_printed_as_its_path() -> None:
    found = problem(
        task("a", dependencies=["b"]), task("b", dependencies=["c"]), task("c", dependencies=["a"])
    )
    assert found.message == "tasks wait for each other: a -> b -> c -> a"
    assert (found.pointer, found.task_id) == ("/tasks/2/dependencies/0", "c")


def test_long_cycle_is_cut_in_the_middle() -> None:
    ring = [task(str(n), dependencies=[str((n + 1) % 1000)]) for n in range(1000)]
    message = problem(*ring).message
    assert message.startswith("tasks wait for each other: 0 -> 1 -> ")
    assert message.endswith("999 -> 0")
    assert "... 981 more ..." in message
    assert len(message) < 300


def test_unknown_agent_lists_what_there_is() -> None:
    found = problem(task(agent="ecko"))
    assert (found.code, found.pointer, found.task_id) == ("unknown_agent", "/tasks/0/agent", "a")
    assert found.hint == "did you mean 'echo'? agents are: 'absent', 'coder', 'echo', 'picky'"
    assert problem(task(agent="auto")).code == "unknown_agent"


def test_agent_that_cannot_run_is_reported_once_with_the_reason() -> None:
    found = problem(task("a"), task("b", agent="absent"), task("c", agent="absent"))
    assert (found.code, found.pointer) == ("agent_unavailable", "/tasks/1/agent")
    assert "program 'absent' is not installed" in found.message


def test_agents_own_problems_get_pointers_below_the_input() -> None:
    value = {"text": "x", "list/": [1]}
    assert codes(task(agent="picky", input_data=value)) == [
        ("bad", "/tasks/0/input_data/text"),
        ("bad", "/tasks/0/input_data/list~1/0"),
        ("missing_field", "/tasks/0/input_data"),
    ]


def test_agents_problems_at_a_reference_are_dropped_because_the_value_is_not_known() -> None:
    value = {"whole": "${tasks.a.output}", "part": "x ${tasks.a.output.y}", "plain": "${HOME}"}
    value["list"] = ["${tasks.a.output}"]  # type: ignore[assignment]
    picky = task("b", agent="picky", dependencies=["a"], input_data=value)
    assert codes(task("a"), picky) == [
        ("bad", "/tasks/1/input_data/plain"),
        ("missing_field", "/tasks/1/input_data"),
    ]


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        ("${tasks.c.output", "invalid_reference", "malformed", "${tasks.ID.output.PATH}"),
        ("${tasks.nodes.output}", "unknown_reference", "task 'nodes' does not", "'node'"),
        ("${tasks.self.output}", "self_reference", "no output before it ends", "another"),
        ("x ${tasks.node.output}", "reference_not_a_dependency", "'node' is not", "add 'node'"),
    ],
)
def test_wrong_references_are_refused(text: str, code: str, message: str, hint: str) -> None:
    found = problem(task("node"), task("self", input_data={"x": ["", {"y": text}]}))
    assert (found.code, found.pointer) == (code, "/tasks/1/input_data/x/1/y")
    assert message in found.message
    assert hint in str(found.hint)


def test_reference_to_an_indirect_dependency_is_admitted() -> None:
    value = {"x": "${tasks.a.output.y}"}
    tasks = (
        task("a"),
        task("b", dependencies=["a"]),
        task("c", dependencies=["b"], input_data=value),
    )
    assert admitted(*tasks).request.tasks[2].input_data == value


def test_limits_are_those_of_the_operator() -> None:
    found = problems(task(resources={"anthropc": 1}), task("b", resources={"anthropic": 5}))
    assert [(it.code, it.hint) for it in found] == [
        ("unknown_limit", "did you mean 'anthropic'?"),
        ("over_capacity", "ask for 4 or less"),
    ]


@pytest.mark.parametrize("path", ["/etc/passwd", "/tmp/*/../../etc/x", "/tmp/../etc/*", "/"])
def test_files_outside_the_allowed_folders_are_refused(path: str) -> None:
    found = problem(task(modifies_files=[path]))
    assert (found.code, found.pointer) == ("path_outside_roots", "/tasks/0/modifies_files/0")


@pytest.mark.parametrize(
    ("trace_dir", "code"),
    [
        ("../../../../../../etc", "path_outside_roots"),
        ("/etc", "path_outside_roots"),
        ("a*/../../../../../../../etc", "path_outside_roots"),
        ("x" * 300, "path_too_long"),
        ("a\0b", "path_not_text"),
        ("", "out_of_range"),
    ],
)
def test_trace_folder_of_a_request_stays_inside(trace_dir: str, code: str) -> None:
    found = problem(task(), config={"trace_dir": trace_dir})
    assert (found.code, found.pointer) == (code, "/config/trace_dir")


def test_trace_folder_through_a_link_to_the_outside_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/etc")
    assert problem(task(), config={"trace_dir": "link/traces"}).code == "path_outside_roots"


@pytest.mark.parametrize("value", ["abc", UUID[:-1], UUID + "\n", f"{{{UUID}}}", 5])
def test_correlation_id_is_a_uuid(value: Any) -> None:
    assert problem(task(), correlation_id=value).pointer == "/correlation_id"


@pytest.mark.parametrize(
    ("document", "pointer"),
    [([], ""), (None, ""), ({}, ""), ({"tasks": []}, "/tasks"), ({"tasks": {"a": {}}}, "/tasks")],
)
def test_request_without_tasks_is_refused(document: Any, pointer: str) -> None:
    with pytest.raises(RequestRejected) as caught:
        run(document)
    assert caught.value.problems[0].pointer == pointer


def test_single_task_without_the_list_gets_told() -> None:
    with pytest.raises(RequestRejected) as caught:
        run(task())
    hints = {it.hint for it in caught.value.problems if it.code == "unknown_field"}
    assert hints == {'it belongs into a task: {"tasks": [{...}]}'}


def test_problems_of_the_text_and_of_the_request_come_together() -> None:
    raw = b'{"tasks":[{"task_id":"a","task_id":"b","agent":"ecko","input_data":{"n":NaN}}]}'
    document = parse(raw)
    with pytest.raises(RequestRejected) as caught:
        run(document.value, problems=document.problems)
    assert [it.code for it in caught.value.problems] == [
        "duplicate_key",
        "invalid_number",
        "unknown_agent",
    ]


def test_tasks_of_the_same_dispatch_that_came_earlier_can_be_named() -> None:
    #  early <- middle <- a <- b
    known = {"early": [], "middle": ["early"], "alone": []}
    value = {"x": "${tasks.early.output}", "y": "${tasks.a.output}"}
    tasks = [task("a", dependencies=["middle"]), task("b", dependencies=["a"], input_data=value)]
    assert len(run({"tasks": tasks}, known=known).request.tasks) == 2


def test_earlier_tasks_are_judged_like_those_of_the_request() -> None:
    known = {"early": [], "alone": []}
    value = {"x": "${tasks.alone.output}"}
    tasks = [task("early"), task("b", dependencies=["early", "alon"], input_data=value)]
    with pytest.raises(RequestRejected) as caught:
        run({"tasks": tasks}, known=known)
    assert [(it.code, it.hint) for it in caught.value.problems] == [
        ("duplicate_task_id", "an earlier task has it already; each task needs its own"),
        ("unknown_dependency", "did you mean 'alone'?"),
        ("reference_not_a_dependency", "add 'alone' to 'dependencies'"),
    ]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"tasks": [task(**dict.fromkeys(map(str, range(3000)), 1))]}, "unknown_field"),
        ({"tasks": [1] * 3000}, "invalid_type"),
        ({"tasks": [task(dependencies=[1] * 3000)]}, "invalid_type"),
        ({"tasks": [task(dependencies=["x"] * 3000)]}, "unknown_dependency"),
        ({"tasks": [task(resources=dict.fromkeys(map(str, range(3000)), 0))]}, "out_of_range"),
        ({"tasks": [task()] * 3000}, "duplicate_task_id"),
        (dict.fromkeys(map(str, range(3000)), 1), "unknown_field"),
    ],
)
def test_problems_are_cut_at_the_limit_with_a_warning(document: Any, code: str) -> None:
    with pytest.raises(RequestRejected) as caught:
        run(document)
    assert len(caught.value.problems) == MAX_PROBLEMS
    assert caught.value.problems[-1].code == code
    assert any("further problems" in it or "not looked at" in it for it in caught.value.warnings)


def test_huge_names_are_cut_in_messages() -> None:
    found = problems(task("x" * 10_000, agent="y" * 10_000, **{"z" * 10_000: 1}))
    assert max(len(it.message) for it in found) < 200


def test_wide_fan_in_and_long_chains_are_admitted() -> None:
    wide = [task(str(n)) for n in range(5_000)]
    chain = [task(f"c{n}", dependencies=[f"c{n - 1}"] if n else []) for n in range(5_000)]
    last = task("last", dependencies=[str(n) for n in range(5_000)])
    assert len(admitted(*wide, *chain, last).request.tasks) == 10_001


def test_suggestions_end_after_some_dozens_because_they_are_slow() -> None:
    names = [f"task-{n:05}" for n in range(200)]
    wrong = task("x", dependencies=[f"{name}x" for name in names])
    hints = [it.hint for it in problems(*map(task, names), wrong)]
    assert sum("did you mean" in str(hint) for hint in hints) == 50
    assert hints[-1] == "add the task, or remove the dependency"


def test_rejection_can_be_written_as_json() -> None:
    found = problems(task("\ud800", agent="\ud800", **{"\ud800": 1}))
    assert {it.code for it in found} >= {"invalid_type", "unknown_field"}
    assert all(orjson.dumps([it.message, it.hint]) for it in found)


@pytest.mark.parametrize("value", [{"a": {1, 2}}, {"a": b"x"}, {(1, 2): 1}])
def test_object_that_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(RequestRejected) as caught:
        from_object(value)
    assert caught.value.problems[0].code == "not_json"


def test_object_is_copied_and_judged_like_text() -> None:
    given = {"tasks": [task(input_data={"n": float("inf"), "t": ("\ud800",)})]}
    document = from_object(given)
    assert [it.pointer for it in document.problems.found] == [
        "/tasks/0/input_data/n",
        "/tasks/0/input_data/t/0",
    ]
    assert document.value["tasks"] is not given["tasks"]


def test_garbage_collection_is_on_again_after_a_rejection() -> None:
    problems(5)
    assert gc.isenabled()


def test_nothing_is_raised_without_a_problem() -> None:
    Problems().raise_if_any()
