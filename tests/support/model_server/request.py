"""What the server noted of one request."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Request:
    """One request as it came in: headers with lower-case names, `time` by the monotonic clock."""

    number: int
    method: str
    path: str
    query: str
    session: str
    headers: dict[str, str]
    body: dict[str, Any]
    time: float
    in_flight: int
    """Requests that were being answered then, with this one."""
    protocol: str = ""
    """`anthropic`, `chat`, `responses` or `gemini`; empty for whatever is not a model call."""
    side: bool = False
    """Asked the side model: answered outside of the script."""
    tools: tuple[str, ...] = ()
    """Names of the tools that the request offers."""
    left: bool = field(default=False)
    """The client closed the connection before it had the whole answer."""

    @property
    def text(self) -> str:
        """The body as JSON text, to look for words in."""
        return json.dumps(self.body, ensure_ascii=False)

    @property
    def model(self) -> str:
        """The model that is asked for; Gemini names it in the path."""
        if self.protocol == "gemini":
            return self.path.rpartition("/")[2].partition(":")[0]
        return str(self.body.get("model", ""))
