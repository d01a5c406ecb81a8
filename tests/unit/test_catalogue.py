"""Every event that was ever written loads for ever: its stored sample decodes, and encodes to the same bytes."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

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
    mail,
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
from domain.canonical import Amounts, Parcel
from domain.catalogue import TAGS, TYPES, UPCASTS, UnknownTag, decode_event, encode_event, kind_of_tag
from domain.cell import DECIDERS
from domain.decider import Event
from domain.rulings import Form, Gift, Kit, Promise, Route, Saving
from tests.spec import T0, at, line, snapshot

FIXTURES = Path(__file__).parents[1] / "fixtures"
VIEW = snapshot("shipped", 7, (line("1", quantity=2, state="shipped", after_sale="open"), line("2", "")), pay_by=at(5))
SKUS = (("S1", 2), ("S2", 1))
PARCELS = (Parcel("SF", "T1", ("1",), at(6)), Parcel("YTO", "T2"))

SAMPLES: dict[str, Event] = {
    "order.received": order.OrderReceived("taobao", "shop1", "o-1", "00ff"),
    "order.normalized": order.OrderNormalized(VIEW, "d1", "a1"),
    "order.normalized.mapped": order.OrderNormalized(VIEW, "d1", "a1", 3),
    "order.amended": order.OrderAmended(VIEW, "d2", "a2", ("lines", "holds"), "00fe"),
    "order.amended.mapped": order.OrderAmended(VIEW, "d2", "a2", ("lines", "holds"), "00fe", 3),
    "order.normalized.filled": order.OrderNormalized(VIEW, "d1", "a1", 0, ("2",)),
    "order.amended.filled": order.OrderAmended(VIEW, "d2", "a2", (), "00fe", 0, ("2",)),
    "order.skus_mapped": order.OrderSkusMapped((("2", "S2"),)),
    "order.repeated": order.OrderRepeated("d1"),
    "order.outdated": order.OrderOutdated(T0, T0 + 1, "d0", "00fd"),
    "order.paid": order.OrderPaid(19_900, "CNY", T0),
    "order.deposit_paid": order.DepositPaid(5_000, "CNY"),
    "order.routed": order.OrderRouted(
        3,
        (Route("engraving", ("1",), ("A",), "units", "C", processing=True),),
        (Kit("2", (("P1", 2), ("P2", 1))),),
        ("urgent",),
        "urgent",
        (("S1", 20),),
        lots=True,
        buyer="b2b:00aa",
        suspect_within_ms=1_800_000,
        when_paid=order.WhenPaid(3, Promise("hour", 3_600_000), (Form("large", "credit", "finance"),), ("no_phone",)),
    ),
    "order.gifts_granted": order.GiftsGranted(3, (Gift("buy-2", "G1", 1, "B"),), (Saving("over-199", 2_000),)),
    "order.gift_pre_reserved": order.GiftPreReserved("o/gift-1", "B", (("G1", 1),)),
    "order.presale_locked": order.PresaleLocked("o/pre-1", "A", SKUS, T0 + 9),
    "order.presale_arrived": order.PresaleArrived("o/pre-1"),
    "order.gifts_waived": order.GiftsWaived((Gift("buy-2", "G1", 1),), "c-20"),
    "order.promised": order.OrderPromised("hour", 3, T0 + 1, T0 + 2),
    "order.allocated": order.OrderAllocated(
        (
            order.Allocation("o/1-1", "A", (("S1", 2),), units=(("1", 2),), held=False),
            order.Allocation("o/1-2", "A", (("S2", 1),), False, False, (("2", 1),), "C", held=False, unprocessed=True),
        )
    ),
    "order.reserved": order.OrderReserved("o/1", "A", SKUS),
    "order.reservation_failed": order.ReservationFailed("o/1", "A", (("S1", 2, 1),)),
    "order.released": order.OrderReleased("o/1", "A", SKUS, "changed_after_allocation"),
    "order.pick_list_issued": order.PickListIssued("pick-o/1", "o/1", "A", SKUS),
    "order.pick_list_issued.area": order.PickListIssued("pick-o/1", "o/1", "A", SKUS, "C", "urgent"),
    "order.processed": order.OrderProcessed("o/1-2", "c-21"),
    "order.item_scanned": picking.ItemScanned("o/1", "S1", 1, 1, 2, "c-23"),
    "order.item_scanned.lot": picking.ItemScanned("o/1", "S1", 1, 0, 0, "c-24", "6901234567892", "L-2026-07"),
    "order.item_unscanned": picking.ItemUnscanned("o/1", "S1", 1, 1, 1, "c-25", "6901234567892"),
    "order.pick_error": picking.PickError(
        "o/1", "wrong_item", "6901234567809", "S9", 1, SKUS, "S9: it is not on the pick list; put it back", "c-26"
    ),
    "order.picked": order.OrderPicked("o/1", "c-1"),
    "order.lots_recorded": order.LotsRecorded(
        "o/1", (order.Lot("S1", "L-2026-07", 2, "1.84", "kgCO2e", "ISO 14067", "maker"),)
    ),
    "order.partially_shipped": order.PartiallyShipped(("1",), PARCELS, T0),
    "order.partially_shipped.own": order.PartiallyShipped(("1",), PARCELS, T0, "o/1-1", (("1", 2), ("2", 1)), "c-22"),
    "order.shipped": order.OrderShipped(PARCELS, T0, "o/1", "c-2", (("gift:g:G1", 1),)),
    "order.completed": order.OrderCompleted(T0),
    "order.cancelled": order.OrderCancelled("too late", "c-3"),
    "order.lines_cancelled": order.LinesCancelled((("1", 1),), "one less", "c-4"),
    "order.after_sale_opened": after_sale.AfterSaleOpened((("1", 1),), "broken", "r-1", "c-5"),
    "order.after_sale_opened.case": after_sale.AfterSaleOpened(
        (("1", 1),), "quality", "r-1", "c-5", 2, "return_refund", ("S1",)
    ),
    "order.after_sale_matched": after_sale.AfterSaleMatched(1, "r-2"),
    "order.after_sale_approved": after_sale.AfterSaleApproved(1, "c-23"),
    "order.after_sale_declined": after_sale.AfterSaleDeclined(1, "too_late", "c-24"),
    "order.after_sale_closed": after_sale.AfterSaleClosed(("1",)),
    "order.after_sale_closed.case": after_sale.AfterSaleClosed(("1",), 1, "c-25"),
    "order.refunded": after_sale.OrderRefunded(("1",), 100, "r-1", "c-6"),
    "order.refunded.case": after_sale.OrderRefunded(
        ("1", "2"), 300, "r-1", "c-6", 1, (("", 100), ("1", 200)), "transfer", "big-1"
    ),
    "order.return_announced": after_sale.ReturnAnnounced(1, "SF", "SF9", "c-26"),
    "order.return_received": after_sale.ReturnReceived(1, 1, (("1", 1),), (("2", 1),), (("2", 2),), "B", "c-27"),
    "order.replacement_asked": after_sale.ReplacementAsked(1, 1, SKUS, "B", "c-28"),
    "order.replacement_reserved": after_sale.ReplacementReserved(1, "o/case-1-1", "B", SKUS),
    "order.replacement_short": after_sale.ReplacementShort(1, "o/case-1-1", "B", (("S1", 2, 1),)),
    "order.replacement_picked": after_sale.ReplacementPicked(1, "o/case-1-1", "c-29"),
    "order.replacement_shipped": after_sale.ReplacementShipped(1, "o/case-1-1", "B", PARCELS[1], T0, "c-30"),
    "order.replacement_released": after_sale.ReplacementReleased(1, "o/case-1-1", "B"),
    "order.service_scheduled": service_work.ServiceScheduled(1, "2026-03-01", "c-31"),
    "order.service_done": service_work.ServiceDone(1, "c-32"),
    "order.service_cancelled": service_work.ServiceCancelled(1, "customer", "c-33"),
    "order.intercepted": order.OrderIntercepted("i-1", "stock_short", "S1: 0 left", "receive some", "keeper", T0),
    "order.intercepted.ruled": order.OrderIntercepted(
        "large-1@big", "large", "500 units", "ask the buyer", "sales", T0, "big", 3
    ),
    "order.resolved": order.InterceptionResolved("i-1", "release", "seen", "c-7"),
    "order.refused": order.OrderRefused("ScanOut", "OrderOnHold", "held", "c-8"),
    "order.quarantined": order.OrderQuarantined("m-1", "no such status", "status", "correct it", "00fc", ""),
    "order.quarantined.mapped": order.OrderQuarantined("m-1", "no such status", "status", "correct it", "00fc", "", 3),
    "order.queued_behind": order.QueuedBehind("m-2", "m-1", "", '["ScanOut","c-9","",""]'),
    "order.queue_released": order.QueueReleased("m-1", "resend", "", "c-10"),
    "order.service_opened": order.ServiceOpened(
        "order-taobao:shop1:o-1/service-1", ":9001", "上门安装服务包", ("1",), {"service_id": 9001}
    ),
    "order.effect_succeeded": order.EffectSucceeded("ship_notice", "o@7", "r-9", 2),
    "order.effect_failed": order.EffectFailed("ship_notice", "o@7", "unknown carrier", "r-8", 3, final=False),
    "order.approval_requested": approvals.ApprovalRequested(
        "credit", "credit", "finance", 1, rule="large", rules=3, subject="00ff"
    ),
    "order.approval_requested.by_person": approvals.ApprovalRequested(
        "customs-2",
        "customs",
        "operations",
        2,
        ("hs_code",),
        ("invoice", "declaration"),
        2,
        T0,
        86_400_000,
        "finance",
        asked_by="zhang",
        subject="00fe",
        command="c-20",
    ),
    "order.approved": approvals.ApprovalGiven("credit", 1, "li.wei", "finance", 1, True, ("limit", "note"), "c-21"),
    "order.rejected": approvals.ApprovalRejected("credit", 1, "li.wei", "finance", "c-22"),
    "order.approval_escalated": approvals.ApprovalEscalated("credit", 1, "operations", T0),
    "order.approval_withdrawn": approvals.ApprovalWithdrawn("credit", 1, "cancelled"),
    "order.document_attached": approvals.DocumentAttached("invoice-1", "invoice", "00f7", 900, "wu", "sales", "c-23"),
    "order.document_detached": approvals.DocumentDetached("invoice-1", "wu", "sales", "c-24"),
    "order.commented": talk.OrderCommented(2, 2, "li.wei", "finance", ("sales", "wu"), "c-25"),
    "order.mentions_read": talk.MentionsRead((2,), "wu", "sales", "c-26"),
    "order.complained": care.OrderComplained(
        "complaint-1", "gift_missing", "wechat", True, ("1",), "chen", "service", "c-27"
    ),
    "order.complaint_closed": care.ComplaintClosed("complaint-1", "settled", "chen", "service", "c-28"),
    "order.enquired": care.OrderEnquired("logistics", "miniprogram", True, 1, T0, ("T1",), command="c-29"),
    "order.delivery_confirmed": delivery.DeliveryConfirmed(
        "pick-o/1", "o/1", (delivery.Packed("SF", "T1", SKUS), delivery.Packed("", "")), SKUS, False, "W-1", "c-17"
    ),
    "order.tracked": tracking.ParcelTracked("T1", "SF", (tracking.Scan(T0, "collected", "上海", "d7"),), "c-30"),
    "order.delivered": tracking.OrderDelivered(T0),
    "order.delivery_failed": tracking.DeliveryFailed("T1", "SF", "refused", T0),
    "order.payment_recorded": payments.PaymentRecorded(
        "4200001", "refunded", 100, "CNY", T0, "wechat", "4200000", "c-31"
    ),
    "order.payment_failed": payments.PaymentFailed("4200002", "failed", 100, "CNY", T0, "wechat", "", "c-32"),
    "order.forgotten": erasure.OrderForgotten("c-40"),
    "order.forgetting_awaited": erasure.OrderForgettingAwaited("c-43"),
    "order.forgetting_withdrawn": erasure.OrderForgettingWithdrawn("c-43"),
    "order.timer_set": order.TimerSet("payment", T0),
    "order.timer_cleared": order.TimerCleared("payment", fired=True),
    "stock.received": stock.StockReceived("d-1", SKUS, T0),
    "stock.adjusted": stock.StockAdjusted("d-2", "S1", -1, "count", T0),
    "stock.protected": stock.StockProtected("d-3", "S1", 5, T0),
    "stock.reserved": stock.StockReserved("o/1", "o", SKUS),
    "stock.pre_reserved": stock.StockPreReserved("o/g", "o", SKUS),
    "stock.received.arrival": stock.StockReceived("d-1", SKUS, T0, "PO-1"),
    "stock.expected": stock.StockExpected("d-4", "PO-1", SKUS, T0 + 9, T0),
    "stock.promised": stock.StockPromised("o/pre-1", "o", SKUS, T0 + 9),
    "stock.promise_covered": stock.PromiseCovered("o/pre-1", "o", SKUS, whole=True),
    "stock.promise_dropped": stock.PromiseDropped("o/pre-1", SKUS),
    "stock.reservation_refused": stock.ReservationRefused("o/1", "o", (("S1", 2, 1),)),
    "stock.released": stock.StockReleased("o/1", SKUS),
    "stock.picked_out": stock.StockPickedOut("o/1", SKUS),
    "stock.issued": stock.StockIssued("o/issued-1", "o", SKUS),
    "stock.counted": shelf.StockCounted("d-5", (("S1", 7), ("S2", 0)), T0, (("S2", 0, 1),)),
    "stock.moved_out": shelf.StockMovedOut("d-6", "B", SKUS, T0),
    "stock.moved_in": shelf.StockMovedIn("d-6", "A", SKUS, T0),
    "stock.damaged": shelf.StockDamaged("d-7", "S1", 2, "wet", T0),
    "stock.scrapped": shelf.StockScrapped("d-8", "S1", 1, "thrown away", T0),
    "stock.picking_set": shelf.PickingSet("d-9", verified=True, at_ms=T0),
    "stock.reorder_level_set": reorder.ReorderLevelSet("d-10", "S1", 20, 50, T0),
    "stock.reorder_signalled": reorder.ReorderSignalled("S1", 19, 20, 31),
    "stock.reorder_cleared": reorder.ReorderCleared("S1", 60),
    "stock.returned": stock.StockReturned("o/case-1/return-1", "o", SKUS, T0),
    "stock.returned_damaged": stock.StockReturnedDamaged("o/case-1/return-1", "o", SKUS, T0),
    "stock.refused": stock.StockRefused("AdjustStock", "NotEnoughOnHand", "S1: 0 left", "m-1"),
    "intake.hinted": intake.IntakeHinted("o-1", "fetch it", "00fb"),
    "intake.ignored": intake.IntakeIgnored("heartbeat", "00fa"),
    "intake.refused": intake.IntakeRefused("no order", "00f9"),
    "intake.quarantined": intake.IntakeQuarantined("not understood", "m-3", '["Tick"]'),
    "intake.unmatched": intake.IntakeUnmatched("C536379", "no such sale", "c-11"),
    "intake.discarded": intake.IntakeDiscarded("00f8", "sent again"),
    "intake.reconciled": intake.IntakeReconciled(
        "flagship", T0, T0 + 1, 5, 2, 1, 1, 1, 0, "c-12", ("order-taobao:shop1:o-1",), "asked"
    ),
    "intake.stock_compared": intake.StockCompared("A", 40, (("S1", 5, 4),), 1, "c-18"),
    "mapping.changed": mapping.MappingChanged(1, "[times]\n", "d9", "the till has a new column", "c-12"),
    "mapping.refused": mapping.MappingRefused("ChangeMapping", "RefusedMapping", "line 3: no such target", "c-13"),
    "skus.mapped": skus.SkusMapped((("6500/1", "S1"),), "c-14", "price list", ("order-taobao:shop1:o-1",)),
    "skus.released": skus.SkusReleased(("order-taobao:shop1:o-2",)),
    "skus.removed": skus.SkusRemoved(("6500/1",), "c-15", "sold out"),
    "skus.unmapped": skus.SkusUnmapped("order-taobao:shop1:o-1", (("6500/1", "充电电钻"),)),
    "skus.settled": skus.SkusSettled("order-taobao:shop1:o-1"),
    "skus.refused": skus.SkusRefused("SetSkus", "BadEntry", "two SKUs", "c-16"),
    "rules.changed": rulebook.RulesChanged(1, "format = 1\n", "d9", "Double 11", "c-17"),
    "rules.refused": rulebook.RulesRefused("ChangeRules", "RefusedRules", "line 3: there is no 'wen'", "c-18"),
    "buyers.set": buyers.BuyerSet(
        "b2b:00aa", "dealer", ("vip",), "CNY", 1_000_000, (("S1", 900),), "c-30", "contract 7"
    ),
    "buyers.owes": buyers.BuyerOwes("b2b:00aa", "order-b2b:s:1", 5_000),
    "buyers.forgotten": erasure.BuyerForgotten("b2b:00aa", "c-40"),
    "buyers.refused": buyers.BuyersRefused("SetBuyer", "BadTerms", "below zero", "c-31"),
    "trail.noted": trail.OrderNoted("order-b2b:s:1", "00aa", T0),
    "trail.duplicate_suspected": trail.DuplicateSuspected("order-b2b:s:2", "order-b2b:s:1", 60_000),
    "trail.forgotten": erasure.TrailForgotten("c-40"),
    "trail.refused": trail.TrailRefused("ScanOut", "WrongActor", "nothing it could do"),
    "goods.barcodes_set": barcodes.BarcodesSet((("6901234567892", "S1"),), "c-27"),
    "goods.barcodes_removed": barcodes.BarcodesRemoved(("6901234567892",), "c-28"),
    "goods.refused": barcodes.BarcodesRefused("SetBarcodes", "BadBarcode", "two SKUs", "c-29"),
    "finance.line_read": finance.LineRead(
        "00ff", finance.Line("4200/fee", "fee", -60, "CNY", T0, "order-taobao:shop1:o-1", "手续费")
    ),
    "finance.statement_read": finance.StatementRead("00ff", "wechat-trade", False, 12, 1),
    "finance.compared": finance.OrdersCompared("2026-02-09", 900, 500, 2, "c-30"),
    "finance.difference_opened": finance.DifferenceOpened(
        "d-00aa", "order-taobao:shop1:o-1", "2026-02-09", "amount_differs", 19_900, 19_800, "CNY", "4200", "subsidy 50"
    ),
    "finance.difference_explained": finance.DifferenceExplained("d-00aa", "agreed with the channel", "c-31"),
    "finance.difference_resolved": finance.DifferenceResolved("d-00aa", "order-taobao:shop1:o-1", "settled_later"),
    "finance.refused": finance.FinanceRefused("ExplainDifference", "NoReason", "say why", "c-32"),
    "views.compared": views.ViewsCompared(
        500, 1_500, 1, 900, "c-33", (views.Differing("orders_v6", "order-taobao:shop1:o-1", "state"),), 1
    ),
    "views.refused": views.ViewsRefused("ScanOut", "WrongActor", "nothing it could do"),
    "privacy.forgetting_asked": privacy.ForgettingAsked(
        "c-40", "customer", "asked by phone", "li.wei", "service", ("order-b2b:s:1",), ("b2b:00aa",), ("aside-00ff",)
    ),
    "privacy.forgetting_awaited": privacy.ForgettingAwaited(
        "c-43", "customer", "asked by phone", "li.wei", "service", ("order-b2b:s:1",), ("b2b:00aa",), ("aside-00ff",)
    ),
    "privacy.forgetting_withdrawn": privacy.ForgettingWithdrawn(
        "c-43", "c-44", "changed his mind", "li.wei", "service", ("order-b2b:s:1",)
    ),
    "privacy.forgotten": privacy.PersonForgotten("erasure", "privacy-main@1", "c-40"),
    "privacy.erasure_delayed": privacy.ErasureDelayed("erasure", "privacy-main@1", "busy", "", 2),
    "privacy.disclosed": privacy.DataDisclosed(
        "c-41", "authority", "file 7", "li.wei", "service", ("order-b2b:s:1",), ("b2b:00aa",), ("aside-00ff",)
    ),
    "privacy.refused": privacy.PrivacyRefused("ForgetPerson", "StillUnderWay", "not before they are finished", "c-42"),
    "cell.mail_lost": cellular.MailLost(5, 9),
    "cell.refused": cellular.CellRefused("ScanOut", "WrongActor", "nothing it could do"),
    "cell.broker_reset": cellular.BrokerReset("life-1", "life-2", 9, "directory wiped"),
    "cell.effect_succeeded": cellular.CellEffectSucceeded("notify", "cell-main@2/operations", "r-9", 2),
    "cell.effect_failed": cellular.CellEffectFailed("notify", "cell-main@2/operations", "no such robot", "", 3),
}
"""One of each shape of today; behind a tag, the name of a further sample (fields that came later)."""


def tag_of(sample: str) -> str:
    return sample if sample in TYPES or sample in UPCASTS else sample.rpartition(".")[0]


def stored() -> list[Path]:
    return sorted((FIXTURES / "events").glob("*.json"))


def test_every_tag_has_a_sample_that_was_stored() -> None:
    assert {tag_of(sample) for sample in SAMPLES} == set(TYPES)
    assert {path.stem for path in stored()} >= set(SAMPLES)


@pytest.mark.parametrize("path", stored(), ids=lambda path: str(path.stem))
def test_what_was_stored_under_a_tag_loads_for_ever(path: Path) -> None:
    tag = tag_of(path.stem)
    event = decode_event(tag, path.read_bytes().strip())
    if tag in TYPES:
        assert type(event) is TYPES[tag]
        assert event == SAMPLES[path.stem]
        assert encode_event(event) == path.read_bytes().strip()


def test_tags_are_nouns_and_verbs_and_never_class_paths() -> None:
    assert {kind: tag for tag, kind in TYPES.items()} == TAGS
    for tag in TYPES:
        noun, verb = tag.split(".")
        assert f"{noun}{verb}".replace("_", "").isalpha()
        assert tag == tag.lower()


def test_every_tag_is_recorded_in_streams_of_a_known_kind() -> None:
    assert {kind_of_tag(tag) for tag in TYPES} == DECIDERS.keys()
    assert (kind_of_tag("stock.received"), kind_of_tag("rules.applied")) == ("warehouse", "rulebook")
    assert kind_of_tag("order.paid.v2") == "order"


def test_every_old_shape_leads_to_one_of_today() -> None:
    for tag in UPCASTS:
        seen = {tag}
        newer = UPCASTS[tag][0]
        while newer in UPCASTS:
            assert newer not in seen
            seen.add(newer)
            newer = UPCASTS[newer][0]
        assert newer in TYPES
        assert tag not in TYPES


def test_an_old_shape_is_brought_up_step_by_step() -> None:
    upcasts: dict[str, Any] = {
        "order.money": ("order.money.v2", lambda facts: {"amount": facts["yuan"] * 100}),
        "order.money.v2": ("order.paid", lambda facts: {**facts, "currency": "CNY", "paid_ms": 1}),
    }
    assert decode_event("order.money", b'{"yuan":3}', upcasts) == order.OrderPaid(300, "CNY", 1)


def test_a_tag_of_a_newer_build_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(UnknownTag, match=r"order\.teleported"):
        decode_event("order.teleported", b"{}")


def test_damaged_bytes_are_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event("order.paid", b'{"amount":"much"}')


def test_a_field_that_a_later_build_added_does_not_stop_an_older_one() -> None:
    assert decode_event("order.repeated", b'{"digest":"d","more":1}') == order.OrderRepeated("d")


def test_what_waits_in_a_queue_can_be_read_for_ever() -> None:
    bodies = json.loads((FIXTURES / "bodies.json").read_text())
    names = {kind.__name__ for kind in get_args(mail.Body)}
    assert set(bodies) == names, "a sample of every body, as it waits in an event"
    for name, text in bodies.items():
        body = mail.decode_body(json.dumps(text))
        assert type(body).__name__ == name
        assert json.loads(mail.encode_body(body))[: len(text)] == text


def test_amounts_without_a_currency_do_not_exist() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"{}", type=Amounts)
