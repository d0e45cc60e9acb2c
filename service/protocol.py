"""uvicorn's HTTP protocol on httptools, mended.

A request that offers to go on in another protocol, as Java's HttpClient and `curl --http2` do with `Upgrade: h2c`, is
answered as if it did not. httptools takes what follows such a head for the other protocol and never parses the body;
here a second parser, told only how long the body is, goes on from there.

What is no HTTP/1 request with one Host is refused with a problem document, and fields after a chunked body (trailers)
are not taken for headers.

It rests on what uvicorn's class calls and keeps, to be looked at again when uvicorn's version moves: data_received, the
parser's callbacks, `headers`, `url`, `parser` and its leniency, `cycle` with `more_body`, `response_complete` and
`keep_alive`, and _unset_keepalive_if_required.
"""

from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.edge import request_id
from service.problems import Problem, malformed, respond

_FRAMING = (b"content-length", b"transfer-encoding")


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.url = b""
        self._in_head = False  # a header that comes now is one of the request's
        self._offered = False  # the parser has stopped at an offer, and another must go on
        self._body_follows = False  # though httptools said that the message was complete at the offer
        self._resuming = False  # the head that is parsed now is that of _resume
        self._refused = False  # nothing more is parsed

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived. Overrides uvicorn's, which stops for good at an offer to upgrade."""
        self._unset_keepalive_if_required()
        while data and not self._refused:
            try:
                if self._offered:
                    self._resume()
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data, self._offered = data[offer.args[0] :], True
            except httptools.HttpParserError as error:
                found = error.__context__
                self._refuse(found if isinstance(found, Problem) else malformed("the bytes are no HTTP/1.1 request"))
                return

    def _resume(self) -> None:
        """Go on with a parser that knows no more than how the body is framed."""
        self._offered = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        if self._body_follows:
            self._body_follows, self._resuming = False, True
            framing = [name + b": " + value + b"\r\n" for name, value in self.headers if name in _FRAMING]
            self.parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", *framing, b"\r\n"]))

    def _refuse(self, problem: Problem) -> None:
        """Answer with `problem` and close the connection: what follows cannot be told apart.

        Where a request before it waits for its answer, that is the last one; `problem` is only logged.
        """
        self._refused = True
        made = request_id(None)
        response = respond(problem, made, str(self.url, "latin-1"))
        self.logger.warning("refused a request: %s (%s)", problem.detail, made)
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        if cycle and not cycle.more_body and not cycle.response_complete:
            cycle.keep_alive = False
            return
        headers = [*response.raw_headers, (b"x-request-id", made.encode()), (b"connection", b"close")]
        status = f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}".encode()
        lines = [status, *(name + b": " + value for name, value in headers), b"", b""]
        self.transport.write(b"\r\n".join(lines) + bytes(response.body))
        self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        if not self._resuming:
            self._in_head = True
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        if not self._resuming:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete. Raises Problem, which httptools passes on, where it is none of HTTP/1 with one Host."""
        self._in_head = False
        if self._resuming:
            self._resuming = False
            return
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise Problem(505, f"the request is in HTTP/{version}, but must be in HTTP/1.1")
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts != 1 and (hosts or version == "1.1"):
            raise malformed(f"the request has {hosts} Host headers, but must have one")
        codings = b", ".join(value for name, value in self.headers if name == b"transfer-encoding")
        if codings and codings.lower() != b"chunked":
            raise Problem(501, f"the transfer coding {str(codings[:64], 'latin-1')!r} is not spoken, only chunked")
        if self.parser.should_upgrade():
            self._body_follows = any(name in _FRAMING and value.strip(b"0") for name, value in self.headers)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is complete."""
        if not self._body_follows:
            super().on_message_complete()
