"""JSON bodies: the document to arrays and scalars, results to text. No tensor becomes a list of Python numbers."""

import base64
import binascii
from typing import Any

import numpy as np
import simdjson
from core.arguments import Untyped
from core.declare import Kind, Measure, Tensor
from core.errors import Fault, InvalidInput, refuse
from core.reduction import Result
from core.reports.declare import Labels, Listed, Picks
from core.rules import Array

from service.problems import malformed
from service.wire.nested import NON_FINITE, entry_says, is_number, shown
from service.wire.pieces import read_text
from service.wire.reader import Document, members, plain
from service.wire.tables import DTYPE_NAMES, NO_LISTS, Lists, table
from service.wire.tensors import DTYPES, checked_shape, from_bytes, known_dtype
from service.wire.writer import array, dump, number, require_room, too_long

_NAMES = {name: name for name in DTYPES}


def decode(body: bytes | bytearray, measure: Measure, lists: Lists = NO_LISTS) -> dict[str, Any]:
    """The fields of a request by name: the measure's tensors as arrays, `lists` as Python's or arrays of integers, the
    rest as scalars. Raises Problem (400) or InvalidInput; names, options and values are left for others to check."""
    return read_text(body, lambda document: _fields(document, measure, lists))


def _fields(document: Document, measure: Measure, lists: Lists) -> dict[str, Any]:
    tensors = table(measure, lists).tensors
    fields, listed = {}, {}
    for name, value in members(document.root, "the body").items():
        if name in lists:
            listed[name] = value
        else:
            fields[name] = _field(document, tensors[name], value) if name in tensors else plain(value)
    most = max(map(_size, fields.values()), default=-1)
    for name, value in listed.items():
        fields[name] = _listed(document, lists[name], value, most)
    document.refuse_mixed_depth()
    return fields


def _size(value: Any) -> int:
    array = value.array if isinstance(value, Untyped) else value
    return array.size if isinstance(array, np.ndarray) else -1


def _listed(document: Document, listed: Listed, value: Any, most: int) -> Any:
    """A list or text of a request whose largest array has `most` elements; -1 if it has none, which is wrong."""
    if isinstance(value, simdjson.Array) and isinstance(listed, Labels):
        return document.labels(Tensor(listed.name, Kind.INDEX, ("batch",), listed.doc), most) if most >= 0 else []
    if isinstance(value, simdjson.Array) and isinstance(listed, Picks):
        return document.entries(listed.name, value, listed.most)
    if isinstance(value, simdjson.Object) and isinstance(listed, Labels):
        return _of_base64(document, listed.name, value)
    return plain(value)


def _field(document: Document, tensor: Tensor, value: Any) -> Any:
    if isinstance(value, simdjson.Array):
        return Untyped(document.array(tensor, tensor.name))
    if isinstance(value, simdjson.Object):
        return _of_base64(document, tensor.name, value)
    return _scalar(tensor, value)


def _of_base64(document: Document, name: str, value: Any) -> Array:
    found = members(value, name)
    if sorted(found) != ["b64", "dtype", "shape"]:
        has = f"members {', '.join(found)[:80]}" if found else "no members"
        raise refuse(name, f"{name} is an object with {has}, but must have dtype, shape and b64")
    shape, text = document.integers(found["shape"]), found["b64"]
    if not isinstance(text, str):
        raise InvalidInput([Fault((name, "b64"), f"{name}.b64 is {shown(text)}, but must be a string")])
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"{name}.b64 is not base64: {error}") from None
    dtype = known_dtype(name, "dtype", plain(found["dtype"]), _NAMES)
    return from_bytes(name, dtype, checked_shape(name, shape), content)


def _scalar(tensor: Tensor, value: object) -> Untyped:
    if not is_number(tensor.kind, value):
        raise refuse(tensor.name, f"{tensor.name} is {shown(value)}, but must be {tensor.says} or {entry_says(tensor)}")
    meant = NON_FINITE[value] if isinstance(value, str) else value
    return Untyped(np.asarray(meant, np.float64 if tensor.kind is Kind.FLOAT else np.int64))


def encode(result: Result, *, per_sample: bool, limit: int) -> bytes:
    """The answer. Raises Problem (422) where it would have more than `limit` bytes."""
    answer: dict[str, Any] = {"loss": number(result.loss), "reduction": result.reduction}
    if per_sample:
        require_room((values.shape for values in result.outputs.values()), limit)
        answer |= {name: array(values) for name, values in result.outputs.items()}
    if len(result.outputs) > 1:
        answer["reduced"] = {name: number(result.reduced.get(name)) for name in list(result.outputs)[1:]}
    answer["totals"] = {name: number(total) for name, total in result.totals.items()}
    answer["dtype"] = DTYPE_NAMES[result.dtype]
    text = dump(answer)
    if len(text) > limit:
        raise too_long(limit)
    return text
