"""The task of `coder` in words."""

from pathlib import PurePosixPath

from dispatch_runner.agents import prompting
from dispatch_runner.agents.answers import answer_schema
from dispatch_runner.agents.coder import demands
from dispatch_runner.agents.coder.models import CoderAnswer, CoderInput
from dispatch_runner.agents.coder.naming import strip_name
from dispatch_runner.agents.coder.profiles import PROFILES
from dispatch_runner.protocols import AgentCall, Question


def brief(asked: CoderInput, call: AgentCall) -> Question:
    """What an agent is asked for. Raises `AgentError` for context files that cannot be read."""
    system, prompt = prompting.say(
        "coder",
        call,
        {
            "file": PurePosixPath(asked.output_path).name,
            "node_type": asked.node_type,
            "contract": prompting.given("contract", asked.contract_description),
            "name": _name(asked),
            "shape": demands.shape(asked.node_type, PROFILES[asked.profile]),
            "gates": demands.blocking(asked.validation_level),
            "rules": demands.rules(asked.node_type),
            "context": prompting.file_texts(
                asked.context_files, call.roots, "context_files", "context file"
            ),
            "results": prompting.results(call),
        },
    )
    return Question(prompt=prompt, system=system, schema=answer_schema(CoderAnswer))


def _name(asked: CoderInput) -> str:
    """The order in which the name is settled, as without a model."""
    other = strip_name(asked.node_name or "") or strip_name(PurePosixPath(asked.output_path).stem)
    return (
        f"<Name> is the one that the contract gives its own node; where it gives none, `{other}`."
        if other
        else "<Name> is the one that the contract gives its own node, else one from what it does."
    )
