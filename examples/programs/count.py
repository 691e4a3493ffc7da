"""Counts the words of a text: reads the envelope from stdin, prints one JSON object on stdout."""

import json
import sys

call = json.load(sys.stdin)
text = call["input"].get("text")
if not isinstance(text, str):
    error = {"type": "invalid_input", "message": "input.text must be a string"}
    json.dump({"error": error}, sys.stdout)
else:
    print(f"counting for task {call['task_id']}", file=sys.stderr)  # kept beside the trace
    json.dump({"words": len(text.split()), "characters": len(text)}, sys.stdout)
