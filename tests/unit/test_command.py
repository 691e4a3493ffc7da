"""Any program as an agent: what it gets, and what its ending and its output mean."""

import os
import stat
import sys
from pathlib import Path

import anyio
import orjson
import pytest

from dispatch_runner.backends.command import (
    CommandBackend,
    ProgramRole,
    build,
    passed_environment,
)
from dispatch_runner.backends.offline import OfflineBackend
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall, Answer, InputProblem
from dispatch_runner.settings.backend_options import BackendOptions

pytestmark = pytest.mark.anyio

CORRELATION = "1f0c9a52-0000-4000-8000-00000000000a"
ROLE = ProgramRole("tool")


def program(script: str, **options: object) -> CommandBackend:
    return CommandBackend(["sh", "-c", script], **options)  # type: ignore[arg-type]


@pytest.fixture
async def call(tmp_path: Path) -> AgentCall:
    return AgentCall(
        task_id="lint/é",
        agent="tool",
        description="look at it",
        input={"n": 1, "text": "é"},
        dependencies={"before": {"x": 1}, "failed": None},
        correlation_id=CORRELATION,
        attempt=2,
        timeout_seconds=10,
        workspace=tmp_path,
        roots=AllowedRoots((str(tmp_path),)),
        output_prefix=tmp_path / "prefix",
        hurry=anyio.Event(),
    )


async def answer(backend: CommandBackend, call: AgentCall) -> Answer:
    return await ROLE.verify(call, await backend.answer(ROLE, call))


async def failure(backend: CommandBackend, call: AgentCall) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await answer(backend, call)
    return caught.value


async def test_the_program_reads_the_task_as_one_json_object(call: AgentCall) -> None:
    got = (await answer(CommandBackend(["cat"]), call)).output
    assert got == {
        "task_id": "lint/é",
        "agent": "tool",
        "description": "look at it",
        "input": {"n": 1, "text": "é"},
        "dependencies": {"before": {"x": 1}, "failed": None},
        "correlation_id": CORRELATION,
        "attempt": 2,
        "workspace": str(call.workspace),
    }


async def test_without_stdin_the_program_reads_nothing(call: AgentCall) -> None:
    got = await answer(program("wc -c", stdin="none", output="text"), call)
    assert got.output["text"].strip() == "0"


async def test_the_program_runs_in_the_workspace_or_where_its_definition_says(
    call: AgentCall, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    here = await answer(CommandBackend(["pwd"], output="text"), call)
    there = await answer(CommandBackend(["pwd"], output="text", cwd=other), call)
    assert here.output["text"].strip() == str(call.workspace)
    assert there.output["text"].strip() == str(other)


async def test_nothing_in_the_arguments_is_expanded(call: AgentCall) -> None:
    got = await answer(
        CommandBackend(["echo", "$HOME", "${x}", "*", "{task_id}"], output="text"), call
    )
    assert got.output["text"] == "$HOME ${x} * {task_id}\n"


async def test_the_program_sees_only_the_variables_that_are_named(
    call: AgentCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUFF_CACHE", "yes")
    monkeypatch.setenv("OTHER", "no")
    backend = CommandBackend(["env"], output="text", env=["PATH", "RUFF_*"])
    lines = (await answer(backend, call)).output["text"].splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    assert variables.pop("DISPATCH_RUNNER_TASK_MARKER")
    version, trace, span, flags = variables.pop("TRACEPARENT").split("-")
    assert (version, trace, len(span), flags) == ("00", CORRELATION.replace("-", ""), 16, "01")
    assert variables == {
        "PATH": os.environ["PATH"],
        "RUFF_CACHE": "yes",
        "DISPATCH_RUNNER_TASK_ID": "lint/é",
        "DISPATCH_RUNNER_CORRELATION_ID": CORRELATION,
    }


@pytest.mark.parametrize(
    "name",
    ["MY_TOKEN", "MY_API_KEY", "MY_SECRET", "MY_DB_PASSWORD", "MY_AUTH", "my_token", "MYAPIKEY"],
)
def test_a_glob_never_passes_what_looks_like_a_secret(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "s3cret")
    assert name not in passed_environment(["MY*", "my*", "*"])
    assert passed_environment([name]) == {name: "s3cret"}


@pytest.mark.parametrize("name", ["GIT_AUTHOR_NAME", "MY_KEYBOARD", "MONKEY", "COMPASS"])
def test_a_glob_passes_what_only_resembles_a_secret(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "x")
    assert name in passed_environment(["*"])


async def test_an_object_on_stdout_is_the_answer(call: AgentCall) -> None:
    got = await answer(program("echo progress >&2; echo '{\"a\": [1]}'"), call)
    assert (got.output, got.warnings) == ({"a": [1]}, [])


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("", "nothing was printed"),
        ("oops {", "line 1, column 1"),
        ('{"a": 1} {"b": 2}', "is not JSON"),
        ("[1]", "a JSON array, not an object"),
        ("null", "a JSON null, not an object"),
        ("NaN", "is not JSON"),
        (r"{\"a\": \"\377\"}", "is not JSON"),
    ],
)
async def test_anything_else_on_stdout_is_bad_output(
    call: AgentCall, printed: str, said: str
) -> None:
    error = await failure(program(f"printf '{printed}'"), call)
    assert (error.type, error.retryable) == (ErrorType.BAD_OUTPUT, False)
    assert said in error.message
    assert error.details["size"] >= 0
    orjson.dumps(error.details)


async def test_bad_output_shows_the_offending_place(call: AgentCall) -> None:
    script = "import json; print(json.dumps({'k': 'x' * 5000})[:-1] + ' oops here }')"
    error = await failure(CommandBackend([sys.executable, "-c", script]), call)
    assert "oops here" in error.details["excerpt"]
    assert len(error.details["excerpt"]) <= 160


async def test_more_json_than_is_kept_is_bad_output(call: AgentCall) -> None:
    error = await failure(program("head -c 5000 /dev/zero", output_limit=2000), call)
    assert error.type is ErrorType.BAD_OUTPUT
    assert "printed 5000 bytes" in error.message


async def test_an_empty_object_is_not_a_success(call: AgentCall) -> None:
    assert (await failure(program("echo '{}'"), call)).type is ErrorType.UNVERIFIED


async def test_an_exit_code_is_a_crash_with_the_tail_of_stderr(call: AgentCall) -> None:
    noise = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done >&2"
    error = await failure(
        program(f"{noise}; printf '\\033[31mthe cause\\033[0m\\n' >&2; exit 3"), call
    )
    assert error.type is ErrorType.CRASHED
    assert error.message == "'sh' ended with exit code 3: the cause"
    assert error.details["exit_code"] == 3
    assert error.details["stderr"].endswith("line 2999\nthe cause\n")
    assert len(error.details["stderr"]) <= 4000


async def test_a_signal_is_a_crash_with_its_name(call: AgentCall) -> None:
    error = await failure(program("kill -KILL $$", output="exit"), call)
    assert error.message == "'sh' was killed by SIGKILL"
    assert error.details == {"signal": "SIGKILL"}
    assert error.hint is not None


async def test_a_limit_that_ended_the_program_is_named(call: AgentCall) -> None:
    backend = build(BackendOptions("tool", ("sh", "-c", "while :; do :; done"), max_cpu_seconds=1))
    error = await failure(backend, call)
    assert error.type is ErrorType.CRASHED
    assert error.message == "'sh' was ended by its limit of 1 second of CPU time"
    assert not error.retryable


@pytest.mark.parametrize("output", ["json", "text", "exit"])
async def test_exit_code_75_asks_for_another_attempt(call: AgentCall, output: str) -> None:
    error = await failure(program("echo busy >&2; exit 75", output=output), call)
    assert (error.type, error.retryable) == (ErrorType.UNAVAILABLE, True)


@pytest.mark.parametrize("code", [0, 1])
async def test_an_error_that_the_program_reports_is_that_error(call: AgentCall, code: int) -> None:
    reported: JsonObject = {
        "type": "rate_limited",
        "message": "slow down",
        "retryable": False,
        "hint": "wait",
        "details": {"limit": 5},
        "retry_after": 7,
    }
    script = f"echo '{orjson.dumps({'error': reported}).decode()}'; exit {code}"
    error = await failure(program(script), call)
    assert (error.type, error.message, error.retryable) == (
        ErrorType.RATE_LIMITED,
        "slow down",
        False,
    )
    assert (error.hint, error.retry_after) == ("wait", 7.0)
    assert error.details == {"limit": 5, "exit_code": code}


@pytest.mark.parametrize(
    "reported", ['{"type": "odd", "message": "m"}', '{"type": []}', '"text"', "{}", "[1]", "true"]
)
async def test_an_error_of_no_known_type_is_a_crash_that_keeps_the_original(
    call: AgentCall, reported: str
) -> None:
    error = await failure(program(f"echo '{{\"error\": {reported}}}'"), call)
    assert error.type is ErrorType.CRASHED
    assert error.details["reported"] == orjson.loads(reported)
    assert error.message


@pytest.mark.parametrize("wrong", ['"soon"', "-1", "true", "null"])
async def test_a_senseless_retry_after_is_ignored(call: AgentCall, wrong: str) -> None:
    script = f'echo \'{{"error": {{"type": "overloaded", "retry_after": {wrong}}}}}\''
    error = await failure(program(script), call)
    assert (error.type, error.retryable, error.retry_after) == (ErrorType.OVERLOADED, True, None)


async def test_no_error_is_no_error(call: AgentCall) -> None:
    got = await answer(program('echo \'{"error": null, "a": 1}\''), call)
    assert got.output == {"error": None, "a": 1}


async def test_an_object_without_error_does_not_excuse_the_exit_code(call: AgentCall) -> None:
    error = await failure(program("echo '{\"a\": 1}'; exit 1"), call)
    assert error.type is ErrorType.CRASHED
    assert error.details["stdout"] == '{"a": 1}\n'


async def test_text_survives_whatever_it_is(call: AgentCall) -> None:
    got = await answer(program(r"printf 'a\377\000b\r\n'", output="text"), call)
    assert got.output == {"text": "a\ufffd\0b\r\n", "exit_code": 0}


async def test_a_long_text_keeps_head_and_tail_and_says_so(call: AgentCall) -> None:
    script = "echo first; head -c 5000 /dev/zero | tr '\\0' x; echo last"
    got = await answer(program(script, output="text", output_limit=2000), call)
    assert got.output["text"].startswith("first\n")
    assert got.output["text"].endswith("xlast\n")
    assert "omitted" in got.output["text"]
    assert "5011 bytes" in got.warnings[0]


async def test_a_text_program_that_prints_nothing_is_not_a_success(call: AgentCall) -> None:
    error = await failure(program("echo", output="text"), call)
    assert error.type is ErrorType.UNVERIFIED
    assert error.hint is not None
    assert 'output = "exit"' in error.hint


async def test_with_output_exit_the_exit_code_alone_decides(call: AgentCall) -> None:
    assert (await answer(program("exit 0", output="exit"), call)).output == {"exit_code": 0}
    assert (await failure(program("exit 1", output="exit"), call)).type is ErrorType.CRASHED


async def test_output_is_kept_in_private_files_that_the_log_names(call: AgentCall) -> None:
    await answer(program("echo note >&2; echo '{\"a\": 1}'"), call)
    out, err = f"{call.output_prefix}.2.stdout", f"{call.output_prefix}.2.stderr"
    assert (call.log.stdout_file, call.log.stderr_file) == (out, err)
    assert modes(out, err) == [0o600, 0o600]


def modes(*paths: str) -> list[int]:
    return [stat.S_IMODE(Path(path).stat().st_mode) for path in paths]


async def test_empty_output_files_are_removed(call: AgentCall) -> None:
    await answer(program("exit 0", output="exit"), call)
    assert (call.log.stdout_file, call.log.stderr_file) == (None, None)
    assert list_of(call.workspace) == []


def list_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_was_printed_before_a_cancellation_is_kept(call: AgentCall) -> None:
    with anyio.move_on_after(0.15) as scope:
        await answer(program("echo so far; exec sleep 60"), call)
    assert scope.cancelled_caught
    assert call.log.stdout_file is not None
    assert read(call.log.stdout_file) == "so far\n"


def read(path: str) -> str:
    return Path(path).read_text()


async def test_without_a_prefix_output_goes_to_temporary_files(call: AgentCall) -> None:
    call.output_prefix = None
    got = await answer(program("echo x", output="text"), call)
    assert got.output["text"] == "x\n"
    assert call.log.stdout_file is None


async def test_processes_left_behind_are_a_warning(call: AgentCall) -> None:
    got = await answer(program("(setsid sleep 60 &)", output="exit"), call)
    assert got.warnings == ["'sh' left 1 processes behind; they were ended"]


async def test_input_that_json_cannot_hold_is_invalid_input(call: AgentCall) -> None:
    call.input = {"n": 2**80}
    assert (await failure(CommandBackend(["cat"]), call)).type is ErrorType.INVALID_INPUT


def test_a_program_that_is_there_is_available(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert CommandBackend(["sh"]).unavailable(ROLE) is None
    assert CommandBackend([str(tool)]).unavailable(ROLE) is None
    assert CommandBackend(["./tool"], cwd=tmp_path).unavailable(ROLE) is None


def test_a_program_that_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert CommandBackend(["sh"]).unavailable(ROLE) == "program 'sh' was not found on PATH"
    assert CommandBackend(["./no"]).unavailable(ROLE) == "program './no' was not found"


def test_a_program_takes_any_input_and_declares_no_files() -> None:
    roots = AllowedRoots(("/tmp",))
    assert ROLE.check_input({"anything": [None]}, roots) == []
    assert list(ROLE.writes({"output_path": "/tmp/x"})) == []
    assert list(ROLE.missing_tools()) == []


class Mirror:
    """A role that answers with its input."""

    name = "mirror"

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        return []

    def writes(self, value: JsonObject) -> tuple[str, ...]:
        return ()

    def missing_tools(self) -> tuple[str, ...]:
        return ()

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        return answer

    async def solve(self, call: AgentCall) -> Answer:
        return Answer(call.input)


async def test_the_offline_backend_lets_the_role_answer(call: AgentCall) -> None:
    role = Mirror()
    assert OfflineBackend().unavailable(role) is None
    assert (await OfflineBackend().answer(role, call)).output == call.input


async def test_the_offline_backend_cannot_serve_a_role_without_an_answer(call: AgentCall) -> None:
    backend = OfflineBackend()
    reason = backend.unavailable(ROLE)
    assert reason is not None
    assert reason.startswith("agent 'tool' has no offline answer")
    with pytest.raises(AgentError) as caught:
        await backend.answer(ROLE, call)
    assert (caught.value.type, caught.value.retryable) == (ErrorType.UNAVAILABLE, False)
