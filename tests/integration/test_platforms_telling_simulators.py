"""The platforms' clients tell the simulated platforms of parcels: once in effect, whatever goes wrong on the way."""

from typing import Any

import pytest

from adapters.platforms import http
from adapters.simulators import SimLine, SimOrder
from adapters.simulators.faults import How
from adapters.simulators.making import LINES
from domain.canonical import Status
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused, Window
from tests.integration.simulated_shops import NOTICES, Shop, notice_of, shop_on

SPLIT = ("taobao", "jd", "douyin", "wechat_shop", "shopify", "generic")
"""Platforms where some lines may leave before others."""
KEYED = ("douyin", "generic")
"""Platforms that know a repeated notice by its key: after a lost answer it is simply sent again."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.01)
    monkeypatch.setattr("adapters.platforms.generic._BACKOFF_S", 0.01)


def fail(shop: Shop, how: How, count: int = 1) -> None:
    for operation in NOTICES[shop.sim.channel].split(","):
        shop.sim.fail_next(count, how, operation)


def status_of(shop: Shop, order: SimOrder) -> Status:
    found = shop.sim.store.get(order.order_no)
    assert found is not None
    return found.status


@pytest.mark.parametrize("channel", NOTICES)
async def test_a_parcel_is_told_and_the_order_is_shipped(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        notice = notice_of(shop, order)
        assert await shop.seller.knows(notice) is False
        await shop.seller.ship(notice)
        assert status_of(shop, order) == "shipped"
        shipment = shop.sim.shipments[0]
        assert (shipment.order_no, shipment.carrier, shipment.tracking) == (
            order.order_no,
            notice.carrier,
            notice.tracking,
        )
        assert shipment.lines == tuple(range(len(order.lines)))
        assert await shop.seller.knows(notice) is True


@pytest.mark.parametrize("channel", NOTICES)
async def test_telling_the_same_parcel_twice_is_harmless(channel: str) -> None:
    async with shop_on(channel) as shop:
        notice = notice_of(shop, shop.fill(1)[0])
        first = await shop.seller.ship(notice)
        assert await shop.seller.ship(notice) in (first, "")
        assert len(shop.sim.shipments) == 1


@pytest.mark.parametrize("channel", SPLIT)
async def test_two_parcels_of_an_order_are_told_one_after_the_other(channel: str) -> None:
    async with shop_on(channel) as shop:
        lines = (*LINES, SimLine("GLV-L-02", 1, 1_990, "防割手套 L"))
        order = shop.fill(1, lines=lines)[0]
        first = notice_of(shop, order, (0, 2), whole=False)
        await shop.seller.ship(first)
        assert status_of(shop, order) == "allocating"
        second = notice_of(shop, order, (1,), whole=True, tracking="SF1400000000078", key=first.key + "b")
        assert await shop.seller.knows(second) is False
        await shop.seller.ship(second)
        assert status_of(shop, order) == "shipped"
        assert [one.lines for one in shop.sim.shipments] == [(0, 2), (1,)]
        assert await shop.seller.knows(first) is True
        assert await shop.seller.knows(second) is True
        await shop.seller.ship(first)
        await shop.seller.ship(second)
        assert len(shop.sim.shipments) == 2


async def test_a_second_parcel_of_a_pinduoduo_order_is_told_beside_the_first() -> None:
    async with shop_on("pinduoduo") as shop:
        order = shop.fill(1)[0]
        await shop.seller.ship(notice_of(shop, order, whole=False))
        second = notice_of(shop, order, tracking="SF1400000000078")
        await shop.seller.ship(second)
        assert [one.tracking for one in shop.sim.shipments] == ["SF1400000000077", "SF1400000000078"]
        assert await shop.seller.knows(second) is True
        await shop.seller.ship(second)
        assert len(shop.sim.shipments) == 2


@pytest.mark.parametrize("channel", NOTICES)
async def test_an_order_that_the_shop_does_not_have_is_refused(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        notice = notice_of(shop, order, order_no=order.order_no[:-1] + "9")
        with pytest.raises(PlatformRefused):
            await shop.seller.ship(notice)
        assert shop.sim.shipments == []


@pytest.mark.parametrize("channel", NOTICES)
@pytest.mark.parametrize("status", ["awaiting_payment", "cancelled"])
async def test_an_order_that_must_not_leave_is_refused(channel: str, status: Status) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1, status=status)[0]
        with pytest.raises(PlatformRefused):
            await shop.seller.ship(notice_of(shop, order))
        assert shop.sim.shipments == []
        assert status_of(shop, order) == status


@pytest.mark.parametrize(
    ("channel", "hold"), [("taobao", "forbid_consign"), ("douyin", "risk_review"), ("pinduoduo", "risk_review")]
)
async def test_an_order_that_the_platform_holds_is_refused(channel: str, hold: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1, hold=hold)[0]
        with pytest.raises(PlatformRefused):
            await shop.seller.ship(notice_of(shop, order))
        assert shop.sim.shipments == []


@pytest.mark.parametrize("channel", NOTICES)
async def test_an_order_shipped_by_hand_with_the_same_number_counts_as_told(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        notice = notice_of(shop, order)
        shop.sim.store.ship(order.order_no, notice.carrier, notice.tracking)
        await shop.seller.ship(notice)
        assert len(shop.sim.shipments) == 1


@pytest.mark.parametrize("channel", ["taobao", "jd", "douyin", "shopify", "generic"])
async def test_an_order_shipped_by_hand_with_another_number_is_told_as_refused(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        notice = notice_of(shop, order)
        shop.sim.store.ship(order.order_no, notice.carrier, "SF0000000000001")
        with pytest.raises(PlatformRefused):
            await shop.seller.ship(notice)


@pytest.mark.parametrize("channel", [name for name in NOTICES if name not in ("shopify", "generic")])
async def test_a_carrier_that_nobody_knows_is_refused(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        with pytest.raises(PlatformRefused):
            await shop.seller.ship(notice_of(shop, order, carrier="TELEPORT"))
    # The merchant's own word for it, which the platform does not know either.
    async with shop_on(channel, options={"carrier.TELEPORT": "999999"}) as shop:
        order = shop.fill(1)[0]
        with pytest.raises(PlatformRefused):
            await shop.seller.ship(notice_of(shop, order, carrier="TELEPORT"))
        assert shop.sim.shipments == []


@pytest.mark.parametrize("channel", ["taobao", "douyin", "wechat_shop", "shopify", "generic"])
async def test_a_line_that_the_order_does_not_have_is_refused(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        good = notice_of(shop, order, (0,), whole=False)
        line = good.lines[0]
        changed: dict[str, Any] = {"line": line.line[:-1] + "8", "quantity": line.quantity, "item": "1/2"}
        wrong = good.lines[0].__class__(**changed)
        with pytest.raises(PlatformRefused):
            await shop.seller.ship(notice_of(shop, order, (0,), whole=False, lines=(wrong,)))
        assert shop.sim.shipments == []


async def test_an_open_refund_stops_a_parcel_unless_the_merchant_says_otherwise() -> None:
    async with shop_on("douyin") as shop:
        order = shop.fill(1, lines=(SimLine("A", 1, 100, "a", after_sale="open"),))[0]
        with pytest.raises(PlatformRefused):
            await shop.seller.ship(notice_of(shop, order))
    async with shop_on("douyin", options={"reject_refunds": "true"}) as shop:
        order = shop.fill(1, lines=(SimLine("A", 1, 100, "a", after_sale="open"),))[0]
        await shop.seller.ship(notice_of(shop, order))
        assert len(shop.sim.shipments) == 1


@pytest.mark.parametrize("channel", NOTICES)
@pytest.mark.parametrize("how", ["cut_after", "500_after", "wrong_json"])
async def test_a_lost_answer_is_never_told_as_success_nor_as_refusal(channel: str, how: How) -> None:
    async with shop_on(channel) as shop:
        notice = notice_of(shop, shop.fill(1)[0])
        fail(shop, how)
        try:
            await shop.seller.ship(notice)
        except OutcomeUnknown:
            pass
        else:
            # Only where sending it again is harmless by the platform's own word, or its status says success.
            assert channel in KEYED or (channel, how) == ("shopify", "wrong_json")
        assert await shop.seller.knows(notice) is True
        await shop.seller.ship(notice)
        assert len(shop.sim.shipments) == 1


@pytest.mark.parametrize("channel", NOTICES)
@pytest.mark.parametrize("how", ["cut_before", "500"])
async def test_a_notice_that_did_not_arrive_is_told_again_after_asking(channel: str, how: How) -> None:
    async with shop_on(channel) as shop:
        notice = notice_of(shop, shop.fill(1)[0])
        fail(shop, how)
        try:
            await shop.seller.ship(notice)
        except OutcomeUnknown:
            assert await shop.seller.knows(notice) is False
            await shop.seller.ship(notice)
        else:
            assert channel in KEYED
        assert len(shop.sim.shipments) == 1
        assert await shop.seller.knows(notice) is True


@pytest.mark.parametrize("channel", NOTICES)
async def test_a_platform_that_is_too_busy_has_done_nothing(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.platforms.http.retry_after_s", lambda _: 0.01)
    async with shop_on(channel) as shop:
        notice = notice_of(shop, shop.fill(1)[0])
        fail(shop, "limited")
        try:
            await shop.seller.ship(notice)
        except PlatformBusy:
            assert await shop.seller.knows(notice) is False
            await shop.seller.ship(notice)
        assert len(shop.sim.shipments) == 1


@pytest.mark.parametrize("channel", ["taobao", "jd", "douyin", "pinduoduo", "wechat_shop", "miniprogram"])
async def test_a_token_that_ended_is_refreshed_before_a_notice_is_given_up(channel: str) -> None:
    async with shop_on(channel) as shop:
        notice = notice_of(shop, shop.fill(1)[0])
        shop.sim.expire_tokens()
        await shop.seller.ship(notice)
        assert len(shop.sim.shipments) == 1


@pytest.mark.parametrize("channel", ["taobao", "jd", "douyin", "pinduoduo"])
async def test_a_notice_without_authorisation_is_told_as_such(channel: str) -> None:
    async with shop_on(channel) as shop:
        notice = notice_of(shop, shop.fill(1)[0])
        shop.sim.expire_tokens(refresh=True)
        with pytest.raises(NotAuthorised):
            await shop.seller.ship(notice)
        assert shop.sim.shipments == []


@pytest.mark.parametrize("channel", [name for name in NOTICES if name != "miniprogram"])
async def test_what_was_shipped_comes_back_by_the_next_pull(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        notice = notice_of(shop, order)
        await shop.seller.ship(notice)
        seen = await shop.pulled(Window(shop.clock() - 60_000, shop.clock() + 60_000))
        snapshot = seen[order.order_no]
        assert snapshot.status == "shipped"
        assert [parcel.tracking for parcel in snapshot.parcels] == [notice.tracking]
