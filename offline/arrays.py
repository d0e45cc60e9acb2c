"""Files of whole arrays, mapped into memory: their rows a piece at a time."""

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np
from core.rules import Array

from offline.errors import Refused
from offline.mapped import Mapped
from offline.packed import Packed
from offline.source import Piece, label_list, rows_of, size_of

LABELS = ("ids", "groups")


class Arrays:
    """What such a file has in common with others, see offline.source.Source: a format says `names` and `array`."""

    names: frozenset[str]

    def __init__(self, path: str, mapped: Mapped) -> None:
        self.path, self.mapped = path, mapped

    def array(self, name: str) -> Array | Packed:
        """The array of that name, as a view of the file, or read as it is wanted, where it can be. Raises Refused or
        Unreadable."""
        raise NotImplementedError

    def count(self, wanted: Mapping[str, str]) -> int:
        """See offline.source.Source."""
        return self._checked(wanted)[0]

    def pieces(self, wanted: Mapping[str, str], start: int, stop: int) -> Iterator[Piece]:
        """See offline.source.Source."""
        _, arrays = self._checked(wanted)
        size = rows_of(max(prod(array.shape[1:]) for array in arrays.values()), wanted)
        for first in range(start, stop, size):
            last = min(stop, first + size)
            cut = {name: _native(array[first:last]) for name, array in arrays.items()}
            found = {name: label_list(one) if name in LABELS else one for name, one in cut.items()}
            yield Piece(first, last - first, found, size_of(found))

    def _checked(self, wanted: Mapping[str, str]) -> tuple[int, dict[str, Array | Packed]]:
        """How many rows there are, and the arrays."""
        arrays = {name: self.array(own) for name, own in wanted.items()}
        first = next(iter(arrays), "")
        for name, array in arrays.items():
            if not array.ndim:
                raise Refused(f"{self.path}: {name} is a single value, but must have rows")
            if len(array) != len(arrays[first]):
                detail = f"{name} has {len(array)} rows, but must have {len(arrays[first])}, as {first} has"
                raise Refused(f"{self.path}: {detail}")
        return (len(arrays[first]) if arrays else 0), arrays

    def release(self, piece: Piece) -> None:
        """See offline.source.Source."""
        self.mapped.release()

    def close(self) -> None:
        """The mapping goes with the last view of it."""


def _native(array: Array) -> Array:
    """Contiguous and aligned, in this machine's order of bytes; a copy only where it is not so already."""
    if array.dtype.fields is None and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.require(array, requirements=["C", "A"])
