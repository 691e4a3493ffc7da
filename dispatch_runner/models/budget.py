"""Amounts that may be consumed."""

from typing import NamedTuple


class Budget(NamedTuple):
    """Amounts that may be consumed. Null: any."""

    cost_usd: float | None = None
    tokens: int | None = None
    """Of input and output together."""
    requests: int | None = None
