"""The role `debug` from input to verified answer."""

import shutil
import subprocess
import traceback
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.agents.debug import job, lint
from dispatch_runner.agents.debug.models import DebugOutput
from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall, Answer, OfflineRole

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parents[1] / "data" / "debug"
SHOP = """
def find_user(users, name):
    for user in users:
        if user["name"] == name:
            return user


def greeting(users, name):
    user = find_user(users, name)
    return "Hello " + user["name"]


def page():
    return greeting([{"name": "a"}], "b")
"""


def call_with(value: JsonObject, roots: AllowedRoots | None = None) -> AgentCall:
    roots = roots or AllowedRoots(("/",))
    return AgentCall(
        "t", "debug", "", value, {}, "id", 1, 60.0, Path("/tmp"), roots, None, anyio.Event()
    )


async def analysed(**fields: Any) -> JsonObject:
    role = DebugRole()
    call = call_with({"problem_description": "it fails", "analysis_depth": "quick", **fields})
    assert role.check_input(call.input, call.roots) == []
    answer = await role.verify(call, await role.solve(call))
    return answer.output


@pytest.fixture
def shop(tmp_path):
    """A program that really failed, and its traceback."""
    path = tmp_path / "shop.py"
    path.write_text(SHOP)
    names: dict[str, Any] = {}
    exec(compile(SHOP, str(path), "exec"), names)
    try:
        names["page"]()
    except TypeError:
        return path, traceback.format_exc()
    raise AssertionError("the program did not fail")


async def test_it_is_an_offline_role_that_writes_nothing():
    assert isinstance(DebugRole(), OfflineRole)
    assert list(DebugRole().writes({"affected_files": ["/tmp/a.py"]})) == []


async def test_wrong_input_is_named_all_at_once(tmp_path):
    value = {
        "affected_files": ["a.py", "/etc/passwd"],
        "analysis_depth": "deeper",
        "error_trace": "",
    }
    problems = DebugRole().check_input(value, AllowedRoots((str(tmp_path),)))
    assert {(problem.location, problem.code) for problem in problems} == {
        (("problem_description",), "missing_field"),
        (("analysis_depth",), "invalid_value"),
        (("error_trace",), "unknown_field"),
        (("affected_files", 0), "path_not_absolute"),
        (("affected_files", 1), "path_outside_roots"),
    }


async def test_no_affected_file_is_an_input_problem():
    (problem,) = DebugRole().check_input(
        {"problem_description": "", "affected_files": []}, AllowedRoots(("/",))
    )
    assert (problem.location, problem.code) == (("affected_files",), "out_of_range")


async def test_the_raising_line_is_the_first_suspect_then_origin_and_callers(shop):
    path, trace = shop
    output = await analysed(affected_files=[str(path)], error_traces=[trace])
    places = [
        (item["function"], item["line_start"], item["line_end"]) for item in output["suspects"]
    ]
    assert places[:3] == [("greeting", 10, 10), ("find_user", 2, 5), ("page", 14, 14)]
    first = output["suspects"][0]
    assert first["code"] == '    return "Hello " + user["name"]'
    assert first["deciding_check"] == "print `user` before line 10: None confirms it"
    cause = output["bfros"]["root_cause"]
    assert (cause["determined"], cause["kind"]) == (True, "none_dereference")
    assert "`user` is `find_user(users, name)` (line 9)" in cause["contributing_factors"]
    assert output["bfros"]["optimal_solution"]["determined"] is True
    assert str(path) in output["bfros"]["fault_localisation"]["statement"]


async def test_the_same_input_gives_the_same_output(shop):
    path, trace = shop
    first = await analysed(affected_files=[str(path)], error_traces=[trace])
    assert first == await analysed(affected_files=[str(path)], error_traces=[trace])


async def test_scores_and_confidence_are_what_their_rule_says(shop):
    path, trace = shop
    output = await analysed(affected_files=[str(path)], error_traces=[trace])
    for suspect in output["suspects"]:
        doubt = trust = 1.0
        for item in suspect["evidence_for"]:
            doubt *= 1 - item["weight"]
        for item in suspect["evidence_against"]:
            trust *= 1 - item["weight"]
        assert suspect["score"] == pytest.approx((1 - doubt) * trust, abs=0.001)
    confidence = output["confidence"]
    assert confidence["score"] == output["suspects"][0]["score"]
    assert confidence["level"] == "high"
    assert "times 1: the code explains the message" in confidence["explanation"]


async def test_frames_tell_own_code_and_the_affected_file(shop, tmp_path):
    path, trace = shop
    other = trace.replace(str(path), f"/container{path}")
    output = await analysed(affected_files=[str(path)], error_traces=["no trace", other])
    (read,) = output["traces"]
    assert read["source"] == 1
    assert read["frames"][0]["affected_file"] == str(path)
    assert read["frames"][0]["affected_line"] == read["frames"][0]["line"] == 10
    assert output["suspects"][0]["file"] == str(path)


async def test_a_value_is_followed_through_the_callers(tmp_path):
    path = tmp_path / "mean.py"
    path.write_text(
        "def mean(values):\n    return sum(values) / len(values)\n\n\n"
        "def report(rows):\n    return mean(rows)\n\n\ndef run():\n    return report([])\n"
    )
    trace = (
        "Traceback (most recent call last):\n"
        f'  File "{path}", line 10, in run\n    return report([])\n'
        f'  File "{path}", line 6, in report\n    return mean(rows)\n'
        f'  File "{path}", line 2, in mean\n    return sum(values) / len(values)\n'
        "ZeroDivisionError: division by zero\n"
    )
    output = await analysed(affected_files=[str(path)], error_traces=[trace])
    factors = output["bfros"]["root_cause"]["contributing_factors"]
    assert "line 6 passes `rows` as `values` of `mean`" in factors
    assert "line 10 passes `[]` as `rows` of `report`" in factors
    assert [item["line_start"] for item in output["suspects"]] == [2, 6, 10]


async def test_an_explicit_cause_outranks_the_error_that_it_led_to(tmp_path):
    path = tmp_path / "app.py"
    path.write_text(
        "def load(d):\n    return d['k']\n\n\ndef run():\n    try:\n        load({})\n"
        "    except KeyError as error:\n        raise ValueError('bad') from error\n"
    )
    names: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    try:
        names["run"]()
    except ValueError:
        trace = traceback.format_exc()
    output = await analysed(affected_files=[str(path)], error_traces=[trace])
    assert next(item["line_start"] for item in output["suspects"]) == 2
    assert output["bfros"]["behaviour"]["actual"] == "it ends with ValueError: bad"


async def test_an_unexpected_error_in_a_handler_outranks_the_one_it_handled(tmp_path):
    path = tmp_path / "app.py"
    path.write_text(
        "def run(d, log):\n    try:\n        return d['k']\n    except KeyError:\n"
        "        log.write('gone')\n"
    )
    names: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    try:
        names["run"]({}, None)
    except AttributeError:
        trace = traceback.format_exc()
    output = await analysed(affected_files=[str(path)], error_traces=[trace])
    assert [item["line_start"] for item in output["suspects"]][:2] == [5, 3]
    assert output["bfros"]["root_cause"]["statement"].startswith("`log` is None")


async def test_an_error_inside_a_library_leads_to_the_call_of_it(tmp_path):
    path = tmp_path / "app.py"
    path.write_text("import json\n\n\ndef load(text):\n    return json.loads(text)\n")
    names: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    try:
        names["load"]("{bad")
    except ValueError:
        trace = traceback.format_exc()
    output = await analysed(affected_files=[str(path)], error_traces=[trace])
    first, cause = output["suspects"][0], output["bfros"]["root_cause"]
    assert first["line_start"] == 5
    assert "called `loads`" in first["evidence_for"][0]["observation"]
    assert (cause["kind"], cause["determined"]) == ("rejected_by_library", False)
    assert "`text` is a parameter of `load`: its callers pass it" in cause["contributing_factors"]
    assert output["bfros"]["optimal_solution"]["determined"] is False


async def test_a_failed_assertion_of_a_test_leads_to_what_it_called(tmp_path):
    code, test = tmp_path / "price.py", tmp_path / "test_price.py"
    code.write_text("def total(a, b):\n    return a - b\n")
    test.write_text("from price import total\n\n\ndef test_total():\n    assert total(1, 2) == 3\n")
    trace = (
        "________ test_total ________\n\n    def test_total():\n>       assert total(1, 2) == 3\n"
        "E       assert -1 == 3\nE        +  where -1 = total(1, 2)\n\n"
        f"{test.name}:5: AssertionError\n"
    )
    output = await analysed(affected_files=[str(code), str(test)], error_traces=[trace])
    found = {(item["function"], item["line_start"]) for item in output["suspects"][:2]}
    assert found == {("total", 1), ("test_total", 5)}


def commit_all(folder: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


async def test_lines_that_differ_from_the_last_commit_are_evidence(shop):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    path, trace = shop
    path.write_text(SHOP.replace('"Hello "', '"Hi "'))
    commit_all(path.parent)
    path.write_text(SHOP)
    output = await analysed(
        affected_files=[str(path)], error_traces=[trace], analysis_depth="standard"
    )
    said = [item["observation"] for item in output["suspects"][0]["evidence_for"]]
    assert "these lines, or lines near them, differ from the last commit" in said
    assert output["history"][0]["commit"] == ""


async def test_a_syntax_error_is_found_without_any_trace(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("x = 1\ndef f(:\n    pass\n")
    output = await analysed(affected_files=[str(path)])
    assert (output["suspects"][0]["line_start"], output["evidence_found"]) == (2, True)


async def test_syntax_that_only_a_newer_python_knows_is_no_fault(tmp_path):
    path = tmp_path / "new.py"
    path.write_text("type Pair[T] = tuple[T, T]\n\n\ndef f():\n    return undefined_thing\n")
    output = await analysed(affected_files=[str(path)])
    assert [item["line_start"] for item in output["suspects"]] == [5]


async def test_nesting_beyond_the_parser_is_no_fault_and_no_crash(shop, tmp_path):
    path, trace = shop
    deep = tmp_path / "deep.py"
    deep.write_text("x = " + "a." * 20_000 + "b\n" + "if x" + ".y" * 20_000 + " or 1:\n    pass\n")
    output = await analysed(affected_files=[str(path), str(deep)], error_traces=[trace])
    assert str(deep) not in {item["file"] for item in output["suspects"]}


async def test_a_static_finding_alone_gives_low_confidence(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("def f(items):\n    return undefined_thing\n")
    output = await analysed(affected_files=[str(path)])
    assert output["confidence"]["level"] == "low"
    assert output["bfros"]["root_cause"]["determined"] is False
    assert "no trace" in output["bfros"]["behaviour"]["deviation"]


async def test_no_evidence_is_not_a_success_and_keeps_the_analysis(tmp_path):
    path = tmp_path / "fine.py"
    path.write_text("def total(values):\n    return sum(values)\n")
    with pytest.raises(AgentError) as caught:
        await analysed(affected_files=[str(path)], problem_description="`total` is wrong")
    assert caught.value.type is ErrorType.UNVERIFIED
    analysis = caught.value.details["analysis"]
    assert analysis["evidence_found"] is False
    assert analysis["bfros"]["root_cause"]["determined"] is False
    assert DebugOutput.model_validate(analysis)


async def test_all_files_missing_is_a_missing_file(tmp_path):
    gone = str(tmp_path / "gone.py")
    with pytest.raises(AgentError) as caught:
        await analysed(affected_files=[gone])
    assert (caught.value.type, caught.value.retryable) == (ErrorType.MISSING_FILE, False)
    assert gone in caught.value.message


async def test_files_that_cannot_be_analysed_are_warned_about_and_survived(shop, tmp_path):
    path, trace = shop
    (tmp_path / "binary.py").write_bytes(b"\0\1\2")
    files = [str(path), str(tmp_path / "gone.py"), str(tmp_path), str(tmp_path / "binary.py")]
    call = call_with({"problem_description": "x", "affected_files": files, "error_traces": [trace]})
    call.input["analysis_depth"] = "quick"
    answer = await DebugRole().solve(call)
    assert len(answer.warnings) == 3
    assert [item["status"] for item in answer.output["files"]] == [
        "analysed",
        "missing",
        "not_a_file",
        "binary",
    ]
    assert {files[1], files[2], files[3]} <= {
        item["what"] for item in answer.output["not_assessed"]
    }


async def test_a_missing_linter_is_said_and_survived(shop, monkeypatch):
    path, trace = shop
    monkeypatch.setattr(lint, "find", lambda name: None)
    output = await analysed(affected_files=[str(path)], error_traces=[trace])
    assert {"what": "lint", "why": "ruff is not installed"} in output["not_assessed"]


@pytest.mark.slow
async def test_standard_adds_types_complexity_and_says_what_deep_does_not_do(shop):
    path, trace = shop
    output = await analysed(affected_files=[str(path)], error_traces=[trace], analysis_depth="deep")
    assert output["files"][0]["most_complex"][0]["name"] == "find_user"
    assert "running tests" in {item["what"] for item in output["not_assessed"]}


@pytest.mark.parametrize(
    ("name", "file", "line"),
    [
        ("v8.txt", "src/price.js", 3),
        ("firefox.txt", "js/order.js", 14),
        ("java.txt", "com/acme/shop/Customer.java", 8),
        ("go.txt", "shop/store.go", 21),
        ("rust.txt", "src/stock.rs", 14),
        ("csharp.txt", "Shop/Cart.cs", 27),
        ("php.txt", "src/Stock.php", 18),
        ("ruby.txt", "lib/cart.rb", 9),
        ("dart.txt", "shop/stock.dart", 8),
    ],
)
async def test_traces_of_other_languages_lead_to_their_line(tmp_path, name, file, line):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text("line\n" * 50)
    output = await analysed(affected_files=[str(path)], error_traces=[(DATA / name).read_text()])
    assert (output["suspects"][0]["file"], output["suspects"][0]["line_start"]) == (str(path), line)


@pytest.mark.parametrize(
    ("hypothesis", "verdict"),
    [
        ("user is None in greeting", "supported"),
        ("find_user returns null for unknown names", "supported"),
        ("a TypeError", "supported"),
        ("division by zero", "contradicted"),
        ("user is never None", "contradicted"),
        ("a KeyError", "contradicted"),
        ("a KeyError in line 10", "undecided"),
        ("line 10 of shop.py", "supported"),
        ("cosmic rays", "undecided"),
    ],
)
async def test_a_hypothesis_is_tested_against_the_evidence(shop, hypothesis, verdict):
    path, trace = shop
    output = await analysed(affected_files=[str(path)], error_traces=[trace], hypothesis=hypothesis)
    assert output["hypothesis"]["verdict"] == verdict, output["hypothesis"]["why"]
    assert output["hypothesis"]["why"]


async def test_only_the_first_traces_are_analysed_and_it_says_so(shop, monkeypatch):
    path, trace = shop
    monkeypatch.setattr(job, "MOST_TRACES", 2)
    texts = [trace, trace.replace("line 10", "line 9"), trace.replace("line 10", "line 8")]
    output = await analysed(affected_files=[str(path)], error_traces=texts)
    assert len(output["traces"]) == 2
    assert "1 further stack traces" in {item["what"] for item in output["not_assessed"]}


async def test_only_so_many_files_are_read_and_each_once(shop, monkeypatch):
    path, trace = shop
    monkeypatch.setattr(job, "MOST_FILES", 1)
    files = [str(path), str(path), f"{path}.other"]
    output = await analysed(affected_files=files, error_traces=[trace])
    assert [item["status"] for item in output["files"]] == ["analysed", "not_assessed"]


async def test_of_a_huge_text_head_and_tail_are_read(shop, monkeypatch):
    path, trace = shop
    monkeypatch.setattr(job, "LONGEST_TEXT", 2 * len(trace) + 2)
    output = await analysed(affected_files=[str(path)], error_traces=["x\n" * 5000 + trace])
    assert output["suspects"][0]["line_start"] == 10
    assert "the middle of error_traces[0]" in {item["what"] for item in output["not_assessed"]}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda output: output.pop("bfros"),
        lambda output: output.update(invented=1),
        lambda output: output["suspects"][0].update(line_start=900, line_end=900),
        lambda output: output["suspects"][0].update(evidence_for=[]),
        lambda output: output["confidence"].update(score=1.5),
    ],
    ids=["field gone", "field invented", "line not there", "no evidence", "score too high"],
)
async def test_another_backends_answer_is_held_to_the_same_form(shop, spoil):
    path, trace = shop
    output = await analysed(affected_files=[str(path)], error_traces=[trace])
    spoil(output)
    with pytest.raises(AgentError) as caught:
        await DebugRole().verify(call_with({}), Answer(output))
    assert caught.value.type is ErrorType.BAD_OUTPUT


async def test_ten_analyses_at_once_share_nothing(shop, tmp_path):
    path, trace = shop
    alone = await analysed(affected_files=[str(path)], error_traces=[trace])
    outputs: list[JsonObject] = []

    async def one() -> None:
        outputs.append(await analysed(affected_files=[str(path)], error_traces=[trace]))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one)
    assert outputs == [alone] * 10
