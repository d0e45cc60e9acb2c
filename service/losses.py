"""The one path from a body to an answer, whatever carries it: /v1 and /v2 differ only in their Exchange.

The work is done off the event loop: decompress, decode, validate, check, compute, reduce, encode, compress.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from core.check import prepare
from core.declare import Measure
from core.engine import Engine
from core.reduction import Result, reduce
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service import schemas
from service.body import read_body
from service.codings import compress, content_coding, decoded
from service.problems import unavailable
from service.settings import Settings
from service.statistics import Spans, Statistics
from service.telemetry import Record


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back; `coding` is the content coding that it is to be compressed in, "" for none."""

    content: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    coding: str = ""


class Reply(Protocol):
    """How the answer to one request is written."""

    def require_room(self, samples: tuple[int, ...], *, per_sample: bool) -> None:
        """Raise Problem if an answer for `samples` cannot be written, so that it is not computed."""

    def encode(self, result: Result, *, per_sample: bool) -> Answer:
        """The answer. Raises Problem where it would be too long."""


class Exchange(Protocol):
    """How the body of one request is read: a format of service.wire, bound to the request."""

    @property
    def limit(self) -> tuple[int, str]:
        """The most bytes that the body may have, decompressed too, and that limit's name."""

    def decode(self, body: bytes | bytearray) -> tuple[dict[str, Any], Reply]:
        """The fields by name (arrays, options, choices), and how they want to be answered. Raises Problem or
        InvalidInput."""


@dataclass
class Running:
    """What exists between start and stop: None of it before the engine is ready."""

    engine: Engine | None = None
    workers: ThreadPoolExecutor | None = None

    def ready(self) -> tuple[Engine, ThreadPoolExecutor]:
        """Both. Raises Problem (503) before they are there."""
        if self.engine is None or self.workers is None:
            raise unavailable("the service is starting")
        return self.engine, self.workers


class Losses:
    """Computes the losses of requests, and counts them."""

    def __init__(self, measures: Mapping[str, Measure], running: Running, settings: Settings) -> None:
        self.measures, self.running, self.settings = measures, running, settings
        self.request_models = {name: schemas.request_model(measure) for name, measure in measures.items()}
        self.statistics = {name: Statistics() for name in measures}

    async def answer(self, scope: Scope, receive: Receive, send: Send, measure: Measure, exchange: Exchange) -> None:
        """Answer one request. Raises Problem or CoreError."""
        answer, timing = await self._answer(scope, receive, measure, exchange)  # the body is gone before it is sent
        headers = {**answer.headers, "Server-Timing": timing}
        if answer.coding:
            headers |= {"Content-Encoding": answer.coding, "Vary": "Accept-Encoding"}
        await Response(answer.content, media_type=answer.media_type, headers=headers)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, measure: Measure, exchange: Exchange) -> tuple[Answer, str]:
        record: Record = scope["lossmeter.record"]
        statistics = self.statistics[measure.name]
        with statistics.failure_counted():
            coding = content_coding(scope)
            engine, workers = self.running.ready()
            body = await read_body(scope, receive, *exchange.limit)
            spans = Spans()
            work = (measure, engine, exchange, body, coding, spans)
            answer, samples = await asyncio.get_running_loop().run_in_executor(workers, self._compute, *work)
        record.samples = samples
        statistics.succeeded(spans, samples)
        return answer, spans.server_timing()

    def _compute(
        self, measure: Measure, engine: Engine, exchange: Exchange, body: bytes | bytearray, coding: str, spans: Spans
    ) -> tuple[Answer, int]:
        """The answer, and of how many samples."""
        spans.end("queue")
        fields, reply = exchange.decode(decoded(body, coding, *exchange.limit))
        given = schemas.validate(self.request_models[measure.name], measure, fields)
        per_sample, dtype = given.pop("per_sample", True), given.pop("dtype", "float32")
        spans.end("decode")
        batch = prepare(measure, given, dtype=dtype, max_elements=self.settings.max_elements)
        reply.require_room(batch.samples, per_sample=per_sample)
        result = reduce(batch, engine.per_sample(batch))
        spans.end("compute")
        answer = reply.encode(result, per_sample=per_sample)
        if answer.coding:
            answer = replace(answer, content=compress(answer.content, answer.coding))
        spans.end("encode")
        return answer, int(result.totals["count"] + result.totals["ignored"])
