"""What a dispatch leaves on disk: its run folder, traces, index and journal. See `traces/README.md`.

`folder` writes private files whole or not at all; `names` makes task ids file names; `journal` is
the append-only truth; `background` makes it outlive a power failure; `redaction` removes secrets before
anything is written; `recorder` is the observer that ties them together; `store` reads it all back.
"""
