"""What pydantic knows of the request: the constrained types of its fields.

Imported when schemas and validators are generated, and by type checkers; never by a run.
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from dispatch_runner.models import request

_PRINTABLE = r"^(?=.*\S)[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+$"
_UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

# The patterns are for the JSON Schema only: pre-flight checks the same with better words.
TaskId = Annotated[
    str, Field(min_length=1, max_length=200, json_schema_extra={"pattern": _PRINTABLE})
]
CorrelationId = Annotated[str, Field(json_schema_extra={"format": "uuid", "pattern": _UUID})]
Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[int, Field(ge=1)]
Cost = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Retries = Annotated[int, Field(ge=0, le=10)]
Workers = Annotated[int, Field(ge=1, le=10_000)]
Tasks = Annotated[list[request.Task], Field(min_length=1)]

_TYPES = {
    "TaskId": TaskId,
    "CorrelationId": CorrelationId,
    "Text": Text,
    "Seconds": Seconds,
    "Amount": Amount,
    "Cost": Cost,
    "Retries": Retries,
    "Workers": Workers,
    "Tasks": Tasks,
}


def adapter(kind: Any) -> TypeAdapter[Any]:
    """Pydantic's view of a document."""
    # `request` names these types for type checkers only; pydantic looks them up in its namespace
    vars(request).update(_TYPES)
    return TypeAdapter(kind)
