"""The metrics of reports are those of scikit-learn, torchmetrics, PyTorch and their references, to random requests.

Deliberate differences from torchmetrics are the tests named for them below; those from scikit-learn are in
tests.core.reports.test_differences.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.engine import Engine
from core.reports.calibration import bin_of, errors
from core.reports.columns import COLUMNS
from core.reports.tasks import TASKS
from tests.core.reports.cases import answer, random_cases, seeded
from tests.core.reports.compare import differences, references
from tests.core.reports.sources import expected

Array = NDArray[Any]
pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")
functional = pytest.importorskip("torchmetrics.functional.classification")


def _mine(probabilities: Array, targets: Array, bins: int) -> tuple[float, ...]:
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    where = bin_of(confidence, bins)
    terms = (np.ones(confidence.size), confidence, correct)
    weight, confidence_sum, correct_sum = (np.bincount(where, term, bins).astype(np.float64) for term in terms)
    return errors(weight, confidence_sum, correct_sum)


def _theirs(probabilities: Array, targets: Array, bins: int) -> list[float]:
    given = torch.from_numpy(probabilities), torch.from_numpy(targets)
    return [
        float(functional.multiclass_calibration_error(*given, probabilities.shape[1], n_bins=bins, norm=norm))
        for norm in ("l1", "max", "l2")
    ]


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_errors_are_torchmetrics(classes: int, bins: int) -> None:
    rng = np.random.default_rng(61)
    for samples in (1, 3, 2000):
        logits = rng.normal(size=(samples, classes)) * 2
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        # Its edges are float32: a confidence at one may fall to either side.
        from_edge = np.abs(probabilities.max(axis=1, keepdims=True) * bins % 1 - 0.5)
        assert from_edge.max() < 0.5 - 1e-5
        targets = rng.integers(0, classes, samples)
        found = _mine(probabilities, targets, bins)
        assert found == pytest.approx(_theirs(probabilities, targets, bins), abs=1e-6)


def test_torchmetrics_is_wrong_at_confidence_one() -> None:
    # Both are in the last bin, (0.9, 1]: accuracy 0.5, mean confidence 0.975. torchmetrics gives 1.0 a bin of its own.
    probabilities, targets = np.array([[0.05, 0.95], [0.0, 1.0]]), np.array([1, 0])
    assert _mine(probabilities, targets, 10)[0] == pytest.approx(0.475, abs=1e-12)
    assert _theirs(probabilities, targets, 10)[0] == pytest.approx(0.525, abs=1e-6)


def test_a_confidence_on_an_edge_is_in_the_bin_below() -> None:
    """As scikit-learn's calibration_curve and Guo have it, (low, high]; torchmetrics' bins are [low, high)."""
    # 0.75 beside 0.625, both in (0.5, 0.75], or alone in [0.75, 1).
    probabilities, targets = np.array([[0.25, 0.75], [0.375, 0.625]]), np.array([0, 1])
    assert _mine(probabilities, targets, 4)[0] == abs(0.5 - (0.75 + 0.625) / 2)
    assert _theirs(probabilities, targets, 4)[0] == pytest.approx((0.75 + 0.375) / 2)


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=2)
    yield made
    made.close()


@pytest.mark.parametrize("task", TASKS)
def test_live_metrics(columns: Engine, task: str) -> None:
    """REPORTS_CASES random requests a task, with weights, ties, absent classes, nothing, and logits beyond reason."""
    from tests.oracle.report_oracle import torchmetrics_of

    seed, count = seeded(400)
    wrong, compared = [], 0
    for number, case in enumerate(random_cases(task, seed, count)):
        found = answer(columns, task, case.fields)
        theirs = torchmetrics_of(case, found)
        compared += len(theirs)
        wrong += [(number, "reference", *one) for one in differences(case, found, references(case, found))]
        wrong += [(number, "scikit-learn", *one) for one in differences(case, found, expected(case, found))]
        wrong += [  # torchmetrics computes in float32
            (number, "torchmetrics", name, found.values[name], value)
            for name, value in theirs.items()
            if name in found.values and not np.isclose(found.values[name], value, 1e-5, 1e-6, equal_nan=True)
        ]
    assert not wrong, f"REPORTS_SEED={seed}"
    assert compared > count / 2


def test_saturated_sigmoids_tie_in_torchmetrics(columns: Engine) -> None:
    """It ranks the float32 probabilities of the logits, which are all 1; a report ranks the logits."""
    logits, targets = np.array([18.0, 25.0, 30.0, 40.0], np.float32), np.array([0, 0, 1, 1])
    assert answer(columns, "binary", {"logits": logits, "targets": targets}).values["auroc"] == 1.0
    assert float(functional.binary_auroc(torch.from_numpy(logits), torch.from_numpy(targets))) == 0.5


def test_accuracy_is_that_of_samples_not_of_classes(columns: Engine) -> None:
    """torchmetrics' default is the mean over classes, which a report calls balanced_accuracy."""
    p = np.eye(2, dtype=np.float32)[[0, 0, 0, 0]]
    targets = np.array([0, 0, 0, 1])
    values = answer(columns, "multiclass", {"probabilities": p, "targets": targets}).values
    theirs = float(functional.multiclass_accuracy(torch.from_numpy(p), torch.from_numpy(targets), 2))
    assert (values["accuracy"], values["balanced_accuracy"]) == (0.75, 0.5)
    assert theirs == 0.5


@pytest.mark.filterwarnings("ignore:No negative samples")
def test_auroc_of_one_class_is_not_0(columns: Engine) -> None:
    logits, targets = np.array([0.5, 1.0], np.float32), np.ones(2, np.int64)
    assert math.isnan(answer(columns, "binary", {"logits": logits, "targets": targets}).values["auroc"])
    assert float(functional.binary_auroc(torch.from_numpy(logits), torch.from_numpy(targets))) == 0.0


def test_a_probability_at_the_threshold_is_positive_and_in_torchmetrics_not(columns: Engine) -> None:
    p, targets = np.array([0.5, 0.25], np.float32), np.array([1, 0])
    assert answer(columns, "binary", {"probabilities": p, "targets": targets}).values["recall"] == 1.0
    assert float(functional.binary_recall(torch.from_numpy(p), torch.from_numpy(targets), threshold=0.5)) == 0.0


def test_matthews_correlation_of_one_class_is_0(columns: Engine) -> None:
    """As scikit-learn's; torchmetrics says -1 where all of two classes are taken for the other, 1 where none is."""
    fields = {"probabilities": np.array([[0.0, 1.0]] * 3), "targets": np.zeros(3, np.int64)}
    assert answer(columns, "multiclass", fields).values["matthews_corrcoef"] == 0.0
    said, true = torch.ones(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    assert float(functional.multiclass_matthews_corrcoef(said, true, 2)) == -1.0


def test_a_label_that_cannot_be_costs_nothing_where_it_is_not(columns: Engine) -> None:
    """log(1 - sigmoid(-infinity)) is 0; PyTorch multiplies the logit by the target, and gets NaN."""
    logits, targets = np.array([-np.inf, 0.0], np.float32), np.array([0, 1])
    values = answer(columns, "binary", {"logits": logits, "targets": targets}).values
    assert values["binary_cross_entropy"] == pytest.approx(math.log(2) / 2)
    given = torch.from_numpy(logits), torch.from_numpy(targets).float()
    assert math.isnan(float(torch.nn.functional.binary_cross_entropy_with_logits(*given)))
