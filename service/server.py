"""One process that serves: the signals that it takes, and how it stops.

After SIGTERM it drains: for DRAIN_SECONDS readiness probes are refused and all else is answered as before, but that
each answer ends its connection; so balancers and clients turn away, and no request meets a closed door. Then nobody new
is let in, what runs may end within GRACE_SECONDS, and what does not is answered with 503.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from service.edge import GIVEN_UP
from service.listeners import BACKLOG, waiting
from service.protocol import State
from service.running import Running
from service.settings import Settings
from service.watchdog import Turns

log = logging.getLogger("lossmeter.server")

LAST_CALL_SECONDS = 1.0  # between the last connection and the end of idle ones, whose requests may be on their way
GIVING_UP_SECONDS = 2.0  # before the end of the grace, to answer what has not been done
STUCK_SECONDS = 2.0  # after which a process that is to end at once does, even if its loop does not turn
RETIRE = signal.SIGUSR2  # another worker has taken this one's place


def config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration for an app."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http="service.protocol:Protocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks who the client is
        backlog=BACKLOG,
        timeout_keep_alive=settings.idle_seconds,
    )


class Server(uvicorn.Server):
    """uvicorn's server, with an end of its own.

    `running` is what it tells of its end, and `turns[0]` counts the turns of its loop. A `worker` is one of several.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        running: Running | None = None,
        *,
        drain_seconds: float = 5,
        grace_seconds: float = 20,
        turns: Turns | None = None,
        worker: bool = False,
    ) -> None:
        super().__init__(config)
        self.server_state = self.state = State()
        self.running = running or Running()
        self.drain_seconds, self.grace_seconds, self.worker = drain_seconds, grace_seconds, worker
        self.turns = [0] if turns is None else turns
        self.drained_at: float | None = None  # on the loop's clock
        self._signals: list[int] = []  # that the loop has not seen yet
        self._terminated = False

    # Signals

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take note of signals; none is raised again after the end, for which SIGTERM is the ordinary one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = (signal.SIGTERM, signal.SIGINT, RETIRE if self.worker else signal.SIGHUP)
        before = {one: signal.signal(one, self.handle_exit) for one in taken}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal, for the loop to act on."""
        if not self.started:
            if sig != signal.SIGHUP:
                os._exit(0)  # nobody is served yet
            return
        again = sig == signal.SIGTERM and self._terminated
        if again and self.worker:
            return  # a service manager may tell the workers and the supervisor, which tells them too
        if again or sig == signal.SIGINT:
            stuck = threading.Timer(STUCK_SECONDS, os._exit, (0,))
            stuck.daemon = True
            stuck.start()
        self._terminated = self._terminated or sig == signal.SIGTERM
        self._signals.append(sig)

    def _act(self, sig: int) -> None:
        if sig == signal.SIGHUP:
            log.warning("SIGHUP: a rolling restart needs two workers or more (LOSSMETER_WORKERS); nothing is done")
        elif sig == RETIRE:
            self._drain("another takes over")
            for listener in self._close_listeners():
                listener.close()  # the others have it too, and let in whoever waits there
        elif sig == signal.SIGTERM and not self.running.draining:
            self.running.draining = True
            self._drain("stopping")
        else:
            log.info("ends at once")
            self.should_exit = self.force_exit = True

    def _drain(self, why: str) -> None:
        if self.drained_at is None:
            log.info("%s: readiness is refused, all else answered for %g s", why, self.drain_seconds)
            self.drained_at = asyncio.get_running_loop().time() + self.drain_seconds
            self.state.ending = True

    # Turns of the loop

    async def on_tick(self, counter: int) -> bool:
        """Called about ten times a second; whether it is time to stop."""
        self.turns[0] += 1
        while self._signals:
            self._act(self._signals.pop(0))
        if await super().on_tick(counter):
            return True
        return self.drained_at is not None and asyncio.get_running_loop().time() >= self.drained_at

    async def _done(self, seconds: float) -> bool:
        """Wait until nobody is connected, at most `seconds`; whether that is so, or nobody is waited for any more."""
        loop, counter = asyncio.get_running_loop(), 0
        ends = loop.time() + seconds
        while self.server_state.connections or self.server_state.tasks:
            await self.on_tick(counter)
            if self.force_exit:
                return True
            if loop.time() >= ends:
                return False
            counter += 1
            await asyncio.sleep(min(0.1, seconds / 4))
        return True

    # The end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in, end what runs, and stop, in at most `grace_seconds`."""
        if not self.force_exit:
            last_call = min(LAST_CALL_SECONDS, self.grace_seconds / 4) if self.drained_at is not None else 0.0
            await self._let_last_ones_in()
            await self._done(last_call)
            for connection in list(self.server_state.connections):
                connection.shutdown()
            giving_up = min(GIVING_UP_SECONDS, self.grace_seconds / 4)
            if not await self._done(self.grace_seconds - last_call - giving_up):
                await self._give_up(giving_up)
        await self.lifespan.shutdown()

    async def _let_last_ones_in(self) -> None:
        """Close the listeners, having accepted whoever waits there."""
        loop, accepted = asyncio.get_running_loop(), list[socket.socket]()
        for listener in self._close_listeners():
            accepted += waiting(listener)
            listener.close()
        for connection in accepted:
            await loop.connect_accepted_socket(self._connect, connection)

    def _close_listeners(self) -> list[socket.socket]:
        """Have the loop listen no more. What it has listened to, to be closed."""
        copies = [socket.socket(fileno=os.dup(one.fileno())) for server in self.servers for one in server.sockets]
        for server in self.servers:
            server.close()
        self.servers = []
        return copies

    def _connect(self) -> Any:
        protocol: Any = self.config.http_protocol_class
        return protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def _give_up(self, seconds: float) -> None:
        state = self.server_state
        log.error("GRACE_SECONDS (%g s) are over: gives up %d requests", self.grace_seconds, len(state.tasks))
        self.running.giving_up = True  # what is computed ends by itself
        if not await self._done(seconds / 2):
            for task in state.tasks:
                task.cancel(GIVEN_UP)
            if not await self._done(max(seconds / 2, 0.2)):
                log.error("cuts %d connections", len(state.connections))
