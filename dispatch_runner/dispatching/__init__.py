"""The composition root: wires every part for one request. `api` is the Python API."""
