"""JSON as other programs write it, cut it and break it, after the kinds of cases of JSONTestSuite.

Each text is one value. Alone it is no request; inside of a task's input it has to be taken or refused
as the standard says, and nothing may be taken for something else.
"""

import json
import math

import pytest

from dispatch_runner.errors import RequestRejected
from dispatch_runner.preflight.document import parse
from support.faults import assert_sound
from support.faults.sound import Faulty

VALID = """
0 | -0 | 1 | -1 | 123456789 | 0.5 | -0.5 | 1e1 | 1E1 | 1e+1 | 1e-1 | 1.5E+2 | 0e1 | 0e+1 | 0.0 | -0.0
123.456e78 | 1e-300 | true | false | null | "" | " " | "a" | "a/b" | "\\/" | "\\\\" | "\\"" | "\\b\\f\\n\\r\\t"
"\\u0041" | "\\u00e9" | "\\ud83d\\ude00" | "\\uD83D\\uDE00" | "\\u0000" | "\\u001f" | "\\u2028" | "\\u2029"
"\\uFFFF" | "é" | "日本" | "😀" | "\u2028" | "\u007f" | "\u0080" | "# no comment" | "// no comment" | "/* no */"
[] | [ ] | [1] | [1,2] | [ 1 , 2 ] | [[]] | [[],[[]]] | [null,true,false] | ["a",1,{}] | [[[[[[[[[[]]]]]]]]]]
{} | { } | {"":1} | {"a":1} | {"a":{"a":{}}} | {"a":[]} | {"a" : 1 , "b" : 2} | {"\\u0061b":1} | {"é":1}
"""
BROKEN = """
01 | -01 | 00 | 1. | .5 | -.5 | -. | 1.e1 | 1e | 1e+ | 1e- | 1E | 0e | 1eE2 | 1.2.3 | +1 | ++1 | - | -- | -a | 1a
0x1 | 0x1F | 0b1 | 0o7 | 1_000 | 1 000 | 1,000.5.5 | 1e1.5 | 1.0e | 1\u00a0 | \u0661 | \uff11 | NaN | nan | Infinity
-Infinity | +Infinity | Inf | -inf | 1e999 | -1e999 | TRUE | True | tr | truefalse | nulls | None | undefined | yes | a
'a' | `a` | "a | a" | "\\" | "\\x41" | "\\a" | "\\0" | "\\u" | "\\u1" | "\\u12" | "\\u123" | "\\u123g" | "\\U00000041"
"\\u{41}" | "\\\u00e9" | "a\tb" | "a\u0001b" | "a\u001fb" | "\\ud800" | "\\udc00" | "\\ud800\\ud800" | "\\ud800a" | "\\ud83d\\u0041"
[ | ] | [1 | 1] | [, | [,] | [1,] | [1,,2] | [,1] | [1 2] | [1;2] | [1:2] | ["a" | ["a", | [[] | []] | [1]] | (1) | [1}
{ | } | {"a" | {"a": | {"a":} | {"a":1, | {"a":1,} | {,} | {,"a":1} | {"a" 1} | {"a",1} | {"a"=1} | {a:1} | {'a':1} | {1:1}
{null:1} | {true:1} | {[]:1} | {{}:1} | {"a":1;"b":2} | {"a":1 "b":2} | {"a"::1} | {"a":1}} | {"a":1] | {"a":1,"a":2} | {"a":1,"\\u0061":2}
1 // comment | /* comment */ 1 | 1 # comment | [1/**/,2] | <a/> | <!-- 1 --> | ${x} | $x | {{x}} | %s | @ | & | \\ | ~ | ; | = | ! | *
"a" "b" | "a" + "b" | "a", | 1 1 | {} {} | [] [] | null null | ""\u200b | \u200b1 | \ufeff1 | \u00a01 | \u000b1 | \u000c1 | \u00a0 | \u2060
"""


def cases(text):
    return [case for line in text.strip("\n").split("\n") for case in line.split(" | ")]


def inside(case):
    """A request with the value as a task's input."""
    return b'{"tasks": [{"input_data": {"value": %s}}]}' % case.encode()


@pytest.mark.parametrize("case", cases(VALID))
def test_what_the_standard_allows_is_read_as_it_says(case):
    document = parse(inside(case))
    assert not document.problems.found
    value = document.value["tasks"][0]["input_data"]["value"]
    assert json.dumps(value) == json.dumps(json.loads(case))


@pytest.mark.parametrize("case", cases(BROKEN))
def test_what_it_does_not_allow_is_refused_with_a_place(case):
    try:
        problems = parse(inside(case)).problems.found
    except RequestRejected as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.message
        assert problem.pointer or "line 1" in problem.message, problem


WHOLE = {
    "nothing": b"",
    "white space": b" \t\r\n",
    "a byte": b"\x00",
    "only a BOM": b"\xef\xbb\xbf",
    "half a BOM": b"\xef\xbb",
    "two BOMs": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "UTF-16": '{"tasks": []}'.encode("utf-16"),
    "UTF-16 without BOM": '{"tasks": []}'.encode("utf-16-le"),
    "UTF-32": '{"tasks": []}'.encode("utf-32"),
    "Latin-1": '{"tasks": "é"}'.encode("latin-1"),
    "a byte of no character": b'{"tasks": "\xff"}',
    "half a character": b'{"tasks": "\xe6\x97"}',
    "an overlong slash": b'{"tasks": "\xc0\xaf"}',
    "a surrogate as bytes": b'{"tasks": "\xed\xa0\x80"}',
    "beyond Unicode": b'{"tasks": "\xf4\x90\x80\x80"}',
    "two documents": b'{"tasks": []}{"tasks": []}',
    "lines of documents": b'{"tasks": []}\n{"tasks": []}\n',
    "text after it": b'{"tasks": []} thanks',
    "text before it": b'Here it is: {"tasks": []}',
    "a fence": b'```json\n{"tasks": []}\n```',
    "a number": b"1",
    "a word": b"null",
    "a text": b'"{}"',
    "a list": b"[]",
    "200 lists": b"[" * 200 + b"]" * 200,
    "a million lists": b"[" * 1_000_000,
    "a million objects": b'{"a":' * 1_000_000,
    "5,000 digits": b'{"tasks": ' + b"9" * 5_000 + b"}",
    "a large exponent": b'{"tasks": 1e99999999999}',
    "form feed": b'\x0c{"tasks": []}',
    "a NUL at its end": b'{"tasks": []}\x00',
    "a callback": b'load({"tasks": []})',
    "YAML": b"tasks:\n  - task_id: a\n",
    "a guard": b')]}\'\n{"tasks": []}',
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_document_is_refused(name):
    with pytest.raises(RequestRejected) as refusal:
        parse(WHOLE[name]).problems.raise_if_any()
    assert all(problem.message for problem in refusal.value.problems)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_document_is_answered_by_one(bench, name):
    faulty = Faulty(bench.cli("-q", stdin=WHOLE[name], writes=()), 0, ())
    assert (faulty.ran.code, faulty.ran.document["status"]) == (2, "rejected")
    assert not bench.traces.exists()
    assert_sound(bench, faulty, resumes=False)


def test_a_request_cut_at_any_byte_is_refused():
    whole = json.dumps(
        {"tasks": [{"task_id": "é", "agent": "echo", "input_data": {"x": [1.5, "\\"]}}]}
    )
    raw = whole.encode()
    for size in range(len(raw)):
        with pytest.raises(RequestRejected):
            parse(raw[:size])
    assert parse(raw).value


@pytest.mark.parametrize("digits", [1, 18, 19, 20, 400])
def test_a_number_is_kept_exactly_or_refused(digits):
    text = "9" * digits
    document = parse(inside(text))
    value = document.value["tasks"][0]["input_data"]["value"]
    assert document.problems.found or value == int(text)
    assert not math.isinf(float(value))
