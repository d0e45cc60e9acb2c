"""An array of an archive that is compressed: it is read from its start on, and never there as a whole."""

import zipfile
import zlib
from math import prod
from typing import IO, Any

import numpy as np
from core.rules import Array

from offline.errors import Unreadable

BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError)
SKIPPED_BYTES = 2**20  # at a time


class Packed:
    """The rows of a member of `archive`: (shape[0], ...), after a head of `head` bytes.

    A slice of it is an array. Slices that follow each other are read on; for one before, it is opened again. `label`
    names it in errors: Unreadable, where it is damaged.
    """

    def __init__(
        self,
        archive: zipfile.ZipFile,
        member: zipfile.ZipInfo,
        label: str,
        head: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._archive, self._member, self._label, self._head = archive, member, label, head
        self.shape, self.ndim, self.dtype = shape, len(shape), dtype
        self._row_bytes = prod(shape[1:]) * dtype.itemsize
        self._file: IO[bytes] | None = None
        self._row = 0  # that comes next

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        start, stop, _ = rows.indices(len(self))
        shape = (stop - start, *self.shape[1:])
        if not prod(shape):
            return np.empty(shape, self.dtype)
        try:
            if self._file is None or start < self._row:
                self._open()
            self._skip((start - self._row) * self._row_bytes)
            content = self._read((stop - start) * self._row_bytes)
            self._row = stop
            if stop == len(self):
                self._require_end()
        except BROKEN as error:
            raise Unreadable(f"{self._label}: {error}") from error
        return np.frombuffer(content, self.dtype).reshape(shape)

    def _open(self) -> None:
        self._file, self._row = self._archive.open(self._member), 0
        self._skip(self._head)

    def _require_end(self) -> None:
        """Raise ValueError if there is more; what looks for it compares the checksum too."""
        if self._file and self._file.read(1):
            raise ValueError("there is more than its header says")

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._read(min(size, SKIPPED_BYTES)))

    def _read(self, size: int) -> bytes:
        """So many bytes."""
        content = self._file.read(size) if self._file else b""
        if len(content) != size:
            raise ValueError("there is less than its header says")
        return content
