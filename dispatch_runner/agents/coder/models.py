"""What a coder task is given, and what it gives back."""

from typing import Annotated, Literal

from pydantic import Field

from dispatch_runner.agents.quality import Quality
from dispatch_runner.models.base import Model

NodeType = Literal["Effect", "Compute", "Reducer", "Orchestrator"]
Level = Literal["strict", "moderate", "lenient"]
GateStatus = Literal["passed", "failed", "not_assessed"]


class CoderInput(Model):
    """One node module to make from a contract description."""

    contract_description: Annotated[str, Field(min_length=1)]
    """What the node does, in plain English, or a YAML or JSON contract (also inside other text)."""
    node_type: NodeType
    """Which of the four kinds of node."""
    output_path: Annotated[str, Field(min_length=1)]
    """Absolute path of the one `.py` file to write, inside an allowed folder."""
    context_files: list[str] = []
    """Absolute paths of files to read; a contract among them is used when the description has none."""
    validation_level: Level = "moderate"
    """Which gates have to pass. `lenient`: parses, lints; `moderate`: and imports in a clean process,
    its models can be made, its names follow the rules; `strict`: and types check, a self-test runs."""
    overwrite: bool = False
    """Whether a file that is already at `output_path` may be replaced."""
    node_name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The node's name, such as `WebPageFetch`, where the description does not say it.
    Default: from the file's name, else from what the node does."""
    profile: Literal["standalone", "standalone-process", "omnibase-core"] = "standalone"
    """Method names and base classes. `standalone`: `execute_*`, needs pydantic only;
    `standalone-process`: `process_*`, with `validate_input` and `get_health_status`;
    `omnibase-core`: base classes of that package, which has to be installed for more than `lenient`."""


class Finding(Model):
    """One thing that a gate found."""

    message: str
    """What is wrong."""
    code: str | None = None
    """The rule, such as `F401`, where there is one."""
    line: int | None = None
    """Line of the generated file, from 1, where there is one."""


class Gate(Model):
    """One check of the generated file."""

    name: str
    """`syntax`, `lint`, `format`, `naming`, `import`, `models`, `types` or `self_test`."""
    status: GateStatus
    """`not_assessed`: the tool is missing or could not judge; never counted as passed."""
    blocking: bool
    """Whether it has to pass at this validation level."""
    duration_ms: float
    """Time that it took, in milliseconds; 0 when nothing ran. Gates run at the same time."""
    findings: list[Finding] = []
    """What it found, at most 50."""


class OpenPoint(Model):
    """Something that the contract does not determine: code that is left to be written."""

    where: str
    """The field, class or step."""
    message: str
    """What is not stated."""


class CoderAnswer(Model):
    """What an agent that is asked in words has to give. The role writes the file, when it passes."""

    code: str
    """The whole source of the module, without a Markdown fence."""
    open_points: list[OpenPoint]
    """What the contract does not determine and the module therefore leaves open; empty when nothing."""


class CoderOutput(Model):
    """The file that was made, and how it was checked."""

    generated_file: str
    """Absolute path, symbolic links resolved."""
    validation_passed: bool
    """Whether every blocking gate passed. Always true here: otherwise the task fails."""
    validation_level: Level
    """Which gates were blocking."""
    class_name: str | None
    """The node's class; null when no class has the name of a node, which only `lenient` lets pass."""
    node_type: NodeType
    """As asked for."""
    gates: list[Gate]
    """Every check that was made, in a fixed order."""
    quality: Quality
    """From the tool `assess_code_quality`, at `moderate` and `strict`."""
    open_points: list[OpenPoint] = []
    """What is left to be written: each raises `NotImplementedError` or is given to a constructor."""
    models: list[str] = []
    """The pydantic models of the file."""
    lines: int
    """Lines of the file."""
    sha256: str
    """Of its bytes; the same input gives the same bytes."""
    warnings: list[str] = []
    """What the caller should know: names that were changed, files that were not used."""
