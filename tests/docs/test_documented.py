"""Whatever a caller can write or meet is in the documents, and nothing in them is made up."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from dispatch_runner.agents.registry import BACKENDS, ROLES
from dispatch_runner.cli.app import app
from dispatch_runner.cli.exits import Exit
from dispatch_runner.cli.help_page import PAGE, render
from dispatch_runner.dispatching.schemas import all_schemas
from dispatch_runner.models import ErrorType, TaskStatus
from dispatch_runner.settings import schema as settings_schema
from dispatch_runner.settings.convert import CONVERTERS
from dispatch_runner.settings.load import OTHERS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dispatch_runner"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md"),
     *ROOT.glob("schemas/*.md"), ROOT / "traces/README.md"]
)  # fmt: skip
PROTOCOL, AGENTS, CONFIGURATION, README = (
    (ROOT / name).read_text()
    for name in ("docs/protocol.md", "docs/agents.md", "docs/configuration.md", "README.md")
)
SCHEMAS = all_schemas()
NOT_OURS = {"--continue", "--stg", "--plugin-dir", "--kill-after", "--joblog", "--strict"}
"""Flags of other programs that the documents mention."""

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def section(text: str, title: str) -> str:
    """What is below a heading, up to the next one of its level."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert found, f"no heading {title!r}"
    rest = text[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = (line.replace("\\|", "\0") for line in text.splitlines() if line.startswith("|"))
    return [[c.strip().replace("\0", "|") for c in line.strip("|").split("|")] for line in lines]


def codes(text: str) -> set[str]:
    """What stands between backquotes, also the words of it."""
    spans = re.findall(r"`([^`]+)`", text.replace("```", "`"))  # blocks, too
    return {*spans, *(word for span in spans for word in re.findall(r"[\w$.-]+", span))}


def trees() -> Iterator[ast.Module]:
    return (ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py"))


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, nested in getattr(command, "commands", {}).items():
        yield from commands(nested, f"{name} {child}".strip())


COMMANDS = dict(commands(get_command(app)))
FLAGS = [
    (name, flag)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if parameter.param_type_name == "option"
    for flag in (*parameter.opts, *parameter.secondary_opts)
]


LEAVES = [name for name, command in COMMANDS.items() if not getattr(command, "commands", None)]


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"^\| `{command}( \[|`)", PROTOCOL, re.MULTILINE)


@pytest.mark.parametrize(("command", "flag"), FLAGS)
def test_every_flag_is_documented_for_its_command(command: str, flag: str) -> None:
    table = rows(section(PROTOCOL, "Commands and flags"))
    whole = re.compile(rf"(?<![\w-]){flag}(?![\w-])")
    scopes = [row[1] for row in table if whole.search(row[0])]
    assert any(_covers(scope, command) for scope in scopes), f"{flag} of '{command}'"


def _covers(scope: str, command: str) -> bool:
    if not command:
        return "the program" in scope
    names = {command, f"{command.partition(' ')[0]} ..."}
    if command in {"start", "resume"}:  # the document says once that theirs are those of `run`
        names.add("run")
    named = set(re.findall(r"`([^`]+)`", scope))
    return "every command" in scope or not names.isdisjoint(named)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_flag_that_does_not_exist(document: Path) -> None:
    known = {flag for _, flag in FLAGS} | NOT_OURS | {"--help", "--version"}
    if (
        document.name == "backends.md" or document.parent.name == "adr"
    ):  # those that we give to the agents' programs
        sources = (ROOT / "dispatch_runner" / "backends").rglob("*.py")
        known |= {flag for path in sources for flag in FLAG.findall(path.read_text())}
    assert set(FLAG.findall(document.read_text())) - known == set()


def test_help_page_is_the_one_that_the_commands_define() -> None:
    assert PAGE.read_text() == render(), "run `make schemas`"


@pytest.mark.parametrize("code", Exit)
def test_every_exit_code_is_documented(code: Exit) -> None:
    for text in (section(PROTOCOL, "Exit codes"), section(README, "Contract")):
        numbers = {number for row in rows(text) for number in re.findall(r"\b\d+\b", row[0])}
        assert str(int(code)) in numbers


def test_no_exit_code_is_documented_that_does_not_exist() -> None:
    table = rows(section(PROTOCOL, "Exit codes"))
    numbers = {int(number) for row in table for number in re.findall(r"\b\d+\b", row[0])}
    assert numbers == set(map(int, Exit))


def test_every_error_type_is_documented_and_no_other() -> None:
    table = rows(section(PROTOCOL, "Errors of tasks"))[2:]
    assert [row[0].strip("`") for row in table] == list(ErrorType)


def test_every_status_of_a_task_is_documented() -> None:
    assert set(TaskStatus) <= codes(section(PROTOCOL, "Result"))


@cache
def variables() -> set[str]:
    """Names of environment variables in the source: ours, and whatever is asked of `environ`."""
    found = {f"DISPATCH_RUNNER_{key.upper()}" for key in (*CONVERTERS, *OTHERS)}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"^(?:DISPATCH_RUNNER|XDG)_[A-Z_]+[A-Z]$", node.value))
            if path not in HANDED:
                found |= _asked(node)
    return found


HANDED = {PACKAGE / "process" / "sweep.py"}
"""Programs of ours whose whole environment is made by the module that starts them."""


def _asked(node: ast.AST) -> set[str]:
    match node:
        case ast.Call(ast.Attribute(attr="get", value=owner), [ast.Constant(str(name)), *_]):
            pass
        case ast.Subscript(owner, ast.Constant(str(name))):
            pass
        case _:
            return set()
    named = ast.unparse(owner).rpartition(".")[2]
    return {name} if named in {"environ", "env", "environment"} and name.isupper() else set()


def test_every_environment_variable_is_documented() -> None:
    assert variables() - codes(section(PROTOCOL, "Environment variables")) == set()
    ours = {name for name in variables() if name.startswith("DISPATCH_RUNNER_")}
    documented = set(re.findall(r"DISPATCH_RUNNER_[A-Z_]+[A-Z]", PROTOCOL))
    assert documented - ours == set()


STAMP = {"event", "seq", "time", "elapsed_ms"}


def event_lines() -> dict[str, set[str]]:
    """The fields of each event, without those that all have."""
    definitions = SCHEMAS["event"]["$defs"].values()
    lines = (body["properties"] for body in definitions if "event" in body.get("properties", {}))
    return {line["event"]["const"]: line.keys() - STAMP for line in lines}


def test_every_event_is_documented_with_all_its_fields_and_no_other() -> None:
    table = {row[0].strip("`"): row[1] for row in rows(section(PROTOCOL, "Events"))[2:]}
    assert table.keys() == event_lines().keys()
    for event, fields in event_lines().items():
        assert fields - codes(table[event]) == set(), event


def test_every_event_of_the_journal_is_documented() -> None:
    trees = [
        ast.parse((PACKAGE / f"records/{name}.py").read_text()) for name in ("recorder", "restore")
    ]
    appended = {
        node.args[0].value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("_journal.append")
        and isinstance(node.args[0], ast.Constant)
    }
    assert len(appended) >= 7
    for text in (PROTOCOL, (ROOT / "traces/README.md").read_text()):
        assert {"opened", *appended} - codes(section(text, "Journal")) == set()


def fields(schema: str, *definitions: str) -> set[str]:
    """Names of the properties of a schema's own object and of some of its definitions."""
    body = SCHEMAS[schema]
    objects = [body, *(body["$defs"][name] for name in definitions)]
    return {name for item in objects for name in item.get("properties", {})}


@pytest.mark.parametrize(
    ("title", "schema", "definitions"),
    [
        ("Request", "request", ("Task", "Config")),
        ("Result", "result", ("Result", "TaskResult", "Summary", "Usage", "TaskError")),
        ("Result", "result", ("Merge", "MergeConflict", "FailedCheck", "LeftOut")),
        ("Rejection", "result", ("Rejection", "Problem")),
        ("Index", "index", ("IndexEntry",)),
        ("Trace", "trace", ("Attempt", "McpCall", "TraceEvent")),
        ("Envelope of programs", "envelope", ()),
    ],
)
def test_every_field_is_documented(title: str, schema: str, definitions: tuple[str, ...]) -> None:
    assert fields(schema, *definitions) - codes(section(PROTOCOL, title)) == set()


@pytest.mark.parametrize("agent", ROLES)
def test_every_built_in_agent_is_documented(agent: str) -> None:
    section(AGENTS, agent)
    assert f"| `{agent}` |" in section(README, "Agents")


@pytest.mark.parametrize("agent", ["coder", "debug"])
def test_every_field_of_an_agent_is_documented(agent: str) -> None:
    first_cells = " ".join(row[0] for row in rows(section(AGENTS, agent)))
    known = fields(f"{agent}-input") | fields(f"{agent}-output")
    assert known - codes(first_cells) == set()


def test_every_backend_is_documented() -> None:
    assert set(BACKENDS) <= codes(AGENTS) & codes(CONFIGURATION)


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("`[agents.NAME]`", "AgentSettings"),
        ("`[limits.NAME]`", "LimitSettings"),
        ("`[checks.NAME]`", "CheckSettings"),
        ("`[workspaces]`", "WorkspaceSettings"),
        ("`[cache]`", "CacheSettings"),
        ("`[mcp]`", "McpTables"),
        ("`[mcp.servers.NAME]`", "McpServerSettings"),
        ("`[mcp.tools.NAME]`", "McpToolSettings"),
    ],
)
def test_every_key_of_the_settings_file_is_documented_and_no_other(title: str, model: str) -> None:
    keys = set(_fields_of(getattr(settings_schema, model)))
    documented = {row[0].strip("`") for row in rows(section(CONFIGURATION, title))[2:]}
    assert documented == keys


def test_every_default_of_the_settings_file_is_documented() -> None:
    known = codes(section(CONFIGURATION, "Precedence"))
    assert set(_fields_of(settings_schema.Defaults)) - known == set()


def _fields_of(model: Any) -> list[str]:
    return list(getattr(model, "model_fields", None) or model.__dataclass_fields__)


def test_every_make_target_is_documented_and_no_other() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    table = rows(section((ROOT / "docs/contributing.md").read_text(), "Contributing"))
    documented = {name for row in table[2:] for name in re.findall(r"`([a-z-]+)`", row[0])}
    assert set(targets) - documented == set()
    mentioned = {
        name
        for path in DOCUMENTS
        for name in re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert mentioned - set(targets) == set()


def test_every_module_has_its_layer_in_the_design() -> None:
    table = rows(section((ROOT / "docs/design.md").read_text(), "Layers"))
    placed = codes(" ".join(row[1] for row in table))
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert {name for name in modules if not name.startswith("__")} - placed == set()


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [path.name[:4] for path in sorted((ROOT / "docs/adr").glob("*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def slugs(text: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_resolve(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+://", place):
            continue
        target = document.parent / place if place else document
        assert target.exists(), link
        assert not anchor or anchor in slugs(target.read_text()), link
