"""However a batch is written, nested lists or base64, the answer has the same bytes."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from starlette.testclient import TestClient

from core.declare import Measure
from core.measures import MEASURES
from tests import inputs
from tests.service.conftest import JSON, b64

WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def spelt(value: Any) -> Any:
    """A nested list with words for what JSON has no numbers for."""
    if isinstance(value, list):
        return [spelt(entry) for entry in value]
    return WORDS.get(str(value), value)


def content(client: TestClient, name: str, fields: dict[str, Any]) -> bytes:
    response = client.post(f"/v1/losses/{name}", content=json.dumps(fields), headers=JSON)
    assert response.status_code == 200, response.text
    return response.content


@settings(deadline=None, max_examples=60)
@given(
    measure=st.sampled_from(list(MEASURES.values())),
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 9),
    classes=st.integers(1, 9),
    dtype=st.sampled_from(["float32", "float64"]),
    optional=st.booleans(),
)
def test_lists_and_base64_give_the_same_bytes(
    client: TestClient, measure: Measure, seed: int, samples: int, classes: int, dtype: str, optional: bool
) -> None:
    fields = inputs.request(measure, np.random.default_rng(seed), samples, classes, dtype, optional)
    lists = {name: array.tolist() for name, array in fields.items()}
    typed = {name: b64(array) for name, array in fields.items()}
    found = content(client, measure.name, lists | {"dtype": dtype})
    assert found == content(client, measure.name, typed)
    assert found == content(client, measure.name, typed | dict(list(lists.items())[1:]) | {"dtype": dtype})


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=4, max_side=4), elements=st.floats(width=64)))
def test_any_floats_go_in_and_out_unchanged(client: TestClient, array: Any) -> None:
    """log_probabilities against targets of 1 with log 1 = 0: the per-sample values are the numbers sent, negated."""
    name, ones = "kl_div", np.ones_like(array)
    lists = {"log_probabilities": spelt(array.tolist()), "targets": ones.tolist(), "dtype": "float64"}
    found = content(client, name, lists)
    assert found == content(client, name, {"log_probabilities": b64(array), "targets": b64(ones)})
    assert json.loads(found)["per_sample"] == spelt((0.0 - array).tolist())


@pytest.mark.parametrize("space", ["", " ", "\n\t \r"])
def test_white_space_and_member_order_change_nothing(client: TestClient, space: str) -> None:
    first = f'{{"logits"{space}:{space}[{space}[1{space},"NaN"],[3,4]]{space},"targets":[0,1]}}{space}'
    second = '{"targets":[0,1],"logits":[[1.0,"NaN"],[3e0,0.4E1]]}'
    found = [client.post("/v1/losses/cross_entropy", content=body, headers=JSON) for body in (first, second)]
    assert found[0].status_code == 200
    assert found[0].content == found[1].content
