"""What every text with a secret contains: the test that nearly all texts are spared the rest by.

Held against every rule of the library by `test_redaction.py`.
"""

import re

STARTS = (
    r"A(?:KC[a-zA-Z0-9]|P[\dA-F][a-zA-Z0-9]{8}|3T|BIA|CCA|KIA|SIA|C[a-z0-9]{32}|ccountKey=)"
    r"|S(?:G\.|K[a-z0-9]{32})"
    r"|\.[\w-]{6}\.[\w-]{27}"
    r"|:(?://[^\s/@]+@|[\w-]{35}|_authToken=)"
    r"|g(?:h[oprsu]_|l(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent)-|loas-)|GR1348941"
    r"|yJ[\w=-]|-us\d|-AgE|T3BlbkFJ|q0csp-|k_live_|PRIVATE KEY|PuTTY-User-Key"
    r"|x[oO][xX]|X[oO][xX]"
)
"""What tokens of known formats must contain. Chosen to start with rare characters: that, not the
number of alternatives, is what the search costs."""

WORDS = (
    r"ke(?:y|n(?<=token))|p(?:w|ass)|c(?:ret(?<=secret)|redential|ontrase|ookie)|uth(?<=auth)|bearer"
    r"|\.slack|ftlayer"
)
"""What everything else must contain, in lower case; it too starts with rare letters."""

MARK_FORMS = (
    r"_(?:[A-Za-z0-9]{20}|[po]at_|(?<=fig[dou]_))",
    r"-(?:ant-|proj-|svcacct-|admin-|AA[\w-]{50}|u[ =]?[^\s:@/]{1,64}:|[A-Za-z0-9]{20})",
    r"\.(?:\.\.(?:(?<=\w\.{3})|(?<=\w['\"]\.{3}))|(?<=ya29\.)|(?<=hv[sbr]\.)|(?<=atlasv1\.)|(?<=dp\.[psc]t\.)|[0-9a-f]{64})",
    r"A(?:KC[A-Za-z0-9]{20}|Iza|T[AC]TT3|AA[\w-]{56})",
    r"Q~",
    r"X-[\w-]{28}",
    r"://:",
    r"sig(?:nature)?=",
    r"pi[0-9a-f]{32}",
    r"hooks/\d",
)
MARKS = "|".join(MARK_FORMS)
"""What the forms and places of `formats` must contain besides."""

_STARTS = re.compile(f"{STARTS}|{MARKS}".encode())
_EACH = [re.compile(form.encode()) for form in (STARTS, *MARK_FORMS)]
"""The same one by one: for a long text that is three times as quick, since each begins with characters
that are looked for at once; for a short one it is slower."""
LONG_BYTES = 4_096
_WORDS = re.compile(WORDS.encode())


def may_hold_secret(text: bytes) -> bool:
    """Whether UTF-8 or JSON text could hold a secret. False is certain, true is a guess."""
    if len(text) > LONG_BYTES:
        found = any(form.search(text) for form in _EACH)
    else:
        found = _STARTS.search(text) is not None
    return found or _WORDS.search(text.lower()) is not None
