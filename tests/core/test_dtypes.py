"""Rounding to another dtype: once, to nearest, and refused where a number does not fit."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dtypes import cast, widened
from core.errors import InvalidInput


def exactly(value: float) -> float:
    """`value` rounded to bfloat16 from all of its bits: through integers, not through float32."""
    if value == 0 or not np.isfinite(value):
        return value
    exponent = max(int(np.frexp(value)[1]), -125)
    step = 2.0 ** (exponent - 8)
    return float(np.rint(value / step) * step)


@given(st.floats(-3e38, 3e38))
def test_bfloat16_is_rounded_once(value: float) -> None:
    assert cast("x", np.array([value]), "bfloat16").tolist() == [exactly(value)]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("off", [0.0, 2.0**-40, -(2.0**-40)])
@pytest.mark.parametrize("base", [1.0, 1 + 2.0**-7])
def test_bfloat16_beside_a_tie_is_not_rounded_by_way_of_float32(base: float, off: float, sign: int) -> None:
    """A number 2**-40 off the middle of two bfloat16 is that middle in float32."""
    value = sign * (base + 2.0**-8 + off)
    assert cast("x", np.array([value]), "bfloat16").tolist() == [exactly(value)]


def test_every_bfloat16_is_itself() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    wide = widened(bits)
    np.testing.assert_array_equal(wide, bits.view(ml_dtypes.bfloat16).astype(np.float32))
    finite = wide[~np.isnan(wide)].astype(np.float64)
    np.testing.assert_array_equal(cast("x", finite, "bfloat16"), finite)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_what_is_not_finite_stays(dtype: str) -> None:
    found = cast("x", np.array([np.nan, np.inf, -np.inf, -0.0]), dtype)
    np.testing.assert_array_equal(found, [np.nan, np.inf, -np.inf, 0.0])
    assert np.signbit(found[3])


@pytest.mark.parametrize(
    ("dtype", "value"), [("float16", 65520.0), ("bfloat16", 3.4e38), ("float32", 3.5e38), ("float16", -1e6)]
)
def test_a_finite_number_that_does_not_fit_is_refused_and_float64_named(dtype: str, value: float) -> None:
    with pytest.raises(InvalidInput) as refused:
        cast("logits", np.array([[0.0, value]]), dtype)
    assert str(refused.value) == f"logits[0, 1] is {value!r}, which {dtype} cannot hold: ask for float64"


@pytest.mark.parametrize(
    ("dtype", "value"), [("int8", 128), ("int8", -129), ("uint8", -1), ("uint8", 256), ("bool", 2), ("int32", 2**31)]
)
def test_an_integer_that_does_not_fit_is_refused(dtype: str, value: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        cast("targets", np.array([1, value]), dtype)
    assert str(refused.value) == f"targets[1] is {value}, which {dtype} cannot hold"
    assert cast("targets", np.array([1, 0]), dtype).tolist() == [1, 0]
