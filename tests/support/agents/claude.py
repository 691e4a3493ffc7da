"""A stand-in for Claude Code: plays what version 2.1.329 was seen to print, and how it ended.

    python -I -S claude.py SCENARIO [flags of the real program]

It takes just the flags and the environment that were tried with the real program, and fails as that
does on any other. Sessions are files in CLAUDE_CONFIG_DIR. What it was given is in `given.json` of its
working directory.
"""

# pathlib would make every start slower
# ruff: noqa: PTH109, PTH118, PTH123

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import uuid

HELPER = "import signal, time; signal.signal(signal.SIGINT, {0}); signal.signal(signal.SIGTERM, {0}); time.sleep(1000)"
PRICE_IN, PRICE_OUT = 4e-6, 20e-6


def parsed(arguments):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-p", action="store_true", required=True)
    for name in ("verbose", "include-partial-messages", "strict-mcp-config"):
        parser.add_argument(f"--{name}", action="store_true", required=True)
    parser.add_argument("--disable-slash-commands", action="store_true", required=True)
    parser.add_argument("--no-session-persistence", action="store_true")
    parser.add_argument("--output-format", choices=["stream-json"], required=True)
    parser.add_argument("--setting-sources", choices=[""], required=True)
    parser.add_argument("--permission-mode", choices=["dontAsk"], required=True)
    parser.add_argument("--tools", required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--model", default="claude-opus-5-5")
    parser.add_argument("--append-system-prompt")
    parser.add_argument("--json-schema", type=json.loads)
    parser.add_argument("--max-turns", type=int)
    parser.add_argument("--max-budget-usd", type=float)
    parser.add_argument("--resume", type=uuid.UUID)
    for each in arguments:
        if each.startswith("--") and "=" not in each and each.partition("=")[0] not in SWITCHES:
            parser.error(f"'{each}' and its value must be joined, else a value may become a flag")
    return parser.parse_args(arguments)


SWITCHES = {
    "--verbose",
    "--include-partial-messages",
    "--strict-mcp-config",
    "--disable-slash-commands",
    "--no-session-persistence",
}


class Program:
    def __init__(self, flags, prompt):
        self.flags = flags
        self.prompt = prompt
        self.session = str(flags.resume or uuid.uuid4())
        self.turns = 0
        self.known = [0, 0]
        self.used = [0, 0]
        self.denials = []
        self.structured = None

    # what it prints

    def print(self, kind, **fields):
        line = {"type": kind, "session_id": self.session, "uuid": str(uuid.uuid4()), **fields}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def init(self):
        tools = [*filter(None, self.flags.tools.split(","))]
        if self.flags.json_schema:
            tools.append("StructuredOutput")
        self.print(
            "system",
            subtype="init",
            cwd=os.getcwd(),
            tools=tools,
            mcp_servers=[],
            model=self.flags.model,
            permissionMode="dontAsk",
            apiKeySource="ANTHROPIC_API_KEY",
            claude_code_version="2.1.329",
        )

    def turn(self, *blocks, stop="end_turn", whole=True):
        """One request to the model: 100 tokens of input, 20 of output."""
        self.turns += 1
        message = {
            "id": f"msg_{self.session}_{self.turns}",
            "type": "message",
            "role": "assistant",
            "model": self.flags.model,
            "content": [],
            "stop_reason": None,
            "usage": {
                "input_tokens": 100,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 1,
            },
        }
        self.print("system", subtype="status", status="requesting")
        self.used[0] += 100
        self.event({"type": "message_start", "message": message})
        for block in blocks:
            self.event({"type": "content_block_start", "index": 0, "content_block": block})
            self.print(
                "assistant", message={**message, "content": [block]}, parent_tool_use_id=None
            )
            self.event({"type": "content_block_stop", "index": 0})
        if whole:
            self.used[1] += 20
            self.event(
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": stop},
                    "usage": {"output_tokens": 20},
                }
            )
            self.event({"type": "message_stop"})

    def event(self, event):
        self.print("stream_event", event=event, parent_tool_use_id=None)

    def call(self, name, given, result="ok", failed=False):
        self.turn({"type": "tool_use", "id": f"toolu_{self.turns}", "name": name, "input": given})
        self.answered(result, failed)

    def answered(self, result, failed=False):
        block = {
            "tool_use_id": f"toolu_{self.turns - 1}",
            "type": "tool_result",
            "content": result,
            "is_error": failed,
        }
        self.print("user", message={"role": "user", "content": [block]}, parent_tool_use_id=None)

    def says(self, text):
        self.turn({"type": "text", "text": text})
        self.end(text)

    def gives_up(self, text, *, status=None, word="unknown", stop="stop_sequence", **more):
        """As after an error of the provider: a message that no model wrote, and a 'success'."""
        self.print(
            "assistant",
            message={
                "id": str(uuid.uuid4()),
                "model": "<synthetic>",
                "role": "assistant",
                "stop_reason": stop,
                "content": [{"type": "text", "text": text}],
                "usage": {"input_tokens": 0, "output_tokens": 0},
            },
            error=word,
            is_api_error_message=True,
            **({"api_error_status": status} if status else {}),
            **more,
        )
        self.end(text, is_error=True, stop=stop, reason="api_error", status=status, code=1)

    def end(self, text=None, *, subtype="success", is_error=False, stop="end_turn",
            reason="completed", status=None, errors=None, code=0):  # fmt: skip
        with_earlier = [old + new for old, new in zip(self.known, self.used, strict=True)]
        result = {
            "subtype": subtype,
            "is_error": is_error,
            "stop_reason": stop,
            "terminal_reason": reason,
            "api_error_status": status,
            "num_turns": self.turns,
            "total_cost_usd": cost(with_earlier),
            "usage": {"input_tokens": self.used[0], "output_tokens": self.used[1]},
            "modelUsage": self.per_model(with_earlier),
            "model_usage_since_last_result": self.per_model(self.used),
            "permission_denials": self.denials,
        }
        if errors:
            result["errors"] = errors
        else:
            result["result"] = text
        if self.structured is not None:
            result["structured_output"] = self.structured
        self.print("result", **result)
        if code is not None:
            sys.exit(code)

    def per_model(self, used):
        if not any(used):
            return {}
        return {
            self.flags.model: {
                "inputTokens": used[0],
                "outputTokens": used[1],
                "cacheReadInputTokens": 0,
                "cacheCreationInputTokens": 0,
                "costUSD": cost(used),
                "costBasis": "list" if "claude" in self.flags.model else "unknown",
            }
        }

    # its sessions

    def resume(self):
        if self.flags.resume is None:
            return
        try:
            with open(self.session_file()) as file:
                self.known = json.load(file)
        except OSError:
            said = f"No conversation found with session ID: {self.session}"
            sys.stderr.write(said + "\n")
            self.end(subtype="error_during_execution", is_error=True, errors=[said], code=1)

    def save(self):
        if not self.flags.no_session_persistence:
            with open(self.session_file(), "w") as file:
                json.dump([old + new for old, new in zip(self.known, self.used, strict=True)], file)

    def session_file(self):
        return os.path.join(os.environ["CLAUDE_CONFIG_DIR"], f"{self.session}.json")


def cost(used):
    return used[0] * PRICE_IN + used[1] * PRICE_OUT


# scenarios


def success(program):
    program.says("hello")


def echo(program):
    program.says(f"you asked: {program.prompt}")


def tool(program):
    program.call("Read", {"file_path": "/a/file"})
    program.says("hello")


def structured(program):
    program.structured = {"answer": 42}
    program.turn(
        {"type": "tool_use", "id": "toolu_0", "name": "StructuredOutput", "input": {"answer": 42}}
    )
    program.answered("Structured output provided successfully")
    program.end('{"answer":42}', stop="tool_use")


def unstructured(program):
    for _ in range(2):  # it insists once
        program.turn({"type": "text", "text": "forty-two"})
    program.end("forty-two")


def wrong_schema(program):
    for _ in range(5):
        program.call("StructuredOutput", {"answer": "x"}, "must be integer", failed=True)
    program.end(
        subtype="error_max_structured_output_retries",
        is_error=True,
        reason="structured_output_retry_exhausted",
        errors=["Failed to provide valid structured output after 5 attempts"],
        code=1,
    )


def repair(program):
    program.turn({"type": "text", "text": "..."})
    program.save()
    program.end("right" if program.flags.resume else "wrong")


def denied(program):
    given = {"file_path": "/etc/motd", "content": "x"}
    program.turn({"type": "tool_use", "id": "toolu_0", "name": "Write", "input": given})
    program.print("system", subtype="permission_denied", tool_name="Write", tool_use_id="toolu_0")
    program.answered("Permission to use Write has been denied", failed=True)
    program.denials.append({"tool_name": "Write", "tool_use_id": "toolu_0", "tool_input": given})
    program.says("all done")


def not_offered(program):
    said = "<tool_use_error>Error: No such tool available: Bash. Bash is disabled for this session, in"
    program.call("Bash", {"command": "ls"}, f"{said} subagents as well as here.", failed=True)
    program.says("all done")


def empty(program):
    program.turn()
    program.turn()
    program.end("")


def refusal(program):
    program.turn({"type": "text", "text": "I cannot"}, stop="refusal")
    program.print("system", subtype="model_refusal_no_fallback", content="")
    program.gives_up(
        "API Error: the model's safeguards flagged this message",
        word="invalid_request",
        stop="refusal",
    )


def turns(program):
    program.call("Read", {"file_path": "/a/file"})
    program.end(
        subtype="error_max_turns",
        is_error=True,
        stop="tool_use",
        reason="max_turns",
        errors=["Reached maximum number of turns (1)"],
        code=1,
    )


def money(program):
    program.call("Read", {"file_path": "/a/file"})
    program.end(
        subtype="error_max_budget_usd",
        is_error=True,
        stop="tool_use",
        reason="budget_exhausted",
        errors=[f"Reached maximum budget (${program.flags.max_budget_usd})"],
        code=1,
    )


def spending(program):
    while program.flags.max_turns is None or program.turns < program.flags.max_turns:
        program.call("Read", {"file_path": "/a/file"})
        time.sleep(0.001)
    turns(program)


def told_to_wait(program):
    """For an hour, which it would do."""
    retries(program, 429, "rate_limit", delay=3_600_000)
    time.sleep(1000)


def retries(program, status, word, delay=4000):
    for attempt in (1, 2):
        program.print(
            "system",
            subtype="api_retry",
            attempt=attempt,
            max_retries=2,
            retry_delay_ms=delay,
            error_status=status,
            error=word,
        )


def provider_error(status, word, text, retried=True):
    def play(program):
        if retried:
            retries(program, status, word)
        program.gives_up(text, status=status, word=word)

    return play


def quota(program):
    info = {"status": "rejected", "resetsAt": 1795544389, "rateLimitType": "five_hour"}
    program.print("rate_limit_event", rate_limit_info=info)
    program.gives_up(
        "You've hit your 5-hour limit · resets 6:19pm (UTC)",
        status=429,
        word="rate_limit",
        api_error="usage_limit_reached",
    )


def credit(program):
    program.gives_up("Credit balance is too low", status=400, word="billing_error")


def unreachable(program):
    retries(program, None, "unknown")
    program.gives_up(
        "API Error: Connection refused — a firewall or proxy may be blocking it (ECONNREFUSED)",
        word="server_error",
        api_error="connection_failed",
    )


def logged_out(program):
    program.gives_up("Not logged in · Please run /login", word="authentication_failed")


def too_long(program):
    program.gives_up(
        "API Error: Claude's response exceeded the 128000 output token maximum.",
        word="max_output_tokens",
        api_error="max_output_tokens",
    )


def interrupted(program):
    program.turn({"type": "text", "text": "I beg"}, whole=False)
    program.end(
        subtype="error_during_execution",
        is_error=True,
        stop=None,
        reason="aborted_streaming",
        errors=["[ede_diagnostic] result_type=user"],
    )


def garbage(program):
    sys.stdout.write('<html>{"type": "result", "is_error": false}\n{"type": []}\n{"half')


def crash(program):
    program.turn({"type": "text", "text": "I"}, whole=False)
    os.kill(os.getpid(), signal.SIGSEGV)


def terminated(program):
    program.turn({"type": "text", "text": "I"}, whole=False)
    sys.exit(143)


def bad_flag(program):
    sys.stderr.write("error: unknown option '--include-partial-messages'\n")
    sys.exit(1)


def unpriced(program):
    program.flags.model = "who-knows"
    program.says("hello")


def failed_late(program):
    program.turn({"type": "text", "text": "hello"})
    program.end("hello", code=3)


def goes_on(program):
    """As after a background task: another turn after the result, and another result."""
    program.turn({"type": "text", "text": "first"})
    program.end("first", code=None)
    program.known, program.used = program.used, [0, 0]
    program.init()
    program.says("hello")


def lingers(program):
    program.turn({"type": "text", "text": "hello"})
    program.end("hello", code=None)
    time.sleep(1000)


def silence(program):
    time.sleep(1000)


def starts_processes(program, handler):
    for new_session in (False, True):
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", HELPER.format(handler)],
            start_new_session=new_session,
        )
    program.turn({"type": "tool_use", "id": "toolu_0", "name": "Bash", "input": {"command": "x"}})


def working(program):
    def interrupt(number, frame):
        program.end(
            subtype="error_during_execution",
            is_error=True,
            stop="tool_use",
            reason="aborted_tools",
            errors=["[ede_diagnostic] result_type=user"],
        )

    signal.signal(signal.SIGINT, interrupt)
    starts_processes(program, "signal.SIG_DFL")
    time.sleep(1000)


def deaf(program):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    starts_processes(program, "signal.SIG_IGN")
    time.sleep(1000)


def orphan(program):
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HELPER.format("signal.SIG_DFL")], start_new_session=True
    )
    program.says("hello")


SCENARIOS = {
    "400": provider_error(400, "unknown", "API Error: 400 scripted failure", retried=False),
    "401": provider_error(401, "authentication_failed", "Invalid API key"),
    "403": provider_error(403, "authentication_failed", "Failed to authenticate", retried=False),
    "404": provider_error(404, "model_not_found", "There's an issue with the selected model"),
    "429": provider_error(429, "rate_limit", "API Error: Request rejected (429)"),
    "500": provider_error(500, "server_error", "API Error: 500 scripted failure"),
    "529": provider_error(529, "overloaded", "API Error: 529 Overloaded"),
}


def main():
    scenario, *arguments = sys.argv[1:]
    flags = parsed(arguments)
    prompt = sys.stdin.read()
    with open("given.json", "w") as file:
        json.dump({"arguments": arguments, "environment": dict(os.environ), "prompt": prompt}, file)
    if prompt.startswith("/"):  # a command of its own, and a lie
        scenario = "success"
    program = Program(flags, prompt)
    program.resume()
    program.init()
    (SCENARIOS.get(scenario) or globals()[scenario])(program)


main()
