"""Every event there is: its stable tag, its type, and how shapes of the past are read.

A stored event is JSON of its facts under a tag. Tags are never reused and never class paths. When a shape must change,
the new one gets a new tag (`order.paid.v2`) and the old tag an entry in `UPCASTS`, so that every event ever written
loads for ever.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from domain import (
    after_sale,
    approvals,
    barcodes,
    buyers,
    care,
    cellular,
    delivery,
    erasure,
    finance,
    intake,
    mapping,
    order,
    payments,
    picking,
    privacy,
    reorder,
    rulebook,
    service_work,
    shelf,
    skus,
    stock,
    talk,
    tracking,
    trail,
    views,
)
from domain.decider import Event

TYPES: Mapping[str, type[Event]] = {
    "order.received": order.OrderReceived,
    "order.normalized": order.OrderNormalized,
    "order.amended": order.OrderAmended,
    "order.skus_mapped": order.OrderSkusMapped,
    "order.repeated": order.OrderRepeated,
    "order.outdated": order.OrderOutdated,
    "order.paid": order.OrderPaid,
    "order.deposit_paid": order.DepositPaid,
    "order.routed": order.OrderRouted,
    "order.gifts_granted": order.GiftsGranted,
    "order.gift_pre_reserved": order.GiftPreReserved,
    "order.presale_locked": order.PresaleLocked,
    "order.presale_arrived": order.PresaleArrived,
    "order.gifts_waived": order.GiftsWaived,
    "order.promised": order.OrderPromised,
    "order.allocated": order.OrderAllocated,
    "order.reserved": order.OrderReserved,
    "order.reservation_failed": order.ReservationFailed,
    "order.released": order.OrderReleased,
    "order.pick_list_issued": order.PickListIssued,
    "order.processed": order.OrderProcessed,
    "order.item_scanned": picking.ItemScanned,
    "order.item_unscanned": picking.ItemUnscanned,
    "order.pick_error": picking.PickError,
    "order.picked": order.OrderPicked,
    "order.lots_recorded": order.LotsRecorded,
    "order.partially_shipped": order.PartiallyShipped,
    "order.shipped": order.OrderShipped,
    "order.completed": order.OrderCompleted,
    "order.cancelled": order.OrderCancelled,
    "order.lines_cancelled": order.LinesCancelled,
    "order.after_sale_opened": after_sale.AfterSaleOpened,
    "order.after_sale_matched": after_sale.AfterSaleMatched,
    "order.after_sale_approved": after_sale.AfterSaleApproved,
    "order.after_sale_declined": after_sale.AfterSaleDeclined,
    "order.after_sale_closed": after_sale.AfterSaleClosed,
    "order.refunded": after_sale.OrderRefunded,
    "order.return_announced": after_sale.ReturnAnnounced,
    "order.return_received": after_sale.ReturnReceived,
    "order.replacement_asked": after_sale.ReplacementAsked,
    "order.replacement_reserved": after_sale.ReplacementReserved,
    "order.replacement_short": after_sale.ReplacementShort,
    "order.replacement_picked": after_sale.ReplacementPicked,
    "order.replacement_shipped": after_sale.ReplacementShipped,
    "order.replacement_released": after_sale.ReplacementReleased,
    "order.intercepted": order.OrderIntercepted,
    "order.resolved": order.InterceptionResolved,
    "order.refused": order.OrderRefused,
    "order.quarantined": order.OrderQuarantined,
    "order.queued_behind": order.QueuedBehind,
    "order.queue_released": order.QueueReleased,
    "order.service_opened": order.ServiceOpened,
    "order.service_scheduled": service_work.ServiceScheduled,
    "order.service_done": service_work.ServiceDone,
    "order.service_cancelled": service_work.ServiceCancelled,
    "order.effect_succeeded": order.EffectSucceeded,
    "order.effect_failed": order.EffectFailed,
    "order.approval_requested": approvals.ApprovalRequested,
    "order.approved": approvals.ApprovalGiven,
    "order.rejected": approvals.ApprovalRejected,
    "order.approval_escalated": approvals.ApprovalEscalated,
    "order.approval_withdrawn": approvals.ApprovalWithdrawn,
    "order.document_attached": approvals.DocumentAttached,
    "order.document_detached": approvals.DocumentDetached,
    "order.commented": talk.OrderCommented,
    "order.mentions_read": talk.MentionsRead,
    "order.complained": care.OrderComplained,
    "order.complaint_closed": care.ComplaintClosed,
    "order.enquired": care.OrderEnquired,
    "order.delivery_confirmed": delivery.DeliveryConfirmed,
    "order.tracked": tracking.ParcelTracked,
    "order.delivered": tracking.OrderDelivered,
    "order.delivery_failed": tracking.DeliveryFailed,
    "order.payment_recorded": payments.PaymentRecorded,
    "order.payment_failed": payments.PaymentFailed,
    "order.forgotten": erasure.OrderForgotten,
    "order.forgetting_awaited": erasure.OrderForgettingAwaited,
    "order.forgetting_withdrawn": erasure.OrderForgettingWithdrawn,
    "order.timer_set": order.TimerSet,
    "order.timer_cleared": order.TimerCleared,
    "stock.received": stock.StockReceived,
    "stock.adjusted": stock.StockAdjusted,
    "stock.protected": stock.StockProtected,
    "stock.reserved": stock.StockReserved,
    "stock.pre_reserved": stock.StockPreReserved,
    "stock.expected": stock.StockExpected,
    "stock.promised": stock.StockPromised,
    "stock.promise_covered": stock.PromiseCovered,
    "stock.promise_dropped": stock.PromiseDropped,
    "stock.reservation_refused": stock.ReservationRefused,
    "stock.released": stock.StockReleased,
    "stock.picked_out": stock.StockPickedOut,
    "stock.issued": stock.StockIssued,
    "stock.returned": stock.StockReturned,
    "stock.returned_damaged": stock.StockReturnedDamaged,
    "stock.refused": stock.StockRefused,
    "stock.counted": shelf.StockCounted,
    "stock.moved_out": shelf.StockMovedOut,
    "stock.moved_in": shelf.StockMovedIn,
    "stock.damaged": shelf.StockDamaged,
    "stock.scrapped": shelf.StockScrapped,
    "stock.picking_set": shelf.PickingSet,
    "stock.reorder_level_set": reorder.ReorderLevelSet,
    "stock.reorder_signalled": reorder.ReorderSignalled,
    "stock.reorder_cleared": reorder.ReorderCleared,
    "intake.hinted": intake.IntakeHinted,
    "intake.ignored": intake.IntakeIgnored,
    "intake.refused": intake.IntakeRefused,
    "intake.quarantined": intake.IntakeQuarantined,
    "intake.unmatched": intake.IntakeUnmatched,
    "intake.discarded": intake.IntakeDiscarded,
    "intake.reconciled": intake.IntakeReconciled,
    "intake.stock_compared": intake.StockCompared,
    "mapping.changed": mapping.MappingChanged,
    "mapping.refused": mapping.MappingRefused,
    "skus.mapped": skus.SkusMapped,
    "skus.released": skus.SkusReleased,
    "skus.removed": skus.SkusRemoved,
    "skus.unmapped": skus.SkusUnmapped,
    "skus.settled": skus.SkusSettled,
    "skus.refused": skus.SkusRefused,
    "rules.changed": rulebook.RulesChanged,
    "rules.refused": rulebook.RulesRefused,
    "buyers.set": buyers.BuyerSet,
    "buyers.owes": buyers.BuyerOwes,
    "buyers.forgotten": erasure.BuyerForgotten,
    "buyers.refused": buyers.BuyersRefused,
    "trail.noted": trail.OrderNoted,
    "trail.duplicate_suspected": trail.DuplicateSuspected,
    "trail.forgotten": erasure.TrailForgotten,
    "trail.refused": trail.TrailRefused,
    "goods.barcodes_set": barcodes.BarcodesSet,
    "goods.barcodes_removed": barcodes.BarcodesRemoved,
    "goods.refused": barcodes.BarcodesRefused,
    "finance.line_read": finance.LineRead,
    "finance.statement_read": finance.StatementRead,
    "finance.compared": finance.OrdersCompared,
    "finance.difference_opened": finance.DifferenceOpened,
    "finance.difference_explained": finance.DifferenceExplained,
    "finance.difference_resolved": finance.DifferenceResolved,
    "finance.refused": finance.FinanceRefused,
    "views.compared": views.ViewsCompared,
    "views.refused": views.ViewsRefused,
    "privacy.forgetting_asked": privacy.ForgettingAsked,
    "privacy.forgetting_awaited": privacy.ForgettingAwaited,
    "privacy.forgetting_withdrawn": privacy.ForgettingWithdrawn,
    "privacy.forgotten": privacy.PersonForgotten,
    "privacy.erasure_delayed": privacy.ErasureDelayed,
    "privacy.disclosed": privacy.DataDisclosed,
    "privacy.refused": privacy.PrivacyRefused,
    "cell.mail_lost": cellular.MailLost,
    "cell.refused": cellular.CellRefused,
    "cell.broker_reset": cellular.BrokerReset,
    "cell.effect_succeeded": cellular.CellEffectSucceeded,
    "cell.effect_failed": cellular.CellEffectFailed,
}
"""Tag → type of every current shape."""

ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "order.timer_set": ("skus", "privacy"),
    "order.timer_cleared": ("skus", "privacy"),
}
"""Tag → further kinds of actors in whose streams it stands, beside those of its own noun."""

TAGS: Mapping[type[Event], str] = {kind: tag for tag, kind in TYPES.items()}

_KINDS: Mapping[str, str] = {"stock": "warehouse", "rules": "rulebook"}
"""First word of a tag → kind of the streams it is recorded in, where that is another word."""

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTS: Mapping[str, tuple[str, Upcast]] = {}
"""Old tag → (newer tag, function from the old facts to the newer ones). Followed until a tag of `TYPES` is reached."""

_decoders: dict[str, msgspec.json.Decoder[Any]] = {tag: msgspec.json.Decoder(kind) for tag, kind in TYPES.items()}


class UnknownTag(LookupError):
    """A stored event has a tag this build does not know; a newer build wrote it, or it is damaged."""


encode_event: Callable[[Event], bytes] = msgspec.json.Encoder().encode
"""Returns the stored bytes of an event's facts."""


def kind_of_tag(tag: str) -> str:
    """Return the kind of the streams that events with this tag are recorded in: `warehouse` for `stock.received`."""
    noun = tag.partition(".")[0]
    return _KINDS.get(noun, noun)


def decode_event(tag: str, data: bytes, upcasts: Mapping[str, tuple[str, Upcast]] = UPCASTS) -> Event:
    """Read a stored event of any time as its current shape.

    Raises:
        UnknownTag: this build has no such tag.
        msgspec.DecodeError: the bytes are damaged.
    """
    decoder = _decoders.get(tag)
    if decoder is not None:
        event: Event = decoder.decode(data)
        return event
    facts: dict[str, Any] | None = None
    while tag in upcasts:
        tag, upcast = upcasts[tag]
        facts = upcast(msgspec.json.decode(data) if facts is None else facts)
    kind = TYPES.get(tag)
    if kind is None or facts is None:
        raise UnknownTag(f"event tag {tag!r} is not known to this build")
    return msgspec.convert(facts, kind)
