"""Mail made again from what it led to: the log keeps events, not the messages, and most events say what was asked.

What came from a channel is read again from its stored bytes, in memory; where those or their key are gone, from the
canonical order in the log. A message whose events do not tell enough is not guessed at: it gives None.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from domain import after_sale, approvals, delivery, order, payments, skus, stock, tracking
from domain.catalogue import TAGS, decode_event
from domain.cell import Prepared, Returned, Taken, Untranslatable
from domain.decider import Command, Event
from domain.envelope import Envelope, decode_envelope
from domain.ids import kind_of, mapping_key, parts_of
from domain.mail import ChannelPayload, Mail
from domain.mapping import SHIPPED, InForce
from domain.ports import Recorded, Vault
from runners.preparing import Preparer
from runners.replay import ReplayLog

Group = Sequence[Recorded]
"""All events that one message led to, in order; the first is of the actor it was addressed to."""


class Rebuilt(msgspec.Struct, frozen=True):
    """A message as it must have been."""

    mail: Mail
    prepared: Prepared | None = None
    guessed: bool = False
    """Whether personal data that a rule may ask for could not be read any more."""


def is_view(tag: str) -> bool:
    """Whether an event begins what a channel's view of an order led to."""
    return tag in _VIEWED


_VIEWED = frozenset(
    TAGS[kind]
    for kind in (
        order.OrderReceived,
        order.OrderAmended,
        order.OrderRepeated,
        order.OrderOutdated,
        order.OrderQuarantined,
        order.QueuedBehind,
    )
)


class Rebuilder:
    """Makes mail again, message by message."""

    def __init__(self, log: ReplayLog, vault: Vault | None, preparer: Preparer | None) -> None:
        """Without keys or without what reads a channel's bytes, views are taken from the log alone."""
        self._log = log
        self._vault = vault
        self._preparer = preparer

    def rebuilt(self, group: Group, due: Mapping[str, int], state_of: Callable[[str], Any]) -> Rebuilt | None:
        """Return the message that led to these events; None where they do not tell.

        Args:
            group: its events.
            due: timers that the addressed actor had open, by name, UTC ms.
            state_of: returns the state of an actor as it stands.
        """
        first = group[0]
        envelope = decode_envelope(first.envelope)
        own = [
            (event, decode_event(event.tag, event.data))
            for event in group
            if event.stream == first.stream and decode_envelope(event.envelope).causation == envelope.message
        ]
        if kind_of(first.stream) == "order" and envelope.by.kind == "channel" and first.tag in _VIEWED:
            return self._view(first, own, envelope, state_of)
        for event, facts in own:
            build = _BUILD.get(type(facts))
            body: Any = build(facts, event, due) if build is not None else None
            if body is not None:
                for _, beside in own:
                    if isinstance(beside, order.LotsRecorded) and isinstance(body, order.ScanOut):
                        body = msgspec.structs.replace(body, lots=beside.lots)
                    elif isinstance(beside, after_sale.AfterSaleOpened) and isinstance(body, order.CancelLines):
                        # All of an order was cancelled of which a part had left, or lines of both parts were named.
                        whole = beside.reason != body.reason
                        body = msgspec.structs.replace(body, lines=() if whole else (*beside.lines, *body.lines))
                return Rebuilt(_mail(first.stream, body, envelope))
        return None

    def stored(self, stream: str, digests: Sequence[str], state_of: Callable[[str], Any]) -> dict[str, Prepared]:
        """Return what kept bytes of an order are read into, for a resend."""
        return {digest: self._read(stream, digest, state_of) for digest in digests}

    # --- views of channels

    def _view(
        self,
        first: Recorded,
        own: Sequence[tuple[Recorded, Event]],
        envelope: Envelope,
        state_of: Callable[[str], Any],
    ) -> Rebuilt | None:
        stream, facts = first.stream, own[0][1]
        channel, shop, order_no = parts_of(stream)
        mail = _mail(stream, ChannelPayload(channel, shop, order_no), envelope)
        if isinstance(facts, order.OrderRepeated):
            known = self._known_view(stream, first.version, facts.digest)
            return None if known is None else Rebuilt(mail, Taken(known))
        if isinstance(facts, order.OrderQuarantined | order.QueuedBehind) and facts.message:
            return None  # it was no view
        if isinstance(facts, order.OrderQuarantined):
            said = (facts.reason, facts.where, facts.advice, facts.payload, facts.mapping)
            return Rebuilt(mail, Untranslatable(*said))
        digest: str = getattr(facts, "payload", "")
        prepared = self._read(stream, digest, state_of)
        if isinstance(prepared, Taken | Returned):
            return Rebuilt(mail, prepared)
        # The bytes cannot be opened any more: the canonical order is in the log, without what was wrong in the address.
        for _, each in own:
            if isinstance(each, order.OrderNormalized | order.OrderAmended):
                view = (each.snapshot, each.digest, each.address, digest, b"", each.mapping)
                return Rebuilt(mail, Taken(order.TakeSnapshot(*view)), guessed=True)
        return None

    def _known_view(self, stream: str, before: int, digest: str) -> order.TakeSnapshot | None:
        for event in reversed(self._log.select(stream, upto=before - 1)):
            facts = decode_event(event.tag, event.data) if event.tag in _VIEWS else None
            if isinstance(facts, order.OrderNormalized | order.OrderAmended) and facts.digest == digest:
                return order.TakeSnapshot(facts.snapshot, digest, facts.address, "", b"", facts.mapping)
        return None

    def _read(self, stream: str, digest: str, state_of: Callable[[str], Any]) -> Prepared:
        if self._vault is None or self._preparer is None or not digest:
            return Untranslatable("", "", "", digest)
        name = bytes.fromhex(digest)
        payload = self._log.payloads((name,)).get(name)
        key = self._vault.keys((stream,), create=False).get(stream)
        channel = parts_of(stream)[0]
        in_force: InForce = state_of(mapping_key(channel)).in_force if channel in self._preparer.channels else SHIPPED
        return self._preparer.stored(stream, digest, payload, key, in_force)

    # --- what a message answers

    def question(self, body: Command, first: Recorded) -> tuple[str, bytes] | None:
        """Return tag and data of the recorded event that asked for a message like this.

        None where it answers nothing, but brings something new.
        """
        asks = _ASKED.get(type(body))
        if asks is None:
            return None
        for event in reversed(self._log.select(first.stream, upto=first.version - 1)):
            if asks(body, event):
                return event.tag, event.data
        return "", b""  # it answers what nobody asked; no event is like that


_VIEWS = frozenset({TAGS[order.OrderNormalized], TAGS[order.OrderAmended]})


def _mail(to: str, body: Any, envelope: Envelope) -> Mail:
    return Mail(to, body, envelope.observed_at, envelope.by, envelope.source_tag, envelope.correlation)


# --- commands, each from the event that tells it


def _timer(facts: order.TimerCleared, _: Recorded, due: Mapping[str, int]) -> Command | None:
    if not facts.fired or facts.timer not in due:
        return None
    return order.TimerDue(facts.timer, due[facts.timer])


def _left(facts: order.OrderShipped | order.PartiallyShipped, _: Recorded, __: Mapping[str, int]) -> Command | None:
    if not facts.command or len(facts.parcels) != 1:
        return None
    (parcel,) = facts.parcels
    return order.ScanOut(facts.command, parcel.tracking, parcel.carrier, facts.allocation)


def _cancelled(
    facts: order.OrderCancelled | order.LinesCancelled, _: Recorded, __: Mapping[str, int]
) -> Command | None:
    if not facts.command:
        return None
    return order.CancelLines(facts.command, getattr(facts, "lines", ()), facts.reason)


def _resolved(facts: order.InterceptionResolved, _: Recorded, __: Mapping[str, int]) -> Command | None:
    if not facts.command or facts.decision not in ("release", "cancel", "waive"):
        return None
    decision: Any = facts.decision
    return order.ResolveInterception(facts.command, facts.interception, decision, facts.note)


def _released(facts: order.QueueReleased, _: Recorded, __: Mapping[str, int]) -> Command | None:
    if facts.decision == "resend":
        return order.ResendQuarantined(facts.command, facts.behind)
    return order.DiscardQuarantined(facts.command, facts.behind, facts.reason) if facts.command else None


def _effect(facts: order.EffectSucceeded | order.EffectFailed, event: Recorded, _: Mapping[str, int]) -> Command | None:
    if kind_of(event.stream) != "order":
        return None
    command_id = f"rebuilt-{event.stream}@{event.version}"
    if isinstance(facts, order.EffectSucceeded):
        return order.RecordEffect(
            command_id, facts.effect, facts.key, "succeeded", reference=facts.reference, tries=facts.tries
        )
    return order.RecordEffect(
        command_id, facts.effect, facts.key, "failed", facts.reference, facts.reason, facts.tries, facts.final
    )


def _words(sealed: bytes | None, names: tuple[str, ...]) -> dict[str, Any]:
    return {"told": names or ("note",), "sealed": sealed} if sealed else {}


def _approved(facts: approvals.ApprovalGiven, event: Recorded, _: Mapping[str, int]) -> Command:
    words = _words(event.sealed, facts.filled)
    return approvals.Approve(command_id=facts.command, approval=facts.approval, attempt=facts.attempt, **words)


def _rejected(facts: approvals.ApprovalRejected, event: Recorded, _: Mapping[str, int]) -> Command:
    return approvals.Reject(
        command_id=facts.command, approval=facts.approval, **_words(event.sealed or b"-", ("reason",))
    )


def _delivered(facts: delivery.DeliveryConfirmed, _: Recorded, __: Mapping[str, int]) -> Command:
    told = (facts.pick_list, facts.allocation, facts.parcels, facts.packed, facts.final, facts.reference)
    return delivery.ConfirmDelivery(facts.command, *told)


def _paid(facts: payments.PaymentRecorded, _: Recorded, __: Mapping[str, int]) -> Command:
    money = (facts.amount, facts.currency, facts.kind, facts.at_ms, facts.service, facts.payment)
    return payments.RecordPayment(facts.command, facts.transaction, *money)


_Build = Callable[[Any, Recorded, Mapping[str, int]], Command | None]

_BUILD: Mapping[type[Event], _Build] = {
    order.TimerCleared: _timer,
    order.OrderShipped: _left,
    order.PartiallyShipped: _left,
    order.OrderPicked: lambda facts, _, __: order.ScanOut(facts.command, allocation=facts.allocation),
    order.OrderProcessed: lambda facts, _, __: order.ConfirmProcessing(facts.command, facts.allocation),
    order.OrderCancelled: _cancelled,
    order.LinesCancelled: _cancelled,
    order.InterceptionResolved: _resolved,
    order.QueueReleased: _released,
    order.EffectSucceeded: _effect,
    order.EffectFailed: _effect,
    approvals.ApprovalGiven: _approved,
    approvals.ApprovalRejected: _rejected,
    delivery.DeliveryConfirmed: _delivered,
    payments.PaymentRecorded: _paid,
    tracking.ParcelTracked: lambda facts, _, __: tracking.RecordTrack(
        facts.command, facts.tracking, facts.carrier, facts.scans
    ),
    stock.StockReceived: lambda facts, _, __: stock.ReceiveStock(facts.document, facts.lines, facts.arrival),
    stock.StockExpected: lambda facts, _, __: stock.ExpectStock(
        facts.document, facts.arrival, facts.lines, facts.due_ms
    ),
    stock.StockAdjusted: lambda facts, _, __: stock.AdjustStock(facts.document, facts.sku, facts.delta, facts.reason),
    stock.StockProtected: lambda facts, _, __: stock.ProtectStock(facts.document, facts.sku, facts.quantity),
    skus.SkusMapped: lambda facts, _, __: skus.SetSkus(facts.command, facts.skus, facts.reason),
}


# --- which event a command answers


def _asked_to_pick(body: Any, event: Recorded) -> bool:
    if event.tag != _PICK_LIST:
        return False
    facts: Any = decode_event(event.tag, event.data)
    return not body.allocation or body.allocation in (facts.allocation, facts.pick_list, facts.warehouse)


def _asked_to_decide(body: Any, event: Recorded) -> bool:
    facts: Any = decode_event(event.tag, event.data) if event.tag == _INTERCEPTED else None
    return facts is not None and facts.interception == body.interception


def _asked_to_approve(body: Any, event: Recorded) -> bool:
    facts: Any = decode_event(event.tag, event.data) if event.tag == _APPROVAL else None
    return facts is not None and facts.approval == body.approval


def _asked_for_effect(body: Any, event: Recorded) -> bool:
    _, _, version = body.key.rpartition("@")
    return version.isdigit() and event.version == int(version)


_PICK_LIST = TAGS[order.PickListIssued]
_INTERCEPTED = TAGS[order.OrderIntercepted]
_APPROVAL = TAGS[approvals.ApprovalRequested]

_ASKED: Mapping[type[Command], Callable[[Any, Recorded], bool]] = {
    order.ScanOut: _asked_to_pick,
    order.ConfirmProcessing: _asked_to_pick,
    delivery.ConfirmDelivery: _asked_to_pick,
    order.ResolveInterception: _asked_to_decide,
    approvals.Approve: _asked_to_approve,
    approvals.Reject: _asked_to_approve,
    order.RecordEffect: _asked_for_effect,
}
