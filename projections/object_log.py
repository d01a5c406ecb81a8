"""The log as an object-centric event log (OCEL 2.0): what each event is about, and what objects are like when.

Most of an event's objects are told by the names of its fields, which mean the same in every event (`allocation`,
`warehouse`, `case` …): a new event finds its objects without a word here. Whose units `lines` are (a SKU's or a line's)
is told by its tag. What the facts do not say is taken from the order before and after. Nothing personal: a customer is
the keyed digest that the log has, people are told by their role.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from domain import order as orders
from domain import stock
from domain.after_sale_case import case_name, case_of_allocation
from domain.canonical import Line, Parcel, Snapshot
from domain.catalogue import TYPES
from domain.envelope import By
from domain.ids import buyer_of, decode_id, encode_id, kind_of, parts_of, warehouse_key
from domain.warehouse import warehouse
from projections.order_picking import list_of

Value = str | int | bool
Kind = Literal["string", "integer", "boolean"]
"""(id of an object, as what it takes part)."""

OBJECTS: Mapping[str, Mapping[str, Kind]] = {
    "order": {
        "channel": "string",
        "shop": "string",
        "order_no": "string",
        "kind": "string",
        "currency": "string",
        "payable": "integer",
        "state": "string",
        "held": "boolean",
    },
    "line": {"sku": "string", "units": "integer", "amount": "integer", "gift": "boolean"},
    "sku": {"code": "string"},
    "stock": {"on_hand": "integer", "reserved": "integer", "available": "integer"},
    "warehouse": {"code": "string"},
    "allocation": {"warehouse": "string"},
    "pick_list": {"warehouse": "string", "area": "string", "priority": "string"},
    "parcel": {"carrier": "string", "state": "string"},
    "customer": {},
    "channel": {"name": "string"},
    "shop": {"channel": "string", "name": "string"},
    "approval": {"form": "string", "role": "string", "verdict": "string"},
    "after_sale": {"kind": "string", "reason": "string", "stage": "string"},
    "interception": {"reason": "string", "role": "string", "decision": "string"},
    "service": {"stage": "string"},
    "rule": {"name": "string"},
    "register": {"name": "string"},
}
"""Type of object → its attributes. Money is in minor units of the order's currency. A `stock` is one SKU in one
warehouse; a `register` is one of the cell's own books: rule book, buyers, barcodes, the cell itself."""

COMMON: Mapping[str, Kind] = {"log_position": "integer", "by": "string", "by_role": "string"}
"""Attributes of every event: its place in the log; who did it (a channel, rule or part of the system by its name, a
person as `person`); a person's role."""

LEFT_OUT = frozenset(
    {
        *("payload", "digest", "address", "subject", "text", "details", "message", "item", "command", "key", "goods"),
        *("person", "who", "asked_by", "note", "evidence", "advice", "buyer", "code"),
    }
)
"""Fields that no export shows: digests and ids of messages, which say nothing to people; ids of people; long texts."""


def _kind_of_field(hint: Any) -> Kind | None:
    if get_origin(hint) in (Union, UnionType):
        return None
    if get_origin(hint) is Literal:
        hint = type(get_args(hint)[0])
    kinds: Mapping[Any, Kind] = {str: "string", int: "integer", bool: "boolean"}
    return kinds.get(hint)


def _attributes(event: type) -> dict[str, Kind]:
    hints = get_type_hints(event)
    found = {name: _kind_of_field(hints[name]) for name in event.__struct_fields__ if name not in LEFT_OUT}  # type: ignore[attr-defined]
    return {name: kind for name, kind in found.items() if kind is not None}


EVENTS: Mapping[str, Mapping[str, Kind]] = {tag: {**_attributes(kind), **COMMON} for tag, kind in TYPES.items()}
"""Tag → attributes of its events: its fields that are a single text, number or truth, but for `LEFT_OUT`."""

OF_LINES = frozenset(
    {
        *("order.skus_mapped", "order.partially_shipped", "order.lines_cancelled", "order.after_sale_opened"),
        *("order.after_sale_closed", "order.refunded", "order.return_received", "order.service_opened"),
    }
)
"""Orders' events whose `lines`, `good`, `damaged` and `missing` name lines of the order; all others name SKUs."""
PICKING = frozenset(
    {
        *(
            "order.pick_list_issued",
            "order.item_scanned",
            "order.item_unscanned",
            "order.pick_error",
            "order.processed",
        ),
        *("order.picked", "order.lots_recorded", "order.partially_shipped", "order.shipped"),
        *("order.delivery_confirmed", "order.replacement_picked", "order.replacement_shipped", "stock.picked_out"),
    }
)
"""Events of an allocation that are also its pick list's."""
VERDICTS: Mapping[str, str] = {
    "order.approval_requested": "open",
    "order.rejected": "rejected",
    "order.approval_withdrawn": "withdrawn",
}
STAGES: Mapping[str, str] = {
    "order.service_opened": "opened",
    "order.service_scheduled": "scheduled",
    "order.service_done": "done",
    "order.service_cancelled": "cancelled",
}


class Seen(NamedTuple):
    """An actor as far as the mapping asks."""

    state: Any
    """Of an order or a warehouse; None of all others."""
    customer: str = ""
    """Id of the customer of an order, as far as it is known."""


class Touch(NamedTuple):
    """An object that an event has to do with."""

    id: str
    type: str
    whole: Mapping[str, Value] = {}
    """All that is known of it after the event; texts that are empty are left out."""
    changed: Mapping[str, Value] = {}
    """As much of that as the event changed."""
    links: Sequence[tuple[str, str, str]] = ()
    """(source, target, qualifier): how it hangs together with others, for the first time that it is met."""
    beside: "Sequence[Touch]" = ()
    """Objects that only `links` name."""


class Logged(NamedTuple):
    """An event as OCEL has it, without its id and time."""

    attributes: Mapping[str, Value]
    objects: Sequence[tuple[Touch, str]]
    """(object, qualifier: as what it takes part); at least one."""
    links: Sequence[tuple[str, str, str]]
    """Relations between these objects that this event shows."""


def seen_first(stream: str) -> Seen:
    """Return an actor of which nothing has happened yet."""
    initial = {"order": orders.order.initial, "warehouse": warehouse.initial}
    return Seen(initial.get(kind_of(stream)))


def seen_after(seen: Seen, stream: str, facts: Any) -> Seen:
    """Return an actor after an event."""
    if seen.state is None:
        return seen
    if kind_of(stream) == "warehouse":
        return Seen(warehouse.evolve(seen.state, facts))
    snapshot: Snapshot | None = getattr(facts, "snapshot", None)
    customer = customer_of(snapshot) if snapshot is not None else ""
    return Seen(orders.evolve(seen.state, facts), customer or seen.customer)


def customer_of(snapshot: Snapshot) -> str:
    """Return the id of the customer of an order; "" where the channel does not tell him apart."""
    return f"customer-{buyer_of(snapshot.channel, snapshot.customer)}" if snapshot.customer else ""


def logged(tag: str, stream: str, position: int, facts: Any, by: By, before: Seen, after: Seen) -> Logged:
    """Return an event with its objects.

    Args:
        tag: the event's tag, a current one.
        stream: its stream.
        position: its place in the log.
        facts: the event.
        by: who did it.
        before: its actor before it.
        after: its actor after it.
    """
    found = _Found(tag, stream, facts, before, after)
    found.look()
    return Logged(attributes_of(tag, position, facts, by), list(found.objects.values()), found.links)


def attributes_of(tag: str, position: int, facts: Any, by: By) -> dict[str, Value]:
    """Return the attributes of an event (see `EVENTS`); texts that are empty are left out."""
    who = "person" if by.kind == "person" else f"{by.kind}:{by.id}" if by.id else by.kind
    attributes: dict[str, Value] = {"log_position": position, "by": who}
    if by.role:
        attributes["by_role"] = by.role
    for name in EVENTS[tag]:
        value = getattr(facts, name, "")
        if value != "" and name not in attributes:
            attributes[name] = value
    return attributes


class _Found:
    """The objects of one event, on their way."""

    def __init__(self, tag: str, stream: str, facts: Any, before: Seen, after: Seen) -> None:
        self.tag, self.stream, self.facts, self.before, self.after = tag, stream, facts, before, after
        self.objects: dict[tuple[str, str], tuple[Touch, str]] = {}
        self.links: list[tuple[str, str, str]] = []

    def add(self, touch: Touch, qualifier: str) -> None:
        self.objects.setdefault((touch.id, qualifier), (touch, qualifier))

    def look(self) -> None:
        stream, facts = self.stream, self.facts
        kind = kind_of(stream)
        if kind == "order":
            self._order()
        elif kind == "warehouse":
            self._ledger()
        elif kind == "trail":
            self.add(Touch(f"customer-{stream[len('trail-') :]}", "customer"), "customer")
        elif kind in ("intake", "skus", "finance"):
            # What follows channel and shop (a day of statements) is no part of the shop's name.
            self.add(_shop(":".join(stream[len(kind) + 1 :].split(":")[:2])), "shop")
        elif kind == "mapping":
            self.add(_channel(stream[len(kind) + 1 :]), "channel")
        else:
            self.add(Touch(stream, "register", {"name": kind}), "register")
        for name, kind_of_value, look in _FIELDS:
            value = getattr(facts, name, None)
            if value and isinstance(value, kind_of_value):
                look(self, value)

    # --- orders

    def _order(self) -> None:
        key, facts = self.stream, self.facts
        before, after = self.before.state, self.after.state
        whole = _order_attributes(key, after)
        shop = _shop(key[len("order-") : key.rindex(":")])
        links = [(key, shop.id, "sold in")]
        beside = [shop]
        if self.after.customer:
            links.append((key, self.after.customer, "placed by"))
            beside.append(Touch(self.after.customer, "customer"))
        self.add(Touch(key, "order", whole, _changed(_order_attributes(key, before), whole), links, beside), "order")
        if self.tag == "order.received":
            self.add(shop, "shop")
            self.add(shop.beside[0], "channel")
        if getattr(facts, "snapshot", None) is not None:
            if self.after.customer:
                self.add(Touch(self.after.customer, "customer"), "customer")
                self.links.append((key, self.after.customer, "placed by"))
            self._lines([line.id for line in after.lines])
        elif self.tag in OF_LINES:
            self._lines(
                pair if isinstance(pair, str) else pair[0]
                for name in ("lines", "good", "damaged", "missing")
                for pair in getattr(facts, name, ())
            )
        elif after.shipped is not before.shipped:
            self._lines(sorted(after.shipped - before.shipped))
        named = getattr(facts, "case", 0)
        if named or after.cases is not before.cases:
            self._cases(named)

    def _lines(self, ids: Iterable[str]) -> None:
        known = {line.id: line for line in self.after.state.lines}
        earlier = {line.id: line for line in self.before.state.lines}
        for name in ids:
            if name in known:
                self.add(_line(self.stream, known[name], earlier.get(name)), "line")

    def _cases(self, named: int) -> None:
        earlier = {case.number: case for case in self.before.state.cases}
        for case in self.after.state.cases:
            if case.number == named or earlier.get(case.number) is not case:
                whole = _told(kind=case.kind, reason=case.reason, stage=case.stage)
                old = earlier.get(case.number)
                was = _told(kind=old.kind, reason=old.reason, stage=old.stage) if old else {}
                name = case_name(self.stream, case.number)
                links = [(self.stream, name, "after-sale")]
                self.add(Touch(name, "after_sale", whole, _changed(was, whole), links), "case")

    # --- stock

    def _ledger(self) -> None:
        facts = self.facts
        self.add(_warehouse(parts_of(self.stream)[0]), "warehouse")
        named = [pair[0] for name in ("lines", "short", "refused") for pair in getattr(facts, name, ())]
        if sku := getattr(facts, "sku", ""):
            named.append(sku)
        for sku in dict.fromkeys(named):
            whole = _level(self.after.state.levels.get(sku, stock.NONE))
            changed = _changed(_level(self.before.state.levels.get(sku, stock.NONE)), whole)
            name, of = f"{self.stream}/{encode_id(sku)}", _sku(sku)
            links = [(name, of.id, "of"), (name, self.stream, "in")]
            self.add(Touch(name, "stock", whole, changed, links, (of,)), "level")

    # --- what fields mean, in any event

    def allocation(self, name: str) -> None:
        key, _, rest = name.partition("/")
        if not rest:
            return
        code = getattr(self.facts, "warehouse", "") or self._held_in(name)
        self.order_named(key)
        place = (_warehouse(code),) if code else ()
        links = [(key, name, "served by"), *((name, each.id, "held in") for each in place)]
        if number := case_of_allocation(name):
            case = case_name(key, number)
            self.add(Touch(case, "after_sale", links=((key, case, "after-sale"),)), "case")
            links.append((case, name, "replaced by"))
        self.add(Touch(name, "allocation", _told(warehouse=code), {}, links, place), "allocation")
        if place:
            self.add(place[0], "warehouse")
        if self.tag in PICKING:
            area, priority = getattr(self.facts, "area", ""), getattr(self.facts, "priority", "")
            whole = _told(warehouse=code, area=area, priority=priority)
            self.add(Touch(list_of(name), "pick_list", whole, {}, ((list_of(name), name, "picks"),)), "pick list")

    def _held_in(self, name: str) -> str:
        if kind_of(self.stream) == "warehouse":
            return parts_of(self.stream)[0]
        held: Sequence[orders.Allocation] = (*self.before.state.allocations, *orders.replacements_of(self.before.state))
        return next((each.warehouse for each in held if each.id == name), "")

    def allocations(self, planned: Sequence[orders.Allocation]) -> None:
        for each in planned:
            place = _warehouse(each.warehouse)
            links = [(self.stream, each.id, "served by"), (each.id, place.id, "held in")]
            self.add(Touch(each.id, "allocation", {"warehouse": each.warehouse}, {}, links, (place,)), "allocation")
            self.add(place, "warehouse")
            self.goods(each.lines)

    def order_named(self, key: str) -> None:
        if key.startswith("order-") and key != self.stream:
            channel, shop, number = parts_of(key)
            place = _shop(key[len("order-") : key.rindex(":")])
            whole = _told(channel=channel, shop=shop, order_no=number)
            self.add(Touch(key, "order", whole, {}, ((key, place.id, "sold in"),), (place,)), "order")

    def orders_named(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.order_named(key)

    def other_order(self, key: str) -> None:
        if key.startswith("order-"):
            self.add(Touch(key, "order"), "other order")

    def goods(self, pairs: Iterable[Sequence[Any]]) -> None:
        if kind_of(self.stream) == "order" and self.tag not in OF_LINES:
            for pair in pairs:
                self.sku(pair[0])

    def sku(self, code: str) -> None:
        if code and kind_of(self.stream) != "warehouse":
            self.add(_sku(code), "goods")

    def granted(self, gifts: Iterable[Any]) -> None:
        for gift in gifts:
            self.sku(gift.sku)
            self.rule(gift.rule)

    def ruled(self, parts: Iterable[Any]) -> None:
        for part in parts:
            self.rule(part.rule)

    def lots(self, lots: Iterable[orders.Lot]) -> None:
        for lot in lots:
            self.sku(lot.sku)

    def rule(self, name: str) -> None:
        if name and not self.tag.endswith(".refused"):  # there it is the broken one of ours
            self.add(Touch(f"rule-{encode_id(name)}", "rule", {"name": name}), "rule")

    def place(self, code: str) -> None:
        self.add(_warehouse(code), "warehouse")

    def other_place(self, code: str) -> None:
        if self.tag.startswith("stock."):
            self.add(_warehouse(code), "other warehouse")

    def parcels(self, parcels: Iterable[Any]) -> None:
        for parcel in parcels:
            self.parcel(parcel)

    def parcel(self, parcel: Any) -> None:
        if parcel.tracking:
            self._box(parcel.tracking, parcel.carrier, "parcel")

    def tracking(self, number: str) -> None:
        back = self.tag == "order.return_announced"
        self._box(number, getattr(self.facts, "carrier", ""), "return parcel" if back else "parcel")

    def _box(self, number: str, carrier: str, qualifier: str) -> None:
        name = f"parcel-{encode_id(number)}"
        earlier, now = (
            next((each.state for each in seen.state.tracking.parcels if each.tracking == number), "")
            for seen in (self.before, self.after)
        )
        whole = _told(carrier=carrier, state=now)
        changed = {"state": now} if now != earlier else {}
        self.links.append((self.stream, name, "gets back" if qualifier == "return parcel" else "sent in"))
        if allocation := getattr(self.facts, "allocation", ""):
            self.links.append((allocation, name, "packed in"))
        self.add(Touch(name, "parcel", whole, changed), qualifier)

    def approval(self, name: str) -> None:
        facts = self.facts
        verdict = VERDICTS.get(self.tag, "approved" if getattr(facts, "complete", False) else "")
        form = getattr(facts, "form", "")
        whole = _told(form=form, role=getattr(facts, "role", "") if form else "", verdict=verdict)
        known = f"{self.stream}/approval-{encode_id(name)}"
        changed = {"verdict": verdict} if verdict else {}
        self.add(Touch(known, "approval", whole, changed, ((self.stream, known, "approval"),)), "approval")

    def interception(self, name: str) -> None:
        facts = self.facts
        decision = getattr(facts, "decision", "")
        whole = _told(reason=getattr(facts, "reason", ""), role=getattr(facts, "role", ""), decision=decision)
        known = f"{self.stream}/hold-{encode_id(name)}"
        changed = {"decision": decision} if decision else {}
        self.add(Touch(known, "interception", whole, changed, ((self.stream, known, "stopped by"),)), "hold")

    def service(self, number: Any) -> None:
        if self.tag in STAGES:
            known = self.facts.reference if self.tag == "order.service_opened" else f"{self.stream}/service-{number}"
            whole = {"stage": STAGES[self.tag]}
            self.add(Touch(known, "service", whole, whole, ((self.stream, known, "service"),)), "service")

    def buyer(self, name: str) -> None:
        self.add(Touch(f"customer-{name}", "customer"), "customer")


_FIELDS: Sequence[tuple[str, Any, Callable[[_Found, Any], None]]] = (
    ("allocation", str, _Found.allocation),
    ("allocations", tuple, _Found.allocations),
    ("order", str, _Found.order_named),
    ("orders", tuple, _Found.orders_named),
    ("of", str, _Found.other_order),
    ("lines", tuple, _Found.goods),
    ("short", tuple, _Found.goods),
    ("packed", tuple, _Found.goods),
    ("sku", str, _Found.sku),
    ("lots", tuple, _Found.lots),
    ("gifts", tuple, _Found.granted),
    ("savings", tuple, _Found.ruled),
    ("routes", tuple, _Found.ruled),
    ("rule", str, _Found.rule),
    ("warehouse", str, _Found.place),
    ("to", str, _Found.other_place),
    ("source", str, _Found.other_place),
    ("parcels", tuple, _Found.parcels),
    ("parcel", Parcel, _Found.parcel),
    ("tracking", str, _Found.tracking),
    ("approval", str, _Found.approval),
    ("interception", str, _Found.interception),
    ("service", (int, str), _Found.service),
    ("buyer", str, _Found.buyer),
)
"""(name of a field, type that it must be of to mean this, what to make of it where it holds something)."""


def _told(**values: str) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value}


def _changed(before: Mapping[str, Value], after: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in after.items() if before.get(name) != value}


def _order_attributes(key: str, state: orders.Order) -> dict[str, Value]:
    channel, shop, number = parts_of(key)
    whole = _told(channel=channel, shop=shop, order_no=number)
    if state.status:
        whole["kind"] = state.kind
        whole["currency"] = state.amounts.currency
        whole["payable"] = state.amounts.payable
        whole["state"] = orders.shown_status(state)
        whole["held"] = orders.on_hold(state)
    return whole


def _line(key: str, line: Line, earlier: Line | None) -> Touch:
    whole = _line_attributes(line)
    name = f"{key}/line-{encode_id(line.id)}"
    links = [(key, name, "contains")]
    beside: Sequence[Touch] = ()
    if line.sku:
        links.append((name, _sku(line.sku).id, "of"))
        beside = (_sku(line.sku),)
    return Touch(name, "line", whole, _changed(_line_attributes(earlier), whole) if earlier else {}, links, beside)


def _line_attributes(line: Line) -> dict[str, Value]:
    return {**_told(sku=line.sku), "units": line.quantity, "amount": line.amount, "gift": line.gift}


def _level(level: stock.Level) -> dict[str, Value]:
    return {"on_hand": level.on_hand, "reserved": level.reserved, "available": level.available}


def _sku(code: str) -> Touch:
    return Touch(f"sku-{encode_id(code)}", "sku", {"code": code})


def _warehouse(code: str) -> Touch:
    return Touch(warehouse_key(code), "warehouse", {"code": code})


def _channel(encoded: str) -> Touch:
    return Touch(f"channel-{encoded}", "channel", {"name": decode_id(encoded)})


def _shop(encoded: str) -> Touch:
    channel, _, name = encoded.partition(":")
    of = _channel(channel)
    whole = {"channel": decode_id(channel), "name": decode_id(name)}
    return Touch(f"shop-{encoded}", "shop", whole, {}, ((f"shop-{encoded}", of.id, "on"),), (of,))
