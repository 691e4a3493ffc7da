"""What real errors of real small programs are said to come from."""

import traceback
from collections.abc import Callable

import pytest

from dispatch_runner.agents.debug.explain import Explanation, Site, explain
from dispatch_runner.agents.debug.explain.text import explain_text
from dispatch_runner.agents.debug.pycode import PyCode, parse_python
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.stacktraces import parse

Explain = Callable[[str], Explanation | None]


@pytest.fixture
def explained(tmp_path) -> Explain:
    """Runs a program that fails and explains its innermost line."""

    def run(program: str) -> Explanation | None:
        path = tmp_path / "app.py"
        path.write_text(program)
        try:
            exec(compile(program, str(path), "exec"), {"__name__": "app"})
        except Exception:  # noqa: BLE001 - it may raise anything
            (*_, trace) = parse(traceback.format_exc())
        else:
            raise AssertionError("the program did not fail")
        code = parse_python(Source(str(path), "analysed", "python", tuple(program.splitlines())))
        assert isinstance(code, PyCode)
        frame = next(frame for frame in trace.frames if frame.file == str(path))
        assert frame.line is not None
        return explain(Site(code, frame.line, trace.error_type, trace.message, [code]))

    return run


CASES = {
    "attribute of None": (
        (
            "def find(name):\n    if name == 'a':\n        return 'A'\n\n"
            "user = find('b')\nprint(user.upper())\n"
        ),
        "none_dereference",
        "`user` is None where `.upper` is read (line 6)",
        ["`user` is `find('b')` (line 5)", "`find` can reach its end in line 3 without a return"],
    ),
    "subscript of None": (
        "import re\nmatch = re.match('a', 'b')\nprint(match[0])\n",
        "none_dereference",
        "`match` is None where it is indexed (line 3)",
        ["`re.match` returns None when the text does not match"],
    ),
    "iterating over None": (
        "names = [3, 1].sort()\nfor name in names:\n    print(name)\n",
        "none_dereference",
        "`names` is None where it is iterated over (line 2)",
        ["`[3, 1].sort` changes its object in place and returns None"],
    ),
    "calling None": (
        "hook = None\nhook()\n",
        "none_dereference",
        "`hook` is None where it is called (line 2)",
        ["`hook` is `None` (line 1)"],
    ),
    "attribute that only __init__ sets to None": (
        (
            "class A:\n    def __init__(self):\n        self.b = None\n\n"
            "    def f(self):\n        return self.b.c\n\nA().f()\n"
        ),
        "none_dereference",
        "`self.b` is None where `.c` is read (line 6 in `A.f`)",
        ["`self.b` is `None` (line 3)"],
    ),
    "missing constant key": (
        "config = {'hots': 1}\nprint(config['host'])\n",
        "missing_key",
        "`config` has no key 'host' where it is read (line 2)",
        ["`config` is built with the keys 'hots'", "'host' looks like the key 'hots'"],
    ),
    "missing key in a variable": (
        "def get(d, k):\n    return d[k]\n\nget({}, 'x')\n",
        "missing_key",
        "`d` has no key 'x' (`k` was 'x') where it is read (line 2 in `get`)",
        ["`d` is a parameter of `get`: its callers pass it"],
    ),
    "key removed with pop": (
        "d = {}\nd.pop('x')\n",
        "missing_key",
        "`d` has no key 'x' where it is read (line 2)",
        [],
    ),
    "index out of range": (
        "values = [1]\nfor i in range(len(values) + 1):\n    print(values[i])\n",
        "index_out_of_range",
        "the index `i` is outside `values` (line 3)",
        ["`range(len(values) + 1)` (line 2) goes beyond the last index"],
    ),
    "pop of an empty list": (
        "stack = []\nstack.pop()\n",
        "index_out_of_range",
        "`pop` is called on `stack`, which is empty or too short (line 2)",
        ["`stack` is `[]` (line 1)"],
    ),
    "division by an empty length": (
        "def mean(v):\n    return sum(v) / len(v)\n\nmean([])\n",
        "division_by_zero",
        "`len(v)` is zero where it divides (line 2 in `mean`)",
        ["`len(v)` is zero when `v` is empty"],
    ),
    "augmented division": (
        "total, count = 1, 0\ntotal /= count\n",
        "division_by_zero",
        "`count` is zero where it divides (line 2)",
        [],
    ),
    "missing argument": (
        "def pay(amount, currency):\n    pass\n\npay(3)\n",
        "wrong_call",
        "`pay(3)` does not fit its signature",
        ["`pay(amount, currency)` is defined in "],
    ),
    "missing argument of a class": (
        "class Order:\n    def __init__(self, lines):\n        self.lines = lines\n\nOrder()\n",
        "wrong_call",
        "`Order()` does not fit its signature",
        ["`Order.__init__(self, lines)` is defined in "],
    ),
    "operands": (
        "count = '3'\nprint(count + 1)\n",
        "wrong_type",
        "`count` and `1` have types",
        ["`count` is `'3'` (line 1)"],
    ),
    "comparison": (
        "limit = None\nprint(limit < 3)\n",
        "none_dereference",
        "`limit` and `3` have types (NoneType and int)",
        ["`limit` is `None` (line 1)"],
    ),
    "not callable": (
        "size = 3\nsize()\n",
        "not_callable",
        "`size` is a int and is called like a function (line 2)",
        ["`size` is `3` (line 1)"],
    ),
    "undefined name": (
        "customer = 1\nprint(custommer)\n",
        "undefined_name",
        "the name `custommer` is used but nothing defines it there (line 2)",
        ["`custommer` looks like `customer`, which is defined"],
    ),
    "unbound local": (
        "def f(flag):\n    if flag:\n        x = 1\n    return x\n\nf(False)\n",
        "unbound_local",
        "`x` is read before it has a value (line 4 in `f`)",
        ["the assignment before it is not reached on every path"],
    ),
    "misspelt attribute": (
        "class A:\n    def __init__(self):\n        self.name = 1\n\nA().names\n",
        "missing_attribute",
        "`A()` is a A and has no attribute `names` (line 5)",
        ["`names` looks like its attribute `name`"],
    ),
    "attribute of a module": (
        "import os\nos.nothing\n",
        "missing_attribute",
        "`os` is a module 'os' and has no attribute `nothing` (line 2)",
        [],
    ),
    "missing module": (
        "import no_such_module_here\n",
        "missing_module",
        "the module `no_such_module_here` cannot be found",
        [],
    ),
    "missing name in a module": (
        "from os import no_such_name\n",
        "missing_import",
        "`os` does not define `no_such_name`",
        [],
    ),
    "missing file": (
        "path = 'no/such/file'\nopen(path)\n",
        "missing_file",
        "`open(path)` needs the file 'no/such/file', which did not exist (line 2)",
        ["'no/such/file' is relative: it depends on the working directory"],
    ),
    "unpacking": (
        "pair = (1, 2, 3)\na, b = pair\n",
        "wrong_length",
        "what `pair` gives has another number of items than is unpacked",
        ["`pair` is `(1, 2, 3)` (line 1)"],
    ),
    "bad number": (
        "text = 'abc'\nint(text)\n",
        "bad_literal",
        "`text` is 'abc', which `int` does not accept (line 2)",
        ["`text` is `'abc'` (line 1)"],
    ),
    "recursion": (
        "def f(n):\n    return f(n + 1)\n\nf(0)\n",
        "endless_recursion",
        "`f` calls itself (line 2) without reaching an end",
        [],
    ),
    "raise with a guard": (
        "def pay(amount):\n    if amount < 0:\n        raise ValueError('negative')\n\npay(-1)\n",
        "raised_on_purpose",
        "line 3 in `pay` raises it on purpose because `amount < 0` was true",
        ["`amount` is a parameter of `pay`: its callers pass it"],
    ),
    "raise in an else branch": (
        "ok = False\nif ok:\n    pass\nelse:\n    raise ValueError('no')\n",
        "raised_on_purpose",
        "line 5 raises it on purpose because `ok` was false",
        ["`ok` is `False` (line 1)"],
    ),
    "assertion": (
        "def f():\n    return 3\n\nassert f() == 4, 'wrong'\n",
        "failed_assertion",
        "`f() == 4` does not hold (line 4): wrong",
        ["`f` gives a value that the failed assertion checks"],
    ),
    "statements that share a line": (
        "def f(x): y = None; return y.z + x.z\ntry: f(1)\nfinally: pass\n",
        "none_dereference",
        "`y` or `x` is None where `.z` is read (line 1 in `f`)",
        [],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_an_error_is_related_to_the_code_that_raised_it(explained, case):
    program, kind, statement, factors = case
    explanation = explained(program)
    assert explanation is not None
    assert explanation.kind == kind
    assert statement in explanation.statement
    for factor in factors:
        assert any(factor in known for known in explanation.factors), explanation.factors
    assert explanation.check


def test_a_function_that_returns_none_is_named_as_an_origin(explained):
    program = (
        "def find(items):\n    for item in items:\n        return item\n    return None\n\n"
        "found = find([])\nfound.name\n"
    )
    explanation = explained(program)
    assert [(origin.line_start, origin.reason) for origin in explanation.origins] == [
        (6, "line 6 gives `found` its value"),
        (4, "`find` returns None in line 4"),
    ]


def test_a_name_that_the_imported_file_spells_otherwise_is_proposed(tmp_path):
    store = "def find_user():\n    pass\n"
    use = "from shop.store import find_usr\n"
    codes = [
        parse_python(Source(path, "analysed", "python", tuple(text.splitlines())))
        for path, text in (("/w/shop/store.py", store), ("/w/use.py", use))
    ]
    message = "cannot import name 'find_usr' from 'shop.store' (/w/shop/store.py)"
    explanation = explain(Site(codes[1], 1, "ImportError", message, codes))
    assert explanation.fix == "import `find_user` instead of `find_usr`"
    assert explanation.origins[0].code is codes[0]


def test_a_circular_import_is_told_from_a_missing_name():
    code = parse_python(Source("/w/a.py", "analysed", "python", ("from b import f",)))
    message = (
        "cannot import name 'f' from partially initialized module 'b' "
        "(most likely due to a circular import) (/w/b.py)"
    )
    explanation = explain(Site(code, 1, "ImportError", message, [code]))
    assert explanation.kind == "circular_import"


def test_an_error_of_an_unknown_form_is_not_explained(explained):
    assert (
        explained("print('x'.encode('ascii', 'nothing-like-it\\x00'))\n'é'.encode('ascii')\n")
        is None
    )


@pytest.mark.parametrize(
    ("error_type", "message", "kind", "said"),
    [
        (
            "TypeError",
            "Cannot read properties of undefined (reading 'amount')",
            "none_dereference",
            "the value before `.amount` is undefined",
        ),
        (
            "TypeError",
            "Cannot read property 'amount' of null",
            "none_dereference",
            "the value before `.amount` is null",
        ),
        (
            "java.lang.NullPointerException",
            'Cannot invoke "String.length()" because "name" is null',
            "none_dereference",
            "`name` is null",
        ),
        (
            "panic",
            "runtime error: index out of range [5] with length 3",
            "index_out_of_range",
            "the index 5 is outside a sequence of length 3",
        ),
        (
            "panic",
            "index out of bounds: the len is 3 but the index is 99",
            "index_out_of_range",
            "the index 99 is outside a sequence of length 3",
        ),
        (
            "NoMethodError",
            "undefined method `price' for nil:NilClass",
            "none_dereference",
            "`price` is called on nil",
        ),
        (
            "Warning",
            "Undefined variable $total",
            "undefined_name",
            "$total is read but was never set",
        ),
        (
            "fatal error",
            "all goroutines are asleep - deadlock!",
            "deadlock",
            "every goroutine waits for another one",
        ),
        (
            "System.DivideByZeroException",
            "Attempted to divide by zero.",
            "division_by_zero",
            "the divisor is zero at this line",
        ),
    ],
)
def test_messages_of_other_languages_are_understood(error_type, message, kind, said):
    explanation = explain_text(error_type, message)
    assert explanation is not None
    assert (explanation.kind, explanation.statement, explanation.certain) == (kind, said, False)


def test_a_message_of_an_unknown_form_means_nothing():
    assert explain_text("Error", "it broke") is None


def test_braces_in_a_message_are_not_a_template():
    explanation = explain_text("RangeError", "{name} {0} {")
    assert explanation is not None
    assert "{name} {0} {" in explanation.statement
