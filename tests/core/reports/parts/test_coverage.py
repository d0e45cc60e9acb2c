"""No position is in a state twice; those that touch become one span."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadState
from core.reports.parts.codec import Reader, Writer
from core.reports.parts.coverage import Coverage
from tests.core.reports.parts.written import read_again, written
from tests.core.reports.trees import merged

spans = st.tuples(st.sampled_from(["a", "b", "é"]), st.integers(0, 12), st.integers(0, 12))


@given(st.lists(spans, max_size=6), st.integers(0, 2**32 - 1))
def test_a_sum_has_all_positions_once_or_is_refused(given_spans: list[tuple[str, int, int]], seed: int) -> None:
    positions = [(name, place) for name, start, stop in given_spans for place in range(start, stop)]
    parts = [Coverage(), *(Coverage.of(*span) for span in given_spans)]
    rng = np.random.default_rng(seed)
    if len(set(positions)) < len(positions):
        with pytest.raises(BadState, match="would count twice"):
            merged(rng, parts)
        return
    found = merged(rng, parts)
    covered = [(name, place) for name, held in found.shards.items() for span in held for place in range(*span)]
    assert sorted(covered) == sorted(positions)
    assert all(a < b for held in found.shards.values() for a, b in pairwise(end for span in held for end in span))
    assert written(found) == written(merged(rng, parts))
    assert written(read_again(Coverage, written(found))) == written(found)


def test_spans_that_touch_become_one() -> None:
    found = Coverage.of("a", 0, 5) + Coverage.of("a", 10, 12) + Coverage.of("a", 5, 10)
    assert found.shards == {"a": ((0, 12),)}


def test_an_error_names_the_shard_and_the_positions() -> None:
    with pytest.raises(BadState, match=r"the shard 'a' is in both states: positions 3 to 4 would count twice"):
        Coverage.of("a", 0, 5) + Coverage.of("a", 3, 9)
    with pytest.raises(BadState, match=r"positions 3 to 4"):
        Coverage.of("a", 0, 9) + Coverage.of("a", 3, 5)


def _shards(*shards: tuple[str, list[int]]) -> bytes:
    writer = Writer()
    writer.u32(len(shards))
    for name, ends in shards:
        writer.text(name)
        writer.u32(len(ends) // 2)
        writer.array(np.array(ends, np.int64), "<i8")
    return writer.content()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_shards(("b", [0, 1]), ("a", [0, 1])), "order"),
        (_shards(("a", [0, 1]), ("a", [2, 3])), "order"),
        (_shards(("a", [])), "ascend"),
        (_shards(("a", [-1, 1])), "ascend"),
        (_shards(("a", [1, 1])), "ascend"),
        (_shards(("a", [0, 2, 2, 3])), "ascend"),
        (_shards(("a", [0, 3, 2, 4])), "ascend"),
        (b"\xff\xff\xff\xff", "ends early"),
        (b"\1\0\0\0\1\0\0\0a\xff\xff\xff\xff", "ends early"),
    ],
)
def test_what_no_coverage_writes_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(BadState, match=says):
        Coverage.read(Reader(content))
