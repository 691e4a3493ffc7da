"""The `coder` agent on a folder of contracts: how many give a node that passes its gates, and how fast.

`python -m benchmarks.coder [FOLDER]`; without a folder, the committed corpus. A contract is a `.yaml`,
`.yml`, `.json`, `.txt` or `.md` file; the class that it should give stands in `<stem>.expected` beside
it, else it follows from the stem (`web_page_fetch_effect`). `--unnamed` writes every node to `node.py`,
so that no file name helps: the name has to come from the contract.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import anyio

from dispatch_runner.agents.coder.role import CoderRole
from dispatch_runner.agents.coder.words import pascal
from dispatch_runner.errors import AgentError
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

CORPUS = Path(__file__).parents[1] / "tests" / "data" / "coder"
SUFFIXES = {".yaml", ".yml", ".json", ".txt", ".md"}
NODE_TYPES = ("Effect", "Compute", "Reducer", "Orchestrator")


class Contract(NamedTuple):
    """A contract and the class that it should give."""

    path: Path
    expected: str

    @property
    def node_type(self) -> str:
        return next(kind for kind in NODE_TYPES if self.expected.endswith(kind))


@dataclass(slots=True)
class Outcome:
    """What became of one contract."""

    contract: Contract
    problem: str | None
    """Why it did not pass; null: it did."""
    open_points: int
    solve_ms: float
    verify_ms: float


def contracts_in(folder: Path) -> list[Contract]:
    """The contracts of a folder, by name; files whose node type is not told are left out."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in SUFFIXES:
            continue
        sidecar = path.with_suffix(".expected")
        expected = sidecar.read_text().strip() if sidecar.exists() else f"Node{pascal(path.stem)}"
        if expected.endswith(NODE_TYPES):
            found.append(Contract(path, expected))
    return found


def call_for(contract: Contract, folder: Path, level: str, *, unnamed: bool) -> AgentCall:
    name = "node" if unnamed else f"node_{contract.path.stem.removeprefix('node_')}"
    value: JsonObject = {
        "contract_description": contract.path.read_text(),
        "node_type": contract.node_type,
        "output_path": str(folder / f"{name}.py"),
        "validation_level": level,
        "overwrite": True,
    }
    return AgentCall(
        task_id="t", agent="coder", description="", input=value, dependencies={}, correlation_id="c", attempt=1,
        timeout_seconds=300, workspace=folder, roots=AllowedRoots((str(folder.resolve()),)),
        output_prefix=None, hurry=anyio.Event(),
    )  # fmt: skip


async def outcome_of(
    contract: Contract, level: str, keep: Path | None, *, unnamed: bool
) -> Outcome:
    """Makes the node, twice, and judges it."""
    role = CoderRole()
    with tempfile.TemporaryDirectory() as name:
        call = call_for(contract, Path(name), level, unnamed=unnamed)
        began = time.perf_counter()
        answer = await role.solve(call)
        solved = time.perf_counter()
        again = await role.solve(call)
        code, opened = str(answer.output["code"]), len(answer.output["open_points"])
        if keep is not None:
            await anyio.Path(keep / f"{contract.path.stem}.py").write_text(code)
        checked = time.perf_counter()
        problem = None
        try:
            verified = await role.verify(call, answer)
        except AgentError as error:
            problem = error.message
        else:
            if verified.output["class_name"] != contract.expected:
                problem = f"named {verified.output['class_name']}, not {contract.expected}"
        if again.output != answer.output:
            problem = "another source for the same input"
        took = time.perf_counter() - checked
    return Outcome(contract, problem, opened, (solved - began) * 1000, took * 1000)


async def run(
    contracts: Sequence[Contract], level: str, jobs: int, keep: Path | None, *, unnamed: bool
) -> list[Outcome]:
    """The outcomes, in the contracts' order, `jobs` at a time."""
    outcomes: dict[Contract, Outcome] = {}
    limit = anyio.CapacityLimiter(jobs)

    async def one(contract: Contract) -> None:
        async with limit:
            outcomes[contract] = await outcome_of(contract, level, keep, unnamed=unnamed)

    async with anyio.create_task_group() as group:
        for contract in contracts:
            group.start_soon(one, contract)
    return [outcomes[contract] for contract in contracts]


def show(outcomes: Sequence[Outcome], level: str) -> None:
    for kind in NODE_TYPES:
        of_kind = [o for o in outcomes if o.contract.node_type == kind]
        if of_kind:
            passed = sum(o.problem is None for o in of_kind)
            solve, verify = (
                median(o.solve_ms for o in of_kind),
                median(o.verify_ms for o in of_kind),
            )
            points = median(o.open_points for o in of_kind)
            print(
                f"{kind:13}{passed:4} of {len(of_kind):3} pass {level}; "
                f"made in {solve:.0f} ms, judged in {verify:.0f} ms, {points:g} open points (medians)"
            )
    failed = [o for o in outcomes if o.problem is not None]
    print(f"{'all':13}{len(outcomes) - len(failed):4} of {len(outcomes):3}")
    for outcome in failed:
        print(f"  {outcome.contract.path.name}: {outcome.problem}")


def main() -> None:
    """Reads the command line, runs, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=CORPUS)
    parser.add_argument("--level", choices=["lenient", "moderate", "strict"], default="strict")
    parser.add_argument("--jobs", type=int, default=2, help="contracts at a time (default 2)")
    parser.add_argument("--unnamed", action="store_true", help="let no file name tell the node's")
    parser.add_argument("--keep", type=Path, help="folder that gets the generated sources")
    arguments = parser.parse_args()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    contracts = contracts_in(arguments.folder)
    if not contracts:
        parser.error(f"no contract in {arguments.folder}")
    outcomes = anyio.run(
        lambda: run(
            contracts, arguments.level, arguments.jobs, arguments.keep, unnamed=arguments.unnamed
        )
    )
    show(outcomes, arguments.level)


if __name__ == "__main__":
    main()
