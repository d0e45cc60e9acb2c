"""The samples with the largest losses. NaN is worse than any; equal ones are in the order of their names."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any, NamedTuple

import numpy as np

from core.errors import BadState
from core.reports.parts import ids as names
from core.reports.parts.codec import Reader, Writer
from core.reports.parts.ids import Id, Ids
from core.rules import Array

Number = int | float


class Entry(NamedTuple):  # a report makes several: a third of a dataclass's time
    """One sample, and more of what is known of it."""

    id: Id
    loss: float
    extras: tuple[Number, ...]

    @property
    def order(self) -> tuple[Any, ...]:
        """What entries are sorted by: the worst first. Only the same entry twice has the same."""
        return *self.first, *map(_order, (0.0 if math.isnan(self.loss) else self.loss, *self.extras))

    @property
    def first(self) -> tuple[bool, float, Id]:
        """What `order` begins with; the rest matters where two have one name."""
        nan = math.isnan(self.loss)
        return not nan, 0.0 if nan else -self.loss, self.id


@dataclass(frozen=True, slots=True)
class Worst:
    """At most `most` entries, the worst first."""

    most: int
    entries: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, most: int, losses: Array, ids: Ids, extras: list[Array]) -> "Worst":
        """The worst of samples with `losses` (n,) and their names, with `extras` (n,) of each."""
        if not most or not losses.size:
            return cls(most)
        badness = np.where(np.isnan(losses), np.inf, losses)
        last = -np.inf
        if losses.size > most:
            parted = badness.copy()
            parted.partition(losses.size - most)
            last = parted[losses.size - most]
        chosen = (badness >= last).nonzero()[0]
        if len(chosen) > most:
            if last == np.inf:  # NaN before infinity
                nan = np.isnan(losses)
                surely, equal = nan, np.isposinf(badness) & ~nan
            else:
                surely, equal = badness > last, badness == last
            chosen = _chosen(surely.nonzero()[0], equal.nonzero()[0], most, ids, [losses, *extras])
        columns = zip(*(extra[chosen].tolist() for extra in extras), strict=True) if extras else repeat(())
        made = map(Entry, map(ids.at, chosen.tolist()), losses[chosen].tolist(), columns)
        return cls(most, _in_order(made))

    def __add__(self, other: "Worst") -> "Worst":
        return Worst(self.most, _in_order((*self.entries, *other.entries))[: self.most])

    def write(self, writer: Writer) -> None:
        """How many, and each."""
        writer.u32(len(self.entries))
        for entry in self.entries:
            names.write(writer, entry.id)
            writer.f64(entry.loss)
            for extra in entry.extras:
                writer.u8(isinstance(extra, float))
                writer.f64(extra) if isinstance(extra, float) else writer.i64(extra)

    @classmethod
    def read(cls, reader: Reader, most: int, extras: int) -> "Worst":
        """What `write` wrote, with so many `extras` each. Raises BadState."""
        count = reader.u32()
        if count > most:
            raise BadState(f"the state lists {count} of the worst samples, but at most {most} are wanted")
        entries = tuple(
            Entry(names.read(reader), reader.f64(), tuple(_number(reader) for _ in range(extras))) for _ in range(count)
        )
        if any(second.order < first.order for first, second in pairwise(entries)):
            raise BadState("the state's worst samples are not in order")
        return cls(most, entries)


def _in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    found = [(entry.first, entry) for entry in entries]
    if len({first for first, _ in found}) < len(found):
        return tuple(sorted((entry for _, entry in found), key=lambda entry: entry.order))
    return tuple(entry for _, entry in sorted(found))  # of which no two begin alike


def _order(value: Number) -> tuple[bool, bool, Number, bool]:
    """What numbers are sorted by: none is equal to another, and NaN is the last."""
    nan = value != value
    return isinstance(value, float), nan, 0 if nan else value, not nan and math.copysign(1, value) < 0


def _chosen(surely: Array, equal: Array, most: int, ids: Ids, columns: list[Array]) -> Array:
    """All of the samples that are `surely` among the worst, and as many of the `equal` ones as there is room for."""
    room = most - len(surely)
    if room <= 0:  # only where these are all NaN
        return _first(surely, most, ids, columns)
    return np.concatenate([surely, _first(equal, room, ids, columns)])


def _first(among: Array, count: int, ids: Ids, columns: list[Array]) -> Array:
    """The `count` of the samples `among` these that are named first; of one name, by the `columns`: of equal losses
    the sign, and then the others."""
    if len(among) == count:
        return among
    before, tied = ids.least(among, count)
    room = count - len(before)
    if len(tied) > room:
        losses, *further = (column[tied] for column in columns)
        further = [np.signbit(np.where(np.isnan(losses), 0, losses)), *further]
        tied = tied[np.lexsort([key for column in reversed(further) for key in _keys(column)])[:room]]
    return np.concatenate([before, tied])


def _keys(values: Array) -> tuple[Array, Array]:
    """What lexsort sorts by, the second first, as `_order` does."""
    with np.errstate(invalid="ignore"):
        return np.signbit(values) & ~np.isnan(values) if values.dtype.kind == "f" else values < 0, values


def _number(reader: Reader) -> Number:
    return reader.f64() if reader.flag() else reader.i64()
