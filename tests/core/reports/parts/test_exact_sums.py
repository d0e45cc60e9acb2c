"""Sums are those of fractions, however they are split, placed and merged, and have one form as bytes."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from core.errors import BadState
from core.reports.parts.codec import Reader, Writer
from core.reports.parts.exact_sums import FEW_SUMS, MOST_LIMBS, ONE, ROUNDED_SINGLY, ExactSums
from tests.core.reports.parts.written import read_again, written
from tests.core.reports.trees import merged, split

SIZE = 7
SIZES = st.sampled_from([SIZE, FEW_SUMS + 1])  # added up in one way and in the other
finite = st.floats(allow_nan=False, allow_infinity=False)
wide = st.floats(1e-300, 1e300) | st.floats(-1e300, -1e-300) | st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 2.0**-1040])
any_values = hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats() | wide)


def rounded(total: Fraction) -> float:
    try:
        return total.numerator / total.denominator
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def total_of(values: NDArray[Any]) -> float:
    """The sum, as IEEE 754 would have it without rounding and overflow on the way."""
    odd = values[~np.isfinite(values)]
    if len(odd):
        return float(odd.sum()) if not {np.inf, -np.inf} <= set(odd.tolist()) else math.nan
    return rounded(sum((Fraction(float(value)) for value in values), Fraction(0)))


def spread(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Values of every exponent and both signs, subnormal ones too."""
    sizes: NDArray[np.float64] = np.ldexp(rng.uniform(0.5, 1, count), rng.integers(-1074, 1024, count))
    signed: NDArray[np.float64] = sizes * rng.choice([-1, 1], count)
    return signed


def same(first: ExactSums, second: ExactSums) -> bool:
    return written(first) == written(second)


@given(any_values)
def test_one_sum_is_the_rounded_fraction(values: NDArray[Any]) -> None:
    wanted = total_of(values)
    for index in (None, np.zeros(len(values), np.int64)):
        found = ExactSums.of(values, index, 1)
        np.testing.assert_array_equal(found.values(), [wanted])
        np.testing.assert_array_equal(read_again(ExactSums, written(found), 1).values(), [wanted])
    assert same(ExactSums.of(values, None, 1), ExactSums.of(values, np.zeros(len(values), np.int64), 1))


@given(any_values, SIZES, st.integers(0, 2**32 - 1))
def test_sums_by_index_are_the_rounded_fractions(values: NDArray[Any], size: int, seed: int) -> None:
    index = np.random.default_rng(seed).integers(0, SIZE, len(values))
    found = ExactSums.of(values, index, size).values()
    np.testing.assert_array_equal(found, [total_of(values[index == place]) for place in range(size)])


def test_sums_that_cancel_are_those_of_fsum() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([large := spread(rng, 2000) / 2**60, -large, rng.normal(size=500)])
    rng.shuffle(values)
    assert ExactSums.of(values, None, 1).values() == math.fsum(values.tolist())
    few = np.ldexp(rng.normal(size=3000), rng.integers(-140, 120, 3000)).astype(np.float32)
    assert ExactSums.of(few, None, 1).values() == math.fsum(few.tolist())


@given(any_values, SIZES, st.integers(0, 2**32 - 1))
def test_any_split_order_and_tree_of_merges_has_the_same_bytes(values: NDArray[Any], size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = rng.integers(0, SIZE, len(values))
    whole = written(ExactSums.of(values, index, size))
    parts = [ExactSums.of(values[chosen], index[chosen], size) for chosen in split(rng, len(values))]
    assert written(merged(rng, [*parts, ExactSums.zeros(size)])) == whole
    assert written(read_again(ExactSums, whole, size)) == whole


@given(any_values, st.integers(0, 2**32 - 1))
def test_few_sums_are_added_up_to_the_same_bytes_as_many(values: NDArray[Any], seed: int) -> None:
    index = np.random.default_rng(seed).integers(0, SIZE, len(values))
    few, many = (ExactSums.of(values, index, size) for size in (SIZE, FEW_SUMS + 1))
    assert same(few, many.part(0, SIZE))


def test_merging_what_was_read_is_as_merging_what_was_made() -> None:
    rng = np.random.default_rng(4)
    for _ in range(100):
        values, index = spread(rng, 50), rng.integers(0, SIZE, 50)
        parts = [ExactSums.of(values[chosen], index[chosen], SIZE) for chosen in split(rng, 50)]
        again = [read_again(ExactSums, written(part), SIZE) for part in parts]
        assert same(merged(rng, parts), merged(rng, again))


def test_opposite_sums_leave_no_trace() -> None:
    values = spread(np.random.default_rng(5), 100)
    index = np.arange(100) % SIZE
    found = ExactSums.of(values, index, SIZE) + ExactSums.of(-values, index, SIZE)
    assert same(found, ExactSums.zeros(SIZE))
    np.testing.assert_array_equal(found.values(), np.zeros(SIZE))


@given(hnp.arrays(np.int64, 5, elements=st.integers(-(2**61), 2**61)))
def test_counts_are_sums_of_ones(counts: NDArray[np.int64]) -> None:
    found = ExactSums.of_counts(counts)
    np.testing.assert_array_equal(found.values(), counts.astype(np.float64))
    assert same(found, ExactSums.of(counts.astype(np.float64), np.arange(5), 5)) or (np.abs(counts) > 2**53).any()
    assert written(read_again(ExactSums, written(found), 5)) == written(found)
    np.testing.assert_array_equal((found + found).values(), 2.0 * counts)


def test_counts_and_weights_of_one_are_the_same_bytes() -> None:
    index = np.random.default_rng(6).integers(0, SIZE, 1000)
    ones = ExactSums.of(np.ones(1000), index, SIZE)
    assert same(ones, ExactSums.of_counts(np.bincount(index, minlength=SIZE)))


@given(any_values, st.integers(0, 2**32 - 1))
def test_joined_placed_part_and_grouped_move_sums_without_changing_them(values: NDArray[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = rng.integers(0, SIZE, len(values))
    sums = ExactSums.of(values, index, SIZE)
    joined = ExactSums.joined([sums, ExactSums.zeros(2), ExactSums.of_counts(np.arange(3))])
    assert same(joined.part(0, SIZE), sums)
    assert same(joined.part(SIZE + 2, SIZE + 5), ExactSums.of_counts(np.arange(3)))
    np.testing.assert_array_equal((joined + joined).part(0, SIZE).values(), (sums + sums).values())
    positions = rng.permutation(2 * SIZE)[:SIZE]
    assert same(sums.placed(2 * SIZE, positions), ExactSums.of(values, positions[index], 2 * SIZE))
    starts = np.array([0, 1, 4])
    run = np.searchsorted(starts, index, side="right") - 1
    assert same(sums.grouped(starts), ExactSums.of(values, run, 3))


@pytest.mark.parametrize("count", [ROUNDED_SINGLY, 5000])
def test_many_sums_are_off_by_two_units_in_the_last_place_at_most(count: int) -> None:
    rng = np.random.default_rng(count)
    values = np.concatenate([spread(rng, 3 * count) / 8, large := rng.normal(size=2 * count) * 1e15, -large])
    index = np.concatenate([rng.integers(0, count, 3 * count), places := rng.integers(0, count, 2 * count), places])
    found = ExactSums.of(values, index, count).values()
    order = np.argsort(index, kind="stable")
    each = np.split(values[order], np.cumsum(np.bincount(index, minlength=count))[:-1])
    wanted = np.array([math.fsum(some.tolist()) for some in each])
    distance = np.abs(found - wanted) / np.spacing(np.abs(wanted))
    assert distance.max() <= (0 if count <= ROUNDED_SINGLY else 2)


@pytest.mark.parametrize("low", [2, 3, 4, 5, ONE - 1, ONE, ONE + 1, 65, 66, 67])
def test_sums_of_one_and_two_limbs_are_rounded_once(low: int) -> None:
    rng = np.random.default_rng(low)
    totals = [*rng.integers(-(2**63), 2**63, 300).tolist(), *(2**54 + odd for odd in range(-9, 10)), -(2**63), 0, -1]
    if low == 2:  # whose last 14 bits are below the least float
        totals = [total >> 14 << 14 for total in totals]
    unit = Fraction(2) ** (32 * (low - ONE))
    two = np.array([[total & (2**32 - 1) for total in totals], [total >> 32 for total in totals]])
    for limbs in (two, two[1:]):
        whole = totals if len(limbs) == 2 else limbs[0].tolist()
        found = ExactSums(len(totals), low, limbs).values()
        assert found.tolist() == [rounded(total * unit) for total in whole]


def test_sums_past_the_largest_number_are_infinite_until_they_come_back() -> None:
    for size in (1, 5000):
        most = ExactSums.of(np.full(size, np.finfo(np.float64).max), np.arange(size), size)
        less = ExactSums.of(np.full(size, -np.finfo(np.float64).max), np.arange(size), size)
        assert (most + most).values().min() == np.inf
        assert (less + less).values().max() == -np.inf
        np.testing.assert_array_equal((most + less + most).values(), most.values())


def test_of_nothing_there_is_nothing() -> None:
    none = ExactSums.of(np.zeros(0), np.zeros(0, np.int64), 0)
    assert same(none, ExactSums.zeros(0))
    assert same(ExactSums.joined([none, ExactSums.zeros(0)]), none)
    assert len(read_again(ExactSums, written(none), 0).values()) == 0


def _sums(low: int, words: list[int], odd: list[int] | None = None, flag: int | None = None) -> bytes:
    writer = Writer()
    writer.u32(low)
    writer.u32(len(words))
    writer.array(np.array(words, np.uint32), "<u4")
    writer.u8((odd is not None) if flag is None else flag)
    if odd is not None:
        writer.array(np.array(odd, np.int64), "<i8")
    return writer.content()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_sums(0, [0]), "say nothing"),
        (_sums(ONE, [1, 0]), "say nothing"),
        (_sums(ONE, [0, 1]), "say nothing"),
        (_sums(ONE, [2**32 - 1, 2**32 - 1]), "say nothing"),
        (_sums(ONE, []), "80"),
        (_sums(MOST_LIMBS, [1]), "80"),
        (_sums(2**32 - 1, [1]), "80"),
        (_sums(ONE, [1], flag=2), "0 or 1"),
        (_sums(ONE, [1], [0, 0, 0]), "non-finite"),
        (_sums(ONE, [1], [1, -1, 0]), "non-finite"),
        (_sums(ONE, [1], [2**62, 0, 0]), "non-finite"),
    ],
)
def test_what_no_sum_writes_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(BadState, match=says):
        ExactSums.read(Reader(content), 1)


@given(st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 2**32 - 1]), max_size=5), st.integers(0, 80))
def test_limbs_that_are_read_are_written_as_they_were(words: list[int], low: int) -> None:
    content = _sums(low, words)
    try:
        found = read_again(ExactSums, content, 1)
    except BadState:
        return
    assert written(found) == content
