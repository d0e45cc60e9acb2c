"""The next token, for each token of each sequence: scores are (sequences, tokens, vocabulary).

Tokens whose target is ignore_index, padding, are left out; a sequence of which none counts is ignored. Weights, ids,
groups and bytes are the sequences'. Means over tokens weigh each sequence by how many it has, and their intervals
take the tokens of a sequence together, for they are no independent samples.
"""

from typing import Any

import numpy as np

from core.reports import options
from core.reports.build import (
    COUNTS,
    ELEMENT_WEIGHT,
    LOSSES,
    WEIGHT,
    anything,
    element_weight,
    moments,
    sums,
    three_moments,
    worst,
)
from core.reports.columns import COLUMNS
from core.reports.declare import Detail, Task
from core.reports.details import LOSS_HISTOGRAM
from core.reports.metrics import of_task
from core.reports.parts.exact_sums import ExactSums
from core.reports.prepare import Job
from core.reports.samples import Array, Samples

WORST = ("elements",)


def gather(job: Job, values: Any) -> Samples:
    """The sequences of which a token counts, each with the means of its tokens' columns."""
    tokens_each = int(np.prod(job.batch.plan.samples[1:], dtype=np.int64))
    targets = job.batch.arrays["targets"].reshape(job.size, tokens_each)
    there = targets != job.batch.plan.options["ignore_index"]
    elements = np.count_nonzero(there, axis=1)
    places = np.flatnonzero(elements)
    tokens = np.flatnonzero(there)  # of the kept tokens, in order: each sequence's stand together
    starts = (
        np.concatenate([[0], np.cumsum(elements[places])[:-1]]).astype(np.int64)
        if len(places)
        else np.zeros(0, np.int64)
    )
    rank, log_normalizer = values["rank"][tokens], values["log_normalizer"][tokens].astype(np.float64)
    each: dict[str, Array] = {
        "loss": values["loss"][tokens],
        "entropy": values["entropy"][tokens],
        "right": rank == 0,
        "z_loss": log_normalizer * log_normalizer,
        **{f"top_{k}": rank < k for k in job.spec.top_k},
    }
    columns = {name: _means(array, starts, elements[places]) for name, array in each.items()}
    columns["elements"] = elements[places]
    if job.bytes is not None:
        columns["bytes"] = job.bytes[places].astype(np.float64)
    weight = None if job.weight is None else job.weight[places]
    return Samples(job.spec, columns, places, job.ids, weight, job.size - len(places))


def _means(values: Array, starts: Array, counts: Array) -> Array:
    if not len(starts):
        return np.zeros(0)
    return np.asarray(np.add.reduceat(values.astype(np.float64), starts) / counts)


def _top_k(samples: Samples) -> ExactSums:
    weight = element_weight(samples)
    each = [three_moments(samples[f"top_{k}"], weight) for k in samples.spec.top_k]
    return ExactSums.joined(each or [ExactSums.zeros(0)])


def _bytes(samples: Samples) -> ExactSums:
    return samples.total(samples["bytes"])


def _tokens(samples: Samples) -> ExactSums:
    return ExactSums.of_counts(np.array([int(samples["elements"].sum())]))


TASK = Task(
    name="tokens",
    doc=__doc__,
    columns=COLUMNS["tokens"],
    tensors=(options.SAMPLE_WEIGHT, options.BYTES, options.WORST, options.CONFIDENCE),
    choices=(),
    listed=(options.IDS, options.GROUPS, options.TOP_K, options.SHARD),
    parts=(
        COUNTS,
        WEIGHT,
        ELEMENT_WEIGHT,
        sums("tokens", "How many tokens count.", lambda spec: 1, _tokens, possible=ExactSums.are_counts),
        sums("bytes", "The weighted bytes of text.", lambda spec: 1, _bytes, lambda spec: spec.bytes),
        moments("loss", "The cross-entropy.", lambda samples: samples["loss"], by_element=True),
        moments("sequence_loss", "The cross-entropy of each sequence.", lambda samples: samples["loss"]),
        moments("entropy", "The entropy.", lambda samples: samples["entropy"], by_element=True),
        moments("z_loss", "The squared log of the normaliser.", lambda samples: samples["z_loss"], by_element=True),
        moments("right", "Whether the token is the best.", lambda samples: samples["right"], by_element=True),
        sums(
            "top_k", "The same of the k best, for each k.", lambda spec: 3 * len(spec.top_k), _top_k, possible=anything
        ),
        LOSSES,
        worst(WORST),
    ),
    metrics=of_task("tokens"),
    details=(Detail("tokens", "How many tokens count.", lambda view: int(view.sums("tokens")[0])), LOSS_HISTOGRAM),
    gather=gather,
    worst=("tokens",),
    example={
        "logits": [
            [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [1.0, -2.0, 0.0]],
            [[-0.5, 1.5, 1.0], [0.0, 3.0, -1.0], [0.0, 0.0, 0.0]],
        ],
        "targets": [[0, 2, 1], [1, 0, -100]],
        "bytes": [11, 7],
        "top_k": [1, 2],
    },
    state_bytes=lambda classes: 2**21 + 2**15,
)
