"""Sums over runs are those of each run alone."""

import math
from fractions import Fraction

import numpy as np
import pytest

from core.reports.segments import Runs


def test_runs_are_found_whatever_their_labels() -> None:
    runs = Runs.of(np.array([7, 7, 2, 9, 9, 9]))
    assert runs.starts.tolist() == [0, 2, 3]
    assert runs.lengths.tolist() == [2, 1, 3]
    assert runs.labels.tolist() == [7, 2, 9]
    assert runs.total(np.arange(6.0)).tolist() == [1.0, 2.0, 12.0]
    assert runs.running(np.arange(6.0)).tolist() == [0.0, 1.0, 2.0, 3.0, 7.0, 12.0]


def test_no_keys_are_no_runs() -> None:
    nothing = np.zeros(0)
    runs = Runs.of(np.zeros(0, np.int64))
    assert runs.starts.size == runs.lengths.size == runs.labels.size == 0
    assert runs.total(nothing).size == runs.running(nothing).size == 0
    channels, powers = runs.scaled(nothing, nothing)
    assert [channel.size for channel in channels] == [0, 0]
    assert powers.size == 0


def test_running_sums_of_a_small_run_keep_their_digits_behind_large_ones() -> None:
    rng = np.random.default_rng(71)
    large, small = rng.random(50_000) * 1e9, rng.random(50)
    runs = Runs.of(np.repeat((0, 1), (large.size, small.size)))
    found = runs.running(np.concatenate((large, small)))[large.size :]
    true = np.cumsum([Fraction(value) for value in small])
    np.testing.assert_allclose(found, true.astype(np.float64), rtol=1e-14)
    # The plain difference of running sums is not that good, or this would test nothing.
    plain = np.cumsum(np.concatenate((large, small)))
    assert np.abs((plain[large.size :] - plain[large.size - 1]) - found).max() > 1e-6


@pytest.mark.parametrize("size", [5e-324, 1e-300, 0.7, 1.0, 1e300, 1.7e308])
def test_scaled_channels_share_a_power_of_two(size: float) -> None:
    runs = Runs.of(np.array([0, 0, 1]))
    (first, second), powers = runs.scaled(np.array([size, 0.0, 0.0]), np.array([size / 2, size / 4, 0.0]))
    assert 0.5 <= first.max() < 1.0
    assert math.ldexp(first[0], int(powers[0])) == size
    assert math.ldexp(second[1], int(powers[0])) == size / 4
    assert first[2] == second[2] == powers[1] == 0


@pytest.mark.parametrize("spoilt", [math.inf, math.nan])
def test_a_run_that_is_not_finite_becomes_nothing(spoilt: float) -> None:
    (first, second), _ = Runs.of(np.array([0, 0, 1])).scaled(np.array([1.0, spoilt, 0.5]), np.array([1.0, 1.0, 0.5]))
    assert first.tolist() == second.tolist() == [0.0, 0.0, 0.5]
