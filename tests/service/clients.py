"""Clients in closed loops, each a thread: they ask for losses and reports, and follow /readyz, as a balancer would."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.service.carriers import safetensors
from tests.service.conftest import GOOD, JSON, LOSS

_values = np.linspace(-9, -1, 2**15, dtype=np.float32)
LARGE = safetensors({"log_probabilities": _values, "targets": np.ones_like(_values)}, {"per_sample": False})
SMALL = (LOSS, GOOD, JSON)
WORK = (  # in turn
    *(SMALL, SMALL, SMALL, ("/v1/reports/multiclass", GOOD, JSON)),
    *(SMALL, SMALL, SMALL, ("/v1/losses/kl_div", LARGE, {"Content-Type": "application/x-safetensors"})),
)  # the last of each row leave the event loop


@dataclass
class Tally:
    """What clients have seen."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    turned_away: int = 0  # clients that stopped because the service was not ready
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """One client with one connection, which it opens anew when an answer closes it."""

    def __init__(self, port: int, follow_seconds: float, tally: Tally) -> None:
        self.port, self.follow_seconds, self.tally = port, follow_seconds, tally
        self.connection = self._new()

    def _new(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ready(self) -> bool:
        """What a probe says, over a connection of its own."""
        probe = self._new()
        try:
            probe.request("GET", "/readyz")
            return probe.getresponse().status == 200
        except OSError:
            return False
        finally:
            probe.close()

    def ask(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """One request, and one line where it fails."""
        try:
            self.connection.request("POST", path, body, headers)
            response = self.connection.getresponse()
            content = response.read()
            failed = "" if response.status == 200 else f"{response.status} {content!r}"
            if response.will_close:
                self.connection.close()
        except (OSError, http.client.HTTPException) as error:
            failed = repr(error)
            self.connection.close()
        with self.tally.lock:
            self.tally.answered += not failed
            self.tally.failed += [failed] if failed else []

    def run(self) -> None:
        """Ask until the service is not ready."""
        next_look = time.monotonic() + self.follow_seconds
        for turn in range(10**9):
            if self.tally.stop.is_set():
                break
            if time.monotonic() >= next_look:
                if not self.ready():
                    self.tally.turned_away += 1
                    break
                next_look = time.monotonic() + self.follow_seconds
            self.ask(*WORK[turn % len(WORK)])
            self.tally.stop.wait(0.02)
        self.connection.close()


@contextmanager
def clients(port: int, count: int, follow_seconds: float) -> Iterator[Tally]:
    """`count` clients that work while this lasts, and look at /readyz every `follow_seconds`."""
    tally = Tally()
    made = [Client(port, follow_seconds, tally) for _ in range(count)]
    threads = [threading.Thread(target=client.run) for client in made]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        tally.stop.set()
        for thread in threads:
            thread.join(60)
        for client in made:
            with suppress(OSError):
                client.connection.close()


def until(condition: Any, seconds: float = 90) -> None:
    """Wait for something; the limit only keeps a test from hanging."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.02)
