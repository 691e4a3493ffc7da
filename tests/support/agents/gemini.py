"""A stand-in for Gemini CLI: plays what version 0.61.0 was seen to print, to write down, and how it ended.

    python -I -S gemini.py SCENARIO [flags of the real program]

It takes just the flags and settings that were tried with the real program, and fails as that does on
any other. What it was given is in `given.json` of its working directory.
"""

import argparse
import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from helpers import start_helper, turn_deaf

FAILURES = {
    "400": (
        144,
        '[API Error: {"error":{"code":400,"message":"bad thing","status":"INVALID_ARGUMENT"}}]',
    ),
    "401": (
        144,
        '[API Error: {"error":{"code":400,"message":"API key not valid. Please pass a valid API key."}}]',
    ),
    "403": (147, '[API Error: {"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}]'),
    "404": (1, "[API Error: The model `x` does not exist]"),
    "429": (
        173,
        "[API Error: slow down\nSuggested retry after 7s.]\nTo do more, request a quota increase",
    ),
    "500": (244, '[API Error: {"error":{"code":500,"message":"failed","status":"INTERNAL"}}]'),
    "529": (247, "[API Error: The model is overloaded. Please try again later.]"),
    "quota": (173, "[API Error: You have exhausted your daily quota on this model.]"),
    "unreachable": (1, "[API Error: exception TypeError: fetch failed sending request]"),
}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.stderr.write(f"Unknown arguments: {message}\n")
        sys.exit(1)


def parsed(arguments):
    parser = Parser(allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output-format", choices=["stream-json"], required=True)
    parser.add_argument("--approval-mode", choices=["default", "auto_edit"], required=True)
    parser.add_argument("--extensions", choices=["none"], required=True)
    parser.add_argument("--policy", type=lambda path: Path(path).read_text())
    parser.add_argument("--include-directories", action="append")
    parser.add_argument("--skip-trust", action="store_true")
    return parser.parse_args(arguments)


class Program:
    def __init__(self, scenario, flags):
        self.scenario = scenario
        self.flags = flags
        self.prompt = sys.stdin.buffer.read().decode()
        self.session = str(uuid.uuid4())
        home = Path(os.environ.get("GEMINI_CLI_HOME") or os.environ["HOME"])
        self.file = (
            home / f".gemini/tmp/work/chats/session-2026-11-24T17-24-{self.session[:8]}.jsonl"
        )
        if scenario == "unrecorded":
            self.file = Path(os.devnull)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.requests = 0
        self.print("init", session_id=self.session, model=flags.model)
        self.print("message", role="user", content=self.prompt)

    def print(self, kind, **fields):
        sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
        sys.stdout.flush()

    def request(self, content=""):
        """One request to the model: 100 tokens of input, 20 of output. Written down twice."""
        self.requests += 1
        tokens = {"input": 100, "output": 20, "cached": 0, "thoughts": 0, "tool": 0, "total": 120}
        message = {"id": str(self.requests), "type": "gemini", "content": content}
        message |= {"tokens": tokens, "model": "gemini-2.5-pro"}
        with self.file.open("a") as file:
            for _ in range(2):
                file.write(json.dumps(message, separators=(",", ":")) + "\n")

    def uses(self, name):
        self.request()
        self.print(
            "tool_use", tool_name=name, tool_id=f"{name}_{self.requests}", parameters={"a": 1}
        )

    def result(self, name, error=None, message=""):
        fields = {"error": {"type": error, "message": message}} if error else {"output": ""}
        status = "error" if error else "success"
        self.print("tool_result", tool_id=f"{name}_{self.requests}", status=status, **fields)

    def say(self, text):
        """Answers, and ends."""
        self.request(text)
        for part in (text[:3], text[3:]):
            self.print("message", role="assistant", content=part, delta=True)
        self.end("success", 0)

    def end(self, status, code, **fields):
        count = {"input_tokens": 100 * self.requests, "output_tokens": 20 * self.requests}
        stats = {"total_tokens": 120 * self.requests, **count, "cached": 0}
        stats["models"] = {"gemini-2.5-pro": dict(stats)}
        self.print("result", status=status, **fields, stats=stats)
        sys.exit(code)

    def fail(self, code, message):
        self.end("error", code, error={"type": "unknown", "message": message})

    def without_answer(self, message):
        self.request()
        self.print("error", severity="error", message=message)
        self.end("error", 0)

    def play(self):
        match self.scenario:
            case "success" | "unrecorded":
                self.say("hello")
            case "echo":
                self.say(self.prompt)
            case "tool":
                self.uses("read_file")
                self.result("read_file")
                self.say("hello")
            case "structured":
                self.say('{"answer": 42}')
            case "unstructured":
                self.say("about forty-two")
            case "repair":
                self.say("right" if "did not pass" in self.prompt else "wrong")
            case "denied":
                self.uses("write_file")
                self.result("write_file", "tool_not_registered", 'Tool "write_file" not found.')
                self.say("all done")
            case "outside":
                self.uses("write_file")
                self.result("write_file", "invalid_tool_params", "Path not in workspace: ...")
                self.say("all done")
            case "misnamed":
                self.uses("nothing_such")
                self.result("nothing_such", "tool_not_registered", 'Tool "nothing_such" not found.')
                self.say("hello")
            case "empty":
                self.without_answer(
                    "The model returned an empty response with no text or thoughts."
                )
            case "refusal":
                self.without_answer("The model response was blocked due to safety settings.")
            case "turns":
                for _ in range(3):
                    self.uses("read_file")
                    self.result("read_file")
                error = {"type": "FatalTurnLimitedError", "message": "Reached max session turns"}
                self.end("error", 53, error=error)
            case "spending":
                while True:
                    self.uses("read_file")
                    self.result("read_file")
                    time.sleep(0.01)
            case "garbage":
                sys.stdout.write("<html>not a program</html>\n")
                sys.exit(0)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "unlogged":
                sys.stderr.write("Please set an Auth method in your settings.json\n")
                sys.exit(41)
            case "silence":
                time.sleep(1000)
            case "working" | "deaf":
                deaf = self.scenario == "deaf"
                start_helper(deaf=deaf)
                if deaf:
                    turn_deaf()
                self.uses("run_shell_command")
                time.sleep(1000)
            case "orphan":
                start_helper()
                self.say("hello")
            case failure:
                self.fail(*FAILURES[failure])


def main():
    flags = parsed(sys.argv[2:])
    settings = Path(os.environ.get("GEMINI_CLI_HOME", "/none")) / ".gemini/settings.json"
    given = {
        "flags": vars(flags),
        "settings": json.loads(settings.read_text()) if settings.exists() else None,
        "environment": dict(os.environ),
    }
    Path("given.json").write_text(json.dumps(given))
    if Path(".gemini").exists() and not flags.skip_trust:
        sys.stderr.write("Gemini CLI is not running in a trusted directory.\n")
        sys.exit(55)
    try:
        Program(sys.argv[1], flags).play()
    except KeyboardInterrupt:
        sys.exit(0)  # as the real one


main()
