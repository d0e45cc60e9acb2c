"""Formulas in decimal numbers of 60 digits, rounded once: how far the graphs are from the truth.

Independent of the references in the declarations, which are float64 themselves. The error is counted in units in the
last place of the largest term, since a difference of two large numbers cannot be closer than they are.
"""

import decimal
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from core.declare import Measure
from core.engine import Engine
from tests import inputs

DIGITS = decimal.Context(prec=60)
Terms = tuple[Decimal, Decimal]  # the value, and the size of its largest term


def exact(value: Any) -> Decimal:
    return Decimal(float(value))


def sum_of(terms: list[Decimal]) -> Terms:
    return sum(terms, Decimal(0)), max((abs(term) for term in terms), default=Decimal(0))


def log_softmax(row: Any) -> list[Decimal]:
    high = max(map(exact, row))
    rest = sum(((exact(x) - high).exp() for x in row), Decimal(0)).ln()
    return [exact(x) - high - rest for x in row]


def x_log_y(x: Decimal, y: Decimal) -> Decimal:
    return x * y.ln() if x else Decimal(0)


def cross_entropy(row: dict[str, Any]) -> Terms:
    weight = exact(row["weight"][row["targets"]])
    size = max(abs(exact(x)) for x in row["logits"])
    return -weight * log_softmax(row["logits"])[row["targets"]], weight * size


def soft_cross_entropy(row: dict[str, Any]) -> Terms:
    size = max(abs(exact(x)) for x in row["logits"])
    logs = log_softmax(row["logits"])
    terms = [-exact(w) * exact(t) * log for w, t, log in zip(row["weight"], row["targets"], logs, strict=True)]
    return sum(terms, Decimal(0)), size * max(map(abs, map(exact, row["weight"])))


def nll_loss(row: dict[str, Any]) -> Terms:
    return -exact(row["weight"][row["targets"]]) * exact(row["log_probabilities"][row["targets"]]), Decimal(0)


def binary_cross_entropy(row: dict[str, Any]) -> Terms:
    p, t, w = (exact(row[name]) for name in ("probabilities", "targets", "weight"))
    cut = [max(x.ln(), Decimal(-100)) if x else Decimal(-100) for x in (p, 1 - p)]
    return -w * (t * cut[0] + (1 - t) * cut[1]), w * max(abs(t * cut[0]), abs((1 - t) * cut[1]))


def binary_cross_entropy_with_logits(row: dict[str, Any]) -> Terms:
    x, t, w, pos = (exact(row[name]) for name in ("logits", "targets", "weight", "pos_weight"))
    softplus = (1 + (-abs(x)).exp()).ln() + max(-x, Decimal(0))
    terms = [w * (1 - t) * x, w * (1 + (pos - 1) * t) * softplus]
    return sum_of(terms)


def kl_div(row: dict[str, Any]) -> Terms:
    x, t = exact(row["log_probabilities"]), exact(row["targets"])
    return sum_of([x_log_y(t, t), -t * x])


def distribution_cross_entropy(row: dict[str, Any]) -> Terms:
    return sum_of([-x_log_y(exact(p), exact(q)) for p, q in zip(row["p"], row["q"], strict=True)])


ORACLES: dict[str, Callable[[dict[str, Any]], Terms]] = {
    function.__name__: function
    for function in (
        cross_entropy,
        soft_cross_entropy,
        nll_loss,
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        kl_div,
        distribution_cross_entropy,
    )
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_value_is_near_the_truth(engine: Engine, measure: Measure, dtype: str) -> None:
    rng = np.random.default_rng(43)
    unit = Decimal(float(np.finfo(dtype).eps))
    worst = Decimal(0)
    decimal.setcontext(DIGITS)  # of the thread, and no test but these has decimals
    for classes in (1, 2, 3, 10, 33):
        fields = inputs.request(measure, rng, 40, classes, dtype)
        found = engine.compute(measure, fields).outputs["per_sample"]
        for place, value in enumerate(found):
            row = {n: v[place] if n in inputs.by_sample(measure) else v for n, v in fields.items()}
            truth, size = ORACLES[measure.name](row)
            worst = max(worst, abs(exact(value) - truth) / (unit * max(size, abs(truth), Decimal("1e-30"))))
    print(f"\n{measure.name} {dtype}: {worst:.2f} ulp of the largest term")
    assert worst <= 4


def test_every_measure_has_an_oracle(measure: Measure) -> None:
    assert measure.name in ORACLES
