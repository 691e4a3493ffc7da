"""The names of the commands, known without building them. A test compares them with the app's."""

COMMANDS = frozenset(
    {
        "run", "start", "resume", "status", "wait", "cancel", "result", "validate", "graph", "schema", "agents",
        "doctor", "mcp", "traces", "cache", "workspaces", "trust", "version",
    }
)  # fmt: skip
