"""Parquet files, read batch by batch within their row groups."""

import os
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from offline.arrow_columns import Columns, line, once
from offline.errors import Unreadable
from offline.mapped import Mapped
from offline.source import Buffers, Filling, Piece, rows_of

DECODED = 2**19  # scores at a time, which stay in the cache until they are copied: a third less time than all at once


class Parquet:
    """An open Parquet file: see offline.source.Source. Raises Unreadable."""

    def __init__(self, path: str) -> None:
        self.path, self._mapped, self._used = path, Mapped(path), Buffers()
        if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ and "jemalloc" in pa.supported_memory_backends():
            pa.set_memory_pool(pa.jemalloc_memory_pool())  # a twentieth less time than Arrow's own choice
        try:
            # Mapped here, for a mapping of Arrow's cannot be let go page by page; buffered ahead, row groups would be
            # in memory as a whole.
            self._file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(self._mapped.bytes)), pre_buffer=False)
        except pa.ArrowException as error:
            raise Unreadable(f"{path}: {line(error)}") from error
        self.names = once(self._file.schema_arrow.names)

    def count(self, wanted: Mapping[str, str]) -> int:
        """See offline.source.Source."""
        return int(self._file.metadata.num_rows)

    def pieces(self, wanted: Mapping[str, str], start: int, stop: int) -> Iterator[Piece]:
        """See offline.source.Source."""
        columns, meta = Columns(self.path), self._file.metadata
        groups: list[int] = []  # of the row groups that have rows that are wanted, and the first row of those
        first = before = 0
        for number in range(meta.num_row_groups):
            rows = meta.row_group(number).num_rows
            if before < stop and start < before + rows:
                first = first if groups else before
                groups.append(number)
            before += rows
        elements = self._elements(wanted)
        filling = Filling(start, stop, rows_of(elements, wanted), self._used)
        own = list(wanted.values())
        try:
            for batch in self._file.iter_batches(rows_of(elements, wanted, DECODED), groups, own, use_threads=False):
                low, high = max(start, first), min(stop, first + len(batch))
                while low < high:
                    cut = batch.slice(low - first, min(high - low, filling.room))
                    piece = filling.add({n: columns.convert(n, cut.column(known), low) for n, known in wanted.items()})
                    if piece:
                        yield piece
                    low += len(cut)
                first += len(batch)
        except pa.ArrowException as error:
            raise Unreadable(f"{self.path}: {line(error)}") from error

    def _elements(self, wanted: Mapping[str, str]) -> int:
        """How many numbers a row has, of the column that has most."""
        meta, names = self._file.metadata, set(wanted.values())
        most = 1
        for number in range(min(1, meta.num_row_groups)):
            group = meta.row_group(number)
            leaves = [group.column(place) for place in range(group.num_columns)]
            sizes = [leaf.num_values for leaf in leaves if leaf.path_in_schema.split(".")[0] in names]
            most = max([most, *(size // max(1, group.num_rows) for size in sizes)])
        return most

    def release(self, piece: Piece) -> None:
        """See offline.source.Source."""
        self._mapped.release()
        self._used.put(piece.columns)

    def close(self) -> None:
        """See offline.source.Source."""
        self._file.close()
