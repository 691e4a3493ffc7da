"""A bare model as an agent: the real client libraries against a scripted server."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.backends.llm.backend import MOST_SESSIONS, LlmBackend
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.protocols import (
    AgentCall,
    Answer,
    CallLog,
    Question,
    Repair,
    ToolAnswer,
    ToolInfo,
)
from dispatch_runner.settings.backend_options import BackendOptions
from dispatch_runner.testing import AnyInputRole
from support.agent_suite import SCHEMA, WatchedMeter, agent_call, role_of
from support.model_server import (
    ModelServer,
    Steps,
    cut_stream,
    error,
    garbage,
    hang,
    max_tokens,
    quota_exhausted,
    refusal,
    refused_key,
    structured,
    text,
    tool,
    tools,
)
from support.model_server import Usage as Tokens

pytestmark = pytest.mark.anyio

MODELS = {
    "anthropic": ("anthropic:claude-sonnet-4-6", ""),
    "openai": ("openai:gpt-5.2", "/v1"),
    "openai-responses": ("openai-responses:gpt-5.2", "/v1"),
    "google": ("google:gemini-2.5-pro", ""),
    "ollama": ("ollama:qwen3", "/v1"),
}
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "OLLAMA_API_KEY")
URLS = ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "OLLAMA_BASE_URL")

Serve = Callable[..., ModelServer]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, *URLS):
        monkeypatch.delenv(name, raising=False)
    for name in KEYS[:3]:
        monkeypatch.setenv(name, "dummy")


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as running:
        yield lambda script: running.enter_context(ModelServer(script))


@pytest.fixture(params=MODELS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def backend_of(server: ModelServer, provider: str = "anthropic", **options: Any) -> LlmBackend:
    model, below = MODELS[provider]
    given = {"model": model, "base_url": server.url + below, **options}
    return LlmBackend(BackendOptions("asking", **given))


async def fails(
    backend: LlmBackend, call: AgentCall, question: Question | None = None
) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await backend.answer(role_of(question), call)
    return caught.value


class Servers:
    """Tools of MCP servers: what they are, and what became of calls."""

    def __init__(self, *offered: ToolInfo, hang: bool = False) -> None:
        self._offered = offered
        self._hang = hang
        self.called: list[tuple[str, JsonObject]] = []
        self.cancelled = False

    async def offered(self) -> Sequence[ToolInfo]:
        return self._offered

    async def call(self, tool: str, arguments: JsonObject, log: CallLog) -> ToolAnswer:
        self.called.append((tool, arguments))
        if self._hang:
            try:
                await anyio.sleep_forever()
            finally:
                self.cancelled = True
        if arguments.get("fail"):
            return ToolAnswer("error", reason="the disk is full")
        return ToolAnswer("ok", {"found": 3})


LOOKUP = ToolInfo("docs/look.up", "Looks up", {"type": "object", "properties": {}})


# What each provider's library makes of its protocol


async def test_each_provider_answers_uses_tools_and_is_priced(
    provider: str, serve: Serve, tmp_path: Path
) -> None:
    server = serve([tool("list_files", {}), text("hello")])
    call = agent_call(tmp_path)
    backend = backend_of(server, provider)
    answer = await backend.answer(role_of(), call)
    assert answer.output == {"text": "hello"}
    usage = call.meter.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.requests) == (200, 40, 2)
    assert (usage.cost_usd is None) == (provider == "ollama")
    assert (backend.unknown_cost(role_of()) is None) == (usage.cost_usd is not None)


async def test_each_provider_answers_by_schema(provider: str, serve: Serve, tmp_path: Path) -> None:
    server = serve(structured({"answer": 42}))
    question = Question("how much?", system="you count", schema=SCHEMA)
    answer = await backend_of(server, provider).answer(role_of(question), agent_call(tmp_path))
    assert answer.output == {"answer": 42}
    assert "you count" in server.requests[0].text


async def test_each_provider_goes_on_after_an_answer_by_schema(
    provider: str, serve: Serve, tmp_path: Path
) -> None:
    server = serve([structured({"answer": 1}), structured({"answer": 2})])
    role = role_of(Question("how much?", schema=SCHEMA))
    backend, call = backend_of(server, provider), agent_call(tmp_path)
    first = await backend.answer(role, call)
    call.repair = Repair(1, "one is too little", first.output, first.session)
    assert (await backend.answer(role, call)).output == {"answer": 2}
    again = server.requests[1].text
    assert "final_result" in again
    assert again.count("how much?") == 1
    assert "one is too little" in again


async def test_each_providers_errors_keep_their_meaning(
    provider: str, serve: Serve, tmp_path: Path
) -> None:
    server = serve([refused_key(), error(429, retry_after=7), refusal(), max_tokens()])
    backend, call = backend_of(server, provider), agent_call(tmp_path)
    auth, limited, refused, cut = [await fails(backend, call) for _ in range(4)]
    assert (auth.type, auth.exhausted) == (ErrorType.AUTH, True)
    assert (limited.type, limited.retry_after) == (ErrorType.RATE_LIMITED, 7)
    assert limited.exhausted is False
    assert refused.type is ErrorType.UNVERIFIED
    assert "refused" in refused.message
    assert cut.type is ErrorType.BUDGET_EXCEEDED
    assert "cut off" in cut.message
    assert len(server.requests) == 4, "the library asked again by itself"


async def test_each_providers_used_up_quota_says_when_it_is_back(
    provider: str, serve: Serve, tmp_path: Path
) -> None:
    backend = backend_of(serve(quota_exhausted(resets_in=3600)), provider)
    failure = await fails(backend, agent_call(tmp_path))
    assert (failure.type, failure.exhausted) == (ErrorType.RATE_LIMITED, True)
    assert failure.resets_at == pytest.approx(time.time() + 3600, abs=10)


async def test_each_provider_that_breaks_off_is_unavailable_and_counted(
    provider: str, serve: Serve, tmp_path: Path
) -> None:
    call = agent_call(tmp_path)
    failure = await fails(backend_of(serve(cut_stream()), provider), call)
    assert (failure.type, failure.retryable) == (ErrorType.UNAVAILABLE, True)
    assert call.meter.usage is not None
    assert (call.meter.usage.requests, call.meter.usage.cost_usd) == (1, None)


async def test_each_provider_whose_answer_is_garbage_has_no_answer(
    provider: str, serve: Serve, tmp_path: Path
) -> None:
    failure = await fails(backend_of(serve(garbage()), provider), agent_call(tmp_path))
    assert failure.type in {ErrorType.BAD_OUTPUT, ErrorType.CRASHED}


# What is consumed


async def test_what_a_server_does_not_say_is_unknown_and_not_zero(
    serve: Serve, tmp_path: Path
) -> None:
    call = agent_call(tmp_path)
    silent = serve(text("hello", usage=Tokens(0, 0)))
    await backend_of(silent, "openai").answer(role_of(), call)
    assert call.meter.usage == Usage(requests=1)


async def test_what_was_read_from_a_cache_is_no_input(serve: Serve, tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    server = serve(text("hello", usage=Tokens(100, 20, cache_read_tokens=1_000)))
    await backend_of(server).answer(role_of(), call)
    usage = call.meter.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (100, 20, 1_000)


async def test_a_refused_request_costs_nothing_and_an_undelivered_one_is_none(
    serve: Serve, tmp_path: Path
) -> None:
    call = agent_call(tmp_path)
    await fails(backend_of(serve(error(429))), call)
    assert call.meter.usage is not None
    assert (call.meter.usage.requests, call.meter.usage.cost_usd) == (1, 0.0)
    other = agent_call(tmp_path)
    with ModelServer() as ended:
        pass
    await fails(backend_of(ended), other)
    assert other.meter.usage is None


async def test_a_cancelled_request_is_counted_with_what_is_known(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(hang("it begins, and goes on for a while, " * 10))
    call = agent_call(tmp_path)
    assert isinstance(call.meter, WatchedMeter)
    async with anyio.create_task_group() as group:
        group.start_soon(backend_of(server).answer, role_of(), call)
        await server.arrived(1)
        while call.meter.pulses < 3:  # at the start, before the request, while it streams
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    usage = call.meter.usage
    assert usage is not None
    assert (usage.requests, usage.input_tokens, usage.cost_usd) == (1, 100, None)


async def test_a_budget_is_what_the_round_may_use(serve: Serve, tmp_path: Path) -> None:
    server = serve(text("hello"))
    call = agent_call(tmp_path, budget=Budget(requests=1))
    for _ in range(2):  # whoever starts a further round says what is left then
        await backend_of(server).answer(role_of(), call)
    call.budget = Budget(requests=0)
    failure = await fails(backend_of(server), call)
    assert failure.type is ErrorType.BUDGET_EXCEEDED
    assert len(server.requests) == 2


async def test_an_answer_over_the_budget_in_money_is_none(serve: Serve, tmp_path: Path) -> None:
    call = agent_call(tmp_path, budget=Budget(cost_usd=0.0001))
    failure = await fails(backend_of(serve(text("hello"))), call)
    assert failure.type is ErrorType.BUDGET_EXCEEDED
    assert "USD" in failure.message


# Files


async def test_a_model_reads_searches_and_writes_where_it_may(serve: Serve, tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    (call.workspace / "a.py").write_text("one = 1\ntwo = 2\n")
    script = [
        tools(tool("read_file", {"path": "a.py"}), tool("search", {"text": "two"})),
        tool("write_file", {"path": "new/b.txt", "content": "ünï\n"}),
        tool("replace_in_file", {"path": "a.py", "old": "one = 1", "new": "one = 3"}),
        text("done"),
    ]
    server = serve(script)
    await backend_of(server).answer(role_of(Question("mend it", access="edit")), call)
    assert (call.workspace / "new" / "b.txt").read_text() == "ünï\n"
    assert (call.workspace / "a.py").read_text() == "one = 3\ntwo = 2\n"
    seen = server.requests[1].text
    assert "one = 1" in seen
    assert f"{call.workspace}/a.py:2: two = 2" in seen
    named = [event.data["name"] for event in call.log.events if event.event == "tool"]
    assert named == ["read_file", "search", "write_file", "replace_in_file"]


@pytest.mark.parametrize(("access", "writes"), [("read", False), ("edit", True), ("execute", True)])
async def test_what_is_offered_is_what_the_access_allows(
    access: Any, writes: bool, serve: Serve, tmp_path: Path
) -> None:
    server = serve(text("done"))
    await backend_of(server, access=access).answer(
        role_of(Question("go", access="execute")), agent_call(tmp_path)
    )
    assert ("write_file" in server.requests[0].tools) is writes
    assert "read_file" in server.requests[0].tools


async def test_it_says_that_it_runs_no_programs(serve: Serve, tmp_path: Path) -> None:
    server = serve(text("done"))
    for named, said in ((None, "no programs"), (("Read", "Bash(git *)"), "'Bash(git *)'")):
        question = Question("go", access="execute", tools=named)
        answer = await backend_of(server).answer(role_of(question), agent_call(tmp_path))
        (warning,) = answer.warnings
        assert said in warning
    assert server.requests[-1].tools == ("read_file",)


@pytest.mark.parametrize(
    "asked",
    [
        tool("read_file", {"path": "/etc/passwd"}),
        tool("read_file", {"path": "../../../../../../etc/passwd"}),
        tool("read_file", {"path": "link"}),
        tool("read_file", {"path": ".env"}),
        tool("list_files", {"folder": "/"}),
        tool("write_file", {"path": "/etc/dispatch-runner-test", "content": "x"}),
        tool("write_file", {"path": ".git/hooks/pre-commit", "content": "x"}),
        tool("replace_in_file", {"path": "link", "old": "root", "new": "x"}),
    ],
    ids=lambda reply: f"{reply.calls[0].name} {next(iter(reply.calls[0].arguments.values()))}",
)
async def test_what_is_denied_is_no_success(asked: Steps, serve: Serve, tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    (call.workspace / "link").symlink_to("/etc/passwd")
    (call.workspace / ".env").write_text("TOKEN=t0ps3cret")
    server = serve([asked, text("all done")])
    failure = await fails(backend_of(server), call, Question("go", access="edit"))
    assert failure.type is ErrorType.PERMISSION_DENIED
    assert "root:" not in server.requests[1].text
    assert "t0ps3cret" not in server.requests[1].text


async def test_reading_elsewhere_after_a_denial_is_fine(serve: Serve, tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    (call.workspace / "a.txt").write_text("words")
    script = [tool("read_file", {"path": "/a.txt"}), tool("read_file", {"path": "a.txt"})]
    answer = await backend_of(serve([*script, text("done")])).answer(role_of(), call)
    assert answer.output == {"text": "done"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (tool("read_file", {"path": "none.txt"}), "No such file"),
        (tool("read_file", {"path": 7}), "must be a string"),
        (tool("read_file", {"path": "."}), "is a folder"),
        (tool("read_file", {"path": "binary"}), "no text file"),
        (tool("search", {"text": " "}), "is empty"),
        (tool("list_files", {"folder": "none"}), "there is no folder"),
        (tool("replace_in_file", {"path": "twice", "old": "a", "new": "b"}), "2 times"),
        (tool("write_file", {"path": "pipe", "content": "x"}), "cannot write"),
    ],
)
async def test_a_tool_that_cannot_says_why_and_the_model_goes_on(
    asked: Steps, said: str, serve: Serve, tmp_path: Path
) -> None:
    import os

    call = agent_call(tmp_path)
    (call.workspace / "binary").write_bytes(b"\0\1\2")
    (call.workspace / "twice").write_text("a a")
    os.mkfifo(call.workspace / "pipe")
    server = serve([asked, text("done")])
    await backend_of(server).answer(role_of(Question("go", access="edit")), call)
    assert said in server.requests[1].text


async def test_what_is_no_text_overwrites_nothing(serve: Serve, tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    (call.workspace / "a.txt").write_text("precious")
    server = serve([tool("write_file", {"path": "a.txt", "content": "\ud800"}), text("done")])
    await backend_of(server).answer(role_of(Question("go", access="edit")), call)
    assert (call.workspace / "a.txt").read_text() == "precious"


async def test_long_files_are_read_in_parts(serve: Serve, tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    (call.workspace / "long").write_text("".join(f"line {n}\n" for n in range(1, 5_001)))
    server = serve([tool("read_file", {"path": "long", "offset": 10, "limit": 2}), text("done")])
    await backend_of(server).answer(role_of(), call)
    seen = server.requests[1].text
    assert "[lines 10 to 11 of 5000]" in seen
    assert "line 11" in seen
    assert "line 12" not in seen


# Tools of MCP servers


async def test_the_tools_of_servers_are_called_through_the_pool(
    serve: Serve, tmp_path: Path
) -> None:
    name = "mcp__docs__look_up"
    server = serve([tool(name, {"word": "x"}), tool(name, {"fail": True}), text("done")])
    servers = Servers(LOOKUP)
    call = agent_call(tmp_path, tools=servers)
    await backend_of(server).answer(role_of(), call)
    assert name in server.requests[0].tools
    assert servers.called == [("docs/look.up", {"word": "x"}), ("docs/look.up", {"fail": True})]
    assert "found" in server.requests[1].text
    assert "the disk is full" in server.requests[2].text


async def test_a_role_that_names_its_tools_gets_these(serve: Serve, tmp_path: Path) -> None:
    for named, expected in (("mcp__docs", 1), ("mcp__docs__*", 1), ("mcp__other", 0)):
        server = serve(text("done"))
        call = agent_call(tmp_path, tools=Servers(LOOKUP))
        await backend_of(server).answer(role_of(Question("go", tools=(named,))), call)
        assert len(server.requests[0].tools) == expected


async def test_a_call_cancelled_in_a_tool_cancels_the_tool_and_is_counted(
    serve: Serve, tmp_path: Path
) -> None:
    servers = Servers(LOOKUP, hang=True)
    call = agent_call(tmp_path, tools=servers)
    assert isinstance(call.meter, WatchedMeter)
    backend = backend_of(serve(tool("mcp__docs__look_up", {})))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(backend.answer, role_of(), call)
            await call.meter.working.wait()
            while not servers.called:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    assert servers.cancelled
    assert call.meter.usage is not None
    assert call.meter.usage.input_tokens == 100


async def test_a_tool_that_there_is_not_is_told_a_few_times_only(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(tool("launch", {}))
    failure = await fails(backend_of(server), agent_call(tmp_path))
    assert failure.type is ErrorType.BAD_OUTPUT
    assert "launch" in failure.message
    assert len(server.requests) < 6


# Answers


async def test_a_schema_that_refers_to_itself_is_asked_for_in_words(
    serve: Serve, tmp_path: Path
) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
    server = serve(text('Here it is:\n```json\n{"next": {}}\n```'))
    question = Question("a list", schema=schema)
    answer = await backend_of(server).answer(role_of(question), agent_call(tmp_path))
    assert answer.output == {"next": {}}
    assert "JSON Schema" in server.requests[0].text


async def test_only_so_many_conversations_are_remembered_and_each_is_continued_once(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(text("no"))
    backend = backend_of(server)
    role = role_of(Question("the whole question"))

    async def ask(repair: Repair | None) -> Answer:
        return await backend.answer(role, agent_call(tmp_path, repair=repair))

    first = await ask(None)
    for _ in range(MOST_SESSIONS):
        last = await ask(None)
    await ask(Repair(1, "that is wrong", first.output, first.session))
    assert len(server.requests[-1].body["messages"]) == 1
    assert "the whole question" in server.requests[-1].text
    for expected in (3, 1):
        await ask(Repair(1, "that is wrong", last.output, last.session))
        assert len(server.requests[-1].body["messages"]) == expected


# Whether it can be asked at all


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no model is chosen"),
        ({"model": "sonnet"}, "PROVIDER:NAME"),
        ({"model": "antropic:claude"}, "did you mean 'anthropic'?"),
        ({"model": "openai:"}, "'openai:'"),
        ({"model": "google:x", "api_key_env": "MY_KEY"}, "MY_KEY"),
        ({"model": "openai:x", "api_key_env": "MY_KEY", "base_url": "http://h"}, "MY_KEY"),
    ],
)
def test_what_is_missing_is_named(options: dict[str, Any], said: str) -> None:
    backend = LlmBackend(BackendOptions("asking", **options))
    assert said in (backend.unavailable(role_of()) or "")


def test_a_missing_key_is_named_by_its_usual_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    for model, name in (
        ("anthropic:x", "ANTHROPIC_API_KEY"),
        ("openai-responses:x", "OPENAI_API_KEY"),
        ("google:x", "GOOGLE_API_KEY or GEMINI_API_KEY"),
    ):
        reason = LlmBackend(BackendOptions("asking", model=model)).unavailable(role_of())
        assert name in (reason or "")
    local = {"model": "openai:x", "base_url": "http://127.0.0.1:1/v1"}
    assert LlmBackend(BackendOptions("asking", **local)).unavailable(role_of()) is None
    assert LlmBackend(BackendOptions("asking", model="ollama:x")).unavailable(role_of()) is None


def test_a_role_without_a_question_is_not_served() -> None:
    backend = LlmBackend(BackendOptions("asking", model="ollama:x"))
    assert "into words" in (backend.unavailable(AnyInputRole()) or "")


def test_the_provider_is_the_models_unless_the_operator_says_another() -> None:
    for model, options, provider in (
        ("openai-responses:x", {}, "openai"),
        ("ollama:x", {}, "ollama"),
        ("openai:x", {"provider": "our-proxy"}, "our-proxy"),
    ):
        assert LlmBackend(BackendOptions("asking", model=model, **options)).provider == provider


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_another_event_loop_is_said_to_be_the_wrong_one(
    anyio_backend: str, tmp_path: Path
) -> None:
    backend = LlmBackend(BackendOptions("asking", model="ollama:x"))
    failure = await fails(backend, agent_call(tmp_path))
    assert (failure.type, failure.retryable) == (ErrorType.UNAVAILABLE, False)
    assert "asyncio" in failure.message


def test_no_client_library_is_loaded_before_a_call() -> None:
    code = (
        "import sys; from dispatch_runner.backends.llm.backend import build;"
        "from dispatch_runner.settings.backend_options import BackendOptions;"
        "build(BackendOptions('a', model='ollama:x')).provider;"
        "print([m for m in ('pydantic_ai', 'openai', 'httpx2', 'asyncio') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert ran.stdout.strip() == "[]", ran.stderr
