"""Whether the metrics of a report are what their sources and their references say."""

import numpy as np

from core.reports.tasks import TASKS
from tests.core.reports.cases import Answer, Case
from tests.core.reports.sources import Values, data_of, quiet, rounded

COUNTED = (
    *("accuracy", "precision", "recall", "f1", "specificity", "matthews_corrcoef", "cohen_kappa", "hamming_loss"),
    *("auroc", "average_precision", "ks", "best_f1", "ranking_loss", "coverage_error"),
)
MAPPED = {"perplexity": "cross_entropy", "sequence_mean_perplexity": "sequence_mean_cross_entropy"}


def rounding(case: Case) -> float:
    """How far a correlation may be off: its sums are rounded, and what is wrong may be as little as one sample."""
    weight = np.asarray(case.fields.get("sample_weight", np.ones(1)), np.float64)
    least = weight[weight > 0].min(initial=np.inf)
    return float(1e-12 + 4 * np.finfo(np.float64).eps * weight.sum() / least)


def tolerance(name: str, case: Case) -> tuple[float, float]:
    """Relative and absolute. What is read from counts and orders has no rounding but of its sums."""
    if name in ("matthews_corrcoef", "cohen_kappa"):
        return 1e-9, rounding(case)
    if name != "best_f1_threshold" and any(word in name for word in COUNTED):
        return 1e-9, 1e-12
    return (2e-6, 3e-7) if case.dtype == "float32" else (1e-9, 1e-12)


def differs(name: str, found: float, wanted: float, case: Case) -> bool:
    if name in MAPPED:  # an error of the mean is a share of its exponential
        with np.errstate(divide="ignore"):
            found, wanted = np.log(found), np.log(wanted)
        if min(found, wanted) > 709:  # where the exponential overflows
            return False
    relative, absolute = tolerance(name, case)
    return not np.isclose(found, wanted, rtol=relative, atol=absolute, equal_nan=True)


def references(case: Case, found: Answer) -> dict[str, float]:
    """Every metric as its own reference has it."""
    data, task = data_of(case), TASKS[case.task]
    with quiet():
        return {
            name: metric.reference(rounded(metric.name, data, found, case), *more)
            for metric in task.metrics
            for name, more in metric.names(found.state.spec).items()
        }


def differences(case: Case, found: Answer, wanted: Values) -> list[tuple[str, float, float]]:
    """The metrics that the report has otherwise: their names, its values and those that are wanted."""
    return [
        (name, found.values[name], value)
        for name, value in wanted.items()
        if name in found.values and differs(name, found.values[name], value, case)
    ]
