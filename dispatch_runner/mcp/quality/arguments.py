"""What the tools take. The names that older servers had for the same thing are taken too."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from dispatch_runner.models import JsonObject

MOST_CONTENT = 1_000_000
MOST_RESULTS = 50


class ToolDescription(NamedTuple):
    """A tool as clients see it."""

    name: str
    description: str
    input_schema: JsonObject
    """JSON Schema of the arguments."""


class WrongArguments(Exception):
    """A tool was called with arguments that it does not take. The message says what is wrong with each."""


class Arguments(BaseModel):
    """Base of the arguments of a tool: unknown ones are wrong."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, use_attribute_docstrings=True)

    @classmethod
    def read(cls, tool: str, value: JsonObject) -> Self:
        """The arguments, checked.

        Raises:
            WrongArguments: with everything that is wrong.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {cls._said(each['msg'], each['type'])}"
                for each in error.errors(include_url=False, include_context=False)
            )
            raise WrongArguments(f"wrong arguments for '{tool}': {problems}") from error

    @classmethod
    def _said(cls, message: str, kind: str) -> str:
        if kind == "extra_forbidden":
            return f"there is no such argument; there are {', '.join(cls.model_fields)}"
        return message[:1].lower() + message[1:]

    @classmethod
    def schema_of(cls) -> JsonObject:
        """JSON Schema of the arguments by their present names."""
        schema = cls.model_json_schema()
        schema.pop("description", None)
        schema.pop("title", None)
        for each in schema["properties"].values():
            each.pop("title", None)
        return schema


Content = Annotated[str, Field(max_length=MOST_CONTENT)]
Count = Annotated[int, Field(ge=1, le=MOST_RESULTS)]
_COUNT = AliasChoices("max_results", "match_count", "max_results_per_source")
_SOURCE = AliasChoices("source", "source_domain", "source_id")


class AssessArguments(Arguments):
    """Of `assess_code_quality`."""

    content: Content
    """The text of the file."""
    source_path: str = ""
    """Where it comes from; only its name is looked at, nothing is read."""
    language: str = ""
    """The programming language. [default: by the ending of `source_path`, else python]"""


class SearchArguments(Arguments):
    """Of `perform_rag_query` and `search_code_examples`."""

    query: str = Field(min_length=1, max_length=4_000)
    """What to look for: words or identifiers; any of them may fit."""
    context: str = "general"
    """What it is for: `architecture` prefers documents, `api_development` and `debugging` prefer code."""
    max_results: Count = Field(default=5, validation_alias=_COUNT)
    """At most so many."""
    source: str = Field(default="", validation_alias=_SOURCE)
    """Only files with this text in their path, as it is below the folder searched."""


class ResearchArguments(SearchArguments):
    """Of `research`."""

    queries: list[Annotated[str, Field(min_length=1, max_length=4_000)]] = Field(
        default_factory=list, max_length=20
    )
    """Further queries: the results of all are merged."""


class ComplianceArguments(Arguments):
    """Of `check_architectural_compliance`."""

    content: Content
    """The text of the file: Python."""
    architecture_type: Literal["onex", "clean", "microservices"] = "onex"
    """Whose rules; only those of `onex` are known."""
    source_path: str = ""
    """Where it comes from, for the rule about the file's name; nothing is read."""


class PatternArguments(Arguments):
    """Of `get_quality_patterns`."""

    content: Content
    """The text of the file: Python."""
    pattern_type: Literal["best_practices", "anti_patterns"] = "best_practices"
    """Which habits to look for."""
