"""safetensors bodies: eight bytes of header length, a JSON header, the tensors' bytes. Nothing in it is trusted.

Tensors stand under the names of the inputs, everything else as text in __metadata__: the JSON text of numbers, booleans
and lists, the bare text of strings.
Source: the format's description in the safetensors repository.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import simdjson
from core.declare import Measure
from core.errors import InvalidInput
from core.reduction import Result
from core.rules import Array

from service.problems import malformed
from service.wire.reader import Document, members, plain
from service.wire.tables import DTYPE_NAMES, NO_LISTS, Lists, Table, table
from service.wire.tensors import checked_shape, from_bytes, known_dtype
from service.wire.usual import UNUSUAL, Unusual, header, require_keys
from service.wire.writer import dump, number

METADATA = "__metadata__"
MOST_HEADER_BYTES = 2**20
DTYPES = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "BOOL": "bool",
    **{
        f"{letter}{bits}": f"{kind}{bits}" for letter, kind in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
    },
}
_ANSWERED = {np.dtype(dtype): name for name, dtype in DTYPES.items() if dtype in ("float32", "float64", "int64")}
ALIGNMENT = 8


def decode(body: bytes | bytearray, measure: Measure, lists: Lists = NO_LISTS) -> dict[str, Any]:
    """The fields of a request by name: tensors as views of `body`, the rest as scalars and `lists`. Raises Problem
    (400) or InvalidInput; names, options and values are left for others to check."""
    start = _tensors_start(body)
    text, tensors, known = body[8:start], memoryview(body)[start:], table(measure, lists)
    try:
        return _usual(text, tensors, known)
    except UNUSUAL:
        return _with_care(text, tensors, known)


def _usual(text: bytes | bytearray, tensors: memoryview, known: Table) -> dict[str, Any]:
    """The fields where nothing is wrong and every tensor stands after the one before it, in 6 microseconds, where care
    takes 12. Raises one of UNUSUAL."""
    entries = header(text)
    keys, said = len(entries), entries.pop(METADATA, {})
    if not said.keys() <= known.sent:
        raise Unusual
    fields = _scalars(said, known)
    reached = 0
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        if len(entry) != 3 or type(begin) is not int or type(end) is not int or not reached == begin <= end:
            raise Unusual
        shape = checked_shape(name, entry["shape"])
        fields[known.tensors[name].name] = from_bytes(name, DTYPES[entry["dtype"]], shape, tensors[begin:end])
        reached = end
    require_keys(text, keys + 3 * len(entries) + len(said))
    if reached != len(tensors):
        raise Unusual
    return fields


def _with_care(text: bytes | bytearray, tensors: memoryview, known: Table) -> dict[str, Any]:
    try:
        document = Document(text, "the header")
    except InvalidInput as error:
        raise malformed(str(error)) from None
    entries = members(document.root, "the header")
    said = _members(entries.pop(METADATA), METADATA, None) if METADATA in entries else {}
    fields = _scalars(said, known)
    spans = []
    for name, value in entries.items():
        entry = _members(value, name, {"dtype", "shape", "data_offsets"})
        begin, end = span = _offsets(name, document.integers(entry["data_offsets"]), len(tensors))
        if name in fields:
            raise malformed(f"{name[:64]} is both a tensor and in {METADATA}")
        dtype = known_dtype(name, "dtype", plain(entry["dtype"]), DTYPES)
        fields[name] = from_bytes(
            name, dtype, checked_shape(name, document.integers(entry["shape"])), tensors[begin:end]
        )
        spans.append((span, name))
    _require_whole(spans, len(tensors))
    return fields


def _tensors_start(body: bytes | bytearray) -> int:
    if len(body) < 8:
        raise malformed(f"the body has {len(body)} bytes, but safetensors begin with 8 that say the header's length")
    length = int.from_bytes(body[:8], "little")
    most = min(len(body) - 8, MOST_HEADER_BYTES)
    if length > most:
        raise malformed(f"the header is said to have {length} bytes, but must have at most {most}")
    if body[8:9] != b"{":
        raise malformed("the header must begin with {")
    return 8 + length


def _members(value: Any, name: str, wanted: set[str] | None) -> dict[str, Any]:
    """The members of an object of the header, which must be `wanted`."""
    if not isinstance(value, simdjson.Object):
        raise malformed(f"{name[:64]} in the header is no object")
    found = members(value, name[:64])
    if wanted is not None and set(found) != wanted:
        raise malformed(f"{name[:64]} in the header must have {', '.join(sorted(wanted))} and nothing else")
    return found


def _offsets(name: str, sent: object, size: int) -> tuple[int, int]:
    if isinstance(sent, list) and len(sent) == 2 and all(type(offset) is int for offset in sent):
        begin, end = sent
        if 0 <= begin <= end <= size:
            return begin, end
        raise malformed(f"data_offsets of {name[:64]} are {begin} and {end}, but must ascend within {size} bytes")
    raise malformed(f"data_offsets of {name[:64]} must be two integers")


def _require_whole(spans: list[tuple[tuple[int, int], str]], size: int) -> None:
    """Raise Problem (400) unless the tensors cover the bytes after the header, without hole or overlap."""
    reached = 0
    for (begin, end), name in sorted(spans):
        if begin != reached:
            raise malformed(f"data_offsets of {name[:64]} begin at {begin}, but must at {reached}: no hole, no overlap")
        reached = end
    if reached != size:
        raise malformed(f"the tensors end at byte {reached}, but the body at {size}, counted from the header's end")


def _scalars(found: dict[str, Any], known: Table) -> dict[str, Any]:
    fields = {}
    for name, text in found.items():
        if not isinstance(text, str) and "\0" not in name:  # whose text is not read: no field is called so
            raise malformed(f"{name[:64]} in {METADATA} is no string")
        fields[name] = text if name in known.words else _scalar(text, listed=name in known.lists)
    return fields


def _scalar(text: str, *, listed: bool) -> Any:
    """The number, boolean, or list if there may be one, that `text` spells, else the text, which others will name in
    an error."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, bool | int | float) or (listed and isinstance(value, list)) else text


def encode(result: Result, *, per_sample: bool) -> bytes:
    """The answer: the per-sample arrays as tensors, the rest as text in __metadata__."""
    arrays = result.outputs if per_sample else {}
    metadata = {"reduction": result.reduction, "dtype": DTYPE_NAMES[result.dtype]}
    if result.loss is not None:
        metadata["loss"] = _text(result.loss)
    if result.reduced:
        metadata["reduced"] = str(dump({name: number(value) for name, value in result.reduced.items()}), "utf-8")
    metadata["totals"] = str(dump({name: number(total) for name, total in result.totals.items()}), "utf-8")
    return write(arrays, metadata)


def write(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Tensors by name, and texts."""
    header: dict[str, Any] = {METADATA: metadata}
    reached = 0
    for name, values in arrays.items():
        begin, reached = reached, reached + values.nbytes
        header[name] = {
            "dtype": _ANSWERED[values.dtype],
            "shape": values.shape,
            "data_offsets": (begin, reached),
        }
    text = dump(header)
    text += b" " * (-len(text) % ALIGNMENT)
    pieces: list[Any] = [len(text).to_bytes(8, "little"), text, *arrays.values()]
    return b"".join(pieces)


def _text(value: np.floating[Any]) -> str:
    said = number(value)
    return said if isinstance(said, str) else str(dump(said), "utf-8")
