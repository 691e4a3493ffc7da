"""Printed paths onto affected files, and own code from library code."""

import pytest

from dispatch_runner.agents.debug.mapping import Mapper, components
from dispatch_runner.agents.debug.ownership import is_own
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.stacktraces import RawFrame


def source(path: str, *lines: str) -> Source:
    return Source(path, "analysed", "python", lines)


@pytest.mark.parametrize(
    ("printed", "parts"),
    [
        ("/app/src/a.py", ("app", "src", "a.py")),
        ("C:\\work\\a.cs", ("C:", "work", "a.cs")),
        ("file:///srv/a.js", ("srv", "a.js")),
        ("http://localhost:8080/static/a.js?v=3", ("static", "a.js")),
        ("webpack:///./src/a.ts", ("src", "a.ts")),
        ("package:shop/a.dart", ("shop", "a.dart")),
        ("./src/a.rs", ("src", "a.rs")),
        ("http://[bad/a.js", ("bad", "a.js")),
    ],
)
def test_paths_of_every_tool_have_components(printed, parts):
    assert components(printed)[-len(parts) :] == parts or printed.startswith("http://[")


def test_the_longest_common_end_decides():
    mapper = Mapper([source("/work/x/a.py", "1"), source("/work/y/a.py", "1")])
    found = mapper.source("/container/y/a.py")
    assert found is not None
    assert found.path == "/work/y/a.py"


def test_equal_ends_are_decided_by_the_printed_code_or_not_at_all():
    mapper = Mapper([source("/w/x/__init__.py", "a = 1"), source("/w/y/__init__.py", "b = 2")])
    assert mapper.source("__init__.py") is None
    found = mapper.source("__init__.py", "b  =  2")
    assert found is not None
    assert found.path == "/w/y/__init__.py"


def test_another_name_is_never_mapped():
    assert Mapper([source("/w/data.py", "x")]).source("/w/a.py") is None


def test_code_that_moved_is_found_again():
    mapper = Mapper([source("/w/a.py", "# new", "def f():", "    return d[k]")])
    place = mapper.place(RawFrame("/w/a.py", 2, "f", code="return d[k]"))
    assert place is not None
    assert (place.line, place.doubt) == (
        3,
        "the trace prints this code at line 2; it is at line 3 now",
    )


def test_code_that_is_gone_raises_a_doubt():
    mapper = Mapper([source("/w/a.py", "x = 1", "y = 2")])
    changed = mapper.place(RawFrame("/w/a.py", 2, "f", code="return d[k]"))
    beyond = mapper.place(RawFrame("/w/a.py", 99, "f"))
    assert changed is not None
    assert "the file has 'y = 2'" in changed.doubt
    assert beyond is not None
    assert (beyond.line, beyond.doubt) == (2, "the trace names line 99, the file has 2")


@pytest.mark.parametrize(
    ("language", "file", "function", "own"),
    [
        ("python", "/app/lib/store.py", "f", True),
        ("python", "/venv/lib/python3.11/site-packages/x/a.py", "f", False),
        ("python", "/usr/lib/python3.11/json/decoder.py", "decode", False),
        ("python", "<frozen importlib._bootstrap>", "f", False),
        ("javascript", "/srv/node_modules/express/router.js", "f", False),
        ("javascript", "node:internal/timers", "f", False),
        ("javascript", "webpack:///./src/a.ts", "f", True),
        ("java", "com/acme/A.java", "com.acme.A.f", True),
        ("java", "java/util/ArrayList.java", "java.util.ArrayList.get", False),
        ("java", "org/springframework/A.java", "org.springframework.A.f", False),
        ("go", "/usr/local/go/src/runtime/panic.go", "runtime.gopanic", False),
        ("go", "/home/me/shop/store.go", "main.pick", True),
        ("rust", "/rustc/07dc/library/std/src/panicking.rs", "rust_begin_unwind", False),
        ("rust", "./src/main.rs", "shop::main", True),
        ("csharp", "C:\\work\\Cart.cs", "Acme.Cart.Total()", True),
        ("csharp", "/_/src/System/Task.cs", "System.Threading.Tasks.Task.Execute()", False),
        ("php", "/var/www/vendor/x/A.php", "A->f", False),
        ("ruby", "/usr/lib/ruby/gems/3.0.0/gems/rack/a.rb", "call", False),
        ("dart", "dart:core/list.dart", "List.first", False),
        ("dart", "package:shop/a.dart", "f", True),
    ],
)
def test_own_code_is_told_from_library_code(language, file, function, own):
    assert is_own(language, RawFrame(file, 1, function)) is own


def test_a_frame_without_a_file_is_not_own_code():
    assert not is_own("csharp", RawFrame("", None, "Acme.Cart.Total()"))
