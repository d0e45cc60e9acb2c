"""/v1: POST /v1/losses/{name}, in JSON or safetensors, and what GET /v1/info answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from core.declare import Measure
from core.engine import Engine
from core.measures import find
from core.reduction import Result
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from service.body import body_limit
from service.codings import MOST_MEMBERS, PAYS, ZSTD_WINDOW_LOG, accepted
from service.deadlines import SLOWEST
from service.exchange import Answer
from service.loss import Loss
from service.losses import Losses
from service.negotiation import JSON, sent_type, wanted_type
from service.parser import CHUNK_BYTES, MAX_CHUNKS, MAX_FRAMING_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES
from service.settings import Settings
from service.telemetry import Record
from service.wire import json, safetensors
from service.wire.reader import MOST_KEYS
from service.wire.tensors import MOST_AXES
from service.wire.writer import require_room

CHEAPEST = ("zstd", "gzip", "deflate")  # the order in which codings cost time


def coding(scope: Scope) -> str:
    """What a long JSON answer is compressed in, "" for nothing."""
    taken = accepted(scope)
    return next((name for name in CHEAPEST if name in taken), "")


class Native:
    """The ASGI endpoint of every loss on /v1."""

    def __init__(self, losses: Losses, measures: Mapping[str, Measure]) -> None:
        self.losses, self.measures = losses, measures
        self.asked = {name: losses.asked[name] for name in measures}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Problem or CoreError."""
        loss = self.asked[find(scope["path_params"]["name"], self.measures).name]
        record: Record = scope["lossmeter.record"]
        record.measure = loss.name
        await self.losses.answer(scope, receive, send, loss, self.exchange(scope, loss))

    def exchange(self, scope: Scope, asked: Loss) -> "LossExchange":
        """How the body of a request is read. Raises Problem."""
        settings = self.losses.settings
        return LossExchange(settings, sent_type(scope), wanted_type(scope), coding(scope), asked.measure)


@dataclass(slots=True)
class NativeExchange:
    """The body has one media type and the answer another, each JSON or a binary one."""

    settings: Settings
    sent: str
    wanted: str
    coding: str  # what a long JSON answer is compressed in
    seconds: ClassVar[float] = 0.0  # the header says it

    @property
    def is_json(self) -> bool:
        """See Exchange."""
        return self.sent == JSON

    @property
    def limit(self) -> tuple[int, str]:
        """See Exchange."""
        return body_limit(self.settings, json=self.is_json)

    @property
    def tensors_at(self) -> int:
        """See Exchange. After the header of safetensors, whose length stands in the body, and is a multiple of 8."""
        return 0

    def json(self, content: bytes) -> Answer:
        """The answer that JSON is, compressed where that pays."""
        return Answer(content, JSON, coding=self.coding if len(content) >= PAYS else "")


@dataclass(slots=True)
class LossExchange(NativeExchange):
    """JSON or safetensors, each way."""

    measure: Measure

    def decode(self, body: bytes | bytearray) -> tuple[dict[str, Any], "LossExchange"]:
        """See Exchange."""
        form = json if self.is_json else safetensors
        return form.decode(body, self.measure), self

    def require_room(self, samples: tuple[int, ...], *, per_sample: bool) -> None:
        """See LossReply."""
        if per_sample and self.wanted == JSON:
            require_room([samples] * len(self.measure.outputs), self.settings.max_json_bytes)

    def encode(self, result: Result, *, per_sample: bool) -> Answer:
        """See LossReply."""
        if self.wanted != JSON:
            return Answer(safetensors.encode(result, per_sample=per_sample), self.wanted)
        return self.json(json.encode(result, per_sample=per_sample, limit=self.settings.max_json_bytes))


class Limits(BaseModel):
    """The limits in force in each worker, in bytes and seconds where their names say so."""

    max_body_bytes: int
    max_json_bytes: int
    max_inflight_bytes: int
    max_elements: int
    device_memory_bytes: int  # 0: none
    max_json_depth: int = MOST_AXES
    max_json_keys: int = MOST_KEYS
    max_head_bytes: int = MAX_HEAD_BYTES
    max_headers: int = MAX_HEADERS
    max_target_bytes: int = MAX_TARGET_BYTES
    max_small_chunks: int = MAX_CHUNKS  # of less than small_chunk_bytes on average
    small_chunk_bytes: int = CHUNK_BYTES
    max_chunk_framing_bytes: int = MAX_FRAMING_BYTES
    max_safetensors_header_bytes: int = safetensors.MOST_HEADER_BYTES
    max_compressed_members: int = MOST_MEMBERS
    max_zstd_window_bytes: int = 2**ZSTD_WINDOW_LOG
    min_bytes_per_second: int = SLOWEST
    queue_seconds: float
    head_seconds: float
    body_seconds: float
    send_seconds: float
    idle_seconds: int


class Info(BaseModel):
    """What this service is and runs on."""

    name: str
    version: str
    limits: Limits
    device: str
    execution_provider: str
    workers: int
    threads: int
    onnxruntime: str


def info(engine: Engine, settings: Settings, version: str) -> Info:
    """What GET /v1/info answers."""
    limits = Limits(**{name: getattr(settings, name) for name in Limits.model_fields if hasattr(settings, name)})
    return Info(
        name="lossmeter",
        version=version,
        limits=limits,
        device=engine.sessions.device,
        execution_provider=engine.sessions.provider,
        workers=settings.workers,
        threads=engine.threads,
        onnxruntime=engine.sessions.onnxruntime_version,
    )
