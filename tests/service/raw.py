"""HTTP by hand, over a socket: requests as bytes, in the pieces that a test wants, and the answers to them."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.service.conftest import GOOD, LOSS

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")
JSON_TYPE = "Content-Type: application/json"
SIZED, CHUNKED = f"Content-Length: {len(GOOD)}", "Transfer-Encoding: chunked"
OTHER = b'{"logits": [[3, 4, 5], [0, 0, 0]], "targets": [2, 0], "reduction": "sum"}'
LOSSES = {GOOD: 0.8132616, OTHER: 1.5062182}
Answer = tuple[int, dict[str, str], bytes]


class Wire:
    """One connection, written and read by hand."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, *pieces: bytes, pause: float = 0.001) -> None:
        """Send `pieces` as segments of their own."""
        for place, piece in enumerate(pieces):
            if place:
                time.sleep(pause)
            self.socket.sendall(piece)

    def read(self) -> Answer:
        """The next answer."""
        version, status, _ = self.file.readline().decode().split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        while line := self.file.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(status), headers, self.file.read(int(headers.get("content-length", 0)))

    def at_end(self) -> bool:
        """Whether the server has closed the connection, having said no more."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


@contextmanager
def connected(address: str) -> Iterator[Wire]:
    wire = Wire(address)
    try:
        yield wire
    finally:
        wire.file.close()
        wire.socket.close()


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def request(
    body: bytes | None = GOOD,
    *headers: str,
    method: str = "POST",
    path: str = LOSS,
    chunked: bool = False,
    version: str = "1.1",
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *headers]
    if body is not None:
        lines += [JSON_TYPE, CHUNKED if chunked else f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, "", ""]).encode()
    return head + (b"" if body is None else chunks(body[:7], body[7:8], body[8:]) if chunked else body)


def loss(answer: Answer) -> Any:
    """The loss of a good answer."""
    status, headers, content = answer
    assert status == 200, content
    assert "upgrade" not in headers
    return json.loads(content)["loss"]
