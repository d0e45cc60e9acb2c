"""The ROC and the precision-recall curve, from the weight of either class at each distinct score.

`positives` and `negatives` (keys,) are as in core.reports.ranking, `thresholds` (keys,) are the keys' scores,
ascending. Both curves start where nothing is called positive, at the threshold infinity, and go down from there.
Without any weight there is no point. More than `most` points are thinned: points on a straight line go first, and the
corners of the convex hull (the only thresholds that are best for some cost of errors) go last.
"""

import heapq
import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.reports.segments import Floats, Runs

MOST_POINTS = 500
# Nearer to a line than this, in units of the curve's square, a point is on it: a hundred roundings.
ON_A_LINE = 1e-14


class Roc(NamedTuple):
    """False and true positive rate at each threshold, float64 (points,)."""

    false_positive_rate: Floats
    true_positive_rate: Floats
    thresholds: Floats


class PrecisionRecall(NamedTuple):
    """Precision and recall at each threshold, float64 (points,)."""

    precision: Floats
    recall: Floats
    thresholds: Floats


def roc_points(positives: Floats, negatives: Floats, thresholds: NDArray[np.floating], most: int = MOST_POINTS) -> Roc:
    """The ROC curve from (0, 0) at infinity to (1, 1); a rate of a class without weight is NaN.

    Source: sklearn.metrics.roc_curve(drop_intermediate=False).
    """
    found, wrong, at = _counts(positives, negatives, thresholds)
    if not at.size:
        return Roc(found, wrong, at)
    kept = thin(_share(wrong, 0.0), _share(found, 0.0), most)
    return Roc(_share(wrong, math.nan)[kept], _share(found, math.nan)[kept], at[kept])


def pr_points(
    positives: Floats, negatives: Floats, thresholds: NDArray[np.floating], most: int = MOST_POINTS
) -> PrecisionRecall:
    """The precision-recall curve from recall 0, precision 1 at infinity.

    Where no positive has weight, recall is 1 at every other threshold.
    Source: sklearn.metrics.precision_recall_curve, which gives the same points the other way round.
    """
    found, wrong, at = _counts(positives, negatives, thresholds)
    if not at.size:
        return PrecisionRecall(found, wrong, at)
    returned = found + wrong
    precision = np.divide(found, returned, out=np.ones_like(found), where=returned > 0)
    recall = _share(found, 1.0)
    recall[0] = 0.0
    kept = thin(recall, precision, most)
    return PrecisionRecall(precision[kept], recall[kept], at[kept])


def thin(x: Floats, y: Floats, most: int) -> NDArray[np.int64]:
    """Which points of a curve to keep, `most` (2 at least) or fewer, ascending: all of them if they are so few.

    First and last stay. Then come the corners of the upper convex hull, then any points; each time the one farthest
    from the line between its kept neighbours (Quickhull; Ramer 1972), until all are on such lines.
    `x` (points,) does not descend, both are in [0, 1]. Time: about a dozen passes over the points, at worst `most`.
    """
    if x.size <= most:
        return np.arange(x.size)
    kept = [0, x.size - 1]
    _refine(x, y, kept, most, lambda heights: heights)
    _refine(x, y, kept, most, np.abs)
    return np.array(kept, np.int64)


def _refine(x: Floats, y: Floats, kept: list[int], most: int, size: Callable[[Floats], Floats]) -> None:
    """Add to `kept`, sorted, the points whose height over the line between kept neighbours has the largest `size`."""
    gaps: list[tuple[float, int, int, int]] = []

    def measure(first: int, last: int) -> None:
        if last - first > 1:
            heights = size(_heights(x[first : last + 1], y[first : last + 1]))
            highest = int(np.argmax(heights))
            if heights[highest] > ON_A_LINE:
                heapq.heappush(gaps, (-float(heights[highest]), first, first + 1 + highest, last))

    for first, last in pairwise(kept):
        measure(first, last)
    while gaps and len(kept) < most:
        _, first, middle, last = heapq.heappop(gaps)
        kept.append(middle)
        measure(first, middle)
        measure(middle, last)
    kept.sort()


def _heights(x: Floats, y: Floats) -> Floats:
    """How far each inner point stands over the line from the first to the last."""
    right, up = x[-1] - x[0], y[-1] - y[0]
    length = math.hypot(right, up)
    heights: Floats = (y[1:-1] - y[0]) * right - (x[1:-1] - x[0]) * up
    return heights / length if length > 0.0 else np.zeros(heights.size)


def _counts(positives: Floats, negatives: Floats, thresholds: NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """Weight of positives and of negatives at or above each threshold that has some, descending from infinity."""
    (positives, negatives), _ = Runs.of(np.zeros(positives.size, np.int64)).scaled(positives, negatives)
    with_weight = np.flatnonzero((positives > 0) | (negatives > 0))[::-1]
    if not with_weight.size:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    found = np.concatenate((np.zeros(1), np.cumsum(positives[with_weight])))
    wrong = np.concatenate((np.zeros(1), np.cumsum(negatives[with_weight])))
    return found, wrong, np.concatenate((np.full(1, math.inf), thresholds[with_weight].astype(np.float64)))


def _share(sums: Floats, otherwise: float) -> Floats:
    """Running sums over their total, `otherwise` throughout where that is 0."""
    shares: Floats = sums / sums[-1] if sums[-1] > 0 else np.full(sums.size, otherwise)
    return shares
