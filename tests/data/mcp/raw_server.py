"""An MCP server over stdio in the standard library alone, with every fault that a server can have.

    raw_server.py [--log FILE] [--slow-start SECONDS] [--needs FILE] [--deaf] [--banner] [--stubborn]
                  [--strict]

Writes a line to the log file for each start and each request. Slow tools run in threads.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

TOOLS = ["echo", "fail", "broken", "die", "hang", "slow", "garbage", "huge", "malformed", "text",
         "environment", "meta", "unsuccessful", "late", "grandchild", "forget", "vanish", "vanish_rpc", "phantom"]  # fmt: skip

parser = argparse.ArgumentParser()
parser.add_argument("--log")
parser.add_argument("--slow-start", type=float, default=0.0)
parser.add_argument("--needs")
parser.add_argument("--deaf", action="store_true")
parser.add_argument("--banner", action="store_true")
parser.add_argument("--stubborn", action="store_true")
parser.add_argument("--strict", action="store_true")
options = parser.parse_args()
lock = threading.Lock()
listed = [name for name in TOOLS if name != "late"]


def log(text):
    if options.log:
        with Path(options.log).open("a") as file:
            file.write(f"{text}\n")


def write(line):
    with lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def answer(number, result):
    write(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}))


def refuse(number, code, message):
    write(json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}))


def text(content, **more):
    return {"content": [{"type": "text", "text": content}], **more}


def call(number, params):
    name, arguments = params["name"], params.get("arguments") or {}
    if name == "echo":
        answer(number, text("see structure", structuredContent=arguments))
    elif name == "text":
        answer(number, text(arguments["text"]))
    elif name == "meta":
        answer(number, text(json.dumps(params.get("_meta"))))
    elif name == "environment":
        answer(number, text(json.dumps(dict(os.environ))))
    elif name == "fail":
        answer(number, text("the file is locked", isError=True))
    elif name == "unsuccessful":
        answer(number, text(json.dumps({"success": False, "error": "TypeError in the scorer"})))
    elif name == "broken":
        refuse(number, -32603, "internal trouble")
    elif name == "malformed":
        answer(number, {"content": "not a list"})
    elif name == "garbage":
        write("%PDF-1.4 what is this")
    elif name == "huge":
        answer(number, text("x" * int(arguments["size"])))
    elif name == "die":
        sys.stderr.write("Traceback ...\nRuntimeError: out of cheese\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "hang":
        while True:
            time.sleep(60)
    elif name == "slow":
        threading.Thread(target=slowly, args=(number, arguments), daemon=True).start()
    elif name == "grandchild":
        subprocess.Popen(["sleep", "600"])
        answer(number, text("{}"))
    elif name == "late":
        answer(number, text("here I am"))
    elif name == "vanish":
        listed.remove(name)
        answer(number, text(f"Unknown tool: {name}", isError=True))
    elif name == "vanish_rpc":
        listed.remove(name)
        refuse(number, -32602, f"Unknown tool: {name}")
    elif name == "forget":
        listed.clear()
        write(json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
        answer(number, text("{}"))
    else:
        answer(number, text(f"Unknown tool: {name}", isError=True))


def slowly(number, arguments):
    if "until" in arguments:
        while not Path(arguments["until"]).exists():
            time.sleep(0.005)
    answer(number, text(json.dumps({"value": arguments.get("value")})))


def handle(message):
    method, number, params = message["method"], message.get("id"), message.get("params") or {}
    log(f"{method} {params.get('name', params.get('requestId', ''))}".strip())
    if number is None:
        return
    if options.strict and method == "server/discover":
        sys.exit("expected initialize")
    if method == "initialize":
        answer(number, {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "raw", "version": "1"},
        })  # fmt: skip
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in listed]
        answer(number, {"tools": tools})
        if "late" not in listed and listed:
            listed.append("late")
    elif method == "tools/call":
        call(number, params)
    else:
        refuse(number, -32601, f"Method not found: {method}")


log("start")
if options.stubborn:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
if options.needs and not Path(options.needs).exists():
    sys.exit("no licence")
time.sleep(options.slow_start)
if options.banner:
    write("Welcome to the raw server!")
for line in sys.stdin:
    if not options.deaf:
        handle(json.loads(line))
while options.stubborn:
    time.sleep(60)
