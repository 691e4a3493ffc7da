"""Python: tracebacks, exception groups, chained causes, syntax errors, pytest's styles."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces.reader import (
    Family,
    Reader,
    Relation,
    frame_of,
    rule,
    text,
)

NAME = "python"

ERROR_LINE = re.compile(
    r"^[ |+]*(?P<type>[A-Za-z_](?:\w|\.(?=[\w<])|<locals>){0,200})(?::\s?(?P<message>.*))?$"
)
LIKELY_ERROR = re.compile(r"(Error|Exception|Exit|Interrupt|Warning|Group|Iteration)$")
MARKERS = re.compile(r"^[\s|~^]+$")
MESSAGE_SPLIT = re.compile(r"^(?P<type>[A-Za-z_][\w.]{0,200})(?::\s(?P<message>.*))?$")


def _opened(reader: Reader, match: re.Match[str]) -> bool:
    reader.open(NAME, same_chain="member" in reader.scratch)
    if reader.current is not None and "member" in reader.scratch:
        reader.current.relation = "member"
    reader.scratch.clear()
    return True


def _frame(reader: Reader, match: re.Match[str]) -> bool:
    frame = frame_of(match)
    if reader.closed or reader.current is None or reader.current.language != NAME:
        reader.open(NAME)
    reader.frame(NAME, frame)
    reader.scratch["file_column"] = str(match.start("word"))
    reader.scratch["expect"] = "code"
    return True


def _repeated(reader: Reader, match: re.Match[str]) -> bool:
    if reader.current is None or not reader.current.frames:
        return False
    count = match.group("count")
    reader.current.frames[-1].repeated += int(count) if len(count) < 10 else 0
    reader.touch()
    return True


def _chained_cause(reader: Reader, match: re.Match[str]) -> bool:
    return _link(reader, "cause")


def _chained_context(reader: Reader, match: re.Match[str]) -> bool:
    return _link(reader, "context")


def _link(reader: Reader, relation: Relation) -> bool:
    reader.link_previous(relation)
    if "pytest" in reader.scratch:
        reader.open(NAME)
    return True


def _member(reader: Reader, match: re.Match[str]) -> bool:
    if reader.current is None or reader.current.language != NAME:
        return False
    reader.scratch["member"] = "1"
    reader.touch()
    return True


def _ruler(reader: Reader, match: re.Match[str]) -> bool:
    """pytest's `=====` lines end every section."""
    reader.current = None
    reader.scratch.clear()
    return True


def _pytest_section(reader: Reader, match: re.Match[str]) -> bool:
    reader.open(NAME)
    reader.scratch.clear()
    reader.scratch["pytest"] = "1"
    return True


def _pytest_definition(reader: Reader, match: re.Match[str]) -> bool:
    if "pytest" not in reader.scratch:
        return False
    reader.pending_function = text(match, "function")
    reader.touch()
    return True


def _pytest_code(reader: Reader, match: re.Match[str]) -> bool:
    if "pytest" not in reader.scratch:
        return False
    reader.scratch["code"] = text(match, "code")
    reader.touch()
    return True


def _pytest_error(reader: Reader, match: re.Match[str]) -> bool:
    trace = reader.current
    if "pytest" not in reader.scratch or trace is None:
        return False
    line = match.group("message").strip()
    if trace.error_type:
        reader.note(line)
        return True
    parts = MESSAGE_SPLIT.match(line)
    if parts is not None and (parts["message"] is not None or LIKELY_ERROR.search(parts["type"])):
        trace.error_type, trace.message = parts["type"], (parts["message"] or "").strip()
    elif not trace.message:
        trace.error_type = "AssertionError" if line.startswith("assert ") else ""
        trace.message = line
    reader.touch()
    return True


def _pytest_location(reader: Reader, match: re.Match[str]) -> bool:
    """`file:line: KeyError` (long), `file:line: ` (an outer entry), `file:line: in f` (short)."""
    if "pytest" not in reader.scratch and not match.groupdict().get("in"):
        return False
    if reader.current is None or reader.current.language != NAME or reader.closed:
        reader.open(NAME)
        reader.scratch["pytest"] = "1"
    frame = frame_of(match)
    frame.function = frame.function or reader.pending_function
    frame.code = reader.scratch.pop("code", "")
    reader.frame(NAME, frame)
    reader.pending_function = ""
    reader.scratch["expect"] = "code" if match.groupdict().get("in") else ""
    reader.scratch["file_column"] = "0"
    _name_error(reader, text(match, "type"))
    return True


def _name_error(reader: Reader, error_type: str) -> None:
    """pytest repeats the error's short name at the raising entry."""
    trace = reader.current
    if trace is None or not error_type:
        return
    if trace.error_type == "AssertionError" and error_type != "AssertionError":
        trace.error_type = error_type
    trace.error_type = trace.error_type or error_type


def _pytest_line_style(reader: Reader, match: re.Match[str]) -> bool:
    if not LIKELY_ERROR.search(match["type"]):
        return False
    reader.open(NAME, match["type"], match["message"])
    reader.frame(NAME, frame_of(match))
    reader.closed = True
    return True


def _other(reader: Reader, line: str) -> bool:
    """Code lines and the error line at the end."""
    if "member" in reader.scratch:
        return _bare_member(reader, line)
    if reader.closed:
        return False
    if reader.scratch.get("expect") == "code" and _is_code(reader, line):
        return _take_code(reader, line)
    return _close(reader, line)


def _bare_member(reader: Reader, line: str) -> bool:
    """A member of an exception group that was never raised has no traceback of its own."""
    match = ERROR_LINE.match(line)
    if match is None:
        return False
    reader.scratch.pop("member")
    reader.open(NAME, match["type"], match["message"] or "", "member", same_chain=True)
    reader.closed = True
    return True


def _is_code(reader: Reader, line: str) -> bool:
    stripped = line.lstrip(" |")
    return bool(stripped) and len(line) - len(stripped) > int(reader.scratch["file_column"])


def _take_code(reader: Reader, line: str) -> bool:
    if reader.current is not None and reader.current.frames and not MARKERS.match(line):
        frame = reader.current.frames[-1]
        frame.code = frame.code or line.strip(" |\t")
    reader.touch()
    return True


def _close(reader: Reader, line: str) -> bool:
    """An error line ends a traceback; it stands left of the `File` lines."""
    trace = reader.current
    match = ERROR_LINE.match(line)
    if trace is None or trace.error_type or match is None or "pytest" in reader.scratch:
        return False
    if reader.index - reader.last > 2:
        return False
    left = match.start("type") < int(reader.scratch.get("file_column", "1"))
    if not left and not LIKELY_ERROR.search(match["type"]):
        return False
    trace.error_type, trace.message = match["type"], (match["message"] or "").strip()
    reader.closed = True
    reader.touch()
    return True


_FILE = r"(?:[A-Za-z]:)?[^\s:\"'<>|()\[\]][^:\"<>|\n]{0,500}"

FAMILY = Family(
    name=NAME,
    hint=re.compile(
        r"Traceback|File \"|\.pyi?:\d|^E  |^>  |^ {4}(?:async )?def |^_{3}|^={5}|exception was the|"
        r"During handling|Previous line|[+|]-+ "
    ),
    innermost_last=True,
    rules=(
        rule(r"Traceback \(most recent call last\):?", _opened),
        rule(
            r"(?:^|[\s|+])(?P<word>File) \"(?P<file>[^\"\n]{1,1000})\", line (?P<line>\d+)"
            r"(?:, in (?P<function>.{1,500}?))?$",
            _frame,
        ),
        rule(r"\[Previous line repeated (?P<count>\d+) more times?\]", _repeated),
        rule(r"exception was the direct cause of the following exception", _chained_cause),
        rule(r"During handling of the above exception, another exception", _chained_context),
        rule(r"^\s*\+(?:-\+)?-{3,} (?:\d+|\.\.\.) -{3,}$", _member),
        rule(r"^={5,}(?: .* )?=+$", _ruler),
        rule(r"^_{3,} (?P<test>\S.{0,300}?) _{3,}$", _pytest_section),
        rule(r"^ {4,}(?:async )?def (?P<function>\w+)\(", _pytest_definition),
        rule(r"^> {2,}(?P<code>.+)$", _pytest_code),
        rule(r"^E {2,}(?P<message>.*)$", _pytest_error),
        rule(
            rf"^(?P<file>{_FILE}\.pyi?):(?P<line>\d+): (?P<in>in )(?P<function>\S.{{0,300}})$",
            _pytest_location,
        ),
        rule(
            rf"^(?P<file>{_FILE}\.pyi?):(?P<line>\d+):(?: (?P<type>[A-Za-z_][\w.]*)?)?$",
            _pytest_location,
        ),
        rule(
            rf"^(?P<file>{_FILE}\.pyi?):(?P<line>\d+): (?P<type>[A-Za-z_][\w.]*): (?P<message>.*)$",
            _pytest_line_style,
        ),
    ),
    other=_other,
)
