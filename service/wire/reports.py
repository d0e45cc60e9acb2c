"""Reports as JSON and as safetensors: documents whose arrays are written without becoming Python lists."""

import base64
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np
from core.rules import Array
from orjson import Fragment

from service.problems import Problem
from service.wire import safetensors
from service.wire.writer import array, dump, least, number, require_room, too_long

ADVICE = (
    "ask for fewer groups, worst, bins or averages (per_class), or for columns, confusion and state in a binary answer"
)
MOST_TEXT = 10**8  # bytes that readers of safetensors take as a header


@dataclass(slots=True)
class Found:
    """What a report answers: the `document` of core.reports.report, "" as `dtype` if there is none; the columns and
    the state where they are wanted."""

    document: dict[str, Any]
    dtype: str
    columns: dict[str, Array] = field(default_factory=dict)
    state: bytes | None = None


def to_json(found: Found, limit: int) -> bytes:
    """One JSON object. Raises Problem (422) where it would have more than `limit` bytes."""
    size = len(found.state or b"")
    require_room([*_shapes(found.document), *_shapes(found.columns), (size // 3,)], limit, ADVICE)
    answer = _plain(found.document)
    if found.columns:
        answer["columns"] = _plain(found.columns)
    if found.state is not None:
        answer["state"] = _text(found.state)
    text = dump(answer | {"dtype": found.dtype})
    if len(text) > limit:
        raise too_long(limit, ADVICE)
    return text


def to_safetensors(found: Found) -> bytes:
    """The columns as tensors, everything else as text in the metadata: `report` and `dtype`, and the state's base64.
    Raises Problem (422) where the report is too long for a header."""
    size = least(_shapes(found.document))
    if size <= MOST_TEXT:
        said = {"report": str(dump(_plain(found.document)), "utf-8"), "dtype": found.dtype}
        if found.state is not None:
            said["state"] = _text(found.state)
        size = sum(map(len, said.values()))
    if size > MOST_TEXT:
        raise Problem(422, f"the report would pass {MOST_TEXT} bytes, the most of a header of safetensors: {ADVICE}")
    return safetensors.write(found.columns, said)


def _shapes(document: dict[str, Any]) -> list[tuple[int, ...]]:
    """The shapes of the arrays in a document, whose lists and metrics have none."""
    found: list[tuple[int, ...]] = []
    for name, entry in document.items():
        if name == "groups":  # whose names may be any
            found += chain.from_iterable(map(_shapes, entry.values()))
        elif isinstance(entry, dict) and name != "metrics":
            found += _shapes(entry)
        elif isinstance(entry, np.ndarray):
            found.append(entry.shape)
    return found


def _plain(value: Any) -> Any:
    """What orjson writes as `value`, whose lists hold no arrays: a document holds hundreds of numbers, and so they are
    told first."""
    if isinstance(value, float):
        return value if isfinite(value) else number(value)
    if isinstance(value, dict):
        return {name: entry if type(entry) is str else _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        if value and isinstance(value[0], dict) and b"null" not in (text := dump(value)):
            return Fragment(text)  # every number is finite: an eighth of the time
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return array(np.ascontiguousarray(value)) if value.ndim else number(value[()])
    return number(value) if isinstance(value, np.floating) else value


def _text(state: bytes) -> str:
    return str(base64.b64encode(state), "ascii")
