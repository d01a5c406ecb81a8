"""HTTP/1.1 for clients that are slow, rude or many: uvicorn's protocol with the limits it lacks.

A connection has so long to send a request's head, so long between requests, and so long to take what it is answered; a
head has a greatest size; there are at most so many connections. Whoever oversteps is answered, briefly, and cut off. To
change to another protocol, as some clients offer with their first request, is not taken up: it is served as it is.
"""

import asyncio
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from adapters.web.problems import MEDIA_TYPE, Refused, encode

CONNECTIONS_MAX = 1_000
HEAD_S = 10.0
"""From the connection, or a request's first byte, to the end of its head."""
IDLE_S = 30
"""Between two requests. The rest of a body nobody reads any more counts as idling, too."""
TAKE_S = 60
"""How long a client may take nothing of what is written to it."""
HEAD_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100


class HeadTooLarge(Exception):
    """A request's line and headers are larger than any honest ones."""


class PatientProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _unfinished_bytes = 0
    """What came since anything was whole: a header, a part of a body. The parser keeps a header until it is."""
    _offered = b""
    """Head of a request that offers another protocol, without the offer."""
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self._cut_off(Refused(503, "busy", "too many connections", advice="try again a little later"))
            return
        self._expect_head(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_deadline()
        self._forget_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._unset_keepalive_if_required()
        self._unfinished_bytes += len(data)
        while data:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as offer:
                # The parser takes what follows the head for the other protocol, and the body with it.
                data = self._offered + data[offer.args[0] :] if self._offered else b""
                self._offered = b""
                # A new one: this one reads nothing behind a request after which the connection is to be closed.
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            except HttpParserError:
                self.send_400_response("")
                break
            else:
                break
        if self._unfinished_bytes > HEAD_BYTES_MAX:
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head_bytes = 0
        if self._served():
            self._expect_head(HEAD_S)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's line."""
        self._weigh(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._unfinished_bytes = 0
        self._weigh(len(name) + len(value))
        if len(self.headers) >= HEADERS_MAX:
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to serve a request."""
        self._unfinished_bytes = 0
        if self._offers():
            lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
            start = b"%b %b HTTP/%b\r\n" % (
                self.parser.get_method(), self.url, self.parser.get_http_version().encode(),
            )  # fmt: skip
            self._offered = start + b"".join(lines) + b"\r\n"
            return
        self._forget_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unfinished_bytes = 0
        if not self._offers():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect_taking()
        elif self._served():
            self._expect_head(IDLE_S)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has idled."""
        super().timeout_keep_alive_handler()
        self._expect_taking()

    def pause_writing(self) -> None:
        """Write no more until the client has taken most of what was written."""
        super().pause_writing()
        self._expect_taking()

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._forget_taking()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too large a head."""
        del msg
        self._cut_off(
            Refused(
                400,
                "bad-request",
                f"this is no HTTP/1.1 request, or its head is larger than {HEAD_BYTES_MAX:,} bytes or {HEADERS_MAX} "
                "headers",
            )
        )

    def _offers(self) -> bool:
        """Tell whether the request offers another protocol; a CONNECT demands it."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _served(self) -> bool:
        """Tell whether no request is being served."""
        # uvicorn declares that there always is one.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _weigh(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            raise HeadTooLarge

    def _expect_head(self, seconds: float) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expect_taking(self) -> None:
        """Cut off a client that takes nothing; asked for while nothing more is written."""
        self._forget_taking()
        if left := self.transport.get_write_buffer_size():
            self._taking = self.loop.call_later(TAKE_S, self._look_at_taking, left)

    def _look_at_taking(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._expect_taking()
        else:  # closed in good order, it would wait for the client for ever
            self.transport.abort()

    def _forget_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _too_slow(self) -> None:
        self._cut_off(Refused(408, "too-slow", "no whole request came in time"))

    def _cut_off(self, refused: Refused) -> None:
        """Answer where there is nothing half said, and close."""
        if self.transport.is_closing():
            return
        self._forget_deadline()
        if self._served() or not self.cycle.response_started:
            body = encode(refused.problem(""))
            status = HTTPStatus(refused.status)
            more = "retry-after: 2\r\n" if refused.status == HTTPStatus.SERVICE_UNAVAILABLE else ""
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
                f"content-length: {len(body)}\r\n{more}connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()
        self._expect_taking()
