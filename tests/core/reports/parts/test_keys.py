"""Keys are in the order of the scores, and say which they were."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from core.reports.parts.keys import keys, probabilities, probability_keys, scores

Floats = NDArray[np.float32]
INFINITY = int(np.float32(np.inf).view(np.uint32))
ONE = int(np.float32(1).view(np.uint32))
HALF = int(np.float32(0.5).view(np.uint32))


def ascending_floats(start: int, stop: int) -> Floats:
    """The non-negative floats with bits from `start` up to `stop`: neighbours all."""
    return np.arange(start, stop, dtype=np.uint32).view(np.float32)


@given(hnp.arrays(np.float32, 40, elements=st.floats(width=32, allow_nan=False)))
def test_keys_have_the_order_of_the_scores_and_their_ties(values: Floats) -> None:
    found = keys(values)
    np.testing.assert_array_equal(found[:, None] < found, values[:, None] < values)
    np.testing.assert_array_equal(scores(found), values.astype(np.float64))


def test_neighbouring_scores_have_neighbouring_keys() -> None:
    for start, stop in ((0, 2000), (INFINITY - 2000, INFINITY + 1), (ONE - 1000, ONE + 1000)):
        up = keys(ascending_floats(start, stop))
        assert (np.diff(up.astype(np.int64)) == 1).all()
        down = keys(-ascending_floats(max(start, 1), stop))
        assert (np.diff(down.astype(np.int64)) == -1).all()
    around = keys(np.array([-1e-45, -0.0, 0.0, 1e-45], np.float32)).astype(np.int64)
    assert around[1] == around[2]
    assert (np.diff(around)[[0, 2]] > 0).all()


@given(hnp.arrays(np.float32, 40, elements=st.floats(0, 1, width=32)))
def test_keys_of_probabilities_have_their_order_and_their_ties(values: Floats) -> None:
    found = probability_keys(values)
    np.testing.assert_array_equal(found[:, None] < found, values[:, None] < values)
    np.testing.assert_array_equal(probabilities(found), values.astype(np.float64))


def test_keys_of_every_probability_near_the_ends_and_the_half_ascend_and_say_which_it_was() -> None:
    for start, stop in ((0, 2**14), (HALF - 2**14, HALF + 2**14), (ONE - 2**14, ONE + 1)):
        values = ascending_floats(start, stop)
        found = probability_keys(values)
        assert (np.diff(found.astype(np.int64)) > 0).all()
        np.testing.assert_array_equal(probabilities(found), values.astype(np.float64))


def test_cut_keys_of_probabilities_are_as_fine_at_one_end_as_at_the_other() -> None:
    """2**-24 is the distance of the last float32 below 1 from 1: it must not share a key with twice itself."""
    near = np.float32(2) ** -np.arange(1, 25, dtype=np.float32)
    for values in (near, np.float32(1) - near):
        cut = probability_keys(values) & np.uint32(0xFFFFF000)
        assert len(np.unique(cut)) == len(values)
