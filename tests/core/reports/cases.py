"""Random requests for a report of each task, and their answers: what metrics are compared on."""

import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.engine import Engine
from core.reports.prepare import prepare
from core.reports.report import report
from core.reports.samples import Samples
from core.reports.state import State, gather
from core.reports.tasks import TASKS

Array = NDArray[Any]
Rng = np.random.Generator
KINDS = ("logits", "log_probabilities", "probabilities")
IGNORED = -100
AVERAGES = ("micro", "macro", "weighted", "per_class")
ON_REQUEST = ("auroc", "average_precision", "ranking_loss", "coverage_error")


@dataclass(frozen=True)
class Case:
    """The fields of a request; `kind` names its scores, whose dtype is `dtype`."""

    task: str
    kind: str
    dtype: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What is answered: the report, the state it is of, and the samples that the state is of."""

    document: dict[str, Any]
    state: State
    samples: Samples

    @property
    def values(self) -> dict[str, float]:
        """The values of the metrics."""
        return {name: metric["value"] for name, metric in self.document["metrics"].items()}


def seeded(count: int) -> tuple[int, int]:
    """A seed and how many data sets a task: of the environment's REPORTS_SEED and REPORTS_CASES, or one of chance and
    `count`."""
    seed = int(os.environ.get("REPORTS_SEED", secrets.randbits(32)))
    cases = int(os.environ.get("REPORTS_CASES", count))
    print(f"\n{cases} data sets, REPORTS_SEED={seed}")
    return seed, cases


def answer(engine: Engine, task: str, fields: Mapping[str, Any], first: int = 0) -> Answer:
    """The report on a request."""
    job = prepare(TASKS[task], fields, first=first)
    values = engine.per_sample(job.batch)
    state = gather(job, values)
    return Answer(report(state), state, job.task.gather(job, values.arrays))


def random_cases(task: str, seed: int, count: int) -> Iterator[Case]:
    """So many requests for `task`; the same ones for the same seed."""
    for number in range(count):
        yield random_case(task, np.random.default_rng([seed, number, list(TASKS).index(task)]))


def random_case(task: str, rng: Rng) -> Case:
    """One request, of any size, kind, and degeneracy."""
    kind, dtype = str(rng.choice(KINDS)), str(rng.choice(["float32", "float64"]))
    size, classes = _size(rng), int(rng.integers(1, 13))
    shape = {"multiclass": (size, classes), "multilabel": (size, classes), "binary": (size,)}.get(
        task, (min(size, 24), int(rng.integers(0, 9)), classes)
    )
    by_class = task in ("multiclass", "tokens")
    logits = _logits(rng, shape, by_class)
    fields: dict[str, Any] = {
        kind: _scores(kind, logits, by_class).astype(dtype),
        "targets": _targets(rng, logits, by_class),
    }
    fields |= _weights(rng, shape[0])
    fields |= _options(rng, task, shape[0])
    return Case(task, kind, dtype, fields)


def _size(rng: Rng) -> int:
    if rng.random() < 0.08:
        return int(rng.integers(61, 401))
    return 0 if rng.random() < 0.04 else int(rng.integers(1, 61))


def _logits(rng: Rng, shape: tuple[int, ...], by_class: bool) -> Array:
    logits: Array = rng.normal(size=shape) * rng.choice([0.5, 2.0, 8.0])
    way = rng.random()
    if way < 0.2:
        logits = np.round(logits)
    elif way < 0.3:
        logits = logits + rng.choice([-20.0, 20.0], shape)
    elif way < 0.38:
        logits = np.where(rng.random(shape) < 0.3, rng.choice([-1e4, 1e4], shape), logits)
    if rng.random() < 0.1:  # rows of equal scores
        logits[rng.random(shape[:1]) < 0.5] = 0.25
    if by_class and rng.random() < 0.1:  # classes that cannot be
        logits[..., 1:] = np.where(rng.random(logits[..., 1:].shape) < 0.3, -np.inf, logits[..., 1:])
    if not by_class and rng.random() < 0.1:
        logits = np.where(rng.random(shape) < 0.2, -np.inf, logits)
    return logits


def _scores(kind: str, logits: Array, by_class: bool) -> Array:
    if kind == "logits":
        return logits
    with np.errstate(all="ignore"):
        if by_class:
            shifted: Array = logits - logits.max(axis=-1, keepdims=True, initial=-1e9)
            logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        else:
            logs = -np.logaddexp(0, -logits)
        scores: Array = logs if kind == "log_probabilities" else np.exp(logs)
    return scores


def _targets(rng: Rng, logits: Array, by_class: bool) -> Array:
    if by_class:
        classes = logits.shape[-1]
        there = rng.permutation(classes)[: int(rng.choice([1, max(1, classes // 2), classes], p=[0.1, 0.3, 0.6]))]
        found = rng.choice(there, logits.shape[:-1])
        good = rng.random(found.shape) < rng.choice([0.0, 0.5, 0.9])
        found = np.where(good, logits.argmax(axis=-1) if logits.size else found, found)
    else:
        share = rng.choice([0.0, 0.1, 0.5, 1.0], p=[0.06, 0.2, 0.68, 0.06])
        found = (rng.random(logits.shape) < share).astype(np.int64)
        good = rng.random(logits.shape) < rng.choice([0.0, 0.5, 0.9])
        found = np.where(good & (0 < share < 1), logits > 0, found).astype(np.int64)
    ignored = rng.choice([0.0, 0.3, 1.0], p=[0.7, 0.26, 0.04])
    targets: Array = np.where(rng.random(found.shape) < ignored, IGNORED, found)
    return targets


def _weights(rng: Rng, size: int) -> dict[str, Array]:
    way = rng.random()
    if way < 0.5:
        return {}
    weight = rng.random(size) + 0.1
    if way > 0.7:
        weight = weight * 10.0 ** rng.integers(-6, 7, size)
    if way > 0.8:
        weight[rng.random(size) < 0.3] = 0.0
    if way > 0.98:
        weight[:] = 0.0
    return {"sample_weight": weight.astype(rng.choice(["float32", "float64"]))}


def _options(rng: Rng, task: str, size: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if task in ("multiclass", "binary"):
        found |= {"bins": int(rng.choice([1, 2, 5, 10, 15, 49])), "binning": str(rng.choice(["width", "mass"]))}
    if task in ("multiclass", "tokens"):
        found["top_k"] = sorted(rng.choice(np.arange(1, 15), int(rng.integers(0, 4)), replace=False).tolist())
    if task in ("multiclass", "multilabel"):
        words = AVERAGES if task == "multiclass" else (*AVERAGES, "samples")
        found["averages"] = [word for word in words if rng.random() < 0.8]
        found["metrics"] = [word for word in ON_REQUEST[: 1 if task == "multiclass" else 4] if rng.random() < 0.6]
    if task in ("binary", "multilabel"):
        found["threshold"] = float(
            rng.choice([0.0, 0.5, 1.0, round(float(rng.random()), 2)], p=[0.08, 0.4, 0.08, 0.44])
        )
    if task == "multiclass":
        found["confusion"] = bool(rng.random() < 0.5)
    if task == "tokens" and rng.random() < 0.5:
        found["bytes"] = rng.integers(0, 60, size)
    if rng.random() < 0.2:
        found["ids"] = [f"sample {place}" for place in range(size)]
    if rng.random() < 0.2:
        found["groups"] = [str(label) for label in rng.choice(["a", "b", "c"], size)]
    found["worst"] = int(rng.choice([0, 3, 10]))
    found["confidence"] = float(rng.choice([0.5, 0.95, 0.999]))
    return {name: value for name, value in found.items() if name == "worst" or rng.random() < 0.8}
