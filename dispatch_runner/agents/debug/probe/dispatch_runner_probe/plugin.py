"""The runs: every test once with its lines, or every mutant with the tests that decide about it."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .change import Live, import_changed
from .forks import Fork, Send, follow, limit, run_all
from .job import Job, Mutant
from .lines import Lines
from .tests import Errors, Ran, Watch, run_test

if TYPE_CHECKING:
    from collections.abc import Callable

IMPORTING = 0.5
"""Share of the time after which the import of tests is stopped."""
SILENT_SECONDS = 5.0
"""Beyond its own limits a test may be silent so long before its process is killed."""
FAILING_TRIED = 5
"""A mutant with which so many of the failing tests still fail is given up."""
BROKEN_ENOUGH = 10
"""A mutant that breaks more passing tests than this is given up."""
HUNG_SECONDS = 1.0
"""Limit of a test after another one hung, or ten times the slowest test when that is more."""


class Probe:
    """The plugin of one run."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.errors = Errors(read=not job.mutants)
        self.lines = Lines(job.sources)
        self.only: tuple[Mutant, Send] | None = None
        """In a copy that imports one mutant: that mutant."""
        self.collecting = Watch(processor=False)
        limit(resource.RLIMIT_CORE, 0)
        limit(resource.RLIMIT_AS, job.memory_bytes)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Before anything is imported: each mutant of what runs at import, in a copy that goes on."""
        session.config.pluginmanager.register(self.errors, "dispatch_runner_probe_errors")
        if not self.job.mutants:
            self.lines.start()
            self.collecting.start(self.job.seconds * IMPORTING)
            return
        for mutant in self.job.mutants:
            if mutant.import_time and self.job.left > 0:
                self._import(session, mutant)

    def _import(self, session: pytest.Session, mutant: Mutant) -> None:
        def work(send: Send) -> None:
            import_changed(self.job.sources[mutant.file], mutant)
            self.only = (mutant, send)
            session.perform_collect()
            self._judge(session.items, mutant, send)

        fork = Fork(work, max(self.job.left, 0))
        try:
            for _ in follow(fork, self._patience()):
                pass
        finally:
            fork.end()
        self._judged(mutant.number, fork.data)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.only is None:
            text = str(report.longrepr)[:20_000]
            self.job.write({"kind": "collection", "test": report.nodeid, "text": text})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.lines.stop()
        self.collecting.stop()
        if self.job.mutants:
            self._run_mutants(session)
        else:
            self.job.write({"kind": "imported", "lines": self.lines.seen()})
            self._run_tests(session.items[: self.job.most_tests])
            if self.job.left > 0:
                self.job.write({"kind": "end", "collected": len(session.items)})
        return True

    def _run_tests(self, items: list[pytest.Item]) -> None:
        """Every test; one that ends its process, or cannot be stopped, costs only itself."""
        index = 0
        while index < len(items) and self.job.left > 0:
            index = self._run_from(items, index)

    def _run_from(self, items: list[pytest.Item], first: int) -> int:
        def work(send: Send) -> None:
            self._observe(items, first, send)

        fork = Fork(work, max(self.job.left, 0))
        silent = False
        try:
            patience = min(self.job.test_seconds + SILENT_SECONDS, max(self.job.left, 0))
            for _ in follow(fork, patience):
                if self.job.left <= 0:
                    return len(items)
            silent = not fork.data.endswith(b"end\n")
        finally:
            fork.end()
        if not silent or self.job.left <= 0:
            return len(items)
        begun = first + max(fork.data.count(b"\n") - 1, 0)
        self.job.write(
            {
                "kind": "test",
                "test": items[begun].nodeid,
                "outcome": "crashed",
                "seconds": 0.0,
                "text": "",
                "lines": self.lines.seen(),
                "late": {},
            }
        )
        return begun + 1

    def _observe(self, items: list[pytest.Item], first: int, send: Send) -> None:
        watch = Watch(processor=False, half=self.lines.mark)
        slowest, hung = 0.0, False
        for index in range(first, len(items)):
            send(b"begin\n")
            shorter = min(max(HUNG_SECONDS, 10 * slowest), self.job.test_seconds)
            following = items[index + 1] if index + 1 < len(items) else None
            self.lines.start()
            try:
                ran = run_test(
                    items[index],
                    following,
                    watch,
                    shorter if hung else self.job.test_seconds,
                    self.errors,
                )
            finally:
                self.lines.stop()
            hung = hung or ran.outcome == "hung"
            slowest = max(slowest, 0.0 if ran.outcome == "hung" else ran.seconds)
            self._seen(items[index], ran)
            if self.job.left <= 0:
                break
        send(b"end\n")

    def _seen(self, item: pytest.Item, ran: Ran) -> None:
        late = self.lines.late() if ran.outcome == "hung" else {}
        record = {"kind": "test", "test": item.nodeid, **ran._asdict()}
        self.job.write({**record, "lines": self.lines.seen(), "late": late})

    def _run_mutants(self, session: pytest.Session) -> None:
        live = Live(self.job.sources)
        everything = list(range(len(self.job.passing)))
        control = Mutant(-1, "", 0, 0, "", import_time=False, passing=everything)

        def works() -> Iterator[tuple[int, Callable[[Send], None]]]:
            yield -1, lambda send: self._judge(session.items, control, send)
            for mutant in self.job.mutants:
                if not mutant.import_time:
                    yield mutant.number, self._change(session.items, live, mutant)

        run_all(
            works(),
            workers=self.job.workers,
            seconds=self._patience(),
            finished=self._judged,
        )

    def _change(
        self, items: list[pytest.Item], live: Live, mutant: Mutant
    ) -> Callable[[Send], None]:
        def work(send: Send) -> None:
            live.apply(mutant)
            self._judge(items, mutant, send)

        return work

    def _patience(self) -> float:
        """Seconds of the clock for a mutant, some of whose tests may run into their limits."""
        return min(3 + 20 * self.job.test_seconds, max(self.job.left, 0.1))

    def _judge(self, items: list[pytest.Item], mutant: Mutant, send: Send) -> None:
        """The failing tests, up to one that hangs; if one passes, the tests that passed before.

        Sends what is known after each test: the process may not live to the end.
        """
        by_id = {item.nodeid: item for item in items}
        watch, control = Watch(processor=True), mutant.number < 0
        fixed: list[str] = []
        broken: list[str] = []
        for tried, test in enumerate(self.job.failing, 1):
            outcome = self._outcome(by_id.get(test), watch)
            fixed += [test] if outcome == "passed" else []
            hopeless = outcome == "hung" or (not fixed and tried >= FAILING_TRIED)
            send(_line(fixed, broken, 0))
            if hopeless and not control:
                break
        ran = 0
        wanted = mutant.passing if fixed or control else []
        for ran, test in enumerate((self.job.passing[index] for index in wanted), 1):
            broken += [test] if self._outcome(by_id.get(test), watch) != "passed" else []
            send(_line(fixed, broken, ran))
            if len(broken) > BROKEN_ENOUGH and not control:
                break
        send(_line(fixed, broken, ran, complete=True))

    def _outcome(self, item: pytest.Item | None, watch: Watch) -> str:
        if item is None:
            return "missing"
        return run_test(item, None, watch, self.job.test_seconds, self.errors).outcome

    def _judged(self, number: int, data: bytes) -> bool:
        lines = data.rpartition(b"\n")[0].splitlines()
        seen: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        self.job.write({"kind": "mutant", "number": number, **seen})
        return self.job.left > 0


def _line(fixed: list[str], broken: list[str], ran: int, *, complete: bool = False) -> bytes:
    seen = {"fixed": fixed, "broken": broken, "ran": ran, "complete": complete}
    return json.dumps(seen).encode() + b"\n"
