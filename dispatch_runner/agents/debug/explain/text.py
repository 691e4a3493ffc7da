"""What an error's own words determine, in any language, when no tree of the file is at hand."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dispatch_runner.agents.debug.explain.site import Explanation


@dataclass(frozen=True, slots=True)
class Phrase:
    """A form of message and what it means. `{name}` stands for what the message named."""

    pattern: re.Pattern[str]
    kind: str
    statement: str
    fix: str
    check: str


def _phrase(pattern: str, kind: str, statement: str, fix: str, check: str) -> Phrase:
    return Phrase(re.compile(pattern), kind, statement, fix, check)


PHRASES: tuple[Phrase, ...] = (
    _phrase(
        r"Cannot (?:read|set) properties of (?P<value>undefined|null) "
        r"\((?:reading|setting) '(?P<name>[^']+)'\)|"
        r"Cannot (?:read|set) property '(?P<name2>[^']+)' of (?P<value2>undefined|null)",
        "none_dereference",
        "the value before `.{name}` is {value}",
        "handle {value} before `.{name}` is used, where the value is made or at this line",
        "log the value before `.{name}` at this line",
    ),
    _phrase(
        r"(?P<value>undefined|null) is not an object \(evaluating '(?P<name>[^']+)'\)",
        "none_dereference",
        "a value inside `{name}` is {value}",
        "handle {value} before `{name}` is evaluated",
        "log each part of `{name}` before this line",
    ),
    _phrase(
        r"^(?P<name>[\w.$\[\]]+) is (?P<value>undefined|null)$",
        "none_dereference",
        "`{name}` is {value}",
        "handle {value} before `{name}` is used",
        "log `{name}` before this line",
    ),
    _phrase(
        r"^(?P<name>[\w.$\[\]()]+) is not a function",
        "not_callable",
        "`{name}` is called but is not a function",
        "call a name that is a function, or import the one that is meant",
        "log `typeof {name}` before this line",
    ),
    _phrase(
        r"^(?P<name>[\w$]+) is not defined",
        "undefined_name",
        "the name `{name}` is used but nothing defines it there",
        "define or import `{name}`, or correct its spelling",
        "search the file for a declaration of `{name}`",
    ),
    _phrase(
        r"Cannot find (?:module|package) '(?P<name>[^']+)'",
        "missing_module",
        "the module `{name}` cannot be found",
        "install what provides `{name}`, or correct the path in the import",
        "resolve `{name}` from the folder of this file",
    ),
    _phrase(
        r"because \"(?P<name>[^\"]+)\" is null",
        "none_dereference",
        "`{name}` is null",
        "handle null before `{name}` is used, or make its origin never give null",
        "print `{name}` before this line",
    ),
    _phrase(
        r"Object reference not set to an instance|invalid memory address or nil pointer|"
        r"NullPointerException|Null check operator used on a null value",
        "none_dereference",
        "a null reference is used at this line",
        "handle null before the value is used, or make its origin never give null",
        "print each reference that this line uses",
    ),
    _phrase(
        r"`Option::unwrap\(\)` on a `None` value",
        "none_dereference",
        "`unwrap` is called on `None`",
        "handle `None` with `match`, `?` or a default instead of `unwrap`",
        "print the option before this line",
    ),
    _phrase(
        r"`Result::unwrap\(\)` on an `Err` value: (?P<name>.*)",
        "unhandled_error",
        "`unwrap` is called on an error: {name}",
        "handle the error with `match` or `?` instead of `unwrap`",
        "print the result before this line",
    ),
    _phrase(
        r"undefined method [`'](?P<name>[^']+)' for nil",
        "none_dereference",
        "`{name}` is called on nil",
        "handle nil before `{name}` is called, or make its origin never give nil",
        "print the receiver of `{name}` before this line",
    ),
    _phrase(
        r"undefined (?:method|local variable or method) [`'](?P<name>[^']+)'",
        "undefined_name",
        "the receiver does not know `{name}`",
        "define `{name}`, or correct its spelling or its receiver",
        "print the class of the receiver before this line",
    ),
    _phrase(
        r"Undefined (?:variable|array key|index|property)[: ]+(?P<name>.+)",
        "undefined_name",
        "{name} is read but was never set",
        "set {name} on every path before this line, or test it with `isset`",
        "dump {name} before this line",
    ),
    _phrase(
        r"index out of range \[(?P<name>-?\d+)\](?: with length (?P<value>\d+))?|"
        r"len is (?P<value2>\d+) but the index is (?P<name2>\d+)|"
        r"Index (?P<name3>-?\d+) out of bounds for length (?P<value3>\d+)",
        "index_out_of_range",
        "the index {name} is outside a sequence of length {value}",
        "keep the index within the sequence, or handle it being too short",
        "print the index and the length before this line",
    ),
    _phrase(
        r"RangeError|IndexOutOfRange|ArrayIndexOutOfBounds|Not in (?:inclusive )?range",
        "index_out_of_range",
        "an index or number is outside what is allowed: {message}",
        "keep it within the range",
        "print the value and its bounds before this line",
    ),
    _phrase(
        r"(?:divided|division|divide) by zero|/ by zero|divided by 0",
        "division_by_zero",
        "the divisor is zero at this line",
        "handle zero before the division",
        "print the divisor before this line",
    ),
    _phrase(
        r"all goroutines are asleep - deadlock",
        "deadlock",
        "every goroutine waits for another one",
        "make sure that each channel or lock that is waited for has another side that runs",
        "list what each goroutine of the dump waits for",
    ),
    _phrase(
        r"concurrent map (?:writes|read and map write|iteration)",
        "data_race",
        "a map is used by several goroutines at once without a lock",
        "guard the map with a mutex, or use `sync.Map`",
        "run with `-race`",
    ),
    _phrase(
        r"Maximum call stack size exceeded|stack level too deep|StackOverflow|stack overflow",
        "endless_recursion",
        "a function calls itself without reaching an end",
        "give it a base case that its arguments reach",
        "print its arguments at its start",
    ),
    _phrase(
        r"No such file or directory|ENOENT|FileNotFoundException",
        "missing_file",
        "a file is needed that did not exist: {message}",
        "create the file first, correct the path, or handle its absence",
        "look whether the file exists, from the working directory of the run",
    ),
)


def explain_text(error_type: str, message: str) -> Explanation | None:
    """What the message determines by itself; null when it is of no known form."""
    said = f"{error_type}: {message}" if error_type else message
    for phrase in PHRASES:
        match = phrase.pattern.search(message) or phrase.pattern.search(said)
        if match is not None:
            return _filled(phrase, match, message)
    return None


def _filled(phrase: Phrase, match: re.Match[str], message: str) -> Explanation:
    groups = match.groupdict()
    values = {"message": message[:300], "name": "", "value": "unknown"}
    for key, value in groups.items():
        if value:
            values[key.rstrip("0123456789")] = value[:200]
    return Explanation(
        phrase.kind,
        phrase.statement.format_map(values),
        phrase.check.format_map(values),
        fix=phrase.fix.format_map(values),
        certain=False,
    )
