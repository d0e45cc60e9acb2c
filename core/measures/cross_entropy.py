"""Softmax cross-entropy between logits and class indices, in nats.

    per_sample[i] = -(1 - e) * w[t] * log p[t] - e / C * sum over classes c of w[c] * log p[c]

with p = softmax(logits[i]), t = targets[i], e = label_smoothing, w = weight (1 if none) and C classes.
A sample whose target is ignore_index has the value 0 and no weight; nothing of its row is read.
The mean is the sum divided by the sum of w[t] over the samples that count: NaN where none does.

Source: torch.nn.functional.cross_entropy with class indices; label smoothing: Szegedy et al. 2016, section 7.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.declare import Example, Kind, Measure, Tensor
from core.formulas import log_softmax, log_softmax_reference, picked_loss, picked_loss_reference, row_sum, smoothing
from core.inputs import CLASS_AXIS, CLASS_TARGETS, CLASS_WEIGHT, IGNORE_INDEX, LABEL_SMOOTHING, reduction

Array = NDArray[Any]


def graph(op: Any, logits: Any, targets: Any, weight: Any, ignore_index: Any, label_smoothing: Any) -> Any:
    """The formula on (samples, classes) logits and (samples,) targets."""
    log_p = log_softmax(op, logits)
    loss, sample_weight, ignored = picked_loss(op, log_p, targets, ignore_index, weight)
    if label_smoothing is not None:
        spread = op.Neg(_spread(op, log_p, weight))
        kept, share = smoothing(op, logits, label_smoothing)
        loss = op.Add(op.Mul(kept, loss), op.Mul(share, spread))
    loss = op.Where(ignored, 0.0, loss)
    return loss if sample_weight is None else (loss, sample_weight)


def _spread(op: Any, log_p: Any, weight: Any) -> Any:
    """The sum over classes of weight * log p. In float32 one product with the weights, which costs as little as a sum
    (to multiply them in first would make all 1.7 times a plain cross-entropy); of 128,256 classes it is off by 1e-6."""
    if weight is None or log_p.dtype.name != "FLOAT":
        return row_sum(op, log_p if weight is None else op.Mul(log_p, weight))
    return op.Squeeze(op.MatMul(log_p, op.Unsqueeze(weight, [1])), [1])


def reference(
    logits: Array,
    targets: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[Array, ...]:
    """The same in float64."""
    log_p = log_softmax_reference(logits)
    loss, sample_weight, ignored = picked_loss_reference(log_p, targets, ignore_index, weight)
    if label_smoothing:
        spread = -(log_p if weight is None else log_p * weight).sum(axis=1)
        loss = (1 - label_smoothing) * loss + label_smoothing / logits.shape[1] * spread
    loss = np.where(ignored, 0.0, loss)
    return (loss,) if sample_weight is None else (loss, sample_weight)


MEASURE = Measure(
    name="cross_entropy",
    doc=__doc__,
    formula=(
        r"\ell_i = -(1-\varepsilon)\, w_{t_i} \log p_{i,t_i} - \frac{\varepsilon}{C} \sum_c w_c \log p_{i,c},"
        r" \qquad p_i = \operatorname{softmax}(x_i)"
    ),
    source="torch.nn.functional.cross_entropy",
    graph=graph,
    reference=reference,
    inputs=(
        Tensor("logits", Kind.FLOAT, ("batch", "classes", ...), "Unnormalised scores of the classes."),
        replace(CLASS_TARGETS, hint="soft_cross_entropy takes class probabilities in the shape of logits"),
        CLASS_WEIGHT,
        IGNORE_INDEX,
        LABEL_SMOOTHING,
    ),
    choices=(CLASS_AXIS, reduction()),
    weighted="weight",
    zero_weight_nan="label_smoothing",
    examples=(
        Example(
            "Two samples of three classes, the third class weighted twice",
            {"logits": [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], "targets": [0, 2], "weight": [1, 1, 2]},
            loss=0.7483989977052152,
            per_sample=(0.2413112966571511, 2.003885696458488),
        ),
        Example(
            "Padding: the second sample is skipped",
            {"logits": [[0.0, 0.0], [3.0, 1.0]], "targets": [1, -100]},
            loss=0.6931471805599453,
            per_sample=(0.6931471805599453, 0.0),
        ),
        Example(
            "Label smoothing",
            {"logits": [[2.0, 0.0]], "targets": [0], "label_smoothing": 0.5},
            loss=0.6269280110429727,
            per_sample=(0.6269280110429727,),
        ),
    ),
)
