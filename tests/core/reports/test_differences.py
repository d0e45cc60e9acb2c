"""Where a report is not what scikit-learn says, on purpose. For torchmetrics see tests.oracle.test_reports_oracle."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import matthews_corrcoef, precision_score, roc_auc_score, top_k_accuracy_score

from core.engine import Engine
from core.reports.columns import COLUMNS
from tests.core.reports.cases import answer


@pytest.fixture(scope="module")
def columns() -> Iterator[Engine]:
    made = Engine(COLUMNS.values(), device="cpu", threads=1)
    yield made
    made.close()


def test_of_equal_scores_the_first_class_is_the_better_one(columns: Engine) -> None:
    """As NumPy's and PyTorch's argmax have it; scikit-learn's top-k takes the last: its top-1 is not its accuracy."""
    p, targets = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]], np.float32), np.array([1, 1])
    values = answer(columns, "multiclass", {"probabilities": p, "targets": targets, "top_k": [1]}).values
    assert values["top_1_accuracy"] == values["accuracy"] == 0.0
    assert top_k_accuracy_score(targets, p, k=1, labels=[0, 1, 2]) == 1.0


def test_top_k_of_all_classes_is_1(columns: Engine) -> None:
    """scikit-learn says so too, and warns of it."""
    fields = {"logits": np.zeros((4, 3), np.float32), "targets": np.array([0, 1, 2, 2]), "top_k": [3, 5]}
    values = answer(columns, "multiclass", fields).values
    assert values["top_3_accuracy"] == values["top_5_accuracy"] == 1.0
    with pytest.warns(UndefinedMetricWarning):
        top_k_accuracy_score(fields["targets"], fields["logits"], k=5, labels=[0, 1, 2])


def test_one_vs_rest_leaves_absent_classes_out(columns: Engine) -> None:
    """scikit-learn's is not defined: the mean of areas of which one is NaN. A report has that of the others."""
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(4), 60)
    targets = rng.integers(0, 3, 60)  # never 3
    found = answer(columns, "multiclass", {"probabilities": p, "targets": targets, "metrics": ["auroc"]})
    areas = [roc_auc_score(targets == place, p[:, place].astype(np.float32)) for place in range(3)]
    assert found.values["auroc_macro"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert math.isnan(found.document["per_class"]["auroc"][3])
    with pytest.warns(UndefinedMetricWarning):
        assert math.isnan(roc_auc_score(targets, p, multi_class="ovr", labels=range(4)))


def test_the_correlation_of_one_class_is_0_whatever_the_weights(columns: Engine) -> None:
    """scikit-learn's spread of one class is the difference of two sums: of these weights it is rounded below 0."""
    rng = np.random.default_rng(1060)
    weight, predicted, targets = rng.random(7), rng.integers(0, 4, 7), np.full(7, 2)
    fields = {"logits": np.eye(4, dtype=np.float32)[predicted], "targets": targets, "sample_weight": weight}
    assert answer(columns, "multiclass", fields).values["matthews_corrcoef"] == 0.0
    with pytest.warns(RuntimeWarning):
        assert math.isnan(matthews_corrcoef(targets, predicted, sample_weight=weight))


def test_a_class_of_which_no_sample_has_weight_is_absent(columns: Engine) -> None:
    """A sample of weight 0 is as if it were not there; scikit-learn's macro average counts its class, as 0."""
    fields = {
        "probabilities": np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9]], np.float32),
        "targets": np.array([0, 1, 2]),
        "sample_weight": np.array([1.0, 1.0, 0.0]),
    }
    assert answer(columns, "multiclass", fields).values["precision_macro"] == 1.0
    given = {"sample_weight": fields["sample_weight"], "average": "macro", "zero_division": 0}
    assert precision_score([0, 1, 2], [0, 1, 2], **given) == pytest.approx(2 / 3)


def test_auroc_of_one_class_is_nan(columns: Engine) -> None:
    """As scikit-learn's, without a warning; its average precision without positives is 0."""
    fields = {"logits": np.array([0.5, -1.0, 2.0], np.float32), "targets": np.zeros(3, np.int64)}
    values = answer(columns, "binary", fields).values
    assert math.isnan(values["auroc"])
    assert values["average_precision"] == 0.0
    with pytest.warns(UndefinedMetricWarning):
        assert math.isnan(roc_auc_score(fields["targets"], fields["logits"]))


def test_infinite_scores_are_ranked(columns: Engine) -> None:
    """scikit-learn refuses them. Minus infinity is an ordinary score of what cannot be."""
    scores, targets = np.array([-np.inf, 0.0, 1.0, np.inf], np.float32), np.array([0, 1, 0, 1])
    values = answer(columns, "binary", {"logits": scores, "targets": targets}).values
    assert values["auroc"] == 0.75
    assert values["ks"] == ks_2samp(scores[targets == 1], scores[targets == 0]).statistic
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="infinity"):
        roc_auc_score(targets, scores)


def test_saturated_logits_are_ranked_as_they_are(columns: Engine) -> None:
    """float32 probabilities of such logits are all 1, and tell nothing apart."""
    logits, targets = np.array([18.0, 25.0, 30.0, 40.0], np.float32), np.array([0, 0, 1, 1])
    p = (1 / (1 + np.exp(-logits))).astype(np.float32)
    assert (p == 1).all()
    assert answer(columns, "binary", {"logits": logits, "targets": targets}).values["auroc"] == 1.0
    assert answer(columns, "binary", {"probabilities": p, "targets": targets}).values["auroc"] == 0.5
    assert roc_auc_score(targets, p) == 0.5


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("kind", ["logits", "log_probabilities", "probabilities"])
def test_a_probability_at_the_threshold_is_positive(columns: Engine, task: str, kind: str) -> None:
    """0.5 at 0.5, 1 at 1, and everything at 0: scores are compared as they are given, with >=."""
    p = np.array([[0.0, 0.25, 0.5, 1.0]])
    with np.errstate(divide="ignore"):
        scores = {"logits": np.log(p / (1 - p)), "log_probabilities": np.log(p), "probabilities": p}[kind]
    for threshold, said in ((0.0, 4), (0.25, 3), (0.5, 2), (1.0, 1)):
        rows = scores if task == "multilabel" else scores[0]
        fields = {kind: rows, "targets": np.ones(rows.shape, np.int64), "threshold": threshold}
        values = answer(columns, task, fields).values
        assert values["recall" if task == "binary" else "recall_micro"] == said / 4


def test_perplexity_is_no_mean_of_perplexities(columns: Engine) -> None:
    """Neither that of tokens nor that of sequences; and the two differ where sequences are not equally long."""
    logits = np.log(np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.1, 0.9], [0.2, 0.8]]]))
    targets = np.array([[0, 1], [0, -100]])
    values = answer(columns, "tokens", {"logits": logits, "targets": targets}).values
    nats = -np.log([0.5, 0.1, 0.1])
    assert values["perplexity"] == pytest.approx(np.exp(nats.mean()))
    assert values["sequence_mean_perplexity"] == pytest.approx(np.exp((nats[:2].mean() + nats[2]) / 2))
    assert abs(values["perplexity"] - values["sequence_mean_perplexity"]) > 0.5
    of_tokens, of_sequences = np.exp(nats).mean(), (np.exp(nats[:2].mean()) + np.exp(nats[2])) / 2
    for mean in (of_tokens, of_sequences):
        assert min(abs(values[name] - mean) for name in ("perplexity", "sequence_mean_perplexity")) > 0.1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_a_probability_is_at_least_itself_in_every_dtype(columns: Engine, task: str, dtype: str) -> None:
    """0.7 as a float32 is less than 0.7; a threshold among such probabilities is one of them."""
    for percent in range(1, 100):
        p = np.array([[percent / 100]], dtype)
        fields = {"probabilities": p if task == "multilabel" else p[0], "targets": np.ones(p.shape, np.int64)}
        if task == "binary":
            fields["targets"] = fields["targets"][0]
        values = answer(columns, task, {**fields, "threshold": percent / 100}).values
        assert values["recall" if task == "binary" else "recall_micro"] == 1.0, percent


@pytest.mark.parametrize("kind", ["logits", "log_probabilities", "probabilities"])
def test_the_best_threshold_gives_the_best_f1(columns: Engine, kind: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(100):
        logits, targets = rng.normal(size=50), rng.integers(0, 2, 50)
        p = 1 / (1 + np.exp(-logits))
        scores = {"logits": logits, "log_probabilities": np.log(p), "probabilities": p}[kind].astype(np.float32)
        best = answer(columns, "binary", {kind: scores, "targets": targets}).values
        again = answer(
            columns, "binary", {kind: scores, "targets": targets, "threshold": best["best_f1_threshold"]}
        ).values
        assert again["f1"] == pytest.approx(best["best_f1"], rel=1e-12)
