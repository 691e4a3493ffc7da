"""The index of a folder: what is found, how it follows the files, and what it survives."""

import fcntl
import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from dispatch_runner.analysis.search import Hit, SearchIndex, SearchProblem, query_words, store
from dispatch_runner.analysis.search import index as index_module
from dispatch_runner.analysis.search.chunks import chunks
from dispatch_runner.analysis.search.files import Entry, read_text
from dispatch_runner.analysis.search.store import expression
from dispatch_runner.analysis.search.words import camel_words

pytestmark = pytest.mark.anyio
LONG_AGO = 1_000_000_000
Make = Callable[..., SearchIndex]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An index of a folder with these files, as if they were written long ago."""

    def make(**files: str) -> SearchIndex:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            write(root / name.replace("__", "/").replace("_py", ".py"), text)
        return SearchIndex(root, tmp_path / "cache")

    return make


def write(path: Path, text: str, moment: int = LONG_AGO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (moment, moment))


def index_file(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "cache").glob("*.sqlite")
    return file


async def places(index: SearchIndex, query: str, **options: str) -> list[tuple[str, int, int]]:
    hits = await index.search(query_words(query), 10, **options)
    return [(str(hit.path.relative_to(index.root)), hit.line_start, hit.line_end) for hit in hits]


async def test_a_hit_has_file_lines_names_text_and_score(make: Make) -> None:
    index = make(a_py="\n\ndef parse_header(line):\n    return line\n", b_py="x = 1\n")
    hits = await index.search(["header"], 5)
    expected = Hit(
        index.root / "a.py",
        3,
        4,
        ("parse_header",),
        "def parse_header(line):\n    return line",
        hits[0].score,
    )
    assert hits == [expected]
    assert hits[0].score > 0


@pytest.mark.parametrize(
    "query",
    ["load the configuration of a user", "LoadUserConfig", "load_user_configs", "USER", "loading"],
)
@pytest.mark.parametrize("text", ["def loadUserConfig(): ...\n", "def load_user_config(): ...\n"])
async def test_plain_words_find_identifiers(make: Make, text: str, query: str) -> None:
    index = make(a_py=text, b_py="def other_thing(): ...\n")
    assert await places(index, query) == [("a.py", 1, 1)]


async def test_the_definition_comes_before_its_uses(make: Make) -> None:
    index = make(
        a_py="x = breaker()\ny = breaker()\n# breaker\n", b_py="def breaker():\n    return 1\n"
    )
    assert [name for name, *_ in await places(index, "breaker")] == ["b.py", "a.py"]


async def test_the_path_is_searched_too_and_can_be_asked_for(make: Make) -> None:
    index = make(engine__scheduler_py="x = 1\n", report__b_py="scheduler = 1\n")
    assert {name for name, *_ in await places(index, "scheduler")} == {
        "engine/scheduler.py",
        "report/b.py",
    }
    assert await places(index, "scheduler", within="report/") == [("report/b.py", 1, 1)]


@pytest.mark.parametrize("query", ["", "?!", '"', "' OR 1 --", "NEAR(", "a\ud800b", "\0", "___"])
async def test_any_query_is_a_query(make: Make, query: str) -> None:
    index = make(a_py="x = 1\n")
    await places(index, query)


async def test_changed_new_and_removed_files_are_followed(make: Make) -> None:
    index = make(a_py="alpha = 1\n", b_py="beta = 1\n")
    await index.refresh()
    write(index.root / "a.py", "gamma = 12\n", LONG_AGO + 1)
    (index.root / "b.py").unlink()
    write(index.root / "c.py", "delta = 1\n")
    await index.refresh()
    assert await places(index, "alpha beta") == []
    assert {name for name, *_ in await places(index, "gamma delta")} == {"a.py", "c.py"}


async def test_what_is_shown_stands_in_the_file_even_when_nobody_looked_since(make: Make) -> None:
    index = make(a_py="alpha = 1\n")
    assert await places(index, "alpha") == [("a.py", 1, 1)]
    write(index.root / "a.py", "\n\nbeta = alpha\n", LONG_AGO + 1)
    assert await places(index, "alpha") == [("a.py", 3, 3)]
    (index.root / "a.py").unlink()
    assert await places(index, "alpha") == []


async def test_a_file_that_changed_within_its_time_stamp_is_read_again(make: Make) -> None:
    index = make()
    path = index.root / "a.py"
    path.write_text("alpha = 1\n")
    await index.refresh()
    before = path.stat()
    path.write_text("omega = 1\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    await index.refresh()
    assert await places(index, "alpha") == []
    assert await places(index, "omega") == [("a.py", 1, 1)]


async def test_a_file_that_was_only_touched_keeps_its_pieces(make: Make, tmp_path: Path) -> None:
    index = make(a_py="alpha = 1\n")
    await index.refresh()

    def rows() -> list[int]:
        with sqlite3.connect(index_file(tmp_path)) as database:
            return [row[0] for row in database.execute("SELECT id FROM chunks")]

    before = rows()
    os.utime(index.root / "a.py", (LONG_AGO + 5, LONG_AGO + 5))
    write(index.root / "b.py", "beta = 1\n")
    await index.refresh()
    assert rows()[:1] == before


async def test_another_process_uses_the_same_index(make: Make, tmp_path: Path) -> None:
    index = make(**{f"f{number}_py": f"word{number} = 1\n" for number in range(50)})
    script = (
        "import anyio, sys; from pathlib import Path\n"
        "from dispatch_runner.analysis.search import SearchIndex\n"
        "index = SearchIndex(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(len(anyio.run(index.search, ['word7'], 5)))\n"
    )
    command = [sys.executable, "-c", script, str(index.root), str(tmp_path / "cache")]
    async with anyio.create_task_group() as group:
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append((await anyio.run_process(command)).stdout)

        for _ in range(3):
            group.start_soon(ask)
        group.start_soon(index.refresh)
    assert answers == [b"1\n"] * 3
    assert await places(index, "word7") == [("f7.py", 1, 1)]


@pytest.mark.parametrize(
    "content", [b"", b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
async def test_an_index_that_is_broken_is_made_anew(
    make: Make, tmp_path: Path, content: bytes
) -> None:
    index = make(a_py="alpha = 1\n")
    await index.refresh()
    index_file(tmp_path).write_bytes(content)
    await index.refresh()
    assert await places(index, "alpha") == [("a.py", 1, 1)]


async def test_an_index_of_another_format_is_made_anew(make: Make, tmp_path: Path) -> None:
    index = make(a_py="alpha = 1\n")
    await index.refresh()
    with sqlite3.connect(index_file(tmp_path)) as database:
        database.execute("PRAGMA user_version = 99")
    await index.refresh()
    assert await places(index, "alpha") == [("a.py", 1, 1)]


async def test_the_index_is_for_its_user_alone(make: Make, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o755)
    index = make(a_py="alpha = 1\n")
    await index.refresh()
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "cache").iterdir()}
    assert modes == {0o600}


async def test_a_folder_of_indexes_behind_a_link_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SearchProblem, match="is not a folder of this user"):
        await make(a_py="alpha = 1\n").refresh()
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_an_index_that_others_hold_for_too_long_is_a_problem(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(a_py="alpha = 1\n")
    await index.refresh()
    monkeypatch.setattr(store, "LOCK_SECONDS", 0.0)
    (lock,) = (tmp_path / "cache").glob("*.lock")
    with lock.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(SearchProblem, match="another process holds it for too long"):
            await index.refresh()
    await index.refresh()


async def test_indexing_that_was_cancelled_goes_on_where_it_was(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "BATCH_FILES", 1)
    index = make(a_py="alpha = 1\n", b_py="beta = 1\n", c_py="gamma = 1\n")
    read: list[str] = []
    with anyio.CancelScope() as scope:

        def read_and_cancel(root: str, entry: Entry) -> bytes | None:
            read.append(entry.path)
            anyio.from_thread.run_sync(scope.cancel)
            return read_text(root, entry)

        monkeypatch.setattr(store, "read_text", read_and_cancel)
        await index.refresh()
    monkeypatch.setattr(store, "read_text", read_text)
    assert read == ["a.py"]
    with sqlite3.connect(index_file(tmp_path)) as database:
        assert database.execute("SELECT path FROM files").fetchall() == [("a.py",)]
    await index.refresh()
    assert len(await places(index, "alpha beta gamma")) == 3


async def test_many_queries_at_once_build_the_index_once(make: Make) -> None:
    index = make(a_py="alpha = 1\n")
    found: list[int] = []

    async def ask() -> None:
        found.append(len(await index.search(["alpha"], 5)))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask)
    assert found == [1] * 10


def test_pieces_begin_at_definitions_and_cover_everything() -> None:
    text = '"""Doc."""\n' + "".join(f"\ndef f{n}():\n" + "    x = 1\n" * 9 for n in range(3))
    pieces = list(chunks(text, is_prose=False))
    assert [(each.line_start, each.line_end, each.symbols) for each in pieces] == [
        (1, 12, ("f0",)),
        (14, 23, ("f1",)),
        (25, 34, ("f2",)),
    ]


def test_long_pieces_are_cut_and_long_lines_too() -> None:
    pieces = list(chunks("x = 1\n" * 150 + "y" * 5000, is_prose=False))
    assert [(each.line_start, each.line_end) for each in pieces] == [(1, 60), (61, 120), (121, 151)]
    assert max(map(len, pieces[-1].body.split("\n"))) == 400


def test_prose_is_cut_at_headings() -> None:
    text = "# One\n" + "text\n" * 9 + "## Two words\n" + "# not code\n"
    assert [each.symbols for each in chunks(text, is_prose=True)] == [
        ("One",),
        ("Two words", "not code"),
    ]


def test_words_of_camel_case_are_told_apart() -> None:
    assert camel_words("parseHTTPHeader(x_y) parseHTTPHeader") == "parse HTTP Header"


def test_words_that_say_nothing_are_not_looked_for_unless_there_are_no_others() -> None:
    assert query_words("where is the userName?") == ["username", "user", "name"]
    assert query_words("what is it") == ["what", "is", "it"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"a": 3, "b": 5}, '"a" OR "b"'),
        ({"a": 3, "b": 90, "c": 95}, '("a" OR ("b" AND "c")) AND ("a" OR "b" OR "c")'),
        ({"a": 3, "b": 90}, '("a") AND ("a" OR "b")'),
        ({"b": 90, "c": 95}, '(("b" AND "c")) AND ("b" OR "c")'),
        ({"a": 0, "b": 90}, '"a" OR "b"'),
    ],
)
def test_words_that_are_too_common_select_only_together(
    counts: dict[str, int], expected: str
) -> None:
    assert expression(counts, most_ranked=10) == expected


async def test_common_words_that_never_stand_together_are_found_all_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expression, "__defaults__", (0,))
    index = make(a_py="alpha = 1\n", b_py="beta = 1\n")
    assert len(await places(index, "alpha beta")) == 2
