"""A stand-in for Claude Code: plays what version 2.1.329 was seen to print, and how it ended.

    python -I -S claude.py SCENARIO [flags of the real program]

It takes just the flags and the environment that were tried with the real program, and fails as that
does on any other. Sessions are files in CLAUDE_CONFIG_DIR. What it was given is in `given.json` of its
working directory.
"""

# pathlib would make every start slower
# ruff: noqa: PTH120, PTH123

import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))

from claude_program import Program, parsed
from helpers import start_helper, turn_deaf

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
    said = (
        "<tool_use_error>Error: No such tool available: Bash. Bash is disabled for this session, in"
    )
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


def told_of_a_long_wait(program):
    """It does not wait for more than a minute, and does not say how long it would be."""
    said = "API Error: Request rejected (429) · Please try again later."
    program.gives_up(said, status=429, word="rate_limit")


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


def starts_processes(program, *, deaf=False):
    for new_session in (False, True):
        start_helper(deaf=deaf, new_session=new_session)
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
    starts_processes(program)
    time.sleep(1000)


def deaf(program):
    turn_deaf()
    starts_processes(program, deaf=True)
    time.sleep(1000)


def orphan(program):
    start_helper()
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
