"""Whatever a simulator writes, the real channel reads as the simulated world meant it."""

from importlib import import_module
from importlib.util import find_spec

import msgspec
import pytest

from adapters.simulators import PLATFORMS, SHOP, SimLine, SimOrder, SimParcel, an_order, wire_taobao, wire_wechat_shop
from adapters.simulators.carriers import native
from adapters.simulators.documents import document
from adapters.simulators.making import GIFT, LINES
from adapters.simulators.orders import has_left, shares
from domain.canonical import Snapshot, Status
from domain.ports import Channel, Sliced

AT_MS = 1_794_326_700_000
STATUSES: tuple[Status, ...] = ("awaiting_payment", "paid", "allocating", "shipped", "completed", "cancelled")
CHANNELS = tuple(PLATFORMS)

TYPED_GIFTS = ("wechat_shop", "shopify", "miniprogram", "generic")
"""Channels where a gift has a worth, which counts as goods and as discount."""


def written(channel: str, order: SimOrder) -> bytes:
    return document(channel, order, SHOP)


def the_channel(name: str) -> Channel:
    module = f"adapters.channels.{name}"
    if find_spec(module) is None:
        pytest.skip(f"there is no {module}")
    found: Channel = import_module(module).channel("Asia/Shanghai")
    return found


def read(name: str, raw: bytes) -> Snapshot:
    channel = the_channel(name)
    assert channel.sniff(raw)
    parts = channel.identify(raw, "shop")
    assert len(parts) == 1
    part = parts[0]
    assert isinstance(part, Sliced), part
    translated = channel.translate(part.raw, part.shop)
    snapshot: Snapshot = translated.snapshot  # type: ignore[union-attr]
    assert part.order_no == snapshot.order_no
    assert "amount_mismatch" not in snapshot.attributes, snapshot.attributes
    return snapshot


def seconds(at_ms: int) -> int:
    return at_ms // 1000 * 1000


def check_amounts(name: str, order: SimOrder, seen: Snapshot) -> None:
    amounts = seen.amounts
    goods, off = (order.goods_fen, order.off_fen) if name in TYPED_GIFTS else (order.sold_fen, order.reduced_fen)
    assert amounts.currency == order.currency
    assert amounts.payable == order.payable_fen
    assert amounts.freight == order.freight_fen
    assert amounts.paid == order.paid_fen
    assert amounts.goods == goods
    assert amounts.discount == off
    assert amounts.goods - amounts.discount + amounts.freight + amounts.tax == amounts.payable


def check_lines(order: SimOrder, seen: Snapshot) -> None:
    assert [line.sku for line in seen.lines] == [line.sku for line in order.lines]
    assert [line.quantity for line in seen.lines] == [line.quantity for line in order.lines]
    assert [line.gift for line in seen.lines] == [line.gift for line in order.lines]
    assert [line.amount for line in seen.lines] == shares(order)
    assert len({line.id for line in seen.lines}) == len(order.lines)
    assert all(line.name for line in seen.lines)


def check_times(name: str, order: SimOrder, seen: Snapshot) -> None:
    assert seen.ordered_at.utc_ms == seconds(order.ordered_ms)
    assert seen.modified_at.utc_ms == seconds(order.modified_ms)
    if name != "shopify":  # it says that an order is paid, not when
        assert (seen.paid_at.utc_ms if seen.paid_at else 0) == seconds(order.paid_ms)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("seq", [1, 2, 3])
def test_an_order_is_read_as_it_was_meant(name: str, status: Status, seq: int) -> None:
    order = an_order(name, seq, AT_MS, status)
    seen = read(name, written(name, order))
    # Pinduoduo has no word for an order of which a part has left.
    expected = "paid" if (name, status) == ("pinduoduo", "allocating") else status
    assert seen.status == expected
    assert seen.order_no == order.order_no
    assert seen.kind == "normal"
    # JD does not say which lines have left: nothing more may leave until a person has looked.
    assert seen.holds == (("line_partly_shipped",) if (name, status) == ("jd", "allocating") else ())
    check_amounts(name, order, seen)
    check_lines(order, seen)
    check_times(name, order, seen)


@pytest.mark.parametrize("name", CHANNELS)
def test_a_gift_and_discounts_add_up_to_the_last_fen(name: str) -> None:
    lines = (*(LINES[:1] if name == "pinduoduo" else LINES), GIFT)
    order = an_order(name, 4, AT_MS, "paid", lines=lines, discount_fen=1_001)
    seen = read(name, written(name, order))
    check_amounts(name, order, seen)
    check_lines(order, seen)


@pytest.mark.parametrize("name", ["taobao", "jd", "douyin", "wechat_shop", "shopify", "miniprogram", "generic"])
def test_what_has_left_is_seen_to_have_left(name: str) -> None:
    order = an_order(name, 5, AT_MS, "allocating")
    seen = read(name, written(name, order))
    assert seen.status == "allocating"
    assert seen.parcels[0].tracking == order.parcels[0].tracking
    if name != "jd":  # JD does not say which lines are in which parcel
        assert [line.state == "shipped" for line in seen.lines] == [has_left(order, at) for at in (0, 1)]
        if seen.parcels[0].lines:
            assert seen.parcels[0].lines == (seen.lines[0].id,)


@pytest.mark.parametrize("name", CHANNELS)
def test_parcels_of_a_shipped_order_are_seen(name: str) -> None:
    order = an_order(name, 6, AT_MS, "shipped")
    second = SimParcel(order.parcels[0].carrier, "SF9999999999999", order.shipped_ms)
    order = msgspec.structs.replace(order, parcels=(order.parcels[0], second))
    seen = read(name, written(name, order))
    code, carrier = native(name, order.parcels[0].carrier)
    trackings = [parcel.tracking for parcel in seen.parcels]
    assert trackings[0] == order.parcels[0].tracking
    if name != "taobao":  # a line on Taobao names one waybill
        assert trackings == [order.parcels[0].tracking, second.tracking]
    assert seen.parcels[0].carrier in (code, carrier)
    assert seen.shipped_at is not None
    assert seen.shipped_at.utc_ms == seconds(order.shipped_ms)


@pytest.mark.parametrize("name", CHANNELS)
def test_times_of_the_end_are_seen(name: str) -> None:
    done = read(name, written(name, an_order(name, 7, AT_MS, "completed")))
    assert done.completed_at is None or done.completed_at.utc_ms == AT_MS + 72 * 3_600_000
    gone = read(name, written(name, an_order(name, 8, AT_MS, "cancelled")))
    assert gone.cancelled_at is None or gone.cancelled_at.utc_ms == AT_MS + 24 * 3_600_000


@pytest.mark.parametrize("name", ["taobao", "douyin", "pinduoduo", "shopify", "miniprogram", "generic"])
def test_a_deposit_is_paid_but_the_order_is_not(name: str) -> None:
    order = an_order(name, 9, AT_MS, "awaiting_payment", presale=True, deposit_fen=10_000, lines=LINES[:1])
    seen = read(name, written(name, order))
    assert seen.status == "awaiting_payment"
    if name != "shopify":  # it cannot tell how much was paid, nor that it is a presale, but for a tag
        assert seen.kind == "presale"
    assert seen.amounts.paid == 10_000
    assert seen.amounts.payable == order.payable_fen


@pytest.mark.parametrize("name", ["taobao", "douyin", "pinduoduo", "wechat_shop", "miniprogram", "generic"])
def test_a_presale_whose_balance_is_paid_is_a_paid_order(name: str) -> None:
    order = an_order(name, 10, AT_MS, "paid", presale=True, deposit_fen=10_000, lines=LINES[:1])
    seen = read(name, written(name, order))
    assert (seen.status, seen.kind) == ("paid", "presale")
    assert seen.amounts.paid == order.payable_fen


@pytest.mark.parametrize(
    ("name", "hold"),
    [
        ("taobao", "forbid_consign"),
        ("taobao", "group_not_formed"),
        ("douyin", "risk_review"),
        ("pinduoduo", "risk_review"),
        ("jd", "locked"),
        ("miniprogram", "risk_review"),
        ("generic", "locked"),
    ],
)
def test_a_hold_is_seen(name: str, hold: str) -> None:
    order = an_order(name, 11, AT_MS, "paid", hold=hold)
    seen = read(name, written(name, order))
    assert seen.status == "paid"
    assert hold in seen.holds


def test_a_group_that_is_not_formed_awaits_its_money() -> None:
    order = an_order("pinduoduo", 12, AT_MS, "paid", hold="group_not_formed")
    seen = read("pinduoduo", written("pinduoduo", order))
    assert seen.status == "awaiting_payment"
    assert "group_not_formed" in seen.holds


@pytest.mark.parametrize("name", [name for name in CHANNELS if name != "jd"])
@pytest.mark.parametrize("after_sale", ["open", "refunded"])
def test_an_after_sale_is_seen_on_its_line(name: str, after_sale: str) -> None:
    if (name, after_sale) == ("shopify", "open"):
        pytest.skip("a Shopify order does not show an open case")
    order = an_order(name, 13, AT_MS, "shipped")
    first = msgspec.structs.replace(order.lines[0], after_sale=after_sale)
    order = msgspec.structs.replace(order, lines=(first, *order.lines[1:]))
    seen = read(name, written(name, order))
    assert seen.lines[0].after_sale == after_sale
    if len(seen.lines) > 1:
        assert seen.lines[1].after_sale == ""
        assert seen.status == "shipped"


@pytest.mark.parametrize("name", CHANNELS)
def test_a_refund_before_shipping_ends_the_order(name: str) -> None:
    order = an_order(name, 14, AT_MS, "cancelled", paid_ms=AT_MS + 60_000)
    seen = read(name, written(name, order))
    assert seen.status == "cancelled"


def test_ids_above_two_to_the_53_stay_exact() -> None:
    for name in ("taobao", "douyin", "wechat_shop"):
        order = an_order(name, 77, AT_MS)
        assert int(order.order_no) > 2**53
        seen = read(name, written(name, order))
        assert seen.order_no == order.order_no


def test_what_a_platform_cannot_say_is_not_written() -> None:
    with pytest.raises(ValueError, match="hold"):
        wire_taobao.trade(an_order("taobao", 1, AT_MS, hold="risk_review"), "shop")
    with pytest.raises(ValueError, match="hold"):
        wire_wechat_shop.order(an_order("wechat_shop", 1, AT_MS, hold="locked"))


def test_a_gift_is_worth_something_only_where_the_platform_says_so() -> None:
    order = an_order("taobao", 1, AT_MS, lines=(*LINES, SimLine("G", 2, 500, "g", gift=True)))
    assert order.goods_fen - order.sold_fen == 1_000
    assert order.payable_fen == order.sold_fen - order.reduced_fen + order.freight_fen
