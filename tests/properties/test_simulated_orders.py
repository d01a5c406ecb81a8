"""Any order that the simulated platforms can write is read by the channel to the last fen."""

from importlib import import_module
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulators import PLATFORMS, SHOP, SimLine, SimOrder, SimParcel, an_order, document
from adapters.simulators.orders import shares
from domain.canonical import Status
from domain.ports import Channel, Sliced

AT_MS = 1_794_326_700_000
WORTH = ("wechat_shop", "shopify", "miniprogram", "generic")
"""Channels where a gift has a worth, which counts as goods and as discount."""
STATUSES: tuple[Status, ...] = ("awaiting_payment", "paid", "shipped", "completed", "cancelled")


@st.composite
def orders(draw: st.DrawFn, channel: str) -> SimOrder:
    lines = []
    # Pinduoduo and JD name a line by its goods: of the same goods there is one line.
    for at in range(draw(st.integers(1, 1 if channel == "pinduoduo" else 4))):
        price, quantity = draw(st.integers(1, 2_000_000)), draw(st.integers(1, 50))
        off = draw(st.integers(0, price * quantity))
        lines.append(SimLine(f"SKU-{at}", quantity, price, f"商品 {at}", off))
    left = sum(line.goods_fen - line.off_fen for line in lines)
    if draw(st.booleans()):
        lines.append(SimLine("GIFT-1", draw(st.integers(1, 3)), draw(st.integers(1, 5_000)), "赠品", gift=True))
    fields: dict[str, Any] = {
        "discount_fen": draw(st.integers(0, left)),
        "freight_fen": draw(st.integers(0, 10_000)),
        "message": draw(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=30)),
    }
    order = an_order(channel, draw(st.integers(1, 99_999)), AT_MS, draw(st.sampled_from(STATUSES)), lines=tuple(lines))
    several: bool = draw(st.booleans())
    if order.parcels and several and channel != "taobao":
        more = SimParcel("SF", "SF9999999999999", order.shipped_ms)
        fields["parcels"] = (*order.parcels, more)
    return msgspec.structs.replace(order, **fields)


@pytest.mark.parametrize("channel", list(PLATFORMS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_amounts_lines_and_times_are_exact(channel: str, data: st.DataObject) -> None:
    order = data.draw(orders(channel))
    reader: Channel = import_module(f"adapters.channels.{channel}").channel("Asia/Shanghai")
    (part,) = reader.identify(document(channel, order, SHOP), "shop")
    assert isinstance(part, Sliced), part
    seen = reader.translate(part.raw, part.shop).snapshot  # type: ignore[union-attr]
    assert "amount_mismatch" not in seen.attributes, seen.attributes["amount_mismatch"]
    assert seen.status == order.status
    assert seen.amounts.payable == order.payable_fen
    assert seen.amounts.goods == (order.goods_fen if channel in WORTH else order.sold_fen)
    assert seen.amounts.goods - seen.amounts.discount + seen.amounts.freight == order.payable_fen
    assert [line.sku for line in seen.lines] == [line.sku for line in order.lines]
    for line, meant, share in zip(seen.lines, order.lines, shares(order), strict=True):
        # The WeChat shop and Shopify mark no gift: a line for which nothing is paid may be one.
        if share or channel not in ("wechat_shop", "shopify"):
            assert line.gift == meant.gift
        # JD tells no shares of lines: where they divide badly, the odd fen may lie elsewhere.
        assert abs(line.amount - share) <= (len(order.lines) if channel == "jd" else 0)
        assert meant.gift or line.unit_price == meant.unit_price_fen
    assert sum(line.amount for line in seen.lines) == order.payable_fen - order.freight_fen
    assert seen.modified_at.utc_ms == order.modified_ms // 1000 * 1000
    assert {parcel.tracking for parcel in seen.parcels} == {parcel.tracking for parcel in order.parcels}
