"""What the simulation writes, the channels read back as the same order: nothing is lost on the wire."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.channels import load
from domain.canonical import Return as CanonicalReturn
from domain.canonical import Snapshot, Status, Translated
from domain.ports import Sliced
from runners.simulating import wire_douyin, wire_pos, wire_taobao
from runners.simulating.neutral import Buyer, Deal, Item, Return, shares

BUYER = Buyer("b-17", "林小明", "13812345678", "浙江省", "杭州市", "西湖区", "文三路 12 号 3 栋")
CHANNELS = load()
T0 = 1_794_326_700_000
WRITERS = {"taobao": wire_taobao, "douyin": wire_douyin}
NUMBERS = {"taobao": "2848326700001004321", "douyin": "6908483267000014321", "pos": "S01-20261111-0007"}


def items(maximum: int = 6) -> st.SearchStrategy[tuple[Item, ...]]:
    def item(number: int, quantity: int, price: int, off: int) -> Item:
        return Item(f"SKU-{number}", f'钻头 {number}, "硬"', quantity, price, off % (price * quantity + 1))

    one = st.builds(
        item, st.integers(1, 60), st.integers(1, 40), st.integers(0, 99_999) | st.just(0), st.integers(0, 5_000)
    )
    return st.lists(one, min_size=1, max_size=maximum).map(tuple)


@st.composite
def deals(draw: st.DrawFn, channel: str) -> Deal:
    lines = draw(items())
    off = draw(st.integers(0, sum(item.total for item in lines)))
    status: Status = draw(
        st.sampled_from(["completed"] if channel == "pos" else ["awaiting_payment", "paid", "shipped", "completed"])
    )
    paid = status != "awaiting_payment"
    gone = status in ("shipped", "completed")
    return Deal(
        channel=channel,
        shop="S01" if channel == "pos" else "五金旗舰店",
        number=NUMBERS[channel],
        buyer=BUYER,
        items=lines,
        ordered_ms=T0,
        modified_ms=T0 if channel == "pos" else T0 + 7_000,
        status=status,
        freight=draw(st.integers(0, 2_000)),
        discount=off,
        hold=channel != "pos" and status == "paid" and draw(st.booleans()),
        counter=channel == "pos",
        pay_by_ms=0 if channel == "pos" else T0 + 1_800_000,
        paid_ms=T0 + 5_000 if paid and channel != "pos" else 0,
        shipped_ms=T0 + 6_000 if gone and channel != "pos" else 0,
        ended_ms=T0 + 7_000 if status == "completed" and channel != "pos" else 0,
        carrier="SF" if gone and channel != "pos" else "",
        tracking="SF1234567890" if gone and channel != "pos" else "",
        message="周末送货",
    )


def read(channel: str, raw: bytes) -> Snapshot:
    (piece,) = CHANNELS[channel].identify(raw, "")
    assert isinstance(piece, Sliced), piece
    translated = CHANNELS[channel].translate(piece.raw, piece.shop)
    assert isinstance(translated, Translated)
    assert piece.order_no == translated.snapshot.order_no
    return translated.snapshot


def written(deal: Deal, encoding: Literal["utf-8", "utf-8-sig", "gb18030"] = "utf-8-sig") -> bytes:
    return wire_pos.write([deal], encoding) if deal.channel == "pos" else WRITERS[deal.channel].write(deal)


@pytest.mark.parametrize("channel", ["taobao", "douyin", "pos"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_each_channel_reads_the_order_back_exactly(channel: str, data: st.DataObject) -> None:
    deal = data.draw(deals(channel))
    snapshot = read(channel, written(deal, data.draw(st.sampled_from(["utf-8", "utf-8-sig", "gb18030"]))))
    assert snapshot.status == deal.status
    assert snapshot.amounts.payable == deal.payable
    assert snapshot.amounts.freight == deal.freight
    assert snapshot.amounts.goods == deal.goods
    assert snapshot.amounts.paid == (deal.payable if deal.status != "awaiting_payment" else 0)
    assert [(line.sku, line.quantity, line.unit_price, line.amount) for line in snapshot.lines] == [
        (item.sku, item.quantity, item.price, share) for item, share in zip(deal.items, shares(deal), strict=True)
    ]
    assert snapshot.ordered_at.utc_ms == deal.ordered_ms
    assert snapshot.modified_at.utc_ms == deal.modified_ms
    assert bool(snapshot.holds) == deal.hold
    assert "amount_mismatch" not in snapshot.attributes
    if deal.status == "awaiting_payment":
        assert snapshot.pay_by is not None
        assert snapshot.pay_by.utc_ms == deal.pay_by_ms
    if deal.tracking:
        assert [(parcel.carrier, parcel.tracking) for parcel in snapshot.parcels] == [("SF", "SF1234567890")]


@pytest.mark.parametrize("channel", ["taobao", "douyin"])
def test_what_left_first_and_what_comes_back_is_told_by_line(channel: str) -> None:
    lines = (Item("A", "a", 1, 1000, shipped=True), Item("B", "b", 2, 500))
    deal = Deal(
        channel, "shop", NUMBERS[channel], BUYER, lines, T0, T0 + 9_000, "allocating",
        paid_ms=T0 + 1_000, carrier="SF", tracking="SF1",
    )  # fmt: skip
    part = read(channel, written(deal))
    assert part.status == "allocating"
    assert [line.state for line in part.lines] == ["shipped", "open"]
    back = tuple(Item(item.sku, item.name, item.quantity, item.price, refund="open") for item in lines)
    deal = Deal(
        channel, "shop", NUMBERS[channel], BUYER, back, T0, T0 + 9_000, "shipped",
        paid_ms=T0 + 1_000, shipped_ms=T0 + 5_000, carrier="SF", tracking="SF1",
    )  # fmt: skip
    assert [line.after_sale for line in read(channel, written(deal)).lines] == ["open", "open"]


@pytest.mark.parametrize("channel", ["taobao", "douyin"])
def test_a_deposit_is_paid_and_the_rest_is_owed(channel: str) -> None:
    deal = Deal(
        channel, "shop", NUMBERS[channel], BUYER, (Item("A", "a", 1, 10_000),), T0, T0 + 1_000,
        presale=True, deposit=2_000, pay_by_ms=T0 + 86_400_000,
    )  # fmt: skip
    snapshot = read(channel, written(deal))
    assert (snapshot.status, snapshot.kind, snapshot.amounts.paid) == ("awaiting_payment", "presale", 2_000)


@pytest.mark.parametrize("channel", ["taobao", "douyin"])
@pytest.mark.parametrize("paid_ms", [0, T0 + 1_000])
def test_a_closed_order_is_cancelled(channel: str, paid_ms: int) -> None:
    deal = Deal(
        channel, "shop", NUMBERS[channel], BUYER, (Item("A", "a", 1, 10_000),), T0, T0 + 2_000, "cancelled",
        paid_ms=paid_ms, ended_ms=T0 + 2_000,
    )  # fmt: skip
    assert read(channel, written(deal)).status == "cancelled"


def test_goods_brought_to_the_counter_name_their_sale() -> None:
    back = Return("S01-20261111-0009", "S01-20261111-0007", "S01", T0, (Item("A", "a", 2, 500, 100),))
    (piece,) = CHANNELS["pos"].identify(wire_pos.write([back]), "")
    assert isinstance(piece, Sliced)
    assert piece.order_no == "20261111-S01-20261111-0007"
    goods = CHANNELS["pos"].translate(piece.raw, piece.shop)
    assert isinstance(goods, CanonicalReturn)
    assert goods.reference == "20261111-S01-20261111-0009"
    assert [(line.sku, line.quantity, line.amount) for line in goods.lines] == [("A", 2, 900)]


def test_a_sale_to_be_delivered_waits_for_its_goods() -> None:
    deal = Deal("pos", "S01", NUMBERS["pos"], BUYER, (Item("A", "a", 1, 500),), T0, T0, "paid")
    assert read("pos", wire_pos.write([deal])).status == "paid"
