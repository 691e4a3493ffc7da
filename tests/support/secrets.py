"""Made-up secrets of every form that must not be written, each put together here so that none of them
stands in the repository as it is."""

import re
import string
from itertools import count

HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
LETTERS = string.ascii_letters + string.digits
BECH32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
PUBLIC = re.compile(
    r"-----|PRIVATE KEY|123456789|SECRET-K|ECRET-KEY|-ant-(?:api|oat)|k-proj-|xFfGF0|xapp-1|AgEIc|eyJ"
)
"""Marks what is the same in every secret of its kind."""
WINDOW = 12
"""So many characters of a secret in a row are as good as the whole."""


_SALTS = count(7, 7_919)


def filled(length: int, alphabet: str = LETTERS) -> str:
    """Text that looks like chance: another one each time, but the same in every process."""
    state, made = next(_SALTS), []
    for _ in range(length):
        state = (state * 1_103_515_245 + 12_345) % (1 << 31)
        made.append(alphabet[(state >> 16) % len(alphabet)])
    return "".join(made)


def pem(kind: str) -> str:
    body = "\n".join(filled(64) for _ in range(6))
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----"


TOKENS = {
    "age": "AGE-SECRET-KEY-1" + filled(58, BECH32),
    "airtable": "pat" + filled(14) + "." + filled(64, HEX),
    "anthropic": "sk-ant-api03-" + filled(93) + "AA",
    "anthropic oauth": "sk-ant-oat01-" + filled(93) + "AA",
    "artifactory": "AKCp" + filled(69),
    "atlassian": "ATATT3xFfGF0" + filled(180),
    "aws key id": "AKIA" + filled(16, UPPER),
    "aws temporary key id": "ASIA" + filled(16, UPPER),
    "azure client secret": "Q~" + filled(34),
    "databricks": "dapi" + filled(32, HEX),
    "digitalocean": "dop_v1_" + filled(64, HEX),
    "discord bot": "M" + filled(23) + "." + filled(6) + "." + filled(27),
    "docker": "dckr_pat_" + filled(27),
    "doppler": "dp.pt." + filled(43),
    "figma": "figd_" + filled(40),
    "github classic": "ghp_" + filled(36),
    "github fine-grained": "github_pat_" + filled(22) + "_" + filled(59),
    "github oauth": "gho_" + filled(36),
    "github server": "ghs_" + filled(36),
    "gitlab deploy": "gldt-" + filled(20),
    "gitlab personal": "glpat-" + filled(20),
    "google api key": "AIza" + filled(35),
    "google client secret": "GOCSPX-" + filled(28),
    "google oauth": "ya29." + filled(60),
    "grafana": "glsa_" + filled(32) + "_" + filled(8, HEX),
    "groq": "gsk_" + filled(52),
    "heroku": "HRKU-AA" + filled(58),
    "huggingface": "hf_" + filled(34),
    "json web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + filled(43),
    "linear": "lin_api_" + filled(40),
    "mailchimp": filled(32, HEX) + "-us12",
    "mailgun": "key-" + filled(32, HEX),
    "netlify": "nfp_" + filled(36),
    "new relic": "NRAK-" + filled(27, UPPER),
    "notion": "ntn_" + filled(46),
    "npm": "npm_" + filled(36),
    "openai": "sk-" + filled(20) + "T3Blbk" + "FJ" + filled(20),
    "openai project": "sk-proj-" + filled(124),
    "openrouter": "sk-or-v1-" + filled(64, HEX),
    "perplexity": "pplx-" + filled(48),
    "postman": "PMAK-" + filled(24, HEX) + "-" + filled(34, HEX),
    "pypi": "pypi-AgEIcHlwaS5vcmc" + filled(70),
    "replicate": "r8_" + filled(37),
    "sendgrid": "SG." + filled(22) + "." + filled(43),
    "sentry": "sntrys_" + filled(60),
    "shopify": "shpat_" + filled(32, HEX),
    "slack app": "xapp-1-A012345678-123456789012-" + filled(64, HEX),
    "slack bot": "xoxb-123456789012-123456789012-" + filled(24),
    "square": "EAAA" + filled(60),
    "stripe": "sk_live_" + filled(24),
    "stripe webhook": "whsec_" + filled(32),
    "supabase": "sbp_" + filled(40, HEX),
    "telegram": "123456789:" + filled(35),
    "terraform": "atlasv1." + filled(67),
    "twilio": "SK" + filled(32, HEX),
    "vault": "hvs." + filled(95),
    "xai": "xai-" + filled(80),
    "rsa key": pem("RSA PRIVATE KEY"),
    "openssh key": pem("OPENSSH PRIVATE KEY"),
    "pgp key": pem("PGP PRIVATE KEY BLOCK"),
}
"""Known by their own form, wherever they stand."""

WORD = filled(16) + "7x"
LONG = filled(40) + "7x"
HOOK = filled(68)

PLACED = {
    "environment": (f"export DB_PASSWORD={WORD}", WORD),
    "environment, quoted": (f"API_KEY='{WORD}'", WORD),
    "environment, token": (f"MY_SERVICE_TOKEN={WORD}", WORD),
    "environment, aws": (f"AWS_SECRET_ACCESS_KEY={LONG}", LONG),
    "aws credentials file": (f"aws_secret_access_key = {LONG}", LONG),
    "azure connection": (f"AccountName=a;AccountKey={LONG}{LONG}ab==;", LONG),
    "npmrc": (f"//registry.example.com/:_authToken={LONG}", LONG),
    "netrc": (f"machine example.com login me password {WORD}", WORD),
    "yaml": (f"password: {WORD}", WORD),
    "toml": (f'client_secret = "{WORD}"', WORD),
    "json": (f'{{"api_key": "{WORD}", "a": 1}}', WORD),
    "json in json": (f'{{\\"accessToken\\": \\"{WORD}\\"}}', WORD),
    "python": (f'password = "{WORD}"', WORD),
    "flag": (f"tool --password {WORD} --verbose", WORD),
    "flag with =": (f"tool --token={WORD}", WORD),
    "curl": (f"curl -u me:{WORD} example.com", WORD),
    "url with password": (f"postgresql://app:{WORD}@db.example.com:5432/x", WORD),
    "url without user": (f"redis://:{WORD}@cache.example.com:6379/0", WORD),
    "query": (f"https://example.com/x?api_key={WORD}&page=2", WORD),
    "signed url": (f"https://example.com/x?v=1&sig={LONG}%3D", LONG),
    "bearer": (f"Authorization: Bearer {WORD}", WORD),
    "basic": (f"authorization: Basic {WORD}=", WORD),
    "header": (f"x-api-key: {WORD}", WORD),
    "webhook": (f"https://discord.com/api/webhooks/123456789012345678/{HOOK}", HOOK),
    "cookie": (f"Set-Cookie: session={WORD}; Path=/", WORD),
}
"""Known by what stands before them: a text, and the secret in it."""

CORPUS = {name: (text, text) for name, text in TOKENS.items()} | PLACED
"""Text and secret by name."""


def leaks(text: str, secret: str) -> str | None:
    """What of the secret can be read in the text; null: nothing to speak of."""
    starts = range(max(1, len(secret) - WINDOW + 1))
    found = (secret[at : at + WINDOW] for at in starts)
    return next((part for part in found if part in text and not PUBLIC.search(part)), None)
