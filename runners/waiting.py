"""What waits in quarantine: messages of orders, and bytes in the intakes, with their raw content."""

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from adapters.storage.sealing import open_sealed
from domain.catalogue import decode_event
from domain.envelope import decode_envelope
from domain.ids import intake_key, kind_of
from domain.intake import IntakeDiscarded, IntakeQuarantined
from domain.order import OrderQuarantined, QueuedBehind, QueueReleased
from runners.bootstrap import existing_vault, open_log, open_read_models

if TYPE_CHECKING:
    from domain.ports import EventLog, Recorded
    from runners.settings import Settings

CELL_INTAKE = "intake-cell:mail"
"""Where mail ends that is no mail of ours."""
ERASED = "erased-"
"""How the names of bytes begin that were not kept, because their key was destroyed."""
ORDERS_MAX = 10_000
_TAGS = frozenset(
    {"order.quarantined", "order.queued_behind", "order.queue_released", "intake.quarantined", "intake.discarded"}
)


class Item(msgspec.Struct, frozen=True):
    """Something quarantined that waits for a decision."""

    id: str
    stream: str
    """Of the order, or of the intake."""
    reason: str
    where: str = ""
    advice: str = ""
    payload: str = ""
    """Digest of its bytes, hex; "" where `message` holds it."""
    message: str = ""
    """JSON of an act that could not be handled."""
    at: int = 0
    """UTC ms."""
    source_tag: str = ""
    queued: int = 0
    """Messages that wait behind it."""
    to: str = ""
    """Key of the actor that an act in an intake was for."""

    @property
    def of_order(self) -> bool:
        """Whether an order waits for it."""
        return kind_of(self.stream) == "order"


def waiting(settings: "Settings") -> list[Item]:
    """Return everything that is quarantined now, oldest first."""
    with closing(open_read_models(settings)) as views:
        orders = [str(row["key"]) for row in views.orders({"quarantined": True}, limit=ORDERS_MAX)]
        intakes = [intake_key(row["channel"], row["shop"]) for row in views.intake() if row["quarantined_open"]]
    with closing(open_log(settings, read_only=True)) as log:
        found = _open_items(log, [*orders, *intakes, CELL_INTAKE])
    return sorted(found, key=lambda item: (item.at, item.id))


def open_in_order(settings: "Settings", stream: str) -> Item | None:
    """Return the order's quarantined message as the log has it now, if there is one."""
    with closing(open_log(settings, read_only=True)) as log:
        return next(iter(_open_items(log, [stream])), None)


def raw_of(settings: "Settings", item: Item) -> bytes | None:
    """Return an item's bytes; None where they cannot be opened any more (their key was destroyed).

    Raises:
        SealBroken: the stored bytes were changed.
    """
    if not item.payload:
        return item.message.encode()
    if item.payload.startswith(ERASED):
        return None
    vault = existing_vault(settings)
    if vault is None:
        return None
    log = open_log(settings, read_only=True)
    try:
        payload = log.payloads([bytes.fromhex(item.payload)]).get(bytes.fromhex(item.payload))
        if payload is None:
            return None
        key = vault.keys([payload.stream], create=False).get(payload.stream)
        return None if key is None else open_sealed(key, payload.stream, payload.sealed)
    finally:
        vault.close()
        log.close()


def _open_items(log: "EventLog", streams: list[str]) -> list[Item]:
    found: list[Item] = []
    for stream, loaded in log.select_many(streams).items():
        found.extend(_fold(stream, [event for event in loaded.events if event.tag in _TAGS]).values())
    return found


def _fold(stream: str, events: "list[Recorded]") -> dict[str, Item]:
    """Return what is open in a stream, by id."""
    items: dict[str, Item] = {}
    for recorded in events:
        envelope = decode_envelope(recorded.envelope)
        match decode_event(recorded.tag, recorded.data):
            case OrderQuarantined() as event:
                # An order has one at most; what follows queues behind it.
                items = {
                    event.item: Item(
                        event.item,
                        stream,
                        event.reason,
                        event.where,
                        event.advice,
                        event.payload,
                        event.message,
                        envelope.at,
                        envelope.source_tag,
                    )
                }
            case QueuedBehind() as event if event.behind in items:
                item = items[event.behind]
                items[event.behind] = msgspec.structs.replace(item, queued=item.queued + 1)
            case QueueReleased() as event:
                items.pop(event.behind, None)
            case IntakeQuarantined() as event:
                items[event.payload] = Item(
                    event.payload,
                    stream,
                    event.reason,
                    advice="repair the cause and resend it, or discard it",
                    payload="" if event.message else event.payload,
                    message=event.message,
                    at=envelope.at,
                    source_tag=envelope.source_tag,
                    to=event.to,
                )
            case IntakeDiscarded() as event:
                items.pop(event.item, None)
    return items
