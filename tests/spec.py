"""Given / when / then for deciders and for whole turns of a cell, and short words for canonical orders.

`Spec(order).given(event, …).when(command).then(event, …)` asserts events, whole. `Cell` runs messages through
`domain.cell.run_turn` and keeps everything a log would keep.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from domain import order, stock
from domain.canonical import AfterSale, Amounts, Line, Parcel, Snapshot, SourceTime, Status
from domain.catalogue import decode_event, encode_event
from domain.cell import DECIDERS, Held, Message, Missing, Prepared, Taken, Turn, run_turn
from domain.decider import Command, Decider, DomainError, Event, fold
from domain.envelope import By
from domain.ids import kind_of, order_key, warehouse_key
from domain.mail import ChannelPayload, Mail
from domain.rulings import UNRULED, Ruling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.ports import Record

CHANNEL = By("channel", "taobao")
PERSON = By("person", "p-1", "operations")
WAREHOUSE = warehouse_key("A")
T0 = 1_770_000_000_000
"""Begin of the time of all tests, UTC ms."""


class Spec:
    """One decision: what had happened, what is asked for, what follows."""

    def __init__(self, decider: Decider) -> None:
        """Take the actor's pure functions."""
        self._decider = decider
        self._state: Any = decider.initial
        self._events: Sequence[Event] = ()
        self._refusal: DomainError | None = None

    def given(self, *events: Event) -> Spec:
        """Let these have happened."""
        self._state = fold(self._decider, events, self._state)
        return self

    def when(self, command: Command, now_ms: int = T0) -> Spec:
        """Ask for it; a decision must not change the state it reads."""
        before = msgspec.structs.asdict(self._state)
        self._events, self._refusal = (), None
        try:
            self._events = self._decider.decide(command, self._state, now_ms)
        except DomainError as refusal:
            self._refusal = refusal
        assert msgspec.structs.asdict(self._state) == before
        return self

    def then(self, *events: Event) -> Spec:
        """Expect exactly these events, and let them have happened."""
        assert self._refusal is None, self._refusal
        assert tuple(self._events) == events
        return self.given(*events)

    def then_some(self, *kinds: type[Event]) -> Spec:
        """Expect events of exactly these kinds, and let them have happened."""
        assert self._refusal is None, self._refusal
        assert tuple(type(event) for event in self._events) == kinds, self._events
        return self.given(*self._events)

    def then_nothing(self) -> Spec:
        """Expect that there is nothing to say."""
        return self.then()

    def then_raises(self, refusal: type[DomainError]) -> Spec:
        """Expect the broken rule, with a reason for people."""
        assert type(self._refusal) is refusal, (self._refusal, self._events)
        assert self._refusal.reason
        return self

    @property
    def state(self) -> Any:
        """The state after all that has happened."""
        return self._state


# --- canonical orders in a few words


def at(minutes: int) -> SourceTime:
    """Return the time so many minutes after `T0`."""
    return SourceTime(str(minutes), T0 + minutes * 60_000, 480, f"minute {minutes}")


def line(
    name: str,
    sku: str | None = None,
    quantity: int = 1,
    state: Literal["open", "shipped", "cancelled"] = "open",
    after_sale: AfterSale = "",
) -> Line:
    """Return a line; its SKU is `S<name>` unless it is given."""
    return Line(name, f"S{name}" if sku is None else sku, quantity, item=f"item-{name}", state=state,
                after_sale=after_sale, amount=100 * quantity)  # fmt: skip


def snapshot(
    status: Status = "paid",
    minute: int = 1,
    lines: Sequence[Line] = (line("1"),),
    *,
    number: str = "o-1",
    kind: Literal["normal", "presale", "counter"] = "normal",
    paid: int | None = None,
    holds: tuple[str, ...] = (),
    pay_by: SourceTime | None = None,
    shipped: int | None = None,
    revision: int = 0,
    freight: int = 0,
) -> Snapshot:
    """Return a channel's view of an order, last changed at `minute`."""
    payable = sum(each.amount for each in lines) + freight
    money = paid if paid is not None else (0 if status in ("awaiting_payment", "cancelled") else payable)
    gone = status in ("shipped", "completed") or any(each.state == "shipped" for each in lines)
    return Snapshot(
        channel="taobao",
        shop="shop1",
        order_no=number,
        status=status,
        native_status=f"NATIVE_{status}",
        amounts=Amounts("CNY", goods=payable - freight, freight=freight, payable=payable, paid=money),
        ordered_at=at(0),
        modified_at=at(minute),
        lines=tuple(lines),
        kind=kind,
        pay_by=pay_by,
        shipped_at=at(shipped) if shipped is not None else (at(minute) if gone else None),
        holds=holds,
        parcels=(Parcel("SF", "T1"),) if gone else (),
        revision=revision,
    )


def digest_of(view: Snapshot, address: str = "addr-1") -> str:
    """Return a stand-in for the keyed digest of the whole canonical order."""
    return sha256(msgspec.json.encode((view, address))).hexdigest()[:32]


def taking(
    view: Snapshot, address: str = "addr-1", *, ruling: Ruling = UNRULED, flaws: tuple[str, ...] = ()
) -> order.TakeSnapshot:
    """Return the command that a channel's view becomes."""
    digest = digest_of(view, address)
    return order.TakeSnapshot(view, digest, address, f"payload-{digest[:8]}", b"sealed", flaws=flaws, ruling=ruling)


def normalized(view: Snapshot, address: str = "addr-1") -> tuple[Event, Event]:
    """Return what the first view of an order leads to before anything else."""
    command = taking(view, address)
    return (
        order.OrderReceived(view.channel, view.shop, view.order_no, command.payload),
        order.OrderNormalized(view, command.digest, address),
    )


# --- a whole cell


class Cell:
    """A cell in memory: its states, and every record its turns made."""

    def __init__(self) -> None:
        """Begin without anything."""
        self.states: dict[str, Held] = {}
        self.records: list[Record] = []
        self.sequence = 0
        self.payloads: dict[str, Prepared] = {}
        """Stored payloads as they would be translated now."""
        self.now_ms = T0

    def send(self, to: str, body: Any, prepared: Prepared | None = None, by: By = PERSON) -> Turn:
        """Run one message to completion and keep what it led to."""
        self.sequence += 1
        message = Message(f"life-{self.sequence}", T0, Mail(to, body, self.now_ms, by, "test"))
        while True:
            try:
                turn = run_turn(message, self.states, prepared, self.payloads)
            except Missing as missing:
                if not missing.streams:
                    raise
                for stream in missing.streams:
                    self.states[stream] = Held(0, DECIDERS[kind_of(stream)].initial)
                continue
            return self.keep(turn)

    def keep(self, turn: Turn) -> Turn:
        """Commit a turn."""
        self.states.update(turn.states)
        self.records.extend(turn.records)
        return turn

    def channel(self, prepared: Prepared, key: str) -> Turn:
        """Let a channel's payload come in, translated to `prepared`."""
        payload = prepared.command.payload if isinstance(prepared, Taken) else prepared.payload
        if payload:
            self.payloads[payload] = prepared
        return self.send(key, ChannelPayload("taobao", "shop1", "", b"raw"), prepared, CHANNEL)

    def take(
        self,
        view: Snapshot,
        address: str = "addr-1",
        *,
        ruling: Ruling = UNRULED,
        flaws: tuple[str, ...] = (),
    ) -> Turn:
        """Let a channel's view of an order come in, ruled so where the cell has no rule book."""
        taken = Taken(taking(view, address, ruling=ruling, flaws=flaws))
        return self.channel(taken, order_key(view.channel, view.shop, view.order_no))

    def receive(self, *lines: tuple[str, int], document: str = "opening", warehouse: str = "A") -> Turn:
        """Put goods on the shelf."""
        return self.send(warehouse_key(warehouse), stock.ReceiveStock(document, lines))

    def order(self, number: str = "o-1") -> order.Order:
        """Return an order's state."""
        state = self.states[order_key("taobao", "shop1", number)].state
        assert isinstance(state, order.Order)
        return state

    @property
    def living(self) -> dict[str, Held]:
        """Return the actors that have events; others were only asked for."""
        return {key: held for key, held in self.states.items() if held.version}

    @property
    def ledger(self) -> stock.Ledger:
        """The warehouse's state."""
        held = self.states.get(WAREHOUSE)
        state = held.state if held is not None else stock.Ledger()
        assert isinstance(state, stock.Ledger)
        return state

    def level(self, sku: str, warehouse: str = "A") -> stock.Level:
        """Return what a warehouse has of a SKU."""
        held = self.states.get(warehouse_key(warehouse))
        return held.state.levels.get(sku, stock.NONE) if held is not None else stock.NONE

    def tags(self, stream: str = "") -> list[str]:
        """Return the tags of what was recorded, of one stream or of all."""
        return [record.tag for record in self.records if not stream or record.stream == stream]


def replayed(records: Sequence[Record]) -> dict[str, Held]:
    """Fold stored bytes again, from nothing: versions without gaps, every event as it was written."""
    states: dict[str, Held] = {}
    for record in records:
        version, state = states.get(record.stream) or Held(0, DECIDERS[kind_of(record.stream)].initial)
        assert record.version == version + 1
        event = decode_event(record.tag, record.data)
        assert encode_event(event) == record.data
        states[record.stream] = Held(record.version, DECIDERS[kind_of(record.stream)].evolve(state, event))
    return states
