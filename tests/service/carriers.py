"""One request in every form that carries it, and every form of answer as the same arrays."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from httpx2 import Response
from numpy.typing import NDArray

from service.wire.oip import NAMES
from service.wire.safetensors import DTYPES as SAFETENSORS
from tests.service.bodies import BINARY, LENGTH
from tests.service.conftest import JSON, b64

Array = NDArray[Any]
CARRIERS = ("lists", "base64", "safetensors", "oip json", "oip binary")
WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_TO_SAFETENSORS = {dtype: name for name, dtype in SAFETENSORS.items()}
_DTYPES = {"BF16": np.dtype(ml_dtypes.bfloat16)} | {name: np.dtype(d) for d, name in NAMES.items() if name != "BF16"}


@dataclass(frozen=True)
class Body:
    """What is posted."""

    path: str
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


def spelt(value: Any) -> Any:
    """A nested list with words for what JSON has no numbers for."""
    if isinstance(value, list):
        return [spelt(entry) for entry in value]
    return WORDS.get(str(value), value)


def carry(carrier: str, name: str, arrays: Mapping[str, Array], scalars: Mapping[str, Any], dtype: str) -> Body:
    """The request for the loss `name` in the form `carrier`; lists are to be read as `dtype`."""
    if carrier == "lists":
        lists = {key: spelt((array + 0 if array.dtype == bool else array).tolist()) for key, array in arrays.items()}
        return Body(f"/v1/losses/{name}", json.dumps(lists | dict(scalars) | {"dtype": dtype}).encode(), JSON)
    if carrier == "base64":
        typed = {key: b64(array) for key, array in arrays.items()}
        return Body(f"/v1/losses/{name}", json.dumps(typed | dict(scalars)).encode(), JSON)
    if carrier == "safetensors":
        headers = BINARY | {"Accept": BINARY["Content-Type"]}
        return Body(f"/v1/losses/{name}", safetensors(arrays, scalars), headers)
    return infer(name, arrays, scalars, binary=carrier == "oip binary")


def safetensors(arrays: Mapping[str, Array], scalars: Mapping[str, Any]) -> bytes:
    """A safetensors body, written from the format's description."""
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in scalars.items()}
    header: dict[str, Any] = {"__metadata__": text} if text else {}
    reached = 0
    for key, array in arrays.items():
        begin, reached = reached, reached + array.nbytes
        dtype = _TO_SAFETENSORS[array.dtype.name]
        header[key] = {"dtype": dtype, "shape": array.shape, "data_offsets": [begin, reached]}
    said = json.dumps(header).encode()
    return b"".join([len(said).to_bytes(8, "little"), said, *(array.tobytes() for array in arrays.values())])


def infer(
    name: str, arrays: Mapping[str, Array], scalars: Mapping[str, Any], *, binary: bool, size: int = 0, **more: Any
) -> Body:
    """An Open Inference Protocol body, its tensors as JSON data or as bytes, and the answer likewise unless `scalars`
    say otherwise; `more` stands beside the inputs, and the JSON has at least `size` bytes."""
    inputs: list[dict[str, Any]] = []
    for key, array in arrays.items():
        entry = {"name": key, "shape": array.shape, "datatype": NAMES[array.dtype.name]}
        said = {"parameters": {"binary_data_size": array.nbytes}} if binary else {"data": spelt(array.ravel().tolist())}
        inputs.append(entry | said)
    parameters = {"binary_data_output": binary, **scalars}
    text = json.dumps({"inputs": inputs, "parameters": parameters, **more}).encode().ljust(size)
    tail = [array.tobytes() for array in arrays.values()] if binary else []
    headers = {LENGTH: str(len(text))} if binary else JSON
    return Body(f"/v2/models/{name}/infer", b"".join([text, *tail]), headers)


def answered(carrier: str, response: Response) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every array and number of an answer by its name on /v2: dtype, shape, bytes (of one NaN, whichever it was)."""
    assert response.status_code == 200, response.text
    read = {"safetensors": _of_safetensors}.get(carrier, _of_oip if carrier.startswith("oip") else _of_json)
    found = {}
    for name, array in read(response).items():
        plain = np.where(np.isnan(array), np.nan, array).astype(array.dtype)
        found[name] = (array.dtype.name, array.shape, plain.tobytes())
    return found


def _numbers(value: Any, dtype: str) -> Array:
    return np.asarray(np.asarray(value, object).astype(float), dtype)


def _named(dtype: str, loss: Any, reduced: Mapping[str, Any], totals: Mapping[str, Any]) -> dict[str, Array]:
    found = {} if loss is None else {"loss": _numbers([loss], dtype)}
    found |= {f"reduced_{name}": _numbers([value], dtype) for name, value in reduced.items() if value is not None}
    kinds = {name: "int64" if name in ("count", "ignored") else "float64" for name in totals}
    return found | {name: _numbers([total], kinds[name]) for name, total in totals.items()}


def _of_json(response: Response) -> dict[str, Array]:
    answer = response.json()
    named = _named(answer["dtype"], answer["loss"], answer.get("reduced", {}), answer["totals"])
    further = set(answer) - {"loss", "reduction", "reduced", "totals", "dtype"}
    return named | {name: _numbers(answer[name], answer["dtype"]) for name in further}


def _of_safetensors(response: Response) -> dict[str, Array]:
    length = int.from_bytes(response.content[:8], "little")
    header, tail = json.loads(response.content[8 : 8 + length]), response.content[8 + length :]
    said = header.pop("__metadata__")
    found = _named(said["dtype"], said.get("loss"), json.loads(said.get("reduced", "{}")), json.loads(said["totals"]))
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        found[name] = np.frombuffer(tail[begin:end], SAFETENSORS[entry["dtype"]]).reshape(entry["shape"])
    return found


def _of_oip(response: Response) -> dict[str, Array]:
    length = int(response.headers.get(LENGTH, len(response.content)))
    tail, found = response.content[length:], {}
    for output in json.loads(response.content[:length])["outputs"]:
        dtype = _DTYPES[output["datatype"]]
        if "data" in output:
            array = _numbers(output["data"], dtype.name)
        else:
            size = output["parameters"]["binary_data_size"]
            array, tail = np.frombuffer(tail[:size], dtype), tail[size:]
        found[output["name"]] = array.reshape(output["shape"])
    assert not tail
    return found
