"""A process whose event loop is stuck says where, and ends; one that was only stopped does not."""

import os
import signal
import time
from ctypes import c_longlong
from pathlib import Path

import pytest

from service import watchdog
from service.settings import SettingsError, load
from tests.service.conftest import GOOD, LOSS
from tests.service.programs import STUCK_LOOP, program
from tests.service.raw import connected, request
from tests.service.test_server import ask, ended, free_port, started, wait_until_ready

THREE = b'{"logits": [[1, 2], [3, 4], [5, 6]], "targets": [0, 1, 0]}'


def test_a_stuck_loop_ends_the_process_with_a_traceback(tmp_path: Path) -> None:
    port, stuck = free_port(), program(tmp_path, STUCK_LOOP)
    with started(program=stuck, PORT=str(port), WATCHDOG_SECONDS="1") as process:
        wait_until_ready(process, port)
        with connected(f"127.0.0.1:{port}") as wire:
            wire.send(request(THREE))
            code, lines = ended(process)
    assert code == watchdog.STUCK
    assert any("no turn for 1 s" in line for line in lines)
    assert any("in per_sample" in line for line in lines)


def test_a_process_that_was_stopped_goes_on() -> None:
    port = free_port()
    with started(PORT=str(port), WATCHDOG_SECONDS="1") as process:
        wait_until_ready(process, port)
        for _ in range(2):
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(process.pid, signal.SIGCONT)
            assert ask(port, "POST", LOSS, GOOD)[0] == 200
            time.sleep(0.2)
        process.terminate()
        assert ended(process)[0] == 0


class Ended(Exception):
    """In place of the end of the process."""


def _raise(seconds: float) -> None:
    raise Ended


@pytest.mark.parametrize("turns", [[7], (c_longlong * 1)(7)])
def test_a_loop_that_stands_still_is_seen(turns: watchdog.Turns) -> None:
    with pytest.raises(Ended):
        watchdog._watch(turns, 0.05, _raise)


def test_a_loop_that_has_not_begun_or_turns_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, ticks = [0], 0

    def tick(seconds: float) -> None:
        nonlocal ticks
        ticks += 1
        if ticks > 5 * watchdog.TICKS:
            turns[0] += ticks % (watchdog.TICKS - 1) == 0  # a process that was stopped misses one
        if ticks > 20 * watchdog.TICKS:
            raise Ended

    monkeypatch.setattr(time, "sleep", tick)
    with pytest.raises(Ended):
        watchdog._watch(turns, 1, lambda _: pytest.fail("it was ended"))


@pytest.mark.parametrize(("text", "taken"), [("0", True), ("1", True), ("0.9", False), ("-1", False), ("nan", False)])
def test_seconds_that_are_too_few_are_refused(text: str, taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSMETER_WATCHDOG_SECONDS", text)
    if taken:
        assert load().watchdog_seconds == float(text)
    else:
        with pytest.raises(SettingsError, match="LOSSMETER_WATCHDOG_SECONDS"):
            load()
