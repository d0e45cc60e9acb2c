"""The OpenAPI 3.1 document: FastAPI's own of the plain routes, and one typed operation a loss and a report."""

from collections.abc import Iterable, Mapping
from typing import Any

from core.declare import Measure
from core.reports.declare import Task
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service import oip_documents, report_documents, schemas
from service.guard import PROBES
from service.negotiation import BYTES, INFERENCE_LENGTH, JSON
from service.negotiation import SAFETENSORS as SAFETENSORS_TYPE
from service.openapi_parts import (
    BINARY,
    COMPUTED,
    REF,
    REQUEST_HEADERS,
    REQUEST_ID,
    SAFETENSORS,
    oip_problems,
    problems,
)

DESCRIPTION = """
Losses of batches of logits and targets, with PyTorch's names and PyTorch's numbers, per sample and reduced. Reports of
batches: every metric of a task, with scikit-learn's numbers, and a state that merges with others' exactly.

An array is nested lists, or `{"dtype": "float32", "shape": [2, 3], "b64": "..."}`. Non-finite numbers are the strings
`"NaN"`, `"Infinity"` and `"-Infinity"`, in requests and answers. Unknown fields and duplicate keys are refused.

Programs send tensors as bytes: safetensors to the same paths, or the Open Inference Protocol under `/v2`.
"""
TAGS = [
    {"name": "losses", "description": "One operation a loss."},
    {"name": "reports", "description": "One operation a task: all its metrics in one pass, and states that merge."},
    {"name": "catalogue", "description": "What there is."},
    {"name": "operations", "description": "How the service is."},
    {"name": "open inference protocol", "description": "The losses as models, for the clients of Triton and KServe."},
]
# What any request may meet, whatever it asks: a head or framing that is broken, late, too large or not spoken.
OF_THE_WIRE = (400, 408, 414, 431, 500, 501, 503, 505)


def _operation(measure: Measure, request: str, answer: str) -> dict[str, Any]:
    examples = {
        f"example{number}": {"summary": example.title, "value": dict(example.fields)}
        for number, example in enumerate(measure.examples, 1)
    }
    return {
        "tags": ["losses"],
        "operationId": measure.name,
        "parameters": REQUEST_HEADERS,
        "summary": measure.summary,
        "description": measure.doc.strip().partition("\n")[2].strip("\n"),
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"$ref": request}, "examples": examples},
                # application/x-safetensors means the same; client generators know only this name.
                BYTES: SAFETENSORS,
            },
        },
        "responses": {
            "200": {
                "description": "The loss.",
                "headers": REQUEST_ID | COMPUTED,
                "content": {
                    JSON: {"schema": {"$ref": answer}},
                    SAFETENSORS_TYPE: SAFETENSORS,
                },
            },
            **problems(400, 413, 415, 422, 500, 503),
        },
    }


def _infer(request: str, answer: str, example: Mapping[str, Any]) -> dict[str, Any]:
    length = {"schema": {"type": "integer"}, "description": "How many bytes of the body are JSON; all, if left out."}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    tail = {"schema": BINARY | {"description": "The JSON document, then the bytes of its binary tensors."}}
    return {
        "tags": ["open inference protocol"],
        "operationId": "infer",
        "summary": "The loss of one batch.",
        "parameters": [name, {"name": INFERENCE_LENGTH, "in": "header", **length}],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"$ref": request}, "example": example},
                BYTES: tail,
            },
        },
        "responses": {
            "200": {
                "description": "The outputs.",
                "headers": REQUEST_ID | COMPUTED | {INFERENCE_LENGTH: length},
                "content": {JSON: {"schema": {"$ref": answer}}, BYTES: tail},
            },
            **oip_problems(400, 404, 413, 415, 500, 503),
        },
    }


INFER_EXAMPLE = {
    "inputs": [
        {"name": "logits", "shape": [2, 3], "datatype": "FP32", "data": [2.0, 0.5, -1.0, 0.1, 0.2, 0.3]},
        {"name": "targets", "shape": [2], "datatype": "INT64", "data": [0, 2]},
    ],
    "parameters": {"reduction": "mean"},
}


def _drop_validation_errors(made: dict[str, Any]) -> None:
    """Take out FastAPI's own 422: what is not a problem document is never answered."""
    for operations in made["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)


def _add_wire_problems(made: dict[str, Any]) -> None:
    """Give every operation the failures that any request may meet."""
    for path, operations in made["paths"].items():
        found = (oip_problems if path.startswith("/v2") else problems)(*OF_THE_WIRE)
        for operation in operations.values():
            operation["responses"] = dict(sorted((found | operation["responses"]).items()))


def _require_key(made: dict[str, Any]) -> None:
    """Say of every operation but the probes that it needs an API key."""
    made["security"] = [{"bearer": []}, {"key": []}]
    made["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, in another header."},
    }
    for path, operations in made["paths"].items():
        refused = (oip_problems if path.startswith("/v2") else problems)(401)
        for operation in operations.values():
            if path in PROBES:
                operation["security"] = []
            else:
                operation["responses"] |= refused


def document(
    app: FastAPI, measures: Iterable[Measure], tasks: Iterable[Task], *, guarded: bool = False
) -> dict[str, Any]:
    """The whole document; `guarded` where API keys are set."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=TAGS,
        license_info=app.license_info,
    )
    _drop_validation_errors(made)
    pairs = {m.name: (schemas.request_model(m), schemas.answer_model(m)) for m in measures}
    infer: Any = (oip_documents.InferRequest, "validation"), (oip_documents.InferAnswer, "serialization")
    models: list[Any] = [(schemas.ProblemDocument, "serialization"), *infer]
    for request, answer in pairs.values():
        models += [(request, "validation"), (answer, "serialization")]
    refs, definitions = models_json_schema(models, ref_template=REF)
    for measure in measures:
        request, answer = pairs[measure.name]
        operation = _operation(measure, refs[request, "validation"]["$ref"], refs[answer, "serialization"]["$ref"])
        made["paths"][f"/v1/losses/{measure.name}"] = {"post": operation}
    asked, answered = (refs[key]["$ref"] for key in infer)
    made["paths"]["/v2/models/{name}/infer"] = {"post": _infer(asked, answered, INFER_EXAMPLE)}
    made["components"]["schemas"] |= definitions["$defs"]
    report_documents.add(made, tasks)
    _add_wire_problems(made)
    if guarded:
        _require_key(made)
    return made
