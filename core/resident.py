"""Arrays that are on a device already, those of a model for example: taken where they lie, by DLPack or by
__cuda_array_interface__ (version 2 or later), without a copy.

Source: the DLPack specification and the Python array API standard; Numba's CUDA Array Interface.
"""

import ctypes
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from core.dtypes import NUMPY
from core.errors import refuse
from core.rules import Array
from core.sessions import adopt

TYPESTRS = {dtype.str: name for name, dtype in NUMPY.items() if name != "bfloat16"}
INTERFACE = "__cuda_array_interface__"


@dataclass(frozen=True, slots=True)
class Resident:
    """A contiguous array at an address of a device ("cpu" or "cuda"); `owner` keeps it there."""

    device: str
    address: int
    shape: tuple[int, ...]
    dtype: str
    owner: object

    def part(self, start: int, stop: int, row: tuple[int, ...]) -> "Resident":
        """From `start` up to `stop` of the flat samples for each of which the array has a value, or a `row` of them."""
        before = start * prod(row) * NUMPY[self.dtype].itemsize
        return replace(self, address=self.address + before, shape=(stop - start, *row))

    def array(self) -> Array:
        """Of the CPU's memory: the array itself."""
        size = prod(self.shape) * NUMPY[self.dtype].itemsize
        if not size:
            return np.empty(self.shape, NUMPY[self.dtype])
        memory: Any = (ctypes.c_uint8 * size).from_address(self.address)
        memory.owner = self.owner  # as long as there is a view of it
        return np.ctypeslib.as_array(memory).view(NUMPY[self.dtype]).reshape(self.shape)

    def like(self) -> Array:
        """An array of its shape and dtype that takes no memory."""
        return np.broadcast_to(np.zeros((), NUMPY[self.dtype]), self.shape)


def take(name: str, value: Any) -> Any:
    """`value` of the input `name` as a Resident if it is an array of a device or another library, else as it is. Raises
    InvalidInput for one that is not contiguous or of a dtype that no input has."""
    if isinstance(value, np.ndarray | np.generic):
        return value
    if not hasattr(value, "__dlpack__"):  # first: it says more of dtypes and devices than the interface does
        return _from_interface(name, getattr(value, INTERFACE), value) if hasattr(value, INTERFACE) else value
    try:
        found, number = adopt(value)
    except Exception as error:  # what a library says of an array that it does not give away is its own
        if "contiguous" in str(error):
            raise refuse(name, f"{name} is not contiguous, but must be") from error
        raise refuse(name, f"{name} cannot be taken where it lies: {str(error).splitlines()[0]}") from error
    if number:
        raise refuse(name, f"{name} is on the {found[0]} device {number}, but must be on device 0")
    return _checked(name, Resident(*found))


def _from_interface(name: str, interface: dict[str, Any], owner: object) -> Resident:
    shape, strides, typestr = tuple(interface["shape"]), interface.get("strides"), interface["typestr"]
    found = _checked(name, Resident("cuda", interface["data"][0] or 0, shape, TYPESTRS.get(typestr, typestr), owner))
    if strides is not None and prod(shape) and not _are_whole(shape, strides, NUMPY[found.dtype].itemsize):
        raise refuse(name, f"{name} is not contiguous, but must be")
    return found


def _are_whole(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    """Whether `strides` are a contiguous array's; of an axis with one entry, they say nothing."""
    steps = (itemsize * prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return all(size == 1 or stride == step for size, stride, step in zip(shape, strides, steps, strict=True))


def _checked(name: str, found: Resident) -> Resident:
    if found.dtype not in NUMPY:
        raise refuse(name, f"{name} is an array of {found.dtype}, but must be one of {', '.join(NUMPY)}")
    return found
