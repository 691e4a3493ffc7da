"""Models by their names, `PROVIDER:NAME`: what each provider needs, and the client of one call.

Nothing here imports a client library before a model is built.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from dispatch_runner.settings.names import suggestion

if TYPE_CHECKING:
    import ssl

    import httpx2
    from pydantic_ai.models import Model

    from dispatch_runner.settings.backend_options import BackendOptions

CONNECT_SECONDS = 10.0
INSTALL = "pip install 'dispatch-runner[llm]'"
NO_KEY = "no-key"
"""Sent to servers that want none: the client libraries do not start without."""
LOGGERS = ("anthropic", "google_genai", "httpx2", "openai", "pydantic_ai")
OLLAMA_URL = "http://localhost:11434/v1"


class Provider(NamedTuple):
    """What the models of one provider need."""

    name: str
    """Whose rate limits and bills they share."""
    package: str
    """Its client library."""
    keys: tuple[str, ...]
    """Variables that may hold the key; the first that is set counts."""
    url: str
    """The variable that may hold the server's address."""
    keyless: bool = False
    """Whether it works without a key."""


PROVIDERS = {
    "anthropic": Provider("anthropic", "anthropic", ("ANTHROPIC_API_KEY",), "ANTHROPIC_BASE_URL"),
    "openai": Provider("openai", "openai", ("OPENAI_API_KEY",), "OPENAI_BASE_URL"),
    "openai-responses": Provider("openai", "openai", ("OPENAI_API_KEY",), "OPENAI_BASE_URL"),
    "google": Provider(
        "google", "google.genai", ("GOOGLE_API_KEY", "GEMINI_API_KEY"), "GOOGLE_GEMINI_BASE_URL"
    ),
    "ollama": Provider("ollama", "openai", ("OLLAMA_API_KEY",), "OLLAMA_BASE_URL", keyless=True),
}


class ModelName(NamedTuple):
    """A model that can be asked."""

    prefix: str
    name: str

    @property
    def provider(self) -> Provider:
        return PROVIDERS[self.prefix]


def model_name(text: str) -> ModelName | str:
    """The model that is meant, or what is wrong with its name."""
    prefix, colon, name = text.partition(":")
    if colon and name and prefix in PROVIDERS:
        return ModelName(prefix, name)
    hint = suggestion(prefix, PROVIDERS, "providers") if colon else "write PROVIDER:NAME"
    return f"model '{text}' is not known to backend 'llm': {hint}"


def missing(model: ModelName, options: BackendOptions) -> str | None:
    """Why the model cannot be asked on this machine, or null. Starts nothing, imports nothing heavy."""
    provider = model.provider
    for package in ("pydantic_ai", provider.package):
        if not _installed(package):
            return f"the package of '{package}' is not installed: {INSTALL}"
    if key_of(provider, options) is not None or _needs_no_key(provider, options):
        return None
    wanted = " or ".join(key_variables(provider, options))
    return f"the environment variable {wanted}, which holds the key of {provider.name}, is not set"


def key_variables(provider: Provider, options: BackendOptions) -> tuple[str, ...]:
    """The variables that may hold the key."""
    return (options.api_key_env,) if options.api_key_env else provider.keys


def key_of(provider: Provider, options: BackendOptions) -> str | None:
    """The key, or null."""
    values = (os.environ.get(name) for name in key_variables(provider, options))
    return next((value for value in values if value), None)


def _needs_no_key(provider: Provider, options: BackendOptions) -> bool:
    """A server of one's own that speaks OpenAI's protocol may want none; a key that is named must be."""
    own = provider.package == "openai" and _address(provider, options) is not None
    return options.api_key_env is None and (provider.keyless or own)


def _address(provider: Provider, options: BackendOptions) -> str | None:
    return options.base_url or os.environ.get(provider.url) or None


@cache
def _installed(package: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def load_client(prefix: str) -> None:
    """Imports what `build_model` needs, and loads certificates and prices. Raises `ImportError`."""
    import logging

    from genai_prices.data_snapshot import get_snapshot

    match prefix:
        case "anthropic":
            import pydantic_ai.models.anthropic
        case "google":
            import pydantic_ai.models.google
        case "ollama":
            import pydantic_ai.models.ollama
        case _:
            import pydantic_ai.models.openai  # noqa: F401
    get_snapshot()
    _certificates()
    for name in LOGGERS:  # else their remarks are printed over the progress on stderr
        logging.getLogger(name).addHandler(logging.NullHandler())


def http_client(seconds: float) -> httpx2.AsyncClient:
    """The connections of one call. Whoever asks for it closes it.

    Args:
        seconds: how long the server may be silent.
    """
    import httpx2

    timeout = httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
    return httpx2.AsyncClient(verify=_certificates(), timeout=timeout)


@cache
def _certificates() -> ssl.SSLContext:
    """Loading them takes tens of milliseconds: once, not for each call."""
    import httpx2

    return httpx2.create_ssl_context()


def build_model(model: ModelName, options: BackendOptions, client: httpx2.AsyncClient) -> Model:
    """The model with its client library, which `load_client` has imported."""
    provider = model.provider
    key = key_of(provider, options) or NO_KEY
    url = _address(provider, options)
    match model.prefix:
        case "anthropic":
            return _anthropic(model.name, key, url, client)
        case "google":
            return _google(model.name, key, url, client)
        case "ollama":
            return _ollama(model.name, key, url or OLLAMA_URL, client)
        case _:
            return _openai(model, key, url, client)


def _anthropic(name: str, key: str, url: str | None, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    return AnthropicModel(
        name, provider=AnthropicProvider(api_key=key, base_url=url, http_client=client)
    )


def _openai(model: ModelName, key: str, url: str | None, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=url, api_key=key, http_client=client)
    if model.prefix == "openai-responses":
        return OpenAIResponsesModel(model.name, provider=provider)
    return OpenAIChatModel(model.name, provider=provider)


def _ollama(name: str, key: str, url: str, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.ollama import OllamaModel
    from pydantic_ai.providers.ollama import OllamaProvider

    return OllamaModel(name, provider=OllamaProvider(base_url=url, api_key=key, http_client=client))


def _google(name: str, key: str, url: str | None, client: httpx2.AsyncClient) -> Model:
    from google.genai import Client
    from google.genai.types import HttpOptions
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    silence = client.timeout.read
    http = HttpOptions(
        base_url=url,
        httpx_async_client=client,
        timeout=None if silence is None else int(silence * 1000),
        # else it loads the certificates again, twice for each call
        client_args={"verify": _certificates()},
        async_client_args={"verify": _certificates(), "ssl": _certificates()},
    )
    provider = GoogleProvider(client=Client(vertexai=False, api_key=key, http_options=http))
    return GoogleModel(name, provider=provider)
