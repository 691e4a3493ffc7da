"""Words for people: whatever a request or an agent says, it is one harmless line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.models import ErrorType, Usage
from dispatch_runner.report.summary import NAMED_FAILURES, summary_lines
from dispatch_runner.report.wording import (
    clock_time,
    dollars,
    duration,
    label,
    one_line,
    printable,
    reason,
    shortened,
    spent_by,
)

any_text = st.text(st.characters(), max_size=400)


@given(any_text)
def test_nothing_that_a_terminal_obeys_is_left(text):
    for shown in (printable(text), label(text), one_line(text)):
        assert shown.isprintable()


@given(any_text)
def test_labels_and_messages_are_bounded(text):
    assert len(label(text, 20)) <= 20
    assert len(one_line(text, 50)) <= 50


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=80))
def test_printable_text_is_left_as_it_is(text):
    assert label(text) == text


def test_control_characters_are_spelled_out():
    assert printable("a\x1b[31m\u202eb\ud800") == r"a\x1b[31m\u202eb\ud800"


def test_ids_that_differ_in_white_space_look_different():
    assert label("a\nb") != label("a b")


def test_a_message_of_several_lines_becomes_one():
    assert one_line("first\n\n\tsecond\u00a0third ") == "first second third"


def test_a_cut_is_marked():
    assert shortened("abcdef", 4) == "abc…"
    assert one_line("word " * 10_000, 9) == "word wor…"
    assert one_line("a" + " " * 10_000 + "b", 9).endswith("…")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0ms"),
        (0.0994, "99ms"),
        (0.0995, "0.1s"),
        (59.94, "59.9s"),
        (59.95, "1m 00s"),
        (3599.6, "1h 00m"),
        (7380, "2h 03m"),
    ],
)
def test_durations_carry_into_the_next_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0:00"), (67.9, "1:07"), (7380, "2:03:00")])
def test_clock_times(seconds, text):
    assert clock_time(seconds) == text


def test_the_reason_of_a_blocked_task_is_its_root_causes(finished):
    blocked = finished("z", "blocked", blocked_by=("a", "b\n", "c", "d", "e")).result
    assert reason(blocked) == r"by a, b\n, c and 2 more"


def test_a_reason_does_not_say_the_same_twice(finished):
    timeout = finished("a", "timeout", ErrorType.TIMEOUT, "no answer within 60 s").result
    crashed = finished("a", "error", ErrorType.CRASHED, "exit 1").result
    assert reason(timeout) == "no answer within 60 s"
    assert reason(crashed) == "crashed: exit 1"
    assert reason(finished("a").result) == ""


def test_the_summary_says_how_it_went_and_where_everything_is(dispatch_events):
    assert summary_lines(dispatch_events[-1].result) == [
        "partial: 1 of 3 succeeded, 1 failed, 1 blocked in 2.5s",
        "  speed-up 1.2, workers 60% busy, at most 2 at once, critical path 2.0s",
        "  input tokens 1,200, output tokens 30",
        "  FAILED b  missing_file: file '/x' does not exist",
        "  warning: something to know",
        "  result: /traces/result.json",
    ]


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ([0.5, 0.25], "cost $0.7500"),
        ([0.5, None], "cost $0.5000 and more: unknown of 1 task"),
        ([None, None], "cost unknown"),
    ],
)
def test_the_summary_says_what_it_cost_as_far_as_it_is_known(
    dispatch_events, finished, costs, told
):
    result = dispatch_events[-1].result
    result.results = [finished(str(cost), usage=Usage(1, cost_usd=cost)).result for cost in costs]
    assert summary_lines(result)[2].endswith(told)


def test_who_answered_is_told_with_the_cost_where_something_was_consumed(finished):
    paid = finished("a", usage=Usage(1, cost_usd=0.0016), backend="claude-code").result
    unknown = finished("a", usage=Usage(1), backend="codex").result
    assert [spent_by(each) for each in (paid, unknown)] == ["claude-code $0.0016", "codex"]
    assert spent_by(finished("a").result) == ""


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "$0.0000"), (0.00001, "<$0.0001"), (0.00005, "$0.0001"), (3, "$3.0000")],
)
def test_a_small_cost_does_not_look_like_none(amount, text):
    assert dollars(amount) == text


def test_the_summary_names_a_bounded_number_of_failures_and_counts_the_rest(
    dispatch_events, finished
):
    result = dispatch_events[-1].result
    result.results = [finished(f"t{n}", "error", ErrorType.CRASHED).result for n in range(1000)]
    result.interrupted = "SIGTERM"
    lines = summary_lines(result)
    assert lines[0].endswith("; stopped by SIGTERM")
    assert sum("FAILED" in line for line in lines) == NAMED_FAILURES
    assert f"  and {1000 - NAMED_FAILURES} more" in lines


def test_the_summary_gives_the_hint_of_a_failure(dispatch_events):
    result = dispatch_events[-1].result
    result.results[1].error.hint = "create\nit"
    assert "    hint: create it" in summary_lines(result)


def test_the_summary_of_a_run_in_which_nothing_started_has_no_measures(dispatch_events):
    result = dispatch_events[-1].result
    summary = result.summary
    summary.speedup = summary.worker_utilisation = summary.usage = None
    summary.peak_concurrency = 0
    result.results, result.warnings, result.result_file = [], [], None
    assert len(summary_lines(result)) == 1
