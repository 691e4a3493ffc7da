"""What a provider says governs how many calls go to it."""

import pytest

from dispatch_runner.engine.gates import Gates, Report, Shut, Ticket
from dispatch_runner.models import ErrorType, TaskStatus

OK = Report("p", TaskStatus.SUCCESS)
LIMITED = Report("p", TaskStatus.ERROR, ErrorType.RATE_LIMITED, "slow down")


def gates(**options: bool) -> Gates:
    return Gates(uniform=lambda low, high: high, **options)


def entered(gate: Gates, count: int, now: float = 0.0) -> list[Ticket]:
    assert gate.refusal("p", now) is None
    return [gate.enter("p", now) for _ in range(count)]


def end(gate: Gates, ticket: Ticket, report: Report, now: float, wall: float = 0.0) -> float | None:
    wait = gate.hear(report, ticket.since, now, wall)
    gate.leave(ticket)
    return wait


def test_a_provider_that_never_complains_is_never_held_back() -> None:
    gate = gates()
    entered(gate, 10_000)
    assert gate.refusal("p", 0.0) is None


def test_a_burst_of_refusals_is_one_pause_and_halves_once() -> None:
    gate = gates()
    burst = entered(gate, 8)
    waits = [end(gate, ticket, LIMITED, 1.0) for ticket in burst]
    assert waits == [1.0] * 8
    assert gate.refusal("p", 1.5) == ("gate", "p")
    probe = entered(gate, 1, 2.0)[0]
    assert end(gate, probe, OK, 3.0) is None
    entered(gate, 4, 3.0)
    assert gate.refusal("p", 3.0) == ("gate", "p"), "half of eight, and one success is not one more"


def test_after_a_pause_one_call_goes_first() -> None:
    gate = gates()
    for ticket in entered(gate, 4):
        end(gate, ticket, LIMITED, 1.0)
    assert gate.refusal("p", 2.0) is None
    probe = gate.enter("p", 2.0)
    assert gate.refusal("p", 2.0) == ("gate", "p")
    assert end(gate, probe, LIMITED, 3.0) == 2.0, "each further pause is twice as long"
    assert gate.refusal("p", 4.9) == ("gate", "p")
    assert gate.refusal("p", 5.0) is None


def test_a_probe_that_says_nothing_of_the_provider_lets_another_one_try() -> None:
    gate = gates()
    end(gate, entered(gate, 1)[0], LIMITED, 1.0)
    probe = entered(gate, 1, 2.0)[0]
    end(gate, probe, Report("p", TaskStatus.ERROR, ErrorType.CRASHED), 3.0)
    second = entered(gate, 1, 3.0)[0]
    assert second.probe
    assert gate.refusal("p", 3.0) == ("gate", "p")


def test_what_the_provider_asks_for_is_waited_for() -> None:
    gate = gates()
    asked = Report("p", TaskStatus.ERROR, ErrorType.OVERLOADED, retry_after=30.0)
    assert end(gate, entered(gate, 1)[0], asked, 1.0) == 30.0
    assert gate.refusal("p", 30.9) is not None
    assert gate.next_opening(1.0) == 31.0
    assert gate.opened(30.9) == []
    assert gate.opened(31.0) == [("gate", "p")]


def test_successes_add_one_call_for_as_many_as_run() -> None:
    gate = gates()
    for ticket in entered(gate, 4):
        end(gate, ticket, LIMITED, 1.0)
    now = 2.0
    for _ in range(20):
        end(gate, entered(gate, 1, now)[0], OK, now)
    room = 0
    while gate.refusal("p", now) is None:
        gate.enter("p", now)
        room += 1
    assert 4 <= room <= 7, "2, then one more for 2 successes, for 3, for 4, ..."


def test_providers_do_not_hold_back_each_other() -> None:
    gate = gates()
    end(gate, entered(gate, 1)[0], LIMITED, 1.0)
    assert gate.refusal("other", 1.0) is None
    assert gate.refusal(None, 1.0) is None


@pytest.mark.parametrize("cause", [ErrorType.AUTH, ErrorType.RATE_LIMITED])
def test_a_refused_key_and_a_used_up_quota_shut_the_provider(cause: ErrorType) -> None:
    gate = gates()
    refused = Report("p", TaskStatus.ERROR, cause, "no", exhausted=True, resets_at=900.0)
    end(gate, entered(gate, 1)[0], refused, 1.0)
    assert gate.choose(["p"]) == Shut("p", cause, "no", 900.0)
    assert gate.choose(["p", "other"]) == "other"
    assert gate.choose(["p", None]) is None, "the offline answer costs nothing"


def test_who_waits_at_a_gate_that_shuts_is_let_go() -> None:
    gate = gates()
    first, second = entered(gate, 2)
    end(gate, first, LIMITED, 1.0)
    assert gate.refusal("p", 1.0) is not None
    end(gate, second, Report("p", TaskStatus.ERROR, ErrorType.AUTH, "no", exhausted=True), 1.0)
    assert gate.opened(1.0) == [("gate", "p")]


def test_a_quota_is_waited_for_when_that_is_wanted() -> None:
    gate = gates(wait_for_reset=True)
    used_up = Report(
        "p", TaskStatus.ERROR, ErrorType.RATE_LIMITED, exhausted=True, resets_at=5_060.0
    )
    assert end(gate, entered(gate, 1)[0], used_up, 1.0, wall=5_000.0) == 61.0
    assert gate.choose(["p"]) == "p"
    assert gate.refusal("p", 61.9) is not None
    assert gate.refusal("p", 62.0) is None


def test_a_reset_that_all_wait_for_is_told_once() -> None:
    gate = gates(wait_for_reset=True)
    first, second = entered(gate, 2)
    for ticket, seconds in ((first, 60.0), (second, 60.4)):
        used_up = Report(
            "p", TaskStatus.ERROR, ErrorType.RATE_LIMITED, exhausted=True, resets_at=5_000 + seconds
        )
        end(gate, ticket, used_up, 1.0, wall=5_000.0)
    assert len(gate.news) == 1
    assert gate.refusal("p", 62.2) is not None, "the later one counts"


def test_a_refused_key_is_not_waited_for() -> None:
    gate = gates(wait_for_reset=True)
    refused = Report("p", TaskStatus.ERROR, ErrorType.AUTH, "no", exhausted=True)
    end(gate, entered(gate, 1)[0], refused, 1.0)
    assert isinstance(gate.choose(["p"]), Shut)
