"""A file in memory without being read: its pages come when they are touched, and go when they are let go."""

import mmap
import os


class Mapped:
    """The bytes of the file `path`, read-only. Raises OSError; an empty file has no bytes to map, and is ValueError."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), os.fstat(file.fileno()).st_size, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_SEQUENTIAL"):
            self._map.madvise(mmap.MADV_SEQUENTIAL)
        self.bytes = memoryview(self._map)

    def release(self) -> None:
        """Let the pages go that were touched: they count as this process's memory, else, up to the whole file."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
