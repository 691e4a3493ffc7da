"""Faults that can be put at a chosen system call of a real dispatcher, and what must hold after each."""

from support.faults.plan import Fault, Plan
from support.faults.sound import Bench, assert_sound

__all__ = ["Bench", "Fault", "Plan", "assert_sound"]
