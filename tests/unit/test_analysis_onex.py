"""The rules of ONEX nodes: each is kept by one text and broken by another."""

import pytest

from dispatch_runner.analysis.onex import Compliance, check_onex
from dispatch_runner.analysis.onex.rules import snake
from dispatch_runner.analysis.pycode import PyCode, parse_python

GOOD = '''"""A node."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class ModelCountInput(BaseModel):
    """Input."""

    model_config = ConfigDict(extra="forbid")

    amount: int = Field(description="how many")
    correlation_id: UUID = Field(description="links everything")


class NodeCountReducer:
    """Counts."""

    async def execute_reduction(self, contract: ModelCountInput) -> int:
        """Adds."""
        try:
            return contract.amount + 1
        except TypeError as error:
            raise ValueError("no number") from error
'''


def checked(text: str, path: str = "") -> Compliance:
    code = parse_python(text)
    assert isinstance(code, PyCode)
    return check_onex(code, path)


def broken(text: str, path: str = "") -> list[tuple[str, int]]:
    return [(each.rule, each.line) for each in checked(text, path).violations]


def test_a_good_node_breaks_nothing() -> None:
    result = checked(GOOD, "/src/node_count_reducer.py")
    assert result.violations == []
    assert (result.score, result.is_compliant) == (1.0, True)


@pytest.mark.parametrize(
    ("old", "new", "rule", "line"),
    [
        ("contract: ModelCountInput) -> int", "contract: ModelCountInput)", "typed", 20),
        ("import UUID\n", "import UUID\nfrom os import *\n", "no-wildcard-import", 4),
        ("amount: int", "amount: 'Any'; other: Any", "no-any", 13),
        (" from error", "", "chained-errors", 25),
        ("except TypeError as error:\n            raise ValueError(\"no number\") from error", "except:\n            pass", "specific-errors", 24),
        ("ValueError(", "Exception(", "specific-errors", 25),
        ("return contract.amount + 1", "print(contract); return 1", "reducer-pure", 23),
        ("return contract.amount + 1", "return await self.client.fetch(1)", "reducer-pure", 23),
        ("ModelCountInput", "CountInput", "type-name", 8),
        ('extra="forbid"', "frozen=True", "model-strict", 8),
        ('Field(description="how many")', "3", "model-descriptions", 13),
        ("correlation_id: UUID", "correlation_id: str", "correlation-id", 8),
        ("execute_reduction", "reduceAll", "function-name", 20),
        ("execute_reduction", "run", "work-method", 17),
        ("        try:", "        global x\n        try:", "no-global", 22),
    ],
)  # fmt: skip
def test_each_rule_is_broken_where_it_is_broken(old: str, new: str, rule: str, line: int) -> None:
    assert (rule, line) in broken(GOOD.replace(old, new), "node_count_reducer.py")


def test_a_compute_node_gives_the_same_for_the_same() -> None:
    text = '''import random, time, uuid
from datetime import datetime as dt
class NodeDiceCompute:
    async def execute_compute(self, contract: int) -> float:
        """Throws."""
        return random.random() + time.time() + dt.now().timestamp() + uuid.uuid4().int
'''
    assert broken(text) == [("compute-pure", 6)] * 4


def test_pure_helpers_of_a_module_with_an_effect_may_do_input_and_output() -> None:
    text = """import httpx
RETRIES = 3
async def fetch(url: str) -> str:
    return (await httpx.AsyncClient().get(url)).text
class NodePageEffect:
    async def execute_effect(self, contract: str) -> str:
        return await fetch(contract)
class NodePageReducer:
    async def execute_reduction(self, contract: str) -> str:
        return contract
"""
    assert broken(text) == []


@pytest.mark.parametrize(
    "statement",
    [
        "os.remove(a)", "rq.get(a)", "run(a)", "urllib.request.urlopen(a)", "open(a)",
        "pathlib.Path(a).read_text()",
    ],
)  # fmt: skip
def test_input_and_output_are_known_by_what_was_imported(statement: str) -> None:
    text = f"""import os, pathlib, urllib.request
import requests as rq
from subprocess import run
class NodeDoorReducer:
    async def execute_reduction(self, a: str) -> None:
        {statement}
        os.path.join(a, a)
"""
    assert broken(text) == [("reducer-pure", 6)]


def test_a_name_of_our_own_is_no_input_or_output() -> None:
    text = """class NodeDoorReducer:
    async def execute_reduction(self, socket: str, requests: list[str]) -> None:
        requests.append(socket.strip())
"""
    assert broken(text) == []


def test_what_looks_like_a_node_by_its_base_has_a_nodes_name() -> None:
    text = """from omnibase_core.nodes import NodeCompute
class Adder(NodeCompute):
    def __init__(self, container: "Container") -> None:
        super().__init__(container)
class NodeSumCompute(NodeCompute):
    def __init__(self) -> None:
        self.x = 1
"""
    assert broken(text) == [("node-name", 2), ("constructor", 6), ("constructor", 6)]


def test_attribute_docstrings_describe_fields_where_they_are_used() -> None:
    text = '''from pydantic import BaseModel, ConfigDict
class ModelBase(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings={})
    a: int
    """What it is."""
class ModelOther(ModelBase):
    pass
'''
    assert broken(text.replace("{}", "True")) == []
    assert broken(text.replace("{}", "False")) == [("model-descriptions", 4)]


def test_a_lease_and_a_retry_are_looked_for() -> None:
    text = "class Node{0}{1}:\n    async def execute(self, {2}: int) -> int:\n        return {2}\n"
    assert broken(text.format("Plan", "Orchestrator", "a")) == [("orchestrator-lease", 1)]
    assert broken(text.format("Plan", "Orchestrator", "lease_id")) == []
    assert broken(text.format("Send", "Effect", "a")) == [("effect-retry", 1)]
    assert broken(text.format("Send", "Effect", "idempotency_key")) == []


def test_something_critical_caps_the_score() -> None:
    result = checked(GOOD.replace("amount: int", "amount: Any"))
    assert result.score == 0.5
    assert not result.is_compliant


def test_a_module_without_nodes_is_judged_by_the_general_rules() -> None:
    result = checked("def add(a: int, b: int) -> int:\n    return a + b\n")
    judged = {each.rule for each in result.rules if each.status != "not_applicable"}
    assert judged == {"no-any", "no-wildcard-import", "typed", "specific-errors", "function-name", "no-global"}  # fmt: skip
    assert result.score == 1.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("NodeCountReducer", "node_count_reducer"), ("NodeHTTPFetchEffect", "node_http_fetch_effect")],
)
def test_names_of_files_are_in_snake_case(name: str, expected: str) -> None:
    assert snake(name) == expected


def test_a_file_is_named_after_its_node() -> None:
    assert broken(GOOD, "/src/counter.py") == [("file-name", 1)]
    assert broken(GOOD, "/src/node_count/node.py") == []
