"""No path, however it is spelt, leads a built-in agent out of the allowed folders."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatch_runner.agents.coder.files import put_in_place, remove
from dispatch_runner.agents.reading import read_bounded, read_texts
from dispatch_runner.errors import AgentError
from dispatch_runner.paths import AllowedRoots

PROGRAM = Path(sys.executable).with_name("dispatch-runner")
SECRET = "this must not be read"
NAMES = [
    "..", ".", "", "sub", "out", "out_file.py", "in", "loop", "dangling.py", "secret.py", "SECRET.py", "good.py",
    "new.py", "new", "é", unicodedata.normalize("NFD", "é"), "\u2025", "\uff0e\uff0e", "..\\", "%2e%2e", "a" * 255,
    "a" * 256, "x\0y", "\ud800", "*", "?", "[.][.]", "~", "$HOME", "...", " ", "\n", "-rf",
]  # fmt: skip
BASES = [
    "{root}", "{root}/sub", "{root}/out", "{root}/in", "{outside}", "/proc/self/cwd", "/proc/self/root{root}",
    "/proc/self/root{outside}", "/proc/self/fd/0", "//{root}", "/{root}/../{outside}", "", "/", ".", "~",
    "{root}_beside", "{upper}", "/dev", "/dev/fd",
]  # fmt: skip
paths = st.builds(
    lambda base, names, between: between.join([base, *names]),
    st.sampled_from(BASES),
    st.lists(st.sampled_from(NAMES) | st.text(max_size=4), max_size=6),
    st.sampled_from(["/", "//", "/./"]),
)


class Place:
    """A root with ways out of it, and what lies outside."""

    def __init__(self, top: Path) -> None:
        self.root, self.outside = top / "root", top / "outside"
        beside = top / "root_beside"
        for folder in (self.root / "sub" / "deep", self.outside / "sub", beside):
            folder.mkdir(parents=True)
        (self.root / "good.py").write_text("x = 1\n")
        for folder in (self.outside, self.outside / "sub", beside):
            (folder / "secret.py").write_text(SECRET)
        (self.root / "out").symlink_to(self.outside)
        (self.root / "sub" / "out").symlink_to("../../outside/sub")
        (self.root / "out_file.py").symlink_to(self.outside / "secret.py")
        (self.root / "dangling.py").symlink_to(self.outside / "new.py")
        (self.root / "in").symlink_to("sub")
        (self.root / "loop").symlink_to("loop")
        self.roots = AllowedRoots((str(self.root.resolve()),))
        self.before = self.seen()

    def path(self, text: str) -> str:
        return text.format(root=self.root, outside=self.outside, upper=str(self.root).upper())

    def seen(self) -> dict[str, bytes | None]:
        """Everything outside of the root."""
        top = self.root.parent
        found = (path for path in top.rglob("*") if self.root not in (path, *path.parents))
        return {str(path): path.read_bytes() if path.is_file() else None for path in found}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("paths"))


def spelt(place: Place, path: str) -> str:
    try:
        return place.path(path)
    except (ValueError, LookupError, AttributeError):  # braces from chance
        return path


@given(path=paths)
@example(path="{root}/out/secret.py")
@example(path="{root}/*/../../outside/secret.py")
@example(path="{root}/in/../../outside/secret.py")
def test_a_path_that_is_allowed_is_inside(place: Place, path: str) -> None:
    text = spelt(place, path)
    if place.roots.problem(text) is None:
        real = os.path.realpath(text)
        assert real == str(place.root) or real.startswith(f"{place.root}/"), text


@given(path=paths)
@example(path="{root}/out_file.py")
@example(path="{root}/out/secret.py")
def test_nothing_outside_is_read(place: Place, path: str) -> None:
    text = spelt(place, path)
    try:
        assert SECRET.encode() not in read_bounded(text, place.roots, 1_000)
        assert SECRET not in read_texts([text], place.roots, field="context_files")[text]
    except (AgentError, ValueError, UnicodeError) as error:
        assert SECRET not in str(error)  # noqa: PT017 - both outcomes are fine


@given(path=paths, overwrite=st.booleans())
@example(path="{root}/out/new.py", overwrite=True)
@example(path="{root}/dangling.py", overwrite=False)
@example(path="{root}/loop/new.py", overwrite=True)
def test_nothing_outside_is_written_or_removed(place: Place, path: str, overwrite: bool) -> None:
    text = spelt(place, path)
    for change in (
        lambda: put_in_place(text, b"written", place.roots, overwrite=overwrite),
        lambda: remove(text, place.roots),
    ):
        try:
            change()
        except AgentError:
            continue
    assert place.seen() == place.before


@pytest.mark.slow
@settings(max_examples=12)
@given(given_paths=st.lists(paths, min_size=4, max_size=12))
def test_a_request_with_any_paths_runs_or_is_rejected_and_touches_nothing_outside(
    place: Place, given_paths: list[str]
) -> None:
    texts = [spelt(place, path) for path in given_paths]
    tasks = [
        {"task_id": f"t{number}", "agent": agent, "input_data": {**rest, name: value}}
        for number, text in enumerate(texts)
        for agent, name, value, rest in [
            ("coder", "output_path", text, {"contract_description": "Adds a (int) and b (int).",
             "node_type": "Compute", "validation_level": "lenient", "overwrite": True}),
            ("debug", "affected_files", [text], {"problem_description": "x", "analysis_depth": "quick"}),
        ][number % 2 : number % 2 + 1]
    ]  # fmt: skip
    for some in (tasks, *([task] for task in tasks[:2])):
        done = subprocess.run(
            [str(PROGRAM), "--quiet", "--trace-dir", str(place.root / "traces")],
            input=json.dumps({"tasks": some}).encode(), cwd=place.root, capture_output=True, timeout=50,
            env={"PATH": os.environ["PATH"], "HOME": str(place.root), "TMPDIR": str(place.root)},
        )  # fmt: skip
        assert done.returncode in {0, 1, 2}, done.stderr
        assert SECRET.encode() not in done.stdout + done.stderr
        assert place.seen() == place.before


def test_a_link_that_an_earlier_task_plants_is_not_followed(tmp_path: Path) -> None:
    """The path was inside when the request was checked."""
    place = Place(tmp_path)
    work = place.root / "work"
    operator = place.root / "operator.toml"
    operator.write_text(
        f'[agents.planter]\nbackend = "command"\noutput = "exit"\n'
        f'command = ["ln", "-s", "{place.outside}", "{work}"]\n'
    )
    tasks = [
        {"task_id": "plant", "agent": "planter", "input_data": {}},
        {"task_id": "read", "agent": "debug", "dependencies": ["plant"], "input_data": {
            "problem_description": "x", "affected_files": [f"{work}/secret.py"], "analysis_depth": "quick"}},
        {"task_id": "context", "agent": "coder", "dependencies": ["plant"], "input_data": {
            "contract_description": "Adds a (int) and b (int).", "node_type": "Compute",
            "output_path": str(place.root / "made.py"), "context_files": [f"{work}/secret.py"]}},
        {"task_id": "write", "agent": "coder", "dependencies": ["plant"], "input_data": {
            "contract_description": "Adds a (int) and b (int).", "node_type": "Compute",
            "output_path": f"{work}/made.py", "validation_level": "lenient"}},
    ]  # fmt: skip
    done = subprocess.run(
        [str(PROGRAM), "--quiet", "--config", str(operator)],
        input=json.dumps({"tasks": tasks}).encode(), cwd=place.root, capture_output=True, timeout=50,
        env={"PATH": os.environ["PATH"], "HOME": str(place.root), "TMPDIR": str(place.root)},
    )  # fmt: skip
    results = {task["task_id"]: task for task in json.loads(done.stdout)["results"]}
    assert results["plant"]["status"] == "success"
    refused = [results[name]["error"]["type"] for name in ("read", "context", "write")]
    assert refused == ["permission_denied"] * 3
    assert SECRET.encode() not in done.stdout
    assert place.seen() == place.before
