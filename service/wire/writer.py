"""Results as JSON text: numbers in the shortest form that reads back as the same bits, written by orjson."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
from core.rules import Array

from service.problems import Problem

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
    text = dump(values)
    if b"n" in text:  # orjson writes null for what JSON has no number for
        odd = values[~np.isfinite(values)]
        kinds = np.where(np.isnan(odd), 0, np.where(odd > 0, 1, 2))
        if (kinds == kinds[0]).all():
            return orjson.Fragment(text.replace(b"null", _WORDS[kinds[0]]))
        pieces = text.split(b"null")
        joined: list[bytes] = [b""] * (2 * len(pieces) - 1)
        joined[::2], joined[1::2] = pieces, [_WORDS[kind] for kind in kinds.tolist()]
        text = b"".join(joined)
    return orjson.Fragment(text)


def require_room(shapes: Iterable[tuple[int, ...]], limit: int) -> None:
    """Raise Problem (422) if arrays of these shapes cannot be written in `limit` bytes, however short their numbers."""
    least = 0
    for shape in shapes:
        lists = sum(math.prod(shape[:depth]) for depth in range(len(shape)))
        least += math.prod(shape) * len("0.0,") + lists * len("[]")
    if least > limit:
        raise too_long(limit)


def too_long(limit: int) -> Problem:
    """The answer's JSON has more than `limit` bytes."""
    advice = "ask for a binary answer (safetensors, or binary outputs on /v2), or for none with per_sample false"
    return Problem(422, f"the answer's lists would pass {limit} bytes, the limit MAX_JSON_BYTES: {advice}")
