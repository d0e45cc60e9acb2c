"""uvicorn's HTTP protocol on httptools, mended.

A request that offers to go on in another protocol, as Java's HttpClient and `curl --http2` do with `Upgrade: h2c`, is
answered as if it did not. httptools takes what follows such a head for the other protocol and never parses the body;
here a second parser, told only how long the body is, goes on from there.
"""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FRAMING = (b"content-length", b"transfer-encoding")


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._resuming = False  # the head that is being parsed is not the client's, but that of _resume
        self._body_follows = False  # httptools will say that the message is complete, but its body is still to come

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived. Overrides uvicorn's, which stops for good at an offer to upgrade."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self._resume()
            except httptools.HttpParserError:
                message = "Invalid HTTP request received."
                self.logger.warning(message)
                self.send_400_response(message)
                return

    def _resume(self) -> None:
        """Go on with a parser that knows no more than how the body is framed."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        if self._body_follows:
            self._body_follows = False
            framing = [name + b": " + value + b"\r\n" for name, value in self.headers if name in _FRAMING]
            self._resuming = True
            self.parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", *framing, b"\r\n"]))

    def on_message_begin(self) -> None:
        """A head begins."""
        if not self._resuming:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        if not self._resuming:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        if not self._resuming:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._resuming:
            self._resuming = False
            return
        if self.parser.should_upgrade():
            self._body_follows = any(name in _FRAMING and value != b"0" for name, value in self.headers)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is complete."""
        if not self._body_follows:
            super().on_message_complete()
