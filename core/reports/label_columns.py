"""Columns of yes-or-no targets, as ONNX graphs and in float64 NumPy: of single elements, and of rows of labels.

An element's target is 1, 0 or ignored. NaN is the largest score, so that it counts as predicted positive; its loss and
its probability are NaN.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.formulas import DOUBLE, log1p, log1p_of_unit, row_sum
from core.reports.class_columns import count

Array = NDArray[Any]
HALF = -0.6931471805599453  # log(1/2)
LEAST = -1e38  # stands for -infinity, which 0 times would be NaN
CUT = -100.0  # of logarithms of given probabilities, as PyTorch's binary_cross_entropy cuts them


def _of_logits(op: Any, x: Any, positive: Any) -> tuple[Any, Any]:
    small = op.Exp(op.Neg(op.Abs(x)))
    own = op.Mul(x, op.Sub(op.Mul(op.CastLike(positive, x), 2.0), 1.0))
    loss = op.Sub(log1p_of_unit(op, small), op.Min(own, 0.0))
    return loss, op.Div(op.Exp(op.Min(x, 0.0)), op.Add(small, 1.0))


def _of_log_probabilities(op: Any, logs: Any, positive: Any) -> tuple[Any, Any]:
    logs = op.Min(logs, 0.0)
    p = op.Exp(logs)
    # Kahan's 1 - exp(x), exact where that is small.
    rest = op.Where(op.Equal(p, 1.0), op.Neg(logs), op.Div(op.Mul(op.Sub(1.0, p), logs), op.Log(p)))
    negative = op.Where(op.Less(logs, HALF), log1p(op, op.Neg(p)), op.Log(rest))
    loss = _either(op, positive, op.Max(logs, LEAST), op.Max(negative, LEAST))
    return op.Where(op.GreaterOrEqual(loss, -LEAST), float("inf"), loss), p


def _of_probabilities(op: Any, p: Any, positive: Any) -> tuple[Any, Any]:
    return _either(op, positive, op.Max(op.Log(p), CUT), op.Max(log1p(op, op.Neg(p)), CUT)), p


def _either(op: Any, positive: Any, yes: Any, no: Any) -> Any:
    """-yes or -no, finite both. Where takes ten times as long, if what it chooses is random."""
    share = op.CastLike(positive, yes)
    return op.Sub(op.Mul(op.Sub(share, 1.0), no), op.Mul(share, yes))


def _without(op: Any, kind: str, ignored: Any, scores: Any) -> Any:
    """The scores, and instead of those that are ignored the one whose probability is 0, and so its loss."""
    return op.Where(ignored, 0.0 if kind == "probabilities" else float("-inf"), scores)


_PIECES = {"logits": _of_logits, "log_probabilities": _of_log_probabilities, "probabilities": _of_probabilities}


def binary_graph(op: Any, kind: str, scores: Any, targets: Any, ignore_index: Any) -> Any:
    """Loss and probability of flat scores of `kind`."""
    ignored = op.Equal(targets, ignore_index)
    positive = op.And(op.Not(ignored), op.Equal(targets, 1))
    return _PIECES[kind](op, _without(op, kind, ignored, scores), positive)


def _cut(op: Any, kind: str, threshold: Any) -> Any:
    """From which score on a label is predicted positive."""
    if kind == "logits":
        return op.Log(op.Div(threshold, op.Sub(1.0, threshold)))
    return op.Log(threshold) if kind == "log_probabilities" else threshold


def multilabel_graph(op: Any, kind: str, scores: Any, targets: Any, ignore_index: Any, threshold: Any) -> Any:
    """Loss and counts of (samples, labels) scores of `kind`."""
    ignored = op.Equal(targets, ignore_index)
    kept = op.Not(ignored)
    positive = op.And(kept, op.Equal(targets, 1))
    losses, _ = _PIECES[kind](op, _without(op, kind, ignored, scores), positive)
    predicted = op.And(kept, op.Not(op.Less(op.Cast(scores, to=DOUBLE), _cut(op, kind, threshold))))
    labels = count(op, kept, scores)
    total = row_sum(op, losses)
    loss = op.Div(total, op.CastLike(op.Max(labels, 1), scores))
    counts = [count(op, flags, scores) for flags in (positive, predicted, op.And(positive, predicted))]
    return loss, labels, *counts


def _reference_pieces(kind: str, scores: Array, positive: Array) -> tuple[Array, Array]:
    if kind == "logits":
        own = np.where(positive, scores, -scores)
        small = np.exp(-np.abs(scores))
        return np.log1p(small) - np.minimum(own, 0.0), np.where(scores < 0, small, 1.0) / (1 + small)
    if kind == "log_probabilities":
        logs = np.minimum(scores, 0.0)
        negative = np.where(logs < HALF, np.log1p(-np.exp(logs)), np.log(-np.expm1(logs)))
        return 0.0 - np.where(positive, logs, negative), np.exp(logs)
    return 0.0 - np.maximum(np.where(positive, np.log(scores), np.log1p(-scores)), CUT), scores


def binary_reference(kind: str, scores: Array, targets: Array, ignore_index: int) -> tuple[Array, ...]:
    """What `binary_graph` gives, in float64."""
    ignored = targets == ignore_index
    with np.errstate(all="ignore"):
        loss, probability = _reference_pieces(kind, scores, targets == 1)
    return np.where(ignored, 0.0, loss), np.where(ignored, 0.0, probability)


def multilabel_reference(
    kind: str, scores: Array, targets: Array, ignore_index: int, threshold: float
) -> tuple[Array, ...]:
    """What `multilabel_graph` gives, in float64."""
    kept, positive = targets != ignore_index, targets == 1
    with np.errstate(all="ignore"):
        losses, _ = _reference_pieces(kind, scores, positive)
        share = np.float64(threshold)
        cuts = {"logits": np.log(share / (1 - share)), "log_probabilities": np.log(share), "probabilities": share}
    predicted, positive = kept & ~(scores < cuts[kind]), kept & positive
    labels = kept.sum(axis=1)
    loss = np.where(kept, losses, 0.0).sum(axis=1) / np.maximum(labels, 1)
    return (loss, labels, *(flags.sum(axis=1) for flags in (positive, predicted, positive & predicted)))
