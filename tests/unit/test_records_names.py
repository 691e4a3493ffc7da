"""Every id has a file name of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.records.names import LONGEST, TaskNames, quote


@pytest.mark.parametrize(
    ("task_id", "name"),
    [
        ("gen-model_2.x", "gen-model_2.x"), ("../x", "..%2Fx"),
        ("CON", "CON"), ("a b", "a%20b"), ("%2F", "%252F"), ("é", "%C3%A9"), ("a~b", "a%7Eb"),
        ("a\nb", "a%0Ab"), ("\0", "%00"),
    ],
)  # fmt: skip
def test_ids_are_percent_quoted(task_id, name):
    assert quote(task_id) == name
    assert TaskNames().name(task_id) == name


@pytest.mark.parametrize("task_id", ["request", "result", "Result", "a.output", ".", ".."])
def test_an_id_that_would_meet_one_of_our_files_is_quoted(task_id):
    name = TaskNames().name(task_id)
    assert name.startswith("%")
    assert name != quote(task_id)


def test_events_is_an_id_like_any_other():
    assert TaskNames().name("events") == "events"


def test_ids_that_differ_by_case_only_have_names_that_differ_by_more():
    names = TaskNames()
    assert names.name("task") == "task"
    assert names.name("Task") == "%54%61%73%6B"
    assert names.name("task") == "task"


def test_long_names_end_in_a_digest():
    name = TaskNames().name("й" * 200)
    assert len(name) == LONGEST
    assert name[:6] == "%D0%B9"
    assert name[-17] == "~"


@given(st.lists(st.text(st.characters(), min_size=1, max_size=200) | st.sampled_from(
    ["a", "A", "aB", "Ab", "AB", "ab", "request", "REQUEST", "%41", "%61", "é", "e\u0301"]
), unique=True, max_size=30))  # fmt: skip
def test_names_never_meet_and_always_fit(ids):
    names = TaskNames()
    found = [names.name(task_id) for task_id in ids]
    assert len({name.lower() for name in found}) == len(ids)
    assert all(name.isascii() and "/" not in name and len(name) <= LONGEST for name in found)
    assert all(f"{name}.json" not in {"request.json", "result.json"} for name in found)
    assert [names.name(task_id) for task_id in ids] == found
