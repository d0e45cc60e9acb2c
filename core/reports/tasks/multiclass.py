"""One true class among several, for each sample.

Predicted is the class with the largest score, the first of equal ones; its probability is the confidence. Samples
whose target is ignore_index are left out of everything. Definitions are scikit-learn's, with zero_division=0.
"""

from typing import Any

import numpy as np

from core.dtypes import numbers
from core.reports import confidence, options
from core.reports.build import COUNTS, LOSSES, WEIGHT, clipped_loss, moments, sums, worst
from core.reports.columns import COLUMNS
from core.reports.declare import Task
from core.reports.details import BY_CLASS, CALIBRATION, CONFUSION, LOSS_HISTOGRAM
from core.reports.matrix import CONFUSIONS
from core.reports.metrics import of_task
from core.reports.parts.exact_sums import ExactSums
from core.reports.prepare import Job
from core.reports.samples import Array, Samples
from core.reports.scores import SCORES_BY_CLASS

WORST = ("target", "predicted", "target_probability", "margin")


def gather(job: Job, values: Any) -> Samples:
    """The samples that count, of the columns `values`."""
    targets = job.batch.arrays["targets"].reshape(-1).astype(np.int64, copy=False)
    places = (targets != job.batch.plan.options["ignore_index"]).nonzero()[0]
    columns = {**values, "target": targets}
    if len(places) < job.size:
        columns = {name: array[places] for name, array in columns.items()}
    columns["right"] = columns["predicted"] == columns["target"]
    if "auroc" in job.spec.metrics:
        columns |= _of_classes(job, places, columns)
    weight = None if job.weight is None else job.weight[places]
    return Samples(job.spec, columns, places, job.ids, weight, job.size - len(places))


def _of_classes(job: Job, places: Array, columns: dict[str, Array]) -> dict[str, Array]:
    """The score of each class, which of them is true, and that each is there: of logits the log-probabilities."""
    rows = numbers(job.batch.arrays[job.spec.scores]).reshape(job.size, job.spec.classes)[places]
    if job.spec.scores == "logits":
        rows = _log_probabilities(rows.astype(job.spec.dtype, copy=False), columns["predicted"])
    truths = columns["target"][:, None] == np.arange(job.spec.classes)
    return {"scores": rows, "truths": truths, "there": np.ones(rows.shape, bool)}


def _log_probabilities(rows: Array, predicted: Array) -> Array:
    """log(softmax) of logits. The exponentials of the other classes are summed without the largest: beside its 1 they
    would be lost, and sure predictions would all tie."""
    with np.errstate(all="ignore"):
        found = rows - rows.max(axis=1, keepdims=True, initial=-np.inf)
        others = np.exp(found)
        np.put_along_axis(others, predicted[:, None], 0, axis=1)
        return np.asarray(found - np.log1p(others.sum(axis=1, keepdims=True)))


def _brier(samples: Samples) -> Array:
    return np.asarray(1 - 2 * samples["target_probability"].astype(np.float64) + samples["squared_probability"])


def _top_k(samples: Samples) -> ExactSums:
    return samples.count(*(samples["rank"] < k for k in samples.spec.top_k))


def _classes(samples: Samples) -> ExactSums:
    target = samples["target"]
    return samples.count_by(
        samples.spec.classes, (target, None), (samples["predicted"], None), (target, samples["right"])
    )


TASK = Task(
    name="multiclass",
    doc=__doc__,
    columns=COLUMNS["multiclass"],
    tensors=(options.SAMPLE_WEIGHT, options.BINS, options.WORST, options.CONFIDENCE),
    choices=(options.BINNING, options.CONFUSION),
    listed=(options.IDS, options.GROUPS, options.TOP_K, options.averages(), options.metrics("auroc"), options.SHARD),
    parts=(
        COUNTS,
        WEIGHT,
        moments("loss", "The cross-entropy.", lambda samples: samples["loss"]),
        moments("log_loss", "The clipped cross-entropy.", lambda samples: clipped_loss(samples["target_probability"])),
        moments("brier_score", "The Brier score.", _brier),
        moments("entropy", "The entropy.", lambda samples: samples["entropy"]),
        sums("top_k", "The weight of the samples within each k.", lambda spec: len(spec.top_k), _top_k),
        sums(
            "classes", "The weight by true class, by predicted class, by both.", lambda spec: 3 * spec.classes, _classes
        ),
        *confidence.parts("confidence", "right"),
        LOSSES,
        CONFUSIONS,
        SCORES_BY_CLASS,
        worst(WORST),
    ),
    metrics=of_task("multiclass"),
    details=(BY_CLASS, CONFUSION, CALIBRATION, LOSS_HISTOGRAM),
    gather=gather,
    worst=WORST,
    example={
        "logits": [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [1.0, -2.0, 0.0], [-0.5, 1.5, 1.0], [0.0, 3.0, -1.0]],
        "targets": [0, 2, 1, 1, 0],
        "top_k": [1, 2],
        "bins": 5,
        "metrics": ["auroc"],
    },
    state_bytes=lambda classes: 2**21 + 2**15 + 12 * classes,
)
