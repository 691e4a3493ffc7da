"""Real tools on real code, shared by the agents and the quality server: linters, metrics, their places."""
