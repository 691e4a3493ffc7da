"""Which names promise a secret, and which values keep that promise."""

import os
import re
from typing import Any

SHORTEST = 8
"""Characters. Shorter values are found too often in ordinary text to be replaced everywhere."""

LONGEST = 4_096

VARIABLE = re.compile(
    r"(?:^|_)(?:\w*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|APIKEY|CREDENTIAL)S?"
    r"|KEYS?|AUTH|PASS|PWD|PAT|DSN|COOKIE)(?=_|$)"
)
PASSWORD = re.compile(r"(?i)passw|passphrase|pwd|secret")

ENTRY = re.compile(
    r"passw(?:or)?d|passphrase|secret|credential|authorization|bearer"
    r"|(?:api|access|private|auth|service|account|client|encryption|signing|master)[_-]?key"
    r"|(?:^|[_-])(?:token|pwd|pass)$|(?:access|refresh|auth|id|session|api|bot|bearer)[_-]?token"
)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

COMMON_VALUES = frozenset(
    {
        "changeme", "disabled", "enabled", "internal", "keychain", "keyring", "localhost",
        "optional", "password", "prompted", "required", "undefined", "unlimited", "username",
    }
)  # fmt: skip

SCHEME = re.compile(r"(?i)(?:bearer|basic|token|digest)\s+")
"""What stands before the secret in an authorization header."""

PATH = re.compile(r"(?:~|\.{1,2})?/")
URL = re.compile(r"[a-zA-Z][\w+.-]*://")
TEMPLATE = re.compile(r"\$\{|\{\{|<[^>]*>$|\$\(|\$[A-Za-z_]|%[({]|\[redacted|\*{3,}|x{6,}|\.\.\.$")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?:\(.*\)?|\[.*\]?)?|\w+[(\[].*")


def is_secret_variable(name: str, value: str) -> bool:
    """Whether an environment variable's value must not appear anywhere."""
    if not SHORTEST <= len(value) <= LONGEST or not VARIABLE.search(name.upper()):
        return False
    if URL.match(value) or _is_path(value) or value.lower() in COMMON_VALUES:
        return False
    return bool(PASSWORD.search(name)) or not _is_plain(value)


def is_secret_entry(key: str, value: Any) -> bool:
    """Whether a member of an object is a secret: its name says so and its value looks like one."""
    return (
        isinstance(value, str)
        and bool(ENTRY.search(CAMEL.sub("_", key).lower()))
        and looks_like_credential(SCHEME.sub("", value))
    )


def looks_like_credential(text: str) -> bool:
    """Whether a text may be a password or a token: not prose, path, URL, placeholder or code."""
    if not SHORTEST <= len(text) <= LONGEST or any(c.isspace() for c in text):
        return False
    if URL.match(text) or PATH.match(text) or TEMPLATE.match(text) or IDENTIFIER.fullmatch(text):
        return False
    return is_mixed(text)


def is_mixed(text: str) -> bool:
    """Whether characters of two kinds or more are in it, as in most tokens and in few words."""
    kinds = (
        any(c.islower() for c in text),
        any(c.isdigit() for c in text),
        any(c.isupper() for c in text[1:]),
        any(not c.isalnum() and c not in "_-./:," for c in text),
    )
    return sum(kinds) >= 2


def _is_path(value: str) -> bool:
    """A path, or several: a token may start with a slash too, so its first folder must exist."""
    if not PATH.match(value):
        return False
    first = value.split("/", 2)
    return first[0] != "" or os.path.lexists("/" + first[1].split(":")[0])


def _is_plain(value: str) -> bool:
    """A number, a flag or a list of words, such as the value of `MAX_TOKENS` or `KEY_MODE`."""
    return re.fullmatch(r"[\d.,]+|[a-z]+(?:[ ,_-][a-z]+)*|[A-Z]?[a-z]+", value) is not None
