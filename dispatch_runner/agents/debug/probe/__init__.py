"""The folder that a test run gets on its path: nothing but the pytest plugin that observes it."""
