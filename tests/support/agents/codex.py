"""A stand-in for Codex: plays what version 0.169.0 was seen to print, to write down, and how it ended.

    python -I -S codex.py SCENARIO exec [flags of the real program] [resume SESSION] -

It takes just the flags that were tried with the real program, and fails as that does on any other.
Sessions are files in CODEX_HOME, as the real ones. What it was given is in `given.json` of its working
directory.
"""

import argparse
import datetime
import json
import os
import signal
import sys
import time
import tomllib
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from helpers import start_helper, turn_deaf

DENIED = (
    "Chunk ID: 42de70\nProcess exited with code 1\nOutput:\n"
    "touch: cannot touch '/etc/xx': Read-only file system\n"
)
FAILURES = {
    "400": (
        '{"error": {"message": "bad thing", "type": "invalid_request_error", "param": null}}',
        "other",
    ),
    "401": ("unexpected status 401 Unauthorized: Incorrect API key provided: dummy.", "other"),
    "403": ("unexpected status 403 Forbidden: no, url: http://127.0.0.1/v1/responses", "other"),
    "404": ("unexpected status 404 Not Found: The model `x` does not exist", "other"),
    "429": (
        "exceeded retry limit, last status: 429 Too Many Requests",
        {"response_too_many_failed_attempts": {"http_status_code": 429}},
    ),
    "500": ("We're currently experiencing high demand.", "internal_server_error"),
    "529": ("Selected model is at capacity. Please try a different model.", "server_overloaded"),
    "quota": ("You've hit your usage limit. Try again at 6:22 PM.", "usage_limit_exceeded"),
    "long": ("Incomplete response returned, reason: max_output_tokens", "other"),
}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(f"error: {message}\n\nUsage: codex exec [OPTIONS] [PROMPT]")


def parsed(arguments):
    parser = Parser(allow_abbrev=False)
    parser.add_argument("exec", choices=["exec"])
    for name in ("json", "skip-git-repo-check", "ignore-rules"):
        parser.add_argument(f"--{name}", action="store_true", required=True)
    parser.add_argument(
        "--sandbox", choices=["read-only", "workspace-write", "danger-full-access"], required=True
    )
    parser.add_argument("--config", action="append", type=setting, default=[])
    parser.add_argument("--model")
    parser.add_argument("--output-schema", type=lambda path: json.loads(Path(path).read_bytes()))
    parser.add_argument("rest", nargs="+")
    return parser.parse_args(arguments)


def setting(text):
    key, _, value = text.partition("=")
    return key, tomllib.loads(f"value = {value}")["value"]


class Program:
    def __init__(self, scenario, flags):
        self.scenario = scenario
        self.flags = flags
        self.prompt = sys.stdin.buffer.read().decode()
        self.used = [0, 0]
        self.items = 0
        self.calls = 0
        self.begin(flags.rest)

    def begin(self, rest):
        home = Path(os.environ.get("CODEX_HOME") or Path(os.environ["HOME"]) / ".codex")
        if rest == ["-"]:
            self.session = str(
                uuid.UUID(hex=f"{int(time.time() * 1000):012x}{os.urandom(10).hex()}")
            )
            now = datetime.datetime.now().astimezone()
            self.file = (
                home
                / f"sessions/{now:%Y/%m/%d}/rollout-{now:%Y-%m-%dT%H-%M-%S}-{self.session}.jsonl"
            )
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.resumed = False
        else:
            resume, self.session, dash = rest
            assert (resume, dash) == ("resume", "-")
            found = list(home.glob(f"sessions/*/*/*/rollout-*{self.session}.jsonl"))
            if not found:
                sys.exit(
                    f"Error: thread/resume failed: no rollout found for thread id {self.session}"
                )
            (self.file,) = found
            self.resumed = True
            for line in self.file.read_text().splitlines():
                entry = json.loads(line)
                if entry["type"] == "token_usage_record":
                    self.used[0] += entry["payload"]["usage"]["input_tokens"]
                    self.used[1] += entry["payload"]["usage"]["output_tokens"]
        if self.scenario == "unrecorded":
            self.file = Path(os.devnull)
        self.print("thread.started", thread_id=self.session)
        self.print("turn.started")
        self.write("turn_context", model=self.flags.model or "gpt-5.5")

    def print(self, kind, **fields):
        sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
        sys.stdout.flush()

    def write(self, kind, **payload):
        """Into the session's file."""
        with self.file.open("a") as file:
            line = {"timestamp": "2026-11-24T17:20:44.477Z", "type": kind, "payload": payload}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def item(self, kind, event="item.completed", **fields):
        self.print(event, item={"id": f"item_{self.items}", "type": kind, **fields})

    def request(self):
        """One request to the model: 100 tokens of input, 20 of output."""
        self.used[0] += 100
        self.used[1] += 20
        usage = {"input_tokens": 100, "cached_input_tokens": 0, "output_tokens": 20}
        self.write("token_usage_record", usage=usage)

    def call(self, command):
        self.calls += 1
        self.write(
            "response_item",
            type="function_call",
            name="exec_command",
            arguments=json.dumps({"cmd": command}),
            call_id=f"call_{self.calls}",
        )
        self.request()
        self.item(
            "command_execution",
            "item.started",
            command=command,
            status="in_progress",
            exit_code=None,
        )

    def result(self, output="Process exited with code 0\nOutput:\nhi\n"):
        self.item("command_execution", command="x", status="completed", exit_code=0)
        self.items += 1
        self.write(
            "response_item",
            type="function_call_output",
            call_id=f"call_{self.calls}",
            output=output,
        )

    def say(self, text):
        """Answers, and ends."""
        self.item("agent_message", text=text)
        self.items += 1
        self.finish()

    def finish(self):
        self.request()
        self.write("event_msg", type="task_complete", last_agent_message=None)
        names = ("input_tokens", "output_tokens")
        usage = {"cached_input_tokens": 0, **dict(zip(names, self.used, strict=True))}
        self.print("turn.completed", usage=usage)
        sys.exit(0)

    def fail(self, message, info):
        error = {"message": message, "codex_error_info": info}
        self.write("event_msg", type="task_complete", last_agent_message=None, error=error)
        self.print("error", message=message)
        self.print("turn.failed", error={"message": message})
        sys.exit(1)

    def play(self):
        match self.scenario:
            case "success" | "unrecorded":
                self.say("hello")
            case "noted":
                message = "Model metadata for `x` not found. Defaulting to fallback metadata."
                self.item("error", message=message)
                self.say("hello")
            case "echo":
                self.say(self.prompt)
            case "tool" | "tool-unrecorded":
                self.call("echo hi")
                self.result()
                self.say("hello")
            case "structured":
                self.say('{"answer": 42}')
            case "unstructured":
                self.say("about forty-two")
            case "repair":
                self.say("right" if self.resumed else "wrong")
            case "denied":
                self.call("touch /etc/xx")
                self.result(DENIED)
                self.say("all done")
            case "rejected":
                self.call("apply_patch")
                self.result("patch rejected: writing is blocked by read-only sandbox")
                self.say("all done")
            case "empty" | "refusal":
                self.finish()
            case "turns" | "spending":
                while True:
                    self.call("ls")
                    self.result()
                    time.sleep(0.01)
            case "unreachable":
                said = (
                    "Reconnecting... waiting for network (Connection failed: error sending request)"
                )
                while True:
                    self.print("error", message=said)
                    time.sleep(1)
            case "retries":
                self.print(
                    "error", message="Reconnecting... 1/5 (last status: 429 Too Many Requests)"
                )
                self.say("hello")
            case "refused":
                said = "Reconnecting... 1/5 (unexpected status 401 Unauthorized: Incorrect API key)"
                self.print("error", message=said)
                time.sleep(1000)
            case "garbage":
                sys.stdout.write("<html>not a program</html>\n")
                sys.exit(0)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "silence":
                time.sleep(1000)
            case "working" | "deaf":
                deaf = self.scenario == "deaf"
                start_helper(deaf=deaf)
                if deaf:
                    turn_deaf()
                self.call("sleep 1000")
                time.sleep(1000)
            case "orphan":
                start_helper()
                self.say("hello")
            case failure:
                self.fail(*FAILURES[failure])


def main():
    flags = parsed(sys.argv[2:])
    given = {
        "flags": {key: value for key, value in vars(flags).items() if key != "config"},
        "config": dict(flags.config),
        "environment": dict(os.environ),
    }
    Path("given.json").write_text(json.dumps(given))
    try:
        Program(sys.argv[1], flags).play()
    except KeyboardInterrupt:
        sys.exit(1)


main()
