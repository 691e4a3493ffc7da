"""Task JSON in, a graph of agent tasks run in parallel, result JSON out."""

__version__ = "0.1.0"
