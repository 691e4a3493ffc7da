"""Bytes to one JSON object, and what is said when there is none."""

import gc
import json
from typing import Any

import pytest

from dispatch_runner.errors import RequestRejected
from dispatch_runner.models import Problem
from dispatch_runner.preflight.document import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    parse,
)
from dispatch_runner.preflight.problems import MAX_PROBLEMS


def refused(raw: bytes) -> Problem:
    with pytest.raises(RequestRejected) as caught:
        parse(raw)
    (problem,) = caught.value.problems
    assert problem.pointer == ""
    return problem


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"tasks": [{"a": [1, -2.5, True, None, 'é\U0001f680\\"\n']}], "": {"": []}},
        {"n": [0, -0.0, 1e-300, 1e300, (1 << 64) - 1, -(1 << 63)]},
        {"\0": "\0"},
    ],
)
@pytest.mark.parametrize("encode", [json.dumps, lambda it: json.dumps(it, ensure_ascii=False)])
def test_valid_document_is_read_exactly(value: Any, encode: Any) -> None:
    raw = encode(value).encode()
    document = parse(raw)
    assert document.value == value
    assert document.problems.found == []
    assert parse(b"\xef\xbb\xbf" + raw).value == value


@pytest.mark.parametrize(
    ("raw", "position", "message", "hint"),
    [
        (b'{"a":1,}', (1, 8), "a comma before '}'", "trailing comma"),
        (b'{"a":[1,\n 2,]}', (2, 4), "a comma before ']'", "trailing comma"),
        (b'{"a":,}', (1, 6), "a comma with no value", "remove"),
        (b"{'a':1}", (1, 2), "single quote", "double quotes"),
        ("{\u201ca\u201d:1}".encode(), (1, 2), "typographic quote", "straight double quotes"),
        (b"{a:1}", (1, 2), "the key 'a' has no quotes", '"a"'),
        (b'{"a":hello}', (1, 6), "the word 'hello' has no quotes", '"hello"'),
        (b'{"a":None}', (1, 6), "'None' is not JSON", "null"),
        (b'{"a":True}', (1, 6), "'True' is not JSON", "true"),
        (b'{"a":1 // note\n}', (1, 8), "a comment", "no comments"),
        (b'{"a":/* note */1}', (1, 6), "a comment", "no comments"),
        (b'{\n# note\n"a":1}', (2, 1), "a comment", "no comments"),
        (b'```json\n{"a":1}\n```', (1, 1), "Markdown fence", "between the ```"),
        (b'{"a":1}\n```\n', (2, 1), "Markdown fence", "between the ```"),
        (b'Sure:\n```json\n{"a":1}\n```', (1, 1), "Markdown fence", "between the ```"),
        (b"Please run this", (1, 1), "prose", "only the JSON"),
        (b'{"a":1}\n{"b":2}\n', (2, 1), "a second document", "one document"),
        (b'{"a":1}}', (1, 8), "'}' closes nothing", "remove it"),
        (b'{"a":1} done', (1, 9), "text after the end of the document", "alone"),
        (b'{"a":[1,{"b":2', (1, 15), "ends too early", "still open: {[{"),
        (b'{"a":tru', (1, 6), "ends too early", "still open: {"),
        (b'{"a"', (1, 5), "ends too early", "still open: {"),
        (b'{"a":"text', (1, 6), "a string starts here and never ends", "cut off"),
        (b'{"a":"say "hello" to"}', (1, 12), "text after the end of a string", '\\"'),
        (b'{"a" 1}', (1, 6), "a colon is missing", '"key": value'),
        (b'{"a":1 "b":2}', (1, 8), "a comma is missing", "commas"),
        (b'{"a":[1}', (1, 8), "'}' closes a bracket of the other kind", "missing before"),
        (b'{"a":01}', (1, 7), "malformed number", "leading zeros"),
        (b'{"a":.5}', (1, 6), "no number starts with '.'", "0.5"),
        (b'{"a":"x\ny"}', (1, 8), "a line break inside a string", "\\n"),
        (b'{"a":"x\ty"}', (1, 8), "a tab inside a string", "\\t"),
        (b'{"a":"C:\\dir"}', (1, 9), "a backslash that escapes nothing", "\\\\"),
        (b'{"a":1\0}', (1, 7), "a NUL byte", "NUL"),
        ('{"a"\u00a0:1}'.encode(), (1, 5), "invisible character U+00A0", "remove"),
    ],
)
def test_syntax_error_says_where_what_and_how_to_mend_it(
    raw: bytes, position: tuple[int, int], message: str, hint: str
) -> None:
    problem = refused(raw)
    assert problem.code == "invalid_json"
    first, excerpt, caret = problem.message.split("\n")
    assert first.startswith(f"line {position[0]}, column {position[1]}: ")
    assert message in first
    assert hint in str(problem.hint)
    line = (
        raw.decode().splitlines()[position[0] - 1].replace("\0", "\u00b7").replace("\t", "\u00b7")
    )
    assert excerpt == "  " + line.replace("\u00a0", "\u00b7")
    assert caret == " " * (position[1] + 1) + "^"


def test_excerpt_of_a_long_line_is_bounded_and_the_caret_is_at_the_place() -> None:
    problem = refused(b'{"a":"' + b"s" * 500 + b'" ! "' + b"t" * 500 + b'"}')
    _, excerpt, caret = problem.message.split("\n")
    assert len(excerpt) <= 84
    assert excerpt[caret.index("^")] == "!"


@pytest.mark.parametrize(
    ("raw", "code", "message"),
    [
        (b"", "empty_document", "empty"),
        (b" \n\t", "empty_document", "only white space"),
        (b"\xef\xbb\xbf", "empty_document", "empty"),
        ('{"a":1}'.encode("utf-16"), "not_utf8", "UTF-16"),
        (b'{"a":"\xff"}', "not_utf8", "byte 0xff at offset 6"),
        (b'\xef\xbb\xbf{"a":"\xff"}', "not_utf8", "byte 0xff at offset 9"),
        (b'{"a":"\xed\xa0\x80"}', "not_utf8", "byte 0xed at offset 6"),
        (b'[{"task_id":"a"}]', "not_an_object", "a list"),
        (b"null", "not_an_object", "null"),
        (b"NaN", "not_an_object", "not a number"),
        (b'"{}"', "not_an_object", "the string '{}'"),
        (b"[" * 100_000, "nested_too_deeply", "line 1, column 201"),
        (b'{"a":' * 100_000, "nested_too_deeply", "line 1, column 1001"),
        (b'{"[[":' + b"[" * 200 + b"]" * 200 + b"}", "nested_too_deeply", "column 206"),
        (b"," * (MAX_VALUES + 1), "document_too_large", "commas"),
    ],
)
def test_what_is_no_object_is_refused(raw: bytes, code: str, message: str) -> None:
    problem = refused(raw)
    assert problem.code == code
    assert message in problem.message


def test_list_of_tasks_and_double_encoding_are_recognised() -> None:
    assert '{"tasks": [...]}' in str(refused(b'[{"task_id":"a"}]').hint)
    assert "encoded twice" in str(refused(json.dumps('{"tasks": []}').encode()).hint)


def test_size_is_limited_before_anything_is_read() -> None:
    assert refused(bytes(MAX_BYTES + 1)).code == "document_too_large"


def test_nesting_up_to_the_limit_is_read() -> None:
    raw = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert parse(raw).problems.found == []


def test_every_duplicate_key_is_reported_with_its_pointer() -> None:
    document = parse(b'{"a":1,"b":[{"x~/y":1,"x~/y":2,"x~/y":3,"z":0}],"a":2,"a":3}')
    assert [(it.code, it.pointer) for it in document.problems.found] == [
        ("duplicate_key", "/a"),
        ("duplicate_key", "/b/0/x~0~1y"),
    ]
    assert document.value == {"a": 3, "b": [{"x~/y": 3, "z": 0}]}
    assert type(document.value["b"][0]) is dict


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (b"NaN", "NaN is not JSON"),
        (b"Infinity", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e999", "number 1e999 is too large"),
        (b"-1e999", "number -1e999 is too large"),
        (b"18446744073709551616", "integer 18446744073709551616 does not fit in 64 bits"),
        (b"-9223372036854775809", "does not fit in 64 bits"),
        (b"9" * 5000, "integer 999999999999... (5000 characters) does not fit"),
        (b"9" * 1_000_000, "integer 999999999999... (1000000 characters) does not fit"),
    ],
)
def test_number_that_cannot_be_kept_is_reported_and_mended(number: bytes, message: str) -> None:
    document = parse(b'{"a":[0,' + number + b"]}")
    (problem,) = document.problems.found
    assert (problem.code, problem.pointer) == ("invalid_number", "/a/1")
    assert message in problem.message
    assert document.value == {"a": [0, 1]}


def test_lone_surrogates_are_reported_and_mended_and_pairs_are_read() -> None:
    document = parse(b'{"a":"x\\ud800","b":["\\uD83D\\uDE80"],"c":{"k\\udfff":1}}')
    assert [(it.code, it.pointer) for it in document.problems.found] == [
        ("lone_surrogate", "/a"),
        ("lone_surrogate", "/c"),
    ]
    assert document.value == {"a": "x\ufffd", "b": ["\U0001f680"], "c": {"k\ufffd": 1}}


def test_problems_are_counted_beyond_the_limit() -> None:
    problems = parse(b'{"a":[' + b"NaN," * 1500 + b"1]}").problems
    assert (len(problems.found), problems.left_out) == (MAX_PROBLEMS, 500)


def test_garbage_collection_is_on_again_after_a_refusal() -> None:
    refused(b"{")
    assert gc.isenabled()
