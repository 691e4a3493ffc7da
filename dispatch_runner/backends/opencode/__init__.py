"""opencode, by its command line."""
