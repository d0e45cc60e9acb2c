"""The samples of one batch that count, as columns: what the parts of a state are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.reports.parts.exact_sums import ExactSums
from core.reports.parts.ids import Ids
from core.reports.spec import Spec

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """`columns` by name, each with a value (or a row) for each sample that counts, in the order of the samples.

    `places` are those samples' positions in the batch, which `ids` go by. `weight` is None where every weight is 1.
    `ignored` is how many samples of the batch are not here.
    """

    spec: Spec
    columns: Mapping[str, Array]
    places: Array
    ids: Ids
    weight: Array | None
    ignored: int

    @property
    def size(self) -> int:
        """How many samples count."""
        return len(self.places)

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def take(self, chosen: Array, ignored: int) -> "Samples":
        """Those at the indices `chosen`, as the samples of a batch with so many ignored ones."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        weight = None if self.weight is None else self.weight[chosen]
        return replace(self, columns=columns, places=self.places[chosen], weight=weight, ignored=ignored)

    def total(self, values: Array) -> ExactSums:
        """The weighted sum of `values`, as one exact sum of the rounded products."""
        return ExactSums.of(values if self.weight is None else self.weight * values, None, 1)

    def count(self, *wheres: Array) -> ExactSums:
        """The weight of the samples at which each of `wheres` is true, as exact sums."""
        if self.weight is None:
            return ExactSums.of_counts(np.array([np.count_nonzero(where) for where in wheres], np.int64))
        weights = [ExactSums.of(self.weight[where], None, 1) for where in wheres]
        return ExactSums.joined(weights or [ExactSums.zeros(0)])

    def count_by(self, size: int, *chosen: tuple[Array, Array | None]) -> ExactSums:
        """For each pair of `chosen`, and each of `size` entries, the weight of the samples that its first says are of
        that entry; of those at which its second is true, if it has one."""
        if self.weight is None:
            entries = (entry if where is None else entry[where] for entry, where in chosen)
            return ExactSums.of_counts(np.concatenate([np.bincount(entry, minlength=size) for entry in entries]))
        return ExactSums.joined([_by(entry, self.weight, size, where) for entry, where in chosen])

    def total_by(self, entry: Array, values: Array, size: int, where: Array | None = None) -> ExactSums:
        """For each of `size` entries the weighted sum of the `values` of the samples whose `entry` it is; of those at
        which `where` is true."""
        return _by(entry, values if self.weight is None else self.weight * values, size, where)


def _by(entry: Array, weight: Array, size: int, where: Array | None) -> ExactSums:
    return ExactSums.of(weight, entry, size) if where is None else ExactSums.of(weight[where], entry[where], size)
