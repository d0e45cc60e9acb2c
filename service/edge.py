"""The outermost layers: request id, HEAD, one log line and one count a request; the last resort for errors."""

import asyncio
import logging
import os
import secrets
import traceback
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Protocol

from core.errors import CoreError
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.asked import Asked
from service.body import header
from service.problems import ClientGone, Problem, from_core, respond, unavailable
from service.telemetry import Metrics, Record

log = logging.getLogger("lossmeter.service")

GIVEN_UP = "given up"  # with this a server cancels the task of a request, to be answered with 503
_OF_ALL = ((b"x-content-type-options", b"nosniff"),)
_OF_POST = (*_OF_ALL, (b"cache-control", b"no-store"))

_PROCESS, _numbers = [secrets.token_hex(12)], count()  # together never twice; a uuid would cost 2 us a request
os.register_at_fork(after_in_child=lambda: _PROCESS.__setitem__(0, secrets.token_hex(12)))


def request_id(sent: str | None) -> str:
    """What the client sent, if it is at most 128 visible ASCII characters, else a new one."""
    if sent and len(sent) <= 128 and sent.isascii() and sent.isprintable() and " " not in sent:
        return sent
    return f"{_PROCESS[0]}{next(_numbers):08x}"


def of_all(record: Record) -> list[tuple[bytes, bytes]]:
    """The headers that every answer has."""
    added = _OF_POST if record.method == "POST" else _OF_ALL
    return [(b"x-request-id", record.request_id.encode("ascii")), *added]


class Edge:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self.app(scope, receive, _in_one_line(send))
            return
        record = Record(request_id(header(scope, b"x-request-id")), scope["method"], scope["path"])
        record.started = scope.get("lossmeter.began", record.started)
        head = scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}
        scope["lossmeter.record"] = record

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message["headers"], *of_all(record)]
            else:
                if head:
                    message = {**message, "body": b""}
                record.sent += len(message.get("body", b""))
            await send(message)

        self.metrics.begin()
        try:
            await self.app(scope, receive, send_on)
        except ClientGone as gone:
            forget(gone)
            record.status = 499  # no answer is sent; the log and the metrics show it as nginx does
        except asyncio.CancelledError as error:
            await _answer_given_up(error, scope, receive, send_on)
        except Problem as problem:  # of the middleware; the app answers its own
            forget(problem)
            await refusal(problem, record)(scope, receive, send_on)
        except Exception:
            await answer_failure(scope, receive, send_on)
        finally:
            self.metrics.end(record, scope)


class LastResort:
    """ASGI middleware around the app and inside of Cors, so that a page of another origin can read a failure too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 500 where the app raises."""
        try:
            await self.app(scope, receive, send)
        except ClientGone:
            raise
        except Exception:
            if scope["type"] != "http":
                raise
            await answer_failure(scope, receive, send)


class NamedRoute(Route):
    """A route that the scope of a request names, as it does FastAPI's own."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for this route, and what its scope gets then."""
        match, more = super().matches(scope)
        return match, {**more, "route": self}


class Direct:
    """An endpoint that needs no router, and what answers for it where it raises a Problem or CoreError."""

    def __init__(self, endpoint: ASGIApp, parameters: dict[str, str], route: str) -> None:
        self.endpoint, self.parameters, self.route = endpoint, parameters, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["path_params"], scope["route"] = self.parameters, self.route
        try:
            await self.endpoint(scope, receive, send)
        except (Problem, CoreError) as error:
            record: Record = scope["lossmeter.record"]
            problem = error if isinstance(error, Problem) else from_core(error)
            forget(error)
            await refusal(problem, record)(scope, receive, send)


class Endpoint(Protocol):
    """An app of which several things can be asked."""

    @property
    def asked(self) -> Mapping[str, Asked[Any]]:
        """Those, by name."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""


def direct(
    endpoints: Mapping[str, Endpoint],
    metrics: Metrics,
    guard: Callable[[ASGIApp], ASGIApp] | None,
) -> dict[str, ASGIApp]:
    """The paths that carry the work, each with its whole app: FastAPI's layers and Starlette's router take 0.1 ms."""
    found: dict[str, ASGIApp] = {}
    for template, endpoint in endpoints.items():
        for name in endpoint.asked:
            one = Direct(endpoint, {"name": name}, template)
            found[template.format(name=name)] = Edge(guard(one) if guard else one, metrics)
    return found


def forget(error: BaseException | None) -> None:
    """Let what `error` was raised in have no values any more: a body would wait for the garbage collector there."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def refusal(problem: Problem, record: Record) -> Response:
    """The answer to a request that is rejected, of which the metrics, the log and the trace know why."""
    record.reason = problem.slug
    return respond(problem, record.request_id, record.path)


async def answer_failure(scope: Scope, receive: Receive, send: Send) -> None:
    """Log the exception that is being handled, and answer with 500 if no answer has begun."""
    record: Record = scope["lossmeter.record"]
    log.exception("request %s failed", record.request_id)
    if record.status == 0:
        failed = Problem(500, "the service failed; its log has the reason under this request_id")
        await respond(failed, record.request_id, record.path)(scope, receive, send)


async def _answer_given_up(error: asyncio.CancelledError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with 503 if a server has given the request up and no answer has begun. Else raise `error` again."""
    record: Record = scope["lossmeter.record"]
    if GIVEN_UP not in error.args or record.status:
        raise error
    stopping = unavailable("the service stops before this is done")
    await respond(stopping, record.request_id, record.path)(scope, receive, send)


def _in_one_line(send: Send) -> Send:
    """Of the traceback that a failed start answers with, the last line: the reason."""

    async def send_on(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            reason = message["message"].strip().rpartition("\n")[2]
            message = {**message, "message": f"cannot start: {reason.partition(': ')[2] or reason}"}
        await send(message)

    return send_on
