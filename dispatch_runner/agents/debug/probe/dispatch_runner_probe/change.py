"""Puts a mutant's code in place of the original, in the memory of this process only."""

from __future__ import annotations

import gc
import importlib.machinery
import os
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from .job import Mutant

Path = tuple[tuple[str, int], ...]
"""Names from the module inwards, each with its number among equal names beside it."""


def mutated(source: str, mutant: Mutant) -> str:
    """The file's text with the change."""
    return source[: mutant.start] + mutant.text + source[mutant.end :]


def _nested(code: CodeType, path: Path = ()) -> Iterator[tuple[Path, CodeType]]:
    counts: dict[str, int] = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            number = counts.get(constant.co_name, 0)
            counts[constant.co_name] = number + 1
            inner = (*path, (constant.co_name, number))
            yield inner, constant
            yield from _nested(constant, inner)


def _compiled(source: str, path: str) -> CodeType:
    return compile(source, path, "exec", dont_inherit=True)


def _known(source: str, file: str) -> list[tuple[Path, CodeType]]:
    try:
        return list(_nested(_compiled(source, file)))
    except SyntaxError:  # this Python is older than the one that made the mutants
        return []


class Live:
    """The functions of the files under suspicion that exist in this process."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources
        self._functions: dict[tuple[str, Path], list[FunctionType]] = {}
        paths = {
            (file, code.co_name, code.co_firstlineno): path
            for file, source in sources.items()
            for path, code in _known(source, file)
        }
        real: dict[str, str] = {}
        for item in gc.get_objects():
            if type(item) is FunctionType:
                code = item.__code__
                name = code.co_filename
                file = real.get(name) or real.setdefault(name, os.path.realpath(name))
                path = paths.get((file, code.co_name, code.co_firstlineno))
                if path is not None:
                    self._functions.setdefault((file, path), []).append(item)

    def apply(self, mutant: Mutant) -> None:
        """Gives every function of the mutant's file the mutant's code.

        Raises `SyntaxError` when the mutant does not compile, `ValueError` when it cannot be put
        in place because it uses other names of the functions around it.
        """
        source = self._sources[mutant.file]
        for path, code in _nested(_compiled(mutated(source, mutant), mutant.file)):
            for function in self._functions.get((mutant.file, path), ()):
                function.__code__ = code


def import_changed(source: str, mutant: Mutant) -> None:
    """Modules of the mutant's file get its code: those to be imported, and those that were."""
    code = _compiled(mutated(source, mutant), mutant.file)
    loader: Any = importlib.machinery.SourceFileLoader
    original = loader.get_code

    def get_code(self: Any, name: str) -> CodeType | None:
        if os.path.realpath(self.path) == mutant.file:
            return code
        found: CodeType | None = original(self, name)
        return found

    loader.get_code = get_code
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and os.path.realpath(file) == mutant.file:
            exec(code, module.__dict__)  # noqa: S102 - the tested project's own code
