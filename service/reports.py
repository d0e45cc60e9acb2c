"""POST /v1/reports/{task} and /v1/reports/merge, on the way that losses go."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.reports.declare import Task
from core.reports.tasks import find
from starlette.types import Receive, Scope, Send

from service.exchange import Answer
from service.losses import Losses
from service.merge import NAME, Merge
from service.native import NativeExchange, coding
from service.negotiation import BYTES, JSON, SAFETENSORS, sent_type, wanted_type
from service.problems import Problem
from service.report import Report
from service.telemetry import Record
from service.wire import json, reports, safetensors, states
from service.wire.writer import require_room


class Reports:
    """The ASGI endpoint of the reports on every task."""

    def __init__(self, losses: Losses, tasks: Mapping[str, Task]) -> None:
        self.losses, self.tasks = losses, tasks
        self.asked = {name: Report(task, losses.settings.max_elements) for name, task in tasks.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Problem or CoreError."""
        report = self.asked[find(scope["path_params"]["name"], self.tasks).name]
        record: Record = scope["lossmeter.record"]
        record.measure = report.name
        exchange = ReportExchange(
            self.losses.settings, sent_type(scope), wanted_type(scope), coding(scope), report.task
        )
        await self.losses.answer(scope, receive, send, report, exchange)


class Merges:
    """The ASGI endpoint of merges."""

    def __init__(self, losses: Losses, tasks: Mapping[str, Task]) -> None:
        self.losses, self.asked = losses, {NAME: Merge(tasks)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Problem or CoreError."""
        record: Record = scope["lossmeter.record"]
        record.measure = NAME
        sent = sent_type(scope)
        if sent == SAFETENSORS:
            raise Problem(415, f"the Content-Type is '{sent}', but states come as {JSON} or {BYTES}")
        exchange = MergeExchange(self.losses.settings, sent, wanted_type(scope), coding(scope))
        await self.losses.answer(scope, receive, send, self.asked[NAME], exchange)


@dataclass(slots=True)
class DocumentExchange(NativeExchange):
    """What the answers of reports and merges have in common: JSON, safetensors, or the state alone."""

    @property
    def state_alone(self) -> bool:
        """See ReportReply."""
        return self.wanted == BYTES

    def require_room(self, shapes: list[tuple[int, ...]]) -> None:
        """See ReportReply."""
        if self.wanted == JSON:
            require_room(shapes, self.settings.max_json_bytes, reports.ADVICE)

    def encode(self, found: reports.Found) -> Answer:
        """See ReportReply."""
        if self.wanted == BYTES:
            return Answer(found.state or b"", BYTES)
        if self.wanted == SAFETENSORS:
            return Answer(reports.to_safetensors(found), SAFETENSORS)
        return self.json(reports.to_json(found, self.settings.max_json_bytes))


@dataclass(slots=True)
class ReportExchange(DocumentExchange):
    """The fields of a report come in JSON or safetensors."""

    task: Task

    def decode(self, body: bytes | bytearray) -> tuple[dict[str, Any], "ReportExchange"]:
        """See Exchange."""
        form = json if self.is_json else safetensors
        return form.decode(body, self.task.request, self.task.lists), self


@dataclass(slots=True)
class MergeExchange(DocumentExchange):
    """States come in JSON or as they are."""

    def decode(self, body: bytes | bytearray) -> tuple[dict[str, Any], "MergeExchange"]:
        """See Exchange."""
        return (states.of_json(body) if self.is_json else states.of_bytes(body)), self
