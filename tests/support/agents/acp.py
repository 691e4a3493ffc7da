"""A small agent that speaks the Agent Client Protocol, version 1, as real ones were seen to.

    python -I -S acp.py SCENARIO [STATE]

It refuses methods and parameters that the protocol does not have. STATE is a file in which the
sessions last that can be loaded by another process; without it none can.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PARAMETERS = {
    "initialize": {"protocolVersion", "clientCapabilities", "clientInfo"},
    "authenticate": {"methodId"},
    "session/new": {"cwd", "mcpServers"},
    "session/load": {"sessionId", "cwd", "mcpServers"},
    "session/resume": {"sessionId", "cwd", "mcpServers"},
    "session/set_mode": {"sessionId", "modeId"},
    "session/set_config_option": {"sessionId", "configId", "value"},
    "session/prompt": {"sessionId", "prompt"},
    "session/cancel": {"sessionId"},
}
OPTIONS = [
    {"optionId": "always", "kind": "allow_always", "name": "Always allow"},
    {"optionId": "once", "kind": "allow_once", "name": "Allow once"},
    {"optionId": "reject", "kind": "reject_once", "name": "Reject"},
]
STATUSES = {
    "400": "The request is not valid",
    "401": "API key not valid. Please pass a valid API key.",
    "403": "Permission denied on the resource",
    "404": "models/nothing is not found",
    "429": "Resource exhausted, slow down",
    "500": "Internal failure of the provider",
    "529": "Overloaded",
    "quota": "You have exhausted your daily quota on this model.",
}
NO_END = "import time; time.sleep(1000)"
DEAF = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; " + NO_END

Message = dict[str, Any]


class Failure(Exception):
    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message} | ({"data": data} if data else {})


class Cancelled(Exception):
    pass


class Pipe:
    """One message a line."""

    def __init__(self) -> None:
        self.deaf = False
        """Whether it stays when nobody talks to it any more."""
        self._rest = b""

    def send(self, **message: Any) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
        while line:
            line = line[os.write(1, line) :]

    def receive(self) -> Message:
        """The next message; ends the process at the end of stdin."""
        while b"\n" not in self._rest:
            chunk = os.read(0, 1 << 16)
            if not chunk:
                time.sleep(1000 if self.deaf else 0)
                sys.exit(0)
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def waiting(self, seconds: float) -> bool:
        return b"\n" in self._rest or bool(select.select([0], [], [], seconds)[0])


class Agent:
    def __init__(self, scenario: str, state: Path | None) -> None:
        self.scenario = scenario
        self.state = state
        self.pipe = Pipe()
        self.session = ""
        self.loaded = False
        self.logged_in = False
        self.choices: dict[str, str] = {}
        self.requests = 0
        self.asked = ""
        self.numbers = 100

    def serve(self) -> None:
        while True:
            message = self.pipe.receive()
            try:
                result = self.handle(message)
            except Failure as failure:
                self.pipe.send(id=message["id"], error=failure.error)
            else:
                if "id" in message:
                    self.pipe.send(id=message["id"], result=result)
                if self.scenario == "late_replay" and message.get("method") == "session/load":
                    time.sleep(0.05)
                    self.say("wrong")

    def handle(self, message: Message) -> Message:
        method, params = message.get("method", ""), message.get("params", {})
        if method not in PARAMETERS:
            raise Failure(-32601, f"Method not found: {method}")
        if set(params) != PARAMETERS[method]:
            raise Failure(-32602, f"Invalid params of {method}: {sorted(params)}")
        return getattr(self, "do_" + method.replace("/", "_"))(params)

    def do_initialize(self, params: Message) -> Message:
        if self.scenario == "garbage":
            os.write(1, b"usage: acp [--help]\n")
            sys.exit(0)
        if self.scenario == "mute":
            time.sleep(1000)
        allowed = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
        if params["protocolVersion"] != 1 or params["clientCapabilities"] != allowed:
            raise Failure(-32602, "Invalid params: another client was expected")
        able: Message = {"loadSession": self.state is not None, "mcpCapabilities": {"http": True}}
        if self.scenario == "resume":
            able["sessionCapabilities"] = {"resume": {}}
        methods: list[Message] = [{"id": "oauth", "name": "Log in with a browser"}]
        if self.scenario == "key":
            methods.append({"id": "some-api-key", "name": "A key"})
        if self.scenario == "variable":
            methods.append({"id": "v", "type": "env_var", "vars": [{"name": "PATH"}], "name": "V"})
        return {
            "protocolVersion": 2 if self.scenario == "newer" else 1,
            "agentCapabilities": able,
            "authMethods": methods,
            "agentInfo": {"name": "stand-in", "version": "1.0"},
        }

    def do_authenticate(self, params: Message) -> Message:
        self.logged_in = params["methodId"] in {"some-api-key", "v"}
        return {}

    def do_session_new(self, params: Message) -> Message:
        if self.scenario in {"login", "key", "variable"} and not self.logged_in:
            raise Failure(-32000, "Authentication required")
        assert params["mcpServers"] == []
        assert Path(params["cwd"]).samefile(".")
        if self.scenario == "nameless":
            return {}
        self.session = f"session-{os.getpid()}"
        return {"sessionId": self.session, **self.choosable()}

    def choosable(self) -> Message:
        if self.scenario == "modes":
            modes = [{"id": name, "name": name} for name in ("yolo", "default", "readOnly", "plan")]
            return {"modes": {"availableModes": modes, "currentModeId": "yolo"}}
        if self.scenario == "late_replay":
            modes = [{"id": "read-only", "name": "Looks"}]
            return {"modes": {"availableModes": modes, "currentModeId": "read-only"}}
        if self.scenario != "options":
            return {}
        return {
            "configOptions": [
                {
                    "id": key,
                    "name": key,
                    "category": key,
                    "type": "select",
                    "currentValue": values[0],
                    "options": self.entries(values),
                }
                for key, values in {"mode": ["build", "plan"], "model": ["small", "large"]}.items()
            ]
        }

    def entries(self, values: list[str]) -> list[Message]:
        named = [{"value": value, "name": value.upper()} for value in values]
        return [{"group": "g", "name": "G", "options": named}] if "small" in values else named

    def do_session_load(self, params: Message) -> Message:
        known = self.state.read_text().split() if self.state and self.state.exists() else []
        if params["sessionId"] not in known:
            raise Failure(-32603, "Internal error", {"details": "No previous sessions found"})
        self.session, self.loaded = params["sessionId"], True
        if self.scenario != "resume":  # the old session is replayed
            self.say("wrong")
            self.use("old", "bash", "execute", "completed")
        return self.choosable()

    do_session_resume = do_session_load

    def do_session_set_mode(self, params: Message) -> Message:
        self.choices["mode"] = params["modeId"]
        self.say(f"[MODE_UPDATE] {params['modeId']}")
        return {}

    def do_session_set_config_option(self, params: Message) -> Message:
        self.choices[params["configId"]] = params["value"]
        return {"configOptions": []}

    def do_session_cancel(self, params: Message) -> Message:
        return {}

    def do_session_prompt(self, params: Message) -> Message:
        (block,) = params["prompt"]
        assert params["sessionId"] == self.session
        assert block["type"] == "text"
        self.asked = block["text"]
        if self.state is not None:
            self.state.write_text(self.session)
        self.requests = 1
        if self.scenario in STATUSES:
            code = 429 if self.scenario == "quota" else int(self.scenario)
            raise Failure(code, STATUSES[self.scenario])
        try:
            reason = getattr(self, f"play_{self.scenario}", self.play_success)()
        except Cancelled:
            reason = "cancelled"
        return self.ended(reason or "end_turn")

    def ended(self, reason: str) -> Message:
        tokens = {"inputTokens": 100 * self.requests, "outputTokens": 20 * self.requests}
        if self.scenario == "gemini":
            counts = {"input_tokens": 100 * self.requests, "output_tokens": 20 * self.requests}
            return {"stopReason": reason, "_meta": {"quota": {"token_count": counts}}}
        if self.scenario == "uncounted":
            tokens = {"inputTokens": 0, "outputTokens": 0}
        return {"stopReason": reason, "usage": tokens | {"totalTokens": sum(tokens.values())}}

    # what it may say

    def update(self, kind: str, /, **fields: Any) -> None:
        params = {"sessionId": self.session, "update": {"sessionUpdate": kind, **fields}}
        self.pipe.send(method="session/update", params=params)

    def say(self, text: str) -> None:
        self.update("agent_message_chunk", content={"type": "text", "text": text})

    def use(self, number: str, title: str, kind: str, *statuses: str, **fields: Any) -> None:
        for status in statuses:
            name = "tool_call" if status == "pending" else "tool_call_update"
            given = {} if status == "pending" else {"command": "do it"}
            self.update(
                name,
                toolCallId=number,
                title=title,
                kind=kind,
                status=status,
                rawInput=given,
                **fields,
            )

    def ask(self, number: str, title: str, kind: str, **fields: Any) -> str:
        """The option that was chosen, or `cancelled`."""
        self.numbers += 1
        call = {"toolCallId": number, "title": title, "kind": kind, "status": "pending", **fields}
        params = {"sessionId": self.session, "toolCall": call, "options": OPTIONS}
        self.pipe.send(id=self.numbers, method="session/request_permission", params=params)
        while "outcome" not in (answer := self.pipe.receive()).get("result", {}):
            if answer.get("method") == "session/cancel":
                raise Cancelled
        outcome = answer["result"]["outcome"]
        return str(outcome.get("optionId", outcome["outcome"]))

    def told_to_stop(self, seconds: float) -> bool:
        return self.pipe.waiting(seconds) and self.pipe.receive()["method"] == "session/cancel"

    def wait(self) -> None:
        while not self.told_to_stop(1000):
            pass
        raise Cancelled

    # the scenarios

    def play_success(self) -> None:
        self.say("he")
        self.say("llo")

    def play_echo(self) -> None:
        self.say(self.asked)

    def play_chosen(self) -> None:
        self.say(json.dumps(self.choices))

    play_modes = play_options = play_chosen

    def play_environment(self) -> None:
        self.say(json.dumps(dict(os.environ)))

    def play_tool(self) -> None:
        self.update("agent_thought_chunk", content={"type": "text", "text": "hm"})
        self.say("I shall read it.")
        self.use("t1", "read", "read", "pending", "in_progress", "completed")
        self.requests += 1
        self.play_success()

    def play_structured(self) -> None:
        assert "JSON Schema" in self.asked
        self.say('```json\n{"answer": 42}\n```')

    def play_unstructured(self) -> None:
        self.say("forty-two")

    def play_repair(self) -> None:
        self.say("right" if self.loaded or "did not pass" in self.asked else "wrong")

    play_resume = play_late_replay = play_repair

    def play_denied(self) -> None:
        self.write("t1", "notes.txt")
        self.say("all is done")

    def write(self, number: str, path: str) -> None:
        self.use(number, "write", "edit", "pending", "in_progress")
        chosen = self.ask(number, path, "edit", locations=[{"path": path}])
        if chosen == "once":
            Path(path).write_text("written")
            self.use(number, "write", "edit", "completed")
        elif chosen == "reject":
            self.use(number, "write", "edit", "failed")
        else:
            raise AssertionError(chosen)
        self.requests += 1

    def play_outside(self) -> None:
        self.write("t1", "/etc/passwd.new")
        self.say("all is done")

    def play_gemini(self) -> None:
        """Asks for leave before it says anything of the tool."""
        chosen = self.ask("w", "Writing to a.txt", "edit", locations=[{"path": "a.txt"}])
        if chosen == "once":
            self.use("w", "Writing to a.txt", "edit", "completed")
        self.requests += 1
        self.say(f"chosen: {chosen}")

    def play_run(self) -> None:
        self.say(f"chosen: {self.ask('r', 'make', 'execute')}")

    def play_unasked(self) -> None:
        self.use("u", "rm -rf", "execute", "pending", "in_progress", "completed")
        self.wait()

    def play_sneaking(self) -> None:
        there = [{"path": "/etc/passwd.new"}]
        self.use("s", "write", "edit", "pending", "completed", locations=there)
        self.wait()

    def play_planning(self) -> None:
        """Refused by its own mode."""
        self.use("p", "write", "edit", "pending", "in_progress", "failed")
        self.say("all is done")

    def play_switch(self) -> None:
        self.say(f"chosen: {self.ask('s', 'Ready to code?', 'switch_mode')}")

    def play_empty(self) -> None:
        pass

    play_uncounted = play_success

    def play_refusal(self) -> str:
        self.say("I cannot help with that.")
        return "refusal"

    def play_turns(self) -> str:
        return "max_turn_requests"

    def play_tokens(self) -> str:
        self.say("This is where the lim")
        return "max_tokens"

    def play_whim(self) -> str:
        return "tired"

    def play_spending(self) -> None:
        for number in range(1, 1000):
            self.use(f"t{number}", "read", "read", "pending", "in_progress", "completed")
            cost = {"amount": 0.25 * number, "currency": "USD"}
            self.update("usage_update", used=120 * number, size=200_000, cost=cost)
            if self.told_to_stop(0.02):
                raise Cancelled
            self.requests += 1

    def play_priced(self) -> None:
        self.update("usage_update", used=120, size=0, cost={"amount": 0.5, "currency": "USD"})
        self.play_success()

    def play_free(self) -> None:
        self.update("usage_update", used=120, size=0, cost={"amount": 0, "currency": "USD"})
        self.play_success()

    def play_plan(self) -> None:
        entry = {"content": "think", "status": "completed", "priority": "high"}
        self.update("plan", entries=[entry])
        self.play_success()

    def play_unreachable(self) -> None:
        raise Failure(-32603, "Internal error: fetch failed", {"details": "connect ECONNREFUSED"})

    def play_words(self) -> None:
        raise Failure(-32603, "Internal error: Incorrect API key provided: dummy.")

    def play_unknown(self) -> None:
        raise Failure(-32603, "Internal error: scripted failure", {"service": "session"})

    def play_noise(self) -> None:
        os.write(1, b'a warning\n\n[1]\n{"neither": 1}\n{broken\n')
        self.pipe.send(id=7, method="fs/read_text_file", params={"path": "/etc/passwd"})
        error = self.pipe.receive()["error"]
        self.pipe.send(method="_vendor/thing", params=[1])
        self.say(f"error {error['code']}")

    def play_flood(self) -> None:
        for _ in range(4_000):
            self.say("x" * 256)

    def play_huge(self) -> None:
        os.write(2, b"about to be rude\n")
        while True:
            os.write(1, b"x" * 65536)

    def play_crash(self) -> None:
        os.write(2, b"out of memory\n")
        os.kill(os.getpid(), signal.SIGSEGV)

    def play_exit(self) -> None:
        os.write(2, b"panic: no more\n")
        sys.exit(3)

    def play_closing(self) -> None:
        os.close(1)
        time.sleep(1000)

    def play_others(self) -> None:
        """Passes on what a helper of its own says, in the helper's session."""
        self.session += "-helper"
        self.say("I am not asked.")
        self.session = self.session.removesuffix("-helper")
        self.update("agent_message_chunk", content={"type": "image", "data": ""})
        self.play_success()

    def play_silence(self) -> None:
        time.sleep(1000)

    def play_stubborn(self) -> None:
        self.use("w", "grep", "search", "pending", "in_progress")
        time.sleep(1000)

    def play_working(self) -> None:
        self.use("w", "grep", "search", "pending")
        subprocess.Popen([sys.executable, "-I", "-S", "-c", NO_END], start_new_session=True)
        self.use("w", "grep", "search", "in_progress")
        self.wait()

    def play_late(self) -> None:
        """Asks for leave when it was told to stop."""
        self.use("l", "grep", "search", "pending", "in_progress")
        try:
            self.wait()
        except Cancelled:
            Path("late.txt").write_text(self.ask("l", "grep", "search"))
            raise

    def play_deaf(self) -> None:
        self.pipe.deaf = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-I", "-S", "-c", DEAF], start_new_session=True)
        self.use("w", "grep", "search", "pending", "in_progress")
        self.wait()

    def play_orphan(self) -> None:
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", NO_END],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.play_success()


if __name__ == "__main__":
    _, scenario, *state = sys.argv
    Agent(scenario, Path(state[0]) if state else None).serve()
