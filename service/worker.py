"""A process of several that serve: what runs in it, and how the one that started it sees it."""

import ctypes
import faulthandler
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from service.counters import Shared
from service.logs import set_up_logging
from service.process import START_FAILED, leave, run
from service.server import RETIRE
from service.settings import Settings
from service.watchdog import Turns

log = logging.getLogger("lossmeter.supervisor")

STUCK_SECONDS = 5.0  # without a turn of a worker's loop
READY_SECONDS = 120.0  # for a worker to start in
SHOW_SECONDS = 0.3  # for a stuck worker to write where it is
SHOW = signal.SIGUSR1  # has a worker write where its threads are
OF_TERMINALS = (signal.SIGINT, signal.SIGHUP)  # which send them to all processes
_PR_SET_PDEATHSIG = 1
spawn = multiprocessing.get_context("spawn")


def count() -> Turns:
    """A number that processes share, 0."""
    return spawn.RawArray(ctypes.c_longlong, 1)


@contextmanager
def not_interrupted() -> Iterator[None]:
    """A process that is started here does not see what terminals send, until it asks for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(
    settings: Settings,
    shared: Shared,
    sockets: Sequence[socket.socket],
    turns: Turns,
    begin: Turns | None,
    parent: int,
) -> None:
    """One worker, in its own process, which on Linux retires when `parent`, which started it, is gone."""
    for one in (signal.SIGTERM, signal.SIGINT, RETIRE):
        signal.signal(one, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is the supervisor's
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINALS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, RETIRE)
        if os.getppid() != parent:  # it has ended already
            sys.exit(START_FAILED)
    faulthandler.enable()
    faulthandler.register(SHOW)
    set_up_logging(settings.log_level, settings.log_format)
    while begin and not begin[0]:
        time.sleep(0.02)
    leave(run(settings, sockets, shared, turns))


class Worker:
    """A process that serves."""

    def __init__(
        self, settings: Settings, shared: Shared, sockets: Sequence[socket.socket], begin: Turns | None
    ) -> None:
        self.turns = count()
        self.seen = 0  # of them
        self.silent = 0.0  # seconds since the last one
        self.shown = False
        self.began, self.ends_by = time.monotonic(), float("inf")
        arguments = (settings, shared, sockets, self.turns, begin, os.getpid())
        self.process = spawn.Process(target=work, args=arguments)
        with not_interrupted():
            self.process.start()

    @property
    def ready(self) -> bool:
        """Whether it has served."""
        return self.turns[0] > 0

    @property
    def leaving(self) -> bool:
        """Whether it was told to end."""
        return self.ends_by != float("inf")

    def end(self, sig: int, seconds: float) -> None:
        """Have it end within `seconds`."""
        self.ends_by = time.monotonic() + seconds
        self.send(sig if self.ready else signal.SIGKILL)

    def send(self, sig: int) -> None:
        """Send it a signal."""
        if self.process.pid and self.process.exitcode is None:
            os.kill(self.process.pid, sig)

    def look(self, passed: float) -> None:
        """See to it that it turns and ends in time, when `passed` seconds have passed in which this process ran."""
        turns = self.turns[0]
        self.silent = self.silent + passed if turns == self.seen else 0.0
        self.seen = turns
        most = STUCK_SECONDS if turns else READY_SECONDS
        if time.monotonic() > self.ends_by or self.silent > most + SHOW_SECONDS:
            self.send(signal.SIGKILL)
        elif self.silent > most and not self.shown:
            self.shown = True
            log.error("worker %s: its event loop has made no turn for %g s; it is killed", self.process.pid, most)
            self.send(SHOW)

    def ended(self) -> str:
        """How it has ended."""
        code = self.process.exitcode or 0
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
