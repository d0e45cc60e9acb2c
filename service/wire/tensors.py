"""Typed tensors as bytes: dtype names, shapes and sizes, checked before anything is trusted."""

from collections.abc import Mapping
from math import prod

import numpy as np
from core.declare import FLOAT_DTYPES, INDEX_DTYPES
from core.dtypes import BFLOAT16
from core.errors import Fault, InvalidInput, mistyped, refuse
from core.rules import Array

from service.problems import malformed

MOST_AXES = 32
MOST_ELEMENTS = 2**48  # what a shape may say, zeros left out: past it NumPy's arithmetic would overflow
COPIED = 2**14  # bytes up to which a tensor that begins at an odd address is put straight: NumPy reads it slowly
# A dtype comes from this table, never from np.dtype of what a client wrote.
DTYPES = {
    name: BFLOAT16.newbyteorder("<") if name == "bfloat16" else np.dtype(name).newbyteorder("<")
    for name in (*FLOAT_DTYPES, *INDEX_DTYPES)
}


def checked_shape(name: str, shape: object) -> tuple[int, ...]:
    """`shape` as a tuple, if it is a list of sizes that an array can have. Raises InvalidInput."""
    if not isinstance(shape, list):
        raise _bad_shape(name, mistyped(f"{name}.shape", shape, "a list of sizes").detail)
    if len(shape) > MOST_AXES:
        raise _bad_shape(name, f"{name}.shape has more than {MOST_AXES} sizes")
    for size in shape:
        if type(size) is not int or size < 0:
            raise _bad_shape(name, mistyped(f"a size of {name}.shape", size, "an integer >= 0").detail)
    if prod(size for size in shape if size) > MOST_ELEMENTS:
        raise _bad_shape(name, f"{name}.shape says more than {MOST_ELEMENTS} elements")
    return tuple(shape)


def _bad_shape(name: str, detail: str) -> InvalidInput:
    return InvalidInput([Fault((name, "shape"), detail)])


def known_dtype(name: str, member: str, sent: object, table: Mapping[str, str]) -> str:
    """The dtype that a format calls `sent`, by that format's `table`. Raises InvalidInput at `name`'s `member`."""
    if isinstance(sent, str) and sent in table:
        return table[sent]
    says = f"one of {', '.join(sorted(table))}"
    raise InvalidInput([Fault((name, member), mistyped(f"{name}.{member}", sent, says).detail)])


def from_bytes(name: str, dtype: str, shape: tuple[int, ...], content: bytes | memoryview) -> Array:
    """The little-endian, row-major array of `content`, `dtype` one of DTYPES: a view of it, for bfloat16 of
    core.dtypes.BFLOAT16. Raises Problem (400) where the number of bytes is wrong, InvalidInput for a bool that is none.
    """
    expected = prod(shape) * DTYPES[dtype].itemsize
    if len(content) != expected:
        raise malformed(f"{name} has {len(content)} bytes, but {dtype} of shape {shape} takes {expected}")
    array = np.frombuffer(content, DTYPES[dtype])
    if expected <= COPIED and not array.flags.aligned:
        array = array.copy()
    array = array.reshape(shape)
    if dtype == "bool" and array.size and array.view(np.uint8).max() > 1:
        raise refuse(name, f"{name} has a byte that is no bool: it must be 0 or 1")
    return array
