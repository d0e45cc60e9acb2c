"""Every metric of a report is that of its source and that of its own reference."""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from core.engine import Engine
from core.reports.columns import COLUMNS
from core.reports.tasks import TASKS
from tests.core.reports.cases import Case, answer, random_cases, seeded
from tests.core.reports.compare import differences, references, rounding
from tests.core.reports.sources import data_of, expected

# What has a source besides its own reference: everything, but for calibration and what is read off the reference.
UNSOURCED = {"ece", "mce", "rmsce", "best_f1_threshold", "bits_per_byte", "z_loss", "top_k_accuracy"}
SOURCED = {name: {metric.name for metric in task.metrics} - UNSOURCED for name, task in TASKS.items()}


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=1)
    yield made
    made.close()


@pytest.mark.parametrize("task", TASKS)
def test_metrics_are_their_sources_and_their_references(columns: Engine, task: str) -> None:
    seed, count = seeded(150)
    wrong: list[tuple[int, str, str, float, float]] = []
    seen: set[str] = set()
    for number, case in enumerate(random_cases(task, seed, count)):
        found = answer(columns, task, case.fields)
        sources = expected(case, found)
        seen |= sources.keys()
        wrong += [(number, "source", *one) for one in differences(case, found, sources)]
        wrong += [(number, "reference", *one) for one in differences(case, found, references(case, found))]
    assert not wrong
    assert seen >= SOURCED[task]


def _exact_matthews(case: Case) -> float:
    """In fractions: scikit-learn's, and the reference's, lose their digits where weights are very different."""
    data = data_of(case)
    weights = [Fraction(float(weight)) for weight in data.weight]
    pairs = list(zip(data.targets.tolist(), data.predicted.tolist(), weights, strict=True))
    classes = range(max([1, *data.targets, *data.predicted]) + 1)
    true = [sum((w for t, _, w in pairs if t == c), Fraction()) for c in classes]
    said = [sum((w for _, p, w in pairs if p == c), Fraction()) for c in classes]
    total, right = sum(weights, Fraction()), sum((w for t, p, w in pairs if t == p), Fraction())
    spread = (total**2 - sum(c**2 for c in true)) * (total**2 - sum(c**2 for c in said))
    both = right * total - sum(t * p for t, p in zip(true, said, strict=True))
    return float(both) / math.sqrt(spread) if spread else 0.0


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_matthews_corrcoef_is_the_exact_one_under_any_weights(columns: Engine, task: str) -> None:
    seed, count = seeded(100)
    for number, case in enumerate(random_cases(task, seed, count)):
        found = answer(columns, task, case.fields).values["matthews_corrcoef"]
        assert found == pytest.approx(_exact_matthews(case), abs=rounding(case)), number


def test_tasks_of_no_samples_have_every_metric_that_has_options(columns: Engine) -> None:
    """Classes and tokens are said by the shape, even where it holds nothing."""
    none = np.zeros((0, 3), np.float32)
    metrics = answer(
        columns, "multiclass", {"logits": none, "targets": np.zeros(0, np.int64), "metrics": ["auroc"]}
    ).values
    assert math.isnan(metrics["auroc_macro"])
    assert metrics["f1_macro"] == 0
    for shape in ((0, 4), (3, 0)):
        fields = {"logits": np.zeros((*shape, 3), np.float32), "targets": np.zeros(shape, np.int64)}
        found = answer(columns, "tokens", fields)
        assert found.document["tokens"] == 0
        assert math.isnan(found.values["cross_entropy"])


def test_precision_of_labels_that_nobody_has_or_predicts_is_0(columns: Engine) -> None:
    """As scikit-learn's with zero_division=0: there are samples, so it is no question of no data."""
    fields = {"probabilities": np.zeros((3, 2), np.float32), "targets": np.zeros((3, 2), np.int64)}
    values = answer(columns, "multilabel", fields).values
    assert [values[f"{kind}_{how}"] for kind in ("precision", "recall", "f1") for how in ("micro", "weighted")] == [
        0
    ] * 6


def test_one_vs_rest_orders_sure_predictions(columns: Engine) -> None:
    """Beside the largest exponential the others are lost in a sum; the sure ones would tie, at log 1."""
    margins = np.arange(18, 40, dtype=np.float32)
    logits = np.stack([margins, np.zeros_like(margins)], axis=1)
    targets = (margins < 30).astype(np.int64)
    fields = {"logits": logits, "targets": targets, "metrics": ["auroc"]}
    assert answer(columns, "multiclass", fields).values["auroc_macro"] == 1
