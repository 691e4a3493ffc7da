"""Starts programs, keeps what they print, and ends everything that they started."""

from dispatch_runner.process.descriptors import (
    DESCRIPTORS_PER_PROGRAM,
    descriptor_headroom,
    raise_descriptor_limit,
)
from dispatch_runner.process.ending import end_everything
from dispatch_runner.process.family import MARKER
from dispatch_runner.process.limits import ResourceLimits
from dispatch_runner.process.output import Captured, cut
from dispatch_runner.process.program import GRACE_SECONDS, OUTPUT_LIMIT, Completed, run
from dispatch_runner.process.stream import LINE_LIMIT, stream

__all__ = [
    "DESCRIPTORS_PER_PROGRAM",
    "GRACE_SECONDS",
    "LINE_LIMIT",
    "MARKER",
    "OUTPUT_LIMIT",
    "Captured",
    "Completed",
    "ResourceLimits",
    "cut",
    "descriptor_headroom",
    "end_everything",
    "raise_descriptor_limit",
    "run",
    "stream",
]
