"""Limits: everything a task needs, at once or not at all."""

from collections.abc import Sequence

from dispatch_runner.engine.limits import POLL_SECONDS, Limits
from dispatch_runner.engine.wants import Needs


def test_a_task_takes_everything_or_nothing() -> None:
    limits = Limits({"gpu": 1, "net": 2})
    assert limits.take(Needs({"gpu": 1}), 0) is None
    assert limits.take(Needs({"net": 2, "gpu": 1}), 0) == ("gpu", 1)
    assert limits.take(Needs({"net": 2}), 0) is None, "the refused task holds nothing"


def test_release_names_the_amounts_that_fit_now() -> None:
    limits = Limits({"gpu": 3})
    held = Needs({"gpu": 2})
    assert limits.take(held, 0) is None
    assert limits.take(Needs({"gpu": 3}), 0) == ("gpu", 3)
    assert limits.take(Needs({"gpu": 2}), 0) == ("gpu", 2)
    assert limits.take(Needs({"gpu": 1}), 0) is None, "a smaller one may pass"
    assert limits.release(held) == [("gpu", 2)]


def test_the_same_path_is_one_lock() -> None:
    limits = Limits()
    held = Needs(locks=["/a/x.py"])
    assert limits.take(held, 0) is None
    assert limits.take(Needs(locks=["/b/y.py", "/a/x.py"]), 0) == ("lock", "/a/x.py")
    assert limits.take(Needs(locks=["/b/y.py"]), 0) is None
    assert limits.release(held) == [("lock", "/a/x.py")]
    assert limits.take(Needs(locks=["/a/x.py"]), 0) is None


def test_a_glob_conflicts_with_what_it_matches_in_both_directions() -> None:
    limits = Limits()
    glob = Needs(locks=["/a/*.py"])
    assert limits.take(glob, 0) is None
    assert limits.take(Needs(locks=["/a/x.py"]), 0) == ("lock", "/a/*.py")
    assert limits.take(Needs(locks=["/a/x.*"]), 0) == ("lock", "/a/*.py")
    limits.release(glob)
    assert limits.take(Needs(locks=["/a/x.py"]), 0) is None
    assert limits.take(glob, 0) == ("lock", "/a/x.py")


def test_a_rate_admits_so_many_starts_in_any_minute() -> None:
    limits = Limits(rates={"api": 2})
    needs = Needs({"api": 1})
    assert limits.take(needs, 0.0) is None
    assert limits.take(needs, 10.0) is None
    limits.release(needs)
    assert limits.take(needs, 20.0) == ("rate", "api")
    assert limits.next_opening() == 60.0
    assert limits.opened(59.9) == []
    assert limits.opened(60.0) == [("rate", "api")]
    assert limits.next_opening() is None
    assert limits.take(needs, 60.0) is None
    assert limits.take(needs, 60.0) == ("rate", "api")


class Elsewhere:
    """Another dispatch that holds some locks."""

    def __init__(self, holder: str | None) -> None:
        self.holder = holder
        self.taken: list[str] = []

    def try_acquire(self, entries: Sequence[str]) -> str | None:
        if self.holder is None:
            self.taken += entries
        return self.holder

    def release(self, entries: Sequence[str]) -> None:
        for entry in entries:
            self.taken.remove(entry)


def test_a_lock_of_another_dispatch_is_tried_again_after_a_while() -> None:
    elsewhere = Elsewhere("process 42")
    limits = Limits(shared=elsewhere)
    needs = Needs(locks=["/a"])
    assert limits.take(needs, 5.0) == ("machine", ("/a",))
    assert limits.foreign_holder == "process 42"
    assert limits.next_opening() == 5.0 + POLL_SECONDS
    elsewhere.holder = None
    assert limits.opened(5.0 + POLL_SECONDS) == [("machine", ("/a",))]
    assert limits.take(needs, 6.0) is None
    assert elsewhere.taken == ["/a"]
    limits.release(needs)
    assert elsewhere.taken == []
