"""Reading a channel's payloads by the field mapping in force: the channel translates, the mapping adds to it."""

from functools import lru_cache
from typing import Any

from adapters.channels.json_fields import decode
from adapters.channels.mappings import shipped
from domain.canonical import Return, Translated, TranslationError
from domain.mapping import SHIPPED, InForce
from domain.mapping_apply import Mapped, apply, mapped
from domain.mapping_table import (
    AS_THE_PLATFORM,
    PAID_AS_THE_PLATFORM,
    BadMapping,
    Payment,
    Table,
    Times,
    line_of,
    read_mapping,
)
from domain.ports import Captures, Channel, Documents, KeepsTime, Templated
from domain.till import BadTill
from domain.timehub import TimeReader


@lru_cache(maxsize=256)
def shipped_table(channel: str) -> Table:
    """Return the mapping that ships with a channel."""
    return read_mapping(shipped(channel))


class Reading:
    """One channel, read by one mapping."""

    def __init__(self, channel: Channel, table: Table, zone: str) -> None:
        """Take the channel, the mapping and the merchant's zone.

        Raises:
            BadMapping: its template means nothing to this channel.
        """
        self._channel = channel = templated(channel, table)
        self._table = table
        self._zone = zone
        self._by_ways: dict[tuple[Times, Payment], Channel] = {(AS_THE_PLATFORM, PAID_AS_THE_PLATFORM): channel}
        self._plain = not table.orders and not table.lines
        self._one_way = not table.shops and (table.times, table.payment) in self._by_ways

    @property
    def has_template(self) -> bool:
        """Whether the mapping says how tables are written, and so which rows are which order."""
        return self._table.template is not None

    @property
    def has_documents(self) -> bool:
        """Whether the paths of the channel's mappings walk through something else than the slice as it is."""
        return isinstance(self._channel, Documents)

    def read(self, raw: bytes, shop: str) -> Translated | Return:
        """Turn one slice into the canonical order.

        Raises:
            TranslationError: with what is wrong, where and what to do.
        """
        channel = self._channel if self._one_way else self._for(shop)
        translated = channel.translate(raw, shop)
        if self._plain or isinstance(translated, Return):
            return translated
        return apply(self._table, self.document(raw), translated, self._times(shop))

    def mapped(self, raw: bytes, shop: str) -> tuple[Translated | Return, list[Mapped]]:
        """Return what `read` returns without the mapping, and every value that the mapping takes over.

        Raises:
            TranslationError: as `read`.
        """
        translated = self._for(shop).translate(raw, shop)
        if isinstance(translated, Return):
            return translated, []
        return translated, mapped(self._table, self.document(raw), translated, self._times(shop))

    def document(self, raw: bytes) -> Any:
        """Return what the mapping's paths walk through.

        Raises:
            TranslationError: the slice cannot be taken apart.
        """
        if isinstance(self._channel, Documents):
            return self._channel.document(raw)
        try:
            return decode(raw)
        except TranslationError as error:
            raise TranslationError(error.reason, advice="its mapping needs JSON") from None

    def _for(self, shop: str) -> Channel:
        """Return the channel as the mapping says that this shop uses it."""
        times, payment = ways = self._table.times_of(shop), self._table.payment_of(shop)
        channel = self._by_ways.get(ways)
        if channel is None:
            channel = self._channel
            if times != AS_THE_PLATFORM:
                if not isinstance(channel, KeepsTime):
                    reason = f"the mapping says how {channel.name} writes times, which cannot be set for it"
                    raise TranslationError(reason, "[times]", "leave [times] out of the mapping, then resend")
                channel = channel.with_times(times)
            if payment != PAID_AS_THE_PLATFORM:
                if not isinstance(channel, Captures):
                    reason = f"the mapping says when an order of {channel.name} is paid, which cannot be set for it"
                    raise TranslationError(reason, "[payment]", "leave [payment] out of the mapping, then resend")
                channel = channel.with_payment(payment)
            self._by_ways[ways] = channel
        return channel

    def _times(self, shop: str) -> TimeReader:
        return self._table.times_of(shop).reader(self._zone, self._zone)


class Readings:
    """One channel, read by whatever mapping is in force."""

    def __init__(self, channel: Channel, zone: str) -> None:
        """Take the channel and the merchant's zone."""
        self._channel = channel
        self._zone = zone
        self._in_force: InForce | None = None
        self._reading: Reading | None = None

    def by(self, in_force: InForce) -> Reading:
        """Return the reading by a mapping; the one that was asked for last is at hand.

        Raises:
            BadMapping: this build cannot read the mapping.
        """
        if self._reading is None or (in_force is not self._in_force and in_force != self._in_force):
            self._reading = Reading(self._channel, table_of(self._channel.name, in_force), self._zone)
            self._in_force = in_force
        return self._reading


def templated(channel: Channel, table: Table, text: str = "") -> Channel:
    """Return a channel that reads tables as a mapping says; `text` is the document, for the lines of its faults.

    Raises:
        BadMapping: its template means nothing to this channel.
    """
    if table.template is None:
        return channel
    if not isinstance(channel, Templated):
        raise BadMapping(f"{channel.name} reads no tables: leave [template] out", line_of(text, "template"))
    try:
        return channel.with_template(table.template)
    except BadTill as error:
        raise BadMapping(error.reason, line_of(text, "template", *error.where)) from None


def table_of(channel: str, in_force: InForce) -> Table:
    """Return a channel's mapping, ready to be used.

    Raises:
        BadMapping: this build cannot read it.
    """
    return shipped_table(channel) if in_force.version == SHIPPED.version else read_mapping(in_force.text)
