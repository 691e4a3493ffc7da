"""What tokens cost."""

import sys

import pytest

from dispatch_runner.backends.shared.prices import cost_of, unknown_price
from dispatch_runner.models import Usage


def test_input_output_and_cached_tokens_have_prices_of_their_own() -> None:
    usage = Usage(1_000_000, 1_000_000, 1_000_000)
    assert cost_of("openai", "gpt-5", usage) == pytest.approx(1.25 + 10 + 0.125)


def test_a_dated_name_has_the_price_of_its_model() -> None:
    usage = Usage(1_000, 1_000, 0)
    dated = cost_of("anthropic", "claude-sonnet-4-5-20250929", usage)
    assert dated == cost_of("anthropic", "claude-sonnet-4-5", usage) is not None


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("no-such-provider", "x"), ("openai", None)],
)
def test_an_unknown_price_is_null_and_never_0(provider: str, model: str | None) -> None:
    assert cost_of(provider, model, Usage(1, 1, 0)) is None
    assert unknown_price(provider, model)


def test_a_count_that_is_not_known_makes_the_cost_unknown() -> None:
    assert cost_of("openai", "gpt-5", Usage(None, 1)) is None


def test_a_known_price_has_no_reason_to_be_unknown() -> None:
    assert unknown_price("google", "gemini-2.5-pro") is None


def test_without_the_library_the_hint_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert cost_of("openai", "gpt-5", Usage(1, 1, 0)) is None
    assert "dispatch-runner[prices]" in str(unknown_price("openai", "gpt-5"))
