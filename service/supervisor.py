"""Several workers on one port: starts them, replaces those that die or are stuck, restarts them one by one.

One loop looks at them ten times a second. A worker counts the turns of its event loop in memory that both share: the
first says that it is ready, and that there are none for a while that it is stuck.
"""

import logging
import signal
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import wait

from core.measures import MEASURES
from core.reports.tasks import TASKS

from service.counters import Shared
from service.merge import NAME as MERGE
from service.process import START_FAILED
from service.server import RETIRE
from service.settings import Settings
from service.telemetry import Metrics
from service.watchdog import Turns
from service.worker import Worker, count, not_interrupted, spawn

log = logging.getLogger("lossmeter.supervisor")

LOOK_SECONDS = 0.1
END_SECONDS = 2.0  # beyond what a worker has to end in, before it is killed
YOUNG_SECONDS = 10.0  # who dies sooner may die of how it starts
LONGEST_PAUSE_SECONDS = 30.0


class Supervisor:
    """Keeps as many workers as there are to be. `run` returns when none is left."""

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket]) -> None:
        self.settings, self.sockets = settings, sockets
        with not_interrupted():  # it starts a process of multiprocessing's own
            self.shared = Shared(spawn, Metrics([*MEASURES, *TASKS, MERGE]).size, settings.workers)
        self.begin = count()  # the others do when the first is ready: what is wrong is said once
        self.workers: list[Worker] = []
        self.old: list[Worker] = []  # yet to be replaced in a rolling restart
        self.newcomer: Worker | None = None  # who is to replace the first of them
        self.signals: list[int] = []
        self.complete = False  # all were ready, once
        self.stopping = False
        self.code = 0
        self.failures = 0  # workers that died young, one after the other
        self.pause_ends = 0.0

    def run(self) -> int:
        """Serve until a signal says to stop. The exit code: 0, or 3 where the start failed."""
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, lambda sig, _: self.signals.append(sig))
        self._start()
        for _ in range(1, self.settings.workers):
            self._start(self.begin)
        last = time.monotonic()
        try:
            while self.workers:
                wait([one.process.sentinel for one in self.workers], LOOK_SECONDS)
                now = time.monotonic()
                # Where this process was stopped, or the machine slept, so were the workers.
                self._turn(min(now - last, 5 * LOOK_SECONDS))
                last = now
        finally:
            for worker in self.workers:
                worker.send(signal.SIGKILL)
        return self.code

    def _start(self, begin: Turns | None = None) -> Worker:
        worker = Worker(self.settings, self.shared, self.sockets, begin)
        self.workers.append(worker)
        return worker

    def _turn(self, passed: float) -> None:
        while self.signals:
            self._act(self.signals.pop(0))
        for worker in self.workers[:]:
            if worker.process.exitcode is None:
                worker.look(passed)
            else:
                self._bury(worker)
        serving = [one for one in self.workers if not one.leaving]
        if any(one.ready for one in serving):
            self.begin[0] = 1
        if sum(one.ready for one in serving) == self.settings.workers:
            self.complete = True
        if not self.stopping:
            self._roll(len(serving))
            if len(serving) < self.settings.workers and time.monotonic() >= self.pause_ends:
                self._start()

    # Signals

    def _act(self, sig: int) -> None:
        if sig == signal.SIGHUP:
            self._restart()
        elif sig == signal.SIGTERM and not self.stopping:
            log.info("stops %d workers", len(self.workers))
            self._stop(sig, self.settings.drain_seconds + self.settings.grace_seconds + END_SECONDS)
        else:
            self._stop(signal.SIGINT, END_SECONDS)

    def _stop(self, sig: int, seconds: float) -> None:
        self.stopping = True
        for listener in self.sockets:
            listener.close()  # who connects once no worker listens is to be refused, not to wait
        for worker in self.workers:
            worker.end(sig, seconds)

    def _restart(self) -> None:
        if self.stopping or self.old or not self.complete:
            log.warning("SIGHUP: the workers are being started or stopped already; nothing is done")
            return
        log.info("SIGHUP: restarts the workers one by one")
        self.old = [one for one in self.workers if not one.leaving]

    # Workers that come and go

    def _roll(self, serving: int) -> None:
        """A rolling restart: a new worker is ready before an old one leaves, and it has left before the next."""
        self.old = [one for one in self.old if one in self.workers and not one.leaving]
        if self.newcomer and self.newcomer.ready:
            self.newcomer = None
            if self.old and serving > self.settings.workers:
                seconds = self.settings.drain_seconds + self.settings.grace_seconds + END_SECONDS
                self.old[0].end(RETIRE, seconds)
        elif self.old and not self.newcomer and not any(one.leaving for one in self.workers):
            self.newcomer = self._start()

    def _bury(self, worker: Worker) -> None:
        """See to what follows from the end of a worker."""
        self.workers.remove(worker)
        process, how = worker.process, worker.ended()
        if worker.leaving or self.stopping:
            log.info("worker %s has left: %s", process.pid, how)
        elif worker is self.newcomer:
            self.newcomer, self.old = None, []
            log.error("a new worker did not get ready (%s): the restart ends here, the old ones stay", how)
        elif not self.complete and not worker.ready and process.exitcode == START_FAILED:
            self.code = START_FAILED  # the worker has said why
            self._stop(signal.SIGINT, END_SECONDS)
        else:
            young = time.monotonic() - worker.began < YOUNG_SECONDS
            self.failures = self.failures + 1 if young else 0
            pause = min(2.0 ** (self.failures - 2), LONGEST_PAUSE_SECONDS) if self.failures > 1 else 0.0
            self.pause_ends = time.monotonic() + pause
            log.error("worker %s has died: %s; another is started in %g s", process.pid, how, pause)
        process.close()
