"""Before the turn: a channel's raw bytes become a canonical order, its personal half is sealed, digests are taken.

Deterministic: the same bytes, channel, mapping and data key give the same result, so handling mail twice writes the
same log.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b

import msgspec

from adapters.storage.sealing import SealBroken, Sealer, payload_digest
from domain.address import flaws_of
from domain.canonical import Return, Translated, TranslationError
from domain.cell import Prepared, Returned, Taken, Untranslatable
from domain.ids import BadId, order_key, parts_of
from domain.mail import AsideReport, ChannelPayload
from domain.mapping import SHIPPED, InForce
from domain.mapping_table import BadMapping
from domain.order import TakeSnapshot
from domain.ports import Channel, Payload
from domain.privacy import ASIDE
from runners.reading import Readings

TOLD_MAX = 1_000
"""Most characters of a reason that is recorded."""
ASIDE_MAX = 2_000
"""The same where it is of a whole document: it may name each of its rows."""

_canonical = msgspec.json.Encoder(order="deterministic").encode
_replace = msgspec.structs.replace


class Ready(msgspec.Struct, frozen=True, gc=False):
    """What a turn needs of raw bytes, and what is stored if the turn keeps them."""

    prepared: Prepared
    payload: Payload | None
    in_force: InForce = SHIPPED
    """The mapping that it was read by."""
    erased: bool = False
    """Whether the personal half was dropped, because the order's person is forgotten."""


class Preparer:
    """Translates, digests and seals with the data key of the order's stream."""

    def __init__(self, channels: Mapping[str, Channel], digest_key: bytes, *, zone: str = "Asia/Shanghai") -> None:
        """Take the channels by name, the cell's key for digests that are searched by, and the merchant's zone."""
        self._channels = channels
        self._readings = {name: Readings(channel, zone) for name, channel in channels.items()}
        self._digest_key = digest_key
        self._sealer = Sealer()

    def begin_batch(self) -> None:
        """Forget what was made ready for the keys of the batch before."""
        self._sealer = Sealer()

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The channels, by name."""
        return self._channels

    def payload(
        self,
        body: ChannelPayload,
        stream: str,
        raw: bytes,
        key: bytes | None,
        known: str = "",
        in_force: InForce = SHIPPED,
    ) -> Ready:
        """Prepare one slice.

        Args:
            body: which channel and shop it came from.
            stream: the order's key.
            raw: the exact bytes.
            key: the stream's data key; None where it was destroyed, or where the order's person is forgotten: what is
                personal is dropped then, and the bytes are not kept.
            known: digest of the snapshot that the order stands at; the same one again needs no sealing.
            in_force: the field mapping of the channel.
        """
        if key is None:
            return self._erased(body, stream, raw, in_force)
        readings = self._readings.get(body.channel)
        if readings is None:
            advice = f"known channels: {', '.join(sorted(self._channels))}; add the channel's module and resend"
            return self._failed(key, stream, raw, f"unknown channel {body.channel!r}", "", advice, in_force)
        try:
            reading = readings.by(in_force)
            translated = reading.read(raw, body.shop)
            if reading.has_template and _key_of(translated) != stream:
                reason = "the template in force makes another order of it than the one that it was cut by"
                advice = "import its file again, then discard this"
                return self._failed(key, stream, raw, reason, "[template]", advice, in_force)
            if isinstance(translated, Return):
                payload = self._sealed_payload(key, stream, raw)
                return Ready(Returned(translated, payload.digest.hex()), payload, in_force)
            return self._taken(translated, stream, raw, key, known, in_force)
        except TranslationError as error:
            return self._failed(key, stream, raw, error.reason, error.where, error.advice, in_force)
        except BadMapping as error:
            reason = f"this build cannot read the mapping in force: {error}"
            return self._failed(key, stream, raw, reason, "", "apply a mapping that it can read, then resend", in_force)
        except Exception as error:  # noqa: BLE001  a channel is a plug-in; its bug is this message's trouble alone
            # Not the error's text: it may quote what the payload says of a person, and reasons are not sealed.
            reason = f"the channel's translation broke: {type(error).__name__}"
            return self._failed(key, stream, raw, reason, "", "repair the channel, then resend", in_force)

    def _erased(self, body: ChannelPayload, stream: str, raw: bytes, in_force: InForce) -> Ready:
        """Prepare what is nobody's of a message for a forgotten order: money and states go on, the person stays out."""
        readings = self._readings.get(body.channel)
        translated: Translated | Return | None = None
        if readings is not None:
            with suppress(Exception):  # not even its reason is kept: it may quote the bytes
                translated = readings.by(in_force).read(raw, body.shop)
        if isinstance(translated, Return):
            return Ready(Returned(translated, ""), None, in_force, erased=True)
        if translated is None or _key_of(translated) != stream:
            reason = "a message for an order whose person is forgotten could not be read; its bytes are not kept"
            return Ready(Untranslatable(reason, "", "", "", in_force.version), None, in_force, erased=True)
        snapshot = _replace(translated.snapshot, customer="")
        digest = blake2b(_canonical(snapshot), person=b"erased", digest_size=16).hexdigest()
        command = TakeSnapshot(snapshot, digest, "", "", b"", in_force.version)
        return Ready(Taken(command), None, in_force, erased=True)

    def _taken(
        self, translated: Translated, stream: str, raw: bytes, key: bytes, known: str, in_force: InForce
    ) -> Ready:
        personal = translated.personal
        snapshot = translated.snapshot
        if personal.customer_id:
            snapshot = _replace(snapshot, customer=customer_digest(personal.customer_id, self._digest_key))
        half = _canonical(personal)
        digest = blake2b(_canonical(snapshot), key=key, digest_size=16)
        digest.update(half)
        fingerprint = digest.hexdigest()
        address = ""
        if personal.receiver:
            address = blake2b(_canonical(personal.receiver), key=key, digest_size=8).hexdigest()
        version = in_force.version
        if fingerprint == known:
            known_view = TakeSnapshot(snapshot, fingerprint, address, "", b"", version)
            return Ready(Taken(known_view), None, in_force)
        payload = self._sealed_payload(key, stream, raw)
        sealed = self._sealer.seal(key, stream, half)
        flaws = flaws_of(personal.receiver) if personal.receiver else ()
        command = TakeSnapshot(snapshot, fingerprint, address, payload.digest.hex(), sealed, version, flaws=flaws)
        return Ready(Taken(command), payload, in_force)

    def stored(
        self, stream: str, digest: str, payload: Payload | None, key: bytes | None, in_force: InForce = SHIPPED
    ) -> Prepared:
        """Prepare bytes that were kept before, for a resend: by the mapping that is in force now."""
        if payload is None or key is None:
            reason = "its bytes are gone" if payload is None else "its data key was destroyed"
            return Untranslatable(reason, "", "discard it", digest, in_force.version)
        channel, shop, order_no = parts_of(stream)
        try:
            raw = self._sealer.open_sealed(key, stream, payload.sealed)
        except SealBroken as error:
            reason = f"its stored bytes cannot be opened: {error}"
            return Untranslatable(reason, "", "verify the log", digest, in_force.version)
        return self.payload(ChannelPayload(channel, shop, order_no), stream, raw, key, "", in_force).prepared

    def aside_stream(self, body: AsideReport, to: str) -> str:
        """Return the name of the key that bytes are sealed under which are no order's, or not yet.

        Where they name an order it is that order's, so that they are forgotten with it; else it is one of their own.
        """
        if body.order_no:
            with suppress(BadId):
                return order_key(body.channel, body.shop, body.order_no)
        name = blake2b(body.raw or body.ref.encode(), key=self._digest_key, salt=b"aside", digest_size=16)
        name.update(b"\0" + to.encode())
        return f"{ASIDE}{name.hexdigest()}"

    def aside(self, stream: str, raw: bytes, key: bytes | None) -> Ready:
        """Prepare bytes that are no order's: they are only kept; not even that where their key was destroyed."""
        if key is None:
            name = blake2b(raw, key=self._digest_key, digest_size=32).hexdigest()
            return Ready(Untranslatable("", "", "", f"erased-{name}"), None)
        return self._failed(key, stream, raw, "", "", "", SHIPPED)

    def _sealed_payload(self, key: bytes, stream: str, raw: bytes) -> Payload:
        sealed = self._sealer.seal(key, stream, raw)
        return Payload(payload_digest(sealed), stream, sealed)

    def _failed(
        self, key: bytes, stream: str, raw: bytes, reason: str, where: str, advice: str, in_force: InForce
    ) -> Ready:
        payload = self._sealed_payload(key, stream, raw)
        told = (plain(reason), plain(where), plain(advice))
        return Ready(Untranslatable(*told, payload.digest.hex(), in_force.version), payload, in_force)


def _key_of(translated: Translated | Return) -> str:
    if isinstance(translated, Return):
        return order_key(translated.channel, translated.shop, translated.original_order_no)
    snapshot = translated.snapshot
    return order_key(snapshot.channel, snapshot.shop, snapshot.order_no)


def customer_digest(customer_id: str, digest_key: bytes) -> str:
    """Return what a customer is known by where nobody may be named: a keyed digest of his channel's id of him."""
    return blake2b(customer_id.encode("utf-8", "replace"), key=digest_key, digest_size=8).hexdigest()


def plain(text: str, most: int = TOLD_MAX) -> str:
    """Return a text that can be stored whatever it quotes: bounded, without halves of characters, and public.

    Reasons quote fields that name nobody; where a source has put a person's number or address into one of them, it is
    left out. A name in such a place cannot be told from other words.
    """
    window = text[: most * 8]
    shown = _REACHES.sub("…", window)
    if len(window) < len(text):
        shown = shown[:-_CUT]
    return shown[:most].encode("utf-8", "backslashreplace").decode()


_REACHES = re.compile(
    r"(?<![0-9])(?:86[ -]?)?1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])|(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)+"
)
"""Numbers of mobile phones (of 11 digits, as China has them) and addresses for mail."""
_CUT = 320
"""Characters, as many as the longest address has, that are not told of where a long text was cut: half a number tells
enough."""
