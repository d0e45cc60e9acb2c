"""NumPy's archives: members that are not compressed are mapped, others read as they are wanted.

Source: numpy.lib.format; the local file header of PKWARE's APPNOTE, 4.3.7.
"""

import struct
import zipfile
from io import BytesIO
from math import prod
from typing import IO, Any

import numpy as np
from core.rules import Array
from numpy.lib import format as npy

from offline.arrays import Arrays
from offline.errors import Refused, Unreadable
from offline.mapped import Mapped
from offline.packed import BROKEN, Packed

LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a member: its magic, and how long its name and its extra field are
LOCAL_MAGIC = b"PK\x03\x04"
MOST_HEADER_BYTES = 2**16
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Npz(Arrays):
    """An open .npz file: see offline.source.Source. Raises Unreadable."""

    def __init__(self, path: str) -> None:
        super().__init__(path, Mapped(path))
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise Unreadable(f"{path}: {error}") from error
        self._members = {one.filename.removesuffix(".npy"): one for one in self._archive.infolist()}
        self.names = frozenset(self._members)
        self._read: dict[str, Array | Packed] = {}

    def array(self, name: str) -> Array | Packed:
        """See offline.arrays.Arrays."""
        if name not in self._read:
            try:
                self._read[name] = self._array(name, self._members[name])
            except BROKEN as error:
                raise Unreadable(f"{self.path}: {name}: {error}") from error
        return self._read[name]

    def _array(self, name: str, member: zipfile.ZipInfo) -> Array | Packed:
        if member.compress_type != zipfile.ZIP_STORED:
            with self._archive.open(member) as file:
                shape, fortran, dtype, start = self._header(file, member)
            if len(shape) == 1 or (shape and not fortran):
                return Packed(self._archive, member, f"{self.path}: {name}", start, shape, dtype)
            with self._archive.open(member) as file:
                read: Array = npy.read_array(file, allow_pickle=False)
                return read
        content = self._content(member)
        shape, fortran, dtype, start = self._header(BytesIO(content[:MOST_HEADER_BYTES]), member)
        size = prod(shape) * dtype.itemsize
        if size != len(content) - start:
            raise ValueError(f"its header says {size} bytes, but there are {len(content) - start}")
        flat = np.frombuffer(content, dtype, prod(shape), start) if size else np.zeros(0, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")

    def _content(self, member: zipfile.ZipInfo) -> memoryview:
        """The bytes of a member that is not compressed."""
        head = self.mapped.bytes[member.header_offset : member.header_offset + LOCAL_HEADER.size]
        if len(head) < LOCAL_HEADER.size:
            raise ValueError("the archive ends within its header")
        magic, name, extra = LOCAL_HEADER.unpack(head)
        start = member.header_offset + LOCAL_HEADER.size + name + extra
        content = self.mapped.bytes[start : start + member.file_size]
        if magic != LOCAL_MAGIC or len(content) != member.file_size or member.flag_bits & 1:
            raise ValueError("the archive is damaged, or its members are encrypted")
        return content

    def _header(self, file: IO[bytes], member: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
        """The shape, the order, the dtype, and where the values begin."""
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"its format has version {version}, but must have 1.0 or 2.0")
        shape, fortran, dtype = HEADERS[version](file)
        if dtype.kind not in "biufU":
            raise Refused(f"{self.path}: {member.filename} is of {dtype}, but must be numbers or text")
        return shape, fortran, dtype, file.tell()
