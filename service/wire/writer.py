"""Results as JSON text: numbers in the shortest form that reads back as the same bits, written by orjson."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
from core.rules import Array

from service.problems import Problem

_SLICE = 2**16  # numbers that are written at a time, for writing holds the interpreter
_WORDS = (b'"NaN"', b'"Infinity"', b'"-Infinity"')


def dump(document: Any) -> bytes:
    """A document of scalars, lists and the fragments below, as JSON."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def number(value: Any) -> Any:
    """A number, or None, as JSON holds it: what is not finite is a word."""
    if value is None or math.isfinite(value):  # a seventh of the time of NumPy's for one number
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def array(values: Array) -> Any:
    """An array as nested lists, or as a number if it has no axes."""
    if values.ndim == 0:
        return number(values[()])
    if values.size <= _SLICE:
        return orjson.Fragment(_lists(values))
    rows = max(1, _SLICE * len(values) // values.size)
    pieces: list[bytes | memoryview] = []
    for start in range(0, len(values), rows):
        pieces += [b"," if start else b"[", memoryview(_lists(values[start : start + rows]))[1:-1]]
    return orjson.Fragment(b"".join([*pieces, b"]"]))


def _lists(values: Array) -> bytes:
    text = dump(values)
    if b"n" not in text:
        return text
    if not np.isinf(values).any():  # NaN alone, as reports have it: in half the calls
        return text.replace(b"null", _WORDS[0])
    odd = values[~np.isfinite(values)]  # for which JSON has no number, and orjson writes null
    kinds = np.where(np.isnan(odd), 0, np.where(odd > 0, 1, 2))
    if (kinds == kinds[0]).all():
        return text.replace(b"null", _WORDS[kinds[0]])
    pieces = text.split(b"null")
    joined: list[bytes] = [b""] * (2 * len(pieces) - 1)
    joined[::2], joined[1::2] = pieces, [_WORDS[kind] for kind in kinds.tolist()]
    return b"".join(joined)


PER_SAMPLE = "ask for a binary answer (safetensors, or binary outputs on /v2), or for none with per_sample false"


def least(shapes: Iterable[tuple[int, ...]]) -> int:
    """How many bytes arrays of these shapes take at least, however short their numbers."""
    found = 0
    for shape in shapes:
        lists, numbers = 0, 1
        for size in shape:
            lists, numbers = lists + numbers, numbers * size
        found += numbers * len("0.0,") + lists * len("[]")
    return found


def require_room(shapes: Iterable[tuple[int, ...]], limit: int, advice: str = PER_SAMPLE) -> None:
    """Raise Problem (422) if arrays of these shapes cannot be written in `limit` bytes."""
    if least(shapes) > limit:
        raise too_long(limit, advice)


def too_long(limit: int, advice: str = PER_SAMPLE) -> Problem:
    """The answer's JSON has more than `limit` bytes."""
    return Problem(422, f"the answer's lists would pass {limit} bytes, the limit MAX_JSON_BYTES: {advice}")
