"""Sums are exact, whatever the order, the chunks and the magnitudes."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import core.exact
from core.exact import ExactSum, exact_by, exact_rows, exact_sum

finite64 = hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(allow_nan=False, allow_infinity=False))
finite32 = hnp.arrays(
    np.float32, st.integers(0, 60), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)


def rounded(total: Fraction) -> float:
    """The float64 nearest to `total`."""
    try:
        return total.numerator / total.denominator
    except OverflowError:
        return math.inf if total > 0 else -math.inf


@given(finite64 | finite32)
def test_sum_is_the_rounded_fraction(values: NDArray[Any]) -> None:
    total = sum((Fraction(float(value)) for value in values), Fraction(0))
    assert ExactSum.of(values).value == rounded(total)
    assert exact_sum(values) == rounded(total)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [999, 1000, 65_536, 65_537, 200_000])
def test_large_sums_equal_fsum(dtype: type, count: int) -> None:
    rng = np.random.default_rng(count)
    values: NDArray[Any] = (rng.normal(size=count) * 10.0 ** rng.integers(-30, 30, count)).astype(dtype)
    assert exact_sum(values) == math.fsum(values.tolist())


def test_a_thousand_shuffles_give_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    values: NDArray[Any] = (rng.normal(size=3000) * 10.0 ** rng.integers(-20, 20, 3000)).astype(np.float32)
    expected = exact_sum(values)
    assert all(exact_sum(rng.permutation(values)) == expected for _ in range(1000))


def test_merged_states_of_a_thousand_splits_are_the_state_of_the_whole() -> None:
    rng = np.random.default_rng(2)
    values: NDArray[Any] = (rng.normal(size=500) * 10.0 ** rng.integers(-20, 20, 500)).astype(np.float32)
    values[::100] = [np.nan, np.inf, -np.inf, 1e38, -1e38]
    whole = ExactSum.of(values)
    for _ in range(1000):
        parts = np.split(rng.permutation(values), np.sort(rng.integers(0, 500, 4)))
        assert sum((ExactSum.of(part) for part in parts), ExactSum()) == whole


@pytest.mark.parametrize("many", [1, 2000])
@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([], 0.0),
        ([math.nan, 1.0], math.nan),
        ([math.inf, -math.inf], math.nan),
        ([math.inf, 1.0], math.inf),
        ([-math.inf, 1e308], -math.inf),
        ([1e308, 1e308, -1e308], 1e308),
        ([1e308, 1e308], math.inf),
        ([-1.7e308, -1.7e308], -math.inf),
        ([1e308, 1e308, -1e308, -1e308, 5e-324], 5e-324),
        ([1.0, 2.0**-60, -1.0], 2.0**-60),
    ],
)
def test_extremes(values: list[float], total: float, many: int) -> None:
    padded = np.array([*values, *[0.0] * many])
    assert exact_sum(padded) == total or (math.isnan(total) and math.isnan(exact_sum(padded)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("count", [2**15, 2**17, 2**17 + 2**15 + 1])
def test_runs_of_the_largest_steps_do_not_overflow(dtype: type, sign: int, count: int) -> None:
    """A run is full where every value is just below a power of two."""
    one = np.nextafter(dtype(1), dtype(0)) * dtype(sign)
    assert ExactSum.of(np.full(count, one)).value == float(Fraction(float(one)) * count)
    values = np.full(count, one)
    values[1::2] = 2.0**-20 * sign
    total = Fraction(float(one)) * ((count + 1) // 2) + Fraction(sign, 2**20) * (count // 2)
    assert ExactSum.of(values).value == float(total)


def test_losses_are_added_up_without_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 values of one sign, the largest four million times the smallest: one pass."""
    looks: list[int] = []
    real = core.exact._range

    def spy(values: NDArray[Any]) -> tuple[float, float]:
        looks.append(values.size)
        return real(values)

    monkeypatch.setattr(core.exact, "_range", spy)
    values = np.geomspace(1e-5, 30, 100_000).astype(np.float32)
    assert exact_sum(values) == exact_sum(-values) * -1 == math.fsum(values.tolist())
    assert looks == [100_000] * 2
    exact_sum(np.append(values, np.float32(1e-9)))
    assert len(looks) > 3


@pytest.mark.parametrize("count", [0, 1, 7, 1000, 2**15, 2**15 + 1])
def test_rows_have_the_sums_that_each_has_alone(count: int) -> None:
    rng = np.random.default_rng(count)
    wild = rng.normal(size=count) * 2.0 ** rng.integers(-1000, 890, count)
    rows = np.array(
        [wild, np.zeros(count), rng.exponential(size=count), -np.abs(wild), rng.normal(size=count) * 5e-324]
    )
    assert exact_rows(rows) == [ExactSum.of(row) for row in rows]


@pytest.mark.parametrize("count", [1, 3, 1000, 2**15])
def test_rows_of_about_one_size_are_added_up_together(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(count)
    wild = rng.normal(size=count) * 2.0 ** rng.integers(-1070, 890, count)
    peak = np.abs(wild).max()
    rows = np.array([wild, np.zeros(count), rng.random(count) * peak, -np.abs(wild), np.full(count, -peak), wild[::-1]])
    wanted = [ExactSum.of(row) for row in rows]
    monkeypatch.setattr(ExactSum, "of", None)
    assert exact_rows(rows) == wanted


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e300])
def test_rows_with_a_value_that_is_odd_have_their_sums(odd: float) -> None:
    rows = np.random.default_rng(1).normal(size=(3, 50))
    rows[1, 7] = odd
    assert exact_rows(rows) == [ExactSum.of(row) for row in rows]


def test_no_rows_have_no_sums() -> None:
    assert exact_rows(np.zeros((0, 5))) == []


@pytest.mark.parametrize("count", [1, 40, 1000, 2**15])
def test_sums_by_entry_are_the_sums_of_its_values(count: int) -> None:
    rng = np.random.default_rng(count)
    wild = rng.normal(size=count) * 2.0 ** rng.integers(-1070, 890, count)
    for values in (wild, np.full(count, np.nextafter(1, 0)), -np.abs(wild), rng.normal(size=count) * 5e-324):
        entries = rng.integers(0, 5, count)
        assert exact_by(entries, values, 7) == [ExactSum.of(values[entries == entry]) for entry in range(7)]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e300])
def test_sums_by_entry_with_a_value_that_is_odd_are_sums_too(odd: float) -> None:
    values, entries = np.random.default_rng(1).normal(size=60), np.arange(60) % 3
    values[7] = odd
    assert exact_by(entries, values, 3) == [ExactSum.of(values[entries == entry]) for entry in range(3)]
