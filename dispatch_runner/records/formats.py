"""Secrets that the library's rules do not know: tokens by their form, values by the name before them.

Unlike the library this costs nothing to load. A kind of token has a line in `TOKENS`; what `cheap_test`
must find in a text for it is held against these rules by `test_redaction.py`.
"""

import re
from collections.abc import Iterable, Iterator

from dispatch_runner.records import cheap_test
from dispatch_runner.records.secret_names import looks_like_credential

TOKENS = {
    "age_key": r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    "airtable_token": r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}",
    "anthropic_key": r"sk-ant-[a-z0-9]{2,10}-[\w-]{32,}",
    "artifactory_key": r"AKC[A-Za-z0-9]{20,}",
    "atlassian_token": r"AT[AC]TT3[\w=-]{40,}",
    "azure_client_secret": r"Q~[\w.~-]{31,}",
    "databricks_token": r"dapi[0-9a-f]{32}",
    "digitalocean_token": r"do[opr]_v1_[0-9a-f]{64}",
    "discord_webhook": r"discord(?:app)?\.com/api/webhooks/\d+/[\w-]{60,}",
    "docker_token": r"dckr_[po]at_[\w-]{20,}",
    "doppler_token": r"dp\.[psc]t\.[\w.-]{40,}",
    "figma_token": r"fig[dou]_[\w-]{36,}",
    "github_token": r"github_pat_\w{22,}",
    "google_api_key": r"AIza[\w-]{35}",
    "google_client_secret": r"GOCSPX-[\w-]{28}",
    "google_oauth_token": r"ya29\.[\w-]{20,}",
    "grafana_token": r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}",
    "groq_key": r"gsk_[A-Za-z0-9]{40,}",
    "heroku_key": r"HRKU-AA[\w-]{50,}",
    "huggingface_token": r"hf_[A-Za-z0-9]{30,}",
    "linear_key": r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}",
    "mailgun_key": r"key-[0-9a-f]{32}",
    "netlify_token": r"nf[pc]_[A-Za-z0-9]{36}",
    "new_relic_key": r"NR(?:AK|JS|II|AA)-[A-Za-z0-9]{20,}",
    "notion_token": r"(?:ntn|secret)_[A-Za-z0-9]{40,}",
    "npm_token": r"npm_[A-Za-z0-9]{36}",
    "openai_key": r"sk-(?:proj|svcacct|admin)-[\w-]{40,}",
    "openrouter_key": r"sk-or-v1-[0-9a-f]{64}",
    "perplexity_key": r"pplx-[A-Za-z0-9]{40,}",
    "postman_key": r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    "replicate_token": r"r8_[A-Za-z0-9]{36,}",
    "sentry_token": r"sntry[su]_[A-Za-z0-9]{20}[\w+/=-]*",
    "shopify_token": r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    "slack_token": r"xapp-\d-[A-Z0-9]+-\d+-[0-9a-f]{32,}",
    "square_token": r"EAAA[\w-]{56,}",
    "stripe_key": r"[sr]k_test_[A-Za-z0-9]{20,}|whsec_[A-Za-z0-9]{24,}",
    "supabase_token": r"sbp_[0-9a-f]{40}",
    "terraform_token": r"atlasv1\.[\w-]{60,}",
    "vault_token": r"hv[sbr]\.[\w-]{24,}",
    "xai_key": r"xai-[A-Za-z0-9]{60,}",
}
"""Form by kind. In the text a token does not continue a word, unless that is an escaped line end or the end of a
colour's sequence."""

_TOKEN = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=[\d;]m)|(?=Q~|atlasv1))(?:"
    + "|".join(f"(?P<{kind}>{form})" for kind, form in TOKENS.items())
    + ")"
)
_MARKS = re.compile(cheap_test.MARKS)
_WORDS = re.compile(cheap_test.WORDS)

_VALUE = r"(?P<value>[^\s\"'`\\,;<>]{8,4096})"
_NAMED = re.compile(
    r"(?:(?i:passw(?:or)?d|passphrase)|(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:pwd|credentials?|token"
    r"|secret(?:[_-]?(?:access[_-]?)?(?:key|token|value))?"
    r"|(?:api|access|private|auth|service|account|client|encryption|signing|master|license)[_-]?key))"
    r"[\"'\\\]]{0,4}[ \t]{0,4}(?::=|=>|[:=])[ \t]{0,4}[\"'`\\]{0,4}" + _VALUE
)
"""`API_KEY=...`, `accessToken: ...`, also within JSON that was encoded once more."""

_PLACED = re.compile(
    r"(?:--(?:password|passwd|token|secret|api-key|access-token)[ \t=]|\bpassword[ \t]"
    r"|\s-u[ =]?[^\s:@/]{1,64}:|://[^\s/:@\"']{0,64}:(?=[^\s/@\"']+@)|[?&](?:sig|signature|key)=)"
    r"[ \t]?[\"']?" + _VALUE
)
"""What follows a flag, stands in a URL, or in a `.netrc`."""

_CUT = re.compile(r"(?<![\w+=.~-])[\w+=.~-]{20,}+(?:(?<=\.{3})|[\"']\.{3})")
"""Half a token is not known by its form: of a word that a message cuts with `...` nothing is shown."""

_COOKIES = re.compile(r"(?i:\bcookie)[\"'\\]{0,4}[ \t]*:[ \t]*[\"'\\]{0,4}([^\n\"'\\]{8,8192})")
_COOKIE = re.compile(r"[\w.-]{1,64}=([^;\s]{16,})")

_NEXT_PARAMETER = re.compile(r"&(?=[\w.%-]+=)|@")
_NAME = re.compile(r"[A-Za-z]+(?:_[A-Za-z]+)+_?\d{0,2}")
"""A constant or a variable, rather than what it holds."""

Span = tuple[int, int, str]
"""Start, end, and the kind of secret between them."""


def find(text: str) -> Iterator[Span]:
    """Every secret that a rule of this module knows."""
    marks = [match.start() for match in _MARKS.finditer(text)]
    words = [match.start() for match in _WORDS.finditer(lowered(text))]
    for line in lines_at(text, marks):
        for match in _TOKEN.finditer(text, *line):
            yield (*match.span(), str(match.lastgroup).replace("_", "-"))
    for line in lines_at(text, [*marks, *words]):
        yield from _values(text, *line)


def _values(text: str, start: int, end: int) -> Iterator[Span]:
    """What stands behind the name of a secret, or in the place of one, in one line."""
    for pattern in (_NAMED, _PLACED):
        for match in pattern.finditer(text, start, end):
            value = _NEXT_PARAMETER.split(match["value"], maxsplit=1)[0].rstrip(".)]}")
            if _is_likely(value):
                found = match.start("value")
                yield found, found + len(value), "secret"
    for match in _CUT.finditer(text, start, end):
        if any(c.isdigit() for c in match[0]) and any(c.isalpha() for c in match[0]):
            yield (*match.span(), "cut")
    for header in _COOKIES.finditer(text, start, end):
        for cookie in _COOKIE.finditer(text, *header.span(1)):
            yield (*cookie.span(1), "cookie")


def lines_at(text: str, positions: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Bounds of the lines in which the positions are, each line once."""
    done = -1
    for position in sorted(positions):
        if position > done:
            start, done = text.rfind("\n", 0, position) + 1, line_end(text, position)
            yield start, done


def line_end(text: str, position: int) -> int:
    """Where the line ends in which a position is."""
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def lowered(text: str) -> str:
    """The text in lower case, each character in its place."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    # some capitals are two characters in lower case
    return "".join(c.lower() if c.isascii() else c for c in text)


def _is_likely(value: str) -> bool:
    """Whether a value without quotes may be a secret: code and prose have names and words there."""
    mixed = any(c.isalpha() for c in value) and any(c in "0123456789!#$%^&*+=~?" for c in value)
    return mixed and looks_like_credential(value) and not _NAME.fullmatch(value)
