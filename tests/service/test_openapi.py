"""The OpenAPI document: valid, typed, true of what the service answers."""

from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from core.declare import Choice, Measure, Tensor
from core.measures import MEASURES
from core.reports.tasks import TASKS
from core.rules import Between
from tests import inputs
from tests.service.conftest import JSON, b64

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document(client: TestClient) -> Document:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    found: Document = response.json()
    return found


def operation(document: Document, measure: Measure) -> Document:
    found: Document = document["paths"][f"/v1/losses/{measure.name}"]["post"]
    return found


def content(document: Document, measure: Measure) -> Document:
    found: Document = operation(document, measure)["requestBody"]["content"]
    return found


def validator(document: Document, schema: Document) -> Draft202012Validator:
    return Draft202012Validator(schema | {"components": document["components"]})


def request_validator(document: Document, measure: Measure) -> Draft202012Validator:
    return validator(document, content(document, measure)["application/json"]["schema"])


def answer_validator(document: Document, measure: Measure, status: str = "200") -> Draft202012Validator:
    kind = "application/json" if status == "200" else "application/problem+json"
    return validator(document, operation(document, measure)["responses"][status]["content"][kind]["schema"])


def schema_of(document: Document, measure: Measure) -> Document:
    name = content(document, measure)["application/json"]["schema"]["$ref"].rpartition("/")[2]
    found: Document = document["components"]["schemas"][name]
    return found


def references(schema: Any) -> set[str]:
    """The components that a schema refers to."""
    if isinstance(schema, list):
        return {name for entry in schema for name in references(entry)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].rpartition("/")[2]} if "$ref" in schema else set()
    return own | {name for entry in schema.values() for name in references(entry)}


def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_no_schema_refers_to_itself(document: Document) -> None:
    schemas = document["components"]["schemas"]

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"{name} refers to itself by {above}"
        for below in references(schemas[name]):
            walk(below, (*above, name))

    for name in schemas:
        walk(name, ())


def test_every_component_is_used(document: Document) -> None:
    everywhere = references(document["paths"]) | references(document["components"]["schemas"])
    assert set(document["components"]["schemas"]) == everywhere


def test_operation_ids_are_unique(document: Document) -> None:
    ids = [op["operationId"] for path in document["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids))
    assert set(MEASURES) <= set(ids)


def test_every_route_and_no_other_is_in_the_document(document: Document) -> None:
    plain = {"/v1/losses", "/v1/losses/{name}", "/v1/losses/{name}/graph", "/v1/info", "/livez", "/readyz", "/metrics"}
    models = {f"/v2/models/{{name}}{more}" for more in ("", "/ready", "/config", "/stats", "/infer")}
    server = {"/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/stats", "/v2/repository/index"}
    reports = {"/v1/reports", "/v1/reports/{name}", "/v1/reports/merge"} | {f"/v1/reports/{name}" for name in TASKS}
    assert set(document["paths"]) == plain | models | server | reports | {f"/v1/losses/{name}" for name in MEASURES}


def test_every_operation_says_what_any_request_may_meet(document: Document) -> None:
    """A head that is late, too long or too large, a version or coding that is not spoken."""
    for path, operations in document["paths"].items():
        kind = "application/json" if path.startswith("/v2") else "application/problem+json"
        for operation in operations.values():
            for status in ("400", "408", "414", "431", "500", "501", "503", "505"):
                assert list(operation["responses"][status]["content"]) == [kind], (path, status)
            assert "Retry-After" in operation["responses"]["503"]["headers"]


def test_each_loss_is_one_operation_with_json_first(document: Document, measure: Measure) -> None:
    found = operation(document, measure)
    assert found["summary"] == measure.summary
    assert found["requestBody"]["required"] is True
    assert next(iter(found["requestBody"]["content"])) == "application/json"
    assert {"200", "400", "413", "415", "422", "500", "503"} <= set(found["responses"])
    assert set(found["responses"]["200"]["headers"]) >= {"X-Request-ID", "Server-Timing"}


def test_the_fields_are_the_declarations(document: Document, measure: Measure) -> None:
    schema = schema_of(document, measure)
    assert set(schema["properties"]) == {*measure.names, "per_sample", "dtype"}
    assert set(schema["required"]) == {tensor.name for tensor in measure.inputs if tensor.required}
    assert schema["additionalProperties"] is False
    for name, field in schema["properties"].items():
        assert field["description"], name


def test_defaults_and_ranges_are_there_and_defaults_are_valid(document: Document, measure: Measure) -> None:
    properties = schema_of(document, measure)["properties"]
    scalars: list[Tensor | Choice] = [*measure.options, *measure.choices]
    for scalar in scalars:
        assert properties[scalar.name]["default"] == scalar.default
    for option in measure.options:
        for rule in option.rules:
            assert isinstance(rule, Between)
            assert (properties[option.name]["minimum"], properties[option.name]["maximum"]) == (rule.low, rule.high)
    for choice in measure.choices:
        if choice.values and not isinstance(choice.default, bool):
            assert properties[choice.name]["enum"] == list(choice.values)
    for name, field in properties.items():
        if "default" in field:
            assert validator(document, field).is_valid(field["default"]), f"the default of {name} is not a {name}"


def test_every_example_answers_as_sent_and_as_described(
    client: TestClient, document: Document, measure: Measure
) -> None:
    examples = content(document, measure)["application/json"]["examples"]
    assert len(examples) == len(measure.examples)
    for example in examples.values():
        request_validator(document, measure).validate(example["value"])
        response = client.post(f"/v1/losses/{measure.name}", json=example["value"])
        assert response.status_code == 200, response.text
        answer_validator(document, measure).validate(response.json())


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("per_sample", [True, False])
def test_every_form_of_answer_is_described(
    client: TestClient, document: Document, measure: Measure, reduction: str, per_sample: bool
) -> None:
    for samples in (0, 3):
        fields = inputs.request(measure, np.random.default_rng(5), samples=samples, dtype="float64")
        body = {name: b64(array) for name, array in fields.items()} | {"reduction": reduction, "per_sample": per_sample}
        request_validator(document, measure).validate(body)
        response = client.post(f"/v1/losses/{measure.name}", json=body)
        assert response.status_code == 200, response.text
        answer_validator(document, measure).validate(response.json())
        lists = {name: array.tolist() for name, array in fields.items()}
        request_validator(document, measure).validate(lists)


def test_non_finite_words_and_single_samples_are_described(client: TestClient, document: Document) -> None:
    measure = MEASURES["cross_entropy"]
    for logits, targets in (
        (["NaN", 1], 0),
        (["Infinity", 0], [0]),
        ([["-Infinity", 1]], [0]),
        ([[[["NaN"]], [[0]]]], [[[1]]]),
    ):
        body = {"logits": logits, "targets": targets}
        request_validator(document, measure).validate(body)
        response = client.post("/v1/losses/cross_entropy", json=body)
        assert response.status_code == 200, response.text
        answer_validator(document, measure).validate(response.json())


@pytest.mark.parametrize(
    "change",
    [
        {"unheard": 1},
        {"reduction": "median"},
        {"reduction": None},
        {"label_smoothing": 2},
        {"label_smoothing": "0"},
        {"label_smoothing": True},
        {"ignore_index": 0.5},
        {"targets": [0.5]},
        {"targets": ["0"]},
        {"logits": [[True]]},
        {"weight": None},
        {"per_sample": "yes"},
        {"dtype": "float16"},
        {"logits": [["nan", 0]]},
        {"logits": None},
        {"logits": {"dtype": "int32", "shape": [1, 1], "b64": "AAAAAA=="}},
        {"logits": {"dtype": "float32", "shape": [1]}},
        {"logits": {"dtype": "float32", "shape": [-1], "b64": ""}},
        {"targets": ...},
    ],
)
def test_what_the_schema_can_refuse_both_refuse(client: TestClient, document: Document, change: dict[str, Any]) -> None:
    body = {name: value for name, value in ({"logits": [[1, 2]], "targets": [0]} | change).items() if value is not ...}
    assert not request_validator(document, MEASURES["cross_entropy"]).is_valid(body)
    response = client.post("/v1/losses/cross_entropy", json=body)
    assert response.status_code == 422
    answer_validator(document, MEASURES["cross_entropy"], "422").validate(response.json())


def test_other_failures_are_described(client: TestClient, document: Document) -> None:
    measure = MEASURES["cross_entropy"]
    for status, body, headers in ((400, b"{", JSON), (415, b"{}", {})):
        response = client.post("/v1/losses/cross_entropy", content=body, headers=headers)
        assert response.status_code == status
        assert response.headers["Content-Type"] in operation(document, measure)["responses"][str(status)]["content"]
        answer_validator(document, measure, str(status)).validate(response.json())


def test_the_plain_routes_answer_as_described(client: TestClient, document: Document) -> None:
    for path in ("/v1/losses", "/v1/losses/{name}", "/v1/info", "/livez", "/readyz"):
        media = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        response = client.get(path.replace("{name}", "kl_div"))
        validator(document, media["schema"]).validate(response.json())


def test_a_document_is_made_once(client: TestClient) -> None:
    assert client.get("/openapi.json").content == client.get("/openapi.json").content
