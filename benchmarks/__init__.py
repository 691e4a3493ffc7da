"""Measures what the README states. `python -m benchmarks` prints all of it."""
