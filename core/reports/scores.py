"""The weights of positives and negatives by the key of their score: what ranking metrics and curves are read from."""

from dataclasses import dataclass

import numpy as np

from core.reports import ranking
from core.reports.build import EXACT_SCORES, histogram
from core.reports.declare import Part
from core.reports.parts.histogram import Histogram
from core.reports.parts.keys import keys, probability_keys
from core.reports.samples import Samples
from core.reports.spec import Spec
from core.reports.view import View
from core.rules import Array

BITS = 20  # of a score beyond 65,536 distinct ones: 11 of its mantissa
BITS_BY_CLASS = 14  # beyond 65,536 distinct pairs of class and score


def score_keys(scores: Array, kind: str) -> Array:
    """The key of each of `scores`, float32, none of them NaN."""
    return probability_keys(scores) if kind == "probabilities" else keys(scores)


def _channels(spec: Spec) -> int:
    """The weights of positives and negatives, and the squares of those if they are not all 1."""
    return 4 if spec.weighted else 2


def _contributions(positive: Array, weight: Array | None) -> list[Array]:
    sides = [positive, ~positive]
    if weight is None:
        return sides
    return [np.where(side, values, 0.0) for values in (weight, weight * weight) for side in sides]


def _of_samples(samples: Samples) -> Histogram:
    scores, positive, weight = samples["score"].astype(np.float32), samples["target"] == 1, samples.weight
    numbers = ~np.isnan(scores)
    if not numbers.all():
        scores, positive = scores[numbers], positive[numbers]
        weight = None if weight is None else weight[numbers]
    found = score_keys(scores, samples.spec.scores).astype(np.uint64)
    return Histogram.of(found, _contributions(positive, weight), BITS, EXACT_SCORES)


SCORES = histogram(
    "scores", "The weights of positives and negatives by their score.", _of_samples, channels=_channels, bits=BITS
)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Weights by distinct score, ascending. `bound` is how far an AUROC of them may be from that of the scores."""

    positives: Array
    negatives: Array
    squares: tuple[Array, Array]
    thresholds: Array  # the least score of each
    bound: float


def of_scores(view: View) -> Ranked:
    """The part `scores` of a state. With a score that is NaN no order is defined, and every weight is NaN."""
    return view.once("ranked", _ranked)


def _ranked(view: View) -> Ranked:
    part, spec = view.parts["scores"], view.spec
    channels = [part.values(channel) for channel in range(_channels(spec))]
    if view.sums("counts")[3]:
        channels = [np.full_like(channel, np.nan) for channel in channels]
    positives, negatives = channels[:2]
    exact = part.fine and spec.dtype == "float32"
    low = part.edges(probability=spec.scores == "probabilities")[0]
    return Ranked(
        positives,
        negatives,
        (channels[-2], channels[-1]),
        low,
        0.0 if exact else ranking.auroc_bound(positives, negatives),
    )


def _of_rows(samples: Samples) -> Histogram:
    scores, positive = samples["scores"].astype(np.float32), samples["truths"]
    there = samples["there"] & ~np.isnan(scores)
    row = np.broadcast_to(np.arange(scores.shape[1], dtype=np.uint64), scores.shape)[there]
    kind = "log_probabilities" if samples.spec.scores == "logits" else samples.spec.scores  # logits and logs alike
    found = row << np.uint64(32) | score_keys(scores[there], kind).astype(np.uint64)
    weight = None if samples.weight is None else np.broadcast_to(samples.weight[:, None], scores.shape)[there]
    contributions = _contributions(positive[there], weight)[:2]
    return Histogram.of(found, contributions, BITS_BY_CLASS, EXACT_SCORES)


def _asked(spec: Spec) -> bool:
    return not {"auroc", "average_precision"}.isdisjoint(spec.metrics)


SCORES_BY_CLASS: Part = histogram(
    "scores_by_class",
    "The weights of positives and negatives of each class (label) by its score.",
    _of_rows,
    channels=lambda spec: 2,
    bits=BITS_BY_CLASS,
    kept=_asked,
    rows=lambda spec: spec.classes,
)


def by_row(view: View, metric: str) -> tuple[Array, Array, Array]:
    """Of each class or label the metric ("auroc" or "average_precision"; NaN where there is only one side), the
    weight of its positives, and how far an AUROC may be from that of the scores."""
    part, classes = view.parts["scores_by_class"], view.spec.classes
    positives, negatives = part.values(0), part.values(1)
    rows = (part.keys >> np.uint64(32)).astype(np.int64)
    values, bounds = ranking.auroc_by_row(rows, positives, negatives, classes)
    if part.fine and view.spec.dtype == "float32":
        bounds = np.zeros_like(bounds)
    if metric == "average_precision":
        values = np.where(
            np.isnan(values), np.nan, ranking.average_precision_by_row(rows, positives, negatives, classes)
        )
    return values, np.bincount(rows, positives, classes), bounds
