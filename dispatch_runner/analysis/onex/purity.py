"""What a reducer and a compute node must not do: touch the world, read the clock, throw dice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dispatch_runner.analysis.onex.module import Module
from dispatch_runner.analysis.pycode import dotted_name, source_text

Place = tuple[int, str]
"""Line and message."""

OUTSIDE = frozenset({
    "aiofiles", "aiohttp", "aiokafka", "asyncpg", "boto3", "confluent_kafka", "ftplib", "http",
    "httpx", "httpx2", "imaplib", "kafka", "paramiko", "psycopg", "psycopg2", "pymongo", "redis",
    "requests", "shutil", "smtplib", "socket", "sqlalchemy", "sqlite3", "subprocess", "telnetlib",
    "tempfile", "urllib3", "websockets",
})  # fmt: skip
"""Modules whose every call reaches outside the process."""

HARMLESS = ("os.path.", "os.fspath", "os.fsdecode", "os.fsencode", "http.HTTPStatus")
BUILT_IN = frozenset({"open", "print", "input"})
FILE_METHODS = frozenset({
    "read_text", "write_text", "read_bytes", "write_bytes", "unlink", "mkdir", "touch", "iterdir",
})  # fmt: skip
CHANGING = (
    "random.", "secrets.", "uuid.uuid1", "uuid.uuid4", "time.time", "time.monotonic",
    "time.perf_counter", "datetime.datetime.now", "datetime.datetime.utcnow",
    "datetime.datetime.today", "datetime.date.today",
)  # fmt: skip
"""Beginnings of the names of calls that give something else each time."""


def outside_calls(module: Module, scope: ast.AST) -> Iterator[Place]:
    """Calls that reach outside the process, and what is awaited from outside."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and _reaches_outside(module, node):
            yield node.lineno, f"`{source_text(node.func, 60)}(...)` is input or output"
        elif isinstance(node, ast.Await) and isinstance(node.value, ast.Call):
            name = dotted_name(node.value.func)
            if name.startswith("self.") and name.count(".") >= 2:
                yield node.lineno, f"it awaits `{name}`, which is something outside"


def _reaches_outside(module: Module, call: ast.Call) -> bool:
    name = module.full_name(call.func)
    if name in BUILT_IN:
        return name not in module.classes
    if isinstance(call.func, ast.Attribute) and call.func.attr in FILE_METHODS:
        return True
    first = dotted_name(call.func).partition(".")[0]
    if first not in module.origins or name.startswith(HARMLESS):
        return False
    return name.partition(".")[0] in OUTSIDE or name.startswith(("os.", "urllib.request."))


def changing_calls(module: Module, scope: ast.AST) -> Iterator[Place]:
    """Calls that give something else each time."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and module.full_name(node.func).startswith(CHANGING):
            said = source_text(node.func, 60)
            yield node.lineno, f"`{said}(...)` gives something else each time"
