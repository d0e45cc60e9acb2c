"""What scikit-learn and SciPy say of a request: the values of metrics by name, as far as these packages have them.

Samples without weight are left out of what depends on which classes there are.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import log_expit, log_softmax
from scipy.stats import entropy, ks_2samp, rankdata
from sklearn import config_context
from sklearn import metrics as sklearn

from core.reports.references import DATA, Data
from tests.core.reports.cases import Answer, Array, Case

Values = dict[str, float]
RANKED = frozenset(
    (
        *("auroc", "average_precision", "ks", "best_f1", "best_f1_threshold"),
        *("auroc_macro", "auroc_weighted", "average_precision_macro"),
    )
)
MOST_ROWS = 16  # that are asked about one by one


@contextmanager
def quiet() -> Iterator[None]:
    """Without scikit-learn's and NumPy's warnings of what is not defined, and without its checks of types."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), config_context(skip_parameter_validation=True):
        warnings.simplefilter("ignore")
        yield


def data_of(case: Case) -> Data:
    """The raw data of a request, in float64."""
    fields = case.fields | {"dtype": case.dtype}
    with quiet():
        return DATA[case.task](fields)


def rounded(metric: str, data: Data, answer: Answer, case: Case) -> Data:
    """The same, with what `metric` is defined on rounded as it is: confidences and clipped probabilities to the
    request's dtype, scores that are ordered, and confidences in bins of equal mass, to float32."""
    if metric in ("ece", "mce", "rmsce") or (metric == "log_loss" and case.task == "binary"):
        name = {"multiclass": "confidence", "binary": "probability"}[case.task]
        mass = metric != "log_loss" and case.fields.get("binning") == "mass"
        p = answer.samples[name].astype(np.float32 if mass else case.dtype).astype(np.float64)
        return replace(data, p=p if case.task == "binary" else p[:, None])
    if metric in RANKED and case.task == "binary":
        return replace(data, scores=data.scores.astype(np.float32).astype(np.float64))
    if metric in RANKED:
        scores = answer.samples["scores"].astype(np.float32).astype(np.float64)
        return replace(data, scores=scores, log_p=scores)
    return data


def expected(case: Case, answer: Answer) -> Values:
    """The values of metrics of a request. Of very different weights scikit-learn's correlations are only rounding; that
    of one class throughout is 0, which it misses where it rounds the spread below 0."""
    with quiet():
        data = data_of(case)
        found = _OF[case.task](case, data, answer)
    weight = data.weight[data.weight > 0]
    if math.isnan(found.get("matthews_corrcoef", 0.0)):
        found["matthews_corrcoef"] = 0.0
    unsure = ("matthews_corrcoef", "cohen_kappa") if weight.size and weight.max() > 1e3 * weight.min() else ()
    return {name: value for name, value in found.items() if name not in unsure}


def average(values: Array, weight: Array) -> float:
    return float(np.average(values, weights=weight)) if weight.sum() > 0 else math.nan


def _ranks(scores: Array) -> Array:
    """Finite numbers in the order of the scores, for scikit-learn refuses infinite ones."""
    ranks: Array = rankdata(scores, method="dense", axis=None).reshape(scores.shape).astype(np.float64)
    return ranks


def _of_classes(case: Case, data: Data, answer: Answer) -> Values:
    size, weight, targets = case.fields[case.kind].shape[1], data.weight, data.targets
    log_p = log_softmax(data.scores, axis=1) if case.kind == "logits" and data.scores.size else data.log_p
    loss = -log_p[np.arange(len(targets)), targets]
    found = {
        "cross_entropy": average(loss, weight),
        "perplexity": float(np.exp(average(loss, weight))),
        "entropy": average(entropy(data.p, axis=1), weight) if len(targets) else math.nan,
    }
    kept = weight > 0
    true, said, given = targets[kept], data.predicted[kept], {"sample_weight": weight[kept]}
    if not kept.any():
        return found
    found |= {
        "accuracy": sklearn.accuracy_score(true, said, **given),
        "balanced_accuracy": sklearn.balanced_accuracy_score(true, said, **given),
        "matthews_corrcoef": sklearn.matthews_corrcoef(true, said, **given),
        "cohen_kappa": sklearn.cohen_kappa_score(true, said, **given),
    }
    for how in ("micro", "macro", "weighted"):
        found |= _averages(how, true, said, given)
    if size > 1:
        p, labels = data.p[kept], np.arange(size)
        found["brier_score"] = sklearn.brier_score_loss(true, p, labels=labels, scale_by_half=False, **given)
        found["log_loss"] = sklearn.log_loss(true, p.astype(case.dtype), labels=labels, **given)
    if size > 2:
        for k in case.fields.get("top_k", (1, 5)):
            found[f"top_{k}_accuracy"] = top_k(true, data.scores[kept], k, given)
    if "auroc" in case.fields.get("metrics", ()):
        found |= _of_rows(answer, weight, ("auroc",))
    return found


def top_k(targets: Array, scores: Array, k: int, given: Any) -> float:
    """With the classes in reverse: scikit-learn takes the highest index of equal scores, here it is the lowest."""
    size = scores.shape[1]
    found = sklearn.top_k_accuracy_score(
        size - 1 - targets, _ranks(scores)[:, ::-1], k=k, labels=np.arange(size), **given
    )
    return float(found)


def _averages(how: str, true: Array, said: Array, given: Any) -> Values:
    three = sklearn.precision_recall_fscore_support(true, said, average=how, zero_division=0, **given)
    names = ("precision", "recall", "f1") if how == "binary" else (f"precision_{how}", f"recall_{how}", f"f1_{how}")
    return {name: float(value) for name, value in zip(names, three, strict=False)}


def _each_row(answer: Answer, weight: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Targets, scores and weights of each class or label that has both sides."""
    samples = answer.samples
    for place in range(answer.state.spec.classes):
        kept = samples["there"][:, place] & (weight > 0)
        true, scores = samples["truths"][kept, place], samples["scores"][kept, place].astype(np.float32)
        if true.any() and not true.all():
            yield true, _ranks(scores), weight[kept]


def _of_rows(answer: Answer, weight: Array, names: tuple[str, ...]) -> Values:
    of: dict[str, Callable[..., float]] = {
        "auroc": sklearn.roc_auc_score,
        "average_precision": sklearn.average_precision_score,
    }
    rows, found = list(_each_row(answer, weight)), {}
    support = np.array([own[true].sum() for true, _, own in rows])
    for name in names:
        values = np.array([of[name](true, scores, sample_weight=own) for true, scores, own in rows])
        found[f"{name}_macro"] = float(values.mean()) if rows else math.nan
        found[f"{name}_weighted"] = average(values, support)
    return found


def _of_elements(case: Case, data: Data, answer: Answer) -> Values:
    found = {"binary_cross_entropy": average(_binary_loss(case, data), data.weight)}
    kept = data.weight > 0
    if not kept.any():
        return found
    true, said, weight = data.targets[kept], data.predicted[kept], data.weight[kept]
    given: Any = {"sample_weight": weight}
    p = answer.samples["probability"][kept]
    found |= {
        "accuracy": sklearn.accuracy_score(true, said, **given),
        "balanced_accuracy": sklearn.balanced_accuracy_score(true, said, **given),
        "matthews_corrcoef": sklearn.matthews_corrcoef(true, said, **given),
        **_averages("binary", true, said, given),
        "specificity": sklearn.recall_score(true, said, pos_label=0, zero_division=0, **given),
        "brier_score": sklearn.brier_score_loss(true, data.p[kept], pos_label=1, labels=[0, 1], **given),
        "log_loss": sklearn.log_loss(true, p, labels=[0, 1], **given),
    }
    scores = _ranks(data.scores[kept].astype(np.float32))
    return found | _ranked(true, scores, weight, data.scores[kept].astype(np.float32))


def _ranked(true: Array, ranks: Array, weight: Array, scores: Array) -> Values:
    given: Any = {"sample_weight": weight}
    found = {"average_precision": sklearn.average_precision_score(true, ranks, **given)}
    if true.any():
        precision, recall, _ = sklearn.precision_recall_curve(true, ranks, **given)
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))[:-1]
        found["best_f1"] = float(f1.max())
    if true.any() and not true.all():
        found["auroc"] = sklearn.roc_auc_score(true, ranks, **given)
        wrong, right, _ = sklearn.roc_curve(true, ranks, drop_intermediate=False, **given)
        found["ks"] = float(np.abs(right - wrong).max())
        if (weight == 1).all():
            found["ks"] = float(ks_2samp(scores[true == 1], scores[true == 0], method="asymp").statistic)
    else:
        found |= {"auroc": math.nan, "ks": math.nan}
    return found


def _binary_loss(case: Case, data: Data) -> Array:
    """Of logits by SciPy; of the others the reference's, which cuts logarithms off as PyTorch does."""
    if case.kind != "logits":
        return data.loss
    loss: Array = -np.where(data.targets == 1, log_expit(data.scores), log_expit(-data.scores))
    return loss


def _of_labels(case: Case, data: Data, answer: Answer) -> Values:
    there, weight = data.there, data.weight
    each = np.broadcast_to(weight[:, None], there.shape)
    found = {
        "binary_cross_entropy": average(_binary_loss(case, data)[there], each[there]),
        "hamming_loss": average((data.targets != data.predicted)[there], each[there]),
    }
    kept = weight > 0
    if not kept.any() or there.shape[1] < 2:
        return found
    true, said = ((values * there)[kept] for values in (data.targets, data.predicted))
    given: Any = {"sample_weight": weight[kept]}
    found["subset_accuracy"] = sklearn.accuracy_score(true, said, **given)
    if there.all():
        found["hamming_loss"] = sklearn.hamming_loss(true, said, **given)
    for how in ("micro", "macro", "weighted", "samples"):
        found |= _averages(how, true, said, given)
    asked = case.fields.get("metrics", ())
    found |= _of_rows(answer, weight, tuple(name for name in ("auroc", "average_precision") if name in asked))
    for name, function in (("ranking_loss", sklearn.label_ranking_loss), ("coverage_error", sklearn.coverage_error)):
        if name in asked and there.all():
            found[name] = function(true, _ranks(data.scores[kept]), **given)
        elif name in asked and len(true) <= MOST_ROWS:
            found[name] = average(_by_sample(function, data), weight)
    return found


def _by_sample(function: Callable[..., float], data: Data) -> Array:
    """`function` of the labels of each sample that count; of a single one what it is of two, of which one is last."""
    found = np.zeros(len(data.targets))
    for place, (true, scores, there) in enumerate(zip(data.targets, data.scores, data.there, strict=True)):
        ranks = _ranks(scores[there])
        padded = np.append(true[there], 0)[None], np.append(ranks, -1.0)[None]
        if there.sum() > 1:
            padded = true[there][None], ranks[None]
        elif function is sklearn.label_ranking_loss:
            continue
        found[place] = function(*padded)
    return found


def _of_tokens(case: Case, data: Data, answer: Answer) -> Values:
    log_p = log_softmax(data.scores, axis=1) if case.kind == "logits" and data.scores.size else data.log_p
    loss, weight = -log_p[np.arange(len(data.targets)), data.targets], data.weight
    nats = average(loss, weight)
    sequences = [loss[data.sequence == one].mean() for one in np.unique(data.sequence)]
    weights = [weight[data.sequence == one][0] for one in np.unique(data.sequence)]
    by_sequence = average(np.array(sequences), np.array(weights)) if sequences else math.nan
    found = {
        "cross_entropy": nats,
        "perplexity": float(np.exp(nats)),
        "sequence_mean_cross_entropy": by_sequence,
        "sequence_mean_perplexity": float(np.exp(by_sequence)),
        "bits_per_token": float(nats * np.log2(np.e)),
        "entropy": average(entropy(data.p, axis=1), weight) if len(loss) else math.nan,
    }
    kept = weight > 0
    if kept.any():
        given: Any = {"sample_weight": weight[kept]}
        found["accuracy"] = sklearn.accuracy_score(data.targets[kept], data.predicted[kept], **given)
        if data.p.shape[1] > 2:
            for k in case.fields.get("top_k", (1, 5)):
                found[f"top_{k}_accuracy"] = top_k(data.targets[kept], data.scores[kept], k, given)
    return found


_OF = {"multiclass": _of_classes, "binary": _of_elements, "multilabel": _of_labels, "tokens": _of_tokens}
