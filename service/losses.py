"""The one path from a body to an answer, whatever carries it: /v1 and /v2 differ only in their Exchange.

The work is done off the event loop, but where it is less than the way to another thread and back.
"""

import asyncio
import logging
from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any

from core.declare import Measure
from core.engine import Engine
from core.errors import Cancelled
from starlette.types import Receive, Scope, Send

from service.admission import Admission, Lease
from service.asked import Asked
from service.body import read_body
from service.codings import content_coding
from service.exchange import Answer, Exchange
from service.loss import Loss
from service.memory import LARGE, discard
from service.patience import Patience
from service.problems import deadline_exceeded, unavailable
from service.running import Running
from service.settings import Settings
from service.statistics import Spans, Statistics
from service.telemetry import Record
from service.work import INLINE_BYTES, INLINE_ELEMENTS, Work

log = logging.getLogger("lossmeter.service")

FAILED = "lossmeter.failed"  # in the scope of a request that was to be answered at once: what it was refused with

MOST_INLINE, TURN_NS = 32, 5 * 10**6  # requests in one turn of the loop, and its time, so that probes are asked


class Losses:
    """Computes what requests ask for, and counts them. `asked` are the measures that can be, by name."""

    def __init__(
        self,
        measures: Mapping[str, Measure],
        running: Running,
        settings: Settings,
        statistics: Mapping[str, Statistics],
        admission: Admission,
    ) -> None:
        self.measures, self.running, self.settings, self.statistics = measures, running, settings, statistics
        self.admission = admission
        self._inline = self._turn_began = 0  # requests that the loop has read itself in this turn; when that began
        self.asked = {name: Loss(measure, settings.max_elements) for name, measure in measures.items()}

    async def answer(
        self, scope: Scope, receive: Receive, send: Send, asked: Asked[Any], exchange: Exchange[Any]
    ) -> None:
        """Answer one request. Raises Problem, CoreError or ClientGone."""
        with Lease(self.admission) as lease:
            answer, timing = await self._answer(scope, receive, asked, exchange, lease)
            if lease.bytes > INLINE_BYTES:
                lease.become(len(answer.content))  # the body is gone before it is sent
            headers = answer.headers_after(timing)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer.content})
        if len(answer.content) > LARGE and "lossmeter.cycle" in scope:  # which has sent it all, where others may not
            await asyncio.to_thread(discard, answer.content)

    async def _answer(
        self, scope: Scope, receive: Receive, asked: Asked[Any], exchange: Exchange[Any], lease: Lease
    ) -> tuple[Answer, str]:
        record: Record = scope["lossmeter.record"]
        statistics = self.statistics[asked.name]
        with statistics.failure_counted():
            coding = content_coding(scope)
            engine, workers = self.running.ready()
            patience = Patience(scope, record.started, self.running)
            if patience.deadline is not None:
                patience.require()
            work = self._work(asked, engine, exchange, coding, lease, patience)
            try:
                work.body = await self._body(scope, receive, work)
                self._began(work, record)
                if FAILED in scope:
                    raise scope[FAILED]
                if len(work.body) > work.inline or coding:
                    if len(work.body) <= work.inline:  # what it unpacks to may be much
                        self.admission.require_turn(engine.threads)
                    kind = (asked, exchange.is_json)
                    answer = await self.admission.run(workers, kind, len(work.body), work.whole)
                elif (elements := await self._prepared(work)) > INLINE_ELEMENTS:
                    self.admission.require_turn(engine.threads)
                    answer = await self.admission.run(workers, (asked, "elements"), elements, work.later)
                else:
                    answer = work.finish()
            except Cancelled:
                raise patience.reason() from None
            except MemoryError:
                log.error("request %s: there is not enough memory", record.request_id)
                raise unavailable("there is not enough memory for the batch now") from None
            finally:
                work.forget()
        return answer, self._ended(work, record)

    def at_once(
        self, scope: Scope, record: Record, asked: Asked[Any], exchange: Exchange[Any], body: bytes
    ) -> tuple[Answer, str] | None:
        """What `_answer` has for a small body that is here whole, in no coding and with no deadline; None where the
        loop is not to do the work now. Raises what that raises; the metrics know nothing of it then."""
        engine, _ = self.running.ready()
        with Lease(self.admission) as lease:
            patience = Patience(scope, record.started, self.running)
            work = self._work(asked, engine, exchange, "", lease, patience)
            if len(body) > min(work.inline, work.limit[0]) or self._turn_is_full():
                return None
            self._count_inline()
            work.reserve(len(body))
            work.body = body
            self._began(work, record)
            if work.prepare() > INLINE_ELEMENTS:
                self.admission.require_turn(engine.threads)  # what has none is not prepared again
                return None
            answer = work.finish()
        return answer, self._ended(work, record)

    def _work(
        self,
        asked: Asked[Any],
        engine: Engine,
        exchange: Exchange[Any],
        coding: str,
        lease: Lease,
        patience: Patience,
    ) -> Work:
        return Work(self.admission, asked, engine, exchange, coding, lease, patience)

    @staticmethod
    def _began(work: Work, record: Record) -> None:
        """The body is there."""
        record.received = len(work.body)
        record.spans = work.spans = Spans()

    def _ended(self, work: Work, record: Record) -> str:
        """Count an answer that is ready. Returns what the header Server-Timing says."""
        record.samples = work.samples
        self.statistics[work.asked.name].succeeded(work.spans, record)
        return work.spans.server_timing()

    async def _prepared(self, work: Work) -> int:
        """See Work.prepare; in a later turn of the loop, where this one has done much."""
        while self._turn_is_full():
            await asyncio.sleep(0)
        self._count_inline()
        return work.prepare()

    def _count_inline(self) -> None:
        """The loop does the work of one more request in this turn."""
        if not self._inline:
            asyncio.get_running_loop().call_soon(self._next_turn)
            self._turn_began = perf_counter_ns()
        self._inline += 1

    def _turn_is_full(self) -> bool:
        return self._inline >= MOST_INLINE or (self._inline > 0 and perf_counter_ns() - self._turn_began > TURN_NS)

    def _next_turn(self) -> None:
        self._inline = 0

    @staticmethod
    async def _body(scope: Scope, receive: Receive, work: Work) -> bytes | bytearray:
        reading = read_body(scope, receive, *work.limit, reserve=work.reserve, aligned=work.exchange.tensors_at)
        if work.patience.deadline is None:
            return await reading
        try:
            return await asyncio.wait_for(reading, work.patience.seconds_left)
        except TimeoutError:
            raise deadline_exceeded() from None
