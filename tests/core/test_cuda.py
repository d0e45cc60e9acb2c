"""The calls of the CUDA runtime, against a library that notes them."""

import ctypes
from typing import Any

import numpy as np
import pytest

from core import cuda
from core.cuda import Cuda
from core.errors import DeviceFailed, DeviceUnavailable, OutOfMemory


class Function:
    """One function of the library."""

    def __init__(self, library: "Library", name: str) -> None:
        self.library, self.name = library, name
        self.restype: Any = None

    def __call__(self, *arguments: Any) -> Any:
        if self.name == "cudaGetErrorString":
            return b"an illegal memory access was encountered"
        if self.name == "cudaGetDevice":
            arguments[0]._obj.value = self.library.current
            return 0
        plain = [getattr(argument, "value", argument) for argument in arguments]
        self.library.calls.append((self.name, *plain))
        if self.name == self.library.fails:
            return self.library.code
        if self.name in ("cudaMalloc", "cudaHostAlloc"):
            arguments[0]._obj.value = ctypes.addressof(self.library.memory)
        if self.name == "cudaMemcpyAsync":
            ctypes.memmove(*plain[:3])
        return 0


class Library:
    """Stands for libcudart; device and host memory are one."""

    def __init__(self, fails: str = "", code: int = 0) -> None:
        self.calls: list[Any] = []
        self.memory = (ctypes.c_uint8 * 64)()
        self.fails, self.code = fails, code
        self.current = 0
        self._functions: dict[str, Function] = {}

    def __getattr__(self, name: str) -> Function:
        return self._functions.setdefault(name, Function(self, name))


def test_bytes_go_there_and_back_on_a_stream_of_the_thread() -> None:
    library = Library()
    runtime = Cuda(library)
    sent, found = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    address = runtime.allocate(32)
    runtime.send(address, sent)
    runtime.fetch(found, address)
    runtime.free(address)
    np.testing.assert_array_equal(found, sent)
    stream = 2  # cudaStreamPerThread
    assert library.calls[1:] == [
        ("cudaMemcpyAsync", address, sent.ctypes.data, 32, 1, stream),
        ("cudaStreamSynchronize", stream),
        ("cudaMemcpyAsync", found.ctypes.data, address, 32, 2, stream),
        ("cudaStreamSynchronize", stream),
        ("cudaFree", address),
    ]


def test_pinned_memory_is_an_array_for_every_thread() -> None:
    library = Library()
    runtime = Cuda(library)
    memory = runtime.pin(16)
    memory[:] = 7
    assert bytes(library.memory)[:17] == b"\7" * 16 + b"\0"
    runtime.unpin(memory)
    runtime.synchronize()
    assert library.calls[0][2:] == (16, 1)  # cudaHostAllocPortable
    assert library.calls[1:] == [("cudaFreeHost", memory.ctypes.data), ("cudaDeviceSynchronize",)]


@pytest.mark.parametrize("name", ["cudaMalloc", "cudaHostAlloc"])
def test_no_memory_is_told_and_forgotten(name: str) -> None:
    library = Library(name, 2)
    runtime = Cuda(library)
    with pytest.raises(OutOfMemory, match="not enough memory for the batch on the card"):
        runtime.allocate(2**40) if name == "cudaMalloc" else runtime.pin(2**40)
    assert library.calls[-1] == ("cudaGetLastError",)


def test_another_failure_has_cudas_words() -> None:
    library = Library("cudaStreamSynchronize", 700)
    address = ctypes.addressof(library.memory)
    with pytest.raises(DeviceFailed, match="cudaStreamSynchronize failed with 700: an illegal memory access"):
        Cuda(library).fetch(np.zeros(1), address)


def test_a_thread_that_has_chosen_another_card_has_it_afterwards() -> None:
    library = Library()
    library.current = 1
    Cuda(library).free(64)
    assert library.calls == [("cudaSetDevice", 0), ("cudaFree", 64), ("cudaSetDevice", 1)]


def test_where_the_library_is_not_there_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "LIBRARIES", ("libcudart.so.never",))
    with pytest.raises(DeviceUnavailable, match=r"the CUDA runtime cannot be loaded: libcudart\.so\.never"):
        Cuda()
