"""Habits in code: each is found where it is, and not where it only looks like it."""

import pytest

from dispatch_runner.analysis.patterns import (
    ANTI_PATTERNS,
    BEST_PRACTICES,
    Pattern,
    find_patterns,
)
from dispatch_runner.analysis.pycode import PyCode, parse_python


def found(text: str, patterns: tuple[Pattern, ...]) -> list[tuple[str, int]]:
    code = parse_python(text)
    assert isinstance(code, PyCode)
    return [(each.name, each.line) for each in find_patterns(code, patterns)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mutable_default", "\ndef f(a=[], *, b=None): ...\n"),
        ("mutable_default", "\ndef f(a, *, b=dict()): ...\n"),
        ("evaluated_text", "\neval(x)\n"),
        ("unsafe_deserialisation", "\npickle.loads(x)\n"),
        ("shell_command", "\nsubprocess.run(x, shell=True)\n"),
        ("shell_command", "\nos.system(x)\n"),
        ("wildcard_import", "\nfrom os import *\n"),
        ("global_state", "def f():\n    global x\n"),
        ("hard_coded_secret", "\ndb_password = 'hunter22'\n"),
        ("sql_from_parts", "\nq = f'SELECT * FROM t WHERE id = {x}'\n"),
        ("sql_from_parts", "\nq = 'delete from t where id = ' + x\n"),
        ("long_parameter_list", "\ndef f(a, b, c, d, e, g, h, i): ...\n"),
        ("type_compared", "\nif type(x) == int: ...\n"),
        ("return_in_finally", "def f(x):\n  try: x\n  finally: return 1\n".replace("\n  try: x\n  ", "\n try: x\n ")),
        ("unclosed_file", "\nx = open(p).read()\n"),
        ("naive_time", "\ndatetime.now()\n"),
        ("vague_raise", "\nraise Exception('x')\n"),
    ],
)  # fmt: skip
def test_an_anti_pattern_is_found_at_its_line(name: str, text: str) -> None:
    line = 3 if name == "return_in_finally" else 2
    assert found(text, ANTI_PATTERNS) == [(name, line)]


def test_errors_that_are_dropped_are_found() -> None:
    text = "try: x\nexcept: pass\ntry: x\nexcept Exception: y\n"
    assert found(text, ANTI_PATTERNS) == [
        ("bare_except", 2),
        ("swallowed_error", 2),
        ("broad_except", 4),
    ]


def test_sizes_are_found() -> None:
    long = "def f():\n" + "    x = 1\n" * 50
    assert found(long, ANTI_PATTERNS) == [("long_function", 1)]
    methods = "".join(f"    def m{number}(self): ...\n" for number in range(26))
    assert found(f"class A:\n{methods}", ANTI_PATTERNS) == [("large_class", 1)]
    deep = "def f():\n" + "".join(f"{' ' * n}if x:\n" for n in range(1, 6)) + "      pass\n"
    assert found(deep, ANTI_PATTERNS) == [("deep_nesting", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "def f(a=(), b=None): ...\n",
        "password = ''\npassword = '<password>'\nmax_token = 'abcdef'\npassword = get()\n",
        "datetime.now(UTC)\n",
        "try: x\nexcept Exception as error:\n    raise Y from error\n",
        "subprocess.run(x, shell=False)\n",
        "q = 'select a from b where c = ?'\n",
        "x = 'updated ' + y\n",
        "with open(p) as f: f.read()\n",
        "if isinstance(x, int): ...\n",
        "'a' % ()\n",
    ],
)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert found(text, ANTI_PATTERNS) == []


def test_good_habits_are_found() -> None:
    text = '''"""Module."""
import logging
log = logging.getLogger(__name__)
class Odd(ValueError): ...
class Colour(StrEnum): ...
class Door(Protocol): ...
class Point(NamedTuple): ...
@dataclass(frozen=True)
class Line: ...
class User(BaseModel):
    model_config = ConfigDict(frozen=True)
class House:
    def __init__(self, door: ProtocolDoor) -> None:
        with open(p) as f:
            client.get(f, timeout=3)
        try: x
        except KeyError as error:
            raise Odd from error
'''
    assert found(text, BEST_PRACTICES) == [
        ("documented_module", 1),
        ("module_logger", 3),
        ("own_error_class", 4),
        ("enumeration", 5),
        ("interface", 6),
        ("immutable_data", 7),
        ("immutable_data", 9),
        ("immutable_data", 10),
        ("validated_model", 10),
        ("injected_dependency", 13),
        ("typed_signature", 13),
        ("context_manager", 14),
        ("time_limit", 15),
        ("chained_error", 18),
    ]


def test_names_are_unique_and_confidences_are_shares() -> None:
    patterns = (*ANTI_PATTERNS, *BEST_PRACTICES)
    assert len({each.name for each in patterns}) == len(patterns)
    assert all(0 < each.confidence <= 1 for each in patterns)
