"""Small requests, answered as soon as they have been read: without a task, messages of ASGI and the layers of the app.

At 64 x 10 those take an eighth of the instructions. Whatever is unusual about a request is left to them, and so is
whatever is wrong with it: errors are answered, counted and logged there.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from core.errors import CoreError
from starlette.types import Scope

from service.asked import Asked
from service.body import header
from service.edge import of_all, request_id
from service.exchange import Exchange
from service.losses import FAILED, Losses
from service.problems import Problem
from service.telemetry import Metrics, Record

_UNUSUAL = frozenset((b"content-encoding", b"x-request-timeout"))  # headers


class Endpoint(Protocol):
    """Where losses are asked for."""

    @property
    def asked(self) -> Mapping[str, Asked[Any]]:
        """What can be asked for, by name."""

    def exchange(self, scope: Scope, asked: Any) -> Exchange[Any]:
        """How the body of a request is read. Raises Problem."""


class AtOnce:
    """What answers POST requests for losses to some endpoints, by the templates of their paths."""

    def __init__(self, losses: Losses, metrics: Metrics, endpoints: Mapping[str, Endpoint]) -> None:
        self.losses, self.metrics = losses, metrics
        self._paths = {
            template.format(name=name): (endpoint, asked, template)
            for template, endpoint in endpoints.items()
            for name, asked in endpoint.asked.items()
        }

    def __call__(self, scope: Scope, body: bytes) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
        """The headers and the content of the answer, which has status 200; None if the app is to answer."""
        found = self._paths.get(scope["path"])
        if found is None or scope["method"] != "POST" or not _UNUSUAL.isdisjoint(scope["lossmeter.headers"]):
            return None
        endpoint, asked, scope["route"] = found
        record = Record(request_id(header(scope, b"x-request-id")), "POST", scope["path"], measure=asked.name)
        try:
            answered = self.losses.at_once(scope, record, asked, endpoint.exchange(scope, asked), body)
        except (Problem, CoreError) as error:
            answered, scope[FAILED] = None, error
        except Exception:  # the app meets it too, and knows what to say
            answered = None
        if answered is None:
            scope["lossmeter.began"] = record.started
            return None
        answer, timing = answered
        record.status, record.sent = 200, len(answer.content)
        self.metrics.begin()
        self.metrics.end(record, scope)
        return [*answer.headers_after(timing), *of_all(record)], answer.content
