"""From what somebody hands in to mail: whose channel, whose order, and what to say of the rest.

Whatever comes in ends as mail: an order's slice to its order, everything else to the intake of its channel, with the
reason and the bytes. Nothing is dropped here, and nothing is guessed.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Literal, NamedTuple, Protocol

import msgspec

from adapters.channels.json_halves import decoded
from domain.envelope import By
from domain.ids import PART_BYTES_MAX, BadId, intake_key, order_key
from domain.mail import AsideReport, ChannelPayload, Mail
from domain.ports import Aside, Channel, Sliced
from runners.preparing import ASIDE_MAX, plain

UNKNOWN = "unknown"
"""Channel of the intake where bytes end whose channel nobody can tell."""
INLINE_BYTES_MAX = 900_000
"""What is larger travels as a reference: the broker takes 1 MiB, the rest of the mail included."""
STORED_BYTES_MAX = 32 << 20
"""What is larger is refused."""
_BOM = b"\xef\xbb\xbf"
_any = msgspec.json.Decoder(msgspec.Raw)


class Spool(Protocol):
    """Where bytes wait that are too large for the broker."""

    def put(self, raw: bytes) -> str:
        """Keep bytes durably and return their reference."""
        ...


class Source(NamedTuple):
    """Where a document came from."""

    pipe: str
    """`file`, for example."""
    name: str
    """Without directories: paths may name people."""
    number: int
    """Line or document in it, from 1."""
    form: Literal["json", "line", "table", ""] = ""
    """What the bytes claim to be (`line`: JSON, one document of many in its source); "" = no claim."""


class Cut(NamedTuple):
    """One message, and what it is of its document."""

    mail: Mail
    rows: tuple[int, ...]
    """Rows of a table, else the number of the line, document or element; () = a table as a whole."""


class Cutter:
    """Cuts documents into mail."""

    def __init__(self, channels: Mapping[str, Channel], spool: Spool, *, channel: str = "", shop: str = "") -> None:
        """Take the channels by name.

        Args:
            channels: the known ones.
            spool: for large slices.
            channel: whose the documents are; "" = told by their looks.
            shop: used where a document names none.
        """
        self._channels = channels
        self._spool = spool
        self._channel = channel
        self._shop = shop

    def cut(self, raw: bytes, source: Source, now_ms: int) -> Iterator[Mail]:
        """Return the mail of one document."""
        for cut in self.cut_rows(raw, source, now_ms):
            yield cut.mail

    def cut_rows(self, raw: bytes, source: Source, now_ms: int) -> Iterator[Cut]:
        """Return the mail of one document, each with what of it this is."""
        whole = rows_of(source)
        broken = _why_broken(raw) if source.form in ("json", "line") else ""
        if broken:
            yield Cut(self._aside(self._channel or UNKNOWN, _quarantined(broken, raw), source, now_ms), whole)
            return
        channel = self._channels[self._channel] if self._channel else self._told_by_looks(raw)
        if isinstance(channel, str):
            yield Cut(self._aside(UNKNOWN, _quarantined(channel, raw), source, now_ms), whole)
            return
        try:
            parts = channel.identify(raw, self._shop)
        except Exception as error:  # noqa: BLE001  a channel is a plug-in; its bug must not hold up what comes behind
            # Not the error's text: it may quote somebody's name.
            reason = f"the channel broke on it ({type(error).__name__}): repair the channel, then send it again"
            yield Cut(self._aside(channel.name, _quarantined(reason, raw), source, now_ms), whole)
            return
        # What stands in one line has its number; of a page or table each part counts.
        for number, part in enumerate(parts, source.number):
            place = source if source.form == "line" else source._replace(number=number)
            rows = part.rows or rows_of(place)
            if isinstance(part, Sliced):
                yield Cut(self._slice(channel.name, part, place, now_ms), rows)
            else:
                yield Cut(self._aside(channel.name, part, place, now_ms), rows)

    def too_large(self, size: int, digest: str, source: Source, now_ms: int) -> Mail:
        """Return the record of a document too large to keep: what it was, without its bytes."""
        described = msgspec.json.encode({"file": source.name, "number": source.number, "bytes": size, "sha256": digest})
        reason = (
            f"{size:,} bytes in one document: at most {STORED_BYTES_MAX >> 20} MB are taken, so its bytes are NOT kept "
            f"(SHA-256 {digest}); send it in parts, one order a line (JSONL)"
        )
        return self._aside(self._channel or UNKNOWN, Aside("refused", reason, described), source, now_ms)

    def _told_by_looks(self, raw: bytes) -> Channel | str:
        """Return the one channel that these bytes look like, or why there is none."""
        fitting = [name for name in sorted(self._channels) if self._channels[name].sniff(raw)]
        if len(fitting) == 1:
            return self._channels[fitting[0]]
        if fitting:
            return f"looks like several channels ({', '.join(fitting)}): name the right one with --channel"
        known = ", ".join(sorted(self._channels))
        what = "an empty document" if not raw.strip() else "no channel recognises this"
        return f"{what} (known channels: {known}): name the channel with --channel if it is one of them"

    def _slice(self, channel: str, part: Sliced, source: Source, now_ms: int) -> Mail:
        try:
            to = order_key(channel, part.shop, part.order_no)
        except BadId as error:
            advice = "; name the shop with --shop" if not part.shop.strip() else "; correct it at its source"
            return self._aside(channel, _quarantined(f"{error}{advice}", part.raw, part.shop), source, now_ms)
        if len(part.raw) > STORED_BYTES_MAX:
            return self.too_large(len(part.raw), sha256(part.raw).hexdigest(), source, now_ms)
        raw, ref = self._carried(part.raw)
        body = ChannelPayload(channel, part.shop, part.order_no, raw, ref)
        return Mail(to, body, now_ms, By("channel", channel), _tag(channel, source))

    def _aside(self, channel: str, aside: Aside, source: Source, now_ms: int) -> Mail:
        if len(aside.raw) > STORED_BYTES_MAX:
            return self.too_large(len(aside.raw), sha256(aside.raw).hexdigest(), source, now_ms)
        shop = next((shop for shop in (aside.shop, self._shop) if shop.strip() and _short(shop)), UNKNOWN)
        raw, ref = self._carried(aside.raw)
        body = AsideReport(channel, shop, aside.kind, plain(aside.reason, ASIDE_MAX), raw, ref, aside.order_no)
        return Mail(intake_key(channel, shop), body, now_ms, By("channel", channel), _tag(channel, source))

    def _carried(self, raw: bytes) -> tuple[bytes, str]:
        """Return (bytes, "") or (nothing, reference)."""
        if len(raw) <= INLINE_BYTES_MAX:
            return raw, ""
        return b"", self._spool.put(raw)


def rows_of(source: Source) -> tuple[int, ...]:
    """Return which rows a document, or an element of it, is by its place; a table's are told by its channel."""
    return () if source.form == "table" else (source.number,)


def _why_broken(raw: bytes) -> str:
    """Return what keeps these bytes from being JSON; "" if they are."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return (
            f"not UTF-8 at byte {error.start:,} (0x{raw[error.start]:02X}), and JSON is: "
            "convert the file (often it is GB18030), then send it again"
        )
    try:
        decoded(_any.decode, raw.removeprefix(_BOM))
    except (msgspec.DecodeError, RecursionError) as error:
        return f"broken JSON: {error}; it may have been cut off: fetch it again"
    return ""


def _quarantined(reason: str, raw: bytes, shop: str = "") -> Aside:
    return Aside("quarantined", reason, raw, shop)


def _short(text: str) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) <= PART_BYTES_MAX


def _tag(channel: str, source: Source) -> str:
    return f"{channel}/{source.pipe}/{source.name}#{source.number}"
