"""Any number of labels, for each sample: scores and targets are (samples, labels), targets 0 and 1.

A label is said where its probability is at least `threshold`, compared on the scores as they were given. Single labels
whose target is ignore_index are left out; a sample of which none counts is ignored. Definitions are scikit-learn's,
with zero_division=0.
"""

from typing import Any

import numpy as np

from core.dtypes import numbers
from core.reports import options
from core.reports.build import COUNTS, ELEMENT_WEIGHT, LOSSES, WEIGHT, moments, sums, worst
from core.reports.columns import COLUMNS
from core.reports.counts import precision_recall_f1
from core.reports.declare import Part, Task
from core.reports.details import BY_CLASS, LOSS_HISTOGRAM
from core.reports.labels import coverage_error, ranking_loss
from core.reports.metrics import of_task
from core.reports.metrics.averages import KINDS
from core.reports.parts.exact_sums import ExactSums
from core.reports.prepare import Job
from core.reports.samples import Array, Samples
from core.reports.scores import SCORES_BY_CLASS
from core.reports.threshold import predicted_positive

ON_REQUEST = ("auroc", "average_precision", "ranking_loss", "coverage_error")


def gather(job: Job, values: Any) -> Samples:
    """The samples of which a label counts, of the columns `values`."""
    shape = (job.size, job.spec.classes)
    targets = job.batch.arrays["targets"].reshape(shape)
    there = targets != job.batch.plan.options["ignore_index"]
    scores = numbers(job.batch.arrays[job.spec.scores]).reshape(shape)
    places = np.flatnonzero(there.any(axis=1))
    if len(places) < job.size:
        targets, there, scores = targets[places], there[places], scores[places]
    truths = (targets == 1) & there
    columns = {name: array[places] for name, array in values.items()}
    columns |= {
        "elements": columns["labels"],
        "scores": scores,
        "truths": truths,
        "said": predicted_positive(scores, job.spec) & there,
        "there": there,
    }
    weight = None if job.weight is None else job.weight[places]
    return Samples(job.spec, columns, places, job.ids, weight, job.size - len(places))


def _wrong(samples: Samples) -> Array:
    counts = (samples[name].astype(np.float64) for name in ("positives", "predicted_positives", "true_positives"))
    positives, predicted, true = counts
    return np.asarray((positives + predicted - 2 * true) / samples["elements"])


def _subset(samples: Samples) -> ExactSums:
    hits = samples["true_positives"]
    return samples.count((samples["positives"] == hits) & (samples["predicted_positives"] == hits))


def _labels(samples: Samples) -> ExactSums:
    truths, positive = samples["truths"], samples["said"]
    return ExactSums.joined([_by_label(samples, where) for where in (truths, positive, truths & positive)])


def _by_label(samples: Samples, where: Array) -> ExactSums:
    if samples.weight is None:
        return ExactSums.of_counts(np.count_nonzero(where, axis=0))
    sample, label = np.nonzero(where)
    return ExactSums.of(samples.weight[sample], label, samples.spec.classes)


def _of_samples(kind: str) -> Part:
    def column(samples: Samples) -> Array:
        counts = [samples[name] for name in ("positives", "predicted_positives", "true_positives")]
        return np.asarray(precision_recall_f1(np.array(counts, np.float64))[KINDS.index(kind)])

    doc = f"The {kind} of each sample's labels."
    return moments(f"samples_{kind}", doc, column, lambda spec: "samples" in spec.averages)


TASK = Task(
    name="multilabel",
    doc=__doc__,
    columns=COLUMNS["multilabel"],
    tensors=(options.SAMPLE_WEIGHT, options.WORST, options.CONFIDENCE),
    choices=(),
    listed=(
        options.IDS,
        options.GROUPS,
        options.averages("samples"),
        options.metrics(*ON_REQUEST),
        options.SHARD,
    ),
    parts=(
        COUNTS,
        WEIGHT,
        ELEMENT_WEIGHT,
        moments("loss", "The binary cross-entropy.", lambda samples: samples["loss"], by_element=True),
        moments("hamming_loss", "The share of labels that are wrong.", _wrong, by_element=True),
        sums("subset", "The weight of the samples that are right as a whole.", lambda spec: 1, _subset),
        sums("classes", "The weight by true label, by said label, by both.", lambda spec: 3 * spec.classes, _labels),
        *(_of_samples(kind) for kind in KINDS),
        moments("ranking_loss", "The ranking loss.", ranking_loss, lambda spec: "ranking_loss" in spec.metrics),
        moments("coverage_error", "The coverage.", coverage_error, lambda spec: "coverage_error" in spec.metrics),
        SCORES_BY_CLASS,
        LOSSES,
        worst(()),
    ),
    metrics=of_task("multilabel"),
    details=(BY_CLASS, LOSS_HISTOGRAM),
    gather=gather,
    worst=(),
    example={
        "logits": [[2.0, -1.0, 0.5], [-0.5, 1.0, -2.0], [0.3, 0.2, 1.5], [-1.0, -0.2, 0.8]],
        "targets": [[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]],
        "metrics": list(ON_REQUEST),
    },
    state_bytes=lambda classes: 2**21 + 2**15 + 12 * classes,
)
