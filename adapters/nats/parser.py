"""nats-py's protocol parser with a short way for messages that go to a sink.

The library matches two patterns, copies twice and awaits twice for each message; that was the larger half of what
reading the mail cost. Here whole messages of known sinks are cut out of what arrived in one loop, and everything else
(other subscriptions, pings, errors, very large messages) is left to the library.
"""

from collections.abc import Callable, Mapping
from typing import Any

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

Sink = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Called with subject, reply, payload, raw header block (or None). Must not raise and must only enqueue."""

_TAIL_MAX = 128 * 1024
"""A longer unfinished message goes to the library's parser, which does not look at it again for each piece."""
_H = ord("H")


class SinkParser(Parser):
    """Cuts messages out of the bytes that arrive; calls sinks directly."""

    def __init__(self, nc: Any, sinks: Mapping[int, Sink]) -> None:
        super().__init__(nc)
        self._sinks = sinks

    async def parse(self, data: bytes = b"") -> None:
        """Take the next bytes from the socket."""
        if self.state != AWAITING_CONTROL_LINE:
            await super().parse(data)
            return
        if self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        done, unfinished = self._cut(data)
        if done == len(data):
            return
        rest = data[done:] if done else data
        if unfinished and len(rest) < _TAIL_MAX:
            self.buf.extend(rest)
        else:
            await super().parse(rest)

    def _cut(self, data: bytes) -> tuple[int, bool]:
        """Hand out whole messages; return how far it went, and whether what follows is a sink's unfinished message."""
        sinks, size = self._sinks, len(data)
        at = 0
        while data.startswith((b"HMSG ", b"MSG "), at):
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                return at, False
            words = data[at:line_end].split()
            sink = sinks.get(int(words[2]))
            if sink is None:
                return at, False
            start = line_end + 2
            end = start + int(words[-1])
            if end + 2 > size:
                return at, True
            if data[at] == _H:
                body = start + int(words[-2])
                sink(words[1], words[3] if len(words) == 6 else b"", data[body:end], data[start:body])  # noqa: PLR2004
            else:
                sink(words[1], words[3] if len(words) == 5 else b"", data[start:end], None)  # noqa: PLR2004
            at = end + 2
        return at, False
