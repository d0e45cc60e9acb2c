"""create_app: the engine in the lifespan, the routes, one answer for every failure."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from core import __version__, cpus
from core.declare import Measure
from core.engine import Engine
from core.errors import CoreError, Fault, InvalidInput, mistyped
from core.measures import MEASURES
from core.reports.declare import Task
from core.reports.tasks import TASKS
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from service import catalogue, oip_models, openapi, openapi_parts, pages, report_catalogue
from service.admission import Admission
from service.at_once import AtOnce
from service.cors import allow_origins
from service.counters import Shared
from service.edge import Edge, Endpoint, LastResort, NamedRoute, direct, forget, refusal
from service.guard import Guard
from service.keys import Keys
from service.losses import Losses
from service.memory import give_back_when_idle
from service.merge import NAME as MERGE
from service.native import Info, Native, info
from service.oip import Inference
from service.problems import Problem, Raise, from_core
from service.reports import Merges, Reports
from service.running import Running
from service.settings import Settings
from service.telemetry import Metrics, Record
from service.tracing import Tracing


class Service(FastAPI):
    """FastAPI, with the OpenAPI document of `measures` and `tasks` beside that of its own routes."""

    measures: Mapping[str, Measure]
    tasks: Mapping[str, Task]
    direct: Mapping[str, ASGIApp]  # apps by path, of POST requests
    at_once: AtOnce | None  # what answers small requests to those paths; None where their layers do more
    admission: Admission
    running: Running
    settings: Settings
    refuse: Callable[[Problem], ASGIApp]  # an app that answers so to what is no request
    guarded: bool  # by API keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        app = self.direct.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (app or super().__call__)(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(
                self, self.measures.values(), self.tasks.values(), guarded=self.guarded
            )
        return self.openapi_schema


def create_app(
    settings: Settings,
    measures: Mapping[str, Measure] = MEASURES,
    tasks: Mapping[str, Task] = TASKS,
    shared: Shared | None = None,
) -> Service:
    """The service as an ASGI app; its lifespan loads and warms the graphs, and fails with a CoreError.

    The `measures` are losses on /v1, and models on /v2 as the columns of `tasks` are. `shared` is where it counts if it
    is one of several workers.
    """
    running, models = Running(), {**measures, **{name: task.columns for name, task in tasks.items()}}
    metrics = Metrics([*models, MERGE], shared)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        metrics.tracing = Tracing() if settings.traces else None
        threads = settings.threads or max(1, cpus.threads() // settings.workers)
        # Not on the loop, which takes signals meanwhile.
        memory, spare = settings.device_memory_bytes, settings.device_full == "cpu"
        make = partial(Engine, device=settings.device, threads=threads, memory_bytes=memory, spare=spare)
        engine = await asyncio.to_thread(make, models.values())
        workers = ThreadPoolExecutor(engine.threads, "request")
        running.engine, running.workers = engine, workers
        found = engine.sessions
        metrics.build = {"version": __version__, "onnxruntime": found.onnxruntime_version, "device": found.device}
        metrics.ready = 1
        try:
            if settings.docs:
                app.openapi()  # made once, not while a request waits for it
            trimming = asyncio.create_task(give_back_when_idle(metrics))
            try:
                yield
            finally:
                trimming.cancel()
        finally:
            metrics.ready = 0
            running.engine = running.workers = None
            workers.shutdown(wait=False, cancel_futures=True)  # what they still do, nobody waits for
            engine.close()
            metrics.log.flush()
            if metrics.tracing is not None:
                await asyncio.to_thread(metrics.tracing.stop)

    app = Service(
        title="Lossmeter",
        version=__version__,
        summary="PyTorch's losses and scikit-learn's metrics of batches of predictions, from exported ONNX graphs.",
        description=openapi.DESCRIPTION.strip(),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        openapi_url="/openapi.json" if settings.docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # they have the query
    )
    _answer_failures(app)
    catalogue.add_routes(app, measures, running)
    report_catalogue.add_routes(app, tasks)
    _add_operations(app, settings, running, metrics)
    app.admission = Admission(settings, metrics)
    losses = Losses(models, running, settings, metrics.statistics, app.admission)
    oip_models.add_routes(app, losses)
    native, inference = Native(losses, measures), Inference(losses)
    endpoints: dict[str, Native | Inference] = {"/v1/losses/{name}": native, "/v2/models/{name}/infer": inference}
    apart: dict[str, Endpoint] = {
        "/v1/reports/merge": Merges(losses, tasks),
        "/v1/reports/{name}": Reports(losses, tasks),
    }
    every: dict[str, Endpoint] = {**endpoints, "/v2/models/{name}/versions/{version}/infer": inference, **apart}
    for path, endpoint in every.items():
        app.router.routes.append(NamedRoute(path, endpoint, methods=["POST"], include_in_schema=False))
    if settings.docs:
        app.router.routes.extend(pages.routes())
    app.add_middleware(LastResort)  # the innermost; each further one is around those before it
    keys = [*settings.api_keys, *settings.api_keys_file]
    guard = partial(Guard, keys=Keys(keys)) if keys else None
    if guard:  # inside of Cors, so that preflights need no key and a page can read what it is refused with
        app.add_middleware(guard)
    allow_origins(app, settings)
    app.add_middleware(Edge, metrics=metrics)
    app.direct, app.at_once = {}, None
    if not settings.cors_origins:
        app.direct = direct({**endpoints, **apart}, metrics, guard)
        app.at_once = None if guard else AtOnce(losses, metrics, endpoints)
    app.measures, app.tasks, app.running, app.settings, app.guarded = measures, tasks, running, settings, bool(keys)
    app.refuse = lambda problem: Edge(Raise(problem), metrics)
    return app


def _answer_failures(app: FastAPI) -> None:
    def answer(request: Request, problem: Problem) -> Response:
        record: Record = request.scope["lossmeter.record"]
        return refusal(problem, record)

    async def of_service(request: Request, error: Any) -> Response:
        forget(error)
        return answer(request, error)

    async def of_core(request: Request, error: Any) -> Response:
        forget(error)
        return answer(request, from_core(error))

    async def of_framework(request: Request, error: Any) -> Response:
        if error.status_code == 405:
            allowed = ", ".join(sorted(_methods(app, request)))
            detail = f"{request.method} is not a method of {request.url.path[:256]}: it takes {allowed}"
            return answer(request, Problem(405, detail, headers={"Allow": allowed}))
        if error.status_code == 404:
            return answer(request, Problem(404, f"there is nothing at {request.url.path[:256]}"))
        return answer(request, Problem(error.status_code, str(error.detail), headers=error.headers))

    async def of_validation(request: Request, error: Any) -> Response:
        # Only query parameters are left to the framework, and each is one of a few words.
        faults = [
            Fault(tuple(fault["loc"]), mistyped(fault["loc"][-1], fault["input"], fault["ctx"]["expected"]).detail)
            for fault in error.errors()
        ]
        return answer(request, from_core(InvalidInput(faults)))

    app.add_exception_handler(Problem, of_service)
    app.add_exception_handler(CoreError, of_core)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(RequestValidationError, of_validation)


def _methods(app: FastAPI, request: Request) -> set[str]:
    """The methods that some route has for the path of `request`."""
    found: set[str] = set()
    for route in app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return found | ({"HEAD"} if "GET" in found else set())


def _add_operations(app: FastAPI, settings: Settings, running: Running, metrics: Metrics) -> None:
    failures = openapi_parts.problems(500, 503)

    @app.get("/v1/info", tags=["operations"], responses=failures)
    async def show_info() -> Info:
        """Version, limits in force, device, threads."""
        return info(running.ready()[0], settings, __version__)

    @app.get("/livez", tags=["operations"], responses=failures)
    async def live() -> dict[str, str]:
        """Whether the process answers; not if its card has failed, which only a start anew helps."""
        running.live()
        return {"status": "live"}

    @app.get("/readyz", tags=["operations"], responses=failures)
    async def ready() -> dict[str, str]:
        """Whether the graphs are loaded and warmed, and the service is not stopping."""
        running.wanted()
        return {"status": "ready"}

    text = {"text/plain": {"schema": {"type": "string"}}}

    if not settings.metrics:
        return

    @app.get("/metrics", tags=["operations"], response_class=Response, responses={200: {"content": text}})
    async def show_metrics() -> Response:
        """Prometheus metrics, as text."""
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
