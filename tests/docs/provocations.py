"""For every rejection code a document that is refused with it."""

import json
from typing import Any

TASK = {"task_id": "a", "agent": "echo", "input_data": {}}


def tasks(*changes: dict[str, Any], **top: Any) -> bytes:
    """A request whose tasks are `TASK` with these changes."""
    return json.dumps({"tasks": [{**TASK, **change} for change in changes], **top}).encode()


def debug(files: list[str], **more: Any) -> bytes:
    """A request with one debug task."""
    value = {"problem_description": "it stops", "affected_files": files, **more}
    return tasks({"agent": "debug", "input_data": value})


PROVOCATIONS: dict[str, bytes] = {
    "empty_document": b"",
    "not_utf8": b'{"tasks": "\xff"}',
    "invalid_json": b'{"tasks": [],}',
    "not_an_object": b"[]",
    "duplicate_key": b'{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"n": 1, "n": 2}}]}',
    "invalid_number": b'{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"n": NaN}}]}',
    "lone_surrogate": b'{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"n": "\\ud800"}}]}',
    "nested_too_deeply": b'{"tasks": ' + b"[" * 200 + b"]" * 200 + b"}",
    "document_too_large": b'{"tasks": [' + b"," * 5_000_000 + b"]}",
    "missing_field": b'{"tasks": [{"task_id": "a", "agent": "echo"}]}',
    "unknown_field": tasks({"timeout": 5}),
    "invalid_type": tasks({"priority": "1"}),
    "out_of_range": tasks({"retries": 11}),
    "invalid_value": tasks({"run_when": "always"}),
    "conflicting_fields": tasks({"dependencies": [], "depends_on": []}),
    "unprintable_id": tasks({"task_id": "a\tb"}),
    "duplicate_task_id": tasks({}, {}),
    "unknown_dependency": tasks({"task_id": "gen-model"}, {"dependencies": ["gen-modle"]}),
    "self_dependency": tasks({"dependencies": ["a"]}),
    "cycle": tasks({"dependencies": ["b"]}, {"task_id": "b", "dependencies": ["a"]}),
    "invalid_reference": tasks({"input_data": {"x": "${tasks.b}"}}),
    "unknown_reference": tasks({"input_data": {"x": "${tasks.b.output}"}}),
    "self_reference": tasks({"input_data": {"x": "${tasks.a.output}"}}),
    "reference_not_a_dependency": tasks({}, {"task_id": "b", "input_data": {"x": "${tasks.a.output}"}}),
    "unknown_agent": tasks({"agent": "ecko"}),
    "agent_unavailable": tasks({"agent": "gone"}),
    "unknown_limit": tasks({"resources": {"gpu": 1}}),
    "over_capacity": tasks({"resources": {"model": 5}}),
    "path_not_absolute": debug(["api.py"]),
    "path_outside_roots": debug(["/etc/hosts"]),
    "path_too_long": debug(["/tmp/" + "x" * 300]),
    "path_not_text": debug(["/tmp/a\0b"]),
}  # fmt: skip

SETTINGS = b"""
[agents.gone]
command = ["there-is-no-such-program"]

[limits.model]
capacity = 4
"""
"""What the operator defines here."""
