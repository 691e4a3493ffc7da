"""What the quality tool says stands beside the gates: decoded from its documented shape, and no gate."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.agents import quality
from dispatch_runner.agents.coder.models import CoderOutput
from dispatch_runner.agents.coder.role import CoderRole
from dispatch_runner.agents.quality import Quality, decode
from dispatch_runner.errors import AgentError
from dispatch_runner.mcp.quality import QualityTools
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall, Answer, CallLog, NoTools, ToolAnswer, Tools

pytestmark = pytest.mark.anyio

ROLE = CoderRole()


class Saying:
    """Tools that give one answer and remember the calls."""

    def __init__(self, answer: ToolAnswer) -> None:
        self.answer = answer
        self.calls: list[tuple[str, JsonObject]] = []

    async def call(self, tool: str, arguments: JsonObject, log: CallLog) -> ToolAnswer:
        self.calls.append((tool, arguments))
        return self.answer


class Hanging:
    """Tools that never answer."""

    def __init__(self) -> None:
        self.cancelled = False

    async def call(self, tool: str, arguments: JsonObject, log: CallLog) -> ToolAnswer:
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled = True


class Embedded:
    """The embedded server, without a pool around it."""

    def __init__(self, folder: Path) -> None:
        self._tools = QualityTools([folder])

    async def call(self, tool: str, arguments: JsonObject, log: CallLog) -> ToolAnswer:
        return ToolAnswer("ok", await self._tools.call(tool, arguments))


def call(folder: Path, tools: Tools, level: str = "moderate") -> AgentCall:
    value = {
        "contract_description": "Compute node called words that takes text and returns word_count",
        "node_type": "Compute",
        "output_path": str(folder / "node_words_compute.py"),
        "validation_level": level,
    }
    return AgentCall(
        task_id="t", agent="coder", description="", input=value, dependencies={}, correlation_id="c", attempt=1,
        timeout_seconds=60, workspace=folder, roots=AllowedRoots((str(folder.resolve()),)),
        output_prefix=None, hurry=anyio.Event(), tools=tools,
    )  # fmt: skip


async def told(made: AgentCall, answer: Answer | None = None) -> Quality:
    verified = await ROLE.verify(made, answer or await ROLE.solve(made))
    return CoderOutput.model_validate(verified.output, strict=False).quality


def answered(**analysis: Any) -> ToolAnswer:
    """An answer in the shape of the first server that had this tool."""
    return ToolAnswer("ok", {"success": True, "analysis": analysis, "timestamp": "now"})


def test_the_score_is_the_one_of_the_analysis():
    given = answered(
        quality_score=0.82,
        quality_metrics={"complexity": 0.9, "structure": None, "documentation": 0.5},
        code_patterns={"improvement_opportunities": ["document it"]},
    )

    assert decode(given) == Quality(
        status="ok",
        score=0.82,
        metrics={"complexity": 0.9, "documentation": 0.5},
        improvements=["document it"],
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ToolAnswer("ok", "Unknown tool: assess_code_quality"), "not a JSON object"),
        (
            ToolAnswer("ok", {"success": True, "quality_score": 0.9}),
            "no 'analysis.quality_score'",
        ),
        (ToolAnswer("ok", {"success": True, "analysis": []}), "no 'analysis.quality_score'"),
        (ToolAnswer("ok", {"success": False, "error": "TypeError"}), "did not succeed: TypeError"),
        (answered(quality_score="0.9"), "is '0.9', not a number"),
        (answered(quality_score=True), "is True, not a number"),
        (answered(quality_score=82), "is 82, not a number"),
        (answered(quality_score=float("nan")), "is nan, not a number"),
        (ToolAnswer("error", reason="it crashed"), "it crashed"),
    ],
)
def test_what_is_no_score_in_the_documented_place_is_an_error_and_says_so(answer, reason):
    found = decode(answer)

    assert (found.status, found.score) == ("error", None)
    assert found.reason is not None
    assert reason in found.reason


@pytest.mark.parametrize(
    "answer", [ToolAnswer("not_assessed", reason="no such tool"), answered(quality_score=None)]
)
def test_no_tool_and_no_judgement_are_not_assessed(answer):
    found = decode(answer)

    assert (found.status, found.score) == ("not_assessed", None)
    assert found.reason


async def test_the_embedded_server_answers_in_the_shape_that_is_decoded(tmp_path):
    found = await told(call(tmp_path, Embedded(tmp_path)))

    assert found.status == "ok"
    assert found.score is not None
    assert 0.5 < found.score <= 1
    assert {"lint", "complexity", "documentation"} <= set(found.metrics)


async def test_the_tool_gets_the_source_the_files_name_and_the_language(tmp_path):
    tools = Saying(answered(quality_score=1))
    made = call(tmp_path, tools)

    assert (await told(made)).score == 1.0
    content = Path(made.input["output_path"]).read_text()
    assert tools.calls == [
        (
            "assess_code_quality",
            {"content": content, "source_path": "node_words_compute.py", "language": "python"},
        )
    ]


async def test_without_tools_it_is_not_assessed_and_nothing_else_changes(tmp_path):
    found = await told(call(tmp_path, NoTools()))

    assert (found.status, found.reason) == ("not_assessed", "no tools are configured")


async def test_at_lenient_the_tool_is_not_asked(tmp_path):
    tools = Saying(answered(quality_score=1))

    assert (await told(call(tmp_path, tools, "lenient"))).status == "not_assessed"
    assert tools.calls == []


async def test_a_score_of_zero_refuses_nothing(tmp_path):
    assert (await told(call(tmp_path, Saying(answered(quality_score=0))))).score == 0.0


async def test_a_perfect_score_does_not_stand_in_for_the_parser(tmp_path):
    made = call(tmp_path, Saying(answered(quality_score=1)))

    with pytest.raises(AgentError) as caught:
        await told(made, Answer({"code": "def broken(:\n"}))
    assert caught.value.type is ErrorType.CHECK_FAILED


async def test_a_tool_that_hangs_is_left_behind_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "GRACE_SECONDS", 0.01)
    tools = Hanging()

    found = await told(call(tmp_path, tools))

    assert (found.status, tools.cancelled) == ("not_assessed", True)
    assert "no answer" in str(found.reason)


async def test_a_refusal_does_not_wait_for_the_tool(tmp_path):
    with anyio.fail_after(quality.GRACE_SECONDS - 1), pytest.raises(AgentError):
        await told(call(tmp_path, Hanging()), Answer({"code": "def broken(:\n"}))
