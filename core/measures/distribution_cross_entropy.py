"""Cross-entropy H(p, q) of two discrete distributions, with its parts H(p) and D(p || q).

    per_sample[i]    = H(p, q)   = -sum over classes of p * log q
    entropy[i]       = H(p)      = -sum over classes of p * log p
    kl_divergence[i] = D(p || q) =  sum over classes of p * log(p / q)

H(p, q) = H(p) + D(p || q). 0 log 0 = 0; infinite where p > 0 = q. In nats, or with base "2" in bits, "10" in decimal
digits. `normalize` divides p and q by their sums first. Means are over the samples.

Source: the definitions (Cover and Thomas, Elements of Information Theory, chapter 2);
scipy.special.entr and scipy.special.rel_entr have the same conventions.
"""

import math
from typing import Any

from numpy.typing import NDArray

from core.declare import Choice, Example, Kind, Measure, Role, Tensor
from core.formulas import DOUBLE, row_sum, x_log_y, x_log_y_reference
from core.inputs import reduction
from core.rules import Distribution

Array = NDArray[Any]
LOG_OF_BASE = {"e": 1.0, "2": math.log(2.0), "10": math.log(10.0)}


def graph(op: Any, p: Any, q: Any, base: str, normalize: bool) -> Any:
    """The formula on (samples, classes) distributions."""
    dtype = p
    p, q = (op.Cast(rows, to=DOUBLE) for rows in (p, q))  # D is a small difference where p is close to q
    if normalize:
        p, q = (op.Div(rows, row_sum(op, rows, keepdims=1)) for rows in (p, q))
    plogp, plogq = x_log_y(op, p, p), x_log_y(op, p, q)
    parts = op.Sub(0.0, plogq), op.Sub(0.0, plogp), op.Sub(plogp, plogq)
    return tuple(op.CastLike(op.Div(row_sum(op, part), LOG_OF_BASE[base]), dtype) for part in parts)


def reference(p: Array, q: Array, base: str = "e", normalize: bool = False) -> tuple[Array, ...]:
    """The same in float64."""
    if normalize:
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    plogp, plogq = x_log_y_reference(p, p), x_log_y_reference(p, q)
    return tuple(part.sum(axis=1) / LOG_OF_BASE[base] for part in (-plogq, -plogp, plogp - plogq))


RULES = (Distribution(1e-4, unless="normalize"),)

MEASURE = Measure(
    name="distribution_cross_entropy",
    doc=__doc__,
    formula=r"H(p,q) = -\sum_c p_c \log_b q_c = H(p) + D(p \,\|\, q)",
    source="Cover and Thomas, Elements of Information Theory, chapter 2",
    graph=graph,
    reference=reference,
    inputs=(
        Tensor("p", Kind.FLOAT, ("batch", "classes"), "The true distribution of each sample.", rules=RULES),
        Tensor("q", Kind.FLOAT, ("batch", "classes"), "The predicted distribution of each sample.", rules=RULES),
    ),
    choices=(
        Choice("base", Role.GRAPH, ("e", "2", "10"), "e", "The base of the logarithm: nats, bits or decimal digits."),
        Choice("normalize", Role.GRAPH, (False, True), False, "Whether p and q are divided by their sums first."),
        reduction(),
    ),
    outputs=("per_sample", "entropy", "kl_divergence"),
    examples=(
        Example(
            "A fair coin taken for one that shows heads in three of four throws, in bits",
            {"p": [[0.5, 0.5]], "q": [[0.75, 0.25]], "base": "2"},
            loss=1.207518749639422,
            per_sample=(1.207518749639422,),
        ),
    ),
)
