"""Own mini-program: each push becomes the order it is, or says why it is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.channels.miniprogram import MiniProgram
from domain.canonical import Amounts, Line, Parcel, SourceTime, Translated, TranslationError
from domain.mapping_table import Times
from domain.ports import Aside, Sliced

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/wechat_miniprogram"
PROGRAM = MiniProgram()


def line(**fields: Any) -> dict[str, Any]:
    return {"line_id": "1", "sku": "DRL-01", "title": "电钻", "qty": 1, "unit_price_fen": 32900, **fields}


def order(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "order_no": "MP1",
        "status": "paid",
        "created_at": "2026-11-11T00:05:00+08:00",
        "paid_at": "2026-11-11T00:05:20+08:00",
        "payable_fen": 32900,
        "lines": list(lines) or [line()],
        **fields,
    }


def event(found: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": "e-1",
        "event_type": "order.paid",
        "occurred_at": "2026-11-11T00:05:21+08:00",
        "order": order() if found is None else found,
        **fields,
    }


def translated(fields: dict[str, Any], shop: str = "mini") -> Translated:
    return PROGRAM.translate(json.dumps(fields, ensure_ascii=False).encode(), shop)


def sample(name: str) -> bytes:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the reference samples are not here")
    return path.read_bytes()


def aside(fields: Any) -> Aside:
    raw = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    (found,) = PROGRAM.identify(raw, "mini")
    assert isinstance(found, Aside), found
    return found


def at(text: str, utc_ms: int) -> SourceTime:
    return SourceTime(text, utc_ms, 480, f"{text[:19]}.000+08:00")


def test_golden_a_paid_order_of_a_member_with_a_referrer() -> None:
    (part,) = PROGRAM.identify(sample("own_backend_order_push"), "mini")
    assert isinstance(part, Sliced)
    found = PROGRAM.translate(part.raw, part.shop)
    order, personal = found.snapshot, found.personal
    assert (order.order_no, order.status, order.native_status) == ("MP202611110001", "paid", "paid")
    # 2 x 329.00 + 3 x 59.00 = 835.00 of goods, 30.00 off, 6.00 freight
    assert order.amounts == Amounts("CNY", 83500, 3000, 600, 0, 81100, 81100)
    assert order.ordered_at == at("2026-11-11T00:05:00+08:00", 1794326700000)
    assert order.modified_at == order.paid_at == at("2026-11-11T00:05:20+08:00", 1794326720000)
    assert [(one.id, one.sku, one.amount) for one in order.lines] == [
        ("1", "DRL-18V-01", 62800),
        ("2", "BIT-HSS-13", 17700),
    ]
    assert order.attributes == {
        "event_id": "01JCDQ7M4S8K2W9XH5V3N6P0RT",
        "event_type": "order.paid",
        "referrer_id": "R1008",
        "invoice_type": "electronic_normal",
    }
    assert order.lines[0].attributes == {"customized": True}
    assert (personal.customer_id, personal.messages) == ("M100238", {"buyer_message": "刻字：老王"})
    assert personal.line_attributes == {"1": {"engraving": "老王"}}
    assert personal.attributes["order.openid"] == "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
    assert "老王" not in repr(order)


@pytest.mark.parametrize(
    ("name", "kind", "order_no"),
    [
        ("wxpay_v3_decrypted_transaction", "hint", "MP202611110001"),
        ("wxpay_v3_notification_envelope", "refused", ""),
        ("upload_shipping_info_request", "refused", ""),
    ],
)
def test_what_wechat_itself_says_is_no_order(name: str, kind: str, order_no: str) -> None:
    (found,) = PROGRAM.identify(sample(name), "mini")
    assert isinstance(found, Aside)
    assert (found.kind, found.order_no) == (kind, order_no)


def test_a_notice_opened_in_its_envelope_is_a_second_witness() -> None:
    notice = {"event_type": "REFUND.SUCCESS", "resource": {"out_trade_no": "MP1", "refund_status": "SUCCESS"}}
    found = aside(notice)
    assert (found.kind, found.order_no) == ("hint", "MP1")
    assert "refunded" in found.reason


def test_an_event_is_one_slice_so_that_nothing_around_the_order_is_lost() -> None:
    body = json.dumps(event()).encode()
    assert PROGRAM.identify(b"[" + body + b"]", "mini") == [Sliced("mini", "MP1", body)]
    assert PROGRAM.identify(body, "") == [
        Aside("refused", "shop is empty; an order cannot be told apart without it (name the shop)", body)
    ]


def test_an_order_may_come_without_an_event_around_it() -> None:
    found = translated(order(updated_at="2026-11-11T00:06:00+08:00")).snapshot
    assert found.modified_at.utc_ms == 1794326760000
    assert "event_type" not in found.attributes


def test_the_apps_own_id_names_the_shop_where_nobody_else_does() -> None:
    body = json.dumps(event(appid="wx123")).encode()
    (part,) = PROGRAM.identify(body, "")
    assert part.shop == "wx123"
    found = PROGRAM.translate(body, "main").snapshot
    assert (found.shop, found.attributes["appid"]) == ("main", "wx123")


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        (b"{", "refused", "JSON"),
        (b"[]", "ignored", "empty"),
        ({"a": 1}, "refused", "not an event"),
        ({"event_type": "order.paid"}, "refused", "send the whole order"),
        ({"event_type": "coupon.used", "order_no": "MP1"}, "ignored", "not about an order"),
        ({"event_type": "aftersale.created", "aftersale": {"order_no": "MP1"}}, "hint", "order MP1"),
        ({"event_type": "aftersale.created", "aftersale": {}}, "refused", "empty"),
        ({"order": {"order_no": 1.5}}, "refused", "fraction"),
        ({"order": []}, "refused", "empty"),
        (b'{"order_no":"1","order_no":"2","lines":[]}', "refused", "twice"),
    ],
)
def test_what_is_no_whole_order_is_set_aside_with_its_reason(fields: Any, kind: str, says: str) -> None:
    found = aside(fields)
    assert found.kind == kind
    assert says in found.reason


@pytest.mark.parametrize(
    ("word", "status"),
    [("awaiting_payment", "awaiting_payment"), ("已付款", "paid"), ("配货中", "allocating"), ("已取消", "cancelled")],
)
def test_statuses_are_our_own_words(word: str, status: str) -> None:
    assert translated(event(order(status=word))).snapshot.status == status


def test_what_the_status_says_goes_before_the_name_of_the_event() -> None:
    found = translated(event(event_type="order.cancelled")).snapshot
    assert (found.status, found.attributes["event_type"]) == ("paid", "order.cancelled")


def test_a_time_that_does_not_fit_the_status_stays_an_attribute() -> None:
    found = translated(event(order(shipped_at="2026-11-12 09:00:00"))).snapshot
    assert (found.shipped_at, found.attributes["shipped_at"]) == (None, "2026-11-12 09:00:00")


def test_a_shipped_order_brings_its_parcels() -> None:
    parcels = [{"carrier": "SF", "tracking_no": "SF1", "line_ids": ["1"], "shipped_at": 1794366700}]
    found = translated(event(order(status="shipped", parcels=parcels))).snapshot
    assert found.parcels == (
        Parcel("SF", "SF1", ("1",), SourceTime("1794366700", 1794366700000, 0, "2026-11-11T11:11:40.000+08:00")),
    )
    assert found.lines[0].state == "shipped"


def test_an_after_sale_is_told_by_the_line() -> None:
    found = translated(event(order(line(after_sale="售后中", after_sale_id="as-1"), status="shipped"))).snapshot
    assert (found.lines[0].after_sale, found.lines[0].after_sale_id) == ("open", "as-1")


def test_a_line_reads_as_the_canonical_line() -> None:
    found = translated(event(order(line(qty=2, discount_fen=800, product_id="9", sku_id=8, spec="标准"))))
    assert found.snapshot.lines == (Line("1", "DRL-01", 2, "电钻", "9/8", "标准", 32900, 800, 65000),)


def test_sums_that_do_not_agree_are_noted_with_their_figures() -> None:
    found = translated(event(order(line(amount_fen=30000, discount_fen=1)))).snapshot
    assert [(one["stated"], one["computed"]) for one in found.attributes["amount_mismatch"]] == [
        (30000, 32899),
        (32900, 30000),
        (32900, 30000),
    ]


def test_unknown_fields_of_event_and_order_are_both_kept() -> None:
    found = translated(event(order(openid="inner", strange=1), openid="outer", strange=2))
    assert found.personal.customer_id == "inner"
    assert found.personal.attributes == {"openid": "outer", "strange": 2, "order": {"strange": 1}}


def test_a_mapping_may_say_in_which_zone_a_shop_writes() -> None:
    fields = json.dumps(order(created_at="2026-11-11 00:05:00")).encode()
    found = PROGRAM.with_times(Times(zone="+09:00")).translate(fields, "mini")
    assert found.snapshot.ordered_at.utc_ms == 1794326700000 - 3_600_000


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (event(order(status="lost")), "order.status"),
        (event(order(status="售后中")), "order.status"),
        (order(status=""), "status"),
        (event(order(kind="gift")), "order.kind"),
        (event(order(created_at="")), "order.created_at"),
        (event(order(created_at="2026-11-11")), "order.created_at"),
        (event(order(paid_at="2026-10-11 00:00:00")), "order.paid_at"),
        (event(order(currency="XXX")), "order.currency"),
        (event(order(payable_fen=None)), "order.payable_fen"),
        (event(order(payable_fen="329.00")), "order.payable_fen"),
        (event(order(payable_fen=-1)), "order.payable_fen"),
        (event(order(lines=[])), "order.lines"),
        (event(order(line(), line())), "order.lines[1].line_id"),
        (event(order(line(line_id=None))), "order.lines[0].line_id"),
        (event(order(line(qty=0))), "order.lines[0].qty"),
        (event(order(line(discount_fen=40000))), "order.lines[0].discount_fen"),
        (event(order(line(state="gone"))), "order.lines[0].state"),
        (event(order(line(after_sale="maybe"))), "order.lines[0].after_sale"),
        ({"event_type": "order.paid", "order": None}, "order"),
    ],
)
def test_what_cannot_be_translated_names_its_place(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as refused:
        translated(fields)
    assert refused.value.where == where
