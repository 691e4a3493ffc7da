"""Any value becomes JSON text, and large values are cut and say so."""

import hashlib

import orjson
import pytest

from dispatch_runner.models import ErrorType, TaskError
from dispatch_runner.records.text import HEAD_CHARACTERS, LARGEST_VALUE, TOO_DEEP, bounded, encode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True, "é"]}, '{"a":[1,null,true,"é"]}'),
        ({"big": 2**70}, f'{{"big":{2**70}}}'),
        ({"half": "\ud800"}, '{"half":"\\ud800"}'),
        ({1: "x", "big": 2**70}, f'{{"1":"x","big":{2**70}}}'),
        ([float("nan"), float("inf"), 2**70], f"[null,null,{2**70}]"),
        ({"odd": {1}}, '{"odd":"{1}"}'),
    ],
)
def test_every_value_has_a_json_text(value, text):
    assert encode(value).decode() == text


def test_a_dataclass_with_what_the_fast_encoder_refuses_is_still_an_object():
    error = TaskError(ErrorType.CRASHED, "bad \udc80 byte")
    assert b'"type":"crashed","message":"bad \\udc80 byte"' in encode(error)


def test_nesting_ends_somewhere():
    value: object = 1
    for _ in range(5_000):
        value = {"a": value}
    text = encode(value)
    assert encode(TOO_DEEP) in text
    assert text.count(b'{"a":') == 300


def test_a_value_up_to_the_limit_stays():
    value = {"text": "x" * (LARGEST_VALUE - 11)}
    text = encode(value)
    assert len(text) == LARGEST_VALUE
    assert bounded(value, text) == (text, False)


def test_only_the_large_member_of_a_value_is_cut():
    long = "é" * LARGEST_VALUE
    value = {"path": "/a", "parts": [{"code": long}]}
    text, cut = bounded(value, encode(value))
    assert cut
    document = orjson.loads(text)
    assert document["path"] == "/a"
    assert document["parts"][0]["code"] == {
        "truncated": True,
        "length": 2 * LARGEST_VALUE,
        "sha256": hashlib.sha256(long.encode()).hexdigest(),
        "head": "é" * HEAD_CHARACTERS,
    }


def test_many_small_members_are_cut_as_a_whole():
    value = {f"k{i}": "x" * 100 for i in range(5_000)}
    whole = encode(value)
    text, cut = bounded(value, whole)
    assert cut
    document = orjson.loads(text)
    assert document["length"] == len(whole)
    assert document["sha256"] == hashlib.sha256(whole).hexdigest()
    assert whole.decode().startswith(document["head"])


def test_a_large_error_keeps_its_message():
    error = TaskError(ErrorType.CRASHED, "it crashed", details={"stderr": "x" * LARGEST_VALUE})
    document = orjson.loads(bounded(error, encode(error))[0])
    assert document["message"] == "it crashed"
    assert document["details"]["stderr"]["truncated"] is True
