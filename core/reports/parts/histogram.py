"""Exact sums by the key of a score, kept sparse: all 32 bits of the key while there are few, then the first ones.

Which of the two it is follows from the content alone: cut keys can only have come of more distinct ones than may be
whole, and adding never makes them fewer. So it is the same in any order. A key may have a row in its upper 32 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import BadState
from core.reports.parts.codec import Reader, Writer
from core.reports.parts.exact_sums import ExactSums
from core.reports.parts.keys import probabilities, scores
from core.rules import Array

KEY_BITS = 32
Keys = NDArray[np.uint64]
_LOW = np.uint64(2**32 - 1)


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """`keys`, distinct and ascending, and the sums (channels, keys) of each. With more than `most` distinct keys only
    the first `bits` of the lower 32 are kept, the others are 0, and `fine` is False."""

    channels: int
    bits: int
    most: int
    keys: Keys
    sums: ExactSums
    fine: bool = True

    @classmethod
    def empty(cls, channels: int, bits: int, most: int) -> "Histogram":
        """Of nothing."""
        return cls(channels, bits, most, np.zeros(0, np.uint64), ExactSums.zeros(0))

    @classmethod
    def of(cls, keys: Keys, contributions: Sequence[Array | None], bits: int, most: int) -> "Histogram":
        """Of samples with `keys` (n,), to which each channel adds its contribution (n,): float weights, booleans for 1
        and 0, or None where each adds 1."""
        if contributions and all(values is None for values in contributions):
            return cls._of_counts(keys, len(contributions), bits, most)
        found, place = np.unique(keys, return_inverse=True)
        fine = len(found) <= most
        if not fine:
            cut = _cut(found, bits)
            starts = _starts(cut)
            found, place = cut[starts], (np.cumsum(_begins(cut)) - 1)[place]
        sums = [_channel(place, values, len(found)) for values in contributions]
        return cls(len(contributions), bits, most, found, ExactSums.joined(sums), fine)

    @classmethod
    def _of_counts(cls, keys: Keys, channels: int, bits: int, most: int) -> "Histogram":
        """Of samples that each count once in every channel."""
        ascending = keys.copy()
        ascending.sort()
        starts = _starts(ascending)
        counts = np.concatenate([starts[1:], [len(ascending)]]) - starts
        whole = cls(channels, bits, most, ascending[starts], ExactSums.of_counts(np.concatenate([counts] * channels)))
        return whole if len(starts) <= most else whole.coarse()

    def __add__(self, other: "Histogram") -> "Histogram":
        first, second = (self, other) if self.fine == other.fine else (self.coarse(), other.coarse())
        if not len(second.keys) or not len(first.keys):
            return first if len(first.keys) else second
        keys = _union(first.keys, second.keys)
        sums = first._placed(keys) + second._placed(keys)
        found = Histogram(self.channels, self.bits, self.most, keys, sums, first.fine)
        return found.coarse() if found.fine and len(keys) > self.most else found

    def _placed(self, keys: Keys) -> ExactSums:
        if len(keys) == len(self.keys):
            return self.sums
        places = np.searchsorted(keys, self.keys)
        every = (np.arange(self.channels)[:, None] * len(keys) + places).reshape(-1)
        return self.sums.placed(self.channels * len(keys), every)

    def coarse(self) -> "Histogram":
        """With cut keys."""
        if not self.fine:
            return self
        cut = _cut(self.keys, self.bits)
        starts = _starts(cut)
        every = (np.arange(self.channels)[:, None] * len(cut) + starts).reshape(-1)
        sums = self.sums.grouped(every) if len(starts) else self.sums
        return Histogram(self.channels, self.bits, self.most, cut[starts], sums, fine=False)

    def values(self, channel: int) -> NDArray[np.float64]:
        """The sums of one channel (keys,), as ExactSums.values has them."""
        return self.sums.part(channel * len(self.keys), (channel + 1) * len(self.keys)).values()

    def within(self, rows: int, columns: int) -> bool:
        """Whether all keys are below `columns`, and their rows below `rows`."""
        return not ((self.keys >> np.uint64(32) >= rows).any() or (self.keys & _LOW >= columns).any())

    def edges(self, *, probability: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least and the largest score of each key, which are keys of probabilities or of any scores."""
        low, of = (self.keys & _LOW).astype(np.uint32), probabilities if probability else scores
        least = of(low)
        return least, least if self.fine else of(low | np.uint32(2 ** (KEY_BITS - self.bits) - 1))

    def write(self, writer: Writer) -> None:
        """Whether the keys are whole, how many there are, the keys, the sums."""
        writer.u8(self.fine)
        writer.u32(len(self.keys))
        wide = bool(len(self.keys)) and bool(self.keys[-1] > _LOW)
        writer.u8(wide)
        writer.array(self.keys, "<u8" if wide else "<u4")
        self.sums.write(writer)

    @classmethod
    def read(cls, reader: Reader, channels: int, bits: int, most: int) -> "Histogram":
        """What `write` wrote. Raises BadState."""
        fine, count, wide = reader.flag(), reader.u32(), reader.flag()
        keys = reader.array("<u8" if wide else "<u4", count).astype(np.uint64)
        if wide != (bool(count) and bool(keys[-1] > _LOW)):
            raise BadState("the state's histogram has flags that cannot be")
        if (keys[1:] <= keys[:-1]).any():
            raise BadState("the state's histogram has keys that do not ascend")
        if (fine and count > most) or (not fine and (not count or (_cut(keys, bits) != keys).any())):
            raise BadState(f"the state's histogram has {count} keys, cut or not, which cannot be")
        sums = ExactSums.read(reader, channels * count)
        return cls(channels, bits, most, keys, sums, fine)


def _channel(place: Array, values: Array | None, size: int) -> ExactSums:
    if values is None or values.dtype == np.bool_:
        return ExactSums.of_counts(np.bincount(place if values is None else place[values], minlength=size))
    return ExactSums.of(values, place, size)


def _cut(keys: Keys, bits: int) -> Keys:
    kept = (2**bits - 1) << (KEY_BITS - bits)
    return keys & np.uint64((2**32 - 1) << 32 | kept)


def _union(first: Keys, second: Keys) -> Keys:
    """The keys of both, of which each ascend: np.union1d hashes them, which takes four times as long as to merge."""
    both = np.concatenate([first, second])
    both.sort(kind="stable")  # Timsort merges the two runs
    return both[_begins(both)]


def _begins(ascending: Keys) -> NDArray[np.bool_]:
    """Whether each entry is the first of equal ones."""
    found = np.ones(len(ascending), bool)
    found[1:] = ascending[1:] != ascending[:-1]
    return found


def _starts(ascending: Keys) -> NDArray[np.int64]:
    return _begins(ascending).nonzero()[0]
