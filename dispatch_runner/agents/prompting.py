"""What roles say to agents that understand language: prompts from files, and the caller's words as data.

A prompt is a file of `prompts/`: a name and a version, what the agent is (`system`), and what it is
asked (`prompt`), with placeholders such as `{{contract}}`. They are filled in one pass over the file's
own text, so a value is never read as a template. Whatever a caller, a file or another agent wrote stands
between tags that it cannot close.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from dispatch_runner.agents.reading import read_texts
from dispatch_runner.errors import InternalError
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

RESULT_LIMIT = 4_000
"""Characters of the output of one dependency."""
FILE_LIMIT = 20_000
"""Characters of one file."""
FILES_LIMIT = 100_000
"""Characters of all files together; of the others only the paths are told."""

_FILE = re.compile(
    r"---\nname: (?P<name>[\w-]+)\nversion: (?P<version>\d+)\n---\n"
    r"(?P<system>.*)\n<!-- prompt -->\n(?P<prompt>.*)",
    re.DOTALL,
)
_PLACEHOLDER = re.compile(r"\{\{(?P<name>\w+)\}\}(?P<gap>\n\n)?")
_TAG = re.compile(r"<(?=\s*/?\s*given-)", re.IGNORECASE)
_IN_ATTRIBUTE = str.maketrans({"&": "&amp;", '"': "&quot;", "<": "&lt;", "\n": " ", "\r": " "})


class Template(NamedTuple):
    """A prompt's file."""

    name: str
    version: int
    """Raised when the text changes what is asked."""
    system: str
    prompt: str

    def placeholders(self) -> set[str]:
        """The names that need a value."""
        texts = (self.system, self.prompt)
        return {found["name"] for text in texts for found in _PLACEHOLDER.finditer(text)}

    def filled(self, values: Mapping[str, str]) -> tuple[str, str]:
        """System prompt and prompt. An empty value leaves no gap behind."""
        if values.keys() != self.placeholders():
            wrong = ", ".join(sorted(values.keys() ^ self.placeholders()))
            raise InternalError(f"prompt '{self.name}' and its values differ in {wrong}")

        def value(found: re.Match[str]) -> str:
            given = values[found["name"]]
            return given + (found["gap"] or "") if given else ""

        system, prompt = (_PLACEHOLDER.sub(value, text) for text in (self.system, self.prompt))
        return system.strip(), prompt.strip()


@cache
def template(name: str) -> Template:
    """The prompt of that name."""
    text = (files("dispatch_runner.agents") / "prompts" / f"{name}.md").read_text("utf-8")
    found = _FILE.fullmatch(text)
    if found is None or found["name"] != name:
        raise InternalError(f"'{name}.md' is not the file of a prompt")
    return Template(name, int(found["version"]), found["system"], found["prompt"])


def say(name: str, call: AgentCall, values: Mapping[str, str]) -> tuple[str, str]:
    """System prompt and prompt for a call; its trace says which version was used."""
    used = template(name)
    if call.repair is None:
        call.log.tell("prompt", name=used.name, version=used.version)
    return used.filled(values)


def given(what: str, text: str, **attributes: str) -> str:
    """A text that is data: between tags that it cannot close, nor open others like them.

    Nothing else of it is changed.
    """
    told = "".join(
        f' {name}="{value.translate(_IN_ATTRIBUTE)}"' for name, value in attributes.items()
    )
    return f"<given-{what}{told}>\n{_TAG.sub('&lt;', text)}\n</given-{what}>"


def cut(text: str, limit: int) -> str:
    """At most so many characters; says so when it is less than all."""
    if len(text) <= limit:
        return text
    mark = f"\n[... cut: this is the start of {len(text):,} characters]"
    return text[: limit - len(mark)] + mark


def results(call: AgentCall) -> str:
    """What the tasks before this one gave, each bounded; empty when there are none."""
    if not call.dependencies:
        return ""
    told = [
        given("result", cut(_shown(output), RESULT_LIMIT), task=task)
        if output is not None
        else given("result", "[this task did not succeed: there is no result]", task=task)
        for task, output in call.dependencies.items()
    ]
    return "\n".join(["Results of the tasks before this one:", *told])


def _shown(output: JsonObject) -> str:
    text = output.get("text")
    if isinstance(text, str) and not any(output[name] for name in output if name != "text"):
        return text
    import orjson

    return orjson.dumps(output, option=orjson.OPT_INDENT_2).decode()


def file_texts(paths: Sequence[str], roots: AllowedRoots, field: str, what: str) -> str:
    """Files that the input names, each bounded and all together, too; empty when there are none.

    Raises `AgentError`: see `read_texts`.
    """
    if not paths:
        return ""
    return "\n".join(_bounded(read_texts(paths, roots, field=field, what=what)))


def _bounded(texts: Mapping[str, str]) -> Iterator[str]:
    left = FILES_LIMIT
    for path, text in texts.items():
        shown = cut(text, FILE_LIMIT)
        if len(shown) > left:
            shown = f"[not shown: {len(text):,} characters]"
        left -= len(shown)
        yield given("file", shown, path=path)
