"""Which turn is next."""

from collections.abc import Iterator

from support.model_server.request import Request
from support.model_server.turns import Step, Steps, Turn


class Script:
    """The steps of one session in order; the last is repeated for ever."""

    def __init__(self, steps: Steps) -> None:
        self._steps = list(_flat(steps))
        if not self._steps:
            raise ValueError("a script needs at least one turn")
        self._next = 0

    def next(self, request: Request) -> Turn:
        """The turn for this request."""
        step = self._steps[min(self._next, len(self._steps) - 1)]
        self._next += 1
        return decided(step, request)


def decided(step: Step, request: Request) -> Turn:
    """The turn of a step that may want to see the request first."""
    while callable(step):
        step = step(request)
    return step


def _flat(steps: Steps) -> Iterator[Step]:
    if isinstance(steps, list | tuple):
        for each in steps:
            yield from _flat(each)
    else:
        yield steps
