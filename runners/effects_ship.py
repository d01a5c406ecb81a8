"""Ship notices: a parcel that left by our own hand is told to the order's channel."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import structlog

from adapters.platforms import connect
from adapters.platforms.connection import Connection, MissingSecret
from domain.canonical import Parcel, Snapshot
from domain.catalogue import decode_event
from domain.ids import parts_of
from domain.order import OrderShipped, PartiallyShipped
from domain.platforms import Platform, Seller, ShipNotice, ShippedLine
from runners import connections
from runners.connection_keys import FileKeys
from runners.effects_kind import Gone, Happened, Kind, Unusable
from runners.effects_store import Job

log = structlog.get_logger(__name__)


class ShipNotices(Kind):
    """Tells the connections that have a seller's side."""

    name = "ship_notice"
    files = (connections.FILE,)

    def __init__(self, data: Path, now_ms: Callable[[], int]) -> None:
        """Nothing is read yet."""
        self._data = data
        self._now_ms = now_ms
        self._connections: dict[str, Connection] = {}
        self._platforms: dict[str, Platform] = {}

    @property
    def tags(self) -> frozenset[str]:
        """Return the one of parcels that left."""
        return _TAGS

    async def refresh(self) -> None:
        """Read the connections anew; see `Kind.refresh`."""
        try:
            found = {each.name: each for each in connections.load(self._data) if each.enabled}
        except connections.BadConnections as error:
            raise Unusable(str(error)) from error
        for name in [name for name in self._platforms if found.get(name) != self._connections.get(name)]:
            await _close(self._platforms.pop(name))
        self._connections = found

    def seller_of(self, channel: str, shop: str) -> str | None:
        """Return the name of the connection that tells this shop's platform what we did; None where there is none."""
        broken = None
        for name, connection in self._connections.items():
            if connection.channel == channel and connection.shop == shop:
                try:
                    # Of several connections of a shop (a file written by hand) one may only take pushes.
                    if self._platform(name).seller is not None:
                        return name
                except (ValueError, MissingSecret) as error:
                    # It is meant to be told: the notice waits until the connection is repaired.
                    log.warning("outlets.connection_unusable", connection=name, reason=str(error))
                    broken = broken or name
        return broken

    def asked_by(self, happened: Happened, now_ms: int) -> list[Job]:
        """Return a notice for each parcel with a number that we sent."""
        fact = happened.fact
        if not isinstance(fact, OrderShipped | PartiallyShipped) or not fact.command:
            return []
        channel, shop, order_no = parts_of(happened.recorded.stream)
        target = self.seller_of(channel, shop)
        parcels = [parcel for parcel in fact.parcels if parcel.tracking]
        if target is None or not parcels:
            return []
        snapshot = happened.snapshot
        assert snapshot is not None, "an order that was shipped by us has been seen"
        sent = _sent_before(happened)
        units = dict(fact.units) if isinstance(fact, PartiallyShipped) else {}
        jobs = []
        for number, parcel in enumerate(parcels):
            lines = _in_parcel(parcel, snapshot, units, sent)
            if not lines and sent:
                continue  # our gift alone: the channel has no line for it
            key = happened.key + (f"#{number}" if number else "")
            notice = ShipNotice(
                # Platforms bound the length of such keys.
                sha256(f"{self.name}/{key}".encode()).hexdigest()[:32],
                order_no,
                parcel.carrier,
                parcel.tracking,
                fact.shipped_ms,
                lines,
                isinstance(fact, OrderShipped) and number == len(parcels) - 1,
                _plain(snapshot.attributes),
            )
            document = msgspec.json.encode(notice)
            stream, at_ms = happened.recorded.stream, happened.envelope.at
            jobs.append(Job(key, self.name, target, stream, document, at_ms, now_ms))
        return jobs

    async def do(self, job: Job) -> str:
        """Tell the channel; see `Kind.do`."""
        return await self._seller(job).ship(msgspec.json.decode(job.document, type=ShipNotice))

    async def is_done(self, job: Job) -> bool:
        """Ask the channel; see `Kind.is_done`."""
        return await self._seller(job).knows(msgspec.json.decode(job.document, type=ShipNotice))

    async def close(self) -> None:
        """Release all connections."""
        for platform in self._platforms.values():
            await _close(platform)
        self._platforms.clear()

    def _seller(self, job: Job) -> Seller:
        seller = self._platform(job.target).seller
        if seller is None:
            raise Gone(f"connection {job.target} cannot be told of shipments; connect the shop and retry")
        return seller

    def _platform(self, name: str) -> Platform:
        platform = self._platforms.get(name)
        if platform is None:
            connection = self._connections.get(name)
            if connection is None:
                raise Gone(f"there is no connection {name} any more; add it again, then retry")
            platform = connect(connection, FileKeys(self._data, connection), self._now_ms)
            self._platforms[name] = platform
        return platform


_TAGS = frozenset({"order.shipped", "order.partially_shipped"})


def _sent_before(happened: Happened) -> dict[str, int]:
    """Return line id → units that left in earlier parcels of ours."""
    sent: dict[str, int] = {}
    for each in happened.story:
        if each.tag == "order.partially_shipped" and each.version < happened.recorded.version:
            fact = decode_event(each.tag, each.data)
            for line, units in fact.units if isinstance(fact, PartiallyShipped) and fact.command else ():
                sent[line] = sent.get(line, 0) + units
    return sent


def _in_parcel(
    parcel: Parcel, snapshot: Snapshot, units: Mapping[str, int], sent: Mapping[str, int]
) -> tuple[ShippedLine, ...]:
    """Return the lines of a parcel; one that names none holds all that had not left before.

    Args:
        parcel: what left.
        snapshot: the channel's view of the order.
        units: line id → units in it, where a line goes in several parcels.
        sent: line id → units that left before.
    """
    return tuple(
        ShippedLine(line.id, units.get(line.id, line.quantity - sent.get(line.id, 0)), line.item, line.sku, line.name)
        for line in snapshot.lines
        if (line.id in parcel.lines if parcel.lines or sent else line.state == "open")
    )


def _plain(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in attributes.items() if isinstance(value, str | int | bool)}


async def _close(platform: Platform) -> None:
    if platform.close is not None:
        await platform.close()
