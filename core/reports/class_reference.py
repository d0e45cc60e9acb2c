"""Columns of samples whose target is one of several classes, in float64 NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.formulas import x_log_y_reference

Array = NDArray[Any]


def _reference_pieces(kind: str, scores: Array) -> tuple[Array, Array, Array, Array]:
    """The probabilities, p log p, -log p and the logarithm of the sum of exponentials, (samples, 1)."""
    if kind == "probabilities":
        return scores, x_log_y_reference(scores, scores), -np.log(scores), np.zeros((len(scores), 1))
    shift = scores.max(axis=1, keepdims=True) if kind == "logits" else np.zeros((len(scores), 1))
    logs = scores - shift
    normalizer = np.log(np.exp(logs).sum(axis=1, keepdims=True)) if kind == "logits" else shift
    logs = logs - normalizer
    p = np.exp(logs)
    return p, p * np.where(p > 0, logs, 0.0), 0.0 - logs, shift + normalizer


def reference(kind: str, outputs: tuple[str, ...], scores: Array, targets: Array, ignore_index: int) -> Any:
    """What core.reports.class_columns.graph gives; NaN is the largest score, and makes every float NaN."""
    ignored = targets == ignore_index
    target = np.where(ignored, 0, targets)[:, None]
    index = np.arange(scores.shape[1])
    with np.errstate(all="ignore"):
        p, p_log_p, losses, normalizer = _reference_pieces(kind, scores)
        own, is_nan = np.take_along_axis(scores, target, axis=1), np.isnan(scores)
        larger = (scores > own) | (is_nan & ~np.isnan(own))
        equal = (scores == own) | (is_nan & np.isnan(own))
        own_p = np.take_along_axis(p, target, axis=1)[:, 0]
        other_p = np.where(index == target, 0.0, p).max(axis=1)
        found: dict[str, Array] = {
            "loss": np.take_along_axis(losses, target, axis=1)[:, 0],
            "predicted": scores.argmax(axis=1),
            "confidence": p.max(axis=1),
            "target_probability": own_p,
            "rank": (larger | (equal & (index < target))).sum(axis=1),
            "margin": own_p - other_p,
            "entropy": -p_log_p.sum(axis=1),
            "squared_probability": np.square(p).sum(axis=1),
            "log_normalizer": normalizer[:, 0],
        }
    undefined = np.isnan(p).any(axis=1)
    for name, column in found.items():
        whole = column.dtype.kind == "i"
        found[name] = np.where(ignored, -1 if whole else 0.0, column if whole else np.where(undefined, np.nan, column))
    return tuple(found[name] for name in outputs)
