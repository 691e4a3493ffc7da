"""What shall go wrong in a dispatcher, and where."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

HOOK = Path(__file__).with_name("hook")
FOR_EVER = 1_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, at the n-th call of some kinds."""

    do: Literal["signal", "error", "short"]
    value: str = ""
    """Name of the signal that the process gets, or of the error that the call ends with."""
    nth: int = 1
    calls: tuple[str, ...] = ()
    """Kinds of calls, such as `write` or `fsync`; empty: all of them."""
    times: int = 1
    after: bool = False
    """Signals: once the call was made, not before."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Faults for one process."""

    log: Path
    """Where the process notes its calls."""
    faults: tuple[Fault, ...] = ()
    clock_jump: float = 0.0
    """By how many seconds the wall clock is wrong, in turns forward and back."""
    variables: Mapping[str, str] = field(default_factory=dict)

    def environ(self) -> dict[str, str]:
        """The variables with which a process has these faults."""
        plan = {
            "log": str(self.log),
            "faults": [asdict(fault) for fault in self.faults],
            "clock_jump": self.clock_jump,
        }
        return {**self.variables, "PYTHONPATH": str(HOOK), "FAULT_PLAN": json.dumps(plan)}

    def calls(self) -> list[str]:
        """The calls that were made, in their order; where a fault struck, it says so after a `*`."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def struck(self) -> bool:
        """Whether any fault came about."""
        return any(line.startswith("*") for line in self.calls())


def without_faults(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The same variables, for a process in which nothing goes wrong."""
    return {k: v for k, v in environ.items() if k not in {"PYTHONPATH", "FAULT_PLAN"}}
