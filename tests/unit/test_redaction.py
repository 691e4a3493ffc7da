"""Secrets: all that the library knows, what the environment holds, and little else."""

import re
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatch_runner.records import cheap_test, formats, rules
from dispatch_runner.records.detection import may_hold_secret
from dispatch_runner.records.redaction import Redactor
from dispatch_runner.records.secret_names import is_secret_entry, is_secret_variable
from dispatch_runner.records.text import encode

AWS = "AKIA" + "IOSFODNN7EXAMPLE"
TOKENS = {
    "aws-access-key": AWS,
    "artifactory-credentials": "AKC" + "a1" * 8,
    "discord-bot-token": "M" + "a1" * 12 + ".Xx1yZz." + "b2" * 13 + "c",
    "github-token": "ghp_" + "a1B2" * 9,
    "gitlab-token": "glpat-" + "a1B2" * 6,
    "json-web-token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "mailchimp-access-key": "0a" * 16 + "-us12",
    "openai-token": "sk-" + "a1" * 10 + "T3Blbk" + "FJ" + "b2" * 10,
    "pypi-token": "pypi-AgEIcHlwaS5vcmc" + "a1" * 40,
    "sendgrid-api-key": "SG." + "a1" * 11 + "." + "b2" * 21 + "c",
    "slack-token": "xoxb-" + "1234-5678-abcdef",
    "square-oauth-secret": "sq0csp-" + "a1" * 21 + "b",
    "stripe-access-key": "sk_live_" + "a1" * 12,
    "telegram-bot-token": "123456789:" + "a1" * 17 + "b",
    "twilio-api-key": "AC" + "a1" * 16,
}
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nq8ab+/==\n-----END RSA PRIVATE KEY-----"


def _suspicious_in_json(text: str) -> bool:
    """Whether the test of whole JSON texts sends a value on to the test of its strings."""
    return cheap_test.may_hold_secret(encode({"text": text}))


@pytest.fixture(scope="module")
def plain() -> Redactor:
    return Redactor({})


@pytest.mark.parametrize("kind", TOKENS)
def test_a_known_token_is_replaced_and_its_surroundings_stay(plain, kind):
    assert plain.redact_text(f"before {TOKENS[kind]} after") == f"before [redacted:{kind}] after"


@pytest.mark.parametrize(
    "pattern",
    [p for d in rules.detectors() for p in getattr(d, "denylist", ())],
    ids=lambda p: p.pattern[:30],
)
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_text_that_a_rule_matches_passes_the_cheap_test(pattern, data):
    text = data.draw(st.from_regex(pattern))
    assert may_hold_secret(text)
    if text.isascii():
        assert _suspicious_in_json(text)


@pytest.mark.parametrize("kind", formats.TOKENS)
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_token_of_our_own_forms_is_found_and_never_spared(kind, data):
    form = formats.TOKENS[kind]
    token = data.draw(
        st.from_regex(form, fullmatch=True, alphabet=st.characters(max_codepoint=126))
    )
    assert cheap_test.may_hold_secret(token.encode())
    assert _suspicious_in_json(token)
    kinds = [found[2] for found in formats.find(f"x {token} y")]
    assert kind.replace("_", "-") in kinds


@pytest.mark.parametrize(
    "text",
    [
        'my_password = "pass"', "password: 'x'", 'db_pass := "x"', "`x` == my_secret_1",
        'apikey => "x"', 'private_key "something";', 'pwd("bar")', 'contraseña = "x"',
        'key_pass="x"', 'client_key : "x"', 'auth_key != "x"', 'service_key="x"', 'account_key="x"',
        'database_pass="x"', 'databasekey="x"', 'privkey="x"', 'MY_PASSWD="x"',
    ],
)  # fmt: skip
def test_no_keyword_of_the_library_passes_the_cheap_test(text):
    assert may_hold_secret(text)
    assert _suspicious_in_json(text)


def test_every_detector_of_the_library_is_used_but_those_that_guess():
    names = {type(detector).__name__ for detector in rules.detectors()}
    assert len(names) >= 24
    assert not names & rules.LEFT_OUT


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("https://bob:hunter2@host/x", "https://bob:[redacted:basic-auth-credentials]@host/x"),
        ("Authorization: Bearer abc123.def456~x", "Authorization: Bearer [redacted:authorization]"),
        ('password = "hunter2hunter"', 'password = "[redacted:secret]"'),
        ('secret="a1b2c3d4", password="e5f6g7h8"',
         'secret="[redacted:secret]", password="[redacted:secret]"'),
        (f"x\n{PEM}\ny", "x\n[redacted:private-key]\ny"),
        (f"{PEM[:50]}", "[redacted:private-key]"),
        (f"{PEM}\n{PEM}", "[redacted:private-key]\n[redacted:private-key]"),
    ],
)  # fmt: skip
def test_secrets_that_stand_in_a_form(plain, text, redacted):
    assert plain.redact_text(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "the password is required here", 'api_key = os.environ["API_KEY"]', "sort_key: name",
        "def token(self): return self.tokens[0]", 'raise KeyError("primary_key")',
        "https://example.com/a/b?c=d@e", "sha256:" + "0a" * 32, "git commit " + "0a" * 20,
        "8f14e45f-ceea-467f-a8d0-0c1f2e3d4c5b", "/home/me/project/secret_store.py",
        'password = "${DB_PASSWORD}"', 'api_key = "<your key>"', 'token = "..."',
        "2026-01-31T12:00:00.123Z 127.0.0.1:8080", 'api_key = "settings.api_key"',
        "see the -----BEGIN CERTIFICATE----- block", "basic authentication is required",
    ],
)  # fmt: skip
def test_ordinary_text_stays(plain, text):
    assert plain.redact_text(text) is text


def test_exact_values_of_secret_looking_variables_are_replaced():
    redactor = Redactor({"MY_TOKEN": "plainword77", "HOME": "/home/plainword77x"})
    assert redactor.redact_text("a plainword77 b") == "a [redacted:MY_TOKEN] b"
    assert redactor.redact({"a": ["x plainword77"]}) == {"a": ["x [redacted:MY_TOKEN]"]}


def test_an_environment_value_is_found_although_json_escapes_it():
    redactor = Redactor({"DB_PASSWORD": 'a"b\\c\nd1234'})
    assert redactor.redact({"x": 'is a"b\\c\nd1234.'}) == {"x": "is [redacted:DB_PASSWORD]."}


def test_a_longer_value_is_replaced_before_one_that_it_contains():
    redactor = Redactor({"A_TOKEN": "abcd1234", "B_TOKEN": "abcd1234efgh"})
    assert redactor.redact_text("abcd1234efgh") == "[redacted:B_TOKEN]"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("GITHUB_TOKEN", "abc123def", True), ("DB_PASSWORD", "correcthorse", True),
        ("PGPASSWORD", "hunter2hunter2", True), ("AWS_SECRET_ACCESS_KEY", "/abcd/EFG+123=x", True),
        ("NPM_AUTH", "a1b2c3d4e5", True), ("MYSQL_PWD", "s3cr3t-value", True),
        ("api_key", "abc123def", True), ("PWD", "/work/project", False),
        ("SSH_AUTH_SOCK", "/tmp/ssh-1/agent", False), ("GIT_AUTHOR_NAME", "Jane Doe 99", False),
        ("KEYBOARD_LAYOUT", "de-latin1", False), ("MAX_TOKENS", "100000000", False),
        ("KEY_MODE", "disabled", False), ("A_TOKEN", "short", False),
        ("AUTH_URL", "https://login.example.com", False), ("PATH", "/usr/bin:/bin", False),
        ("TOKEN_FILE", "./tokens/file1", False), ("HOME_KEY", "~/keys/mine1", False),
    ],
)  # fmt: skip
def test_which_variables_hold_secrets(name, value, secret):
    assert is_secret_variable(name, value) is secret


@pytest.mark.parametrize(
    ("key", "value", "secret"),
    [
        ("api_key", "abc123def456", True), ("apiKey", "abc123def456", True),
        ("X-Api-Key", "abc123def456", True), ("password", "Tr0ub4dor&3", True),
        ("Authorization", "Basic dXNlcjpwYXNz", True), ("accessToken", "zz11yy22", True),
        ("client_secret", "q1w2e3r4", True), ("password", "required", False),
        ("password", "must be 8 characters long", False), ("token", "identifier", False),
        ("token_count", "12345678", False), ("primary_key", "user_id_2", False),
        ("secret_file", "/run/secrets/db1", False), ("api_key", "${API_KEY}", False),
        ("password", "********", False), ("secret", 12345678, False), ("path", "a1b2c3d4", False),
    ],
)  # fmt: skip
def test_which_members_are_secrets_by_their_name(key, value, secret):
    assert is_secret_entry(key, value) is secret


def test_a_value_without_a_secret_is_the_same_object(plain):
    value = {"tokens": [1, {"keys": ("a", "b")}], "auth": None, "password": True}
    assert plain.redact(value) is value


def test_a_redacted_value_is_a_copy(plain):
    value = {"keep": [1], "bad": {"deep": [AWS]}, AWS: 1}
    redacted = plain.redact(value)
    assert value["bad"] == {"deep": [AWS]}
    assert redacted["bad"] == {"deep": ["[redacted:aws-access-key]"]}
    assert redacted["keep"] is value["keep"]
    assert "[redacted:aws-access-key]" in redacted


def test_redacting_twice_changes_nothing_more(plain):
    text = " ".join(TOKENS.values()) + ' password="hunter2hunter"'
    once = plain.redact_text(text)
    assert plain.redact_text(once) is once


def test_a_secret_across_the_pieces_of_a_long_line_is_found(plain):
    for offset in range(1_990, 2_060, 7):
        text = "x" * offset + " " + TOKENS["json-web-token"] + " " + "y" * 3_000
        assert TOKENS["json-web-token"][10:60] not in plain.redact_text(text)


def test_a_value_that_is_nested_deeply_does_not_fail(plain):
    value: object = AWS
    for _ in range(3_000):
        value = [value]
    assert AWS.encode() not in encode(plain.redact(value))
    assert AWS.encode() not in plain.redact_encoded(value)[1]


def test_text_that_is_made_to_be_slow_takes_linear_time(plain):
    for part in ("sk-", "eyJ", "password", "aws key ", '"', "-----BEGIN PRIVATE KEY-----", "://a:"):
        started = time.process_time()
        plain.redact_text(part * (100_000 // len(part)))
        assert time.process_time() - started < 5


def test_the_library_is_not_imported_for_ordinary_values():
    code = """
import sys
from dispatch_runner.records.redaction import Redactor
Redactor({"A_TOKEN": "abcd1234"}).redact({"tokens": 3, "text": "keys and passwords abcd1234"})
assert "detect_secrets" not in sys.modules
Redactor({}).redact_text("%s")
assert "detect_secrets" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code % AWS], check=True, timeout=30)


def test_marks_hold_no_characters_that_break_text(plain):
    assert re.fullmatch(r"\[redacted:[A-Za-z0-9_-]+\]", plain.redact_text(AWS))
