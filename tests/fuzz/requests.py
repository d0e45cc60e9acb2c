"""Whole HTTP requests as bytes, and ways to break them: head, framing and body."""

import random
from dataclasses import dataclass

from tests.fuzz.mutations import flipped_or_cut, mutated, seeds
from tests.service.carriers import Body

_LINES = [
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"transfer-encoding: xchunked"),
    *(b"Transfer-Encoding : chunked", b"Content-Length: 5", b"Content-Length: +5", b"Content-Length: 5, 5"),
    *(b"Content-Length: -1", b"Content-Length: 99999999999999999999999", b"Content-Length: 99999999999"),
    *(b"Connection: close", b"Connection: upgrade", b"Upgrade: h2c", b"Expect: 100-continue", b"Expect: tea"),
    *(b"Host: other", b"Host:", b" folded", b"X: " + b"y" * 9000, b"X" * 70000, b": none", b"\0: nul", b"\xff\xfe: x"),
    *(b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Type: text/plain", b"Accept-Encoding: zstd"),
    *(b"Inference-Header-Content-Length: 7", b"X-Request-ID: a\x00b", b"Accept: application/x-safetensors"),
    *(b"Origin: http://x", b"Range: bytes=0-1", b"If-None-Match: *", b"Trailer: X", b"no colon"),
]
_FIRST = [
    *(
        b"GET / HTTP/1.1",
        b"POST / HTTP/1.0",
        b"POST /v1/losses/kl_div HTTP/3.7",
        b"PRI * HTTP/2.0",
        b"OPTIONS * HTTP/1.1",
    ),
    *(b"CONNECT a:1 HTTP/1.1", b"\x16\x03\x01\x02\x00", b"GET /openapi.json HTTP/1.1", b"OPTIONS * HTTP/1.1"),
    *(b"POST http://h/v1/losses/kl_div HTTP/1.1", b"POST /%ff%00%2e%2e/ HTTP/1.1", b"GET /" + b"a" * 70000, b"", b" "),
    *(b"GET /v1/losses/nll_loss HTTP/1.1", b"TRACE /livez HTTP/1.1", b"get /livez http/1.1", b"GET /v2 HTTP/1.1"),
    *(b"POST /v2/repository/index HTTP/1.1", b"GET /v1/losses/kl_div/graph?dtype=x HTTP/1.1", b"GET /metrics HTTP/1.1"),
]
_SIZES = [b"", b"-1", b"+5", b"0x5", b"FFFFFFFFFFFFFFFFF", b"7fffffff", b"5 ", b"g"]  # of chunks
MOST_FRAMED = 10


@dataclass(frozen=True)
class Whole:
    """A request: its first line, its header lines, its body."""

    first: bytes
    lines: tuple[bytes, ...]
    body: bytes

    def text(self) -> bytes:
        """The bytes of the request."""
        return b"\r\n".join([self.first, *self.lines, b"", b""]) + self.body


def whole(body: Body) -> Whole:
    """The good request that carries `body`."""
    headers = {"Host": "localhost", **body.headers, "Content-Length": str(len(body.content))}
    lines = tuple(f"{name}: {value}".encode("utf-8", "surrogateescape") for name, value in headers.items())
    return Whole(f"POST {body.path} HTTP/1.1".encode(), lines, body.content)


class Mutants:
    """An endless source of broken requests, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng, self.bodies = random.Random(seed), seeds(seed)

    def batch(self) -> list[bytes]:
        """Requests for one connection: the last may be broken anywhere, those before it in what is not their framing,
        since with that the connection ends."""
        before = [whole(mutated(self.bodies, self.rng)).text() for _ in range(self.rng.randrange(MOST_FRAMED))]
        return [*before, self.broken()]

    def broken(self) -> bytes:
        """A request that is broken in its head, in how it is cut into chunks, or anywhere."""
        rng = self.rng
        found = whole(mutated(self.bodies, rng))
        kind = rng.random()
        if kind < 0.4:
            return self._with_another_head(found).text()
        if kind < 0.6:
            return self._in_chunks(found).text()
        other = whole(rng.choice(self.bodies)).text()
        content = found.text()
        for _ in range(rng.randrange(1, 4)):
            content = flipped_or_cut(content, other, rng)
        return content

    def _with_another_head(self, found: Whole) -> Whole:
        rng, lines = self.rng, list(found.lines)
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(lines) + 1)
            way = rng.randrange(4)
            if way == 0 and lines:
                del lines[min(place, len(lines) - 1)]
            elif way == 1 and lines:
                lines.insert(place, rng.choice(lines))
            else:
                lines.insert(place, rng.choice(_LINES))
        return Whole(rng.choice(_FIRST) if rng.random() < 0.3 else found.first, tuple(lines), found.body)

    def _in_chunks(self, found: Whole) -> Whole:
        rng, pieces, reached = self.rng, [], 0
        while reached < len(found.body):
            size = min(rng.choice([1, 7, 64, 1000]), len(found.body) - reached)
            said = rng.choice([b"%x", b"%X", b"0%x", b"%x;a=b"]) % size
            if rng.random() < 0.02:
                said = rng.choice(
                    [b"", b"-1", b"+5", b"0x5", b"FFFFFFFFFFFFFFFFF", b"7fffffff", b"5 ", b"g", b"%d" % size]
                )
            pieces.append(said + b"\r\n" + found.body[reached : reached + size] + b"\r\n")
            reached += size
        end = rng.choice([b"0\r\n\r\n"] * 6 + [b"0\r\nX: y\r\n\r\n", b"0\r\n", b"", b"00\r\n\r\n", b"0\n\n"])
        lines = [line for line in found.lines if not line.startswith(b"Content-Length")]
        return Whole(found.first, (*lines, b"Transfer-Encoding: chunked"), b"".join([*pieces, end]))
