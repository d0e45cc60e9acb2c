"""Whatever carries a batch, lists, base64, safetensors or the Open Inference Protocol, the answer is the same."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from starlette.testclient import TestClient

from core.declare import INDEX_DTYPES, Kind, Measure
from core.measures import MEASURES
from core.rules import Between
from tests import inputs
from tests.service.carriers import CARRIERS, Array, answered, carry, spelt
from tests.service.conftest import JSON, b64

FLOATS = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


def scalars(measure: Measure, rng: np.random.Generator) -> dict[str, Any]:
    """Some options and choices, good ones; the class axis stays where it is."""
    found: dict[str, Any] = {}
    for choice in measure.choices:
        if choice.values:
            found[choice.name] = choice.values[rng.integers(len(choice.values))]
    for option in measure.options:
        bounds = [rule for rule in option.rules if isinstance(rule, Between)]
        found[option.name] = float(rng.random()) if bounds else int(rng.integers(-2, 4))
    return {name: value for name, value in found.items() if rng.random() < 0.7}


def batch(measure: Measure, rng: np.random.Generator, sizes: tuple[int, int], dtype: str) -> dict[str, Array]:
    """Random arrays of the floating type `dtype` and of any integer type, here and there with what is not finite."""
    fields = inputs.request(measure, rng, *sizes, "float64", bool(rng.integers(2)))
    for tensor in measure.tensors:
        if tensor.name not in fields:
            continue
        if tensor.kind is Kind.INDEX:
            kinds = [kind for kind in INDEX_DTYPES if kind != "bool" or fields[tensor.name].max() < 2]
            fields[tensor.name] = fields[tensor.name].astype(kinds[rng.integers(len(kinds))])
            continue
        if not tensor.rules and rng.random() < 0.3:
            odd = rng.random(fields[tensor.name].shape) < 0.2
            fields[tensor.name][odd] = rng.choice([np.nan, np.inf, -np.inf, -0.0], odd.sum())
        # Halves do not sum to 1 within 1e-4.
        exact = measure.name == "distribution_cross_entropy" and dtype in ("float16", "bfloat16")
        fields[tensor.name] = fields[tensor.name].astype(FLOATS["float32" if exact else dtype])
    return fields


@settings(max_examples=250)
@given(
    measure=st.sampled_from(list(MEASURES.values())),
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(list(FLOATS)),
)
def test_every_carrier_has_the_same_answer(
    client: TestClient, measure: Measure, seed: int, sizes: tuple[int, int], dtype: str
) -> None:
    rng = np.random.default_rng(seed)
    arrays, options = batch(measure, rng, sizes, dtype), scalars(measure, rng)
    found = {}
    for carrier in CARRIERS:
        body = carry(carrier, measure.name, arrays, options, "float64" if dtype == "float64" else "float32")
        found[carrier] = answered(carrier, client.post(body.path, content=body.content, headers=body.headers))
    for carrier in CARRIERS[1:]:
        assert found[carrier] == found["lists"], carrier


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=4, max_side=4), elements=st.floats(width=64)))
def test_any_floats_go_in_and_out_unchanged(client: TestClient, array: Any) -> None:
    """log_probabilities against targets of 1 with log 1 = 0: the per-sample values are the numbers sent, negated."""
    arrays = {"log_probabilities": array, "targets": np.ones_like(array)}
    want = ("float64", array.shape, np.where(np.isnan(array), np.nan, 0.0 - array).tobytes())
    for carrier in CARRIERS:
        body = carry(carrier, "kl_div", arrays, {}, "float64")
        response = client.post(body.path, content=body.content, headers=body.headers)
        assert answered(carrier, response)["per_sample"] == want, carrier


def test_lists_beside_base64_take_its_dtype(client: TestClient) -> None:
    array = np.random.default_rng(1).normal(size=(4, 3))
    mixed = {"logits": b64(array), "targets": [0, 1, 2, 0], "weight": [0.1, 0.2, 0.3]}
    lists = mixed | {"logits": spelt(array.tolist()), "dtype": "float64"}
    bodies = [json.dumps(fields) for fields in (mixed, lists)]
    first, second = [client.post("/v1/losses/cross_entropy", content=body, headers=JSON) for body in bodies]
    assert first.status_code == 200
    assert first.content == second.content


@pytest.mark.parametrize("space", ["", " ", "\n\t \r"])
def test_white_space_and_member_order_change_nothing(client: TestClient, space: str) -> None:
    first = f'{{"logits"{space}:{space}[{space}[1{space},"NaN"],[3,4]]{space},"targets":[0,1]}}{space}'
    second = '{"targets":[0,1],"logits":[[1.0,"NaN"],[3e0,0.4E1]]}'
    found = [client.post("/v1/losses/cross_entropy", content=body, headers=JSON) for body in (first, second)]
    assert found[0].status_code == 200
    assert found[0].content == found[1].content
