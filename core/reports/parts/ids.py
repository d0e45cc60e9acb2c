"""The names of samples: integers, strings, or where there are none the shard and the position in it.

They have one order: integers, then strings, then positions, by the name of the shard first.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.errors import BadState
from core.reports.parts.codec import Reader, Writer

Id = tuple[int, str, int]  # (0, "", integer), (1, string, 0) or (2, shard, position)
Places = NDArray[np.int64]
INTEGER, STRING, POSITION = range(3)


@dataclass(frozen=True, slots=True)
class Ids:
    """The names of the samples of a batch: `integers` or `strings`, else those from the position `first` of `shard`.
    `places` are the samples meant, by their place in the batch; None for all."""

    integers: NDArray[np.int64] | None = None
    strings: list[str] | None = None
    shard: str = ""
    first: int = 0
    places: Places | None = None

    @classmethod
    def of(cls, names: list[str] | list[int]) -> "Ids":
        """Given ones, all strings or all integers."""
        if names and isinstance(names[0], str):
            return cls(strings=[str(name) for name in names])
        return cls(integers=np.array(names, np.int64))

    @classmethod
    def default(cls, shard: str, first: int) -> "Ids":
        """Positions of a shard."""
        return cls(shard=shard, first=first)

    def take(self, places: Places) -> "Ids":
        """Those of the samples at `places` of the batch."""
        return replace(self, places=places)

    def at(self, place: int) -> Id:
        """That of one of the samples meant."""
        if self.places is not None:
            place = int(self.places[place])
        if self.integers is not None:
            return INTEGER, "", int(self.integers[place])
        if self.strings is not None:
            return STRING, self.strings[place], 0
        return POSITION, self.shard, self.first + place

    def least(self, among: Places, count: int) -> tuple[Places, Places]:
        """Of the samples meant `among` these, those that are named before the one that is the `count`th in the order
        of names, and those that have its name."""
        if self.strings is None:
            own = among if self.places is None else self.places[among]
            numbers = own if self.integers is None else self.integers[own]
            last = np.partition(numbers, count - 1)[count - 1]
            return among[numbers < last], among[numbers == last]
        words = [self.at(place)[1] for place in among.tolist()]
        end = sorted(words)[count - 1]
        before = np.fromiter((word < end for word in words), bool, len(words))
        tied = np.fromiter((word == end for word in words), bool, len(words))
        return among[before], among[tied]


def text_or_int(name: Id) -> str | int:
    """A name as a report has it."""
    kind, text, number = name
    return number if kind == INTEGER else text if kind == STRING else f"{text}:{number}"


def write(writer: Writer, name: Id) -> None:
    """A name as bytes."""
    kind, text, number = name
    writer.u8(kind)
    writer.text(text)
    writer.i64(number)


def read(reader: Reader) -> Id:
    """What `write` wrote. Raises BadState."""
    kind, text, number = reader.u8(), reader.text(), reader.i64()
    if (
        kind > POSITION
        or (kind == INTEGER and text)
        or (kind == STRING and number)
        or (kind == POSITION and number < 0)
    ):
        raise BadState("the state has a name of a sample that cannot be")
    return kind, text, number
