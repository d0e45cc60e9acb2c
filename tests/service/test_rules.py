"""Every rule of every measure, broken in a request, answers 422 and points to the input."""

from typing import Any

import numpy as np
from starlette.testclient import TestClient

from core.declare import Measure
from tests import inputs
from tests.service.conftest import ask, b64, problem


def body(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: b64(value) if isinstance(value, np.ndarray) else value for name, value in fields.items()}


def test_a_broken_rule_answers_422_and_names_the_input(client: TestClient, measure: Measure) -> None:
    rng = np.random.default_rng(17)
    broken = 0
    for tensor in measure.inputs:
        for rule in tensor.rules:
            fields = inputs.request(measure, rng)
            ask(client, measure.name, body(fields))
            wrong = rule.broken(np.asarray(fields.get(tensor.name, tensor.default)))
            fields[tensor.name] = wrong.item() if tensor.is_option else wrong
            refusal = problem(client.post(f"/v1/losses/{measure.name}", json=body(fields)), 422)
            (error,) = refusal["errors"]
            assert error["pointer"].split("/")[1] == tensor.name
            assert tensor.name in error["detail"]
            broken += 1
    assert broken == sum(len(tensor.rules) for tensor in measure.inputs)
