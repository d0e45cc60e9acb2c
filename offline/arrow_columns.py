"""From Arrow's columns to NumPy's: lists become axes. What has no number for each place is refused by its row."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from core.rules import Array

from offline.errors import Refused, refused_row

LABELS = ("ids", "groups")


def once(names: list[str]) -> frozenset[str]:
    """The names of which there is one: it says which column is meant."""
    return frozenset(name for name in names if names.count(name) == 1)


def line(error: Exception) -> str:
    """What Arrow says is wrong, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@dataclass
class Columns:
    """The columns of one file, whose rows must all have one shape: that of its first."""

    path: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def convert(self, name: str, column: Any, first: int) -> Any:
        """`column`, an Arrow array, as the core takes it under `name`. `first` is its first row in the file."""
        if isinstance(column, pa.DictionaryArray):
            column = column.dictionary_decode()
        if isinstance(column, pa.ExtensionArray):
            shape = getattr(column.type, "shape", None)
            permutation = getattr(column.type, "permutation", None)
            column = column.storage
            array = self._array(name, column, first, ())
            return array if shape is None else _as_tensor(array, shape, permutation)
        if name in LABELS and not pa.types.is_integer(column.type):
            return self._strings(name, column, first)
        return self._array(name, column, first, ())

    def _strings(self, name: str, column: Any, first: int) -> list[str]:
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        if not any(is_kind(column.type) for is_kind in kinds):
            raise Refused(f"{self.path}: {name} is a column of {column.type}, but must be of strings or integers")
        self._refuse_nulls(name, column, first, 1)
        found: list[str] = column.to_pylist()
        return found

    def _array(self, name: str, column: Any, first: int, within: tuple[int, ...]) -> Array:
        """`column`, whose entries are those of rows of shape `within`, as (rows, *within, ...)."""
        each = int(np.prod(within, dtype=np.int64)) if within else 1
        self._refuse_nulls(name, column, first, each)
        kind = column.type
        if pa.types.is_fixed_size_list(kind):
            width, values = kind.list_size, column.flatten()
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            width, values = self._width(name, column, first, within), column.flatten()
        else:
            self._require_shape(name, first, within)
            return self._numbers(name, column).reshape(-1, *within)
        return self._array(name, values, first, (*within, width))

    def _refuse_nulls(self, name: str, column: Any, first: int, each: int) -> None:
        if column.null_count:
            row = first + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))) // each
            raise refused_row(self.path, row, f"{name} is null, but must be there")

    def _width(self, name: str, column: Any, first: int, within: tuple[int, ...]) -> int:
        """How many entries each list of `column` has."""
        lengths = np.diff(column.offsets.to_numpy())
        known = self.shapes.get(name, ())[len(within) :]
        width = known[0] if known else int(lengths[0]) if len(lengths) else 0
        wrong = lengths != width
        if wrong.any():
            place = int(wrong.argmax())
            each = int(np.prod(within, dtype=np.int64)) if within else 1
            detail = f"{name} has {lengths[place]} entries, but must have {width}, as the rows before it"
            raise refused_row(self.path, first + place // each, detail)
        return width

    def _require_shape(self, name: str, first: int, shape: tuple[int, ...]) -> None:
        known = self.shapes.setdefault(name, shape)
        if known != shape:
            raise refused_row(self.path, first, f"{name} has shape {shape}, but must have {known}, as the rows before")

    def _numbers(self, name: str, column: Any) -> Array:
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise Refused(f"{self.path}: {name} is a column of {kind}, but must be of numbers, or of lists of them")
        array: Array = column.to_numpy(zero_copy_only=not pa.types.is_boolean(kind))
        return array


def _as_tensor(array: Array, shape: list[int], permutation: list[int] | None) -> Array:
    """Rows of a FixedShapeTensor column in the shape that it says, in the logical order of its axes."""
    array = array.reshape(len(array), *shape)
    return array if permutation is None else array.transpose(0, *(1 + axis for axis in permutation))
