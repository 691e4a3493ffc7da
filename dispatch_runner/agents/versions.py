"""By what it is told that a role would answer otherwise than before."""

from functools import cache

JUDGES = ("ruff", "mypy")
"""Tools that look at an answer, or make it."""


@cache
def role_version(prompt: str) -> str:
    """Of a role that asks with a prompt of ours: the prompt's, and those of the tools that judge."""
    from importlib.metadata import PackageNotFoundError, version

    from dispatch_runner.agents.prompting import template

    told = [f"prompt {template(prompt).version}"]
    for tool in JUDGES:
        try:
            told.append(f"{tool} {version(tool)}")
        except PackageNotFoundError:
            told.append(f"no {tool}")
    return ", ".join(told)
