"""Curves are scikit-learn's, and thinned ones keep their corners and stay near what they leave out."""

import math
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from core.reports.curves import pr_points, roc_points, thin
from tests.core.reports.data import Array, binary_cases, histogram


def test_few_points_are_scikit_learns() -> None:
    for data in binary_cases(21, 100):
        held = histogram(data)
        curve = roc_points(held.positives, held.negatives, held.keys, most=1000)
        expected = roc_curve(data.targets, data.scores, sample_weight=data.weights, drop_intermediate=False)
        for found, wanted in zip(curve, expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
        precision, recall, thresholds = pr_points(held.positives, held.negatives, held.keys, most=1000)
        expected = precision_recall_curve(data.targets, data.scores, sample_weight=data.weights)
        np.testing.assert_allclose(precision[::-1], expected[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(recall[::-1], expected[1], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(thresholds[::-1], [*expected[2], math.inf])


@pytest.mark.filterwarnings("ignore:No (positive|negative):sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.filterwarnings("ignore:No positive class:UserWarning")
@pytest.mark.parametrize("target", [0, 1])
def test_one_class_is_scikit_learns(target: int) -> None:
    scores, targets = np.array([1.0, 2.0, 5.0]), np.full(3, target)
    weights = np.ones(3)
    curve = roc_points(weights * target, weights * (1 - target), scores)
    for found, wanted in zip(curve, roc_curve(targets, scores, drop_intermediate=False, pos_label=1), strict=True):
        np.testing.assert_array_equal(found, wanted)
    precision, recall, _ = pr_points(weights * target, weights * (1 - target), scores)
    wanted = precision_recall_curve(targets, scores, pos_label=1)
    np.testing.assert_array_equal(precision[::-1], wanted[0])
    np.testing.assert_array_equal(recall[::-1], wanted[1])


@pytest.mark.parametrize("keys", [0, 3])
def test_no_weight_gives_no_points(keys: int) -> None:
    nothing = np.zeros(keys)
    for curve in (roc_points(nothing, nothing, nothing), pr_points(nothing, nothing, nothing)):
        assert [values.size for values in curve] == [0, 0, 0]


def test_thresholds_may_be_float32() -> None:
    thresholds = np.array([0.1, 0.2], np.float32)
    curve = roc_points(np.array([0.0, 1.0]), np.array([1.0, 0.0]), thresholds)
    np.testing.assert_array_equal(curve.thresholds, [math.inf, thresholds[1], thresholds[0]])
    assert curve.thresholds.dtype == np.float64


def hull(x: Array, y: Array) -> list[int]:
    """The corners of the upper convex hull: Andrew's monotone chain."""
    kept: list[int] = []
    for point in range(x.size):
        while len(kept) > 1:
            first, last = kept[-2:]
            turn = (x[last] - x[first]) * (y[point] - y[first]) - (y[last] - y[first]) * (x[point] - x[first])
            if turn < -1e-13:
                break
            kept.pop()
        kept.append(point)
    return kept


def distances(x: Array, y: Array, kept: Array) -> Array:
    """How far each point is from the kept line over it."""
    worst = np.zeros(x.size)
    for first, last in pairwise(kept):
        step, offset = np.array([x[last] - x[first], y[last] - y[first]]), np.stack((x, y), axis=1)[first : last + 1]
        offset = offset - offset[0]
        along = np.clip(offset @ step / max(step @ step, 1e-300), 0, 1)
        worst[first : last + 1] = np.hypot(*(offset - along[:, None] * step).T)
    return worst


@pytest.mark.parametrize("separation", [0.0, 0.5, 2.0])
def test_many_points_are_thinned_to_the_corners_and_what_lies_near(separation: float) -> None:
    rng = np.random.default_rng(22)
    keys = np.concatenate((rng.normal(size=20_000), rng.normal(separation, 1, size=20_000)))
    order = np.argsort(keys)
    positives, negatives = np.repeat((0.0, 1.0), 20_000)[order], np.repeat((1.0, 0.0), 20_000)[order]
    whole = roc_points(positives, negatives, keys[order], most=50_000)
    corners = hull(whole.false_positive_rate, whole.true_positive_rate)
    assert 5 < len(corners) < 500
    curve = roc_points(positives, negatives, keys[order])
    assert curve.thresholds.size == 500
    kept = np.searchsorted(-whole.thresholds, -curve.thresholds)
    np.testing.assert_array_equal(whole.true_positive_rate[kept], curve.true_positive_rate)
    assert set(corners) <= set(kept.tolist())
    assert distances(whole.false_positive_rate, whole.true_positive_rate, kept).max() < 0.002

    all_pr, pr = pr_points(positives, negatives, keys[order], most=50_000), pr_points(positives, negatives, keys[order])
    kept = np.searchsorted(-all_pr.thresholds, -pr.thresholds)
    assert set(hull(all_pr.recall, all_pr.precision)) <= set(kept.tolist())
    assert distances(all_pr.recall, all_pr.precision, kept).max() < 0.02  # it jumps at the start


def test_points_on_a_line_go_first() -> None:
    # Up, right, up, right in equal steps: five corners, of which two are inside the hull.
    positives, negatives = np.tile(np.repeat((1.0, 0.0), 1000), 2), np.tile(np.repeat((0.0, 1.0), 1000), 2)
    curve = roc_points(positives, negatives, np.arange(4000.0))
    np.testing.assert_array_equal(curve.false_positive_rate, [0.0, 0.5, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(curve.true_positive_rate, [0.0, 0.0, 0.5, 0.5, 1.0])
    np.testing.assert_array_equal(curve.thresholds, [math.inf, 3000.0, 2000.0, 1000.0, 0.0])


def test_points_on_a_line_go_though_their_rates_are_rounded() -> None:
    steps = np.arange(5) % 2
    positives = np.repeat(steps, 700).astype(np.float64)
    curve = roc_points(positives, 1 - positives, np.arange(3500.0))
    np.testing.assert_array_equal(curve.thresholds, [math.inf, 2800.0, 2100.0, 1400.0, 700.0, 0.0])
    slopes = np.repeat((1.0, 3.0), 1701), np.repeat((7.0, 2.0), 1701)
    slanted = roc_points(*slopes, np.arange(3402.0))
    np.testing.assert_array_equal(slanted.thresholds, [math.inf, 1701.0, 0.0])


def test_points_in_one_place_are_two() -> None:
    assert thin(np.zeros(9), np.ones(9), 5).tolist() == [0, 8]


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_many_points_of_one_class_are_two(target: float) -> None:
    weights = np.ones(1000)
    curve = roc_points(weights * target, weights * (1 - target), np.arange(1000.0))
    np.testing.assert_array_equal(curve.thresholds, [math.inf, 0.0])
    undefined = curve.false_positive_rate if target else curve.true_positive_rate
    assert np.isnan(undefined).all()


@pytest.mark.parametrize("most", [2, 3, 10, 100])
def test_a_hull_with_too_many_corners_keeps_the_highest(most: int) -> None:
    angles = np.linspace(0, np.pi / 2, 5001)
    x, y = 1 - np.cos(angles), np.sin(angles)
    kept = thin(x, y, most)
    assert kept.size == most
    assert (kept[0], kept[-1]) == (0, 5000)
    # The sagitta of a quarter circle cut in `most` - 1 equal parts; here the longest may be twice as long.
    assert distances(x, y, kept).max() < 4 * (1 - math.cos(math.pi / 4 / (most - 1))) + 1e-6


def test_corners_go_before_dents() -> None:
    # A dent deeper than the corner is high: with one point to spare it is the corner that stays.
    x, y = np.array([0.0, 0.2, 0.5, 0.6, 1.0]), np.array([0.0, 0.3, 0.1, 0.2, 1.0])
    assert thin(x, y, 3).tolist() == [0, 1, 4]
    assert thin(x, y, 4).tolist() == [0, 1, 2, 4]
    assert thin(x, y, 5).tolist() == [0, 1, 2, 3, 4]
