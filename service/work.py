"""One request from its body to its answer: unpack, decode, validate, check, compute, reduce, encode, compress."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod

from core.check import Batch, prepare
from core.declare import Measure
from core.engine import Engine
from core.reduction import reduce
from pydantic import BaseModel

from service import schemas
from service.admission import Admission, Lease
from service.codings import compress, decoded
from service.exchange import Answer, Exchange, Reply
from service.memory import LARGE, discard
from service.patience import Patience
from service.statistics import Spans

# Up to here the loop does it: 0.08 ms less of 0.15 at 64 x 10. JSON may be written so that it is slow to read: 64 KiB
# of it were found to take 20 ms.
INLINE_BYTES, INLINE_JSON, INLINE_ELEMENTS = 2**16, 2**14, 2**14
WRITTEN = 8  # elements that can be computed while one is written as JSON


@dataclass(slots=True)
class Work:
    """One request's way from its body to its answer, in two steps, each on whatever thread."""

    admission: Admission
    model: type[BaseModel]  # of the request
    most_elements: int
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
        if self.engine.card:
            self.inline = 0  # the loop does not wait for a card

    def reserve(self, count: int) -> None:
        """See that there is room for a body of `count` bytes, and that its turn comes soon if it is no small one."""
        if count > self.inline >= self.lease.bytes:
            self.admission.require_turn(self.engine.threads)
        self.lease.hold(count)

    def prepare(self) -> int:
        """Decode, validate, check: how much is to be computed and written, in elements. Raises Problem, ClientGone or
        CoreError."""
        self.spans.end("queue")
        body, self.body = self.body, b""
        size, most = len(body), self.admission.most_bytes
        self.content = decoded(
            body, self.coding, *self.limit, lambda unpacked: self.lease.hold(min(size + unpacked, most))
        )
        del body
        fields, self.reply = self.exchange.decode(self.content)
        if self.reply.seconds:
            self.patience.limit(self.reply.seconds)
            self.patience.require()
        given = schemas.validate(self.model, self.measure, fields)
        self.per_sample, dtype = given.pop("per_sample", True), given.pop("dtype", "float32")
        self.spans.end("decode")
        self.batch = prepare(self.measure, given, dtype=dtype, max_elements=self.most_elements)
        plan = self.batch.plan
        self.reply.require_room(plan.samples, per_sample=self.per_sample)
        self.lease.hold(plan.result_bytes * (2 if self.per_sample else 1))  # the answer is made beside them
        written = WRITTEN * prod(plan.samples) if self.per_sample else 0
        return written + max(array.size for array in self.batch.arrays.values())

    def finish(self) -> Answer:
        """Compute, reduce, encode, compress. Raises Problem, ClientGone or CoreError."""
        result = reduce(self.batch, self.engine.per_sample(self.batch, self.patience.over))
        if len(self.content) > LARGE:
            discard(self.content)  # before the answer takes as much again
        self.spans.end("compute")
        answer = self.reply.encode(result, per_sample=self.per_sample)
        answer.device = result.device
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
