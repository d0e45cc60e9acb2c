"""Workers that die, stand still or cannot start, and a restart one by one."""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from core.variants import FOLDER
from tests.service.clients import clients, until
from tests.service.conftest import GOOD, LOSS
from tests.service.programs import STUCK_LOOP, program
from tests.service.raw import connected, request
from tests.service.test_server import ask, ended, free_port, started, wait_until_ready
from tests.service.test_watchdog import THREE
from tests.service.test_workers import children, until_both

TELLS = """
    from pathlib import Path
    if __name__ == "__main__":
        from service.supervisor import Supervisor
        turn = Supervisor._turn
        def turn_and_tell(self, passed):
            turn(self, passed)
            if self.complete and not self.old and not self.newcomer:
                Path({told!r}).touch()
        Supervisor._turn = turn_and_tell
"""
ALWAYS_YOUNG = """
    from service import supervisor
    supervisor.YOUNG_SECONDS = 1e9
"""
FAILS_ONCE_TOLD = """
    from pathlib import Path
    if __name__ != "__main__" and Path({flag!r}).exists():
        raise SystemExit({code})
"""
OTHER_GRAPHS = """
    from pathlib import Path
    from core.engine import Engine
    Engine.__init__.__kwdefaults__["graphs"] = Path({folder!r})
"""


@contextmanager
def two(folder: Path, change: str = "", **settings: str) -> Iterator[tuple[Popen[str], int]]:
    """Two workers that are ready, as their supervisor knows, and their port."""
    port, changed = free_port(), program(folder, TELLS.format(told=str(folder / "settled")) + change)
    with started(program=changed, PORT=str(port), WORKERS="2", **settings) as process:
        wait_until_ready(process, port)
        until_both(port)
        until_settled(folder)
        yield process, port


def until_settled(folder: Path) -> None:
    """Until the supervisor has looked once more, and does not start or restart."""
    told = folder / "settled"
    told.unlink(missing_ok=True)
    until(told.exists)


class Log(threading.Thread):
    """What a process writes, as it does."""

    def __init__(self, process: Popen[str]) -> None:
        super().__init__(daemon=True)
        self.process, self.lines = process, list[str]()
        self.start()

    def run(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def count(self, what: str) -> int:
        """The lines with `what` in them, so far."""
        return sum(what in line for line in self.lines)

    def ended(self) -> tuple[int, list[str]]:
        """The exit code and what was written; the limits only keep a hung test from hanging the rest."""
        code = self.process.wait(90)
        self.join(90)
        return code, self.lines


def other_than(process: Popen[str], before: list[int]) -> list[int]:
    """The workers, once there are two and none is of those `before`."""
    found: list[int] = []

    def replaced() -> bool:
        found[:] = children(process.pid)
        return len(found) == 2 and not set(found) & set(before)

    until(replaced)
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_is_stopped_is_replaced_and_loses_only_its_own(
    tmp_path: Path, how: signal.Signals
) -> None:
    with two(tmp_path, LOG_LEVEL="error") as (process, port):
        first, second = children(process.pid)
        with clients(port, 8, follow_seconds=30) as tally:
            until(lambda: tally.answered > 50)
            os.kill(first, how)
            until(lambda: first not in children(process.pid) and len(children(process.pid)) == 2)
            assert second in children(process.pid)
            until_both(port)
        assert len(tally.failed) <= 8  # no client has more than one request on its way
        assert not any(failed.startswith("5") for failed in tally.failed)
        process.terminate()
        code, lines = ended(process)
    assert code == 0
    assert sum(f"worker {first} has died: SIGKILL" in line for line in lines) == 1
    assert any("no turn" in line for line in lines) == (how is signal.SIGSTOP)


def test_a_stuck_worker_says_where_and_is_replaced(tmp_path: Path) -> None:
    with two(tmp_path, STUCK_LOOP) as (process, port):
        before = children(process.pid)
        with connected(f"127.0.0.1:{port}") as wire:
            wire.send(request(THREE))
            assert wire.at_end()
        assert ask(port, "POST", LOSS, GOOD)[0] == 200
        until(lambda: len(found := children(process.pid)) == 2 and len(set(found) & set(before)) == 1)
        process.terminate()
        code, lines = ended(process)
    assert code == 0
    assert any("in per_sample" in line for line in lines)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_damaged_graph_ends_the_start_with_one_line(tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "graphs"
    shutil.copytree(FOLDER, folder)
    graph = next(folder.glob("kl_div*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    broken = program(tmp_path, OTHER_GRAPHS.format(folder=str(folder)))
    with started(program=broken, PORT=str(free_port()), WORKERS=workers, LOG_LEVEL="warning") as process:
        code, lines = ended(process)
    assert code == 3
    assert sum("cannot start: " in line and graph.name in line and "SHA-256" in line for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


def test_a_bad_setting_ends_the_start_before_any_worker() -> None:
    with started(WORKERS="2", DRAIN_SECONDS="soon") as process:
        code, lines = ended(process)
    assert code == 2
    assert [line.partition(":")[0] for line in lines] == ["lossmeter"]
    assert "LOSSMETER_DRAIN_SECONDS is 'soon'" in lines[0]


@pytest.mark.parametrize("code", [1, 3])
def test_workers_that_die_again_and_again_are_started_ever_more_rarely(tmp_path: Path, code: int) -> None:
    flag = tmp_path / "fail"
    broken = ALWAYS_YOUNG + FAILS_ONCE_TOLD.format(flag=str(flag), code=code)
    with two(tmp_path, broken, LOG_LEVEL="error") as (process, port):
        log = Log(process)
        flag.touch()
        os.kill(children(process.pid)[0], signal.SIGKILL)
        until(lambda: log.count("has died") >= 3)
        assert ask(port, "POST", LOSS, GOOD)[0] == 200
        flag.unlink()
        until(lambda: len(children(process.pid)) == 2)
        process.terminate()
        exit_code, lines = log.ended()
    assert exit_code == 0
    pauses = [float(found) for line in lines for found in re.findall(r"has died: .* started in (\S+) s", line)]
    assert pauses[:3] == [0, 1, 2]
    assert len(pauses) <= 5


def test_a_rolling_restart_loses_nothing_and_answers_signals(tmp_path: Path) -> None:
    with two(tmp_path, DRAIN_SECONDS="2", LOG_LEVEL="warning") as (process, port):
        before = children(process.pid)
        with clients(port, 8, follow_seconds=0.05) as tally, connected(f"127.0.0.1:{port}") as kept:
            kept.send(request())
            kept.read()
            process.send_signal(signal.SIGHUP)
            until(lambda: len(children(process.pid)) == 3)
            process.send_signal(signal.SIGHUP)  # which is answered with a line
            other_than(process, before)
            assert kept.at_end()
        assert tally.failed == []
        assert tally.turned_away == 0
        for gauge in (b"lossmeter_ready_workers 2.0", b"lossmeter_in_flight_limit_bytes 4.294967296e+09"):
            until(lambda wanted=gauge: wanted in ask(port, "GET", "/metrics")[1])  # without those that have left
        until_settled(tmp_path)
        process.send_signal(signal.SIGHUP)
        until(lambda: len(children(process.pid)) == 3)
        process.terminate()  # in the middle of it
        code, lines = ended(process)
    assert code == 0
    assert sum("nothing is done" in line for line in lines) == 1
    assert not any(" error " in line for line in lines)


def test_a_new_worker_that_does_not_get_ready_leaves_the_old_ones(tmp_path: Path) -> None:
    flag = tmp_path / "fail"
    broken = FAILS_ONCE_TOLD.format(flag=str(flag), code=3)
    with two(tmp_path, broken, LOG_LEVEL="error") as (process, port):
        log = Log(process)
        before = children(process.pid)
        flag.touch()
        with clients(port, 4, follow_seconds=0.05) as tally:
            process.send_signal(signal.SIGHUP)
            until(lambda: log.count("did not get ready"))
            until_settled(tmp_path)
            time.sleep(0.5)
            assert children(process.pid) == before
        assert (tally.failed, tally.turned_away) == ([], 0)
        process.terminate()
        code, lines = log.ended()
    assert code == 0
    assert len(lines) == 1
    assert "the old ones stay" in lines[0]
