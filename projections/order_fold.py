"""The fold of an order's events into what is shown of it.

What became of the order is asked of `domain.order` itself, so that people see what decisions go by; here is only what
decisions need not know: amounts, times, parcels, reasons, counters. Timers are not shown and change no row.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from domain import after_sale_case
from domain.after_sale import OrderRefunded, ReplacementShipped
from domain.approvals import (
    Approval,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    Approvals,
    ApprovalWithdrawn,
    blocking,
)
from domain.canonical import Parcel
from domain.catalogue import TAGS
from domain.erasure import OrderForgotten
from domain.ids import decode_id, parts_of
from domain.order import (
    EVOLVE,
    Allocation,
    DepositPaid,
    EffectFailed,
    EffectSucceeded,
    GiftPreReserved,
    GiftsGranted,
    GiftsWaived,
    InterceptionResolved,
    LinesCancelled,
    LotsRecorded,
    Order,
    OrderAllocated,
    OrderAmended,
    OrderCancelled,
    OrderCompleted,
    OrderIntercepted,
    OrderNormalized,
    OrderOutdated,
    OrderPaid,
    OrderPicked,
    OrderProcessed,
    OrderPromised,
    OrderQuarantined,
    OrderReceived,
    OrderRefused,
    OrderReleased,
    OrderRepeated,
    OrderReserved,
    OrderRouted,
    OrderShipped,
    OrderSkusMapped,
    PartiallyShipped,
    PickListIssued,
    PresaleArrived,
    PresaleLocked,
    QueuedBehind,
    QueueReleased,
    ReservationFailed,
    ServiceOpened,
    replacements_of,
    shown_status,
)
from domain.payments import PaymentFailed, PaymentRecorded
from domain.people import NO_PEOPLE, People
from domain.picking import ItemScanned, ItemUnscanned, PickError
from domain.ports import Recorded
from domain.service_work import ServiceCancelled, ServiceDone, ServiceScheduled
from domain.tracking import DeliveryFailed, OrderDelivered, ParcelTracked, Scan, latest
from projections.base import as_text, at_of, stamp_of
from projections.order_document import (
    NO_VIEW,
    Document,
    Effect,
    Interception,
    Picking,
    Promise,
    Quarantined,
    Refusal,
    Service,
    ShownParcel,
    ShownPayment,
    View,
    Viewed,
)

NEW = Order()
_replace = msgspec.structs.replace


class Entry(msgspec.Struct, gc=False):
    """An order while it is folded."""

    document: Document
    state: Order
    """As decisions know it, as far as `domain.order.evolve` reads it."""
    view: View = NO_VIEW
    viewed: bytes = b""
    """JSON of the event that brought the view; b"" before the first one."""
    sealed: bytes | None = None
    """The sealed personal block that came with it, until that is written."""
    seen: int = 0
    """Position of that event, if it is of this batch; else 0."""
    last: Recorded | None = None
    """Last event of the batch that changed the document."""
    mover: Recorded | None = None
    """Last event of the batch that changed the order itself."""
    written: Order = NEW
    """The state that was last written into the document."""
    search: tuple[tuple[str, str, int], ...] = ()
    """(kind, value, position) of what leads to the order since the batch, each kind and value once; until written."""
    encoded: bytes = b""
    """JSON of the document after the batch."""
    open_lists: tuple[Allocation, ...] = ()
    """Its own and those for after-sales, whose pick list is out, and which are not scanned out yet."""
    gone_lists: tuple[str, ...] = ()
    """Allocations whose pick list was open before the batch and is not any more."""
    forgotten: bool = False
    """Whether its person was forgotten in the batch."""
    picking_at: int = 0
    """Position of the last event of the batch that may have changed its pick lists; 0 = there is none."""


_viewed = msgspec.json.Decoder(Viewed).decode
_BLANK = Document("", "", "", "")
"""What documents begin as: a copy shares its empty mappings, a new one would have its own."""


def begun(key: str) -> Entry:
    """Return the entry of an order that nothing is known of yet."""
    mark = key.rindex(":")
    channel, shop = _channel_and_shop(key[:mark])  # all orders of a shop share them
    order_no = key[mark + 1 :]
    if "=" in order_no:
        order_no = as_text(decode_id(order_no))
    return Entry(_replace(_BLANK, key=key, channel=channel, shop=shop, order_no=order_no), NEW)


@lru_cache(maxsize=1024)
def _shared(text: str) -> str:
    """Return the same text, which thousands of documents keep for long, as one object."""
    return text


@lru_cache(maxsize=1024)
def _channel_and_shop(prefix: str) -> tuple[str, ...]:
    return tuple(as_text(part) for part in parts_of(prefix))


def restored(document: Document, viewed: bytes, sealed: bytes | None) -> Entry:
    """Return the entry of an order as its rows hold it."""
    view = _viewed(viewed).snapshot if viewed else NO_VIEW
    skus = document.skus
    lines = view.lines
    if skus:
        lines = tuple(_replace(one, sku=skus[one.id]) if one.id in skus else one for one in lines)
    state = Order(
        status=document.fulfilment,  # type: ignore[arg-type]
        kind=view.kind,
        lines=lines,  # type: ignore[arg-type]
        holds=view.holds,
        interceptions=tuple((one.interception, one.reason) for one in document.interceptions),
        allocations=document.allocations,
        ruled=document.ruled,
        sent=tuple(document.sent_units.items()),
        cancelled=tuple(document.cancelled_units.items()),
        shipped=frozenset(document.shipped_lines),
        after_sales=tuple(document.after_sale_lines.items()),
        cases=document.after_sales,
        people=_asked(document.approvals) if document.approvals else NO_PEOPLE,
    )
    entry = Entry(document, state, view, viewed, sealed, written=state)
    if document.picking:
        _follow_lists(entry)
    return entry


def _asked(approvals: Mapping[str, Any]) -> People:
    """Return approvals as far as their names and verdicts tell."""
    asked = [Approval(ApprovalRequested(name, name, "", 0), verdict) for name, verdict in approvals.items()]
    return People(Approvals(tuple(asked)))


# --- what each event adds to the document


def _received(entry: Entry, _: OrderReceived, event: Recorded) -> None:
    entry.document.received_at = at_of(event.envelope)


def _view(entry: Entry, view: View, mapping: int, event: Recorded) -> None:
    document = entry.document
    if view.customer and view.customer != entry.view.customer:
        _lead(entry, "customer", view.customer, event)
    before = document.parcels
    if before:
        told = {parcel.tracking for parcel in view.parcels}
        document.parcels = tuple([one for one in document.parcels if one.own and one.tracking not in told])
    if view.parcels:
        _add_parcels(entry, view.parcels, event, own=False)
        tracked = {parcel.tracking: parcel for parcel in before if parcel.state or parcel.where}
        if tracked:
            document.parcels = tuple([_as_tracked(one, tracked.get(one.tracking)) for one in document.parcels])
    entry.view = view
    entry.viewed = event.data
    document.mapping = mapping
    if document.skus:
        document.skus = {}
    entry.sealed = event.sealed
    entry.seen = event.position


def _lead(entry: Entry, kind: str, value: str, event: Recorded) -> None:
    """Note what leads to the order."""
    known = entry.search
    if not known or all(each[:2] != (kind, value) for each in known):
        entry.search = (*known, (kind, value, event.position))


def _normalized(entry: Entry, facts: Viewed, event: Recorded) -> None:
    _view(entry, facts.snapshot, facts.mapping, event)
    entry.document.amount_paid = facts.snapshot.amounts.paid


def _amended(entry: Entry, facts: Viewed, event: Recorded) -> None:
    _view(entry, facts.snapshot, facts.mapping, event)
    entry.document.amended += 1
    if facts.snapshot.amounts.paid:
        entry.document.amount_paid = facts.snapshot.amounts.paid


def _forgotten(entry: Entry, facts: OrderForgotten, event: Recorded) -> None:
    """Empty what was sealed, and let nothing lead from the customer to the order any more."""
    entry.document.erased = facts.request
    entry.search = tuple([each for each in entry.search if each[0] != "customer"])
    entry.forgotten = True
    entry.sealed = None
    if entry.viewed:
        entry.viewed = unnamed(entry.viewed)
        entry.view = _viewed(entry.viewed).snapshot
        entry.seen = event.position


def unnamed(viewed: bytes) -> bytes:
    """Return the data of an event that brought a view, without the digest that leads to its customer."""
    said = msgspec.json.decode(viewed)
    said["snapshot"].pop("customer", None)
    return msgspec.json.encode(said)


def _repeated(entry: Entry, _: OrderRepeated, __: Recorded) -> None:
    entry.document.repeated += 1


def _outdated(entry: Entry, _: OrderOutdated, __: Recorded) -> None:
    entry.document.outdated += 1


def _paid(entry: Entry, facts: OrderPaid, _: Recorded) -> None:
    entry.document.amount_paid = facts.amount
    entry.document.paid_ms = facts.paid_ms


def _deposit_paid(entry: Entry, facts: DepositPaid, _: Recorded) -> None:
    entry.document.amount_paid = facts.amount


def _promise(entry: Entry, facts: OrderPromised, _: Recorded) -> None:
    entry.document.promise = Promise(facts.rule, facts.ship_by_ms, facts.deliver_by_ms)


def _lots(entry: Entry, facts: LotsRecorded, _: Recorded) -> None:
    entry.document.lots += facts.lots


def _released(entry: Entry, _: OrderReleased, __: Recorded) -> None:
    entry.document.pick_list = ""


def _pick_list_issued(entry: Entry, facts: PickListIssued, event: Recorded) -> None:
    entry.document.pick_list = facts.pick_list
    entry.document.picking += (Picking(facts.allocation, at_of(event.envelope)),)


def _item_scanned(entry: Entry, facts: ItemScanned | ItemUnscanned, event: Recorded) -> None:
    for each in entry.document.picking:
        if each.allocation == facts.allocation:
            each.picker = _person(event)


def _person(event: Recorded) -> str:
    by = stamp_of(event.envelope).by
    return by.id or by.kind


def _partially_shipped(entry: Entry, facts: PartiallyShipped, event: Recorded) -> None:
    _add_parcels(entry, facts.parcels, event, own=False)


def _shipped(entry: Entry, facts: OrderShipped, event: Recorded) -> None:
    entry.document.shipped_ms = facts.shipped_ms
    _add_parcels(entry, facts.parcels, event, own=bool(facts.command))


def _completed(entry: Entry, facts: OrderCompleted, _: Recorded) -> None:
    entry.document.completed_ms = facts.completed_ms


def _cancelled(entry: Entry, facts: OrderCancelled, _: Recorded) -> None:
    entry.document.cancel_reason = facts.reason


def _refunded(entry: Entry, facts: OrderRefunded, _: Recorded) -> None:
    entry.document.refunded += facts.amount


def _intercepted(entry: Entry, facts: OrderIntercepted, _: Recorded) -> None:
    one = Interception(facts.interception, facts.reason, facts.evidence, facts.advice, facts.role, facts.risk_ms)
    entry.document.interceptions = (*entry.document.interceptions, one)


def _resolved(entry: Entry, facts: InterceptionResolved, _: Recorded) -> None:
    entry.document.interceptions = tuple(
        one for one in entry.document.interceptions if one.interception != facts.interception
    )


def _refused(entry: Entry, facts: OrderRefused, _: Recorded) -> None:
    entry.document.refused += 1
    entry.document.last_refusal = Refusal(facts.what, facts.rule, facts.reason, facts.command)


def _pick_error(entry: Entry, facts: PickError, event: Recorded) -> None:
    entry.document.refused += 1
    entry.document.last_refusal = Refusal("ScanItem", facts.error, facts.reason, facts.command)
    for each in entry.document.picking:
        if each.allocation == facts.allocation:
            each.errors += 1
            each.picker = _person(event)


def _quarantined(entry: Entry, facts: OrderQuarantined, _: Recorded) -> None:
    entry.document.quarantine = Quarantined(facts.item, facts.reason, facts.where, facts.advice, facts.payload)


def _queued_behind(entry: Entry, _: QueuedBehind, __: Recorded) -> None:
    entry.document.queued += 1


def _queue_released(entry: Entry, _: QueueReleased, __: Recorded) -> None:
    entry.document.quarantine = None
    entry.document.queued = 0


def _skus_mapped(entry: Entry, facts: OrderSkusMapped, _: Recorded) -> None:
    entry.document.skus = {**entry.document.skus, **dict(facts.lines)}


def _service_opened(entry: Entry, facts: ServiceOpened, _: Recorded) -> None:
    entry.document.services += (Service(facts.reference, facts.service, facts.lines),)


def _service_moved(entry: Entry, facts: ServiceScheduled | ServiceDone | ServiceCancelled, _: Recorded) -> None:
    services = entry.document.services
    known = services[facts.service - 1]
    match facts:
        case ServiceScheduled():
            moved = _replace(known, stage="scheduled", day=facts.day)
        case ServiceDone():
            moved = _replace(known, stage="done")
        case ServiceCancelled():
            moved = _replace(known, stage="cancelled", day="")
    entry.document.services = (*services[: facts.service - 1], moved, *services[facts.service :])


def _effect(entry: Entry, facts: EffectSucceeded | EffectFailed, event: Recorded) -> None:
    if isinstance(facts, EffectSucceeded):
        stands = Effect(facts.effect, facts.key, "succeeded", facts.reference, "", facts.tries, at_of(event.envelope))
    else:
        outcome: Literal["failed", "given_up"] = "given_up" if facts.final else "failed"
        reference, reason = facts.reference, facts.reason
        stands = Effect(facts.effect, facts.key, outcome, reference, reason, facts.tries, at_of(event.envelope))
    effects = entry.document.effects
    for place, known in enumerate(effects):
        if (known.effect, known.key) == (facts.effect, facts.key):
            entry.document.effects = (*effects[:place], stands, *effects[place + 1 :])
            return
    entry.document.effects = (*effects, stands)


def _tracked(entry: Entry, facts: ParcelTracked, _: Recorded) -> None:
    for parcel in entry.document.parcels:
        if parcel.tracking == facts.tracking:
            for scan in facts.scans:
                _scanned(parcel, scan)


def _as_tracked(parcel: ShownParcel, before: ShownParcel | None) -> ShownParcel:
    """Return a parcel that the channel told anew, with what its carrier has told."""
    if before is None:
        return parcel
    names = ("state", "where", "state_ms", "where_ms")
    return _replace(parcel, **{name: getattr(before, name) for name in names})


def _scanned(parcel: ShownParcel, scan: Scan) -> None:
    if scan.state and latest((scan, Scan(parcel.state_ms, parcel.state))) is scan:
        parcel.state, parcel.state_ms = scan.state, scan.at_ms
    if scan.where and scan.at_ms >= parcel.where_ms:
        parcel.where, parcel.where_ms = scan.where, scan.at_ms


def _delivered(entry: Entry, facts: OrderDelivered, _: Recorded) -> None:
    entry.document.delivered_ms = facts.delivered_ms


def _payment(entry: Entry, facts: PaymentRecorded | PaymentFailed, _: Recorded) -> None:
    told = ShownPayment(
        facts.transaction, facts.kind, facts.amount, facts.currency, facts.at_ms, facts.service, facts.payment
    )
    others = [each for each in entry.document.payments if each.transaction != facts.transaction]
    entry.document.payments = (*others, told)


def _replacement_shipped(entry: Entry, facts: ReplacementShipped, event: Recorded) -> None:
    _add_parcels(entry, (facts.parcel,), event, own=True, case=facts.case)


def _add_parcels(entry: Entry, parcels: Iterable[Parcel], event: Recorded, *, own: bool, case: int = 0) -> None:
    document = entry.document
    known = {parcel.tracking for parcel in document.parcels}
    for parcel in parcels:
        if parcel.tracking in known:
            continue
        known.add(parcel.tracking)
        document.parcels += (ShownParcel(parcel.carrier, parcel.tracking, parcel.lines, parcel.at, own, case=case),)
        if parcel.tracking:
            _lead(entry, "tracking", parcel.tracking, event)


_Show = Callable[[Entry, Any, Recorded], None]
_TOLD: Mapping[type, _Show | None] = {
    ParcelTracked: _tracked,
    DeliveryFailed: None,
    OrderDelivered: _delivered,
    PaymentRecorded: _payment,
    PaymentFailed: _payment,
}
"""What carriers and payment services tell: shown as it was told."""


class Rule(NamedTuple):
    """How a kind of event is folded."""

    decode: Callable[[bytes], Any] | None
    """None = its facts are not looked at."""
    evolve: Callable[[Order, Any], Order] | None
    show: _Show | None
    moves: bool
    """Whether the order itself changed; otherwise the event only tells what came in."""
    picking: bool
    """Whether it may change something of the order's pick lists."""


_UNREAD = frozenset({OrderReceived, QueueReleased, OrderRepeated, OrderOutdated, QueuedBehind})
"""Their facts are not looked at."""


def _reader(kind: type) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode


def _rules() -> dict[str, Rule]:
    shown: Mapping[type, _Show | None] = {
        OrderNormalized: _normalized,
        OrderAmended: _amended,
        OrderSkusMapped: _skus_mapped,
        ServiceOpened: _service_opened,
        OrderPaid: _paid,
        DepositPaid: _deposit_paid,
        OrderRouted: None,
        GiftsGranted: None,
        GiftPreReserved: None,
        GiftsWaived: None,
        PresaleLocked: None,
        PresaleArrived: None,
        OrderPromised: _promise,
        OrderAllocated: None,
        OrderReserved: None,
        OrderReleased: _released,
        PickListIssued: _pick_list_issued,
        OrderProcessed: None,
        ItemScanned: _item_scanned,
        ItemUnscanned: _item_scanned,
        OrderPicked: None,
        PartiallyShipped: _partially_shipped,
        OrderShipped: _shipped,
        OrderCompleted: _completed,
        OrderCancelled: _cancelled,
        LinesCancelled: None,
        **dict.fromkeys(after_sale_case.EVENTS),
        ReplacementShipped: _replacement_shipped,
        OrderRefunded: _refunded,
        OrderIntercepted: _intercepted,
        InterceptionResolved: _resolved,
        ApprovalRequested: None,
        ApprovalGiven: None,
        ApprovalRejected: None,
        ApprovalWithdrawn: None,
    }
    views = (OrderNormalized, OrderAmended)
    rules = {
        TAGS[kind]: Rule(_viewed if kind in views else _reader(kind), EVOLVE[kind], show, moves=True, picking=True)
        for kind, show in shown.items()
    }
    failed = ReservationFailed
    rules[TAGS[failed]] = Rule(_reader(failed), EVOLVE[failed], None, moves=False, picking=True)
    # These leave the state that is kept here as it is.
    told: Mapping[type, tuple[_Show | None, bool, bool]] = {
        OrderReceived: (_received, True, False),
        OrderQuarantined: (_quarantined, True, True),
        QueueReleased: (_queue_released, True, True),
        LotsRecorded: (_lots, True, False),
        OrderForgotten: (_forgotten, True, False),
        OrderRepeated: (_repeated, False, False),
        OrderOutdated: (_outdated, False, False),
        QueuedBehind: (_queued_behind, False, False),
        EffectSucceeded: (_effect, False, False),
        EffectFailed: (_effect, False, False),
        OrderRefused: (_refused, False, False),
        PickError: (_pick_error, False, True),
        **dict.fromkeys((ServiceScheduled, ServiceDone, ServiceCancelled), (_service_moved, True, False)),
        **{kind: (show, True, False) for kind, show in _TOLD.items()},
    }
    for kind, (show, moves, picking) in told.items():
        rules[TAGS[kind]] = Rule(None if kind in _UNREAD else _reader(kind), None, show, moves, picking)
    return rules


RULES: Mapping[str, Rule] = _rules()
"""By tag. A failed reservation gives back what others of the order hold, and shows as the interception that follows it;
timers are not shown."""


def finish(entry: Entry) -> None:
    """Bring up to date what follows from the rest, once for a batch."""
    document, state, last, mover = entry.document, entry.state, entry.last, entry.mover
    assert last is not None
    document.position = last.position
    document.version = last.version
    if mover is not None:
        stamp = stamp_of(mover.envelope)
        document.updated_at = stamp.at
        document.updated_by = _shared(stamp.who)
        document.updated_role = stamp.by.role
        document.source_tag = _shared(stamp.source_tag)
    written = entry.written
    if state is not written:
        document.fulfilment = state.status
        document.ruled = state.ruled
        document.state = shown_status(state)
        document.allocations = state.allocations
        if document.picking:
            _follow_lists(entry)
        if state.people is not written.people:
            document.approvals = {each.asked.approval: each.verdict for each in blocking(state.people.approvals)}
        if state.shipped is not written.shipped:
            document.shipped_lines = tuple(sorted(state.shipped))
        if state.sent is not written.sent:
            document.sent_units = dict(state.sent)
        if state.cancelled is not written.cancelled:
            document.cancelled_units = dict(state.cancelled)
        if state.after_sales is not written.after_sales:
            document.after_sale_lines = dict(state.after_sales)
        document.after_sales = state.cases
        entry.written = state
    entry.last = entry.mover = None


def _follow_lists(entry: Entry) -> None:
    """Tell apart which of the pick lists that were issued are open, and which of those before have gone."""
    document, state, before = entry.document, entry.state, entry.open_lists
    there = (*state.allocations, *replacements_of(state)) if state.cases else state.allocations
    if not there:
        entry.open_lists, entry.gone_lists, document.picking = (), tuple([each.id for each in before]), ()
        return
    issued = [each.allocation for each in document.picking]
    entry.open_lists = tuple([each for each in there if each.id in issued and not each.picked])
    if before or len(entry.open_lists) != len(issued):
        still = [each.id for each in entry.open_lists]
        entry.gone_lists = tuple([each.id for each in before if each.id not in still])
        document.picking = tuple([each for each in document.picking if each.allocation in still])
