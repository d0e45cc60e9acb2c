"""POST /v2/models/{name}/infer: the Open Inference Protocol's request for a loss, or for the columns of a report.

Nothing on /v2 is compressed but what this answers, and that only for a client that names exactly one coding: Triton's
asyncio client asks for compression everywhere, and then cannot read it.
"""

from dataclasses import dataclass
from typing import Any

from core.declare import Measure
from core.reduction import Result
from starlette.types import Receive, Scope, Send

from service.body import body_limit, listed
from service.codings import accepted
from service.exchange import Answer
from service.loss import Loss
from service.losses import Losses
from service.negotiation import BYTES, INFERENCE_LENGTH, JSON, require_oip_type
from service.oip_models import find_model
from service.problems import too_large
from service.settings import Settings
from service.telemetry import Record
from service.wire import oip, oip_request

CODINGS = ("gzip", "deflate")  # of answers: those that the protocol has


class Inference:
    """The ASGI endpoint of every model on /v2."""

    def __init__(self, losses: Losses) -> None:
        self.losses, self.asked = losses, losses.asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Problem or CoreError."""
        model = self.asked[find_model(self.losses.measures, **scope["path_params"]).name]
        record: Record = scope["lossmeter.record"]
        record.measure = model.name
        await self.losses.answer(scope, receive, send, model, self.exchange(scope, model))

    def exchange(self, scope: Scope, asked: Loss) -> "OipExchange":
        """How the body of a request is read. Raises Problem."""
        require_oip_type(scope)
        return OipExchange(asked.measure, self.losses.settings, scope)


class OipExchange:
    """A JSON document and the bytes after it; how it wants to be answered stands in it."""

    def __init__(self, measure: Measure, settings: Settings, scope: Scope) -> None:
        self.measure, self.settings = measure, settings
        self.length = listed(scope, INFERENCE_LENGTH.lower().encode())
        names = accepted(scope)
        self.coding = names[0] if len(names) == 1 and names[0] in CODINGS else ""

    @property
    def is_json(self) -> bool:
        """See Exchange."""
        return self.length is None

    @property
    def limit(self) -> tuple[int, str]:
        """See Exchange."""
        return body_limit(self.settings, json=self.is_json)

    @property
    def tensors_at(self) -> int:
        """See Exchange. After the JSON, if the header that says its length is good."""
        sent = self.length or ""
        return int(sent) if sent.isascii() and sent.isdigit() and len(sent) < 20 else 0

    def decode(self, body: bytes | bytearray) -> tuple[dict[str, Any], "OipReply"]:
        """See Exchange."""
        length = oip_request.header_length(self.length, len(body))
        most, setting = body_limit(self.settings, json=True)
        if length > most:
            raise too_large(most, setting)
        request = oip_request.decode(body, length, self.measure)
        return request.fields, OipReply(
            self.measure, request.id, request.outputs, most, self.coding, request.timeout / 1e6
        )


@dataclass(slots=True)
class OipReply:
    """Each output as JSON or as bytes, of which JSON has at most `limit` bytes, within so many seconds."""

    measure: Measure
    id: str | None
    outputs: dict[str, bool]
    limit: int
    coding: str
    seconds: float

    def require_room(self, samples: tuple[int, ...], *, per_sample: bool) -> None:
        """See LossReply."""
        oip.require_output_room(self.outputs, self.measure, samples, self.limit)

    def encode(self, result: Result, *, per_sample: bool) -> Answer:
        """See LossReply."""
        content, length = oip.encode(self.id, self.outputs, self.measure, result, self.limit)
        headers = {} if length is None else {INFERENCE_LENGTH: str(length)}
        return Answer(content, JSON if length is None else BYTES, headers, self.coding)
