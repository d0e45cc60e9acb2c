"""POST /v2/models/{name}/infer: the Open Inference Protocol's request for a loss.

Nothing on /v2 is compressed but what this answers, and that only for a client that names exactly one coding: Triton's
asyncio client asks for compression everywhere, and then cannot read it.
"""

from typing import Any

from core.declare import Measure
from core.reduction import Result
from starlette.types import Receive, Scope, Send

from service.body import header
from service.codings import accepted
from service.losses import Answer, Losses
from service.models import find_model
from service.native import body_limit
from service.negotiation import BYTES, JSON, require_oip_type
from service.problems import too_large
from service.settings import Settings
from service.telemetry import Record
from service.wire import oip, oip_request

LENGTH = "Inference-Header-Content-Length"
CODINGS = ("gzip", "deflate")  # of answers: those that the protocol has


class Inference:
    """The ASGI endpoint of every loss on /v2."""

    def __init__(self, losses: Losses) -> None:
        self.losses = losses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Problem or CoreError."""
        measure = find_model(self.losses.measures, **scope["path_params"])
        record: Record = scope["lossmeter.record"]
        record.measure = measure.name
        require_oip_type(scope)
        await self.losses.answer(scope, receive, send, measure, OipExchange(measure, self.losses.settings, scope))


class OipExchange:
    """The answer's form stands in the request's body."""

    def __init__(self, measure: Measure, settings: Settings, scope: Scope) -> None:
        self.measure, self.settings = measure, settings
        self.length = header(scope, LENGTH.lower().encode())
        names = accepted(scope)
        self.coding = names[0] if len(names) == 1 and names[0] in CODINGS else ""
        self.request = oip.Request({}, None, {})  # until it is decoded

    @property
    def limit(self) -> tuple[int, str]:
        """See Exchange."""
        return body_limit(self.settings, json=self.length is None)

    def decode(self, body: bytearray) -> dict[str, Any]:
        """See Exchange."""
        length = oip_request.header_length(self.length, len(body))
        if length > self.settings.max_json_bytes:
            raise too_large(*body_limit(self.settings, json=True))
        self.request = oip_request.decode(body, length, self.measure)
        return self.request.fields

    def require_room(self, samples: tuple[int, ...], *, per_sample: bool) -> None:
        """See Exchange."""
        oip.require_output_room(self.request, self.measure, samples, self.settings.max_json_bytes)

    def encode(self, result: Result, *, per_sample: bool) -> Answer:
        """See Exchange."""
        content, length = oip.encode(self.request, self.measure, result, self.settings.max_json_bytes)
        headers = {} if length is None else {LENGTH: str(length)}
        return Answer(content, JSON if length is None else BYTES, headers, self.coding)
