"""Random splits of samples and random trees of merges."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

Content = TypeVar("Content")


def merged(rng: np.random.Generator, contents: Sequence[Any]) -> Any:
    """All of `contents` added up, any two of those left at a time."""
    left = list(contents)
    while len(left) > 1:
        first, second = (left.pop(int(rng.integers(len(left)))) for _ in range(2))
        left.append(first + second)
    return left[0]


def split(rng: np.random.Generator, size: int, most: int = 6) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """The indices below `size`, shuffled and cut at random places, of which some may be equal."""
    return np.split(rng.permutation(size), np.sort(rng.integers(0, size + 1, int(rng.integers(0, most)))))
