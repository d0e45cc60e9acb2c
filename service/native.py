"""POST /v1/losses/{name}: one batch in, its loss out. The work is done off the event loop."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from core.check import prepare
from core.declare import Measure
from core.engine import Engine
from core.measures import find
from core.reduction import reduce
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service import schemas
from service.body import header, read_body
from service.problems import Problem, unavailable
from service.settings import Settings
from service.telemetry import Record
from service.wire import json


@dataclass
class Running:
    """What exists between start and stop: None of it before the engine is ready."""

    engine: Engine | None = None
    workers: ThreadPoolExecutor | None = None


class Losses:
    """The ASGI endpoint of every loss."""

    def __init__(self, measures: Mapping[str, Measure], running: Running, settings: Settings) -> None:
        self.measures, self.running, self.settings = measures, running, settings
        self.models = {name: schemas.request_model(measure) for name, measure in measures.items()}
        limits = {"MAX_JSON_BYTES": settings.max_json_bytes, "MAX_BODY_BYTES": settings.max_body_bytes}
        self.limit = min((int(limit), name) for name, limit in limits.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Problem or CoreError."""
        measure = find(scope["path_params"]["name"], self.measures)
        record: Record = scope["lossmeter.record"]
        record.measure = measure.name
        require_json(scope)
        engine, workers = self.running.engine, self.running.workers
        if engine is None or workers is None:
            raise unavailable("the service is starting")
        body = await read_body(scope, receive, *self.limit)
        loop = asyncio.get_running_loop()
        content, timing = await loop.run_in_executor(workers, self._answer, measure, engine, body, record)
        response = Response(content, media_type="application/json", headers={"Server-Timing": timing})
        await response(scope, receive, send)

    def _answer(self, measure: Measure, engine: Engine, body: bytearray, record: Record) -> tuple[bytes, str]:
        marks = [time.perf_counter()]
        fields = json.decode(body, measure)
        given = schemas.validate(self.models[measure.name], measure, fields)
        per_sample, dtype = given.pop("per_sample", True), given.pop("dtype", "float32")
        marks.append(time.perf_counter())
        batch = prepare(measure, given, dtype=dtype, max_elements=self.settings.max_elements)
        if per_sample:  # an answer that cannot be written is not computed
            json.require_room([batch.samples] * len(measure.outputs), self.settings.max_json_bytes)
        result = reduce(batch, engine.per_sample(batch))
        record.samples = int(result.totals["count"] + result.totals["ignored"])
        marks.append(time.perf_counter())
        content = json.encode(result, per_sample=per_sample, limit=self.settings.max_json_bytes)
        marks.append(time.perf_counter())
        spans = zip(("decode", "compute", "encode"), marks, marks[1:], strict=False)
        return content, ", ".join(f"{name};dur={(after - before) * 1e3:.3f}" for name, before, after in spans)


def require_json(scope: Scope) -> None:
    """Raise Problem (415) unless the body is said to be JSON in UTF-8."""
    sent = header(scope, b"content-type") or ""
    kind, *parameters = (part.strip().lower() for part in sent.split(";"))
    charsets = {word.removeprefix("charset=").strip('"') for word in parameters if word.startswith("charset=")}
    if kind != "application/json" or charsets - {"utf-8", "utf8"}:
        found = f"{sent[:80]!r}" if sent else "missing"
        raise Problem(415, f"the Content-Type is {found}, but must be application/json, in UTF-8")


class Limits(BaseModel):
    """The limits in force; those of bodies are bytes."""

    max_body_bytes: int
    max_json_bytes: int
    max_elements: int


class Info(BaseModel):
    """What this service is and runs on."""

    name: str
    version: str
    limits: Limits
    device: str
    execution_provider: str
    threads: int
    onnxruntime: str


def info(engine: Engine, settings: Settings, version: str) -> dict[str, Any]:
    """What GET /v1/info answers."""
    limits = Limits(**{name: getattr(settings, name) for name in Limits.model_fields})
    return Info(
        name="lossmeter",
        version=version,
        limits=limits,
        device=engine.device,
        execution_provider=engine.provider,
        threads=engine.threads,
        onnxruntime=engine.onnxruntime_version,
    ).model_dump()
