"""Validators of the request, compiled ahead: pydantic's own, without building its models at each start.

`compiled.json` holds the core schemas that pydantic generates for the dataclasses of `request`;
`make schemas` writes it and a test compares. It counts for the version of pydantic-core that wrote it;
with any other one the validators are built at run time, which only takes longer.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatch_runner.models.request import Config, Task

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

COMPILED = Path(__file__).with_name("compiled.json")

Validated = type[Task] | type[Config]


def validator(kind: Validated) -> "SchemaValidator":
    """Makes instances of a part of the request from JSON objects, strictly."""
    from pydantic_core import SchemaValidator

    return SchemaValidator(_restored(_schemas()[kind.__name__], kind))


@cache
def _schemas() -> dict[str, Any]:
    import orjson
    from pydantic_core import __version__

    compiled: dict[str, Any] = orjson.loads(COMPILED.read_bytes())
    return compiled if compiled["pydantic_core"] == __version__ else compile_all()


def compile_all() -> dict[str, Any]:
    """The core schemas as JSON: what `compiled.json` holds for the installed pydantic."""
    from pydantic_core import __version__

    from dispatch_runner.models.constraints import adapter

    parts = {kind.__name__: _plain(adapter(kind).core_schema) for kind in (Task, Config)}
    return {"pydantic_core": __version__, **parts}


_FACTORIES = {"list": list, "dict": dict}


def _plain(schema: Any) -> Any:
    """Without what only pydantic's schema generation needs; factories by their names."""
    if isinstance(schema, dict):
        dropped = {"metadata", "ref", "cls"}
        return {key: _plain(value) for key, value in schema.items() if key not in dropped}
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    return schema.__name__ if isinstance(schema, type) else schema


def _restored(schema: dict[str, Any], kind: Validated) -> Any:
    for item in schema["schema"]["fields"]:
        factory = item["schema"].get("default_factory")
        if factory is not None:
            item["schema"]["default_factory"] = _FACTORIES[factory]
    # strict for all fields, but the object itself comes as JSON and not as an instance
    return {**schema, "cls": kind, "strict": False}


def render() -> bytes:
    """The bytes of `compiled.json`."""
    import orjson

    return orjson.dumps(compile_all(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    COMPILED.write_bytes(render())
