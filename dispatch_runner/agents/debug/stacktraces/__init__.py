"""Stack traces of ten languages, read from any text."""

from dispatch_runner.agents.debug.stacktraces.parse import parse
from dispatch_runner.agents.debug.stacktraces.reader import RawFrame, RawTrace

__all__ = ["RawFrame", "RawTrace", "parse"]
