"""JSON bodies: the document to arrays and scalars, results to text. No tensor becomes a list of Python numbers.

simdjson parses the text; service.wire.nested reads its lists. Numbers are written by orjson, in the shortest text that
reads back as the same bits.
"""

import base64
import binascii
import math
import re
import secrets
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
import simdjson
from core.arguments import Untyped
from core.declare import Kind, Measure, Tensor
from core.errors import Fault, InvalidInput, refuse
from core.reduction import Result
from numpy.typing import NDArray

from service.problems import Problem, malformed
from service.wire.nested import (
    NON_FINITE,
    entry_by_entry,
    entry_says,
    is_number,
    numbers,
    rectangular,
    refuse_deep_rows,
    shown,
)
from service.wire.tensors import checked_shape, from_bytes

Array = NDArray[Any]
MOST_KEYS = 64
_QUOTED = re.compile(rb'(?<!\\)"(NaN|-?Infinity)"(?!\s*:)')  # a whole string, and no key
_LONG_INTEGER = re.compile(rb"(?<=[\[,:\s])-?[0-9]{19,}(?=[\s,\]}])")
_BARE = re.compile(rb"-?(NaN|Infinity)\b")
_EXPLAINED = 2**20  # bodies up to this many bytes are read again for where they are broken


def decode(body: bytes | bytearray, measure: Measure) -> dict[str, Any]:
    """The fields of a request by name: the measure's tensors as arrays, the rest as scalars. Raises Problem (400) or
    InvalidInput; names, options and values are left for others to check."""
    document = _Document(body)
    return document.fields({tensor.name: tensor for tensor in measure.tensors})


class _Document:
    """One parsed request."""

    def __init__(self, body: bytes | bytearray) -> None:
        self.body = body
        if body[:3] == b"\xef\xbb\xbf":
            raise malformed("the body begins with a byte order mark, but must be JSON in plain UTF-8")
        self.root = _parse(body)
        if not isinstance(self.root, simdjson.Object):
            found = "an array" if isinstance(self.root, simdjson.Array) else shown(self.root)
            raise InvalidInput([Fault((), f"the body is {found}, but must be a JSON object")])
        self.lists = 0  # how many lists the arrays should be made of
        self._marked: tuple[Any, dict[float, float]] | None = None

    def fields(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        names = _names(self.root, "the body")
        found = {name: self._field(name, tensors.get(name)) for name in names}
        if self.lists != self.body.count(b"["):
            for name in set(names) & set(tensors):
                if isinstance(self.root[name], simdjson.Array):
                    refuse_deep_rows(tensors[name], self.root[name])
        return found

    def _field(self, name: str, tensor: Tensor | None) -> Any:
        try:
            value = self.root[name]
        except KeyError:  # simdjson finds no name that holds NUL; no field is called so
            return None
        if tensor is None:
            if isinstance(value, simdjson.Array | simdjson.Object):  # no scalar; only its kind will be named
                return [] if isinstance(value, simdjson.Array) else {}
            return value
        if isinstance(value, simdjson.Array):
            return self._list(tensor, value)
        if isinstance(value, simdjson.Object):
            return self._typed(name, value)
        return _scalar(tensor, value)

    def _list(self, tensor: Tensor, value: Any) -> Untyped:
        shape = rectangular(tensor.name, value)
        self.lists += sum(math.prod(shape[:depth]) for depth in range(len(shape)))
        flat = numbers(value, tensor.kind)
        if flat is None and tensor.kind is Kind.FLOAT:
            flat = self._with_non_finite(tensor.name)
        if flat is None:
            flat = entry_by_entry(tensor, value)
        if flat.size != math.prod(shape):
            refuse_deep_rows(tensor, value)
        return Untyped(flat.reshape(shape))

    def _with_non_finite(self, name: str) -> Array | None:
        """The numbers of a list with "NaN" and the like. They are replaced in the text by numbers that nothing else in
        it can be expected to hold, random subnormals, and those by what they stand for."""
        if self._marked is None:
            marks = {word: _subnormal() for word in NON_FINITE}
            texts = {word.encode(): repr(mark).encode() for word, mark in marks.items()}
            text = _QUOTED.sub(lambda match: texts[match[1]], bytes(self.body))
            self._marked = _parse(text), {marks[word]: value for word, value in NON_FINITE.items()}
        root, meaning = self._marked
        flat = numbers(root[name], Kind.FLOAT)
        if flat is not None:
            for mark, value in meaning.items():
                flat[flat == mark] = value
        return flat

    def _typed(self, name: str, value: Any) -> Array:
        members = _names(value, name)
        if sorted(members) != ["b64", "dtype", "shape"]:
            found = f"members {', '.join(members)[:80]}" if members else "no members"
            raise refuse(name, f"{name} is an object with {found}, but must have dtype, shape and b64")
        shape, text = value["shape"], value["b64"]
        if isinstance(shape, simdjson.Array):
            self.lists += 1
            shape = shape.as_list()
        if not isinstance(text, str):
            raise InvalidInput([Fault((name, "b64"), f"{name}.b64 is {shown(text)}, but must be a string")])
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise malformed(f"{name}.b64 is not base64: {error}") from None
        return from_bytes(name, value["dtype"], checked_shape(name, shape), content)


def _parse(text: bytes | bytearray) -> Any:
    try:
        return simdjson.Parser().parse(text)
    except UnicodeDecodeError:
        raise malformed("the body is not UTF-8, as JSON must be") from None
    except (ValueError, RuntimeError) as error:
        reason = str(error)
    if reason.startswith(("NUMBER_ERROR", "BIGINT_ERROR")):  # an integer past 64 bits, which is a good float
        longer = _LONG_INTEGER.sub(_as_float, text)
        if longer != text:
            return _parse(longer)
    raise malformed(f"the body is not JSON: {_explained(text, reason)}")


def _as_float(match: re.Match[bytes]) -> bytes:
    """An integer as it is if it fits 64 bits, else as a float."""
    digits = match[0]
    return digits if len(digits) <= 20 and -(2**63) <= int(digits) < 2**64 else digits + b".0"


def _explained(text: bytes | bytearray, reason: str) -> str:
    if len(text) <= _EXPLAINED:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            bare = _BARE.match(text, error.pos)
            advice = '; write non-finite numbers as the strings "NaN", "Infinity", "-Infinity"' if bare else ""
            return f"{error}{advice}".replace(
                "number is infinity when parsed as double", "a number is too large for float64"
            )
    return reason.split(": ", 1)[-1]


def _names(value: Any, what: str) -> list[str]:
    if len(value) > MOST_KEYS:
        raise malformed(f"{what} has more than {MOST_KEYS} keys")
    names = list(value.keys())
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise malformed(f"{what} has the key {twice[:64]!r} more than once")
    return names


def _subnormal() -> float:
    return float(np.uint64(secrets.randbits(51) | 1 << 51).view(np.float64))


def _scalar(tensor: Tensor, value: object) -> Untyped:
    if not is_number(tensor.kind, value):
        raise refuse(tensor.name, f"{tensor.name} is {shown(value)}, but must be {tensor.says} or {entry_says(tensor)}")
    number = NON_FINITE[value] if isinstance(value, str) else value
    return Untyped(np.asarray(number, np.float64 if tensor.kind is Kind.FLOAT else np.int64))


def require_room(shapes: Iterable[tuple[int, ...]], limit: int) -> None:
    """Raise Problem (422) if arrays of these shapes cannot be written in `limit` bytes, however short their numbers."""
    least = 0
    for shape in shapes:
        lists = sum(math.prod(shape[:depth]) for depth in range(len(shape)))
        least += math.prod(shape) * len("0.0,") + lists * len("[]")
    if least > limit:
        raise _too_long(limit)


def encode(result: Result, *, per_sample: bool, limit: int) -> bytes:
    """The answer. Raises Problem (422) where it would have more than `limit` bytes."""
    answer: dict[str, Any] = {"loss": _number(result.loss), "reduction": result.reduction}
    if per_sample:
        require_room((array.shape for array in result.outputs.values()), limit)
        answer |= {name: _array(array) for name, array in result.outputs.items()}
    if len(result.outputs) > 1:
        answer["reduced"] = {name: _number(result.reduced.get(name)) for name in list(result.outputs)[1:]}
    answer["totals"] = {name: _number(total) for name, total in result.totals.items()}
    answer["dtype"] = result.dtype.name
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(text) > limit:
        raise _too_long(limit)
    return text


def _too_long(limit: int) -> Problem:
    detail = f"the answer's lists would pass {limit} bytes, the limit MAX_JSON_BYTES: ask for it with per_sample false"
    return Problem(422, detail)


def _number(value: Any) -> Any:
    if value is None or np.isfinite(value):
        return value
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _array(array: Array) -> Any:
    if array.ndim == 0:
        return _number(array[()])
    text = orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    odd = array[~np.isfinite(array)]
    if odd.size:  # orjson writes null for what JSON has no number for
        pieces = text.split(b"null")
        words = [f'"{_number(value)}"'.encode() for value in odd]
        text = b"".join(piece + word for piece, word in zip(pieces, [*words, b""], strict=True))
    return orjson.Fragment(text)
