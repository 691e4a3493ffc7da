"""What people and programs see of a dispatch: progress on stderr, the summary, graphs and plans.

`progress` chooses the observer of the event stream; `board`, `lines` and `ndjson` are the three
there are. `graph` and `plan` render what has not run yet.
"""
