"""A stand-in for opencode: plays what version 1.18.33 was seen to print, and how it ended.

    python -I -S opencode.py SCENARIO run [flags of the real program]

It takes just the flags and settings that were tried with the real program, and fails as that does on
any other. Sessions are in the file OPENCODE_DB. What it was given is in `given.json` of its working
directory.
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
    "400": (400, "bad thing"),
    "401": (401, "Incorrect API key provided: dummy."),
    "403": (403, "no"),
    "404": (404, "The model `x` does not exist"),
    "long": (400, "the prompt is too long: 300000 tokens"),
}
OUTLASTED = {
    "429": "AI_APICallError: Rate limit reached for requests",
    "500": "AI_APICallError: Internal server error",
    "529": "AI_APICallError: Overloaded",
    "quota": "AI_APICallError: You exceeded your current quota, please check your plan and billing details.",
    "unnamed": "AI_APICallError: scripted failure",
    "unreachable": "AI_APICallError: Cannot connect to API: Unable to connect.",
}
"""Only its log tells of these, for a minute and more."""
SETTINGS = {
    "autoupdate", "formatter", "lsp", "permission", "provider", "share", "snapshot",
}  # fmt: skip
UNAVAILABLE = "Model tried to call unavailable tool 'invalid'. Available tools: glob, grep, read."


class Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(f"opencode run [message..]\n\n{message}")


def parsed(arguments):
    parser = Parser(allow_abbrev=False)
    parser.add_argument("run", choices=["run"])
    parser.add_argument("--format", choices=["json"], required=True)
    parser.add_argument("--log-level", choices=["ERROR"], required=True)
    parser.add_argument("--print-logs", action="store_true", required=True)
    parser.add_argument("--pure", action="store_true", required=True)
    parser.add_argument("--title", required=True)
    parser.add_argument("--model")
    parser.add_argument("--session")
    return parser.parse_args(arguments)


class Program:
    def __init__(self, scenario, flags):
        self.scenario = scenario
        self.prompt = sys.stdin.buffer.read().decode()
        self.session = flags.session or f"ses_{uuid.uuid4().hex}"
        database = Path(os.environ["OPENCODE_DB"])
        if flags.session and flags.session not in database.read_text():
            sys.exit("Error: Session not found")
        with database.open("a") as file:
            file.write(self.session)
        self.resumed = flags.session is not None

    def print(self, kind, **fields):
        line = {"type": kind, "timestamp": 1, "sessionID": self.session, **fields}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def log(self, error, *, small=False):
        small = str(small).lower()
        sys.stderr.write(
            "timestamp=2026-11-24T17:38:19.301Z level=ERROR run=3bdc1ed3 "
            f'message="stream error" providerID=p modelID=m session.id={self.session} small={small} '
            f'agent=build mode=primary error.error="{error}"\n'
        )
        sys.stderr.flush()

    def start(self):
        self.print("step_start", part={"type": "step-start"})

    def finish(self, reason, tokens=(100, 20), cost=0):
        """The end of one request to the model, told after its tools."""
        count = {"input": tokens[0], "output": tokens[1], "reasoning": 0}
        part = {
            "reason": reason,
            "tokens": {**count, "cache": {"read": 0, "write": 0}},
            "cost": cost,
        }
        self.print("step_finish", part=part)

    def uses(self, name, error=None):
        self.start()
        outcome = {"status": "error", "error": error} if error else {"status": "completed"}
        self.print("tool_use", part={"tool": name, "state": {**outcome, "input": {"a": 1}}})
        self.finish("tool-calls")

    def say(self, text, reason="stop", cost=0):
        """Answers, and ends."""
        self.start()
        if text:
            self.print("text", part={"type": "text", "text": text})
        self.finish(reason, cost=cost)
        sys.exit(0)

    def fail(self, status, message):
        data = {
            "message": message,
            "statusCode": status,
            "isRetryable": False,
            "responseHeaders": {},
        }
        self.print("error", error={"name": "APIError", "data": data})
        sys.exit(1)

    def play(self):
        match self.scenario:
            case "success":
                self.say("hello")
            case "priced":
                self.say("hello", cost=0.25)
            case "echo":
                self.say(self.prompt)
            case "tool":
                self.uses("read")
                self.say("hello")
            case "structured":
                self.say('{"answer": 42}')
            case "unstructured":
                self.say("about forty-two")
            case "repair":
                self.say("right" if self.resumed else "wrong")
            case "denied":
                self.uses("bash", UNAVAILABLE)
                self.say("all done")
            case "rejected":
                self.uses("read", "The user rejected permission to use this specific tool call.")
                sys.exit(0)  # it ends there
            case "misnamed":
                self.uses("nothing_such", UNAVAILABLE)
                self.say("hello")
            case "empty" | "refusal":
                self.say("")
            case "cut":
                self.say("This is where the limit", reason="length")
            case "midway":
                self.start()
                self.print("text", part={"type": "text", "text": "let me see"})
                self.finish("tool-calls")
                sys.exit(0)
            case "turns" | "spending":
                while True:
                    self.uses("read")
                    time.sleep(0.01)
            case "endless":
                while True:
                    self.start()
                    self.finish("unknown", tokens=(0, 0))
            case "title":
                self.log("AI_APICallError: Overloaded", small=True)
                time.sleep(0.4)  # longer than between two looks
                self.say("hello")
            case "garbage":
                sys.stdout.write("<html>not a program</html>\n")
                sys.exit(0)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "migrating":
                sys.exit("Error: Unexpected error\n\nFailed query:\nCREATE TABLE `x`\nparams: ")
            case "silence":
                time.sleep(1000)
            case "working" | "deaf":
                deaf = self.scenario == "deaf"
                start_helper(deaf=deaf)
                if deaf:
                    turn_deaf()
                self.start()
                time.sleep(1000)
            case "orphan":
                start_helper()
                self.say("hello")
            case failure if failure in OUTLASTED:
                while True:
                    self.log(OUTLASTED[failure])
                    time.sleep(0.3)
            case failure:
                self.fail(*FAILURES[failure])


def main():
    flags = parsed(sys.argv[2:])
    settings = json.loads(os.environ["OPENCODE_CONFIG_CONTENT"])
    if unknown := settings.keys() - SETTINGS:
        sys.exit(f"Configuration is invalid: unrecognized keys {sorted(unknown)}")
    given = {"flags": vars(flags), "settings": settings, "environment": dict(os.environ)}
    Path("given.json").write_text(json.dumps(given))
    Program(sys.argv[1], flags).play()


main()
