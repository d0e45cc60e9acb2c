"""What PyTorch and torchmetrics say of a request for a report: the values of metrics by name, without weights.

Where they are known to differ (tests.oracle.test_reports_oracle) nothing is said: classes that are absent or the only
one, confidences on edges of bins, ties among labels, infinite logits.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torchmetrics.functional import classification as of
from torchmetrics.functional.text import perplexity

from core.reports.references import Data
from tests.core.reports.cases import Answer, Array, Case
from tests.core.reports.sources import data_of, quiet

Values = dict[str, float]


def torchmetrics_of(case: Case, answer: Answer) -> Values:
    """The values of metrics of a request, none where it has weights or no samples."""
    if "sample_weight" in case.fields or not answer.samples.size:
        return {}
    with quiet():
        found = _OF[case.task](case, data_of(case), answer)
    return {name: float(value) for name, value in found.items()}


def _tensor(values: Array) -> Any:
    return torch.from_numpy(np.ascontiguousarray(values))


def _ranks(scores: Array) -> Any:
    """Probabilities in the order of the scores: torchmetrics would take a sigmoid of logits, and lose ties to it."""
    _, place = np.unique(scores.astype(np.float32), return_inverse=True)
    return _tensor((place.reshape(scores.shape) + 1) / (place.max() + 2))


def _far_from_edges(confidence: Array, bins: int) -> bool:
    off = np.abs(confidence * bins - np.round(confidence * bins))
    return bool((off > 1e-4).all())


def _calibration(found: Values, case: Case, answer: Answer, confidence: Array, right: Array) -> None:
    bins = case.fields.get("bins", 15)
    if case.fields.get("binning", "width") != "width" or not _far_from_edges(confidence, bins):
        return
    given = _tensor(confidence.astype(np.float64)), _tensor(right.astype(np.int64))
    for name, norm in (("ece", "l1"), ("mce", "max"), ("rmsce", "l2")):
        found[name] = of.binary_calibration_error(*given, n_bins=bins, norm=norm)


def _of_classes(case: Case, data: Data, answer: Answer) -> Values:
    found: Values = {}
    size, true, said = case.fields[case.kind].shape[1], _tensor(data.targets), _tensor(data.predicted)
    found["cross_entropy"] = F.nll_loss(_tensor(data.log_p), true)
    if case.kind == "logits":
        found["cross_entropy"] = F.cross_entropy(_tensor(data.scores), true)
    confidence = answer.samples["confidence"].astype(np.float64)
    _calibration(found, case, answer, confidence, data.predicted == data.targets)
    if size < 2:
        return found
    found["accuracy"] = of.multiclass_accuracy(said, true, size, average="micro")
    for how in ("micro", "macro", "weighted"):
        found[f"precision_{how}"] = of.multiclass_precision(said, true, size, average=how)
        found[f"recall_{how}"] = of.multiclass_recall(said, true, size, average=how)
        found[f"f1_{how}"] = of.multiclass_f1_score(said, true, size, average=how)
    if len(set(data.targets.tolist())) > 1 and len(set(data.predicted.tolist())) > 1:
        found["matthews_corrcoef"] = of.multiclass_matthews_corrcoef(said, true, size)
    found["cohen_kappa"] = of.multiclass_cohen_kappa(said, true, size)
    counts = np.bincount(data.targets, minlength=size)
    if "auroc" in case.fields.get("metrics", ()) and (counts > 0).all() and (counts < len(data.targets)).all():
        p = _ranks(answer.samples["scores"])
        found["auroc_macro"] = of.multiclass_auroc(p, true, size, average="macro")
        found["auroc_weighted"] = of.multiclass_auroc(p, true, size, average="weighted")
    return found


def _of_elements(case: Case, data: Data, answer: Answer) -> Values:
    found: Values = {}
    true, said = _tensor(data.targets), _tensor(data.predicted)
    if case.kind == "logits" and np.isfinite(data.scores).all():
        scores = _tensor(data.scores)
        found["binary_cross_entropy"] = F.binary_cross_entropy_with_logits(scores, true.to(scores.dtype))
    elif case.kind == "probabilities":
        found["binary_cross_entropy"] = F.binary_cross_entropy(_tensor(data.p), true.to(torch.float64))
    found["accuracy"] = of.binary_accuracy(said, true)
    found["precision"], found["recall"] = of.binary_precision(said, true), of.binary_recall(said, true)
    found["f1"], found["specificity"] = of.binary_f1_score(said, true), of.binary_specificity(said, true)
    p = answer.samples["probability"].astype(np.float64)
    _calibration(found, case, answer, p, data.targets == 1)
    if len(set(data.targets.tolist())) == 2:
        ranks = _ranks(data.scores)
        found["auroc"] = of.binary_auroc(ranks, true)
        found["average_precision"] = of.binary_average_precision(ranks, true)
        if len(set(data.predicted.tolist())) == 2:
            found["matthews_corrcoef"] = of.binary_matthews_corrcoef(said, true)
    return found


def _of_labels(case: Case, data: Data, answer: Answer) -> Values:
    found: Values = {}
    size = case.fields[case.kind].shape[1]
    if size < 2 or not data.there.all():
        return found
    true, said = _tensor(data.targets), _tensor(data.predicted)
    if case.kind == "logits" and np.isfinite(data.scores).all():
        scores = _tensor(data.scores)
        found["binary_cross_entropy"] = F.binary_cross_entropy_with_logits(scores, true.to(scores.dtype))
    found["hamming_loss"] = of.multilabel_hamming_distance(said, true, size, average="micro")
    found["subset_accuracy"] = of.multilabel_exact_match(said, true, size)
    for how in ("micro", "macro", "weighted"):
        found[f"precision_{how}"] = of.multilabel_precision(said, true, size, average=how)
        found[f"recall_{how}"] = of.multilabel_recall(said, true, size, average=how)
        found[f"f1_{how}"] = of.multilabel_f1_score(said, true, size, average=how)
    ranks, asked = _ranks(data.scores), case.fields.get("metrics", ())
    if all(len(set(row.tolist())) == size for row in ranks):
        found["ranking_loss"] = of.multilabel_ranking_loss(ranks, true, size)
        if data.targets.any(axis=1).all():
            found["coverage_error"] = of.multilabel_coverage_error(ranks, true, size)
    counts = data.targets.sum(axis=0)
    if (counts > 0).all() and (counts < len(data.targets)).all():
        for name, function in (("auroc", of.multilabel_auroc), ("average_precision", of.multilabel_average_precision)):
            if name in asked:
                found[f"{name}_macro"] = function(_ranks(answer.samples["scores"]), true, size, average="macro")
    return found


def _of_tokens(case: Case, data: Data, answer: Answer) -> Values:
    log_p, true = _tensor(data.log_p), _tensor(data.targets)
    found = {"cross_entropy": F.nll_loss(log_p, true)}
    if np.isfinite(data.log_p).all() and data.loss.max() < 700:  # beyond which a probability is 0
        found["perplexity"] = perplexity(log_p[None], true[None])
    size = data.p.shape[1]
    if size > 1:
        found["accuracy"] = of.multiclass_accuracy(_tensor(data.predicted), true, size, average="micro")
    return found


_OF = {"multiclass": _of_classes, "binary": _of_elements, "multilabel": _of_labels, "tokens": _of_tokens}
