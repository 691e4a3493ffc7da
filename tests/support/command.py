"""The real program: bytes in, bytes and an exit code out; what must hold for every call is checked."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support.processes import kill

PROGRAM = Path(sys.executable).with_name("dispatch-runner")
SCHEMAS = Path(__file__).parents[2] / "schemas"
EXIT_CODES = {0, 1, 2, 3, 124, 129, 130, 143}
PATIENCE = 30.0
REGISTER = "../home/.local"
"""Below it every dispatch of a user is made known to the user's other processes."""

Stdin = bytes | str | dict[str, Any] | list[dict[str, Any]]


@dataclass(frozen=True)
class Ran:
    """How a call ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.stdout)

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def statuses(self) -> dict[str, str]:
        """Status by task id."""
        return {each["task_id"]: each["status"] for each in self.document["results"]}

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Result by task id."""
        return {each["task_id"]: each for each in self.document["results"]}

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self.document["errors"]

    @property
    def codes(self) -> list[str]:
        return [each["code"] for each in self.errors]


class Cli:
    """Starts the program in a folder of its own, with an environment of its own."""

    program = PROGRAM

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.home = folder / "home"
        self.folder.mkdir()
        self.home.mkdir()
        self.marker = uuid.uuid4().hex
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "CLI_TEST_MARKER": self.marker,
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
        }
        """Nothing of the caller's but what a program needs; a test may change it."""

    def __call__(
        self,
        *arguments: str,
        stdin: Stdin = b"",
        writes: tuple[str, ...] = ("traces",),
        text: bool = False,
        background: bool = False,
        timeout: float = PATIENCE,
        **options: Any,
    ) -> Ran:
        """Runs it to its end. `text`: stdout is not a document. `writes`: what may be new here.
        `background`: a dispatch may go on."""
        before = self.files()
        process = self.start(*arguments, stdin=subprocess.PIPE, **options)
        ran = self.finish(
            process, as_bytes(stdin), text=text, background=background, timeout=timeout
        )
        stray = {n for n in self.files() - before if not _is_below(n, (*writes, REGISTER))}
        assert not stray, f"files that nobody asked for: {stray}"
        return ran

    def start(
        self, *arguments: str, program: tuple[str, ...] = (), **options: Any
    ) -> subprocess.Popen[bytes]:
        """Starts it; `finish` checks and returns how it ended."""
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.folder,
            "env": self.environ,
        } | options
        command = [*(program or (str(PROGRAM),)), *arguments]
        return subprocess.Popen(command, **options)

    def finish(
        self, process: subprocess.Popen[bytes], stdin: bytes | None = None, *, text: bool = False,
        background: bool = False, timeout: float = PATIENCE,
    ) -> Ran:  # fmt: skip
        """Waits for its end and checks what always holds."""
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            _, err = process.communicate()
            pytest.fail(f"did not end within {timeout} s; stderr: {err[-2000:]!r}")
        ran = Ran(process.returncode, out or b"", (err or b"").decode(errors="replace"))
        self.check(ran, text=text or out is None, background=background)
        return ran

    def check(self, ran: Ran, *, text: bool, background: bool = False) -> None:
        assert "Traceback" not in ran.stderr, ran.stderr
        assert "Exception ignored" not in ran.stderr, ran.stderr
        assert ran.code in EXIT_CODES, ran
        assert background or not self.survivors(), "processes were left behind"
        if not text:
            check_document(ran)

    def survivors(self) -> list[str]:
        """Processes of this test that are alive, whoever their parent is."""
        marks = (f"CLI_TEST_MARKER={self.marker}".encode(), f"HOME={self.home}".encode())
        return [str(pid) for pid, environ in processes() if any(m in environ for m in marks)]

    def end_survivors(self) -> None:
        kill(map(int, self.survivors()))
        self.until(lambda: not self.survivors(), "killed processes")

    def files(self) -> set[str]:
        """Everything in the test's folder, relative to the working directory."""
        top = self.folder.parent
        return {os.path.relpath(path, self.folder) for path in top.rglob("*")}

    def write(self, name: str, text: str | bytes, *, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def settings(self, toml: str) -> None:
        """A dispatch.toml that is in force, without asking for trust."""
        self.environ["DISPATCH_RUNNER_CONFIG"] = str(self.write("operator.toml", toml))

    def trace_of(self, ran: Ran, task_id: str) -> dict[str, Any]:
        return json.loads(Path(ran.tasks[task_id]["trace_file"]).read_bytes())

    def index_of(self, ran: Ran) -> dict[str, Any]:
        return json.loads(Path(ran.document["trace_index"]).read_bytes())

    @staticmethod
    def echo(task_id: str = "a", after: Sequence[str] = (), **fields: Any) -> dict[str, Any]:
        """A task for the agent that returns its input."""
        task = {"task_id": task_id, "agent": "echo", "input_data": {}, "dependencies": list(after)}
        return {**task, **fields}

    @staticmethod
    def task(task_id: str, agent: str, **fields: Any) -> dict[str, Any]:
        return {"task_id": task_id, "agent": agent, "input_data": {}, **fields}

    @staticmethod
    def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Waits for something that another process does. Looks often, gives up late."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.005)

    @staticmethod
    def valid(document: Any, name: str) -> None:
        """The document obeys the schema of that name."""
        error = jsonschema.exceptions.best_match(validator(name).iter_errors(document))
        assert error is None, error


def as_bytes(request: Stdin) -> bytes:
    """Bytes as they are; a list is the tasks of a request."""
    if isinstance(request, bytes):
        return request
    if isinstance(request, str):
        return request.encode()
    return json.dumps({"tasks": request} if isinstance(request, list) else request).encode()


def _is_below(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def processes() -> Iterator[tuple[int, bytes]]:
    """Process id and environment of every process that is no zombie."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = entry.joinpath("environ").read_bytes()
            except OSError:
                continue
            if environ:
                yield int(entry.name), environ


def check_document(ran: Ran) -> None:
    """stdout is exactly one document, of a shape that the exit code allows."""
    assert ran.stdout.endswith(b"\n"), ran
    assert ran.stdout.count(b"\n") == 1, "a program gets one line"
    document = json.loads(ran.stdout)
    if document.get("status") in {"running", "crashed"}:
        return  # not a result, and not judged as one
    if "results" in document or document.get("status") == "rejected":
        Cli.valid(document, "result")
    if "results" in document:
        check_result(document, recorded=ran.code != 3)
        assert ran.code != 2


def check_result(document: dict[str, Any], *, recorded: bool = True) -> None:
    """The counts add up, and every task is accounted for with a cause. `recorded`: else the result
    file may be that of an earlier process, or know nothing of the failure that came after it."""
    summary = document["summary"]
    counts = [summary[k] for k in ("successful", "failed", "timed_out", "blocked", "cancelled")]
    assert sum(counts) == summary["total_tasks"] == len(document["results"])
    for task in document["results"]:
        assert (task["error"] is None) == (task["status"] == "success")
        assert task["error"] is None or task["error"]["message"]
        assert task["trace_file"] is None or Path(task["trace_file"]).is_file()
    file = Path(document["result_file"])
    assert not recorded or not file.exists() or json.loads(file.read_bytes()) == document


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMAS.joinpath(f"{name}.schema.json").read_bytes())
    return jsonschema.Draft202012Validator(schema)
