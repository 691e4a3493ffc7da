"""What a result depends on, part by part, and the key that all parts together make."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dispatch_runner.cache.digests import Uncacheable, digest, digest_at, files_of
from dispatch_runner.paths import identity, is_glob
from dispatch_runner.protocols import CacheableRole
from dispatch_runner.settings.backend_options import BackendOptions

if TYPE_CHECKING:
    from dispatch_runner.engine.runner import Job
    from dispatch_runner.models import JsonObject
    from dispatch_runner.paths import AllowedRoots
    from dispatch_runner.protocols import Role
    from dispatch_runner.settings.schema import AgentSettings, CheckSettings

FORMAT = 1
"""Raised when parts come to mean something else: what was kept before is then never found."""

NO_EFFECT = frozenset(
    {
        "agent", "api_key_env", "provider", "grace_seconds",
        "max_memory_mb", "max_cpu_seconds", "max_open_files",
    }
)  # fmt: skip
"""Of a backend's options: they decide whether there is an answer, not which."""

SERVED_BY = re.compile(r"_(MODEL|BASE_URL|HOST)$")
"""Variables by which programs and client libraries choose a model, or who serves it."""

Parts = dict[str, str]
"""Name of a part to its digest, or to what it is when that is short."""


class Keys(NamedTuple):
    """Finds what the results of one operator's agents depend on."""

    agents: Mapping[str, AgentSettings]
    checks: Mapping[str, CheckSettings]
    environ: Mapping[str, str]
    folder: Path
    """Where the agents work."""
    roots: AllowedRoots

    def parts(
        self, job: Job, value: JsonObject, dependencies: Mapping[str, Any], writes: Sequence[str]
    ) -> Parts:
        """All parts for a task with its input resolved; reads every file that counts.

        `writes`: resolved paths whose content is not a part: what was there before is compared when
        a result is used again. Raises `Uncacheable`.
        """
        role = job.agent.role
        parts = {
            "format": str(FORMAT),
            "agent": job.agent.name,
            "role": _version(role),
            "tools": ", ".join(role.missing_tools()),
            "backend": job.agent.backend.name,
            "folder": str(self.folder),
            **self._definition(job, writes),
            **{f"input/{name}": digest(each) for name, each in value.items()},
            **{f"result of {name}": digest(each) for name, each in dependencies.items()},
            **{f"check {name}": self._check(name) for name in _checks(job)},
        }
        for path in sorted(self._reads(role, value)):
            if path not in writes:
                parts[f"file {path}"] = digest_at(path)
        return parts

    def _definition(self, job: Job, writes: Sequence[str]) -> Parts:
        """What the operator says of the agent; for a program, also what is in its files."""
        backend, parts = job.agent.backend, Parts()
        if backend.name == "command" or not isinstance(job.agent.role, CacheableRole):
            parts["description"] = digest(job.task.description)  # our own prompts leave it out
        definition = self.agents.get(job.agent.name)
        named = (definition and definition.env) or ()
        served = [] if backend.provider is None else filter(SERVED_BY.search, self.environ)
        if named or backend.provider is not None:
            parts["variables"] = self._variables([*named, *served])
        if definition is None:
            return parts
        told = definition.model_dump(mode="json", exclude_none=True)
        for field in fields(BackendOptions):
            if field.name in told and field.name not in NO_EFFECT:
                parts[f"option {field.name}"] = digest(told[field.name])
        for pattern in definition.reads:
            parts[f"reads {pattern}"] = digest(files_of(str(self.folder / pattern), writes))
        for path in self._programs(definition.command or (), definition.cwd):
            parts[f"program {path}"] = digest_at(path)
        return parts

    def _variables(self, names: Sequence[str]) -> str:
        """Values in the environment; of secrets, only that they are there."""
        from dispatch_runner.settings.environment import SECRET_NAME, passed_environment

        seen = passed_environment(names, self.environ)
        return digest({name: not SECRET_NAME.search(name) and seen[name] for name in seen})

    def _programs(self, command: Sequence[str], cwd: str | None) -> Iterator[str]:
        """The files that a command names: its program, and scripts among its arguments."""
        from shutil import which

        base = self.folder / (cwd or "")
        for number, word in enumerate(command):
            found = which(word, path=self.environ.get("PATH")) if number == 0 else None
            path = identity(str(base / (found or word))) if "\0" not in word else ""
            if os.path.isfile(path):
                yield path

    def _check(self, name: str) -> str:
        check = self.checks[name]
        programs = {path: digest_at(path) for path in self._programs(check.command, None)}
        return digest([list(check.command), check.env, programs])

    def _reads(self, role: Role, value: JsonObject) -> set[str]:
        """Resolved paths. A role that does not say is taken to read every path in its input."""
        if not isinstance(role, CacheableRole):
            return {identity(text) for text in _texts(value) if self._is_path(text)}
        told = role.reads(value)
        if told is None:
            raise Uncacheable("it depends on more files than its input names")
        return {identity(path) for path in told}

    def _is_path(self, text: str) -> bool:
        return text.startswith("/") and self.roots.problem(text) is None and not is_glob(text)


def key_of(parts: Parts) -> str:
    """The name under which a result is kept: 64 hexadecimal digits."""
    return digest(parts)


def _checks(job: Job) -> tuple[str, ...]:
    return (*job.agent.checks, *job.task.checks)


def _version(role: Role) -> str:
    """Which role it is; of one that has no version, by the file that defines it."""
    from dispatch_runner import __version__

    kind = type(role)
    name = f"{role.name}, {kind.__module__}.{kind.__qualname__}, dispatch-runner {__version__}"
    if isinstance(role, CacheableRole):
        return f"{name}, version {role.version}"
    import sys

    source = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return f"{name}, file {digest_at(identity(source))}" if source else name


def _texts(value: Any) -> Iterator[str]:
    """Every string in a JSON value that is no key."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, list):
            todo += item
