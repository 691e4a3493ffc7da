"""What is asked of a recipe: one output field, and all that may determine it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dispatch_runner.agents.coder.spec import FieldSpec, FieldType
from dispatch_runner.agents.coder.words import singular


@dataclass(frozen=True, slots=True)
class Body:
    """The lines of a function `(contract) -> type`, and what they import.

    `{error}` stands for raising the node's error: `{error}(text)` becomes a raise statement.
    """

    lines: tuple[str, ...]
    imports: tuple[tuple[str, str], ...] = ()
    note: str = ""
    """What was chosen where the words leave more than one reading."""


@dataclass(frozen=True, slots=True)
class Question:
    """One output field and all that may determine it."""

    output: FieldSpec
    inputs: Sequence[FieldSpec]
    text: str
    outputs: Sequence[FieldSpec] = ()
    """All output fields: where several are alike, each is only what its own name and words say."""

    @property
    def about(self) -> str:
        """What is said of this field alone."""
        return self.output.description.lower()

    def only(self, test: Callable[[FieldType], bool]) -> FieldSpec | None:
        """The one input whose type passes the test; null when none or several do."""
        found = [f for f in self.inputs if not f.type.optional and test(f.type)]
        return found[0] if len(found) == 1 else None

    def says(self, pattern: str) -> bool:
        return re.search(rf"\b(?:{pattern})", self.text) is not None


def is_numbers(type_: FieldType) -> bool:
    return type_.base == "list" and type_.item is not None and type_.item.numeric


def words_match(name: str, field: FieldSpec) -> str:
    """`mean` from `mean`, `mean_score` or `score_mean` where the field is `scores`; else the name."""
    name = name.removesuffix("_")
    one = singular(field.name)
    for other in (field.name, one, singular(field.name.rpartition("_")[2]), "value", "number"):
        if name.endswith(f"_{other}"):
            return name.removesuffix(f"_{other}")
        if name.startswith(f"{other}_"):
            return name.removeprefix(f"{other}_")
    return name


def is_scalars(type_: FieldType) -> bool:
    return type_.base == "list" and type_.item is not None and type_.item.base in SCALARS


SCALARS = frozenset({"str", "int", "float", "bool", "date", "datetime", "UUID"})
