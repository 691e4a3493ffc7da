"""What limits the tasks of a dispatch: made when the first task wants anything; most want nothing."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dispatch_runner.clock import Clock
from dispatch_runner.dispatching.prepare import Operator
from dispatch_runner.events import ProviderHeld
from dispatch_runner.models import Usage
from dispatch_runner.settings import EffectiveConfig

if TYPE_CHECKING:
    from dispatch_runner.engine.admission import Admission
    from dispatch_runner.locks import MachineLocks


class Limiting:
    """The operator's limits, the gates of providers, the budget, and the machine's file locks."""

    def __init__(
        self,
        operator: Operator,
        config: EffectiveConfig,
        workers: int,
        spent: Sequence[Usage] = (),
    ) -> None:
        """`spent` was consumed in earlier processes and counts against the budget."""
        self._settings = operator.settings
        self._budget = config.budget
        self._workers = workers
        self._spent = spent
        self._locks: MachineLocks | None = None

    def open(self, clock: Clock, report: Callable[[ProviderHeld], None]) -> "Admission":
        """Makes them, with what the operator defined."""
        from dispatch_runner.engine.admission import Admission
        from dispatch_runner.engine.budgets import Budgets
        from dispatch_runner.engine.gates import Gates
        from dispatch_runner.engine.limits import Limits
        from dispatch_runner.locks import MachineLocks

        self._locks = MachineLocks()
        defined = self._settings.limits.items()
        capacities = {name: each.capacity for name, each in defined if each.capacity is not None}
        rates = {name: each.per_minute for name, each in defined if each.per_minute is not None}
        budgets = Budgets(
            self._budget,
            shares=self._workers,
            unknown_cost_is_free=self._settings.allow_unknown_cost,
        )
        for usage in self._spent:
            budgets.carry_over(usage)
        gates = Gates(wait_for_reset=self._settings.wait_for_reset)
        return Admission(Limits(capacities, rates, self._locks), gates, budgets, clock, report)

    def close(self) -> None:
        """Gives the machine's locks back."""
        if self._locks is not None:
            self._locks.close()
