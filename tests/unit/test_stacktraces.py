"""Recorded stack traces of the languages other than Python, and what holds for any text."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.agents.debug.stacktraces import RawTrace, parse

DATA = Path(__file__).parents[1] / "data" / "debug"


def read(name: str) -> list[RawTrace]:
    return parse((DATA / name).read_text())


def places(trace: RawTrace) -> list[tuple[str, int | None, str]]:
    return [(frame.file, frame.line, frame.function) for frame in trace.frames]


def test_v8_frames_cause_and_async_frames():
    error, cause = read("v8.txt")
    assert (error.language, error.error_type) == ("javascript", "TypeError")
    assert error.message == "Cannot read properties of undefined (reading 'amount')"
    assert places(error) == [
        ("/srv/shop/src/cart.js", 12, "lineTotal"),
        ("file:///srv/shop/src/cart.js", 20, "new Cart"),
        ("/srv/shop/src/checkout.ts", 7, "checkout"),
        ("/srv/shop/node_modules/express/lib/router.js", 95, "Object.<anonymous>"),
        ("node:internal/modules/cjs/loader", 1256, ""),
    ]
    assert error.frames[0].column == 23
    assert (cause.relation, cause.error_type, cause.chain) == ("cause", "RangeError", error.chain)
    assert places(cause)[1] == ("/srv/shop/src/price.js", 9, "")


def test_firefox_frames():
    (error,) = read("firefox.txt")
    assert error.error_type == "TypeError"
    assert places(error) == [
        ("http://localhost:8080/static/js/order.js", 14, "sum"),
        ("http://localhost:8080/static/js/view.js?v=3", 40, "render/<"),
        ("http://localhost:8080/static/js/view.js", 60, ""),
    ]


def test_safari_frames():
    (error,) = read("safari.txt")
    assert [frame.function for frame in error.frames] == ["sum", "global code"]
    assert error.message.startswith("undefined is not an object")


def test_java_and_kotlin_with_cause_and_suppressed_error():
    error, suppressed, cause = read("java.txt")
    assert error.error_type == "java.lang.IllegalStateException"
    assert places(error)[0] == (
        "com/acme/shop/OrderService.java",
        42,
        "com.acme.shop.OrderService.place",
    )
    assert places(error)[1][0] == "com/acme/shop/Main.kt"
    assert (suppressed.relation, suppressed.message) == ("suppressed", "close failed")
    assert (cause.relation, cause.error_type) == ("cause", "java.lang.NullPointerException")
    assert places(cause)[0] == ("com/acme/shop/Customer.java", 8, "com.acme.shop.Customer.<init>")
    assert {trace.chain for trace in (error, suppressed, cause)} == {error.chain}


def test_go_panic_and_the_other_goroutines():
    panic, other = read("go.txt")
    assert panic.message == "runtime error: index out of range [5] with length 3"
    assert places(panic)[:2] == [
        ("/home/me/shop/store.go", 21, "main.(*Store).pick"),
        ("/home/me/shop/main.go", 9, "main.main"),
    ]
    assert (other.relation, places(other)) == (
        "thread",
        [("/home/me/shop/worker.go", 12, "main.worker")],
    )


def test_go_deadlock():
    (error,) = read("go_deadlock.txt")
    assert (error.error_type, error.message) == (
        "fatal error",
        "all goroutines are asleep - deadlock!",
    )
    assert places(error) == [("/tmp/sandbox/prog.go", 7, "main.main")]


def test_rust_panic_with_backtrace_begins_at_the_panic():
    (panic,) = read("rust.txt")
    assert panic.message == "index out of bounds: the len is 3 but the index is 99"
    assert places(panic)[0] == ("src/stock.rs", 14, "shop::stock::pick")
    assert places(panic)[-1] == ("./src/main.rs", 5, "shop::main")


def test_rust_panic_of_the_older_form():
    (panic,) = read("rust_old.txt")
    assert panic.message == "called `Option::unwrap()` on a `None` value"
    assert places(panic) == [("src/lib.rs", 31, "")]


def test_csharp_inner_exception_and_windows_paths():
    outer, inner = read("csharp.txt")
    assert (outer.error_type, inner.relation) == ("System.InvalidOperationException", "cause")
    assert inner.error_type == "System.NullReferenceException"
    assert places(inner)[0][:2] == ("C:\\work\\Shop\\Cart.cs", 27)
    assert [frame.line for frame in outer.frames] == [11, None, 5]


def test_php_uncaught_error_and_the_one_it_led_to():
    cause, error = read("php.txt")
    assert (cause.relation, cause.error_type) == ("cause", "LogicException")
    assert places(cause)[:2] == [
        ("/var/www/shop/src/Stock.php", 18, "Shop\\Stock->find"),
        ("/var/www/shop/src/Cart.php", 33, "Shop\\Cart->add"),
    ]
    assert places(error) == [
        ("/var/www/shop/src/Cart.php", 36, "Shop\\Cart->add"),
        ("/var/www/shop/public/index.php", 9, "{main}"),
    ]


def test_php_warning_of_one_line():
    (warning,) = read("php_warning.txt")
    assert (warning.message, warning.frames[0].line) == ("Undefined variable $total", 12)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("ruby.txt", ("/home/me/shop/lib/cart.rb", 9, "total")),
        ("ruby34.txt", ("lib/ratio.rb", 2, "Integer#/")),
        ("ruby_reversed.txt", ("lib/ratio.rb", 2, "of")),
    ],
)
def test_ruby_in_both_quote_styles_and_both_orders(name, first):
    (error,) = read(name)
    assert places(error)[0] == first
    assert places(error)[-1][2] == "<main>"
    assert error.error_type in ("NoMethodError", "ZeroDivisionError")


def test_dart_and_flutter():
    (error,) = read("dart.txt")
    assert (error.error_type, places(error)[1]) == (
        "RangeError",
        ("package:shop/stock.dart", 8, "Stock.pick"),
    )
    (flutter,) = read("flutter.txt")
    assert (flutter.error_type, flutter.message) == ("Bad state", "No element")
    assert places(flutter)[1] == ("package:shop/pages/cart.dart", 31, "CartPage.build")


def test_one_text_may_hold_several_languages():
    names = ["go.txt", "v8.txt", "java.txt", "rust.txt", "ruby.txt", "php.txt", "dart.txt"]
    traces = parse("\n".join((DATA / name).read_text() for name in names))
    assert [trace.language for trace in traces if trace.relation == "raised"] == [
        "go",
        "javascript",
        "java",
        "rust",
        "ruby",
        "php",
        "dart",
    ]


@pytest.mark.parametrize("path", sorted(DATA.glob("*.txt")), ids=lambda path: path.stem)
def test_colours_and_carriage_returns_change_nothing(path):
    plain = path.read_text()
    coloured = "".join(f"\x1b[31m{line}\x1b[0m\r\n" for line in plain.splitlines())
    assert parse(coloured) == parse(plain)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.txt")), ids=lambda path: path.stem)
def test_a_text_cut_anywhere_is_survived(path):
    text = path.read_text()
    for end in range(0, len(text), 7):
        assert len(parse(text[:end])) <= 4


def test_a_repeated_trace_is_counted_not_listed_again():
    once = (DATA / "java.txt").read_text()
    traces = parse(once * 5)
    assert len(traces) == 3
    assert {trace.occurrences for trace in traces} == {5}


def test_an_error_line_alone_is_an_error_without_frames():
    (error,) = parse("something\nTypeError: x is not a function\n")
    assert (error.error_type, error.message, error.frames) == (
        "TypeError",
        "x is not a function",
        [],
    )


@pytest.mark.parametrize("text", ["", "\n", "all is well", "\x00" * 50, "at the end (of it)"])
def test_text_without_a_trace_gives_none(text):
    assert parse(text) == []


LINES = [
    *sorted({line for path in DATA.glob("*.txt") for line in path.read_text().splitlines()}),
    "Traceback (most recent call last):",
    '  File "a.py", line 1, in f',
    "    return x",
    "ValueError: x",
    "  + Exception Group Traceback (most recent call last):",
    "  +-+---------------- 1 ----------------",
    "    | TypeError: 1",
    "____ test_x ____",
    ">   x()",
    "E   KeyError: 'x'",
    "a.py:3: KeyError",
    "a.py:3: in f",
    "  [Previous line repeated 9 more times]",
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
    "===== FAILURES =====",
]


@given(st.lists(st.one_of(st.sampled_from(LINES), st.text(max_size=40)), max_size=30))
def test_lines_of_any_form_in_any_order_never_raise(lines):
    for trace in parse("\n".join(lines)):
        assert trace.frames or trace.error_type or trace.message


@given(st.text(max_size=400))
def test_any_text_never_raises(text):
    parse(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["at x (" * 300, " " * 1999, "a:1:in `" * 200, "   at a.b(" * 150, "x" * 5_000_000]
)
def test_time_grows_linearly_with_hostile_text(line):
    def seconds(size: int) -> float:
        text = (line + "\n") * max(size // len(line), 1)
        begin = time.perf_counter()
        parse(text)
        return time.perf_counter() - begin

    seconds(100_000)
    assert seconds(4_000_000) < 20 * seconds(1_000_000) + 0.5
