"""Little-endian primitives and arrays as bytes, and back. Nothing that is read is trusted."""

import struct
from typing import Any

import numpy as np

from core.errors import BadState
from core.rules import Array

DTYPES = {name: np.dtype(name) for name in ("<u4", "<u8", "<i8", "<f8")}
MOST_TEXT = 2**12  # bytes
_NAN = struct.pack("<Q", 0x7FF8 << 48)


class Writer:
    """What is written, one after another."""

    def __init__(self) -> None:
        self._pieces: list[Any] = []

    def u8(self, value: int) -> None:
        """An integer of 8 bits."""
        self._pieces.append(struct.pack("<B", value))

    def u32(self, value: int) -> None:
        """An integer of 32 bits."""
        self._pieces.append(struct.pack("<I", value))

    def i64(self, value: int) -> None:
        """An integer of 64 bits, with a sign."""
        self._pieces.append(struct.pack("<q", value))

    def f64(self, value: float) -> None:
        """A float64; every NaN is the same."""
        self._pieces.append(struct.pack("<d", value) if value == value else _NAN)

    def text(self, value: str) -> None:
        """A string: how many bytes of UTF-8, and those."""
        content = value.encode()
        self.u32(len(content))
        self._pieces.append(content)

    def array(self, values: Array, dtype: str) -> None:
        """The entries of an array, without its size."""
        self._pieces.append(np.ascontiguousarray(values, DTYPES[dtype]).reshape(-1).view(np.uint8).data)

    def content(self) -> bytes:
        """Everything that was written."""
        return b"".join(self._pieces)


class Reader:
    """Reads what a Writer wrote. Raises BadState where that cannot be."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._rest = memoryview(content)

    def _take(self, size: int) -> memoryview:
        if size > len(self._rest):
            raise BadState(f"the state ends early: {size} bytes are wanted, but {len(self._rest)} are left")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def u8(self) -> int:
        """An integer of 8 bits."""
        return self._take(1)[0]

    def flag(self) -> bool:
        """A truth value, 1 or 0."""
        found = self.u8()
        if found > 1:
            raise BadState(f"the state has {found} where only 0 or 1 can be")
        return bool(found)

    def u32(self) -> int:
        """An integer of 32 bits."""
        return int(struct.unpack("<I", self._take(4))[0])

    def i64(self) -> int:
        """An integer of 64 bits, with a sign."""
        return int(struct.unpack("<q", self._take(8))[0])

    def f64(self) -> float:
        """A float64."""
        content = self._take(8)
        found = float(struct.unpack("<d", content)[0])
        if found != found and bytes(content) != _NAN:
            raise BadState("the state has a NaN that is not the one that is written")
        return found

    def text(self) -> str:
        """A string of at most MOST_TEXT bytes."""
        size = self.u32()
        if size > MOST_TEXT:
            raise BadState(f"the state has a text of {size} bytes, but at most {MOST_TEXT} are possible")
        try:
            return str(self._take(size), "utf-8")
        except UnicodeDecodeError:
            raise BadState("the state has a text that is not UTF-8") from None

    def array(self, dtype: str, count: int) -> Array:
        """`count` entries, copied."""
        kind = DTYPES[dtype]
        return np.frombuffer(self._take(count * kind.itemsize), kind).astype(kind.newbyteorder("="))

    def end(self) -> None:
        """Raise BadState unless everything was read."""
        if self._rest:
            raise BadState(f"the state has {len(self._rest)} bytes more than it should")
