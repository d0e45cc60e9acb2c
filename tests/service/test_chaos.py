"""Through a network that delays, trickles, cuts and resets, an answer is right or there is none."""

import json
import logging
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from service.settings import Settings
from tests.service.chaos import Chaos, proxied
from tests.service.clients import until
from tests.service.conftest import GOOD
from tests.service.live import listening
from tests.service.raw import LOSSES, OTHER, Answer, Wire, connected, loss, request
from tests.service.test_drain import LONG

SUM = -163840.0  # of LARGE's kl_div: log 1 * 1 - x, of 32,768 values around -5, added up
BALANCERS_SECONDS = 60


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The host and port of a server."""
    with listening() as made:
        yield made


def in_flight(address: str) -> float:
    with connected(address) as wire:
        wire.send(request(None, method="GET", path="/metrics"))
        found = re.search(rb"^lossmeter_in_flight_requests (\S+)$", wire.read()[2], re.MULTILINE)
    assert found
    return float(found[1])


def still_right(address: str) -> None:
    """The service answers as ever, and is at rest but for the one who asks."""
    with connected(address) as wire:
        for body in (GOOD, OTHER):
            wire.send(request(body))
            assert loss(wire.read()) == LOSSES[body]
    until(lambda: in_flight(address) == 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "chaos", [{"piece_bytes": 7}, {"piece_bytes": 200, "delay_seconds": 0.005}, {"delay_seconds": 0.05}], ids=str
)
def test_whatever_the_pieces_and_delays_answers_are_right(address: str, chaos: dict[str, float], seed: int) -> None:
    sent = [GOOD, OTHER, GOOD, OTHER]
    with proxied(address, Chaos(**chaos, seed=seed)) as through, connected(through) as wire:  # type: ignore[arg-type]
        for turn, body in enumerate(sent):
            wire.send(request(body, chunked=turn % 2 == 1))
            assert loss(wire.read()) == LOSSES[body]
        wire.send(b"".join(request(body) for body in sent))
        assert [loss(wire.read()) for _ in sent] == [LOSSES[body] for body in sent]
    still_right(address)


def test_a_large_body_arrives_whole_in_odd_pieces(address: str) -> None:
    with proxied(address, Chaos(piece_bytes=5000, seed=1)) as through, connected(through) as wire:
        wire.send(LONG)
        assert json.loads(wire.read()[2])["totals"]["sum"] == pytest.approx(-SUM, rel=1e-6)


def test_a_kilobyte_a_second_is_answered_and_holds_up_nobody(address: str) -> None:
    with proxied(address, Chaos(bytes_per_second=1024, piece_bytes=64)) as through, connected(through) as slow:
        slow.send(request())
        others, answers = 0, list[Answer]()
        thread = threading.Thread(target=lambda: answers.append(slow.read()))
        thread.start()
        with connected(address) as wire:
            while thread.is_alive():
                wire.send(request())
                assert loss(wire.read()) == LOSSES[GOOD]
                others += 1
        thread.join()
    assert loss(answers[0]) == LOSSES[GOOD]
    assert others > 1


@pytest.mark.parametrize("reset", [False, True], ids=["cut", "reset"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_that_ends_anywhere_costs_only_itself(
    address: str, way: str, reset: bool, caplog: pytest.LogCaptureFixture
) -> None:
    seed = 11 if reset else 12
    places = random.Random(seed)
    small, whole = request(), 0
    with connected(address) as wire, caplog.at_level(logging.WARNING):
        wire.send(small)
        _, _, content = wire.read()
        whole = len(content) + 100
    for long in [False] * 15 + [True] * 5:
        sent = LONG if long else small
        most = places.randrange(1, len(sent) if way == "up" else whole)
        chaos = Chaos(cut_up_bytes=most, reset=reset) if way == "up" else Chaos(cut_down_bytes=most, reset=reset)
        with proxied(address, chaos) as through, connected(through) as wire, suppress(OSError):
            wire.send(sent)
            got = everything(wire)
            assert len(got) <= most if way == "down" else b" 200 " not in got, f"seed {seed}, {most} bytes"
    still_right(address)
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []


def everything(wire: Wire) -> bytes:
    """What arrives before the connection ends, however it does."""
    try:
        return wire.file.read()
    except OSError:
        return b""


def test_an_idle_connection_outlives_those_of_balancers(address: str) -> None:
    assert Settings().idle_seconds > BALANCERS_SECONDS
    with ExitStack() as stack:
        idle = [(seconds, stack.enter_context(connected(address))) for seconds in (4.9, 5.0, 5.1)]  # servers close at 5
        for _, wire in idle:
            wire.send(request())
            assert loss(wire.read()) == LOSSES[GOOD]
        began = time.monotonic()
        for seconds, wire in idle:
            time.sleep(max(0.0, began + seconds - time.monotonic()))
            wire.send(request())
            assert loss(wire.read()) == LOSSES[GOOD]
