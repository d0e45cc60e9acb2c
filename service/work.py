"""One request from its body to its answer: unpack, decode, validate, check, compute, reduce, encode, compress."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from core.engine import Engine

from service.admission import Admission, Lease
from service.asked import Asked, Job
from service.codings import compress, decoded
from service.exchange import Answer, Exchange, Reply
from service.memory import LARGE, discard
from service.patience import Patience
from service.statistics import Spans

# Up to here the loop does it: 0.08 ms less of 0.15 at 64 x 10. JSON may be written so that it is slow to read: 64 KiB
# of it were found to take 20 ms.
INLINE_BYTES, INLINE_JSON, INLINE_ELEMENTS = 2**16, 2**14, 2**14


@dataclass(slots=True)
class Work:
    """One request's way from its body to its answer, in two steps, each on whatever thread."""

    admission: Admission
    asked: Asked[Any]
    engine: Engine
    exchange: Exchange[Any]
    coding: str
    lease: Lease
    patience: Patience
    limit: tuple[int, str] = field(init=False)  # the exchange's
    inline: int = field(init=False)  # the most bytes of a body that the event loop reads itself
    body: bytes | bytearray = b""
    content: bytes | bytearray = b""  # decompressed
    spans: Spans = field(init=False)  # from when the body is there
    job: Job = field(init=False)
    samples: int = field(init=False)

    def __post_init__(self) -> None:
        self.limit = self.exchange.limit
        self.inline = INLINE_JSON if self.exchange.is_json else INLINE_BYTES
        if self.engine.card or not self.asked.at_once:
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
        reply: Reply
        fields, reply = self.exchange.decode(self.content)
        if reply.seconds:
            self.patience.limit(reply.seconds)
            self.patience.require()
        given = self.asked.validate(fields)
        self.spans.end("decode")
        self.job = self.asked.prepare(given, reply)
        self.lease.hold(self.job.bytes)
        return self.job.elements

    def finish(self) -> Answer:
        """Compute, reduce, encode, compress. Raises Problem, ClientGone or CoreError."""
        job = self.job
        job.compute(self.engine, self.patience.over, self.lease.hold)
        if len(self.content) > LARGE:
            discard(self.content)  # before the answer takes as much again
        self.spans.end("compute")
        answer = job.encode()
        if answer.coding:
            answer = replace(answer, content=compress(answer.content, answer.coding))
        self.spans.end("encode")
        self.samples = job.samples
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
            del self.job
