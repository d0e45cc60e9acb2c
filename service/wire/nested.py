"""Nested JSON lists as arrays. No tensor becomes a list of Python numbers.

simdjson copies the numbers of a whole nested list into one buffer. That flattens ragged and mixed-depth lists without
an error, so every row's length is checked here, and where there are more lists than rows, the list too many is found.
"""

import math
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import orjson
import simdjson
from core.declare import Kind, Tensor
from core.errors import InvalidInput, at, refuse
from core.rules import Array

from service.problems import malformed
from service.wire.tensors import MOST_AXES

_AT_ONCE = 2**12  # entries whose types are looked at together
_MANY = 2**14  # of which each takes a microsecond
_NUMBERS = {int, float}
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def lists_in(shape: tuple[int, ...]) -> int:
    """How many lists a nested list of `shape` is made of."""
    found, of_level = 0, 1
    for size in shape:
        found += of_level
        of_level *= size
    return found


def length(value: Any) -> int:
    """How many entries a list has; simdjson's own count ends at 2**24 - 1."""
    count = len(value)
    return count if count < 2**24 - 1 else sum(1 for _ in value)


def numbers(value: Any, kind: Kind) -> Array | None:
    """Every number of a nested list, flat: float64, or int64; None if there is anything else in it."""
    try:
        buffer = value.as_buffer(of_type="d" if kind is Kind.FLOAT else "i")
    except (TypeError, ValueError):
        return None
    return np.frombuffer(buffer, np.float64 if kind is Kind.FLOAT else np.int64)


def regular(value: Any) -> tuple[int, ...] | None:
    """The shape of a list in which `numbers` found nothing but numbers, if it is one of numbers or of lists of one
    length, as nearly all are; None where `rectangular` must look. 4 microseconds for 64 rows, where that takes 14."""
    rows = len(value)
    if not 0 < rows < 2**24 - 1:
        return None
    first = value[0]
    if not isinstance(first, simdjson.Array):
        return (rows,)
    columns = len(first)
    if not 0 < columns < 2**24 - 1 or isinstance(first[0], simdjson.Array):
        return None
    try:
        lengths = set(map(len, value))
    except TypeError:  # a number among the rows
        return None
    return (rows, columns) if lengths == {columns} else None


def structure(text: bytes) -> bytes:
    """The brackets and commas of a text of numbers."""
    values = np.frombuffer(text, np.uint8)
    kept: Array = values[(values == ord(",")) | (values == ord("[")) | (values == ord("]"))]
    return kept.tobytes()


def structure_of(shape: tuple[int, ...]) -> bytes:
    """The brackets and commas of a nested list of `shape`."""
    inner = b"," * (shape[-1] - 1)
    for size in reversed(shape[:-1]):
        inner = b",".join([b"[" + inner + b"]"] * size)
    return b"[" + inner + b"]"


def repeated(value: Any) -> tuple[int, ...] | None:
    """The shape of a list of many entries, if they are all as the first: by its brackets and commas, without a step in
    Python for each. None where that cannot be told, as where strings have some too."""
    shape, first = [length(value)], value
    while len(first) and isinstance(first[0], simdjson.Array) and len(shape) <= MOST_AXES:
        first = first[0]
        shape.append(length(first))
    if shape[0] < _MANY or len(shape) > MOST_AXES:
        return None
    return tuple(shape) if structure(value.mini) == structure_of(tuple(shape)) else None


def rectangular(name: str, value: Any) -> tuple[int, ...]:
    """The shape of a nested list, if every list of a level has the same length. Raises Problem (400) where it is too
    deep, or InvalidInput."""
    shape = [length(value)]
    first = value
    while len(first) and isinstance(first[0], simdjson.Array):
        first = first[0]
        shape.append(length(first))
        if len(shape) > MOST_AXES:
            raise malformed(f"{name} is nested deeper than {MOST_AXES} lists, the limit")
    for index, row in _rows(value, len(shape) - 1):
        want = shape[len(index)]
        if not isinstance(row, simdjson.Array):
            raise refuse(name, f"{at(name, index)} is no list, but must be one of length {want}, as the first", *index)
        if length(row) != want:
            detail = f"{at(name, index)} has length {length(row)}, but must have {want}, as the first"
            raise refuse(name, detail, *index)
    return tuple(shape)


def _rows(value: Any, depth: int, index: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Every entry of a nested list down to `depth` levels, with its index, parents first."""
    if depth and isinstance(value, simdjson.Array):
        for place, row in enumerate(value):
            here = (*index, place)
            yield here, row
            yield from _rows(row, depth - 1, here)


def _leaf_rows(value: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """The innermost lists of a rectangular nested list, with their indices."""
    depth, first = 0, value
    while len(first) and isinstance(first[0], simdjson.Array):
        first, depth = first[0], depth + 1
    rows = chain([((), value)], _rows(value, depth))
    return ((index, row) for index, row in rows if len(index) == depth)


def refuse_deep_rows(tensor: Tensor, value: Any) -> None:
    """Refuse a list that stands where the others of its level have numbers."""
    for index, row in _leaf_rows(value):
        if row.mini.count(b"[") > 1 and (wrong := _first_wrong(tensor.kind, row, booleans=False)):
            raise _wrong_entry(tensor, (*index, wrong[0]), wrong[1])


def entry_by_entry(tensor: Tensor, value: Any, *, booleans: bool = False) -> Array:
    """The numbers of a rectangular list, slowly, where `numbers` has none: words spelt with escapes are taken here,
    and with `booleans` true and false. Raises InvalidInput for the first entry that is no number, or no integer where
    it must be one."""
    for index, row in _leaf_rows(value):
        wrong = _first_wrong(tensor.kind, row, booleans)
        if wrong is not None:
            raise _wrong_entry(tensor, (*index, wrong[0]), wrong[1], booleans=booleans)
    entries = (NON_FINITE[entry] if isinstance(entry, str) else entry for _, row in _leaf_rows(value) for entry in row)
    return np.fromiter(entries, np.float64 if tensor.kind is Kind.FLOAT else np.int64)


def _first_wrong(kind: Kind, row: Any, booleans: bool) -> tuple[int, Any] | None:
    """The first entry of a list of entries that is none, and its place. The types of many are looked at together, in a
    third of the time of one after the other: a body of a few KiB may stand for 16 million."""
    entries, start = iter(row), 0
    while some := list(islice(entries, _AT_ONCE)):
        types = set(map(type, some))
        good = types <= _NUMBERS if kind is Kind.FLOAT else types == {int} and max(some) < 2**63
        if not good:
            for place, entry in enumerate(some, start):
                if not _is_entry(kind, entry, booleans):
                    return place, entry
        start += len(some)
    return None


def _wrong_entry(tensor: Tensor, where: tuple[int, ...], entry: Any, *, booleans: bool = False) -> InvalidInput:
    says = "true or false, or 1 or 0" if booleans else entry_says(tensor)
    return refuse(tensor.name, f"{at(tensor.name, where)} is {shown(entry)}, but must be {says}", *where)


def _is_entry(kind: Kind, entry: object, booleans: bool) -> bool:
    return is_number(kind, entry) or (booleans and type(entry) is bool)


def is_number(kind: Kind, entry: object) -> bool:
    """Whether a scalar may stand in a list of `kind`."""
    if kind is Kind.INDEX:
        return type(entry) is int and -(2**63) <= entry < 2**63
    return type(entry) in (int, float) or (isinstance(entry, str) and entry in NON_FINITE)


def entry_says(tensor: Tensor) -> str:
    """What one entry must be, as an error puts it."""
    if tensor.kind is Kind.INDEX:
        return f"a 64-bit integer{tensor.advice}"
    return 'a number, "NaN", "Infinity" or "-Infinity"'


def shown(entry: object) -> str:
    """A value as an error shows it, at most 40 characters."""
    if isinstance(entry, simdjson.Array | simdjson.Object):
        return "a list" if isinstance(entry, simdjson.Array) else "an object"
    return str(orjson.dumps(entry), "utf-8")[:40]
