"""The `debug` agent: what went wrong, where, and what the evidence says about why."""
