"""What the path from a body to an answer asks of a route: how its bodies are read and its answers written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

DEVICE = b"lossmeter-device"


@dataclass(slots=True)
class Answer:
    """What is sent back; `coding` is the content coding that it is to be compressed in, "" for none."""

    content: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    coding: str = ""
    device: str = "cpu"  # that computed it

    def headers_after(self, timing: str) -> list[tuple[bytes, bytes]]:
        """Its headers, with those of Server-Timing and of the device."""
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", b"%d" % len(self.content)),
            (b"server-timing", timing.encode()),
            (DEVICE, self.device.encode()),
            *((name.encode(), value.encode()) for name, value in self.headers.items()),
        ]
        if self.coding:
            headers += ((b"content-encoding", self.coding.encode()), (b"vary", b"Accept-Encoding"))
        return headers


class Reply(Protocol):
    """How the answer to one request is written, which each thing that can be asked for says more of, and within how
    many seconds it is wanted, 0 if that is not said."""

    @property
    def seconds(self) -> float:
        """From the beginning of the request."""


ReplyT = TypeVar("ReplyT", bound=Reply, covariant=True)


class Exchange(Protocol[ReplyT]):
    """How the body of one request is read: a format of service.wire, bound to the request."""

    @property
    def is_json(self) -> bool:
        """Whether all of the body is JSON."""

    @property
    def limit(self) -> tuple[int, str]:
        """The most bytes that the body may have, decompressed too, and that limit's name."""

    @property
    def tensors_at(self) -> int:
        """Where in the body tensors begin, as far as that can be told before it is read."""

    def decode(self, body: bytes | bytearray) -> tuple[dict[str, Any], ReplyT]:
        """The fields by name (arrays, options, choices), and how they want to be answered. Raises Problem or
        InvalidInput."""
