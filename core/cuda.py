"""The few calls of the CUDA runtime that blocks need: memory on the card, pinned memory beside it, copies between them.

onnxruntime-gpu brings the library; its own Python API has neither pinned memory nor copies that others may overlap.
Source: the CUDA Runtime API, sections Memory Management and Stream Management.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from core.errors import DeviceFailed, DeviceUnavailable, OutOfMemory
from core.rules import Array

LIBRARIES = ("libcudart.so.13", "libcudart.so.12")
MEMORY_ALLOCATION = 2  # cudaErrorMemoryAllocation
PORTABLE = 1  # cudaHostAllocPortable: pinned for every thread
TO_CARD, FROM_CARD = 1, 2  # cudaMemcpyKind
OWN_STREAM = ctypes.c_void_p(2)  # cudaStreamPerThread: what other threads do goes on meanwhile


class Runtime(Protocol):
    """What a lane needs of a device. Addresses are of the device's memory, sizes in bytes. Each may raise
    OutOfMemory or DeviceFailed."""

    @property
    def name(self) -> str:
        """What onnxruntime calls the memory: "cuda", or "cpu"."""

    def allocate(self, size: int) -> int:
        """Memory on the device."""

    def free(self, address: int) -> None:
        """Give it back."""

    def pin(self, size: int) -> Array:
        """Memory of the host, as bytes, that copies go through at full speed."""

    def unpin(self, memory: Array) -> None:
        """Give it back."""

    def send(self, address: int, source: Array) -> None:
        """Copy all of a contiguous array to the device, and wait for the end of that."""

    def fetch(self, target: Array, address: int) -> None:
        """Fill a contiguous array from the device."""

    def synchronize(self) -> None:
        """Wait for everything that anybody does on the device."""


class Cuda:
    """The first card that is visible. Raises DeviceUnavailable where the runtime library is not there."""

    name = "cuda"

    def __init__(self, library: Any = None) -> None:
        self._library = library or _load()
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def _call(self, name: str, *arguments: Any) -> None:
        """Raises OutOfMemory, or DeviceFailed with CUDA's words: of other errors a process does not recover."""
        with self._first_card():
            code = int(getattr(self._library, name)(*arguments))
        if not code:
            return
        self._library.cudaGetLastError()  # which is forgotten so: the next call does not have it again
        if code == MEMORY_ALLOCATION:
            raise OutOfMemory("there is not enough memory for the batch on the card")
        said = self._library.cudaGetErrorString(code)
        raise DeviceFailed(f"{name} failed with {code}: {said.decode('ascii', 'replace')}")

    @contextmanager
    def _first_card(self) -> Iterator[None]:
        """This thread's current card may be another one that its caller has chosen."""
        chosen = ctypes.c_int(0)
        self._library.cudaGetDevice(ctypes.byref(chosen))
        if chosen.value:
            self._library.cudaSetDevice(ctypes.c_int(0))
        try:
            yield
        finally:
            if chosen.value:
                self._library.cudaSetDevice(chosen)

    def allocate(self, size: int) -> int:
        """See Runtime."""
        address = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(address), ctypes.c_size_t(size))
        return int(address.value or 0)

    def free(self, address: int) -> None:
        """See Runtime."""
        self._call("cudaFree", ctypes.c_void_p(address))

    def pin(self, size: int) -> Array:
        """See Runtime."""
        address = ctypes.c_void_p()
        self._call("cudaHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(PORTABLE))
        memory: Any = (ctypes.c_uint8 * size).from_address(int(address.value or 0))
        return np.ctypeslib.as_array(memory)

    def unpin(self, memory: Array) -> None:
        """See Runtime."""
        self._call("cudaFreeHost", ctypes.c_void_p(memory.ctypes.data))

    def send(self, address: int, source: Array) -> None:
        """See Runtime."""
        self._copy(address, source.ctypes.data, source.nbytes, TO_CARD)

    def fetch(self, target: Array, address: int) -> None:
        """See Runtime."""
        self._copy(target.ctypes.data, address, target.nbytes, FROM_CARD)

    def _copy(self, to: int, source: int, size: int, kind: int) -> None:
        pointers = ctypes.c_void_p(to), ctypes.c_void_p(source)
        self._call("cudaMemcpyAsync", *pointers, ctypes.c_size_t(size), ctypes.c_int(kind), OWN_STREAM)
        self._call("cudaStreamSynchronize", OWN_STREAM)

    def synchronize(self) -> None:
        """See Runtime."""
        self._call("cudaDeviceSynchronize")


def _load() -> Any:
    missing = OSError()
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            missing = error
    raise DeviceUnavailable(f"the CUDA runtime cannot be loaded: {missing}") from missing
