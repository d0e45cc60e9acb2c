"""The raw data of a report in float64, as the definitions of its metrics see it: what tests compare with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.formulas import log_softmax_reference
from core.reports.spec import SCORES
from core.rules import Array

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Data:
    """The samples that count. `targets` and `predicted` are class indices, or 0 and 1.

    multiclass: `p` and `log_p` are (samples, classes). tokens: the same for each token that counts, of which
    `sequence` says where it belongs, and `weight` is that of its sequence. binary: `p` is the positive class's, and
    `scores` what the samples are ranked by. multilabel: `p`, `scores`, `targets`, `predicted` and `there` (whether
    the label counts) are (samples, labels); `loss` is each label's.
    """

    loss: Array
    weight: Array
    targets: Array
    predicted: Array
    p: Array
    log_p: Array
    scores: Array
    there: Array
    sequence: Array
    fields: Fields

    def mean(self, values: Array) -> float:
        """The weighted mean over the samples."""
        return mean(values, self.weight)

    def by_sequence(self, values: Array) -> tuple[Array, Array]:
        """The mean of `values` over the tokens of each sequence that has any, and the sequence's weight."""
        which = np.unique(self.sequence)
        means = np.array([values[self.sequence == one].mean() for one in which])
        return means, np.array([self.weight[self.sequence == one][0] for one in which])


def mean(values: Array, weight: Array) -> float:
    """The weighted mean; NaN where there is no weight."""
    with np.errstate(all="ignore"):
        return float(np.float64((values * weight).sum()) / np.float64(weight.sum()))


def _scores(fields: Fields) -> tuple[str, Array]:
    kind = next(name for name in SCORES if name in fields)
    return kind, np.asarray(fields[kind], np.float64)


def _weights(fields: Fields, size: int) -> Array:
    return np.asarray(fields.get("sample_weight", np.ones(size)), np.float64)


def _log_p(kind: str, scores: Array) -> Array:
    if kind == "logits":
        return log_softmax_reference(scores)
    with np.errstate(divide="ignore"):
        return np.log(scores) if kind == "probabilities" else scores


def of_classes(fields: Fields) -> Data:
    """The data of a request for `multiclass`, whose scores are (samples, classes)."""
    kind, scores = _scores(fields)
    targets = np.asarray(fields["targets"])
    return _of_rows(kind, scores, targets, _weights(fields, len(targets)), np.arange(len(targets)), fields)


def of_tokens(fields: Fields) -> Data:
    """The data of a request for `tokens`, whose scores are (sequences, tokens, classes)."""
    kind, scores = _scores(fields)
    targets = np.asarray(fields["targets"])
    sequence = np.repeat(np.arange(len(targets)), targets.shape[1])
    weight = _weights(fields, len(targets))[sequence]
    return _of_rows(kind, scores.reshape(-1, scores.shape[-1]), targets.reshape(-1), weight, sequence, fields)


def _of_rows(kind: str, scores: Array, targets: Array, weight: Array, sequence: Array, fields: Fields) -> Data:
    kept = targets != fields.get("ignore_index", -100)
    scores, targets = scores[kept], targets[kept]
    log_p = _log_p(kind, scores)
    loss = -log_p[np.arange(len(targets)), targets]
    predicted = scores.argmax(axis=1) if scores.size else np.zeros(0, np.int64)
    return Data(
        loss, weight[kept], targets, predicted, np.exp(log_p), log_p, scores, kept[kept], sequence[kept], fields
    )


def _cut(kind: str, threshold: float, dtype: str) -> float:
    if kind == "probabilities":
        return float(np.dtype(dtype).type(threshold))
    share = np.float64(threshold)
    with np.errstate(divide="ignore"):
        return float(np.log(share) if kind == "log_probabilities" else np.log(share / (1 - share)))


def _binary(fields: Fields) -> tuple[Array, Array, Array, Array, Array, Array]:
    """scores, targets, whether each counts, p, loss and predicted."""
    kind, scores = _scores(fields)
    targets = np.asarray(fields["targets"]).astype(np.int64)
    there = targets != fields.get("ignore_index", -100)
    with np.errstate(all="ignore"):
        if kind == "logits":
            log_p, log_q = -np.logaddexp(0, -scores), -np.logaddexp(0, scores)
        elif kind == "log_probabilities":
            log_p, log_q = scores, np.where(scores > -0.7, np.log(-np.expm1(scores)), np.log1p(-np.exp(scores)))
        else:
            log_p, log_q = np.maximum(np.log(scores), -100), np.maximum(np.log1p(-scores), -100)
    loss = -np.where(targets == 1, log_p, log_q)
    p = scores if kind == "probabilities" else np.exp(scores if kind == "log_probabilities" else log_p)
    predicted = (~(scores < _cut(kind, fields.get("threshold", 0.5), fields.get("dtype", "float32")))).astype(
        np.int64
    )  # NaN is the largest
    return scores, targets, there, p, loss, predicted


def of_binary(fields: Fields) -> Data:
    """The data of a request for `binary`."""
    scores, targets, there, p, loss, predicted = (values.reshape(-1) for values in _binary(fields))
    weight = _weights(fields, targets.size).reshape(-1)
    return Data(
        loss[there],
        weight[there],
        targets[there],
        predicted[there],
        p[there],
        p[there],
        scores[there],
        there[there],
        np.flatnonzero(there),
        fields,
    )


def of_labels(fields: Fields) -> Data:
    """The data of a request for `multilabel`."""
    scores, targets, there, p, loss, predicted = _binary(fields)
    kept = there.any(axis=1)
    weight = _weights(fields, len(targets))[kept]
    return Data(
        loss[kept],
        weight,
        targets[kept],
        predicted[kept],
        p[kept],
        p[kept],
        scores[kept],
        there[kept],
        np.flatnonzero(kept),
        fields,
    )


DATA = {"multiclass": of_classes, "binary": of_binary, "multilabel": of_labels, "tokens": of_tokens}
