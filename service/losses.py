"""The one path from a body to an answer, whatever carries it: /v1 and /v2 differ only in their Exchange.

The work is done off the event loop, but where it is less than the way to another thread and back.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from core.check import Batch, prepare
from core.declare import Measure
from core.engine import Engine
from core.errors import Cancelled
from core.reduction import reduce
from starlette.types import Receive, Scope, Send

from service import schemas
from service.admission import Admission, Lease
from service.body import read_body
from service.codings import compress, content_coding, decoded
from service.exchange import Answer, Exchange, Reply
from service.memory import LARGE, discard
from service.patience import Patience
from service.problems import deadline_exceeded, unavailable
from service.running import Running
from service.settings import Settings
from service.statistics import Spans, Statistics
from service.telemetry import Record

log = logging.getLogger("lossmeter.service")

# Up to here the loop does it: 0.08 ms less of 0.15 at 64 x 10. JSON may be written so that it is slow to read: 64 KiB
# of it were found to take 20 ms.
INLINE_BYTES, INLINE_JSON, INLINE_ELEMENTS = 2**16, 2**14, 2**14
MOST_INLINE = 32  # requests in one turn of the loop, so that probes are asked in between


@dataclass(slots=True)
class Work:
    """One request's way from its body to its answer, in two steps, each on whatever thread."""

    losses: "Losses"
    measure: Measure
    engine: Engine
    exchange: Exchange
    coding: str
    lease: Lease
    patience: Patience
    limit: tuple[int, str] = field(init=False)  # the exchange's
    inline: int = field(init=False)  # the most bytes of a body that the event loop reads itself
    body: bytes | bytearray = b""
    content: bytes | bytearray = b""  # decompressed
    spans: Spans = field(init=False)  # from when the body is there
    reply: Reply = field(init=False)
    per_sample: bool = field(init=False)
    batch: Batch = field(init=False)
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        self.limit = self.exchange.limit
        self.inline = INLINE_JSON if self.exchange.is_json else INLINE_BYTES

    def reserve(self, count: int) -> None:
        """See that there is room for a body of `count` bytes, and that its turn comes soon if it is no small one."""
        if count > self.inline >= self.lease.bytes:
            self.losses.admission.require_turn(self.engine.threads)
        self.lease.hold(count)

    def prepare(self) -> int:
        """Decode, validate, check: how many elements are to be computed. Raises Problem, ClientGone or CoreError."""
        self.spans.end("queue")
        body, self.body = self.body, b""
        size, most = len(body), self.losses.admission.most_bytes
        self.content = decoded(
            body, self.coding, *self.limit, lambda unpacked: self.lease.hold(min(size + unpacked, most))
        )
        del body
        fields, self.reply = self.exchange.decode(self.content)
        if self.reply.seconds:
            self.patience.limit(self.reply.seconds)
            self.patience.require()
        given = schemas.validate(self.losses.request_models[self.measure.name], self.measure, fields)
        self.per_sample, dtype = given.pop("per_sample", True), given.pop("dtype", "float32")
        self.spans.end("decode")
        self.batch = prepare(self.measure, given, dtype=dtype, max_elements=self.losses.settings.max_elements)
        plan = self.batch.plan
        self.reply.require_room(plan.samples, per_sample=self.per_sample)
        self.lease.hold(plan.result_bytes * (2 if self.per_sample else 1))  # the answer is made beside them
        return max(array.size for array in self.batch.arrays.values())

    def finish(self) -> Answer:
        """Compute, reduce, encode, compress. Raises Problem, ClientGone or CoreError."""
        result = reduce(self.batch, self.engine.per_sample(self.batch, self.patience.over))
        if len(self.content) > LARGE:
            discard(self.content)  # before the answer takes as much again
        self.spans.end("compute")
        answer = self.reply.encode(result, per_sample=self.per_sample)
        if self.batch.plan.result_bytes > LARGE:
            for values in result.outputs.values():
                discard(values)
        if answer.coding:
            answer = replace(answer, content=compress(answer.content, answer.coding))
        self.spans.end("encode")
        self.rows = int(result.totals["count"] + result.totals["ignored"])
        return answer

    def later(self) -> Answer:
        """What `finish` does, once its turn has come."""
        self.patience.require()
        return self.finish()

    def whole(self) -> Answer:
        """The whole way, once its turn has come."""
        self.patience.require()
        try:
            self.prepare()
            return self.finish()
        finally:
            discard(self.content)
            self.forget()

    def forget(self) -> None:
        """Let go of what is large: an error that was raised here knows this object for as long as it is known."""
        self.body = self.content = b""
        with suppress(AttributeError):
            del self.batch


class Losses:
    """Computes the losses of requests, and counts them."""

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
        self._inline = 0  # requests that the loop has read itself in this turn
        self.request_models = {name: schemas.request_model(measure) for name, measure in measures.items()}

    async def answer(self, scope: Scope, receive: Receive, send: Send, measure: Measure, exchange: Exchange) -> None:
        """Answer one request. Raises Problem, CoreError or ClientGone."""
        with Lease(self.admission) as lease:
            answer, timing = await self._answer(scope, receive, measure, exchange, lease)
            if lease.bytes > INLINE_BYTES:
                lease.become(len(answer.content))  # the body is gone before it is sent
            headers = answer.headers_after(timing)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer.content})
        if len(answer.content) > LARGE and "lossmeter.cycle" in scope:  # which has sent it all, where others may not
            await asyncio.to_thread(discard, answer.content)

    async def _answer(
        self, scope: Scope, receive: Receive, measure: Measure, exchange: Exchange, lease: Lease
    ) -> tuple[Answer, str]:
        record: Record = scope["lossmeter.record"]
        statistics = self.statistics[measure.name]
        with statistics.failure_counted():
            coding = content_coding(scope)
            engine, workers = self.running.ready()
            patience = Patience(scope, record.started, self.running)
            if patience.deadline is not None:
                patience.require()
            work = Work(self, measure, engine, exchange, coding, lease, patience)
            try:
                work.body = await self._body(scope, receive, work)
                self._began(work, record)
                if len(work.body) > work.inline or coding:
                    if len(work.body) <= work.inline:  # what it unpacks to may be much
                        self.admission.require_turn(engine.threads)
                    kind = (measure.name, exchange.is_json)
                    answer = await self.admission.run(workers, kind, len(work.body), work.whole)
                elif (elements := await self._prepared(work)) > INLINE_ELEMENTS:
                    self.admission.require_turn(engine.threads)
                    answer = await self.admission.run(workers, (measure.name, "elements"), elements, work.later)
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
        self, scope: Scope, record: Record, measure: Measure, exchange: Exchange, body: bytes
    ) -> tuple[Answer, str] | None:
        """What `_answer` has for a small body that is here whole, in no coding and with no deadline; None where the
        loop is not to do the work now. Raises what that raises; the metrics know nothing of it then."""
        engine, _ = self.running.ready()
        with Lease(self.admission) as lease:
            work = Work(self, measure, engine, exchange, "", lease, Patience(scope, record.started, self.running))
            if len(body) > min(work.inline, work.limit[0]) or self._inline >= MOST_INLINE:
                return None
            self._count_inline()
            work.reserve(len(body))
            work.body = body
            self._began(work, record)
            if work.prepare() > INLINE_ELEMENTS:
                return None
            answer = work.finish()
        return answer, self._ended(work, record)

    @staticmethod
    def _began(work: Work, record: Record) -> None:
        """The body is there."""
        record.received = len(work.body)
        record.spans = work.spans = Spans()

    def _ended(self, work: Work, record: Record) -> str:
        """Count an answer that is ready. Returns what the header Server-Timing says."""
        record.samples = work.rows
        self.statistics[work.measure.name].succeeded(work.spans, record)
        return work.spans.server_timing()

    async def _prepared(self, work: Work) -> int:
        """See Work.prepare; in a later turn of the loop, where this one has done much."""
        while self._inline >= MOST_INLINE:
            await asyncio.sleep(0)
        self._count_inline()
        return work.prepare()

    def _count_inline(self) -> None:
        """The loop does the work of one more request in this turn."""
        if not self._inline:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._inline += 1

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
