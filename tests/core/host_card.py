"""A card whose memory is the host's, so that all of the way of a block to a card and back runs without one: the graphs
for a card, bound by address, on onnxruntime's CPU provider."""

import ctypes
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime
import pytest

import core.engine
from core.declare import Measure
from core.engine import Engine
from core.errors import OutOfMemory
from core.rules import Array

CPU, BOTH = ["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]
REAL = onnxruntime.InferenceSession
LINE = 64  # bytes that an allocation begins at a multiple of


class HostRuntime:
    """core.cuda.Runtime, on memory of the host, of which there are `most` bytes; it remembers what was done."""

    name = "cpu"

    def __init__(self, most: int = 2**40) -> None:
        self.most = most
        self.memory: dict[int, Array] = {}  # by address
        self.pinned: list[int] = []
        self.sent: list[int] = []  # sizes
        self.fetched: list[int] = []
        self.waits = 0
        self.opened: list[tuple[list[tuple[str, dict[str, str]]], Any]] = []  # providers and options of sessions
        self.arenas: list[tuple[Any, ...]] = []  # as they were registered
        self.lock = threading.Lock()

    @property
    def held(self) -> int:
        return sum(memory.size - LINE for memory in self.memory.values())

    def allocate(self, size: int) -> int:
        with self.lock:
            if self.held + size > self.most:
                raise OutOfMemory("the card is full")
            memory = np.full(size + LINE, 0xFF, np.uint8)  # NaN, wherever it is read before it is written
            address = int(-(-memory.ctypes.data // LINE) * LINE)
            self.memory[address] = memory
        return address

    def free(self, address: int) -> None:
        del self.memory[address]

    def pin(self, size: int) -> Array:
        memory = np.full(size, 0xFF, np.uint8)
        self.pinned.append(memory.ctypes.data)
        return memory

    def unpin(self, memory: Array) -> None:
        self.pinned.remove(memory.ctypes.data)

    def _is_here(self, address: int, size: int) -> bool:
        return any(start <= address and address + size <= start + m.size - LINE for start, m in self.memory.items())

    def send(self, address: int, source: Array) -> None:
        assert source.flags.c_contiguous
        assert source.nbytes == 0 or any(source.ctypes.data == pinned for pinned in self.pinned)
        assert self._is_here(address, source.nbytes)
        ctypes.memmove(address, source.ctypes.data, source.nbytes)
        self.sent.append(source.nbytes)

    def fetch(self, target: Array, address: int) -> None:
        ctypes.memmove(target.ctypes.data, address, target.nbytes)
        self.fetched.append(target.nbytes)

    def synchronize(self) -> None:
        self.waits += 1


class Pretender:
    """A session of the CPU that says it is one of a card."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return BOTH


@contextmanager
def instead_of_a_card(runtime: HostRuntime) -> Iterator[None]:
    """Engines that are made for a card find that one."""

    def session(content: bytes, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
        if providers[0][0] == CPU[0]:
            return REAL(content, options, providers=CPU)
        runtime.opened.append((providers, options))
        return Pretender(REAL(content, providers=CPU))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "get_available_providers", lambda: BOTH)
        patch.setattr(onnxruntime, "InferenceSession", session)
        patch.setattr(onnxruntime, "create_and_register_allocator_v2", lambda *given: runtime.arenas.append(given))
        patch.setattr(core.engine, "Cuda", lambda: runtime)
        yield


@contextmanager
def engine_on(runtime: HostRuntime, measures: Iterable[Measure], **more: Any) -> Iterator[Engine]:
    """An engine on that card."""
    with instead_of_a_card(runtime):
        made = Engine(measures, device="cuda", **more)
        yield made
        made.close()
