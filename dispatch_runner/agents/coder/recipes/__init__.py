"""Bodies that a text determines, by the kind of what they work on."""
