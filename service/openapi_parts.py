"""What the operations of the OpenAPI document have in common: failures, headers, binary bodies."""

from typing import Any

from service.negotiation import JSON
from service.problems import KINDS

REF = "#/components/schemas/{model}"
REQUEST_ID = {"X-Request-ID": {"description": "The request's, or a new one.", "schema": {"type": "string"}}}
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
REQUEST_HEADERS: list[dict[str, Any]] = [
    {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Echoed in the answer if it is at most 128 visible ASCII characters.",
        "schema": {"type": "string"},
    },
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "Seconds, decimal, in which an answer is of use; after them it is a 503 and work is left.",
        "schema": {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"},
    },
]
SAFETENSORS = {
    "schema": BINARY
    | {
        "description": "safetensors, under the name application/x-safetensors or this one: arrays under"
        " the inputs' names, everything else as text in __metadata__."
    }
}
COMPUTED = {
    "Server-Timing": {"description": "Milliseconds of decode, compute, encode.", "schema": {"type": "string"}},
    "Lossmeter-Device": {"description": "Device that computed.", "schema": {"type": "string", "enum": ["cpu", "cuda"]}},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of an operation, each a problem document."""
    content = {"application/problem+json": {"schema": {"$ref": REF.format(model="ProblemDocument")}}}
    return {
        str(status): {
            "description": KINDS[status][1],
            "headers": REQUEST_ID | (RETRY_AFTER if status == 503 else {}),
            "content": content,
        }
        for status in sorted(statuses)
    }


def oip_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same on /v2, where they are plain JSON."""
    found = problems(*statuses)
    for answer in found.values():
        answer["content"] = {JSON: answer["content"]["application/problem+json"]}
    return found
