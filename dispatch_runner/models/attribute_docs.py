"""The docstrings below attributes, read from the source: what fields mean, written once.

Reading them costs milliseconds, so it is done where schemas are made, not at start-up.
"""

import ast
import inspect
import textwrap


def attribute_docs(cls: type) -> dict[str, str]:
    """The docstring below each attribute of a class and of its bases, in one line."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is not object and not base.__module__.startswith("pydantic"):
            docs.update(_docs_in_source(base))
    return docs


def one_line(text: str) -> str:
    """Line breaks inside a paragraph are the source's, not the text's."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _docs_in_source(cls: type) -> dict[str, str]:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(node, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, after in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            docs[field.target.id] = one_line(after.value.value)
    return docs
