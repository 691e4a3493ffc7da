"""The head of a Markdown agent file, and what is wrong with it: by line, with what to do."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

NOT_USED = frozenset({
    "permissionMode", "maxTurns", "skills", "mcpServers", "hooks", "memory",
    "effort", "isolation", "initialPrompt",
})  # fmt: skip
"""Keys that Claude Code knows and that change nothing here."""
COSMETIC = frozenset({"color", "background", "version", "author", "tags", "metadata", "license"})
USED = ("name", "description", "tools", "model")

NOTHING = ("", "~", "null")

_HEAD = re.compile(
    r"\ufeff?---[ \t]*\r?\n(?P<yaml>.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)
_NAMED = re.compile(r"^name:[ \t]*['\"]?([^'\"\r\n]+?)['\"]?[ \t\r]*$", re.MULTILINE)
_TOOLS = re.compile(r"[^,()]+(?:\([^()]*\))?")


class Wrong(Exception):
    """What makes a file unusable."""

    def __init__(self, message: str, line: int, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.name = ""
        """Of the agent that the file means to define, where it is known."""
        self.line = line
        self.hint = hint


class AgentFile(NamedTuple):
    """What a file says."""

    name: str
    description: str
    system: str
    tools: tuple[str, ...] | None
    """Null: the file names none."""
    model: str | None
    """Null: the file names none, or `inherit`."""
    notes: tuple[str, ...] = ()
    """Keys that are not used."""


def read(text: str) -> AgentFile:
    """The agent in a file's text. Raises `Wrong`."""
    try:
        return _read(text)
    except Wrong as wrong:
        named = _NAMED.search(text[:4_096])
        wrong.name = named[1] if named else ""
        raise


def _read(text: str) -> AgentFile:
    found = _HEAD.match(text)
    if found is None:
        opened = text.lstrip("\ufeff").startswith("---")
        message = "the front matter is not closed" if opened else "there is no front matter"
        raise Wrong(message, 1, "begin the file with ---, name: ..., description: ..., ---")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Wrong("it holds a NUL character", line, "remove it: it is no text")
    head = found["yaml"]
    values = _values(head)
    agent = AgentFile(
        _name(values, head),
        _text(values, "description", head),
        text[found.end() :].strip(),
        _allowed(values, head),
        None if values.get("model") in (None, "inherit") else _text(values, "model", head),
        tuple(_notes(values)),
    )
    if not agent.system:
        line = text[: found.end()].count("\n") + 1
        hint = "write the system prompt there"
        raise Wrong("there is no text below the front matter", line, hint)
    return agent


def _values(text: str) -> dict[str, Any]:
    """The keys that have a value. Every scalar is a text, as it is written: no tag and no type of YAML
    is looked at, and a name such as `no` is a name."""
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        values = yaml.load(text, Loader=loader)  # noqa: S506 - the safest one
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        hint = 'quote the value: description: "..."'
        raise Wrong(
            f"the front matter is not YAML: {problem}", mark.line + 2 if mark else 1, hint
        ) from error
    if not isinstance(values, dict):
        raise Wrong("the front matter holds no keys", 1, "write name: ... and description: ...")
    return {key: value for key, value in values.items() if value not in NOTHING}


def _name(values: dict[str, Any], head: str) -> str:
    name = _text(values, "name", head)
    wrong = next((why for why in _about_name(name)), None)
    if wrong:
        raise Wrong(
            f"the name {name!r} {wrong}", _line(head, "name"), "name it such as code-reviewer"
        )
    return name


def _about_name(name: str) -> Iterator[str]:
    if ":" in name:
        yield "holds a colon"
    if name.startswith("-"):
        yield "begins with a hyphen"
    if not name.isprintable() or len(name) > 200:
        yield "is not a short printable text"


def _text(values: dict[str, Any], key: str, head: str) -> str:
    """A key that has to be a text."""
    value = values.get(key)
    if value is None:
        raise Wrong(f"'{key}' is missing", _line(head, key), f"add {key}: ... to the front matter")
    if not isinstance(value, str) or not value.strip():
        raise Wrong(
            f"'{key}' is not a text", _line(head, key), f"write {key}: ..., in quotes if need be"
        )
    return value.strip()


def _line(head: str, key: str) -> int:
    """The file's line of a key; the first where it is not there."""
    found = re.search(rf"^{re.escape(key)}[ \t]*:", head, re.MULTILINE)
    return head[: found.start()].count("\n") + 2 if found else 1


def _allowed(values: dict[str, Any], head: str) -> tuple[str, ...] | None:
    """The tools that it names, without those that it excludes."""
    tools, excluded = _tools(values, "tools", head), _tools(values, "disallowedTools", head) or ()
    if tools is None:
        return None
    return tuple(tool for tool in tools if not {tool, tool.partition("(")[0]} & set(excluded))


def _tools(values: dict[str, Any], key: str, head: str) -> tuple[str, ...] | None:
    """Names of tools from a list, or from a text with commas. Null: none are named, or all by `*`."""
    value = values.get(key)
    if isinstance(value, str):
        value = [name.strip() for name in _TOOLS.findall(value) if name.strip()]
    if value is None or value == ["*"]:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise Wrong(f"'{key}' is no list of names", _line(head, key), f"write {key}: Read, Grep")
    return tuple(each.strip() for each in value)


def _notes(values: dict[str, Any]) -> Iterator[str]:
    for key in values:
        if key == "disallowedTools":
            if values.get("tools") in (None, "*"):
                yield "'disallowedTools' is not used without 'tools': name those that are allowed"
        elif key in NOT_USED:
            yield f"'{key}' is not used here"
        elif key not in COSMETIC and key not in USED:
            yield f"'{key}' is not a known key"
