"""Names that an operator may write, and what is said of one that there is not."""

from collections.abc import Iterable

BACKENDS = ("offline", "command", "claude-code", "codex", "gemini", "opencode", "acp", "llm")
"""The backends of this version."""


def backend_problem(name: str) -> tuple[str, str] | None:
    """Message and hint for a backend that there is not, or null."""
    if name in BACKENDS:
        return None
    return f"backend '{name}' is not available in this version", suggestion(name, BACKENDS)


EMBEDDED = "embedded"
"""The name under which the embedded server's tools are called."""


def server_name_problem(name: str) -> str | None:
    """Why an MCP server cannot have this name, or null."""
    if name.strip() and "/" not in name and name != EMBEDDED:
        return None
    return f"'{name}' cannot be the name of an MCP server"


def url_problem(url: str) -> str | None:
    """What is wrong with the address of a server, or null."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "is not an http or https URL"
    if not known or not url.isascii() or any(mark in url for mark in " \t\r\n"):
        return "is not an http or https URL"
    if parts.username is not None or parts.password is not None:
        return "holds credentials; send them in a header"
    return None


def suggestion(name: str, known: Iterable[str], label: str = "available", most: int = 20) -> str:
    """`did you mean 'x'?` when one is close, else what there is."""
    from difflib import get_close_matches

    names = list(known)
    if close := get_close_matches(name, names, n=1):
        return f"did you mean '{close[0]}'?"
    return f"{label}: {', '.join(names[:most])}" + (", ..." if len(names) > most else "")
