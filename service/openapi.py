"""The OpenAPI 3.1 document: FastAPI's own of the plain routes, and one typed operation a loss."""

from collections.abc import Iterable
from typing import Any

from core.declare import Measure
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service import schemas
from service.problems import KINDS

REF = "#/components/schemas/{model}"
DESCRIPTION = """
Losses of batches of logits and targets, with PyTorch's names and PyTorch's numbers, per sample and reduced.

An array is nested lists, or `{"dtype": "float32", "shape": [2, 3], "b64": "..."}`. Non-finite numbers are the strings
`"NaN"`, `"Infinity"` and `"-Infinity"`, in requests and answers. Unknown fields and duplicate keys are refused.
"""
TAGS = [
    {"name": "losses", "description": "One operation a loss."},
    {"name": "catalogue", "description": "What there is."},
    {"name": "operations", "description": "How the service is."},
]
REQUEST_ID = {"X-Request-ID": {"description": "The request's, or a new one.", "schema": {"type": "string"}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of an operation, each a problem document."""
    content = {"application/problem+json": {"schema": {"$ref": REF.format(model="ProblemDocument")}}}
    return {
        str(status): {"description": KINDS[status][1], "headers": REQUEST_ID, "content": content}
        for status in sorted(statuses)
    }


def _operation(measure: Measure, request: str, answer: str) -> dict[str, Any]:
    examples = {
        f"example{number}": {"summary": example.title, "value": dict(example.fields)}
        for number, example in enumerate(measure.examples, 1)
    }
    headers = REQUEST_ID | {
        "Server-Timing": {"description": "Milliseconds of decode, compute, encode.", "schema": {"type": "string"}}
    }
    return {
        "tags": ["losses"],
        "operationId": measure.name,
        "summary": measure.summary,
        "description": measure.doc.strip().partition("\n")[2].strip("\n"),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": request}, "examples": examples}},
        },
        "responses": {
            "200": {
                "description": "The loss.",
                "headers": headers,
                "content": {"application/json": {"schema": {"$ref": answer}}},
            },
            **problems(400, 413, 415, 422, 500, 503),
        },
    }


def document(app: FastAPI, measures: Iterable[Measure]) -> dict[str, Any]:
    """The whole document."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=TAGS,
        license_info=app.license_info,
    )
    pairs = {m.name: (schemas.request_model(m), schemas.answer_model(m)) for m in measures}
    models: list[Any] = [(schemas.ProblemDocument, "serialization")]
    for request, answer in pairs.values():
        models += [(request, "validation"), (answer, "serialization")]
    refs, definitions = models_json_schema(models, ref_template=REF)
    for measure in measures:
        request, answer = pairs[measure.name]
        operation = _operation(measure, refs[request, "validation"]["$ref"], refs[answer, "serialization"]["$ref"])
        made["paths"][f"/v1/losses/{measure.name}"] = {"post": operation}
    made["components"]["schemas"] |= definitions["$defs"]
    return made
