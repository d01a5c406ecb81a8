"""Acts towards warehouses that others run: have a pick list picked there, call it off.

Whether a pick list is still wanted is asked of the order itself, right before it is sent: what was called off while a
warehouse was down is never sent. The receiver is opened at that moment, from the sealed half of the order, and goes
nowhere else.
"""

import asyncio
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import msgspec

from adapters.storage.sealing import SealBroken, open_sealed
from adapters.wms.settings import FILE, BadWms, WmsSettings
from domain.canonical import Personal, Snapshot
from domain.catalogue import decode_event
from domain.money import format_minor
from domain.order import Allocation, Order, OrderAllocated, OrderAmended, OrderNormalized, PartiallyShipped, on_hold
from domain.order.questions import still_here
from domain.platforms import PlatformRefused
from domain.wms import DeliveryOrder, Receiver, WmsLine
from runners.bootstrap import existing_vault, open_log
from runners.effects_kind import Gone, Happened, Kind, NotYet, Unusable
from runners.effects_store import Job
from runners.wms_orders import TAGS, asked_at, codes_before, listed, state_of
from runners.wms_settings import client_of, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.wms.client import QimenWms
    from domain.ports import EventLog, Recorded
    from runners.settings import Settings

CREATE = "wms_create"
CANCEL = "wms_cancel"
WITHDRAWN = "withdrawn"
"""Reference of a delivery order that nobody wanted any more when its turn came."""
_VIEWS = frozenset({"order.normalized", "order.amended"})
_PARTS = frozenset({"order.allocated", "order.partially_shipped"})


class Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a warehouse is asked for; kept with the job. Nothing personal."""

    code: str
    allocation: str
    warehouse: str
    lines: tuple[tuple[str, int], ...] = ()
    """(SKU, units)."""
    replaces: str = ""
    """Code of the delivery order that must be off before this one goes out."""


class Warehouses:
    """The warehouses of `wms.json` and their clients; both kinds of acts use the same."""

    def __init__(self, settings: "Settings", now_ms: Callable[[], int]) -> None:
        """Nothing is read yet."""
        self.settings = settings
        self._now_ms = now_ms
        self._found: dict[str, WmsSettings] = {}
        self._clients: dict[str, QimenWms] = {}
        self._log: EventLog | None = None
        self._reading = Lock()
        self._alone: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def refresh(self) -> None:
        """Read `wms.json` anew; see `Kind.refresh`."""
        try:
            found = {each.name: each for each in load(self.settings.path) if each.enabled}
        except BadWms as error:
            raise Unusable(str(error)) from error
        for name in [name for name in self._clients if found.get(name) != self._found.get(name)]:
            await self._clients.pop(name).close()
        self._found = found

    def serving(self, warehouse: str) -> str | None:
        """Return the name of the WMS that serves a warehouse of ours, None where we pick ourselves."""
        return next((name for name, each in self._found.items() if warehouse in each.warehouses), None)

    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self._found)

    def client(self, name: str) -> "QimenWms":
        """Return a client.

        Raises:
            Gone: there is none of that name.
        """
        settings = self._found.get(name)
        if settings is None:
            raise Gone(f"there is no {name} in {FILE} any more, or it is off; put it back, then retry")
        if name not in self._clients:
            self._clients[name] = client_of(self.settings.path, settings, self._now_ms)
        return self._clients[name]

    def alone(self, stream: str) -> asyncio.Lock:
        """Return who acts for an order: asking whether something is still wanted and sending it are one step."""
        return self._alone.setdefault(stream, asyncio.Lock())

    def story(self, stream: str) -> "Sequence[Recorded]":
        """Return the events of an order, as the log has them now."""
        with self._reading:  # of several threads
            if self._log is None:
                self._log = open_log(self.settings, read_only=True)
            return self._log.select_many([stream])[stream].events

    async def close(self) -> None:
        """Release everything. Harmless when done twice."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
        if self._log is not None:
            self._log.close()
            self._log = None


class _OfWarehouses(Kind):
    """What the two kinds have in common."""

    files = (FILE,)

    def __init__(self, warehouses: Warehouses) -> None:
        """Nothing is read yet."""
        self._warehouses = warehouses

    @property
    def tags(self) -> frozenset[str]:
        """Return those by which pick lists come, change and go."""
        return TAGS if self._warehouses.any() else frozenset()

    async def refresh(self) -> None:
        """Read `wms.json` anew; see `Kind.refresh`."""
        await self._warehouses.refresh()

    def asked_by(self, happened: Happened, now_ms: int) -> list[Job]:
        """Return what warehouses are asked for, of this kind."""
        jobs = []
        recorded = happened.recorded
        for number, asked in enumerate(asked_at(happened.story, recorded.version)):
            allocation = asked.allocation
            name = self._warehouses.serving(allocation.warehouse)
            if name is None or (CREATE if allocation.lines else CANCEL) != self.name:
                continue
            key = happened.key + (f"#{number}" if number else "")
            document = Document(asked.code, allocation.id, allocation.warehouse, allocation.lines, asked.replaces)
            at_ms = happened.envelope.at
            jobs.append(Job(key, self.name, name, recorded.stream, msgspec.json.encode(document), at_ms, now_ms))
        return jobs

    async def close(self) -> None:
        """Release everything."""
        await self._warehouses.close()


class WmsCreates(_OfWarehouses):
    """Has pick lists picked."""

    name = CREATE

    async def do(self, job: Job) -> str:
        """Send the delivery order, unless nobody wants it any more; see `Kind.do`.

        Raises:
            NotYet: the order is held.
        """
        asked = msgspec.json.decode(job.document, type=Document)
        wms = self._warehouses.client(job.target)
        async with self._warehouses.alone(job.stream):
            order = await asyncio.to_thread(self._prepared, job, asked)
            # Also where this one is not wanted any more: what went out before it is wanted even less.
            for code in await asyncio.to_thread(self._replaced, job, asked):
                await wms.cancel(code, asked.warehouse)
            return WITHDRAWN if order is None else await wms.create(order)

    async def is_done(self, job: Job) -> bool:
        """Ask the warehouse; what it has and nobody wants any more is called off. See `Kind.is_done`."""
        asked = msgspec.json.decode(job.document, type=Document)
        wms = self._warehouses.client(job.target)
        async with self._warehouses.alone(job.stream):
            there = await wms.knows(asked.code, asked.warehouse)
            if there and not await asyncio.to_thread(self._wanted, job.stream, asked):
                await wms.cancel(asked.code, asked.warehouse)
            return there

    def _wanted(self, stream: str, asked: Document) -> bool:
        state = state_of(self._warehouses.story(stream))
        allocation = listed(state).get(asked.allocation)
        delivered = any(each.pick_list == f"pick-{asked.allocation}" for each in state.deliveries)
        return delivered or (allocation is not None and allocation.lines == asked.lines)

    def _replaced(self, job: Job, asked: Document) -> list[str]:
        """Return the codes of all that may have gone out before for the same pick list."""
        return codes_before(self._warehouses.story(job.stream), asked.allocation, asked.code) if asked.replaces else []

    def _prepared(self, job: Job, asked: Document) -> DeliveryOrder | None:
        """Return what is sent; None where the order does not hold just this for its pick list any more."""
        story = self._warehouses.story(job.stream)
        state = state_of(story)
        allocation = listed(state).get(asked.allocation)
        if allocation is None or allocation.lines != asked.lines or allocation.picked:
            return None
        if on_hold(state):
            raise NotYet("the order is held; it is sent when that is over")
        if allocation.unprocessed:
            raise NotYet(f"area {allocation.area} has not confirmed its work; it is sent when that is done")
        view = next(event for event in reversed(story) if event.tag in _VIEWS)
        fact = decode_event(view.tag, view.data)
        assert isinstance(fact, OrderNormalized | OrderAmended)
        snapshot = fact.snapshot
        names = {line.sku: line.name for line in state.lines}
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
            bool(state.ruled.priority),
            _to_collect(snapshot, story, state, allocation),
        )

    def _receiver(self, stream: str, sealed: bytes | None) -> Receiver:
        vault = existing_vault(self._warehouses.settings)
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
            raise PlatformRefused("the receiver cannot be opened", "`orderspine audit verify` says more") from None
        return receiver_of(personal.receiver)


class WmsCancels(_OfWarehouses):
    """Calls delivery orders off."""

    name = CANCEL

    async def do(self, job: Job) -> str:
        """Call it off; return what became of it. See `Kind.do`."""
        asked = msgspec.json.decode(job.document, type=Document)
        wms = self._warehouses.client(job.target)
        async with self._warehouses.alone(job.stream):
            return await wms.cancel(asked.code, asked.warehouse)


def _to_collect(snapshot: Snapshot, story: "Sequence[Recorded]", state: Order, allocation: Allocation) -> str:
    """Return what is paid on delivery of this part of an order: of one that may go and of which nothing is paid.

    Its channel need not know of what a payment service, or finance, told us of.
    """
    amounts = snapshot.amounts
    paid = any(each.kind == "paid" for each in state.payments.movements)
    if paid or amounts.paid or snapshot.paid_at is not None or not amounts.payable:
        return ""
    due = amounts.payable
    if allocation.units or state.cancelled:
        due = _share(snapshot, story, state, allocation)
    return format_minor(due, amounts.currency) if due > 0 else ""


def _share(snapshot: Snapshot, story: "Sequence[Recorded]", state: Order, allocation: Allocation) -> int:
    """Return what of the payable amount is for an allocation's units: no parcel collects what another one does.

    What is no line's (freight) goes with the first allocation, in whichever order they leave.
    """
    facts = [decode_event(each.tag, each.data) for each in story if each.tag in _PARTS]
    plans = [[each.id for each in fact.allocations] for fact in facts if isinstance(fact, OrderAllocated)]
    plan = next((ids for ids in reversed(plans) if allocation.id in ids), [allocation.id])
    later = plan[plan.index(allocation.id) + 1 :]
    gone = [fact for fact in facts if isinstance(fact, PartiallyShipped) and fact.allocation not in later]
    earlier = state.allocations[: [each.id for each in state.allocations].index(allocation.id)]
    before: dict[str, int] = {}
    for pairs in (*(each.units for each in gone), *(each.units for each in earlier)):
        for line_id, units in pairs:
            before[line_id] = before.get(line_id, 0) + units
    mine = dict(allocation.units) or still_here(state)
    due = 0
    for line in snapshot.lines:
        begin = before.get(line.id, 0) if allocation.units else 0
        end = begin + mine.get(line.id, 0)
        due += line.amount * end // line.quantity - line.amount * begin // line.quantity
    if not earlier and not gone:
        due += snapshot.amounts.payable - sum(line.amount for line in snapshot.lines if line.state != "cancelled")
    return due


def receiver_of(given: Mapping[str, str]) -> Receiver:
    """Return the receiver that a channel names, whatever words it has for his name, telephone and street.

    Raises:
        PlatformRefused: there is nowhere to send it.
    """

    def first(*names: str) -> str:
        return next((text for name in names if (text := str(given.get(name, "")).strip())), "")

    def joined(*names: str) -> str:
        return " ".join(text for name in names if (text := str(given.get(name, "")).strip()))

    receiver = Receiver(
        first("name") or joined("first_name", "last_name") or first("company"),
        first("phone", "mobile", "tel"),
        first("country", "country_code"),
        first("province", "state"),
        first("city"),
        first("district", "area"),
        first("town"),
        joined("detail", "detail_2") or first("address", "street", "detail_masked"),
        first("zip", "postcode"),
        first("address_id"),
    )
    if not receiver.detail and not receiver.token:
        raise PlatformRefused("the order has no address", "complete it on the channel, then retry", code="no-address")
    return receiver
