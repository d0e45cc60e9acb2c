"""Yes or no, for each sample: targets are 0 and 1, scores those of 1, in arrays of any shape.

Positive is said where the probability is at least `threshold`, which is compared on the scores as they were given:
logits with log(t / (1 - t)), log-probabilities with log t. Samples are ranked by the same scores, so saturated
probabilities do not tie. Samples whose target is ignore_index are left out of everything.
"""

from typing import Any

import numpy as np

from core.dtypes import numbers
from core.reports import confidence, options
from core.reports.build import COUNTS, LOSSES, WEIGHT, clipped_loss, moments, sums, worst
from core.reports.columns import COLUMNS, THRESHOLD
from core.reports.declare import Task
from core.reports.details import CALIBRATION, CURVES, DECISIONS, LOSS_HISTOGRAM
from core.reports.metrics import of_task
from core.reports.parts.exact_sums import ExactSums
from core.reports.prepare import Job
from core.reports.samples import Array, Samples
from core.reports.scores import SCORES
from core.reports.threshold import predicted_positive

WORST = ("target", "predicted", "probability")


def gather(job: Job, values: Any) -> Samples:
    """The samples that count, of the columns `values`."""
    targets = job.batch.arrays["targets"].reshape(-1).astype(np.int64)
    places = np.flatnonzero(targets != job.batch.plan.options["ignore_index"])
    scores = numbers(job.batch.arrays[job.spec.scores]).reshape(-1)[places]
    columns = {name: array[places] for name, array in values.items()} | {"target": targets[places], "score": scores}
    columns["predicted"] = predicted_positive(scores, job.spec).astype(np.int64)
    weight = None if job.weight is None else job.weight[places]
    return Samples(job.spec, columns, places, job.ids, weight, job.size - len(places))


def _log_loss(samples: Samples) -> Array:
    p = samples["probability"]
    return clipped_loss(np.where(samples["target"] == 1, p, 1 - p))


def _brier(samples: Samples) -> Array:
    return np.asarray((samples["probability"].astype(np.float64) - samples["target"]) ** 2)


def _decisions(samples: Samples) -> ExactSums:
    """True and false positives, false and true negatives, and the same of the squares of the weights."""
    place = np.array([3, 1, 2, 0])[2 * samples["target"] + samples["predicted"]]
    once = samples.count_by(4, (place, None))
    return ExactSums.joined([once, once if samples.weight is None else samples.total_by(place, samples.weight, 4)])


TASK = Task(
    name="binary",
    doc=__doc__,
    columns=COLUMNS["binary"],
    tensors=(options.SAMPLE_WEIGHT, THRESHOLD, options.BINS, options.WORST, options.CONFIDENCE),
    choices=(options.BINNING,),
    listed=(options.IDS, options.GROUPS, options.SHARD),
    parts=(
        COUNTS,
        WEIGHT,
        moments("loss", "The binary cross-entropy.", lambda samples: samples["loss"]),
        moments("log_loss", "The clipped binary cross-entropy.", _log_loss),
        moments("brier_score", "The Brier score.", _brier),
        sums("decisions", "True and false positives, false and true negatives; squared.", lambda spec: 8, _decisions),
        SCORES,
        *confidence.parts("probability", "target"),
        LOSSES,
        worst(WORST),
    ),
    metrics=of_task("binary"),
    details=(DECISIONS, CALIBRATION, CURVES, LOSS_HISTOGRAM),
    gather=gather,
    worst=WORST,
    example={"logits": [2.0, -1.0, 0.5, -0.5, 1.0, -3.0], "targets": [1, 0, 0, 1, 1, 0], "bins": 5},
    state_bytes=lambda classes: 12 * 2**20 + 2**21 + 2**15,
)
