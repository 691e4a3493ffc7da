"""What tokens cost, from the price list of `genai-prices`. The list is part of that package: nothing
is fetched."""

from dispatch_runner.models import Usage

INSTALL = "pip install 'dispatch-runner[prices]'"


def cost_of(provider: str, model: str | None, usage: Usage) -> float | None:
    """USD for the tokens of a model; null when the model, its price or a count is not known.

    Args:
        provider: by its name here, such as `openai`, `google`, `anthropic`.
        model: as the provider calls it.
        usage: of one request, where the price depends on its size. What was read from a cache counts
            in `cache_read_tokens` only.
    """
    if model is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    tokens = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens or 0)
    try:
        return _price(provider, model, *tokens)
    except (ImportError, LookupError, ValueError):
        return None


def unknown_price(provider: str, model: str | None) -> str | None:
    """Why the cost of a model's tokens cannot be known, or null."""
    if model is None:
        return 'no model is named, so its price is unknown: write model = "..." for the agent'
    try:
        _price(provider, model, 1, 1, 0)
    except ImportError:
        return f"package 'genai-prices' is not installed: {INSTALL}"
    except (LookupError, ValueError):
        return f"the price of model '{model}' of '{provider}' is not known"
    return None


async def load_prices() -> None:
    """Imports the list in a thread: it takes long enough to be felt by everything else that runs."""
    import sys

    if "genai_prices" not in sys.modules:
        import anyio.to_thread

        await anyio.to_thread.run_sync(unknown_price, "openai", "gpt-5")


def _price(
    provider: str, model: str, input_tokens: int, output_tokens: int, cache_read_tokens: int
) -> float:
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(
        input_tokens=input_tokens + cache_read_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read_tokens,
    )
    return float(calc_price(tokens, model, provider_id=provider).total_price)
