"""What every format is read as: columns of rows, a piece at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import numpy as np
from core.rules import Array

ELEMENTS = 2**21  # of scores in a piece: 8 MiB of float32
MOST_ROWS = 2**19  # in a piece, where a row is a single score
MOST_NAMED = 2**16  # where rows have ids or groups, each a Python object


@dataclass(frozen=True, slots=True)
class Piece:
    """The rows from `first` up to `first + rows` of a file: its columns by the name of the input.

    Arrays are (rows, ...); ids and groups are lists of strings, or arrays of integers. `bytes` is what they take.
    """

    first: int
    rows: int
    columns: Mapping[str, Any]
    bytes: int


class Source(Protocol):
    """An open file. `path` is as it was given, `names` those of its columns."""

    path: str
    names: frozenset[str]

    def count(self, wanted: Mapping[str, str]) -> int:
        """How many rows the columns `wanted` have. Raises Refused where they have not all as many, and Unreadable."""

    def pieces(self, wanted: Mapping[str, str], start: int, stop: int) -> Iterator[Piece]:
        """The rows from `start` up to `stop`, in order, of `wanted`: the name in the file by the input's.

        Raises Refused for values that cannot be had as they are, and Unreadable.
        """

    def release(self, piece: Piece) -> None:
        """Let the memory go that `piece`, and what stood before it, has taken: it is never looked at again."""

    def close(self) -> None:
        """Let the file go."""


def rows_of(elements: int, wanted: Mapping[str, str], most_elements: int = 0) -> int:
    """How many rows a piece has of `elements` scores each, or, where it is said, of `most_elements` together."""
    most = MOST_NAMED if wanted.keys() & {"ids", "groups"} else MOST_ROWS
    return min(most, max(1, (most_elements or ELEMENTS) // max(1, elements)))


Buffers = SimpleQueue[Mapping[str, Any]]  # columns that are no longer read


class Filling:
    """Pieces of `most` rows, from `start` up to `stop`, that are filled with the columns of a few rows at a time.

    They are made of the memory of `used` where they fit: new memory is cleared first, which takes as long as to copy.
    """

    def __init__(self, start: int, stop: int, most: int, used: Buffers) -> None:
        self._stop, self._most, self._used = stop, most, used
        self._begin(start)

    def _begin(self, first: int) -> None:
        self._first, self._size, self._filled = first, min(self._most, self._stop - first), 0
        self._columns: dict[str, Any] = {}
        try:
            self._old = self._used.get_nowait()
        except Empty:
            self._old = {}

    @property
    def room(self) -> int:
        """How many rows the present piece may yet take."""
        return self._size - self._filled

    def add(self, columns: Mapping[str, Any]) -> Piece | None:
        """Add rows, of which there must be room; the piece, if they fill it."""
        count = max(map(len, columns.values()))
        for name, column in columns.items():
            if isinstance(column, list):
                self._columns.setdefault(name, []).extend(column)
                continue
            if name not in self._columns:
                self._columns[name] = self._empty(name, (self._size, *column.shape[1:]), column.dtype)
            self._columns[name][self._filled : self._filled + count] = column
        self._filled += count
        if self.room:
            return None
        piece = Piece(self._first, self._size, self._columns, size_of(self._columns))
        self._begin(self._first + self._size)
        return piece

    def _empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        old = self._old.get(name)
        if isinstance(old, np.ndarray) and old.shape == shape and old.dtype == dtype:
            return old
        return np.empty(shape, dtype)


def size_of(columns: Mapping[str, Any]) -> int:
    """What columns take, in bytes: of strings their characters."""
    return sum(c.nbytes if isinstance(c, np.ndarray) else sum(len(str(one)) for one in c) for c in columns.values())


def label_list(array: Array) -> Any:
    """An array of ids or groups as the core takes it: integers as they are, strings as a list."""
    return array if array.dtype.kind in "iu" and array.dtype != np.uint64 else array.tolist()
