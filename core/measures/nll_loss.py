"""Negative log-likelihood of class indices under given log-probabilities, in nats.

    per_sample[i] = -w[t] * log_probabilities[i, t]

with t = targets[i] and w = weight (1 if none). The input is not checked to be log-probabilities.
A sample whose target is ignore_index has the value 0 and no weight.
The mean is the sum divided by the sum of w[t] over the samples that count: NaN where none does.

Source: torch.nn.functional.nll_loss.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.declare import Example, Kind, Measure, Tensor
from core.formulas import picked_loss, picked_loss_reference
from core.inputs import CLASS_AXIS, CLASS_TARGETS, CLASS_WEIGHT, IGNORE_INDEX, reduction

Array = NDArray[Any]


def graph(op: Any, log_probabilities: Any, targets: Any, weight: Any, ignore_index: Any) -> Any:
    """The formula on (samples, classes) log-probabilities and (samples,) targets."""
    loss, sample_weight, ignored = picked_loss(op, log_probabilities, targets, ignore_index, weight)
    loss = op.Where(ignored, 0.0, loss)
    return loss if sample_weight is None else (loss, sample_weight)


def reference(
    log_probabilities: Array, targets: Array, weight: Array | None = None, ignore_index: int = -100
) -> tuple[Array, ...]:
    """The same in float64."""
    loss, sample_weight, ignored = picked_loss_reference(log_probabilities, targets, ignore_index, weight)
    loss = np.where(ignored, 0.0, loss)
    return (loss,) if sample_weight is None else (loss, sample_weight)


MEASURE = Measure(
    name="nll_loss",
    doc=__doc__,
    formula=r"\ell_i = -w_{t_i}\, \log p_{i,t_i}",
    source="torch.nn.functional.nll_loss",
    graph=graph,
    reference=reference,
    inputs=(
        Tensor("log_probabilities", Kind.FLOAT, ("batch", "classes", ...), "Log-probabilities of the classes."),
        CLASS_TARGETS,
        CLASS_WEIGHT,
        IGNORE_INDEX,
    ),
    choices=(CLASS_AXIS, reduction()),
    weighted="weight",
    examples=(
        Example(
            "Two samples of three classes",
            {"log_probabilities": [[-0.5, -1.5, -1.75], [-2.0, -0.25, -2.5]], "targets": [0, 2]},
            loss=1.5,
            per_sample=(0.5, 2.5),
        ),
    ),
)
