"""The protocols, by the path that a request is sent to."""

import re

from support.model_server.request import Request
from support.model_server.wires import anthropic, chat, gemini, responses
from support.model_server.wires.common import Wire

_PATHS = {
    "/v1/messages": "anthropic",
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
}
_GEMINI = re.compile(r"/v1(beta)?/models/[^/:]+:(generateContent|streamGenerateContent)")
_WIRES: dict[str, Wire] = {
    "anthropic": anthropic,
    "chat": chat,
    "responses": responses,
    "gemini": gemini,
}


def protocol_of(method: str, path: str) -> str:
    """The protocol of a model call; empty when it is none."""
    if method != "POST":
        return ""
    return "gemini" if _GEMINI.fullmatch(path) else _PATHS.get(path, "")


def wire_of(request: Request) -> Wire:
    """How to answer a model call."""
    return _WIRES[request.protocol]
