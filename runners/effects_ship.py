"""Ship notices: a parcel that left by our own hand is told to the order's channel."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import structlog

from adapters.platforms import connect
from adapters.platforms.connection import Connection, MissingSecret
from domain.canonical import Parcel, Snapshot
from domain.delivery import of_pick_list
from domain.ids import parts_of
from domain.order import Order, OrderShipped, PartiallyShipped, order
from domain.order.questions import still_here
from domain.platforms import Platform, Seller, ShipNotice, ShippedLine
from runners import connections
from runners.connection_keys import FileKeys
from runners.effects_kind import Gone, Happened, Kind, Unusable
from runners.effects_store import Job
from runners.wms_orders import state_of

log = structlog.get_logger(__name__)


class ShipNotices(Kind):
    """Tells the connections that have a seller's side."""

    name = "ship_notice"
    files = (connections.FILE,)
    in_turn = True  # the last parcel ends the order on some platforms, and those behind it are refused

    def __init__(self, data: Path, now_ms: Callable[[], int]) -> None:
        """Nothing is read yet."""
        self._data = data
        self._now_ms = now_ms
        self._connections: dict[str, Connection] = {}
        self._off: frozenset[str] = frozenset()
        self._platforms: dict[str, Platform] = {}

    @property
    def tags(self) -> frozenset[str]:
        """Return the one of parcels that left."""
        return _TAGS

    async def refresh(self) -> None:
        """Read the connections anew; see `Kind.refresh`."""
        try:
            there = connections.load(self._data)
        except connections.BadConnections as error:
            raise Unusable(str(error)) from error
        found = {each.name: each for each in there if each.enabled}
        for name in [name for name in self._platforms if found.get(name) != self._connections.get(name)]:
            await _close(self._platforms.pop(name))
        self._connections = found
        self._off = frozenset(each.name for each in there if not each.enabled)

    def resting(self) -> frozenset[str]:
        """Return the connections that are switched off, as all are after a restore."""
        return self._off

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
        before = state_of([each for each in happened.story if each.version < happened.recorded.version])
        contents = _contents(fact, parcels, snapshot, before)
        # A parcel of our gifts alone is none of the channel's: it has no lines for them.
        told = [number for number, lines in enumerate(contents) if lines or not snapshot.lines]
        last = told[-1] if told and not still_here(order.evolve(before, fact)) else -1
        jobs = []
        for number in told:
            parcel = parcels[number]
            key = happened.key + (f"#{number}" if number else "")
            notice = ShipNotice(
                # Platforms bound the length of such keys.
                sha256(f"{self.name}/{key}".encode()).hexdigest()[:32],
                order_no,
                parcel.carrier,
                parcel.tracking,
                fact.shipped_ms,
                contents[number],
                number == last,
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


def _contents(
    fact: OrderShipped | PartiallyShipped, parcels: Sequence[Parcel], snapshot: Snapshot, before: Order
) -> list[tuple[ShippedLine, ...]]:
    """Return the channel's lines in each parcel; one that names none holds all that had not left before.

    Args:
        fact: that they left.
        parcels: of it, those with a number.
        snapshot: the channel's view of the order.
        before: the order before they left.
    """
    left = still_here(before)
    skus = {line.id: line.sku for line in before.lines}  # with those that people entered
    if isinstance(fact, PartiallyShipped):
        left |= {line: units for line, units in fact.units if line in left}
    packed: dict[str, dict[str, int]] = {}
    """Tracking number → SKU → units, where the warehouse says it."""
    for packet in of_pick_list(before.deliveries, f"pick-{fact.allocation}").parcels if len(parcels) > 1 else ():
        inside = packed.setdefault(packet.tracking, {})
        for sku, units in packet.lines:
            inside[sku] = inside.get(sku, 0) + units
    found = []
    for parcel in parcels:
        inside = packed.get(parcel.tracking, {})
        lines = []
        for line in snapshot.lines:
            if parcel.lines and line.id not in parcel.lines:
                continue
            units = left.get(line.id, 0)
            if (sku := skus.get(line.id, "")) in inside:
                # The rest of the line is in other parcels.
                units = min(units, inside[sku])
                inside[sku] -= units
                left[line.id] = left.get(line.id, 0) - units
            if units > 0:
                lines.append(ShippedLine(line.id, units, line.item, line.sku, line.name))
        found.append(tuple(lines))
    return found


def _plain(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in attributes.items() if isinstance(value, str | int | bool)}


async def _close(platform: Platform) -> None:
    if platform.close is not None:
        await platform.close()
