"""What a report has beside its values: intervals, groups, tables, curves, quantiles and the worst samples."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    confusion_matrix,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from core.engine import Engine
from core.reports.columns import COLUMNS
from core.reports.tasks import TASKS
from tests.core.reports.cases import Answer, Array, Case, answer, random_cases, seeded
from tests.core.reports.sources import data_of, quiet

LEAST = float(np.float32(-3e38))  # for -infinity, which scikit-learn refuses


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=1)
    yield made
    made.close()


def answers(columns: Engine, task: str, count: int, **fields: Any) -> Iterator[tuple[Case, Answer]]:
    seed, count = seeded(count)
    for case in random_cases(task, seed, count):
        case.fields.update(fields)
        yield case, answer(columns, task, case.fields)


def same(found: Any, wanted: Any, tolerance: float = 0.0) -> bool:
    """Whether two plain documents are the same, but for a relative `tolerance` of their numbers."""
    if isinstance(found, dict):
        return found.keys() == wanted.keys() and all(same(found[name], wanted[name], tolerance) for name in found)
    if isinstance(found, list):
        return len(found) == len(wanted) and all(same(a, b, tolerance) for a, b in zip(found, wanted, strict=True))
    if isinstance(found, str):
        return bool(found == wanted)
    return np.shape(found) == np.shape(wanted) and np.allclose(found, wanted, tolerance, tolerance, equal_nan=True)


@pytest.mark.parametrize("task", TASKS)
def test_examples_have_the_values_that_are_declared(columns: Engine, task: str) -> None:
    declared = TASKS[task]
    kinds = {tensor.name: tensor.kind.value for tensor in declared.request.tensors}
    fields = {
        name: np.asarray(value, np.float64 if kinds[name] == "float" else np.int64) if name in kinds else value
        for name, value in declared.example.items()
    }
    found = answer(columns, task, fields)
    for metric in declared.metrics:
        names = list(metric.names(found.state.spec))
        values = metric.examples[task]
        for name, value in zip(names, values if isinstance(values, tuple) else [values], strict=True):
            assert found.values[name] == pytest.approx(value, rel=2e-7 if name == "best_f1_threshold" else 1e-9), name


def mean_interval(values: Array, weight: Array, confidence: float) -> tuple[float, float]:
    total, number = weight.sum(), weight.sum() ** 2 / (weight**2).sum()
    mean = (weight * values).sum() / total
    variance = (weight**2 * (values - mean) ** 2).sum() / total**2 * number / (number - 1)
    half = norm.ppf(0.5 + confidence / 2) * math.sqrt(variance)
    return mean - half, mean + half


MEANS = {
    "multiclass": ("cross_entropy", "loss"),
    "binary": ("binary_cross_entropy", "loss"),
    "multilabel": ("binary_cross_entropy", "loss"),
    "tokens": ("cross_entropy", "loss"),
}


@pytest.mark.parametrize("task", TASKS)
def test_intervals_of_means(columns: Engine, task: str) -> None:
    """Where a sample has elements (labels, tokens), it weighs as many times more: its elements belong together."""
    metric, column = MEANS[task]
    compared = 0
    for case, found in answers(columns, task, 60):
        samples = found.samples
        weight = np.ones(samples.size) if samples.weight is None else samples.weight
        if task in ("multilabel", "tokens"):
            weight = weight * samples["elements"]
        values = samples[column].astype(np.float64)
        if (
            np.count_nonzero(weight) < 3
            or weight.max() > 0.999 * weight.sum()
            or not np.isfinite(values).all()
            or np.ptp(values) < 1e-3
        ):
            continue
        low, high = mean_interval(values, weight, case.fields.get("confidence", 0.95))
        interval = found.document["metrics"][metric]["interval"]
        assert interval == pytest.approx([max(low, 0.0), high], rel=1e-6, abs=1e-6 * values.max())
        assert found.document["metrics"][metric]["method"] == "normal"
        compared += 1
    assert compared > 5


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_intervals_of_shares_are_wilsons(columns: Engine, task: str) -> None:
    """Under weights, at Kish's effective number of samples."""
    compared = 0
    for case, found in answers(columns, task, 60):
        data, metric = data_of(case), found.document["metrics"]["accuracy"]
        if not data.weight.sum() > 0:
            continue
        confidence = case.fields.get("confidence", 0.95)
        right = data.predicted == data.targets
        assert metric["method"] == "Wilson"
        if (data.weight == 1).all():
            wanted = binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
            assert metric["interval"] == pytest.approx([wanted.low, wanted.high], abs=1e-12)
        number, p = data.weight.sum() ** 2 / (data.weight**2).sum(), data.mean(right)
        z = norm.ppf(0.5 + confidence / 2)
        middle = (p + z**2 / (2 * number)) / (1 + z**2 / number)
        half = z * math.sqrt(p * (1 - p) / number + z**2 / (4 * number**2)) / (1 + z**2 / number)
        assert metric["interval"] == pytest.approx([middle - half, middle + half], abs=1e-9)
        compared += 1
    assert compared > 30


def test_intervals_of_auroc_are_delongs(columns: Engine) -> None:
    """Of all pairs of scores, without weights."""
    compared = 0
    for case, found in answers(columns, "binary", 100):
        data, metric = data_of(case), found.document["metrics"]["auroc"]
        positives, negatives = (data.scores[data.targets == side].astype(np.float32) for side in (1, 0))
        if not (data.weight == 1).all() or min(len(positives), len(negatives)) < 2:
            continue
        pairs = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
        variance = pairs.mean(axis=1).var(ddof=1) / len(positives) + pairs.mean(axis=0).var(ddof=1) / len(negatives)
        half = norm.ppf(0.5 + case.fields.get("confidence", 0.95) / 2) * math.sqrt(variance) + metric["bound"]
        low, high = pairs.mean() - half, pairs.mean() + half
        assert metric["interval"] == pytest.approx([max(low, 0), min(high, 1)], abs=1e-9)
        compared += 1
    assert compared > 5


@pytest.mark.parametrize("task", TASKS)
def test_groups_are_reports_of_their_own(columns: Engine, task: str) -> None:
    """A group's report is that of its samples alone, and the whole report is as if there were no groups."""
    compared = 0
    for case, found in answers(columns, task, 40):
        fields = case.fields
        size = len(fields["targets"])
        fields.setdefault("groups", [str(place % 3) for place in range(size)])
        fields.setdefault("ids", [f"sample {place}" for place in range(size)])
        found = answer(columns, task, fields)
        labels = np.array(fields.pop("groups"))
        whole = answer(columns, task, fields)
        reports = found.document.pop("groups")
        assert same(found.document, whole.document)
        assert sorted(reports) == sorted(set(labels.tolist()))
        for label, one in reports.items():
            alone = answer(columns, task, {name: _of(value, labels == label) for name, value in fields.items()})
            del alone.document["task"]
            # float32 rows may be padded otherwise, and a column's last bit with them
            assert same(one, alone.document, 1e-6), case
            compared += 1
    assert compared > 60


def _of(value: Any, chosen: Array) -> Any:
    if isinstance(value, np.ndarray):
        return value[chosen]
    if isinstance(value, list) and len(value) == len(chosen) and value and str(value[0]).startswith("sample "):
        return [entry for entry, taken in zip(value, chosen, strict=True) if taken]
    return value


def test_tables_by_class_and_confusions(columns: Engine) -> None:
    for case, found in answers(columns, "multiclass", 60, confusion=True, averages=["per_class"], metrics=["auroc"]):
        data, size = data_of(case), case.fields[case.kind].shape[1]
        table, matrix = found.document["per_class"], found.document["confusion"]["matrix"]
        if not data.weight.sum() > 0:
            assert not matrix.any()
            continue
        labels = np.arange(size)
        with quiet():
            wanted = confusion_matrix(data.targets, data.predicted, labels=labels, sample_weight=data.weight)
            three = precision_recall_fscore_support(
                data.targets, data.predicted, labels=labels, zero_division=0, sample_weight=data.weight
            )
        np.testing.assert_allclose(matrix, wanted, rtol=1e-12)
        np.testing.assert_allclose(table["support"], wanted.sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(table["predicted"], wanted.sum(axis=0), rtol=1e-12)
        for name, values in zip(("precision", "recall", "f1"), three, strict=False):
            np.testing.assert_allclose(table[name], values, rtol=1e-9, atol=1e-12)
        for place in range(size):
            positive, scores = data.targets == place, found.samples["scores"][:, place].astype(np.float32)
            if positive[data.weight > 0].all() or not positive[data.weight > 0].any():
                assert math.isnan(table["auroc"][place])
                continue
            area = roc_auc_score(positive, np.maximum(scores, LEAST), sample_weight=data.weight)
            assert table["auroc"][place] == pytest.approx(area, abs=1e-9)


def test_the_most_frequent_confusions_of_many_classes(columns: Engine) -> None:
    rng = np.random.default_rng(5)
    targets, said = rng.integers(0, 300, 4000) // 40, rng.integers(0, 300, 4000) // 30
    fields = {"logits": np.eye(300, dtype=np.float32)[said], "targets": targets, "confusion": True}
    found = answer(columns, "multiclass", fields).document["confusion"]["top"]
    counts = confusion_matrix(targets, said, labels=np.arange(300))
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:50]
    assert [(one["target"], one["predicted"]) for one in found] == [divmod(int(place), 300) for place in order]
    assert [one["weight"] for one in found] == counts.reshape(-1)[order].tolist()


def test_the_calibration_table_is_calibration_curve(columns: Engine) -> None:
    """Without weights, which scikit-learn's does not take."""
    compared = 0
    for _, found in answers(columns, "binary", 60, binning="width"):
        if found.samples.weight is not None or not found.samples.size:
            continue
        p, table = found.samples["probability"].astype(np.float64), found.document["calibration"]
        bins = len(table["weight"])
        with quiet():
            wanted = calibration_curve(found.samples["target"], p, n_bins=bins, pos_label=1)
        filled = table["weight"] > 0
        np.testing.assert_allclose(table["accuracy"][filled], wanted[0], rtol=1e-12)
        np.testing.assert_allclose(table["confidence"][filled], wanted[1], rtol=1e-12)
        assert np.isnan(table["accuracy"][~filled]).all()
        assert table["weight"].sum() == len(p)
        assert table["edges"].tolist() == np.linspace(0, 1, bins + 1).tolist()
        compared += 1
    assert compared > 5


def test_curves_are_scikit_learns(columns: Engine) -> None:
    compared = 0
    for case, found in answers(columns, "binary", 60):
        data = data_of(case)
        kept = data.weight > 0
        true, weight = data.targets[kept], data.weight[kept]
        scores = np.maximum(data.scores[kept].astype(np.float32), LEAST)
        if len(set(true.tolist())) < 2:
            continue
        fpr, tpr, _ = roc_curve(true, scores, drop_intermediate=False, sample_weight=weight)
        roc = found.document["curves"]["roc"]
        np.testing.assert_allclose(roc["fpr"], fpr, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(roc["tpr"], tpr, rtol=1e-9, atol=1e-12)
        precision, recall, thresholds = precision_recall_curve(true, scores, sample_weight=weight)
        pr = found.document["curves"]["pr"]
        np.testing.assert_allclose(pr["precision"], precision[::-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(pr["recall"], recall[::-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(np.maximum(pr["thresholds"][1:], LEAST), thresholds[::-1].astype(np.float64))
        compared += 1
    assert compared > 5


def test_the_best_threshold_is_the_lowest_with_the_best_f1(columns: Engine) -> None:
    compared = 0
    for case, found in answers(columns, "binary", 120):
        if case.kind != "probabilities" or found.samples.weight is not None or not found.samples.size:
            continue
        p, true = case.fields[case.kind].astype(np.float32)[found.samples.places], found.samples["target"]
        thresholds = np.unique(p)
        hits = np.array([((p >= threshold) & (true == 1)).sum() for threshold in thresholds])
        f1 = 2 * hits / ([(p >= threshold).sum() for threshold in thresholds] + true.sum())
        assert found.values["best_f1_threshold"] == pytest.approx(thresholds[f1.argmax()], rel=1e-7)
        compared += 1
    assert compared > 5


@pytest.mark.parametrize("task", TASKS)
def test_quantiles_lie_in_their_intervals(columns: Engine, task: str) -> None:
    compared = 0
    for _, found in answers(columns, task, 40):
        losses = found.samples["loss"].astype(np.float64)
        weight = np.ones(losses.size) if found.samples.weight is None else found.samples.weight
        quantiles = found.document["histogram"]["loss"]["quantiles"]
        if not weight.sum() > 0:
            assert not quantiles
            continue
        given: dict[str, Any] = {}
        rounded: Array = losses[weight > 0].astype(np.float32)
        if found.samples.weight is not None:
            given["weights"] = weight[weight > 0]
        for one in quantiles:
            low, high = one["interval"]
            # A share may be that of a number of samples, which rounding of the weights' sums would pass by.
            first, last = (
                np.quantile(rounded, np.clip(one["share"] + off, 0, 1), method="inverted_cdf", **given)
                for off in (-1e-9, 1e-9)
            )
            assert first <= high
            assert last >= low
            assert low <= one["value"] <= high
        compared += 1
    assert compared > 5


@pytest.mark.parametrize("task", TASKS)
def test_the_worst_samples(columns: Engine, task: str) -> None:
    for case, found in answers(columns, task, 40, worst=5):
        losses, places = found.samples["loss"].astype(np.float64), found.samples.places
        ids = case.fields.get("ids") or [f":{place}" for place in range(len(case.fields["targets"]))]
        worst = found.document["worst"]
        assert [one["loss"] for one in worst] == sorted(losses.tolist(), reverse=True)[:5]
        by_id = {ids[place]: loss for place, loss in zip(places.tolist(), losses.tolist(), strict=True)}
        assert all(by_id[one["id"]] == one["loss"] for one in worst)
        assert len({one["id"] for one in worst}) == len(worst)
        if task in ("multiclass", "binary"):
            target = dict(zip(ids, np.asarray(case.fields["targets"]).tolist(), strict=True))
            assert all(target[one["id"]] == one["target"] for one in worst)


def test_an_infinite_loss_is_in_no_finite_bin(columns: Engine) -> None:
    fields = {"logits": np.array([[-np.inf, 0.0], [0.0, 0.0]]), "targets": np.array([0, 0])}
    found = answer(columns, "multiclass", fields).document
    assert found["non_finite"] == 1
    assert found["histogram"]["loss"]["weights"].tolist() == [1.0]
    assert found["histogram"]["loss"]["quantiles"][-1]["value"] == np.inf


def test_a_finite_loss_beyond_float32_stays_finite(columns: Engine) -> None:
    fields = {"logits": np.array([1e300, 1.0]), "targets": np.array([0, 1])}
    found = answer(columns, "binary", fields).document
    assert found["non_finite"] == 0
    assert found["histogram"]["loss"]["quantiles"][-1]["value"] == np.finfo(np.float32).max
    assert found["histogram"]["loss"]["weights"].sum() == 2.0
