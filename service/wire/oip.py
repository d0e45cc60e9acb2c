"""Open Inference Protocol answers, and the names that requests and answers share; service.wire.oip_request reads.

An answer is a JSON header, then the bytes of the outputs that it says are binary.
Source: the Open Inference Protocol's REST specification and its binary tensor data extension.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from core.declare import Measure
from core.reduction import Result
from core.rules import Array

from service.wire.tables import table
from service.wire.writer import array, dump, require_room, too_long

VERSION = "1"
DATATYPES = {
    "BOOL": "bool",
    **{f"{kind.upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float32",
    "FP64": "float64",
}
NAMES = {dtype: datatype for datatype, dtype in DATATYPES.items()}
_ANSWERED = {np.dtype(dtype): NAMES[dtype] for dtype in ("float32", "float64", "int64")}


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded request: its fields by name, and how it wants to be answered: output names, each binary or not, and
    within how many microseconds, 0 for as long as it takes."""

    fields: dict[str, Any]
    id: str | None
    outputs: dict[str, bool]
    timeout: int


def outputs(measure: Measure) -> dict[str, str]:
    """The datatype of every output of `measure` in their order, the arrays per sample first."""
    return table(measure).outputs


def absent_outputs(measure: Measure, reduction: object) -> set[str]:
    """The outputs that are not answered under `reduction`."""
    return {"loss", *(f"reduced_{name}" for name in measure.outputs[1:])} if reduction == "none" else set()


def require_output_room(wanted: dict[str, bool], measure: Measure, samples: tuple[int, ...], limit: int) -> None:
    """Raise Problem if the per-sample values that are wanted as JSON cannot be written in `limit` bytes."""
    lists = [name for name in measure.outputs if wanted.get(name) is False]
    require_room([(math.prod(samples),)] * len(lists), limit)


def encode(
    request_id: str | None, wanted: dict[str, bool], measure: Measure, result: Result, limit: int
) -> tuple[bytes, int | None]:
    """The answer with the outputs that are `wanted`, each as bytes or not, and how many of its bytes are JSON if there
    are others. Raises Problem where that passes `limit`."""
    entries: list[dict[str, Any]] = []
    tail: list[Any] = []
    for name, binary in wanted.items():
        output = _output(result, name)
        entry: dict[str, Any] = {"name": name, "shape": output.shape, "datatype": _ANSWERED[output.dtype]}
        if binary:
            entry["parameters"] = {"binary_data_size": output.nbytes}
            tail.append(output)
        else:
            entry["data"] = array(output.reshape(-1))
        entries.append(entry)
    answer: dict[str, Any] = {"model_name": measure.name, "model_version": VERSION}
    if request_id is not None:
        answer["id"] = request_id
    text = dump(answer | {"outputs": entries})
    if len(text) > limit:
        raise too_long(limit)
    return (b"".join([text, *tail]), len(text)) if tail else (text, None)


def _output(result: Result, name: str) -> Array:
    """One output as an array."""
    if name in result.outputs:
        return result.outputs[name]
    if name in result.totals:
        total = result.totals[name]
        return np.array([total], np.int64 if isinstance(total, int) else np.float64)
    return np.array([result.loss if name == "loss" else result.reduced[name.removeprefix("reduced_")]])
