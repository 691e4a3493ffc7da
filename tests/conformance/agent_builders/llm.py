"""A bare model: the real client library of Anthropic, and a scripted server."""

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dispatch_runner.backends.llm.backend import LlmBackend
from dispatch_runner.settings.backend_options import BackendOptions
from support.model_server import (
    ModelServer,
    Request,
    Turn,
    empty,
    error,
    garbage,
    hang,
    overloaded,
    quota_exhausted,
    refusal,
    structured,
    text,
    tool,
)

ASYNCIO_ONLY = True
KEY = "LLM_TEST_KEY"
NO_PROGRAM = "it starts no program"
LACKS = {"crash": NO_PROGRAM, "orphan": NO_PROGRAM, "working": NO_PROGRAM, "deaf": NO_PROGRAM}
LISTING = tool("list_files", {})


def echo(request: Request) -> Turn:
    content = request.body["messages"][-1]["content"]
    return text(content if isinstance(content, str) else content[0]["text"])


SCRIPTS: Mapping[str, Any] = {
    "success": text("hello"),
    "echo": echo,
    "tool": [LISTING, text("hello")],
    "structured": structured({"answer": 42}),
    "unstructured": text("forty-two, I think"),
    "repair": [text("wrong"), lambda request: text("right" if "wrong" in request.text else "?")],
    "denied": [tool("read_file", {"path": "/etc/passwd"}), text("all done")],
    "empty": empty(),
    "refusal": refusal(),
    "turns": LISTING,
    "spending": LISTING,
    "quota": quota_exhausted(resets_in=3600),
    "529": overloaded(),
    "unreachable": text("nobody asks"),
    "garbage": garbage(),
    "silence": hang(),
}


@asynccontextmanager
async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[LlmBackend]:
    script = SCRIPTS[scenario] if scenario in SCRIPTS else error(int(scenario))
    if scenario == "turns":
        options["max_turns"] = 3
    with ModelServer(script) as server:
        url = closed() if scenario == "unreachable" else server.url
        given = {"model": "anthropic:claude-sonnet-4-6", "base_url": url, "api_key_env": KEY}
        os.environ[KEY] = "dummy"
        try:
            yield LlmBackend(BackendOptions("asking", **given, **options))
        finally:
            del os.environ[KEY]


def closed() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
