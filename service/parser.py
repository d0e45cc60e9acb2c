"""HTTP/1.1 requests out of the bytes of a connection, by httptools.

What is no HTTP/1 request with one Host is refused, and trailers after a chunked body are not taken for headers.

A request that offers to go on in another protocol, as Java's HttpClient and `curl --http2` do with `Upgrade: h2c`, is
read as if it did not. httptools takes what follows such a head for the other protocol and never parses the body; here
a second parser, told only how the body is framed, goes on from there.

httptools sets no limits, and joins the parts of a header or target that arrives in many reads, each time anew. Here no
head takes more than MAX_HEAD_BYTES, and no chunked body much more than its data.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from service.problems import Problem, malformed

MAX_HEAD_BYTES = 2**15  # of a request line and its headers
MAX_HEADERS = 100
MAX_TARGET_BYTES = 2**13
MAX_CHUNKS = 2**16  # of a body, its end among them, where they hold less than CHUNK_BYTES on average
CHUNK_BYTES = 2**10
MAX_FRAMING_BYTES = 2**14  # of extensions and the like of chunks, beyond FAIR_BYTES a chunk; and as many of trailers
FAIR_BYTES = 16

_FRAMING = (b"content-length", b"transfer-encoding")
_HOST = re.compile(rb"[\w.~!$&'()*+;=%:\[\]-]*", re.ASCII)  # RFC 3986, less the comma: a proxy joins two Hosts with one


@dataclass(slots=True)
class Head:
    """The head of a request: an ASGI scope, and the declared length of the body, None if that comes in chunks."""

    scope: dict[str, Any]
    length: int | None
    keep_alive: bool
    awaits_continue: bool


class Reader(Protocol):
    """Who is told what the bytes are."""

    def on_head(self, head: Head) -> None:
        """A request begins."""

    def on_piece(self, piece: bytes) -> None:
        """A piece of its body."""

    def on_end(self) -> None:
        """The end of its body."""


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The values of headers by name; of several lines the list that they mean."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = found[name] + b", " + value.strip() if name in found else value.strip()
    return found


def _target(url: bytes) -> tuple[str, bytes, bytes]:
    """The path, as it is meant and as it was sent, and the query."""
    return _parsed(url) if len(url) <= 256 else _parsed.__wrapped__(url)


@lru_cache(512)
def _parsed(url: bytes) -> tuple[str, bytes, bytes]:
    parsed = httptools.parse_url(url)
    path = parsed.path or b"/"  # an absolute form may have none
    return unquote(str(path, "ascii")), path, parsed.query or b""


def _line_bytes(name: bytes, value: bytes) -> int:
    return len(name) + len(value) + len(": \r\n")


def _head_too_large() -> Problem:
    return Problem(431, f"the request line and headers are larger than {MAX_HEAD_BYTES} bytes")


class Parser:
    """Of one connection."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.url = b""
        self.in_head = False  # one has begun; a header that comes now is one of its
        self._headers: list[tuple[bytes, bytes]] = []
        self._piece = 0  # bytes that are parsed now
        self._fed = 0  # bytes since the head began, and what came before it in the same piece
        self._in_chunks = False  # a chunked body has begun
        self._size = self._chunks = 0  # the bytes of its data, and their number
        self._framing = self._trailing = 0  # its bytes that are no data
        self._resuming = False  # the head that is parsed now is that of _resume
        self.skip_body()

    def skip_body(self) -> None:
        """Begin anew, with the next request's head: this one's body has been read by others."""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # requests before it get their answers
        self._offered = False  # the parser has stopped at an offer to upgrade, and another must go on
        self._body_follows = False  # though httptools said that the message was complete at the offer

    def feed(self, data: memoryview) -> None:
        """Parse what has arrived, at most MAX_HEAD_BYTES.

        Raises Problem for what is no request or over a limit: nothing more can be read then.
        """
        self._piece = len(data)
        self._fed += self._piece  # of a head, if one is on its way
        if self._in_chunks:
            self._feed_chunks(data)
        else:
            self._feed(data)
        if self.in_head and self._fed > 2 * MAX_HEAD_BYTES:  # of which others can have half
            raise _head_too_large()

    def _feed_chunks(self, data: memoryview) -> None:
        size, chunks = self._size, self._chunks
        self._feed(data)
        if self._in_chunks:  # still, so all of this belongs to it
            fair = self._size - size + FAIR_BYTES * (self._chunks - chunks)
            self._framing = max(0, self._framing + len(data) - fair)
            if self._framing > MAX_FRAMING_BYTES:
                raise malformed(f"the chunks have more than {MAX_FRAMING_BYTES} bytes of extensions")

    def _feed(self, data: memoryview) -> None:
        while data:
            try:
                if self._offered:
                    self._resume()
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data, self._offered = data[offer.args[0] :], True
            except httptools.HttpParserError as error:
                found = error.__context__
                raise found if isinstance(found, Problem) else malformed("the bytes are no HTTP/1.1 request") from None

    def _resume(self) -> None:
        """Go on with a parser that knows no more than how the body is framed."""
        follows = self._body_follows
        self.skip_body()
        if follows:
            self._resuming = True
            framing = [name + b": " + value + b"\r\n" for name, value in self._headers if name in _FRAMING]
            self._parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", *framing, b"\r\n"]))

    def on_message_begin(self) -> None:
        """A head begins."""
        if not self._resuming:
            self.in_head, self.url, self._headers, self._fed = True, b"", [], self._piece

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        if not self._resuming:
            self.url += url
            if len(self.url) > MAX_TARGET_BYTES:
                raise Problem(414, f"the target is longer than {MAX_TARGET_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        if self.in_head:
            if len(self._headers) == MAX_HEADERS:
                raise Problem(431, f"the request has more than {MAX_HEADERS} headers")
            self._headers.append((name.lower(), value))
        elif self._in_chunks:
            self._trailing += _line_bytes(name, value)
            if self._trailing > MAX_FRAMING_BYTES:
                raise malformed(f"the trailers are larger than {MAX_FRAMING_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """The head is complete. Raises Problem, which httptools passes on, where it is none of HTTP/1 with one Host."""
        if self._resuming:
            self._resuming = False
            return
        if self._fed > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:
            raise _head_too_large()
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise Problem(505, f"the request is in HTTP/{version}, but must be in HTTP/1.1")
        known, hosts = joined(self._headers), [name for name, _ in self._headers].count(b"host")
        if hosts != 1 and (hosts or version == "1.1"):
            raise malformed(f"the request has {hosts} Host headers, but must have one")
        if hosts and not _HOST.fullmatch(known[b"host"]):
            raise malformed(f"the Host is {str(known[b'host'][:80], 'latin-1')!r}, but must be a host and its port")
        codings = known.get(b"transfer-encoding", b"")
        if codings and codings.lower() != b"chunked":
            raise Problem(501, f"the transfer coding {str(codings[:64], 'latin-1')!r} is not spoken, only chunked")
        if codings:
            self._in_chunks, self._size, self._chunks, self._framing, self._trailing = True, 0, 0, 0, 0
        if self._parser.should_upgrade():
            self._body_follows = any(known.get(name, b"").strip(b"0") for name in _FRAMING)
        head = Head(
            self._scope(version, known),
            length=None if codings else int(known.get(b"content-length", 0)),
            keep_alive=version == "1.1" and self._parser.should_keep_alive(),
            awaits_continue=version == "1.1" and known.get(b"expect", b"").lower() == b"100-continue",
        )
        self.in_head = False
        self.reader.on_head(head)

    def _head_bytes(self) -> int:
        line = len(self._parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n")
        return line + sum(_line_bytes(name, value) for name, value in self._headers) + len("\r\n")

    def broken_head(self) -> Head:
        """What is known of a request that is none."""
        path = str(self.url.partition(b"?")[0] if self.in_head else b"", "latin-1")
        scope = {"type": "http", "http_version": "1.1", "method": "-", "path": path, "query_string": b"", "headers": []}
        return Head(scope, length=0, keep_alive=False, awaits_continue=False)

    def _scope(self, version: str, known: dict[bytes, bytes]) -> dict[str, Any]:
        path, raw_path, query = _target(self.url)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": str(self._parser.get_method(), "ascii"),
            "scheme": "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "lossmeter.headers": known,
        }

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._size += len(piece)
        self.reader.on_piece(piece)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        if self._chunks >= MAX_CHUNKS and self._size < CHUNK_BYTES * self._chunks:
            raise malformed(f"the body has more than {MAX_CHUNKS} chunks of less than {CHUNK_BYTES} bytes on average")
        self._chunks += 1

    def on_message_complete(self) -> None:
        """The body is complete, unless it follows an offer to upgrade."""
        if not self._body_follows:
            self._in_chunks = False
            self.reader.on_end()
