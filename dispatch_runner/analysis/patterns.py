"""Habits in Python code, good and bad, found in its syntax tree.

A confidence says how far the syntax decides: 1.0 when it is all there is to it, less when the intent
could be another one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dispatch_runner.analysis.metrics import docstring, nesting_depth, parameters
from dispatch_runner.analysis.pycode import Definition, PyCode, dotted_name, source_text

Place = tuple[int, str]
"""Line and message."""

MOST_PARAMETERS = 7
MOST_FUNCTION_LINES = 50
MOST_METHODS = 25
MOST_NESTING = 4

_SECRET_NAME = re.compile(r"(?:^|_)(password|passwd|secret|api_?key|auth_?token|access_?token|private_?key)$", re.IGNORECASE)  # fmt: skip
_PLACEHOLDER = re.compile(
    r"^$|[<{*\s]|^(none|null|changeme|example|test|dummy|xxx+)", re.IGNORECASE
)
_SQL = re.compile(r"^\s*(select\s.+\sfrom|insert\s+into|update\s.+\sset|delete\s+from)\s", re.IGNORECASE | re.DOTALL)  # fmt: skip


class Pattern(NamedTuple):
    """A habit that is looked for."""

    name: str
    confidence: float
    find: Callable[[PyCode], Iterator[Place]]


class FoundPattern(NamedTuple):
    """A place where a habit shows."""

    name: str
    line: int
    message: str
    confidence: float


def find_patterns(code: PyCode, patterns: Sequence[Pattern]) -> list[FoundPattern]:
    """By line."""
    found = [
        FoundPattern(pattern.name, line, message, pattern.confidence)
        for pattern in patterns
        for line, message in sorted(set(pattern.find(code)))
    ]
    return sorted(found, key=lambda each: (each.line, each.name))


def _mutable_default(code: PyCode) -> Iterator[Place]:
    for function in code.functions:
        arguments = function.node.args
        for default in filter(None, (*arguments.defaults, *arguments.kw_defaults)):
            if isinstance(default, ast.List | ast.Dict | ast.Set) or _is_call(
                default, {"list", "dict", "set"}
            ):
                said = source_text(default, 40)
                yield default.lineno, f"the default `{said}` is shared by all calls"


def _is_call(node: ast.AST | None, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and dotted_name(node.func) in names


def _calls(code: PyCode) -> Iterator[tuple[ast.Call, str]]:
    for node in code.nodes:
        if isinstance(node, ast.Call):
            yield node, dotted_name(node.func)


def _handlers(code: PyCode) -> Iterator[ast.ExceptHandler]:
    return (node for node in code.nodes if isinstance(node, ast.ExceptHandler))


def _bare_except(code: PyCode) -> Iterator[Place]:
    for handler in _handlers(code):
        if handler.type is None:
            yield handler.lineno, "it catches everything, also what ends the program"


def _swallowed_error(code: PyCode) -> Iterator[Place]:
    for handler in _handlers(code):
        broad = handler.type is None or dotted_name(handler.type) in {"Exception", "BaseException"}
        if broad and all(isinstance(each, ast.Pass | ast.Continue) for each in handler.body):
            yield handler.lineno, "every error is dropped without a trace"


def _broad_except(code: PyCode) -> Iterator[Place]:
    for handler in _handlers(code):
        if dotted_name(handler.type) in {"Exception", "BaseException"}:
            raises = any(isinstance(node, ast.Raise) for node in ast.walk(handler))
            if not raises:
                yield handler.lineno, f"it catches `{dotted_name(handler.type)}` and goes on"


def _vague_raise(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if dotted_name(raised) in {"Exception", "BaseException"}:
                yield node.lineno, "no caller can catch this error without catching all"


def _evaluated_text(code: PyCode) -> Iterator[Place]:
    for call, name in _calls(code):
        if name in {"eval", "exec"}:
            yield call.lineno, f"`{name}` runs a text as code"


def _unsafe_load(code: PyCode) -> Iterator[Place]:
    for call, name in _calls(code):
        if name in {"pickle.load", "pickle.loads", "marshal.loads", "yaml.unsafe_load"}:
            yield call.lineno, f"`{name}` runs code that the data names"


def _shell_command(code: PyCode) -> Iterator[Place]:
    for call, name in _calls(code):
        shell = any(
            each.arg == "shell"
            and isinstance(each.value, ast.Constant)
            and each.value.value is True
            for each in call.keywords
        )
        if shell or name == "os.system":
            yield call.lineno, "the command goes through a shell, which takes its text apart again"


def _wildcard_import(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            yield node.lineno, f"nobody sees which names come from '{node.module or '.'}'"


def _global_state(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.Global):
            yield node.lineno, f"`global {', '.join(node.names)}` is state of the whole process"


def _secret_in_code(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        text = value.value if isinstance(value, ast.Constant) else None
        names = [dotted_name(each).rpartition(".")[2] for each in targets]
        if isinstance(text, str) and len(text) >= 4 and not _PLACEHOLDER.search(text):
            for name in filter(_SECRET_NAME.search, names):
                yield node.lineno, f"the value of `{name}` stands in the code"


def _query_from_parts(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        match node:
            case ast.JoinedStr(values=[ast.Constant(value=str(text)), _, *_]):
                pass
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Add() | ast.Mod()):
                pass
            case _:
                continue
        if _SQL.match(text + " "):
            yield node.lineno, "an SQL text is put together from parts; pass parameters"


def _long_parameter_list(code: PyCode) -> Iterator[Place]:
    for function in code.functions:
        count = len(parameters(function))
        if count > MOST_PARAMETERS:
            yield function.node.lineno, f"'{function.name}' takes {count} parameters"


def _long_function(code: PyCode) -> Iterator[Place]:
    for function in code.functions:
        if function.lines > MOST_FUNCTION_LINES:
            yield function.node.lineno, f"'{function.name}' has {function.lines} lines"


def _deep_nesting(code: PyCode) -> Iterator[Place]:
    for function in code.functions:
        depth = nesting_depth(function.node)
        if depth > MOST_NESTING:
            yield function.node.lineno, f"'{function.name}' nests {depth} blocks"


def _large_class(code: PyCode) -> Iterator[Place]:
    for name, tree in code.classes:
        count = sum(isinstance(each, Definition) for each in tree.body)
        if count > MOST_METHODS:
            yield tree.lineno, f"class '{name}' has {count} methods"


def _type_compared(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.Compare) and _compares_types(node):
            yield node.lineno, f"`{source_text(node, 60)}` is false for a subclass"


def _compares_types(node: ast.Compare) -> bool:
    sides = (node.left, *node.comparators)
    equal = isinstance(node.ops[0], ast.Eq | ast.NotEq)
    return equal and any(_is_call(each, {"type"}) for each in sides)


def _return_in_finally(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.Try | ast.TryStar):
            for each in node.finalbody:
                if isinstance(each, ast.Return):
                    yield each.lineno, "an error on its way is lost here"


def _unclosed_file(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.Attribute) and _is_call(node.value, {"open"}):
            yield (
                node.lineno,
                f"the file of `{source_text(node, 60)}` is closed some time, or never",
            )


def _naive_time(code: PyCode) -> Iterator[Place]:
    for call, name in _calls(code):
        now = name.endswith("datetime.now") and not call.args and not call.keywords
        if now or name.endswith("datetime.utcnow"):
            yield call.lineno, f"`{name}()` has no time zone"


ANTI_PATTERNS: tuple[Pattern, ...] = (
    Pattern("mutable_default", 1.0, _mutable_default),
    Pattern("bare_except", 1.0, _bare_except),
    Pattern("swallowed_error", 0.9, _swallowed_error),
    Pattern("broad_except", 0.6, _broad_except),
    Pattern("vague_raise", 0.9, _vague_raise),
    Pattern("evaluated_text", 1.0, _evaluated_text),
    Pattern("unsafe_deserialisation", 0.8, _unsafe_load),
    Pattern("shell_command", 0.8, _shell_command),
    Pattern("wildcard_import", 1.0, _wildcard_import),
    Pattern("global_state", 0.9, _global_state),
    Pattern("hard_coded_secret", 0.6, _secret_in_code),
    Pattern("sql_from_parts", 0.7, _query_from_parts),
    Pattern("long_parameter_list", 0.8, _long_parameter_list),
    Pattern("long_function", 0.8, _long_function),
    Pattern("deep_nesting", 0.9, _deep_nesting),
    Pattern("large_class", 0.7, _large_class),
    Pattern("type_compared", 0.9, _type_compared),
    Pattern("return_in_finally", 1.0, _return_in_finally),
    Pattern("unclosed_file", 0.9, _unclosed_file),
    Pattern("naive_time", 0.8, _naive_time),
)


def _documented_module(code: PyCode) -> Iterator[Place]:
    if docstring(code.tree) is not None:
        yield 1, "the module says what it is for"


def _chained_error(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.Raise) and node.cause is not None:
            yield node.lineno, "the error keeps its cause"


def _own_error(code: PyCode) -> Iterator[Place]:
    for name, tree in code.classes:
        bases = [dotted_name(base).rpartition(".")[2] for base in tree.bases]
        if any(base.endswith(("Error", "Exception")) for base in bases):
            yield tree.lineno, f"'{name}' can be caught by itself"


def _context_manager(code: PyCode) -> Iterator[Place]:
    for node in code.nodes:
        if isinstance(node, ast.With | ast.AsyncWith):
            yield node.lineno, f"`{source_text(node.items[0].context_expr, 60)}` is always ended"


def _frozen_data(code: PyCode) -> Iterator[Place]:
    for name, tree in code.classes:
        settings = [each for part in (*tree.decorator_list, *tree.body) for each in _keywords(part)]
        frozen = ("frozen", True) in settings
        if frozen or "NamedTuple" in {dotted_name(base).rpartition(".")[2] for base in tree.bases}:
            yield tree.lineno, f"a '{name}' does not change once it is made"


def _keywords(node: ast.AST) -> Iterator[tuple[str | None, object]]:
    call = node.value if isinstance(node, ast.Assign) else node
    if isinstance(call, ast.Call):
        for each in call.keywords:
            if isinstance(each.value, ast.Constant):
                yield each.arg, each.value.value


def _with_base(names: set[str], message: str) -> Callable[[PyCode], Iterator[Place]]:
    def find(code: PyCode) -> Iterator[Place]:
        for name, tree in code.classes:
            if names & {dotted_name(base).rpartition(".")[2] for base in tree.bases}:
                yield tree.lineno, message.format(name)

    return find


def _injected_dependency(code: PyCode) -> Iterator[Place]:
    for function in code.functions:
        if function.node.name == "__init__":
            for each in parameters(function):
                kind = dotted_name(each.annotation).rpartition(".")[2]
                if kind[:1].isupper() and kind.startswith(("Protocol", "Container", "ModelOnex")):
                    yield each.lineno, f"`{each.arg}` is handed in by its `{kind}`"


def _typed_signature(code: PyCode) -> Iterator[Place]:
    for function in code.functions:
        typed = all(each.annotation is not None for each in parameters(function))
        if typed and function.node.returns is not None and not function.nested:
            yield function.node.lineno, f"'{function.name}' says what it takes and gives"


def _module_logger(code: PyCode) -> Iterator[Place]:
    for call, name in _calls(code):
        if name in {"logging.getLogger", "structlog.get_logger"}:
            yield call.lineno, "messages go through a logger"


def _constant_time_limit(code: PyCode) -> Iterator[Place]:
    limits = {"fail_after", "move_on_after", "timeout", "wait_for"}
    for call, name in _calls(code):
        named = any(each.arg == "timeout" for each in call.keywords)
        if named or name.rpartition(".")[2] in limits:
            yield call.lineno, f"`{name or 'a call'}` has a time limit"


BEST_PRACTICES: tuple[Pattern, ...] = (
    Pattern("documented_module", 1.0, _documented_module),
    Pattern("typed_signature", 1.0, _typed_signature),
    Pattern("chained_error", 1.0, _chained_error),
    Pattern("own_error_class", 0.9, _own_error),
    Pattern("context_manager", 0.9, _context_manager),
    Pattern("immutable_data", 1.0, _frozen_data),
    Pattern("validated_model", 0.9, _with_base({"BaseModel"}, "'{}' validates its fields")),
    Pattern("enumeration", 1.0, _with_base({"Enum", "StrEnum", "IntEnum"}, "'{}' names its values")),
    Pattern("interface", 0.9, _with_base({"Protocol", "ABC"}, "'{}' is an interface")),
    Pattern("injected_dependency", 0.7, _injected_dependency),
    Pattern("module_logger", 0.9, _module_logger),
    Pattern("time_limit", 0.7, _constant_time_limit),
)  # fmt: skip
