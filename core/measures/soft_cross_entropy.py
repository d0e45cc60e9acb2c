"""Softmax cross-entropy between logits and class probabilities, in nats.

    per_sample[i] = -sum over classes c of w[c] * q[c] * log p[c],    q = (1 - e) * targets[i] + e / C

with p = softmax(logits[i]), e = label_smoothing, w = weight (1 if none) and C classes. The targets are used as they
are: they need not sum to 1. The mean is over the samples; class weights never divide it.

Source: torch.nn.functional.cross_entropy with class probabilities.
"""

from typing import Any

from numpy.typing import NDArray

from core.declare import Example, Kind, Measure, Tensor
from core.formulas import log_softmax, log_softmax_reference, row_sum, smoothing
from core.inputs import CLASS_AXIS, CLASS_WEIGHT, LABEL_SMOOTHING, reduction

Array = NDArray[Any]


def graph(op: Any, logits: Any, targets: Any, weight: Any, label_smoothing: Any) -> Any:
    """The formula on (samples, classes) logits and targets."""
    log_p = log_softmax(op, logits)
    if label_smoothing is not None:
        kept, share = smoothing(op, logits, label_smoothing)
        targets = op.Add(op.Mul(targets, kept), share)
    terms = op.Mul(log_p, targets)
    return op.Neg(row_sum(op, terms if weight is None else op.Mul(terms, weight)))


def reference(
    logits: Array, targets: Array, weight: Array | None = None, label_smoothing: float = 0.0
) -> tuple[Array, ...]:
    """The same in float64."""
    soft = targets * (1 - label_smoothing) + label_smoothing / logits.shape[1] if label_smoothing else targets
    terms = log_softmax_reference(logits) * soft
    return (-(terms if weight is None else terms * weight).sum(axis=1),)


MEASURE = Measure(
    name="soft_cross_entropy",
    doc=__doc__,
    formula=(
        r"\ell_i = -\sum_c w_c\, q_{i,c} \log p_{i,c}, \qquad q = (1-\varepsilon)\, y + \frac{\varepsilon}{C},"
        r" \quad p_i = \operatorname{softmax}(x_i)"
    ),
    source="torch.nn.functional.cross_entropy",
    graph=graph,
    reference=reference,
    inputs=(
        Tensor("logits", Kind.FLOAT, ("batch", "classes", ...), "Unnormalised scores of the classes."),
        Tensor(
            "targets",
            Kind.FLOAT,
            ("batch", "classes", ...),
            "The probability of each class, not checked.",
            hint="cross_entropy takes class indices",
        ),
        CLASS_WEIGHT,
        LABEL_SMOOTHING,
    ),
    choices=(CLASS_AXIS, reduction()),
    examples=(
        Example(
            "Two samples of two classes",
            {"logits": [[2.0, 0.0], [0.0, 0.0]], "targets": [[0.75, 0.25], [0.5, 0.5]]},
            loss=0.6600375958014591,
            per_sample=(0.6269280110429727, 0.6931471805599453),
        ),
    ),
)
