"""Google's Gemini CLI, by its command line."""
