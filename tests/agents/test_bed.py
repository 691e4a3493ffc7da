"""The bed itself: the namespace is sealed, and every program answers from the scripted server in it."""

import errno
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.environments import GEMINI_MODEL, KEY
from agents.jail import sealed
from support.model_server import ModelServer, text

PROMPT = "What is the answer?"
ANSWER = "The answer is 42."
INVOCATIONS = {
    "claude-code": ["-p", "--output-format", "json", "--no-session-persistence"],
    "codex": ["exec", "--json", "--ephemeral", "--skip-git-repo-check", "-"],
    "gemini": ["-m", GEMINI_MODEL, "-o", "json", "--skip-trust"],
    "opencode": ["run", "--format", "json"],
}
"""One turn with the prompt on stdin, the answer somewhere on stdout."""


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]
)
def test_an_address_outside_cannot_be_reached(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as outside:
        outside.settimeout(1.0)
        assert outside.connect_ex((address, 443)) in {errno.ENETUNREACH, errno.EADDRNOTAVAIL}
    assert sealed()


@pytest.mark.parametrize("name", INVOCATIONS)
def test_a_program_answers_from_the_scripted_server(
    name: str,
    program: Callable[[str], Path],
    server: Callable[..., ModelServer],
    environment: Callable[[str, ModelServer], dict[str, str]],
    tmp_path: Path,
) -> None:
    model = server(text(ANSWER))
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [program(name), *INVOCATIONS[name]],
        input=PROMPT.encode(),
        env=environment(name, model),
        cwd=work,
        capture_output=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, ANSWER in done.stdout.decode()) == (0, True), done
    assert json.loads(done.stdout.splitlines()[0] if name != "gemini" else done.stdout)
    (request,) = model.requests
    assert PROMPT in request.text
    assert any(KEY in value for value in request.headers.values())
