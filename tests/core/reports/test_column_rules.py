"""What requests for columns must be, and how what is wrong with them is named."""

from typing import Any

import numpy as np
import pytest

from core.check import prepare
from core.declare import Measure
from core.errors import InvalidInput
from core.reports.columns import COLUMNS
from tests.core.reports.scores import batch

GOOD: dict[str, Any] = {"logits": np.zeros((2, 3)), "targets": np.array([0, 1])}


@pytest.mark.parametrize(
    ("task", "fields", "wheres", "detail"),
    [
        (
            "multiclass",
            {"targets": GOOD["targets"]},
            [()],
            "of logits, log_probabilities, probabilities must be there, but",
        ),
        (
            "multiclass",
            {**GOOD, "probabilities": np.full((2, 3), 1 / 3)},
            [("probabilities",)],
            "exactly one of logits, log_probabilities, probabilities must be there, but there are logits and prob",
        ),
        (
            "multiclass",
            {**GOOD, "x": 1, "log_probabilities": GOOD["logits"]},
            [("x",), ("log_probabilities",)],
            "x is not",
        ),
        ("multiclass", {**GOOD, "class_axis": 1}, [("class_axis",)], "class_axis is not known"),
        ("multiclass", {**GOOD, "logits": np.zeros((2, 3, 1))}, [("logits",)], "1 to 2 axes, one of them the classes"),
        ("tokens", GOOD, [("logits",)], "logits has shape (2, 3), but must have the 3 axes batch, tokens, classes"),
        ("multilabel", {**GOOD, "targets": np.zeros(2, int)}, [("targets",)], "but must have shape (2, 3)"),
        ("binary", GOOD, [("targets",)], "targets has shape (2,), but must have that of logits, (2, 3)"),
        (
            "binary",
            {"logits": np.zeros(3), "targets": np.array([0, -100, 2])},
            [("targets", 2)],
            "targets[2] is 2, but must be 0, 1 or ignore_index -100",
        ),
        (
            "binary",
            {"probabilities": np.array([0.5, np.nan]), "targets": np.array([0, 1])},
            [("probabilities", 1)],
            "probabilities[1] is NaN, but must be between 0.0 and 1.0",
        ),
        (
            "multiclass",
            {"probabilities": np.array([[0.5, 0.5], [0.5, 0.502]]), "targets": np.array([0, 1])},
            [("probabilities", 1)],
            "probabilities[1] sums to 1.002, but must be a distribution: entries >= 0 that sum to 1 within 0.001",
        ),
        (
            "multiclass",
            {"log_probabilities": np.array([[np.nan, 0], [0, 0.1]]), "targets": np.array([0, 1])},
            [("log_probabilities", 1, 1)],
            "is 0.1, but must be the logarithm of a probability: at most 0, within 0.0001",
        ),
        (
            "multilabel",
            {"logits": np.zeros((1, 1)), "targets": np.ones((1, 1), int), "threshold": 1.5},
            [("threshold",)],
            "",
        ),
    ],
)
def test_what_is_wrong_is_named(task: str, fields: dict[str, Any], wheres: list[Any], detail: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        prepare(COLUMNS[task], fields)
    assert [fault.where for fault in refusal.value.faults] == wheres
    assert detail in str(refusal.value)


@pytest.mark.parametrize(
    "concrete", [one for union in COLUMNS.values() for one in union.concrete], ids=lambda measure: measure.name
)
def test_every_rule_refuses_what_breaks_it(concrete: Measure) -> None:
    rng = np.random.default_rng(6)
    for tensor, rule in concrete.rules:
        fields: dict[str, Any] = batch(concrete, rng, 4, 3)
        broken = rule.broken(np.asarray(fields.get(tensor.name, tensor.default)))
        fields[tensor.name] = broken.item() if tensor.is_option else broken
        with pytest.raises(InvalidInput) as refusal:
            prepare(concrete, fields)
        assert {fault.where[0] for fault in refusal.value.faults} == {tensor.name}
