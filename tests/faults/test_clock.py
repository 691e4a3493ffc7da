"""A wall clock that jumps: nothing but the time that people read depends on it."""

import pytest

from support.faults import Fault, Plan, assert_sound

DAY = 86_400.0


@pytest.mark.parametrize("jump", [DAY, pytest.param(1e9, marks=pytest.mark.slow)])
def test_deadlines_and_durations_do_not_follow_a_jump(bench, tmp_path, jump):
    bench.define('[agents.stuck]\ncommand = ["sleep", "1000"]\noutput = "exit"\n')
    stuck = bench.cli.task("stuck", "stuck", timeout_seconds=0.3)
    faulty = bench.run([*bench.usual(), stuck], Plan(tmp_path / "calls", clock_jump=jump))
    assert_sound(bench, faulty, resumes=False)
    statuses = faulty.ran.statuses
    assert statuses.pop("stuck") == "timeout"
    assert set(statuses.values()) == {"success"}
    for task in faulty.ran.document["results"]:
        assert 0 <= task["execution_time_ms"] < 10_000
    assert 300 <= faulty.ran.document["summary"]["total_time_ms"] < 20_000


def test_a_dispatch_is_resumed_under_another_date(bench, tmp_path):
    plan = Plan(tmp_path / "calls", (Fault("signal", "SIGKILL", 80),), clock_jump=DAY)
    faulty = bench.run(bench.usual(), plan)
    assert faulty.killed
    assert_sound(bench, faulty)
