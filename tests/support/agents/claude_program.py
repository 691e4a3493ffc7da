"""What the stand-in for Claude Code prints: its flags, its events, its result and its sessions."""

# pathlib would make every start slower
# ruff: noqa: PTH118, PTH109, PTH123

import argparse
import json
import os
import sys
import uuid

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
