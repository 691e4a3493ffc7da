"""The names of the commands, known without building them. A test compares them with the app's."""

COMMANDS = frozenset(
    {"run", "validate", "graph", "schema", "agents", "mcp", "traces", "trust", "version"}
)
