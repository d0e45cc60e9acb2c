"""safetensors files, mapped: eight bytes of header length, a JSON header, the tensors' bytes. Nothing in it is trusted.

Source: the format's description in the safetensors repository.
"""

import json
from math import prod
from typing import Any

import numpy as np
from core.dtypes import NUMPY
from core.rules import Array

from offline.arrays import Arrays
from offline.errors import Unreadable
from offline.mapped import Mapped

METADATA = "__metadata__"
MOST_HEADER_BYTES = 100_000_000  # as the format has it
MEMBERS = {"dtype", "shape", "data_offsets"}
FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "BOOL": "bool"}
DTYPES = FLOATS | {
    f"{letter}{bits}": f"{kind}{bits}" for letter, kind in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}


class Safetensors(Arrays):
    """An open safetensors file: see offline.source.Source. Raises Unreadable."""

    def __init__(self, path: str) -> None:
        super().__init__(path, Mapped(path))
        try:
            self._entries, self._tensors = _header(self.mapped.bytes)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{path}: {error}") from error
        self.names = frozenset(self._entries)

    def array(self, name: str) -> Array:
        """See offline.arrays.Arrays."""
        entry = self._entries[name]
        begin, end = entry["data_offsets"]
        try:
            dtype = NUMPY[DTYPES[entry["dtype"]]].newbyteorder("<")
        except KeyError:
            known = ", ".join(DTYPES)
            raise Unreadable(f"{self.path}: {name} is of {entry['dtype']}, but must be of {known}") from None
        shape = tuple(entry["shape"])
        if prod(shape) * dtype.itemsize != end - begin:
            raise Unreadable(f"{self.path}: {name} of shape {shape} cannot have {end - begin} bytes")
        if begin == end:
            return np.zeros(shape, dtype)
        return np.frombuffer(self._tensors[begin:end], dtype).reshape(shape)


def _header(content: memoryview) -> tuple[dict[str, Any], memoryview]:
    """The entries of the tensors by name, checked but for their dtypes, and the bytes of all tensors."""
    length = int.from_bytes(content[:8], "little")
    most = min(len(content) - 8, MOST_HEADER_BYTES)
    if length > most:
        raise ValueError(f"the header is said to have {length} bytes, but must have at most {most}")
    entries = json.loads(bytes(content[8 : 8 + length]), object_pairs_hook=_once)
    if not isinstance(entries, dict):
        raise ValueError("the header is no JSON object")
    entries.pop(METADATA, None)
    tensors, reached = content[8 + length :], 0
    for name, entry in entries.items():
        _require_entry(name, entry)
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        if not reached == begin <= end:
            raise ValueError(f"data_offsets of {name[:64]} are {begin} and {end}, but must begin at {reached}")
        reached = end
    if reached != len(tensors):
        raise ValueError(f"the tensors end at byte {reached}, but the file at {len(tensors)}, after the header")
    return entries, tensors


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the header has a name twice")
    return found


def _require_entry(name: str, entry: Any) -> None:
    if not isinstance(entry, dict) or entry.keys() != MEMBERS:
        raise ValueError(f"{name[:64]} must have {', '.join(sorted(MEMBERS))} and nothing else")
    for numbers, what in ((entry["shape"], "shape"), (entry["data_offsets"], "data_offsets")):
        if not isinstance(numbers, list) or any(type(one) is not int or not 0 <= one < 2**63 for one in numbers):
            raise ValueError(f"{what} of {name[:64]} must be integers that are not negative")
    if len(entry["data_offsets"]) != 2 or not isinstance(entry["dtype"], str):
        raise ValueError(f"{name[:64]} must have a dtype that is a string, and two data_offsets")
