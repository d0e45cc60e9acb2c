"""Binary cross-entropy between probabilities and targets, in nats, element by element.

    per_sample = w * -(t * max(log x, -100) + (1 - t) * max(log(1 - x), -100))

with x = probabilities, t = targets, both in [0, 1], and w = weight (1 if none). The logarithms are
cut off at -100, so that the value is finite. The mean is over all elements; weights never divide it.

Source: torch.nn.functional.binary_cross_entropy (torch.nn.BCELoss).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.declare import Example, Fit, Kind, Measure, Tensor
from core.formulas import log1p
from core.inputs import reduction
from core.rules import Between

Array = NDArray[Any]


def graph(op: Any, probabilities: Any, targets: Any, weight: Any) -> Any:
    """The formula on flat arrays of equal size."""
    log_x = op.Max(op.Log(probabilities), -100.0)
    log_not_x = op.Max(log1p(op, op.Neg(probabilities)), -100.0)
    loss = op.Sub(op.Mul(op.Sub(targets, 1.0), log_not_x), op.Mul(targets, log_x))
    return loss if weight is None else op.Mul(loss, weight)


def reference(probabilities: Array, targets: Array, weight: Array | None = None) -> tuple[Array, ...]:
    """The same in float64."""
    log_x, log_not_x = np.maximum(np.log(probabilities), -100), np.maximum(np.log1p(-probabilities), -100)
    loss = (targets - 1) * log_not_x - targets * log_x
    return (loss if weight is None else loss * weight,)


MEASURE = Measure(
    name="binary_cross_entropy",
    doc=__doc__,
    formula=r"\ell = -w \left( t \max(\log x, -100) + (1-t) \max(\log(1-x), -100) \right)",
    source="torch.nn.functional.binary_cross_entropy",
    graph=graph,
    reference=reference,
    inputs=(
        Tensor(
            "probabilities",
            Kind.FLOAT,
            (...,),
            "The predicted probability of each element.",
            rules=(Between(0.0, 1.0),),
        ),
        Tensor("targets", Kind.FLOAT, (...,), "The true probability of each element.", rules=(Between(0.0, 1.0),)),
        Tensor(
            "weight",
            Kind.FLOAT,
            (...,),
            "Factor of each element; broadcasts to the shape of probabilities.",
            default=1.0,
            neutral=True,
            fit=Fit.INTO,
        ),
    ),
    choices=(reduction(),),
    examples=(
        Example(
            "Three elements, one of them certain and wrong",
            {"probabilities": [0.5, 0.25, 0.0], "targets": [1.0, 0.0, 1.0]},
            loss=33.66027641767058,
            per_sample=(0.6931471805599453, 0.2876820724517809, 100.0),
        ),
    ),
)
