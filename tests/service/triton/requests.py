"""How these tests ask, by Triton's clients and by hand, and what they check of an answer."""

import http.client
import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from core.declare import Measure
from core.engine import Engine
from core.measures import find
from core.reduction import Result
from tests import inputs
from tests.service.bodies import LENGTH

Array = NDArray[Any]
PATH = "/v2/models/cross_entropy"
FORMS = list(product((True, False), (True, False)))  # of inputs and of outputs, each binary or not
FLOATS: dict[str, Any] = {"FP16": np.float16, "BF16": ml_dtypes.bfloat16, "FP32": np.float32, "FP64": np.float64}
CODINGS = (None, "gzip", "deflate")


def random_fields(measure: Measure, **more: Any) -> dict[str, Array]:
    return inputs.request(measure, np.random.default_rng(1), **more)


def a_hundred_megabytes() -> dict[str, Array]:
    """A batch for cross_entropy with 25 million logits."""
    logits = np.arange(25_000_000, dtype=np.float32).reshape(250, -1)
    logits %= 1021
    assert logits.nbytes == 10**8
    return {"logits": logits, "targets": np.arange(250)}


def tensor(name: str, array: Array, *, binary: bool = True) -> Any:
    """An input, as bytes or as JSON."""
    made = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array, binary_data=binary)


def tensors(fields: Mapping[str, Array], *, binary: bool = True) -> list[Any]:
    """Inputs, all as bytes or all as JSON."""
    return [tensor(name, array, binary=binary) for name, array in fields.items()]


def asked(outputs: Mapping[str, object], *, binary: bool | None = True) -> list[Any] | None:
    """These outputs, all as bytes or all as JSON; None leaves it to the client."""
    return None if binary is None else [InferRequestedOutput(name, binary_data=binary) for name in outputs]


def every_form_and_coding(fields: Mapping[str, Array], outputs: Mapping[str, object]) -> Iterator[tuple[Any, bool]]:
    """The arguments of `infer` for inputs in both forms, outputs in both and as the client asks for them unasked, both
    compressed or not; and whether the outputs must then be binary."""
    for binary, form, sent, back in product((True, False), (None, True, False), CODINGS, CODINGS):
        arguments = {
            "inputs": tensors(fields, binary=binary),
            "outputs": asked(outputs, binary=form),
            "request_compression_algorithm": sent,
            "response_compression_algorithm": back,
        }
        yield arguments, form is not False


def outputs_of(result: Result) -> dict[str, Array]:
    """Every output that the protocol has for `result`, in their order."""
    found = dict(result.outputs)
    if result.loss is not None:
        found["loss"] = np.array([result.loss])
    found |= {f"reduced_{name}": np.array([value]) for name, value in result.reduced.items()}
    for name, total in result.totals.items():
        found[name] = np.array([total], np.int64 if name in ("count", "ignored") else np.float64)
    return found


def check(answer: Any, wanted: Mapping[str, Array], *, binary: bool | Mapping[str, bool] = True) -> None:
    """The outputs of an answer have the names, order, form, types, shapes and bits that they must have."""
    entries = answer.get_response()["outputs"]
    assert [entry["name"] for entry in entries] == list(wanted)
    for entry, (name, want) in zip(entries, wanted.items(), strict=True):
        as_bytes = binary if isinstance(binary, bool) else binary[name]
        assert ("data" in entry, "parameters" in entry) == (not as_bytes, as_bytes), name
        found = answer.as_numpy(name)
        assert (found.dtype, found.shape) == (want.dtype, want.shape), name
        assert bits(found) == bits(want), (name, found, want)


def bits(array: Array) -> bytes:
    """The bytes of an array, with one NaN for all of them."""
    floats = array.dtype.kind == "f"
    return (np.where(np.isnan(array), array.dtype.type(np.nan), array) if floats else array).tobytes()


def computed(engine: Engine, name: str, fields: Mapping[str, Any]) -> dict[str, Array]:
    return outputs_of(engine.compute(find(name), fields))


def exchange(
    address: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any, bytes]:
    """The status, headers and body of an answer, as plain HTTP has them."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


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
