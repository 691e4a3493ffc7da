"""One module for each agent backend: how it is built so that it plays a scenario of the suite.

    async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]
        An async context manager (`@asynccontextmanager`) that yields the backend. `options` are
        fields of `BackendOptions` that a test asks for.
    LACKS: Mapping[str, str]
        Optional: scenarios that cannot happen with this backend, and why.
    ASYNCIO_ONLY: bool
        Optional: whether the backend's library knows no other event loop.

What each scenario is: `support/agent_suite.py`. The stand-in programs are in `support/agents/`.
"""
