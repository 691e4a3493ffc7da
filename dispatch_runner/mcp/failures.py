"""How a call of a remote tool can fail, told apart by what follows from it."""


class Unavailable(Exception):
    """There is no connection to be had. `lasting`: another attempt would only cost time."""

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasting = lasting


class NotDelivered(Exception):
    """The server has not seen the call: it may be made again on a new connection."""


class ConnectionLost(Exception):
    """The connection ended with the call under way; nobody knows what became of it."""


class NoSuchTool(Exception):
    """The server says that it has no such tool."""
