"""An own mini-program: two kinds of genuine pushes at one address, parcels told to WeChat's shipping management."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adapters.platforms import connect, http
from adapters.platforms.connection import Connection
from adapters.platforms.miniprogram_ship import description, rfc3339
from adapters.platforms.own_contract import signature
from domain.platforms import NotGenuine, OutcomeUnknown, PlatformRefused, Seller, ShippedLine
from tests.platform_world import NOW_MS, NOW_S, Asked, MemoryKeys, Reply, Served, connected, notice, pushed

if TYPE_CHECKING:
    from collections.abc import Callable

ORDER = "MP202611110001"
UPLOAD = "/wxa/sec/order/upload_shipping_info"
KEYS = MemoryKeys(None, push_secret="ours", app_secret="theirs")
OPTIONS = {"app_id": "wx1", "mchid": "1230000109", "consignor_contact": "189****1234", "calls_per_s": "1000"}
PARCEL = notice(order_no=ORDER, whole=True)


class Wechat:
    """What WeChat answers, as far as the tests need it: one payment."""

    def __init__(self) -> None:
        self.parcels: list[dict[str, Any]] = []
        self.before: Callable[[Asked], Reply | None] = lambda _: None

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/cgi-bin/stable_token":
            return Reply({"access_token": "w-1", "expires_in": 7_200})
        assert asked.query == {"access_token": "w-1"}
        early = self.before(asked)
        if early is not None:
            return early
        if asked.path == UPLOAD:
            self.parcels += asked.json["shipping_list"]
            return Reply({"errcode": 0, "errmsg": "ok"})
        if asked.json != {"merchant_id": "1230000109", "merchant_trade_no": ORDER}:
            return Reply({"errcode": 10060001, "errmsg": "支付单不存在"})
        payment = {"transaction_id": "4200000000202611110000000003", "openid": "o-1", "order_state": 1}
        return Reply({"errcode": 0, "order": {**payment, "shipping": {"shipping_list": self.parcels}}})


def at(wechat: Wechat, **options: str) -> AbstractAsyncContextManager[tuple[object, Seller, Served]]:
    chosen = {name: value for name, value in {**OPTIONS, **options}.items() if value}
    keys = MemoryKeys(None, push_secret="ours", app_secret="theirs")
    return connected(wechat.answer, lambda url: Connection("mp", "miniprogram", "s", url, options=chosen), keys)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.001)


def test_an_own_push_and_a_notice_of_wechat_pay_are_judged_each_by_its_own_rules() -> None:
    platform = connect(Connection("mp", "miniprogram", "s"), KEYS, lambda: NOW_MS)
    assert platform.receiver is not None
    assert (platform.puller, platform.seller, platform.close) == (None, None, None)
    body = b'{"event_id":"1","order":{}}'
    headers = {"X-Timestamp": str(NOW_S), "X-Nonce": "n", "X-Signature": signature("ours", str(NOW_S), "n", body)}
    taken = platform.receiver.receive(pushed(body, headers))
    assert (taken.documents, taken.nonce) == ((body,), "n")
    with pytest.raises(NotGenuine, match="wechatpay"):
        platform.receiver.receive(pushed(body, {**headers, "Wechatpay-Signature": "QQ=="}))
    with pytest.raises(NotGenuine, match="x-timestamp"):
        platform.receiver.receive(pushed(body))


async def test_what_is_missing_for_parcels_and_keys_that_cannot_be_read_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mchid"):
        connect(Connection("mp", "miniprogram", "s", options={"app_id": "wx1"}), KEYS, lambda: NOW_MS)
    options = {"wechatpay_key.A": str(tmp_path / "none.pem")}
    with pytest.raises(ValueError, match=r"wechatpay_key\.A"):
        connect(Connection("mp", "miniprogram", "s", options=options), KEYS, lambda: NOW_MS)


async def test_a_parcel_is_told_for_the_payment_of_the_order() -> None:
    wechat = Wechat()
    async with at(wechat) as (_, seller, served):
        assert not await seller.knows(PARCEL)
        assert await seller.ship(PARCEL) == "4200000000202611110000000003"
        assert await seller.knows(PARCEL)
    (asked,) = (one for one in served.asked if one.path == UPLOAD)
    assert asked.json == {
        "order_key": {"order_number_type": 1, "mchid": "1230000109", "out_trade_no": ORDER},
        "logistics_type": 1,
        "delivery_mode": 1,
        "is_all_delivered": True,
        "shipping_list": [
            {
                "tracking_no": "SF1400000000006",
                "express_company": "SF",
                "item_desc": "充电电钻 18V*2;6937476692437472004*1",
                "contact": {"consignor_contact": "189****1234"},
            }
        ],
        "upload_time": "2026-11-11T00:05:30.000+08:00",
        "payer": {"openid": "o-1"},
    }


async def test_several_parcels_are_told_as_parts_and_the_last_one_as_the_last() -> None:
    wechat = Wechat()
    async with at(wechat) as (_, seller, served):
        # Both at once, as they become due.
        first, last = notice(order_no=ORDER, whole=False), notice(order_no=ORDER, tracking="SF2", whole=True)
        await asyncio.gather(seller.ship(first), seller.ship(last))
    asked = [one.json for one in served.asked if one.path == UPLOAD]
    assert [(one["delivery_mode"], one["is_all_delivered"]) for one in asked] == [(2, False), (2, True)]


async def test_telling_the_same_parcel_twice_tells_it_once() -> None:
    wechat = Wechat()
    async with at(wechat) as (_, seller, served):
        await seller.ship(PARCEL)
        await seller.ship(PARCEL)
    assert served.paths().count(UPLOAD) == 1


async def test_nothing_new_is_a_success() -> None:
    wechat = Wechat()
    wechat.before = lambda asked: Reply({"errcode": 10060023}) if asked.path == UPLOAD else None
    async with at(wechat) as (_, seller, _served):
        await seller.ship(PARCEL)


@pytest.mark.parametrize("trouble", [Reply(cut=True), Reply(b"", 500), Reply({"errcode": -1})])
async def test_a_notice_without_a_clear_answer_is_not_repeated_but_can_be_asked_about(trouble: Reply) -> None:
    wechat = Wechat()

    def lose(asked: Asked) -> Reply | None:
        if asked.path != UPLOAD:
            return None
        wechat.parcels += asked.json["shipping_list"]
        return trouble

    wechat.before = lose
    async with at(wechat) as (_, seller, served):
        with pytest.raises(OutcomeUnknown):
            await seller.ship(PARCEL)
        assert await seller.knows(PARCEL)
    assert served.paths().count(UPLOAD) == 1


async def test_an_order_that_was_not_paid_with_wechat_is_refused() -> None:
    async with at(Wechat()) as (_, seller, _served):
        assert not await seller.knows(notice(order_no="OTHER"))
        with pytest.raises(PlatformRefused, match="knows no payment"):
            await seller.ship(notice(order_no="OTHER"))


async def test_parcels_of_sf_need_a_telephone_and_others_do_not() -> None:
    wechat = Wechat()
    async with at(wechat, consignor_contact="") as (_, seller, served):
        with pytest.raises(PlatformRefused, match="consignor_contact"):
            await seller.ship(PARCEL)
        assert served.asked == []
        await seller.ship(notice(order_no=ORDER, carrier="ZTO", tracking="Z1"))
    assert "contact" not in wechat.parcels[0]


def test_descriptions_are_cut_to_what_wechat_takes() -> None:
    long = notice(lines=tuple(ShippedLine(str(at), 1, name="充电电钻" * 4) for at in range(20)))
    assert len(description(long)) == 120
    assert description(notice(lines=())) == notice().order_no


def test_times_keep_their_milliseconds() -> None:
    assert rfc3339(1_794_331_805_120) == "2026-11-11T01:30:05.120+08:00"
