"""`traces`: list, show and prune the records of earlier dispatches."""

import re
from dataclasses import asdict
from pathlib import Path

from dispatch_runner.cli.answers import answer_usage, encode
from dispatch_runner.cli.channel import Channel
from dispatch_runner.cli.inspect import table
from dispatch_runner.records import store

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
