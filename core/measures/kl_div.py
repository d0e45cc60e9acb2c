"""Kullback-Leibler divergence of a prediction's log-probabilities from targets, in nats, element by element.

    per_sample = t * log t - t * x        targets are probabilities: 0 log 0 = 0
    per_sample = exp(t) * (t - x)         log_target: targets are log-probabilities

with x = log_probabilities and t = targets; the value is the divergence D(targets || prediction). The two broadcast
with each other. The mean is over all elements; `batchmean` divides the sum by the size of x's first axis instead.

Source: torch.nn.functional.kl_div (torch.nn.KLDivLoss).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.declare import Choice, Example, Fit, Kind, Measure, Role, Tensor
from core.formulas import x_log_y, x_log_y_reference
from core.inputs import reduction

Array = NDArray[Any]


def graph(op: Any, log_probabilities: Any, targets: Any, log_target: bool) -> Any:
    """The formula on flat arrays of equal size."""
    if log_target:
        return op.Mul(op.Exp(targets), op.Sub(targets, log_probabilities))
    return op.Sub(x_log_y(op, targets, targets), op.Mul(targets, log_probabilities))


def reference(log_probabilities: Array, targets: Array, log_target: bool = False) -> tuple[Array, ...]:
    """The same in float64."""
    if log_target:
        return (np.exp(targets) * (targets - log_probabilities),)
    return (x_log_y_reference(targets, targets) - targets * log_probabilities,)


MEASURE = Measure(
    name="kl_div",
    doc=__doc__,
    formula=r"\ell = t \log t - t\, x, \qquad \text{or with log\_target: } \ell = e^{t} (t - x)",
    source="torch.nn.functional.kl_div",
    graph=graph,
    reference=reference,
    inputs=(
        Tensor("log_probabilities", Kind.FLOAT, (...,), "The predicted log-probability of each element."),
        Tensor(
            "targets",
            Kind.FLOAT,
            (...,),
            "The true probability of each element, or its logarithm; broadcasts with log_probabilities.",
            fit=Fit.WITH,
        ),
    ),
    choices=(
        Choice("log_target", Role.GRAPH, (False, True), False, "Whether the targets are log-probabilities."),
        reduction("batchmean"),
    ),
    examples=(
        Example(
            "One pair of distributions, divided by the batch size as the definition has it",
            {
                "log_probabilities": [[-0.6931471805599453, -0.6931471805599453]],
                "targets": [[0.75, 0.25]],
                "reduction": "batchmean",
            },
            loss=0.13081203594113694,
            per_sample=(0.30409883108112323, -0.1732867951399863),
        ),
    ),
)
