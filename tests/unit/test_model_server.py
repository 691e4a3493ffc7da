"""The scripted model server keeps to its script, in the words of each protocol."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.model_server import (
    SIDE_MODEL,
    ModelServer,
    Request,
    Step,
    Usage,
    at_most,
    cut_stream,
    delay,
    empty,
    ended,
    error,
    fails_for,
    garbage,
    hang,
    long_text,
    max_tokens,
    overloaded,
    quota_after,
    quota_exhausted,
    refusal,
    refused_key,
    repeat,
    structured,
    text,
    tool,
    tools,
)

MESSAGES, CHAT, RESPONSES, GEMINI = PATHS = (
    "/v1/messages",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1beta/models/m:generateContent",
)
every_protocol = pytest.mark.parametrize("path", PATHS)


def by_protocol(name: str, *values: str) -> pytest.MarkDecorator:
    """The same test for every protocol with a value of its own."""
    return pytest.mark.parametrize(("path", name), list(zip(PATHS, values, strict=True)))


def send(url: str, path: str = MESSAGES, **body: Any) -> HTTPConnection:
    """A connection on which a request was sent."""
    parts = urlsplit(url + path)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    document = json.dumps({"model": "m", **body})
    connection.request("POST", target, document, {"content-type": "application/json"})
    return connection


@contextmanager
def answer(url: str, path: str = MESSAGES, **body: Any) -> Iterator[HTTPResponse]:
    connection = send(url, path, **body)
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def document(url: str, path: str = MESSAGES, **body: Any) -> dict[str, Any]:
    with answer(url, path, **body) as response:
        return dict(json.load(response))


def status(url: str, path: str = MESSAGES, **body: Any) -> int:
    with answer(url, path, **body) as response:
        response.read()
        return response.status


def streamed(url: str, path: str, **body: Any) -> list[dict[str, Any]]:
    """The events of an answer that is asked for as a stream."""
    if path == GEMINI:
        path = path.replace("generateContent", "streamGenerateContent") + "?alt=sse"
    with answer(url, path, stream=True, **body) as response:
        return events(response.read())


def events(raw: bytes) -> list[dict[str, Any]]:
    found = re.findall(r"^data: (.*)$", raw.decode(), re.MULTILINE)
    return [json.loads(each) for each in found if each != "[DONE]"]


def words(answered: dict[str, Any]) -> str:
    """The text in a whole answer of any protocol."""
    match answered:
        case {"content": blocks}:
            return "".join(each["text"] for each in blocks if each["type"] == "text")
        case {"choices": [{"message": {"content": content}}]}:
            return content or ""
        case {"output": items}:
            parts = (each["content"] for each in items if each["type"] == "message")
            return "".join(part.get("text", "") for content in parts for part in content)
        case {"candidates": [{"content": {"parts": gemini}}]}:
            return "".join(part.get("text", "") for part in gemini)
        case _:
            raise AssertionError(answered)


def calls(answered: dict[str, Any]) -> list[tuple[str, Any]]:
    """The tools that a whole answer of any protocol asks for."""
    match answered:
        case {"content": blocks}:
            return [(each["name"], each["input"]) for each in blocks if each["type"] == "tool_use"]
        case {"choices": [{"message": message}]}:
            asked = [each["function"] for each in message.get("tool_calls", ())]
            return [(each["name"], json.loads(each["arguments"])) for each in asked]
        case {"output": items}:
            asked = [each for each in items if each["type"] == "function_call"]
            return [(each["name"], json.loads(each["arguments"])) for each in asked]
        case {"candidates": [{"content": {"parts": gemini}}]}:
            asked = [part["functionCall"] for part in gemini if "functionCall" in part]
            return [(each["name"], each["args"]) for each in asked]
        case _:
            raise AssertionError(answered)


def pieces(path: str, stream: list[dict[str, Any]]) -> list[str]:
    """The pieces of text in a stream."""
    if path == MESSAGES:
        deltas = [each["delta"] for each in stream if each["type"] == "content_block_delta"]
        return [delta.get("text") or delta.get("partial_json") for delta in deltas]
    if path == CHAT:
        deltas = [each["choices"][0]["delta"] for each in stream if each["choices"]]
        return [delta["content"] for delta in deltas if delta.get("content")]
    if path == RESPONSES:
        return [each["delta"] for each in stream if each["type"].endswith(".delta")]
    return [part["text"] for each in stream for part in each["candidates"][0]["content"]["parts"]]


@every_protocol
def test_words_are_answered_whole(path: str) -> None:
    with ModelServer(text("hello")) as server:
        assert words(document(server.url, path)) == "hello"


@every_protocol
def test_words_are_streamed_in_pieces(path: str) -> None:
    with ModelServer(text("hello you", chunk=4)) as server:
        assert pieces(path, streamed(server.url, path)) == ["hell", "o yo", "u"]


@every_protocol
def test_a_tool_is_asked_for_after_some_words(path: str) -> None:
    with ModelServer(tool("add", {"x": 1}, before="let me see")) as server:
        answered = document(server.url, path)
    assert words(answered) == "let me see"
    assert calls(answered) == [("add", {"x": 1})]


@every_protocol
def test_several_tools_are_asked_for_at_once(path: str) -> None:
    with ModelServer(tools(tool("a", {}), tool("b", {"x": [1]}))) as server:
        assert calls(document(server.url, path)) == [("a", {}), ("b", {"x": [1]})]


def test_a_tool_is_streamed_as_pieces_of_its_arguments() -> None:
    with ModelServer(tool("add", {"x": 1})) as server:
        message, response = streamed(server.url, MESSAGES), streamed(server.url, RESPONSES)
        chat, gemini = streamed(server.url, CHAT), streamed(server.url, GEMINI)
    assert json.loads("".join(pieces(MESSAGES, message))) == {"x": 1}
    assert json.loads("".join(pieces(RESPONSES, response))) == {"x": 1}
    assert calls(response[-1]["response"]) == [("add", {"x": 1})]
    deltas = [each["choices"][0]["delta"].get("tool_calls") for each in chat]
    asked = [each[0]["function"] for each in deltas if each]
    assert asked[0]["name"] == "add"
    assert json.loads("".join(each["arguments"] for each in asked)) == {"x": 1}
    assert calls(gemini[-1]) == [("add", {"x": 1})]


def test_a_tool_of_a_namespace_is_named_with_it() -> None:
    with ModelServer(tool("add", {}, namespace="mcp__mini")) as server:
        (item,) = document(server.url, RESPONSES)["output"]
    assert (item["namespace"], item["name"]) == ("mcp__mini", "add")


@pytest.mark.parametrize(
    ("path", "offer"),
    [
        (MESSAGES, {"tools": [{"name": "Read"}, {"name": "StructuredOutput"}]}),
        (CHAT, {"tools": [{"type": "function", "function": {"name": "final_result"}}]}),
        (RESPONSES, {"tools": [{"type": "function", "name": "final_result"}]}),
        (GEMINI, {"tools": [{"functionDeclarations": [{"name": "final_result"}]}]}),
    ],
)
def test_a_structured_answer_is_a_call_of_the_tool_for_it(path: str, offer: dict[str, Any]) -> None:
    with ModelServer(structured({"answer": 42})) as server:
        ((name, value),) = calls(document(server.url, path, **offer))
        assert name in server.requests[0].tools
    assert value == {"answer": 42}


@every_protocol
def test_a_structured_answer_is_text_where_no_tool_is_offered(path: str) -> None:
    with ModelServer(structured({"answer": 42})) as server:
        assert json.loads(words(document(server.url, path))) == {"answer": 42}


def test_each_protocol_says_why_the_model_stopped() -> None:
    with ModelServer([max_tokens(), refusal(), empty()]) as server:
        limit, refused, nothing = (
            [document(f"{server.url}/s/{number}", path) for number, path in enumerate(PATHS)]
            for _ in range(3)
        )
    assert limit[0]["stop_reason"] == "max_tokens"
    assert limit[1]["choices"][0]["finish_reason"] == "length"
    assert limit[2]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert limit[3]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert refused[0]["stop_reason"] == "refusal"
    assert refused[1]["choices"][0]["message"]["refusal"] == "I cannot help with that."
    assert refused[2]["output"][0]["content"][0]["type"] == "refusal"
    assert refused[3]["candidates"][0]["finishReason"] == "SAFETY"
    assert [words(each) for each in nothing] == ["", "", "", ""]


def test_each_protocol_counts_tokens_its_own_way() -> None:
    with ModelServer(text("x", usage=Usage(10, 5, 3))) as server:
        message, chat, response, gemini = (document(server.url, path) for path in PATHS)
    assert (message["usage"]["input_tokens"], message["usage"]["cache_read_input_tokens"]) == (
        10,
        3,
    )
    assert (chat["usage"]["prompt_tokens"], chat["usage"]["completion_tokens"]) == (13, 5)
    assert (response["usage"]["input_tokens"], response["usage"]["total_tokens"]) == (13, 18)
    assert gemini["usageMetadata"]["promptTokenCount"] == 13


def test_a_script_goes_turn_by_turn_and_its_last_is_repeated() -> None:
    with ModelServer([repeat(text("a"), 2), text("b")]) as server:
        assert [words(document(server.url)) for _ in range(5)] == ["a", "a", "b", "b", "b"]


def test_a_script_may_end() -> None:
    with ModelServer([text("a"), ended()]) as server:
        assert [status(server.url) for _ in range(2)] == [200, 400]


def test_a_turn_may_depend_on_the_request() -> None:
    def step(request: Request) -> Step:
        return text("thanks") if "tool_result" in request.text else tool("Read", {})

    with ModelServer(step) as server:
        assert calls(document(server.url)) == [("Read", {})]
        assert words(document(server.url, messages=[{"type": "tool_result"}])) == "thanks"


def test_a_session_may_have_any_name() -> None:
    with ModelServer() as server:
        assert words(document(server.play("a/b c?", text("odd")))) == "odd"
        assert len(server.session("a/b c?")) == 1


def test_every_session_has_a_copy_of_the_script_or_one_of_its_own() -> None:
    with ModelServer([text("a"), text("b")], sessions={"own": text("mine")}) as server:
        own, played = f"{server.url}/s/own", server.play("played", text("played"))
        asked = [server.url, f"{server.url}/s/1", f"{server.url}/s/1", own, played]
        assert [words(document(each)) for each in asked] == ["a", "a", "b", "mine", "played"]
        assert [each.session for each in server.requests] == ["", "1", "1", "own", "played"]
        assert len(server.session("1")) == 2


def test_the_side_model_is_answered_outside_of_the_script() -> None:
    with ModelServer([text("a"), ended()]) as server:
        assert words(document(server.url, CHAT, model=SIDE_MODEL)) == "on the side"
        assert words(document(server.url, CHAT)) == "a"
        assert [each.model for each in server.requests] == ["m"]
        assert [each.model for each in server.everything] == [SIDE_MODEL, "m"]


def test_a_request_is_noted_as_it_came_in() -> None:
    with ModelServer() as server:
        document(server.url, MESSAGES + "?beta=true", tools=[{"name": "Read"}])
        document(server.url, GEMINI, contents="what?")
        first, second = server.requests
    assert (first.method, first.path, first.query) == ("POST", MESSAGES, "beta=true")
    assert (first.protocol, first.model, first.tools) == ("anthropic", "m", ("Read",))
    assert first.headers["content-type"] == "application/json"
    assert (second.protocol, second.model, "what?" in second.text) == ("gemini", "m", True)
    assert first.time <= second.time


@by_protocol("kind", "rate_limit_error", "requests", "requests", "RESOURCE_EXHAUSTED")
def test_too_many_requests_are_told_in_the_words_of_the_protocol(path: str, kind: str) -> None:
    with ModelServer(error(429, "slow down", retry_after=1.5)) as server:
        with answer(server.url, path) as response:
            failed = json.load(response)["error"]
    assert (response.status, response.headers["retry-after"]) == (429, "2")
    assert kind in {failed.get("type"), failed.get("status")}
    assert failed["message"] == "slow down"


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 413, 429, 500, 503, 529])
@every_protocol
def test_an_error_has_exactly_the_status_of_the_script(path: str, code: int) -> None:
    with ModelServer(error(code)) as server:
        assert status(server.url, path) == code


@pytest.mark.parametrize(
    ("path", "busy", "key"), [(MESSAGES, 529, 401), (CHAT, 503, 401), (GEMINI, 503, 400)]
)
def test_providers_differ_in_their_statuses(path: str, busy: int, key: int) -> None:
    with ModelServer([overloaded(), refused_key()]) as server:
        assert [status(server.url, path) for _ in range(2)] == [busy, key]


@by_protocol("sign", "credit balance is too", "insufficient_quota", "insufficient_quota", "PerDay")
def test_a_used_up_quota_is_told_apart_from_too_many_requests(path: str, sign: str) -> None:
    with ModelServer(quota_exhausted()) as server:
        with answer(server.url, path) as response:
            assert sign in response.read().decode()
    assert response.status == (400 if path == MESSAGES else 429)
    assert response.headers["retry-after"] is None


@pytest.mark.parametrize(
    ("path", "sign"), [(CHAT, "usage_limit_reached"), (GEMINI, '"retryDelay": "60s"')]
)
def test_a_quota_may_say_when_it_resets(path: str, sign: str) -> None:
    with ModelServer(quota_exhausted(resets_in=60)) as server:
        with answer(server.url, path) as response:
            assert sign in response.read().decode()
        with answer(server.url, MESSAGES) as other:
            other.read()
    assert response.headers["retry-after"] == "60"
    assert other.headers["anthropic-ratelimit-unified-status"] == "rejected"
    assert other.headers["anthropic-ratelimit-unified-reset"].isdigit()


def test_an_error_may_have_a_body_of_its_own() -> None:
    with ModelServer([error(502, body=b"<html>"), error(500, body={"own": 1})]) as server:
        with answer(server.url) as response:
            assert (response.status, response.read()) == (502, b"<html>")
        assert document(server.url) == {"own": 1}


def request_at(time: float) -> Request:
    return Request(1, "POST", MESSAGES, "", "", {}, {}, time, 1)


def test_a_server_may_fail_for_some_time_from_its_first_request_on() -> None:
    step = fails_for(2.0, then=text("well"))
    assert callable(step)
    taken = [step(request_at(time)) for time in (100.0, 101.9, 102.0)]
    assert taken == [error(429), error(429), text("well")]


def test_a_quota_is_shared_by_all_sessions() -> None:
    with ModelServer(quota_after(2, then=text("ok"))) as server:
        assert [status(f"{server.url}/s/{name}", CHAT) for name in "abc"] == [200, 200, 429]


def test_a_server_may_answer_only_so_many_at_once() -> None:
    with ModelServer(at_most(1, then=hang())) as server, ExitStack() as open_ones:
        open_ones.callback(send(server.url).close)
        server.wait_for(1)
        assert status(server.url) == 429
        assert server.peak == 2


@every_protocol
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_may_be_cut_off(path: str, stream: bool) -> None:
    ask = streamed if stream else document
    with ModelServer(cut_stream()) as server, pytest.raises(IncompleteRead):
        ask(server.url, path)


@by_protocol(
    "sign", "overloaded_error", "server_is_overloaded", "server_is_overloaded", "UNAVAILABLE"
)
def test_a_stream_may_end_with_an_error(path: str, sign: str) -> None:
    with ModelServer(cut_stream("abcdefghijkl", overloaded())) as server:
        *_, last = streamed(server.url, path)
    assert sign in json.dumps(last)


def test_garbage_is_answered_with_status_200() -> None:
    with ModelServer(garbage(b"<html>", "text/html")) as server:
        with answer(server.url) as response:
            assert (response.status, response.read()) == (200, b"<html>")
    assert response.headers["content-type"] == "text/html"


def test_a_delayed_turn_comes_after_its_time() -> None:
    with ModelServer(delay(0.05, text("late"))) as server:
        document(server.url)
        document(server.url)
        first, second = server.requests
    assert second.time - first.time >= 0.05


def test_a_client_that_leaves_a_silent_model_is_noted() -> None:
    with ModelServer(hang()) as server:
        connection = send(server.url)
        server.wait_for(1)
        assert not server.requests[0].left
        connection.close()
        server.wait_for_leaving(1)
        assert server.requests[0].left


def test_a_model_may_fall_silent_in_the_middle() -> None:
    with ModelServer(hang("these words come through, all the others do not")) as server:
        with answer(server.url, stream=True) as response:
            assert response.readline() == b"event: message_start\n"
            response.close()
        server.wait_for_leaving(1)


def test_the_end_of_the_server_is_the_end_of_its_connections() -> None:
    with ModelServer(hang()) as server:
        connection = send(server.url)
        server.wait_for(1)
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        connection.getresponse()
    connection.close()
    address = urlsplit(server.url)
    with socket.socket() as probe:
        assert probe.connect_ex((address.hostname, address.port)) != 0


def test_two_hundred_clients_are_answered_at_once() -> None:
    with ModelServer(hang()) as server, ExitStack() as open_ones:
        for number in range(200):
            open_ones.callback(send(f"{server.url}/s/{number}").close)
        server.wait_for(200)
        assert server.peak == 200


def test_a_long_text_has_its_length_and_never_repeats_itself() -> None:
    reply = long_text(100_000)
    lines = reply.text.splitlines()
    assert len(reply.text) == 100_000
    assert len(set(lines)) == len(lines)
    with ModelServer(long_text(100_000, chunk=1000)) as server:
        assert "".join(pieces(CHAT, streamed(server.url, CHAT))) == reply.text


def test_a_connection_serves_several_requests() -> None:
    with ModelServer([text("a"), text("b")]) as server:
        connection = send(server.url)
        first = words(json.load(connection.getresponse()))
        connection.request("POST", MESSAGES, iter([b'{"model"', b': "chunked"}']))
        second = words(json.load(connection.getresponse()))
        connection.close()
        assert (first, second) == ("a", "b")
        assert server.requests[1].model == "chunked"


def test_what_is_not_a_model_call_is_answered_outside_of_the_script() -> None:
    with ModelServer([text("a"), ended()]) as server:
        assert document(server.url, MESSAGES + "/count_tokens")["input_tokens"] == 100
        assert status(server.url, "/v1/nothing") == 404
        assert status(server.url, "/v1/v1/messages") == 404
        parts = urlsplit(server.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        connection.request("HEAD", "/api/hello")
        assert connection.getresponse().read() == b""
        connection.request("GET", "/v1/models")
        assert json.load(connection.getresponse())["data"] == []
        connection.close()
        assert server.requests == []
        assert words(document(server.url)) == "a"


def test_waiting_for_requests_is_bounded() -> None:
    with ModelServer() as server, pytest.raises(TimeoutError, match=r"not within 0\.01 s"):
        server.wait_for(1, timeout=0.01)


@pytest.mark.anyio
async def test_a_request_can_be_awaited_on_any_event_loop() -> None:
    with ModelServer(hang()) as server:
        connection = send(server.url)
        (request,) = await server.arrived(1)
        connection.close()
        await server.left(1)
    assert request.left
