"""How these tests ask, by Triton's client and by hand."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np

from core.declare import Measure
from core.engine import Engine
from core.measures import find
from tests import inputs
from tests.service.live import (
    LENGTH,
    Array,
    exchange,
    outputs_of,
)

PATH = "/v2/models/cross_entropy"
INFER = f"{PATH}/infer"
FORMS = list(product((True, False), (True, False)))  # of inputs and of outputs, each binary or not
FLOATS: dict[str, Any] = {"FP16": np.float16, "BF16": ml_dtypes.bfloat16, "FP32": np.float32, "FP64": np.float64}
INTEGERS = [f"{sign}int{size}" for sign in ("", "u") for size in (8, 16, 32, 64)]


def random_fields(measure: Measure, **more: Any) -> dict[str, Array]:
    return inputs.request(measure, np.random.default_rng(1), **more)


def computed(engine: Engine, name: str, fields: Mapping[str, Any]) -> dict[str, Array]:
    return outputs_of(engine.compute(find(name), fields))


def document(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)
    return found


def by_hand(address: str, name: str, given: Mapping[str, tuple[str, Any]], **more: Any) -> tuple[Any, bytes]:
    """The outputs in an answer and the bytes after them; the inputs, datatypes and nested lists, go as JSON."""
    entries = [
        {"name": key, "shape": np.shape(data), "datatype": datatype, "data": data}
        for key, (datatype, data) in given.items()
    ]
    body = json.dumps({"inputs": entries, **more}).encode()
    status, headers, content = exchange(address, "POST", f"/v2/models/{name}/infer", body)
    assert status == 200, content
    length = int(headers[LENGTH] or len(content))
    return document(content[:length])["outputs"], content[length:]
