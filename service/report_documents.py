"""The OpenAPI document of reports: one typed operation a task, and the merge."""

from collections.abc import Iterable
from typing import Any

from core.reports.declare import Task
from pydantic.json_schema import models_json_schema

from service import openapi_parts as parts
from service import report_schemas
from service.negotiation import BYTES, JSON
from service.negotiation import SAFETENSORS as SAFETENSORS_TYPE

STATES: dict[str, Any] = {"schema": parts.BINARY | {"description": "States, one after another."}}
STATE: dict[str, Any] = {"schema": parts.BINARY | {"description": "The state alone, with or without `state`."}}
REPORT: dict[str, Any] = {
    "schema": parts.BINARY
    | {"description": "safetensors: columns as tensors; in __metadata__ the report as JSON text, dtype, the state."}
}
MERGE_DOC = """
Add the states of reports on one task, with the same options, to that of all their samples, exactly and in any order,
and answer the report of it. A list alone means the same as `{"states": [...]}`. States with samples in common are
refused as far as their shards' names say.
"""


def _operation(name: str, tag: str, summary: str, doc: str, body: dict[str, Any], answer: Any) -> dict[str, Any]:
    return {
        "tags": [tag],
        "operationId": name,
        "parameters": parts.REQUEST_HEADERS,
        "summary": summary,
        "description": doc,
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {
                "description": "The report.",
                "headers": parts.REQUEST_ID | parts.COMPUTED,
                "content": {JSON: {"schema": answer}, SAFETENSORS_TYPE: REPORT, BYTES: STATE},
            },
            **parts.problems(400, 413, 415, 422, 500, 503),
        },
    }


def _of_task(task: Task, request: dict[str, str], answer: dict[str, str]) -> dict[str, Any]:
    examples = {"example1": {"summary": task.summary, "value": dict(task.example)}}
    body = {JSON: {"schema": request, "examples": examples}, BYTES: parts.SAFETENSORS}
    doc = task.doc.strip().partition("\n")[2].strip("\n")
    return _operation(f"report_{task.name}", "reports", task.summary, doc, body, answer)


def add(made: dict[str, Any], tasks: Iterable[Task]) -> None:
    """Add the operations of reports, and their schemas, to a document."""
    tasks = list(tasks)
    pairs = {task.name: (report_schemas.request_model(task), report_schemas.answer_model(task)) for task in tasks}
    merge: Any = (report_schemas.MergeRequest, "validation")
    models: list[Any] = [merge]
    for request, answer in pairs.values():
        models += [(request, "validation"), (answer, "serialization")]
    refs, definitions = models_json_schema(models, ref_template=parts.REF)
    for task in tasks:
        request, answer = pairs[task.name]
        operation = _of_task(task, refs[request, "validation"], refs[answer, "serialization"])
        made["paths"][f"/v1/reports/{task.name}"] = {"post": operation}
    answers = {"oneOf": [refs[answer, "serialization"] for _, answer in pairs.values()]}
    body = {JSON: {"schema": refs[merge]}, BYTES: STATES}
    operation = _operation("merge_reports", "reports", "The report of merged states.", MERGE_DOC.strip(), body, answers)
    made["paths"]["/v1/reports/merge"] = {"post": operation}
    made["components"]["schemas"] |= definitions["$defs"]
