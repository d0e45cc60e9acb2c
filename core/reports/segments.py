"""Sums over runs of a flat array: the keys of many histograms, one after the other.

A run is told by its label, an integer a key; equal labels lie side by side. Every function works on all runs at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Where each run starts (runs,), how long it is (runs,) and its label (runs,), all int64."""

    starts: Integers
    lengths: Integers
    labels: Integers

    @classmethod
    def of(cls, labels: NDArray[np.integer]) -> "Runs":
        """The runs of `labels` (keys,)."""
        changes = np.flatnonzero(labels[1:] != labels[:-1]) + 1
        starts = np.concatenate((np.zeros(min(labels.size, 1), np.int64), changes))
        lengths = np.diff(np.append(starts, labels.size))
        return cls(starts, lengths, labels[starts].astype(np.int64))

    def total(self, values: Floats) -> Floats:
        """The sum of each run (runs,) of `values` (keys,)."""
        return np.add.reduceat(values, self.starts) if self.starts.size else np.zeros(0)

    def running(self, values: Floats) -> Floats:
        """The sum from a run's start up to and with each key (keys,), of `values` >= 0 (keys,).

        It is the running sum of the whole array less what stood before the run. That difference would lose the digits
        of a small run behind many others, so the rounding error of each addition (Knuth's two-sum) is summed beside it.
        """
        sums = np.cumsum(values)
        before = np.concatenate((np.zeros(min(values.size, 1)), sums[:-1]))
        added = sums - before
        errors = np.cumsum((before - (sums - added)) + (values - added))
        return (sums - self._at_start(sums)) + (errors - self._at_start(errors))

    def _at_start(self, sums: Floats) -> Floats:
        before = np.concatenate((np.zeros(1), sums))[self.starts]
        return np.repeat(before, self.lengths)

    def scaled(self, *channels: Floats) -> tuple[list[Floats], NDArray[np.int32]]:
        """The channels (keys,), each run over a power of two so that its peak is in [0.5, 1), and the powers (runs,).

        No sum or product of them can then overflow, and ratios keep their bits. A run with a value that is not finite
        becomes 0: nothing is known of it, and it must not spoil the runs after it.
        """
        if not self.starts.size:
            return list(channels), np.zeros(0, np.int32)
        peaks = np.maximum.reduceat(np.maximum.reduce(channels), self.starts)
        known = np.isfinite(peaks)
        powers = np.frexp(np.where(known, peaks, 0.0))[1]
        shift, kept = np.repeat(-powers, self.lengths), np.repeat(known, self.lengths)
        return [np.ldexp(np.where(kept, channel, 0.0), shift) for channel in channels], powers
