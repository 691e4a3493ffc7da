"""Anthropic's Claude Code, by its command line."""
