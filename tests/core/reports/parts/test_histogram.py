"""Histograms are the same in any order, fine or coarse by what is in them alone, and hold their scores."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import BadState
from core.reports.parts.codec import Reader, Writer
from core.reports.parts.histogram import Histogram
from core.reports.parts.keys import keys, probability_keys
from tests.core.reports.parts.written import read_again, written
from tests.core.reports.trees import merged, split

BITS, MOST = 20, 64
Rng = np.random.Generator


def random_keys(rng: Rng, count: int, distinct: int) -> NDArray[np.uint64]:
    return rng.integers(0, 2**32, distinct, np.uint64)[rng.integers(0, distinct, count)]


def of(found: NDArray[np.uint64], weight: NDArray[Any], side: NDArray[np.bool_]) -> Histogram:
    return Histogram.of(found, [weight, side], BITS, MOST)


@pytest.mark.parametrize("distinct", [1, 10, MOST, MOST + 1, 300])
@pytest.mark.parametrize("rows", [1, 5])
def test_any_split_order_and_tree_of_merges_has_the_same_bytes(distinct: int, rows: int) -> None:
    rng = np.random.default_rng(distinct)
    seen = set()
    for _ in range(60):
        count = int(rng.integers(1, 400)) if rng.random() < 0.7 else 20
        found = random_keys(rng, count, distinct) | rng.integers(0, rows, count, np.uint64) << np.uint64(32)
        weight, side = np.ldexp(rng.random(count), rng.integers(-400, 400, count)), rng.random(count) < 0.3
        whole = of(found, weight, side)
        seen.add(whole.fine)
        assert whole.fine == (len(np.unique(found)) <= MOST)
        shards = [of(found[chosen], weight[chosen], side[chosen]) for chosen in split(rng, count)]
        again = merged(rng, [*shards, Histogram.empty(2, BITS, MOST)])
        assert written(again) == written(whole)
        assert written(read_again(Histogram, written(whole), 2, BITS, MOST)) == written(whole)
        np.testing.assert_array_equal(again.values(0), whole.values(0))
    assert True in seen
    assert (False in seen) == (distinct * rows > MOST)


def test_the_union_of_keys_decides_not_those_of_a_shard() -> None:
    rng = np.random.default_rng(1)
    found = np.unique(random_keys(rng, 1000, 500))[: MOST + 1]
    ones, side = np.ones(len(found)), np.ones(len(found), bool)
    first, second = of(found[:-1], ones[:-1], side[:-1]), of(found[-1:], ones[-1:], side[-1:])
    assert first.fine
    assert second.fine
    assert not (first + second).fine
    assert (first + first).fine
    # Cut ones never become whole again, though they be few.
    near = np.arange(MOST + 1, dtype=np.uint64)
    few = of(near, ones, side)
    assert not few.fine
    assert len(few.keys) == 1
    assert written(few + second) == written(second + few)
    assert not (few + second).fine


@pytest.mark.parametrize("count", [40, 300])
def test_contributions_are_summed_by_key_and_row(count: int) -> None:
    rng = np.random.default_rng(count)
    found = random_keys(rng, count, count) | rng.integers(0, 3, count, np.uint64) << np.uint64(32)
    weight, side = rng.integers(1, 9, count).astype(np.float64), rng.random(count) < 0.5
    histogram = of(found, weight, side)
    mask = 2**64 - 1 if histogram.fine else (2**32 - 1) << 32 | (2**BITS - 1) << (32 - BITS)
    wanted: Counter[int] = Counter()
    for key, value in zip(found.tolist(), weight.tolist(), strict=True):
        wanted[key & mask] += value
    assert dict(zip(histogram.keys.tolist(), histogram.values(0).tolist(), strict=True)) == dict(wanted)
    assert histogram.values(1).sum() == side.sum()


@pytest.mark.parametrize("count", [30, 5000])
@pytest.mark.parametrize("probability", [True, False])
def test_edges_hold_the_scores(count: int, probability: bool) -> None:
    """Infinite ones too, whose cut keys reach into those that no score has."""
    rng = np.random.default_rng(count)
    if probability:
        scores = np.concatenate([rng.random(count), 2.0 ** -rng.random(9), [0, 1, 0.5]]).astype(np.float32)
    else:
        wild = np.ldexp(rng.normal(size=count), rng.integers(-140, 120, count))
        scores = np.concatenate([wild, [0, -np.inf, np.inf, 3.4e38, -3.4e38]]).astype(np.float32)
    for score in np.split(scores, len(scores)):
        own = probability_keys(score) if probability else keys(score)
        fine = Histogram.of(own.astype(np.uint64), [np.ones(1)], BITS, MOST)
        low, high = fine.edges(probability=probability)
        assert low[0] == high[0] == score[0]
        low, high = fine.coarse().edges(probability=probability)
        assert low[0] <= score[0] <= high[0]
        if probability and high[0] > 1e-30:
            assert high[0] - low[0] <= 2.0**-10 * min(high[0], 1 - low[0])


def _histogram(fine: int, found: list[int], wide: int = 0) -> bytes:
    writer = Writer()
    writer.u8(fine)
    writer.u32(len(found))
    writer.u8(wide)
    writer.array(np.array(found, np.uint64), "<u8" if wide else "<u4")
    Histogram.of(np.arange(len(found), dtype=np.uint64), [np.ones(len(found))], 32, 2**20).sums.write(writer)
    return writer.content()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_histogram(1, [2, 1]), "ascend"),
        (_histogram(1, [1, 1]), "ascend"),
        (_histogram(2, [1]), "0 or 1"),
        (_histogram(1, [1], wide=2), "0 or 1"),
        (_histogram(1, [1], wide=1), "flags"),
        (_histogram(0, []), "cannot be"),
        (_histogram(0, [1]), "cannot be"),
        (_histogram(1, list(range(MOST + 1))), "cannot be"),
    ],
)
def test_what_no_histogram_writes_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(BadState, match=says):
        Histogram.read(Reader(content), 1, BITS, MOST)
