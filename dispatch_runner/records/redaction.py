"""Secrets are removed once, here, before anything is written or shown.

Three sources say what a secret is: the rules of `detect-secrets`; the exact values of
secret-looking environment variables; and the name under which a value stands (`"api_key": ...`,
`Authorization: ...`). The library is slow to import and to run: `cheap_test` spares it nearly all texts.
"""

from collections.abc import Mapping
from typing import Any

from dispatch_runner.records import cheap_test, secret_names
from dispatch_runner.records.text import TOO_DEEP, encode


class Redactor:
    """Replaces secrets by `[redacted:KIND]`. Knows the secrets of one environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._exact = sorted(
            (
                (value, name)
                for name, value in environ.items()
                if secret_names.is_secret_variable(name, value)
            ),
            key=lambda pair: -len(pair[0]),
        )
        self._exact_json = [encode(value)[1:-1] for value, _ in self._exact]

    def redact(self, value: Any) -> Any:
        """The value itself when it holds no secret, else a copy without them."""
        return self.redact_encoded(value)[0]

    def redact_encoded(self, value: Any) -> tuple[Any, bytes]:
        """The same, and the JSON text of what is returned: callers that write need not encode again."""
        text = encode(value)
        if not cheap_test.may_hold_secret(text) and not any(s in text for s in self._exact_json):
            return value, text
        try:
            redacted = self._walk(value)
        except RecursionError:
            redacted = TOO_DEEP
        return (value, text) if redacted is value else (redacted, encode(redacted))

    def redact_text(self, text: str) -> str:
        """The text itself when it holds no secret, else a copy without them."""
        exact = [(secret, name) for secret, name in self._exact if secret in text]
        if not exact and not cheap_test.may_hold_secret(text.encode("utf-8", "surrogatepass")):
            return text
        from dispatch_runner.records import detection

        for secret, name in exact:
            text = text.replace(secret, detection.mark(name))
        return detection.redacted(text)

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, dict):
            return self._walk_object(value)
        if isinstance(value, list | tuple):
            items = [self._walk(item) for item in value]
            same = all(new is old for new, old in zip(items, value, strict=True))
            return value if same else items
        return value

    def _walk_object(self, value: dict[Any, Any]) -> dict[Any, Any]:
        items: dict[Any, Any] = {}
        changed = False
        for key, old in value.items():
            name = self.redact_text(key) if isinstance(key, str) else key
            new = self._walk(old)
            if new is old and isinstance(key, str) and secret_names.is_secret_entry(key, old):
                new = _mark(key)
            changed = changed or new is not old or name is not key
            items[name] = new
        return items if changed else value


def _mark(kind: str) -> str:
    from dispatch_runner.records.detection import mark

    return mark(kind)
