"""Binary cross-entropy between logits and targets, in nats, element by element.

    per_sample = w * ((1 - t) * x - (1 + (v - 1) * t) * log sigmoid(x))

with x = logits, t = targets, w = weight and v = pos_weight (1 if none). Targets are used as they are: they need
not lie in [0, 1]. The mean is over all elements; weights never divide it.

Source: torch.nn.functional.binary_cross_entropy_with_logits (torch.nn.BCEWithLogitsLoss).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.declare import Example, Fit, Kind, Measure, Tensor
from core.formulas import log_sigmoid
from core.inputs import reduction

Array = NDArray[Any]


def graph(op: Any, logits: Any, targets: Any, weight: Any, pos_weight: Any) -> Any:
    """The formula on flat arrays of equal size."""
    log_p = log_sigmoid(op, logits)
    if pos_weight is not None:
        log_p = op.Mul(op.Add(op.Mul(op.Sub(pos_weight, 1.0), targets), 1.0), log_p)
    loss = op.Sub(op.Mul(op.Sub(1.0, targets), logits), log_p)
    return loss if weight is None else op.Mul(loss, weight)


def reference(
    logits: Array, targets: Array, weight: Array | None = None, pos_weight: Array | None = None
) -> tuple[Array, ...]:
    """The same in float64."""
    log_p = np.minimum(logits, 0) - np.log1p(np.exp(-np.abs(logits)))
    if pos_weight is not None:
        log_p = ((pos_weight - 1) * targets + 1) * log_p
    loss = (1 - targets) * logits - log_p
    return (loss if weight is None else loss * weight,)


MEASURE = Measure(
    name="binary_cross_entropy_with_logits",
    doc=__doc__,
    formula=r"\ell = w \left( (1-t)\, x - (1 + (v-1)\, t) \log \sigma(x) \right)",
    source="torch.nn.functional.binary_cross_entropy_with_logits",
    graph=graph,
    reference=reference,
    inputs=(
        Tensor("logits", Kind.FLOAT, (...,), "Unnormalised score of each element."),
        Tensor("targets", Kind.FLOAT, (...,), "The true probability of each element, not checked."),
        Tensor(
            "weight",
            Kind.FLOAT,
            (...,),
            "Factor of each element; broadcasts to the shape of logits.",
            default=1.0,
            neutral=True,
            fit=Fit.INTO,
        ),
        Tensor(
            "pos_weight",
            Kind.FLOAT,
            (...,),
            "Factor of the positive part; broadcasts to the shape of logits.",
            default=1.0,
            neutral=True,
            fit=Fit.INTO,
        ),
    ),
    choices=(reduction(),),
    examples=(
        Example(
            "Two samples of two labels, the positives of the second label counted three times",
            {"logits": [[0.0, 2.0], [-1.0, 0.5]], "targets": [[1.0, 0.0], [0.0, 1.0]], "pos_weight": [1.0, 3.0]},
            loss=1.1388919579153651,
            per_sample=(0.6931471805599453, 2.1269280110429727, 0.31326168751822286, 1.42223095254032),
        ),
    ),
)
