"""Bodies that a text determines: how one output field of a pure node follows from its inputs.

A recipe answers only where names, types and words leave one reading; everything else stays open.
"""

from collections.abc import Callable

from dispatch_runner.agents.coder.recipes import lists, numbers, texts
from dispatch_runner.agents.coder.recipes.question import Body, Question


def answer(question: Question) -> Body | None:
    """The body of the first recipe that fits, or null: the text does not determine the field."""
    for recipe in RECIPES:
        body = recipe(question)
        if body is not None:
            return body
    return None


def _same_name(question: Question) -> Body | None:
    """An output of an input's name and type is passed through."""
    for field in question.inputs:
        if (
            field.name == question.output.name
            and field.type.plain() == question.output.type.plain()
        ):
            if field.type.optional and not question.output.type.optional:
                return None
            return Body((f"return contract.{field.name}",))
    return None


RECIPES: tuple[Callable[[Question], Body | None], ...] = (
    _same_name, numbers.arithmetic, numbers.choice, lists.sets, lists.equality, numbers.threshold, numbers.statistic,
    numbers.count, numbers.conversion, texts.digest, texts.slug, texts.split_join, lists.difference,
    texts.validity, texts.json_text, lists.collection, texts.text_steps,
)  # fmt: skip
