"""Typed tensors as bytes: dtype names, shapes and sizes, checked before anything is trusted."""

from math import prod
from typing import Any

import numpy as np
from core.errors import Fault, InvalidInput, refuse
from numpy.typing import NDArray

from service.problems import malformed

Array = NDArray[Any]
MOST_AXES = 32
# A dtype comes from this table, never from np.dtype of what a client wrote. bfloat16 is widened below.
DTYPES = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("float16", "float32", "float64", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
} | {"bfloat16": np.dtype("<u2")}


def checked_shape(name: str, shape: object) -> tuple[int, ...]:
    """`shape` as a tuple, if it is a list of sizes. Raises InvalidInput."""
    if not isinstance(shape, list) or len(shape) > MOST_AXES:
        raise InvalidInput([Fault((name, "shape"), f"{name}.shape must be a list of at most {MOST_AXES} sizes")])
    for size in shape:
        if type(size) is not int or size < 0:
            found = "an array" if isinstance(size, list) else repr(size)[:40]
            raise InvalidInput([Fault((name, "shape"), f"{name}.shape has {found}, but sizes must be integers >= 0")])
    return tuple(shape)


def from_bytes(name: str, dtype: object, shape: tuple[int, ...], content: bytes) -> Array:
    """The little-endian, row-major array of `content`: a view of it, but for bfloat16, which becomes float32."""
    if not isinstance(dtype, str) or dtype not in DTYPES:
        found = f'"{dtype[:40]}"' if isinstance(dtype, str) else "no string"
        known = ", ".join(sorted(DTYPES))
        raise InvalidInput([Fault((name, "dtype"), f"{name}.dtype is {found}, but must be one of {known}")])
    expected = prod(shape) * DTYPES[dtype].itemsize
    if len(content) != expected:
        raise malformed(f"{name} has {len(content)} bytes, but {dtype} of shape {shape} takes {expected}")
    array = np.frombuffer(content, DTYPES[dtype]).reshape(shape)
    if dtype == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if dtype == "bool" and array.size and array.view(np.uint8).max() > 1:
        raise refuse(name, f"{name} has a byte that is no bool: it must be 0 or 1")
    return array
