"""Blocks on a card: copied there through pinned memory, computed where they lie, and only the values copied back.

A lane has the memory for one block at a time. Each thread takes a lane for its block, so that one lane's block is
copied while another's is computed. Halves are sent as they are and widened on the card.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import prod
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from core.cuda import Runtime
from core.declare import Kind
from core.dtypes import INT64, name_of, numbers, of_output
from core.errors import DeviceFailed, OutOfMemory
from core.resident import Resident
from core.rules import Array
from core.sessions import Sessions
from core.variants import WIDENED, Variant

log = logging.getLogger("lossmeter.engine")

LANES = 3  # one is filled, one computed, and one on its way
BLOCK_ELEMENTS = 2**23  # 32 MiB of float32: a copy of 1 ms
ELEMENT_BYTES = 48  # what an element of a block takes at most: four inputs of 8 bytes, and what grains waste
KEPT_BYTES = 8 * BLOCK_ELEMENTS
GRAIN = 2**20  # bytes that memory is taken in, so that the next block, a little larger, finds room
BFLOAT16_ELEMENT = 16  # onnx.TensorProto.BFLOAT16


class Buffer:
    """Memory of one size on the card, and pinned where it is filled from the host."""

    def __init__(self, runtime: Runtime, size: int) -> None:
        self._runtime, self.size = runtime, size
        self.address = runtime.allocate(size)
        self._pinned: Array | None = None

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The pinned memory, or as much of it as an array takes."""
        if self._pinned is None:
            self._pinned = self._runtime.pin(self.size)
        return self._pinned[: prod(shape) * dtype.itemsize].view(dtype).reshape(shape)

    def free(self) -> None:
        """Give all of it back."""
        if self._pinned is not None:
            self._runtime.unpin(self._pinned)
        self._runtime.free(self.address)


class Lane:
    """The memory of one block. For one thread at a time. Of more than `share` bytes, 0 for no limit, it holds only what
    its block takes, and nothing of earlier ones."""

    def __init__(self, runtime: Runtime, account: Callable[[int], None], share: int = 0) -> None:
        self._runtime, self._account, self._share = runtime, account, share
        self._buffers: dict[str, Buffer] = {}
        self._taken: set[str] = set()  # by the block

    def begin(self) -> None:
        """Nothing is of a block yet."""
        self._taken.clear()

    def end(self) -> None:
        """The block is done: what is larger than blocks are, as one row may be, is not kept for the next."""
        for name in [name for name, buffer in self._buffers.items() if buffer.size > KEPT_BYTES]:
            self._drop(name)

    def buffer(self, name: str, size: int) -> Buffer:
        """Memory for `size` bytes of what is called `name`. Raises OutOfMemory."""
        self._taken.add(name)
        found = self._buffers.get(name)
        if found is None or found.size < size:
            if found is not None:
                self._drop(name)
            whole = -(-size // GRAIN) * GRAIN
            if self._share and sum(buffer.size for buffer in self._buffers.values()) + whole > self._share:
                for other in self._buffers.keys() - self._taken:
                    self._drop(other)
            self._account(whole)
            try:
                self._buffers[name] = found = Buffer(self._runtime, whole)
            except BaseException:
                self._account(-whole)
                raise
        return found

    def _drop(self, name: str) -> None:
        buffer = self._buffers.pop(name)
        buffer.free()
        self._account(-buffer.size)

    def empty(self) -> None:
        """Give all memory back."""
        for name in list(self._buffers):
            self._drop(name)

    def address(self, name: str, part: Array | Resident, dtype: np.dtype[Any], widen: Callable[..., None]) -> int:
        """Where the card has `part` in `dtype`: sent there if it is not there already, and widened there if it is
        halves of float32."""
        if isinstance(part, Resident):
            sent, address = part.dtype, part.address
        else:
            halves = name_of(part.dtype) in WIDENED and dtype == np.float32
            sent = name_of(part.dtype) if halves else dtype.name
            buffer = self.buffer(name, max(1, part.size * (2 if halves else dtype.itemsize)))
            pinned = buffer.pinned(part.shape, part.dtype.newbyteorder("=") if halves else dtype)
            np.copyto(pinned, part if halves else numbers(part), casting="unsafe")  # what was checked loses nothing
            self._runtime.send(buffer.address, pinned)
            address = buffer.address
        if sent == dtype.name:
            return address
        wide = self.buffer(f"{name}, wide", 4 * prod(part.shape))
        widen(sent, address, wide.address, prod(part.shape))
        return wide.address


class Card:
    """Runs the graphs of `sessions` on the device of `runtime`, block by block; `memory_bytes` of it at most for the
    blocks, 0 for as much as there is. What the graphs take beside them is `sessions`' own."""

    def __init__(self, sessions: Sessions, runtime: Runtime, memory_bytes: int = 0) -> None:
        self.runtime, self._sessions = runtime, sessions
        self._most = memory_bytes
        self.block_elements = min(BLOCK_ELEMENTS, memory_bytes // (LANES * ELEMENT_BYTES) or BLOCK_ELEMENTS)
        self.failed = ""  # why it computes nothing more, once that is so
        self._held, self._lock, self._closed = 0, Lock(), False
        self._lanes: SimpleQueue[Lane] = SimpleQueue()
        for _ in range(LANES):
            self._lanes.put(Lane(runtime, self._account, memory_bytes // LANES))

    def close(self) -> None:
        """Give the memory back: of the lanes that are free now, and of each other one when its block is done. A later
        block takes memory for itself alone."""
        self._closed = True
        self._trim()

    def _account(self, size: int) -> None:
        with self._lock:
            if self._most and size > 0 and self._held + size > self._most:
                raise OutOfMemory(f"there is not enough memory for the batch on the card: {self._most} bytes are set")
            self._held += size

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        lane = self._lanes.get()
        lane.begin()
        try:
            try:
                yield lane
                lane.end()
            except OutOfMemory:
                lane.empty()
                raise
            finally:
                if self._closed:
                    lane.empty()
        finally:
            self._lanes.put(lane)

    def run(
        self, variant: Variant, dtype: np.dtype[Any], feeds: Mapping[str, Any], into: Mapping[str, int] | None = None
    ) -> list[Array]:
        """The graph's outputs for a block of `feeds`: arrays, or Resident ones. With `into` they are written to those
        addresses of the card, by name, and none is returned. Raises OutOfMemory or DeviceFailed."""
        if self.failed:
            raise DeviceFailed(self.failed)
        try:
            try:
                return self._run(variant, dtype, feeds, into)
            except OutOfMemory:
                self._trim()
                return self._run(variant, dtype, feeds, into)
        except DeviceFailed as error:
            self.failed = f"the card computes nothing more in this process: {error}"
            log.critical("%s", self.failed)
            raise

    def _trim(self) -> None:
        """Give back what idle lanes hold."""
        idle: list[Lane] = []
        with suppress(Empty):
            while True:
                idle.append(self._lanes.get_nowait())
        try:
            for lane in idle:
                lane.empty()
        finally:
            for lane in idle:
                self._lanes.put(lane)

    def _run(
        self, variant: Variant, dtype: np.dtype[Any], feeds: Mapping[str, Any], into: Mapping[str, int] | None
    ) -> list[Array]:
        tensors = {tensor.name: tensor for tensor in variant.inputs}
        main = feeds[variant.measure.main.name]
        rows, kind = main.shape[0], self.runtime.name
        with self._lane() as lane:

            def work(session: Any) -> list[Array]:
                binding = session.io_binding()
                for name, part in feeds.items():
                    if not tensors[name].by_sample:
                        binding.bind_cpu_input(name, part)
                        continue
                    wanted = dtype if tensors[name].kind is Kind.FLOAT else INT64
                    address = lane.address(name, part, wanted, self._widen)
                    binding.bind_input(name, kind, 0, wanted.type, part.shape, address)
                types = {name: of_output(variant.measure, name, dtype) for name in variant.outputs}
                places = into or {n: lane.buffer(n, rows * each.itemsize).address for n, each in types.items()}
                for name, address in places.items():
                    binding.bind_output(name, kind, 0, types[name].type, (rows,), address)
                session.run_with_iobinding(binding)
                return [] if into else [self._fetched(places[name], rows, each) for name, each in types.items()]

            return self._sessions.attempt(variant, dtype.name, work)

    def _fetched(self, address: int, rows: int, dtype: np.dtype[Any]) -> Array:
        values = np.empty(rows, dtype)
        self.runtime.fetch(values, address)
        return values

    def _widen(self, dtype: str, halves: int, wide: int, size: int) -> None:
        """Widen `size` halves of `dtype` at one address of the card to another."""
        kind, session = self.runtime.name, self._sessions.wideners[dtype]
        binding = session.io_binding()
        element = np.float16 if dtype == "float16" else BFLOAT16_ELEMENT
        binding.bind_input("halves", kind, 0, element, (size,), halves)
        binding.bind_output("wide", kind, 0, np.float32, (size,), wide)
        session.run_with_iobinding(binding)
