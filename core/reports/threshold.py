"""Which samples are predicted to be positive: those whose probability is at least the threshold.

It is compared on the scores as they were given, so that probabilities that saturate decide nothing.
"""

import numpy as np

from core.reports.samples import Array
from core.reports.spec import Spec

MOST_STEPS = 64


def cut(threshold: float, scores: str) -> np.float64:
    """The least of `scores`, a kind of them, whose probability is at least `threshold`."""
    share = np.float64(threshold)
    if scores == "probabilities":
        return share
    with np.errstate(divide="ignore"):
        return np.float64(np.log(share / (1 - share)) if scores == "logits" else np.log(share))


def threshold_of(score: float, scores: str) -> float:
    """A threshold from which on what scores at least `score` is positive: the probability that it means, or the next
    smaller ones where rounding would leave it out."""
    with np.errstate(over="ignore"):
        found = np.float64(score)
        if scores == "logits":
            found = 1 / (1 + np.exp(-found))
        elif scores == "log_probabilities":
            found = np.exp(found)
    for _ in range(MOST_STEPS):
        if not cut(float(found), scores) > score:
            break
        found = np.nextafter(found, 0)
    return float(found)


def predicted_positive(scores: Array, spec: Spec) -> Array:
    """Whether the probability that each of `scores` means is at least the threshold: logits from log(t / (1 - t)) on,
    log-probabilities from log t on. NaN is the largest score."""
    found: Array = ~(scores < cut(spec.threshold, spec.scores))
    return found
