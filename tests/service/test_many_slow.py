"""Two hundred clients that are slow, or silent, take nothing from a good one, and nothing stays of them."""

import os
import random
import select
import sys
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from tests.service.conftest import GOOD
from tests.service.raw import JSON_TYPE, LOSSES, OTHER, Wire, connected, loss, request
from tests.service.test_admission import padded, running, until
from tests.service.test_chaos import in_flight

COUNT = 200
SIZE = 2**14
SENT = {
    "silent": b"",
    "half a head": request(GOOD)[:40],
    "dripping": request(None, JSON_TYPE, f"Content-Length: {SIZE}"),
    "stalled": request(padded(SIZE))[: -SIZE // 2],
}
HANG_SECONDS = 120


def drip(wires: list[Wire], stop: threading.Event) -> None:
    """Send a byte of each body, now and then."""
    while not stop.wait(0.05):
        for wire in wires:
            with suppress(OSError):
                wire.socket.send(b" ")


def ask(wire: Wire) -> None:
    """Good requests have their known answers."""
    for body in (GOOD, OTHER):
        wire.send(request(body))
        assert loss(wire.read()) == LOSSES[body]


def closed(wire: Wire) -> bool:
    """Whether the server has closed the connection, so far; what it said before is read."""
    while select.select([wire.socket], [], [], 0)[0]:
        try:
            if not wire.socket.recv(2**16):
                return True
        except OSError:
            return True
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only there a process can count its descriptors so")
def test_slow_clients_are_closed_and_hold_up_nobody() -> None:
    kinds = list(SENT) * (COUNT // len(SENT))
    random.Random(1).shuffle(kinds)
    stop, most_bytes = threading.Event(), 0
    with running(head_seconds=1, body_seconds=1) as (app, address), connected(address) as good:
        ask(good)
        until(lambda: app.admission.bytes == 0)
        before = len(os.listdir("/proc/self/fd"))
        with ExitStack() as stack:
            slow: list[Wire] = []
            dripping: list[Wire] = []
            dripper = threading.Thread(target=drip, args=(dripping, stop))
            dripper.start()
            stack.callback(dripper.join)
            stack.callback(stop.set)
            for kind in kinds:
                wire = stack.enter_context(connected(address))
                wire.send(SENT[kind])
                slow.append(wire)
                dripping += [wire] if kind == "dripping" else []
                ask(good)
                most_bytes = max(most_bytes, app.admission.bytes)
            ends = time.monotonic() + HANG_SECONDS
            while slow:
                assert time.monotonic() < ends, f"{len(slow)} are open"
                ask(good)
                slow = [wire for wire in slow if not closed(wire)]
        assert most_bytes >= SIZE  # of the others, until they were closed
        until(lambda: app.admission.bytes == 0)
        until(lambda: in_flight(address) == 1)
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        ask(good)
