"""A streamable HTTP server of MCP in the standard library alone, with the faults of one.

    http_server.py PORT_FILE [PORT] [--sessions]

Listens on a port of the loopback interface, by default a free one, which it writes to the file.
"""

import json
import os
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sessions = set()
forever = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *parts):
        pass

    def do_GET(self):
        self.plain(405, b"")

    def do_DELETE(self):
        self.plain(405, b"")

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method, number, params = message["method"], message.get("id"), message.get("params") or {}
        if self.headers.get("x-token") == "wrong":
            self.plain(401, b"who are you?")
        elif (
            "--sessions" in sys.argv
            and method not in {"initialize", "server/discover"}
            and (self.headers.get("mcp-session-id") not in sessions)
        ):
            self.plain(404, b"no such session")
        elif number is None:
            self.plain(202, b"")
        elif method == "initialize":
            session = uuid.uuid4().hex
            sessions.add(session)
            self.answer(number, {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "http", "version": "1"},
            }, session)  # fmt: skip
        elif method == "tools/list":
            names = [
                "echo",
                "hang",
                "status",
                "garbage",
                "breaks",
                "huge",
                "sse",
                "headers",
                "forget",
                "die",
            ]
            self.answer(
                number, {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in names]}
            )
        elif method == "tools/call":
            self.call(number, params["name"], params.get("arguments") or {})
        else:
            error = {"code": -32601, "message": "Method not found"}
            self.json({"jsonrpc": "2.0", "id": number, "error": error})

    def call(self, number, name, arguments):
        text = {"content": [{"type": "text", "text": json.dumps(arguments)}]}
        if name == "echo":
            self.answer(number, text)
        elif name == "headers":
            self.answer(
                number, {"content": [{"type": "text", "text": json.dumps(dict(self.headers))}]}
            )
        elif name == "hang":
            forever.wait()
        elif name == "status":
            self.plain(503, b"<html>down for maintenance</html>")
        elif name == "garbage":
            self.plain(200, b"%PDF-1.4", "application/json")
        elif name == "breaks":
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b'{"jsonrpc"')
            self.close_connection = True
        elif name == "huge":
            self.answer(
                number, {"content": [{"type": "text", "text": "x" * int(arguments["size"])}]}
            )
        elif name == "sse":
            data = json.dumps({"jsonrpc": "2.0", "id": number, "result": text})
            self.plain(200, f"event: message\ndata: {data}\n\n".encode(), "text/event-stream")
        elif name == "forget":
            sessions.clear()
            self.answer(number, text)
        elif name == "die":
            os._exit(1)

    def answer(self, number, result, session=None):
        self.json({"jsonrpc": "2.0", "id": number, "result": result}, session)

    def json(self, document, session=None):
        self.plain(200, json.dumps(document).encode(), "application/json", session)

    def plain(self, status, body, kind="text/plain", session=None):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if session:
            self.send_header("mcp-session-id", session)
        self.end_headers()
        self.wfile.write(body)


port = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdigit() else 0
server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
server.daemon_threads = True
complete = Path(sys.argv[1] + ".new")
complete.write_text(str(server.server_port))
complete.replace(sys.argv[1])
server.serve_forever()
