"""Acts towards warehouses that others run: have a pick list picked there, call it off. Seen in the log, done outside.

Whether a pick list is still wanted is asked of the order itself, right before it is sent: what was called off while a
warehouse was down is never sent. The receiver is opened at that moment, from the sealed half of the order, and goes
nowhere else.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from adapters.platforms.connection import MissingSecret
from adapters.storage.sealing import SealBroken, open_sealed
from adapters.wms.settings import BadWms, WmsSettings
from domain.canonical import Personal, Snapshot
from domain.catalogue import decode_event
from domain.decider import fold
from domain.envelope import decode_envelope
from domain.order import (
    Allocation,
    Order,
    OrderAmended,
    OrderNormalized,
    OrderShipped,
    order,
)
from domain.platforms import PlatformRefused
from domain.time_units import DAY_MS
from domain.wms import DeliveryOrder, Receiver, Wms, WmsLine, code_of
from runners.bootstrap import existing_vault
from runners.effects_store import Job
from runners.wms_settings import client_of, load, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from domain.ports import EventLog, Recorded
    from runners.settings import Settings

CREATE = "wms_create"
CANCEL = "wms_cancel"
EFFECTS = frozenset({CREATE, CANCEL})
LOOKED_AT = frozenset(
    {
        "order.pick_list_issued",
        "order.released",
        "order.cancelled",
        "order.lines_cancelled",
        "order.partially_shipped",
        "order.shipped",
    }
)
"""Tags of the events that may ask a warehouse for something."""
ACT_WITHIN_MS = 7 * DAY_MS
"""What happened longer ago asks for nothing by itself any more (a log that is followed from its beginning)."""
_VIEWS = frozenset({"order.normalized", "order.amended"})

log = structlog.get_logger(__name__)


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a warehouse is asked for; kept with the job. Nothing personal."""

    code: str
    allocation: str
    warehouse: str
    lines: tuple[tuple[str, int], ...] = ()
    """(SKU, units)."""
    replaces: str = ""
    """Code of the delivery order that must be off before this one goes out."""


def asked_by(
    event: "Recorded", event_log: "EventLog", wms_of: Callable[[str], str | None], now_ms: int, within_ms: int
) -> list[Job]:
    """Return the acts towards warehouses that one event asks for.

    Args:
        event: of `LOOKED_AT`.
        event_log: where the rest of its order is read.
        wms_of: our code of a warehouse → the target that serves it, or None.
        now_ms: UTC ms.
        within_ms: how long ago it may have happened.
    """
    at_ms = decode_envelope(event.envelope).at
    if now_ms - at_ms > within_ms:
        return []
    before, after = _around(event, event_log)
    fact = decode_event(event.tag, event.data)
    wanted: list[tuple[str, str, Asked]] = []
    held, kept = _listed(before), _listed(after)
    for allocation in held.values():
        left = kept.get(allocation.id)
        if left is not None and left.lines == allocation.lines:
            continue
        if left is None and isinstance(fact, OrderShipped) and fact.command:
            continue  # the warehouse's own confirmation, or a person's scan
        old = code_of(f"pick-{allocation.id}", _revision(event, event_log, allocation.id))
        if left is None:
            wanted.append((CANCEL, allocation.warehouse, Asked(old, allocation.id, allocation.warehouse)))
        else:
            new = code_of(f"pick-{allocation.id}", event.version)
            wanted.append((CREATE, allocation.warehouse, Asked(new, left.id, left.warehouse, left.lines, old)))
    for allocation in kept.values():
        if allocation.id not in held:
            code = code_of(f"pick-{allocation.id}")
            wanted.append(
                (CREATE, allocation.warehouse, Asked(code, allocation.id, allocation.warehouse, allocation.lines))
            )
    jobs = []
    for number, (effect, warehouse, asked) in enumerate(wanted):
        target = wms_of(warehouse)
        if target is not None:
            key = f"{event.stream}@{event.version}" + (f"#{number}" if number else "")
            jobs.append(Job(key, effect, target, event.stream, msgspec.json.encode(asked), at_ms, now_ms))
    return jobs


class Warehouses:
    """The warehouses of `wms.json`, looked up again when it changes; does the acts."""

    def __init__(self, settings: "Settings", event_log: "EventLog", now_ms: Callable[[], int]) -> None:
        """Nothing is read yet."""
        self.known = False
        """Whether the file could be read once: before that nobody can say who serves which warehouse."""
        self._settings = settings
        self._log = event_log
        self._now_ms = now_ms
        self._stamp: object = ("never",)
        self._found: dict[str, WmsSettings] = {}
        self._clients: dict[str, Wms] = {}
        self._alone: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Order → who acts for it: asking whether it is still wanted and sending it are one step."""

    @property
    def all(self) -> Mapping[str, WmsSettings]:
        """The warehouses in use, by target."""
        return self._found

    async def refresh(self) -> bool:
        """Look whether the file has changed; return whether it had. One that cannot be used changes nothing."""
        now = stamp(self._settings.path)
        if now == self._stamp:
            return False
        self._stamp = now
        try:
            found = {target_of(each): each for each in load(self._settings.path) if each.enabled}
        except (BadWms, OSError) as error:
            log.error("wms.unusable", reason=f"{error}; until then it is as before")  # noqa: TRY400  not a crash
            return False
        for target in [target for target in self._clients if found.get(target) != self._found.get(target)]:
            await self._forget(target)
        self._found, self.known = found, True
        return True

    def serving(self, warehouse: str) -> str | None:
        """Return the target that serves a warehouse of ours, None where we pick ourselves."""
        return next((target for target, each in self._found.items() if warehouse in each.warehouses), None)

    async def do(self, job: Job) -> str:
        """Do an act; return the warehouse's own number, or what became of it.

        Raises:
            PlatformError, MissingSecret, ValueError: see `domain.wms.Wms`.
        """
        asked = msgspec.json.decode(job.document, type=Asked)
        wms = self._client(job.target)
        async with self._alone[job.stream]:
            if job.effect == CANCEL:
                return await wms.cancel(asked.code, asked.warehouse)
            if not self._still_wanted(job.stream, asked):
                return "withdrawn"
            order_ = self._delivery_order(job, asked)
            if asked.replaces:
                await wms.cancel(asked.replaces, asked.warehouse)
            return await wms.create(order_)

    async def is_done(self, job: Job) -> bool:
        """Ask whether an act was done already; a delivery order that nobody wants any more is called off on the way.

        Raises:
            PlatformError, MissingSecret, ValueError: see `domain.wms.Wms`.
        """
        asked = msgspec.json.decode(job.document, type=Asked)
        wms = self._client(job.target)
        async with self._alone[job.stream]:
            there = await wms.knows(asked.code, asked.warehouse)
            if job.effect == CANCEL:
                return not there
            if there and not self._still_wanted(job.stream, asked):
                await wms.cancel(asked.code, asked.warehouse)
            return there

    async def client(self, target: str) -> Wms:
        """Return the client of a target.

        Raises:
            ValueError: there is none of that name any more.
        """
        return self._client(target)

    async def close(self) -> None:
        """Release all connections."""
        for target in list(self._clients):
            await self._forget(target)

    def _client(self, target: str) -> Wms:
        if target not in self._found:
            raise MissingSecret(f"there is no {target} in wms.json any more, or it is off; put it back, then retry")
        if target not in self._clients:
            self._clients[target] = client_of(self._settings.path, self._found[target], self._now_ms)
        return self._clients[target]

    async def _forget(self, target: str) -> None:
        client: Any = self._clients.pop(target)
        await client.close()

    def _still_wanted(self, stream: str, asked: Asked) -> bool:
        """Whether the order holds just this for its pick list now."""
        state = _state(self._log.select_many([stream])[stream].events)
        allocation = _listed(state).get(asked.allocation)
        return allocation is not None and allocation.lines == asked.lines and not allocation.picked

    def _delivery_order(self, job: Job, asked: Asked) -> DeliveryOrder:
        events = self._log.select_many([job.stream])[job.stream].events
        view = next(event for event in reversed(events) if event.tag in _VIEWS)
        fact = decode_event(view.tag, view.data)
        assert isinstance(fact, OrderNormalized | OrderAmended)
        snapshot = fact.snapshot
        names = _names(_state(events), snapshot)
        return DeliveryOrder(
            asked.code,
            asked.warehouse,
            snapshot.channel,
            snapshot.shop,
            snapshot.order_no,
            tuple(WmsLine(sku, units, names.get(sku, "")) for sku, units in asked.lines),
            self._receiver(job.stream, view.sealed),
            job.at_ms,
            snapshot.ordered_at.utc_ms,
            snapshot.paid_at.utc_ms if snapshot.paid_at else 0,
        )

    def _receiver(self, stream: str, sealed: bytes | None) -> Receiver:
        vault = existing_vault(self._settings)
        try:
            key = vault.keys([stream], create=False).get(stream) if vault is not None else None
        finally:
            if vault is not None:
                vault.close()
        if key is None or sealed is None:
            raise PlatformRefused("the receiver was erased", "cancel the order, or take its address in anew")
        try:
            personal = msgspec.json.decode(open_sealed(key, stream, sealed), type=Personal)
        except (SealBroken, msgspec.MsgspecError):  # no cause: it may quote what was sealed
            raise PlatformRefused("the receiver cannot be opened", "orderspine audit verify says more") from None
        return receiver_of(personal.receiver)


def target_of(settings: WmsSettings) -> str:
    """Return what acts and circuits call a warehouse; no connection of a shop is called so."""
    return f"wms:{settings.name}"


def receiver_of(given: Mapping[str, str]) -> Receiver:
    """Return the receiver that a channel names.

    Raises:
        PlatformRefused: there is nowhere to send it.
    """
    fields = {name: str(given.get(name, "")) for name in Receiver.__struct_fields__ if name != "token"}
    receiver = Receiver(**fields, token=str(given.get("oaid", "")))
    if not receiver.detail and not receiver.token:
        raise PlatformRefused("the order has no address", "complete it on the channel, then retry", code="no-address")
    return receiver


def _around(event: "Recorded", event_log: "EventLog") -> tuple[Order, Order]:
    """Return the order before and after an event."""
    events = event_log.select_many([event.stream])[event.stream].events
    before = _state([each for each in events if each.version < event.version])
    return before, order.evolve(before, decode_event(event.tag, event.data))


def _state(events: "Sequence[Recorded]") -> Order:
    state: Order = fold(order, [decode_event(event.tag, event.data) for event in events])
    return state


def _listed(state: Order) -> dict[str, Allocation]:
    """Return the allocations whose pick lists are out, by id."""
    allocation = state.allocation
    return {allocation.id: allocation} if allocation is not None and allocation.listed else {}


def _revision(event: "Recorded", event_log: "EventLog", allocation: str) -> int:
    """Return the version of the earlier event that gave this pick list its last lines; 0 where none changed them."""
    revision = 0
    state: Order = order.initial
    for each in event_log.select_many([event.stream])[event.stream].events:
        if each.version >= event.version:
            break
        before = _listed(state).get(allocation)
        state = order.evolve(state, decode_event(each.tag, each.data))
        after = _listed(state).get(allocation)
        if before is not None and after is not None and before.lines != after.lines:
            revision = each.version
    return revision


def _names(state: Order, snapshot: Snapshot) -> dict[str, str]:
    """Return what goods are called, by SKU."""
    skus = {line.id: line.sku for line in state.lines}
    return {skus.get(line.id, line.sku): line.name for line in snapshot.lines}


