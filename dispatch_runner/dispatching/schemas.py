"""All schemas of the contract, with those of the built-in agents and of Markdown files."""

from pathlib import Path

from dispatch_runner.agents.markdown import MarkdownRole
from dispatch_runner.agents.registry import Registry
from dispatch_runner.models import JsonObject
from dispatch_runner.preflight.schemas import render, schemas
from dispatch_runner.report.event_lines import event_schema
from dispatch_runner.settings import Settings


def all_schemas() -> dict[str, JsonObject]:
    """Every schema by name: the same on every machine, whatever the operator defined."""
    found = schemas(Registry(Settings(cwd=Path("/"))), {"markdown": MarkdownRole})
    found["event"] = event_schema()
    return dict(sorted(found.items()))


def write_all(folder: Path) -> None:
    """Writes `<name>.schema.json` for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in all_schemas().items():
        folder.joinpath(f"{name}.schema.json").write_bytes(render(schema))


__all__ = ["all_schemas", "render", "write_all"]
