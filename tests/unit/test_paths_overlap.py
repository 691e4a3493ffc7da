"""When two locks, paths or globs, may mean the same file."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.paths import overlap

names = st.text("ab.", min_size=1, max_size=3)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
components = st.one_of(
    st.just("**"),
    st.text("ab.*?", min_size=1, max_size=4),
    st.sampled_from(["[ab]", "[!a]b", "a["]),
)
globs = st.lists(components, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
entries = st.one_of(paths, globs)


def matches(path: str, glob: str) -> bool:
    """The textbook meaning of a glob, by regular expressions: independent of the code under test."""
    meanings = {"*": "[^/]*", "?": "[^/]", "[ab]": "[ab]", "[!a]": "[^a/]"}
    expression = ""
    for part in glob.split("/")[1:]:
        if part == "**":
            expression += "(/[^/]+)*"
            continue
        tokens = re.findall(r"\[ab\]|\[!a\]|.", part)
        expression += "/" + "".join(meanings.get(token) or re.escape(token) for token in tokens)
    return re.fullmatch(expression, path) is not None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("/x/a.py", "/x/a.py"),
        ("/x/*.py", "/x/a.py"),
        ("/x/*.py", "/x/a.*"),
        ("/x/**", "/x/a/b/c.py"),
        ("/x/**/c.py", "/x/c.py"),
        ("/x/**/c.py", "/x/a/**"),
        ("/**/a.py", "/x/**/*.py"),
        ("/x/?.py", "/x/[ab].py"),
        ("/x/a[1].py", "/x/a[1].py"),
        ("/x/a[1].py", "/x/a1.py"),
        ("/x/a[1].py", "/x/a[1]*"),
        ("/x/a[1].py", "/x/a?1?.py"),
        ("/x/*a*b*", "/x/*b*a*"),
    ],
)
def test_entries_that_may_mean_one_file_overlap(a: str, b: str) -> None:
    assert overlap(a, b)
    assert overlap(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("/x/a.py", "/x/b.py"),
        ("/x/*.py", "/x/a.txt"),
        ("/x/*.py", "/x/a/b.py"),
        ("/x/*.py", "/y/*.py"),
        ("/x/*.py", "/x/*.txt"),
        ("/x/?.py", "/x/ab.py"),
        ("/x/**/a.py", "/x/y/b.py"),
        ("/x/a*", "/x/b*"),
        ("/x/**", "/xy/a"),
    ],
)
def test_entries_that_cannot_mean_one_file_do_not_overlap(a: str, b: str) -> None:
    assert not overlap(a, b)
    assert not overlap(b, a)


@given(entries, entries)
def test_overlap_is_symmetric(a: str, b: str) -> None:
    assert overlap(a, b) == overlap(b, a)


@given(paths, globs, globs)
def test_a_path_that_matches_both_makes_them_overlap(path: str, a: str, b: str) -> None:
    if matches(path, a) and matches(path, b):
        assert overlap(a, b)


@given(paths, globs.filter(lambda glob: "[" not in glob))
def test_without_brackets_a_path_and_a_glob_overlap_exactly_when_it_matches(
    path: str, glob: str
) -> None:
    assert overlap(path, glob) == matches(path, glob)


def test_globs_of_extreme_length_are_compared_by_folder_and_at_once() -> None:
    deep = "/x/" + "/".join(["**", "*a*"] * 500)
    assert overlap(deep, deep + "b")
    assert overlap(deep, "/x/y/" + "z" * 2000)
    assert not overlap(deep, "/other/" + "*b" * 1000)
