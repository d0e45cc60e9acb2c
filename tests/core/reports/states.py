"""Data sets that states are made of in shards, and requests for parts of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.engine import Engine
from core.reports.prepare import prepare
from core.reports.state import State, gather
from core.reports.tasks import TASKS

Fields = dict[str, Any]
SIZE = 24
BY_SAMPLE = ("logits", "log_probabilities", "probabilities", "targets", "sample_weight", "ids", "groups", "bytes")


def state_of(engine: Engine, task: str, fields: Mapping[str, Any], first: int = 0) -> State:
    """The state of a request."""
    job = prepare(TASKS[task], fields, first=first)
    return gather(job, engine.per_sample(job.batch))


def some(fields: Mapping[str, Any], chosen: NDArray[np.int64]) -> Fields:
    """The request for the samples at `chosen`."""

    def of(value: Any) -> Any:
        return value[chosen] if isinstance(value, np.ndarray) else [value[place] for place in chosen.tolist()]

    return {name: of(value) if name in BY_SAMPLE else value for name, value in fields.items()}


def _scores(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float32") -> NDArray[Any]:
    logits = rng.normal(size=shape) * 4
    logits[rng.random(shape) < 0.1] = 1.5  # ties
    found: NDArray[Any] = logits.astype(dtype)
    return found


def _more(rng: np.random.Generator, size: int) -> dict[str, Fields]:
    """What a request may have more, by a word for it."""
    weight = np.ldexp(rng.random(size) + 0.1, rng.integers(-200, 200, size))
    return {
        "weighted": {"sample_weight": weight},
        "grouped": {"groups": [str(label) for label in rng.choice(["a", "", "a\0"], size)]},
        "named": {"ids": [f"sample {place % 9}" for place in rng.permutation(size)]},
        "numbered": {"ids": rng.permutation(size) - 5},
        "plain": {"shard": "data"},
    }


def data_sets(seed: int) -> dict[str, tuple[str, Fields]]:
    """Tasks and requests by name: of every task, every part and every kind of names."""
    rng, size = np.random.default_rng(seed), SIZE
    more = _more(rng, size)
    one = {"logits": _scores(rng, (size, 5)), "targets": rng.choice([-100, 0, 1, 2, 3, 4], size)}
    wild = one | {"logits": np.where(rng.random((size, 5)) < 0.1, np.nan, one["logits"])}
    yes = {"logits": _scores(rng, (size,)), "targets": rng.choice([0, 1, 1, -100], size)}
    sure = {"probabilities": rng.choice([0, 1, 0.5, 1e-7, 1 - 1e-6], size).astype("float32"), "targets": yes["targets"]}
    many = {"logits": _scores(rng, (size, 4)), "targets": rng.choice([0, 0, 1, -100], (size, 4))}
    text = {"logits": _scores(rng, (size, 3, 6)), "targets": rng.choice([-100, 0, 1, 2, 3, 4, 5], (size, 3))}
    asked = ["auroc", "average_precision", "ranking_loss", "coverage_error"]
    return {
        "multiclass": ("multiclass", one | more["plain"]),
        "multiclass, everything": (
            "multiclass",
            one
            | more["weighted"]
            | more["grouped"]
            | more["named"]
            | {"confusion": True, "metrics": ["auroc"], "binning": "mass", "top_k": [1, 3], "worst": 4},
        ),
        "multiclass, NaN": ("multiclass", wild | more["numbered"] | {"worst": 0, "averages": []}),
        "binary": ("binary", yes | more["plain"] | more["weighted"]),
        "binary, sure": ("binary", sure | more["numbered"] | more["grouped"] | {"bins": 3, "binning": "mass"}),
        "binary, float64": (
            "binary",
            yes | {"logits": _scores(rng, (size,), "float64")} | more["named"] | {"worst": 3},
        ),
        "multilabel": ("multilabel", many | more["plain"] | {"metrics": asked}),
        "multilabel, everything": (
            "multilabel",
            many | more["weighted"] | more["grouped"] | more["named"] | {"metrics": asked, "threshold": 0.25},
        ),
        "tokens": ("tokens", text | more["plain"] | {"bytes": rng.integers(0, 40, size)}),
        "tokens, everything": (
            "tokens",
            text | more["weighted"] | more["grouped"] | more["numbered"] | {"top_k": [2], "worst": 4},
        ),
    }
