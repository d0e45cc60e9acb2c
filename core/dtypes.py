"""From one dtype to another: what is rounded, is rounded once, and what does not fit is refused."""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from core.declare import FLOAT_DTYPES, INDEX_DTYPES, Measure
from core.errors import at, refuse
from core.rules import Array, first, show

BFLOAT16 = np.dtype([("bfloat16", np.uint16)])  # its bits: NumPy has no such numbers
INT64 = np.dtype(np.int64)
NUMPY = {name: BFLOAT16 if name == "bfloat16" else np.dtype(name) for name in (*FLOAT_DTYPES, *INDEX_DTYPES)}


@lru_cache(64)
def name_of(dtype: np.dtype[Any]) -> str:
    """The name of `dtype`, kept: NumPy puts it together anew each time, which was 6 us of a call at 64 x 10."""
    return "bfloat16" if dtype == BFLOAT16 else dtype.name


def of_output(measure: Measure, name: str, computed: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of an output of `measure` that is computed in `computed`."""
    return INT64 if name in measure.indices else computed


def cast(name: str, exact: Array, dtype: str) -> Array:
    """`exact`, float64 or int64, of the input `name` in `dtype`, rounded to nearest, ties to even.

    `dtype` is one of core.declare's; bfloat16 comes as the float32 of the same value, NaN and infinities stay. Raises
    InvalidInput for a finite number that `dtype` cannot hold.
    """
    if dtype in FLOAT_DTYPES:
        with np.errstate(over="ignore", invalid="ignore"):
            array = _to_bfloat16(exact) if dtype == "bfloat16" else exact.astype(dtype)
            if math.isfinite(array.sum(dtype=np.float64)):  # so is each, then: one pass, where the masks take three
                return array
        lost = np.isinf(array) & np.isfinite(exact)
    else:
        low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        array, lost = exact.astype(dtype), (exact < low) | (exact > high)
    if lost.any():
        index = first(lost)
        advice = ": ask for float64" if dtype in FLOAT_DTYPES else ""
        found = f"{at(name, index)} is {show(exact[index].item())}"
        raise refuse(name, f"{found}, which {dtype} cannot hold{advice}", *index)
    return array


def numbers(array: Array) -> Array:
    """`array` as NumPy computes with it: BFLOAT16 as float32."""
    return widened(array) if array.dtype == BFLOAT16 else array


def widened(halves: Array) -> Array:
    """bfloat16, of whatever dtype its bits are, as float32 of the same values."""
    wide = halves.view(np.uint16).astype(np.uint32)
    wide <<= 16  # in place: the batch may be large
    floats: Array = wide.view(np.float32)
    return floats


def _to_bfloat16(numbers: Array) -> Array:
    """float64 rounded to bfloat16, as float32. On the way through float32 what is lost is kept as an odd last bit
    (rounding to odd), or it would be rounded twice."""
    near = numbers.astype(np.float32)
    lost = (near != numbers) & (near.view(np.uint32) % 2 == 0) & np.isfinite(near)
    odd = np.where(lost, np.nextafter(near, np.where(near < numbers, np.inf, -np.inf).astype(np.float32)), near)
    bits = odd.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    found: Array = np.where(np.isnan(near), near, widened(rounded.astype(np.uint16)))
    return found
