"""Small changes of Python code, one at a time: the textbook's mutation operators and repair templates."""

from dispatch_runner.agents.debug.mutate.mutants import Mutant, mutants

__all__ = ["Mutant", "mutants"]
