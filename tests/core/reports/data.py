"""Random scores, targets and weights, and the histograms and counts that the functions take."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Binary(NamedTuple):
    """Scores, targets (0 or 1) and weights, each (samples,)."""

    scores: Array
    targets: Array
    weights: Array


class Histogram(NamedTuple):
    """Distinct scores ascending, and sums of weights and of squared weights of either class at each."""

    keys: Array
    positives: Array
    negatives: Array
    squared_positives: Array
    squared_negatives: Array


def histogram(data: Binary) -> Histogram:
    keys, where = np.unique(data.scores, return_inverse=True)
    channels = [
        np.bincount(where, weights * (data.targets == target), minlength=keys.size)
        for weights in (data.weights, data.weights**2)
        for target in (1, 0)
    ]
    return Histogram(keys, *channels)


def binary_cases(seed: int, count: int, *, weighted: bool | None = None) -> Iterator[Binary]:
    """Data sets of both classes: few and many ties, extreme scores, and weights that are 1, any, or now and then 0."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size = int(rng.choice([2, 3, 5, 20, 100, 700]))
        targets = (rng.random(size) < rng.choice([0.05, 0.5, 0.9])).astype(np.int64)
        targets[:2] = 0, 1
        scores = rng.normal(size=size) + targets * rng.choice([-3.0, 0.0, 1.0, 20.0])
        scores = np.round(scores, int(rng.choice([0, 1, 15])))
        if rng.random() < 0.3:
            scores = np.where(rng.random(size) < 0.3, rng.choice([1e300, -1e300, 5e-324, 0.0], size), scores)
        weights = np.ones(size)
        if rng.random() < 0.5 if weighted is None else weighted:
            weights = rng.random(size) * 10.0 ** rng.integers(-3, 4, size)
            weights[2:][rng.random(size - 2) < 0.1] = 0.0
        yield Binary(scores, targets, weights)


class Classes(NamedTuple):
    """True and predicted classes and weights, each (samples,), and how many classes there are."""

    targets: Array
    predicted: Array
    weights: Array
    size: int

    def counts(self) -> tuple[Array, Array, Array]:
        """support, predicted and correct, each (classes,)."""
        hit = self.targets == self.predicted
        return (
            np.bincount(self.targets, self.weights, self.size),
            np.bincount(self.predicted, self.weights, self.size),
            np.bincount(self.targets[hit], self.weights[hit], self.size).astype(np.float64),
        )


def class_cases(seed: int, count: int) -> Iterator[Classes]:
    """1 to 1000 classes, many of them absent; predictions from all wrong to all right."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size, samples = int(rng.choice([1, 2, 3, 10, 1000])), int(rng.choice([1, 2, 5, 50, 400]))
        targets = rng.integers(0, max(1, int(size * rng.choice([0.3, 1.0]))), samples)
        guesses = rng.integers(0, size, samples)
        predicted = np.where(rng.random(samples) < rng.choice([0.0, 0.5, 0.9, 1.0]), targets, guesses)
        weights = np.ones(samples) if rng.random() < 0.5 else rng.random(samples) + 0.01
        yield Classes(targets, predicted, weights, size)
