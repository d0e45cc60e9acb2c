"""What comes next, made by a thread of its own while the present is worked on."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")
PATIENCE_SECONDS = 0.1  # until it is seen that nobody waits any more


class Ahead(Generic[Item]):
    """The items of `items`, of which one waits and one is being made while another is worked on. What making them
    raises is raised here. To be closed."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._queue: Queue[Item | BaseException | None] = Queue(1)
        self._closed = Event()
        self._thread = Thread(target=self._make, args=(items,), name="read", daemon=True)
        self._thread.start()

    def _make(self, items: Iterable[Item]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, item: Item | BaseException | None) -> bool:
        """Whether `item` was put before the end."""
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=PATIENCE_SECONDS)
            except Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Have the thread end, and wait for it."""
        self._closed.set()
        with suppress(Empty):  # so that the thread need not be impatient
            self._queue.get_nowait()
        self._thread.join()
