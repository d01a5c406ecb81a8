"""JD's client against a small server that checks signatures, and fails inside its successes."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from adapters.channels.jd import Jd
from adapters.platforms import connect, jd
from adapters.platforms.connection import Connection, Token
from domain.platforms import (
    NotAuthorised,
    OutcomeUnknown,
    Platform,
    PlatformBusy,
    PlatformRefused,
    Puller,
    Seller,
    ShipNotice,
    ShippedLine,
    Window,
)
from domain.ports import Sliced
from tests.platform_world import NOW_MS, Asked, MemoryKeys, Reply, Served, gathered

SECRET = "app-s3cr3t"
FIRST = 301000000001
HUGE = 2960318827740212345
MINUTE = 60_000
DAY = 86_400_000
WINDOW = Window(NOW_MS - 20 * MINUTE, NOW_MS - 5 * MINUTE)
WELL = {"success": True, "numberCode": 0, "chineseErrCode": "成功", "englishErrCode": "success"}


def error(code: int, chinese: str = "", english: str = "") -> Reply:
    return Reply({"error_response": {"code": str(code), "zh_desc": chinese, "en_desc": english}})


def failed(method: str, name: str, chinese: str) -> Reply:
    said = {"success": False, "numberCode": 10400001, "chineseErrCode": chinese, "englishErrCode": "failed"}
    return Reply({method.replace(".", "_") + "_responce": {"code": "0", name: {"apiResult": said}}})


class Shop:
    """The platform's side of one shop."""

    def __init__(self) -> None:
        self.orders = [str(FIRST + number) for number in range(6)] + [str(HUGE)]
        self.access = "access-0"
        self.refresh = "refresh-0"
        self.waybills: dict[str, str] = {}
        self.parcels: list[str] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.instead: list[Reply | Callable[[], Reply | None]] = []

    def answer(self, asked: Asked) -> Reply:
        form = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        if asked.path.startswith("/oauth2/"):
            return self.token(asked.path, form)
        assert asked.path == "/routerjson"
        sign = form.pop("sign")
        base = "".join(f"{name}{form[name]}" for name in sorted(form))
        if sign != hashlib.new("md5", f"{SECRET}{base}{SECRET}".encode(), usedforsecurity=False).hexdigest().upper():
            return error(22, "无效签名")
        assert re.fullmatch(r"2026-11-11 00:05:30(\.\d{3})?\+0800", form["timestamp"])
        if form["access_token"] != self.access:
            return error(19, "token已过期或不存在,请重新授权")
        method, business = form["method"], json.loads(form["360buy_param_json"])
        self.calls.append((method, business))
        if self.instead:
            instead = self.instead.pop(0)
            reply = instead() if callable(instead) else instead
            if reply is not None:
                return reply
        name, body = self.act(method, business)
        return Reply({method.replace(".", "_") + "_responce": {"code": "0", name: body}})

    def token(self, path: str, form: dict[str, str]) -> Reply:
        assert (form["app_key"], form["app_secret"]) == ("key", SECRET)
        good = path.endswith("/access_token") and form.get("code") == "the-code"
        if not good and not (path.endswith("/refresh_token") and form.get("refresh_token") == self.refresh):
            return Reply({"code": 403, "msg": "refresh_token is wrong"})
        self.access, self.refresh = f"access-of-{self.refresh}", f"{self.refresh}+"
        found = {"access_token": self.access, "refresh_token": self.refresh, "expires_in": 86_400, "code": 0}
        return Reply(found | {"xid": "o*1", "scope": "snsapi_base"})

    def act(self, method: str, business: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        match method:
            case "jingdong.pop.order.search":
                assert business["optional_fields"]
                number, size = int(business["page"]), int(business["page_size"])
                page = [self.order(one) for one in self.orders[(number - 1) * size : number * size]]
                return "searchorderinfo_result", {
                    "apiResult": WELL,
                    "orderTotal": len(self.orders),
                    "orderInfoList": page,
                }
            case "jingdong.pop.order.get":
                number_ = str(business["order_id"])
                if number_ not in self.orders:
                    said = {"success": False, "numberCode": 10400001, "chineseErrCode": "订单不存在"}
                    return "orderDetailInfo", {"apiResult": said}
                return "orderDetailInfo", {"apiResult": WELL, "orderInfo": self.order(number_)}
            case "jingdong.pop.order.shipment":
                if self.waybills.get(str(business["orderId"])):
                    return "sopjosshipment_result", {"success": False, "errorCode": 1, "chineseErrCode": "订单已出库"}
                self.waybills[str(business["orderId"])] = business["logiNo"]
                return "sopjosshipment_result", {"success": True}
            case "jingdong.pop.order.partial.outship":
                (order,) = business["request"]["data"]
                self.parcels += [one["deliveryNums"][0] for one in order["deliveryNumberDtoList"]]
                return "result", {"success": True}
        raise AssertionError(method)

    def order(self, number: str) -> dict[str, Any]:
        parcels = [{"logicId": "467", "waybillId": one, "shipmentTime": NOW_MS} for one in self.parcels]
        return {
            "orderId": number,
            "orderState": "WAIT_SELLER_STOCK_OUT",
            "waybill": self.waybills.get(number, ""),
            "itemInfoList": [{"skuId": "10054887700001", "itemTotal": "1", "jdPrice": "1.00"}],
            "partialLogisticsInfoModel": parcels or None,
        }


class Rig:
    def __init__(self, shop: Shop, platform: Platform, keys: MemoryKeys, connection: Connection) -> None:
        assert platform.puller is not None
        assert platform.seller is not None
        assert platform.listener is None
        self.shop = shop
        self.keys = keys
        self.connection = connection
        self.puller: Puller = platform.puller
        self.seller: Seller = platform.seller


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    shop = Shop()
    keys = MemoryKeys(Token("access-0", NOW_MS + 30 * DAY, "refresh-0"), app_secret=SECRET)
    async with Served(shop.answer) as served:
        options = {"app_key": "key", "calls_per_s": "1000"}
        connection = Connection("pop", "jd", "shop1", served.url, served.url, options=options)
        platform = connect(connection, keys, lambda: NOW_MS)
        yield Rig(shop, platform, keys, connection)
        assert platform.close is not None
        await platform.close()


def notice(tracking: str = "SF1", *, whole: bool = True, order_no: str = str(FIRST), carrier: str = "SF") -> ShipNotice:
    return ShipNotice("k", order_no, carrier, tracking, NOW_MS, (ShippedLine("10054887700001", 2),), whole)


def numbers(documents: list[bytes]) -> list[str]:
    found = [part for document in documents for part in Jd().identify(document, "shop1")]
    assert all(isinstance(part, Sliced) for part in found), found
    return [part.order_no for part in found]


async def test_whole_orders_come_from_the_last_page_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jd, "PAGE_SIZE", 3)
    documents = await gathered(rig.puller.changed(WINDOW))
    assert set(numbers(documents)) == set(rig.shop.orders)
    assert [business["page"] for _, business in rig.shop.calls] == ["1", "3", "2", "1"], "texts, as JD wants them"
    asked = rig.shop.calls[0][1]
    assert (asked["start_date"], asked["end_date"]) == ("2026-11-10 23:45:30", "2026-11-11 00:00:30")
    assert asked["dateType"] != "1", "by modification"
    assert "LOCKED" in asked["order_state"].split(",")


async def test_the_answer_is_handed_on_as_it_came(rig: Rig) -> None:
    exact = json.dumps(
        {
            "jingdong_pop_order_search_responce": {
                "searchorderinfo_result": {"orderInfoList": [{"orderId": HUGE}], "orderTotal": 1, "apiResult": WELL},
                "code": 0,
            }
        },
        indent=3,
    ).encode()
    rig.shop.instead = [Reply(exact)]
    assert await gathered(rig.puller.changed(WINDOW)) == [exact]


async def test_an_empty_page_has_no_order(rig: Rig) -> None:
    rig.shop.orders = []
    documents = await gathered(rig.puller.changed(WINDOW))
    assert [part for document in documents for part in Jd().identify(document, "s") if isinstance(part, Sliced)] == []


async def test_one_order_may_come_as_one_object(rig: Rig) -> None:
    body = {"apiResult": WELL, "orderTotal": "1", "orderInfoList": rig.shop.order(str(FIRST))}
    rig.shop.instead = [Reply({"jingdong_pop_order_search_responce": {"code": "0", "searchorderinfo_result": body}})]
    assert numbers(await gathered(rig.puller.changed(WINDOW))) == [str(FIRST)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jingdong_pop_order_search_responce": {}},
        {"jingdong_pop_order_search_response": {"code": "0", "searchorderinfo_result": {"orderTotal": 0}}},
        {"jingdong_pop_order_search_responce": {"code": "0"}},
        {"jingdong_pop_order_search_responce": {"code": "0", "searchorderinfo_result": {"orderTotal": 3}}},
        {"jingdong_pop_order_search_responce": {"code": "77", "zh_desc": "x", "searchorderinfo_result": {}}},
    ],
)
async def test_what_is_no_page_is_an_error_and_no_empty_page(
    rig: Rig, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.platforms.http._BACKOFF_S", 0.001)
    rig.shop.instead = [Reply(body)] * 4
    with pytest.raises((PlatformBusy, PlatformRefused)):
        await gathered(rig.puller.changed(WINDOW))


async def test_a_result_that_failed_inside_a_success_is_an_error(rig: Rig) -> None:
    rig.shop.instead = [failed("jingdong.pop.order.search", "searchorderinfo_result", "起止时间跨度不能超过一个月")]
    with pytest.raises(PlatformRefused, match="起止时间跨度"):
        await gathered(rig.puller.changed(WINDOW))


async def test_a_window_of_more_than_a_day_is_asked_for_in_parts(rig: Rig) -> None:
    rig.shop.orders = []
    await gathered(rig.puller.changed(Window(NOW_MS - 3 * DAY, NOW_MS - DAY)))
    assert len(rig.shop.calls) == 2


async def test_one_order_is_fetched_by_its_exact_number(rig: Rig) -> None:
    document = await rig.puller.order(str(HUGE))
    assert document is not None
    assert numbers([document]) == [str(HUGE)]
    assert rig.shop.calls[-1][1]["order_id"] == HUGE
    assert await rig.puller.order("999") is None


async def test_a_token_that_ends_in_the_middle_is_refreshed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jd, "PAGE_SIZE", 3)

    def ends() -> None:
        rig.shop.access = "nobody has this"

    rig.shop.instead = [lambda: None, ends]
    assert set(numbers(await gathered(rig.puller.changed(WINDOW)))) == set(rig.shop.orders)
    assert rig.keys.kept == [Token("access-of-refresh-0", NOW_MS + DAY, "refresh-0+", NOW_MS + DAY)]


async def test_a_dead_refresh_token_needs_a_person(rig: Rig) -> None:
    rig.shop.access = rig.shop.refresh = "another"
    with pytest.raises(NotAuthorised, match=r"403.*authorise the shop anew"):
        await rig.puller.check()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (error(66, "平台接口调用次数超限,请稍后再试"), None),
        (error(65, "平台连接后端服务不可用"), None),
        (error(4711, "调用过于频繁"), None),
        (failed("jingdong.pop.order.search", "searchorderinfo_result", "系统繁忙"), None),
        (Reply(status=503), None),
        (error(22, "无效签名"), NotAuthorised),
        (error(4711, "无效app_key"), NotAuthorised),
        (error(13, "不存在的方法名"), PlatformRefused),
    ],
)
async def test_an_error_means_what_it_says(
    rig: Rig, said: Reply, kind: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.platforms.http._BACKOFF_S", 0.001)
    rig.shop.instead = [said]
    if kind is None:
        assert "7 orders" in await rig.puller.check(), "it is tried again"
    else:
        with pytest.raises(kind):
            await rig.puller.check()


async def test_a_parcel_is_told_in_jds_words(rig: Rig) -> None:
    assert await rig.seller.ship(notice()) == ""
    method, business = rig.shop.calls[-1]
    assert method == "jingdong.pop.order.shipment"
    assert business == {"orderId": FIRST, "logiCoprId": 467, "logiNo": "SF1", "installId": ""}


async def test_telling_the_same_twice_is_a_success_and_another_waybill_is_not(rig: Rig) -> None:
    for _ in range(2):
        assert await rig.seller.ship(notice()) == ""
    with pytest.raises(PlatformRefused, match="订单已出库"):
        await rig.seller.ship(notice("SF2"))


async def test_a_parcel_after_which_more_follow_does_not_end_the_order(rig: Rig) -> None:
    for _ in range(2):
        await rig.seller.ship(notice("SF1", whole=False))
    assert rig.shop.waybills == {}
    assert rig.shop.parcels == ["SF1"], "told once"
    assert await rig.seller.knows(notice("SF1")) is True
    await rig.seller.ship(notice("SF2"))
    assert rig.shop.waybills == {str(FIRST): "SF2"}


@pytest.mark.parametrize("waybill", ["SF1", "SF1|JDV1,JDV2", "JDV1,SF1", "JDV1| SF1 "])
async def test_a_waybill_is_known_among_others(rig: Rig, waybill: str) -> None:
    rig.shop.waybills[str(FIRST)] = waybill
    assert await rig.seller.knows(notice("SF1")) is True
    assert await rig.seller.knows(notice("SF")) is False
    assert await rig.seller.knows(notice("")) is False


async def test_a_connection_that_is_cut_after_the_notice_leaves_it_unknown_and_then_it_is_asked(rig: Rig) -> None:
    def taken_but_cut() -> Reply:
        rig.shop.waybills[str(FIRST)] = "SF1"
        return Reply(cut=True)

    rig.shop.instead = [taken_but_cut]
    with pytest.raises(OutcomeUnknown):
        await rig.seller.ship(notice())
    assert await rig.seller.knows(notice()) is True


async def test_trouble_behind_the_platform_leaves_a_notice_unknown(rig: Rig) -> None:
    rig.shop.instead = [error(65, "平台连接后端服务不可用")]
    with pytest.raises(OutcomeUnknown):
        await rig.seller.ship(notice())


async def test_an_answer_without_a_result_is_no_success(rig: Rig) -> None:
    rig.shop.instead = [Reply({})]
    with pytest.raises(OutcomeUnknown):
        await rig.seller.ship(notice())


async def test_an_unknown_carrier_is_refused_before_anything_is_sent(rig: Rig) -> None:
    with pytest.raises(PlatformRefused, match="carrier 'ROCKET' is not known"):
        await rig.seller.ship(notice(carrier="ROCKET"))
    assert rig.shop.calls == []


async def test_an_unknown_order_cannot_be_asked_about(rig: Rig) -> None:
    with pytest.raises(PlatformRefused, match="knows no order"):
        await rig.seller.knows(notice(order_no="9"))


async def test_a_code_becomes_a_token_that_is_kept(rig: Rig) -> None:
    token = await jd.authorise(rig.connection, rig.keys, lambda: NOW_MS, "the-code")
    assert rig.keys.kept == [token]
    assert token.access == "access-of-refresh-0"
    with pytest.raises(NotAuthorised):
        await jd.authorise(rig.connection, rig.keys, lambda: NOW_MS, "used")


def test_the_page_where_the_shop_lets_us_in_names_the_app() -> None:
    url = urlsplit(jd.authorise_url(Connection("pop", "jd", "s", options={"app_key": "key"}), "https://erp.example/b"))
    assert (url.hostname, url.path) == ("open-oauth.jd.com", "/oauth2/to_login")
    assert parse_qs(url.query)["app_key"] == ["key"]
    assert parse_qs(url.query)["redirect_uri"] == ["https://erp.example/b"]
