"""How a sample's labels are ordered by their scores, as (samples, labels): scikit-learn's two measures of that.

In pieces, since each takes several arrays of the scores' size.
"""

from collections.abc import Callable

import numpy as np

from core.reports.samples import Array, Samples

PIECE = 2**18  # scores that are sorted at a time


def _in_pieces(samples: Samples, of: Callable[[Array, Array, Array], Array]) -> Array:
    labels = max(1, samples["scores"].shape[1])
    rows = max(1, PIECE // labels)
    found = [
        of(*(samples[name][start : start + rows] for name in ("scores", "truths", "there")))
        for start in range(0, samples.size, rows)
    ]
    return np.concatenate(found) if found else np.zeros(0)


def ranking_loss(samples: Samples) -> Array:
    """The share of the pairs of a true and a false label of each sample that are not in order, 0 without pairs."""
    return _in_pieces(samples, _ranking_loss)


def _ranking_loss(scores: Array, truths: Array, there: Array) -> Array:
    false = there & ~truths
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")
    ranked, true, wrong = (np.take_along_axis(values, order, axis=1) for values in (scores, truths, false))
    # False labels that are at least as good as a true one: those up to the end of the run of equal scores it is in.
    last = np.ones(ranked.shape, bool)
    last[:, :-1] = ranked[:, :-1] != ranked[:, 1:]
    above = np.cumsum(wrong, axis=1)
    width = ranked.shape[1]
    ends = np.where(last, np.arange(width), width)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    lost = (np.take_along_axis(above, ends, axis=1) * true).sum(axis=1)
    pairs = true.sum(axis=1) * wrong.sum(axis=1)
    with np.errstate(all="ignore"):
        return np.where(pairs > 0, lost / pairs, 0.0)


def coverage_error(samples: Samples) -> Array:
    """How many labels of each sample score at least as much as its worst true one, 0 without any."""
    return _in_pieces(samples, _coverage_error)


def _coverage_error(scores: Array, truths: Array, there: Array) -> Array:
    worst = np.where(truths, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    return np.asarray(((scores >= worst) & there & truths.any(axis=1, keepdims=True)).sum(axis=1), np.float64)
