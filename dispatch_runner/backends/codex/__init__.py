"""OpenAI's Codex, by its command line."""
