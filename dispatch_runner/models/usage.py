"""Sums of what was consumed."""

from collections.abc import Iterable

from dispatch_runner.models.result import Usage


def total_usage(usages: Iterable[Usage | None]) -> Usage | None:
    """The sum. A count is the sum of what is known; the cost is known only if every part's is, so
    that it is never too low."""
    known = [usage for usage in usages if usage is not None]
    if len(known) <= 1:
        return known[0] if known else None

    def total(values: list[int | None]) -> int | None:
        counted = [value for value in values if value is not None]
        return sum(counted) if counted else None

    costs = [usage.cost_usd for usage in known]
    return Usage(
        total([usage.input_tokens for usage in known]),
        total([usage.output_tokens for usage in known]),
        total([usage.cache_read_tokens for usage in known]),
        total([usage.requests for usage in known]),
        None if None in costs else sum(cost for cost in costs if cost is not None),
    )
