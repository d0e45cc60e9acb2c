"""Arrow's own files and streams (Feather too): mapped, and read one record batch after the other."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from offline.arrow_columns import Columns, line, once
from offline.errors import Unreadable
from offline.mapped import Mapped
from offline.source import Piece, rows_of, size_of

FILE_MAGIC = b"ARROW1"


class Ipc:
    """An open Arrow file or stream: see offline.source.Source. Raises Unreadable."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._mapped = Mapped(path)
        try:
            self.names = once(_schema(self._mapped).names)
        except (pa.ArrowException, OSError) as error:
            raise Unreadable(f"{path}: {line(error)}") from error

    def count(self, wanted: Mapping[str, str]) -> int:
        """See offline.source.Source."""
        smallest = wanted.get("targets", next(iter(wanted.values())))
        try:
            return sum(len(batch) for batch in _batches(self._mapped, smallest))
        except (pa.ArrowException, OSError) as error:
            raise Unreadable(f"{self.path}: {line(error)}") from error

    def pieces(self, wanted: Mapping[str, str], start: int, stop: int) -> Iterator[Piece]:
        """See offline.source.Source."""
        columns, first = Columns(self.path), 0
        try:
            for batch in _batches(self._mapped):
                low, high = max(start, first), min(stop, first + len(batch))
                while low < high:
                    size = min(high - low, _rows(batch, wanted))
                    cut = batch.slice(low - first, size)
                    found = {name: columns.convert(name, cut.column(own), low) for name, own in wanted.items()}
                    yield Piece(low, size, found, size_of(found))
                    low += size
                first += len(batch)
                if first >= stop:
                    return
        except (pa.ArrowException, OSError) as error:
            raise Unreadable(f"{self.path}: {line(error)}") from error

    def release(self, piece: Piece) -> None:
        """See offline.source.Source."""
        self._mapped.release()

    def close(self) -> None:
        """The mapping goes with the last array of it."""


def _schema(mapped: Mapped) -> Any:
    buffer = pa.py_buffer(mapped.bytes)
    return (pa.ipc.open_file(buffer) if _is_file(mapped) else pa.ipc.open_stream(buffer)).schema


def _is_file(mapped: Mapped) -> bool:
    return bytes(mapped.bytes[: len(FILE_MAGIC)]) == FILE_MAGIC


def _batches(mapped: Mapped, only: str = "") -> Iterator[Any]:
    """The record batches, as views of the file where they are not compressed; with one column `only` they are copies,
    but nothing else need be decompressed."""
    fields = [_schema(mapped).get_field_index(only)] if only else None
    buffer, options = pa.py_buffer(mapped.bytes), pa.ipc.IpcReadOptions(included_fields=fields)
    if _is_file(mapped):
        reader = pa.ipc.open_file(buffer, options=options)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from pa.ipc.open_stream(buffer, options=options)


def _rows(batch: Any, wanted: Mapping[str, str]) -> int:
    """How many rows a piece of `batch` has: as many as scores' bytes allow, taken as float32."""
    bytes_of_row = batch.nbytes // max(1, len(batch))
    return rows_of(bytes_of_row // 4, wanted)
