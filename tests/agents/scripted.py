"""What a scripted model does in each scenario of the suite, with the tools of one program."""

from collections.abc import Mapping

from support.model_server import (
    Reply,
    Request,
    Steps,
    Turn,
    empty,
    error,
    hang,
    overloaded,
    quota_exhausted,
    refusal,
    refused_key,
    structured,
    text,
)

DAEMON = "{ setsid sh -c 'echo started; exec sleep 1000 >/dev/null 2>&1' & } | head -n 1"
"""Says so only when it is in a session of its own: a program that ends the group of its command when that
has ended would end it, too."""
BUSY = "setsid sleep 1000 & sleep 1000 & wait"
LIMITED = "Rate limit reached for requests. Please try again in 1s."


def asked(request: Request) -> list[str]:
    """All texts of the user in a request of any protocol."""
    body = request.body
    said = []
    for each in body.get("input") or body.get("messages") or body.get("contents") or ():
        if each.get("role") == "user":
            content = each.get("content", each.get("parts"))
            parts = [{"text": content}] if isinstance(content, str) else content
            said += [str(part["text"]) for part in parts if "text" in part]
    return said


def repeats_the_question(request: Request) -> Turn:
    return text("\n".join(asked(request)))


def answers_the_failure(request: Request) -> Turn:
    return text("right" if "wrong is wrong" in request.text else "wrong")


def scripts(read: Reply, denied: Reply, busy: Reply, daemon: Reply) -> Mapping[str, Steps]:
    """By scenario.

    Args:
        read: uses a tool that only reads.
        denied: uses a tool that it may not use.
        busy: runs `BUSY`.
        daemon: runs `DAEMON`.
    """
    return {
        "success": text("hello"),
        "echo": repeats_the_question,
        "tool": [read, text("hello")],
        "structured": structured({"answer": 42}),
        "unstructured": text("forty-two"),
        "repair": answers_the_failure,
        "denied": [denied, text("all done")],
        "empty": empty(),
        "refusal": refusal(),
        "turns": read,
        "spending": read,
        "400": error(400),
        "401": refused_key(),
        "403": error(403),
        "404": error(404, "The model `x` does not exist"),
        "429": error(429, LIMITED, retry_after=1),
        "500": error(500, "Internal server error"),
        "529": overloaded(),
        "quota": quota_exhausted(),
        "unreachable": text("never"),
        "silence": hang(),
        "working": busy,
        "orphan": [daemon, text("hello")],
    }
