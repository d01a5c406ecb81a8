"""Pinduoduo's client against a small server that checks signatures, pages and forgets."""

import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from adapters.channels.pinduoduo import Pinduoduo
from adapters.platforms import connect, pinduoduo
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
    Window,
)
from domain.ports import Sliced
from tests.platform_world import NOW_MS, NOW_S, Asked, MemoryKeys, Reply, Served, gathered

SECRET = "app-s3cr3t"
FIRST = "261111-481803633911509"
MINUTE = 60_000
DAY = 86_400_000
WINDOW = Window(NOW_MS - 20 * MINUTE, NOW_MS - 5 * MINUTE)
FEED = "order_sn_increment_get_response"


def error(code: int, words: str = "", sub_code: str = "", sub_msg: str = "") -> Reply:
    said = {"error_code": code, "error_msg": words, "sub_code": sub_code, "sub_msg": sub_msg, "request_id": "1"}
    return Reply({"error_response": said})


class Shop:
    """The platform's side of one shop."""

    def __init__(self) -> None:
        self.orders = [f"261111-48180363391{number:04}" for number in range(6)] + [FIRST]
        self.bare: set[str] = set()
        """Orders of which the feed gives only the number."""
        self.access = "access-0"
        self.refresh = "refresh-0"
        self.tracking = ""
        self.extra: list[dict[str, Any]] = []
        self.calls: list[dict[str, str]] = []
        self.instead: list[Reply | Callable[[], Reply | None]] = []

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/oauth/token":
            return self.token(asked.json)
        assert asked.path == "/api/router"
        form = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        sign = form.pop("sign")
        base = "".join(f"{name}{form[name]}" for name in sorted(form))
        right = hashlib.new("md5", f"{SECRET}{base}{SECRET}".encode(), usedforsecurity=False).hexdigest().upper()
        if sign != right:
            return error(20004, "签名sign校验失败")
        assert (form["client_id"], form["timestamp"], form["data_type"]) == ("app", str(NOW_S), "JSON")
        if form["access_token"] != self.access:
            return error(10019, "access_token已过期")
        self.calls.append(form)
        if self.instead:
            instead = self.instead.pop(0)
            reply = instead() if callable(instead) else instead
            if reply is not None:
                return reply
        return self.act(form)

    def token(self, asked: dict[str, str]) -> Reply:
        assert (asked["client_id"], asked["client_secret"]) == ("app", SECRET)
        if asked.get("code") != "the-code" and asked.get("refresh_token") != self.refresh:
            return error(10035, "refresh_token已过期")
        self.access, self.refresh = f"access-of-{self.refresh}", f"{self.refresh}+"
        found = {"access_token": self.access, "refresh_token": self.refresh, "expires_in": 1}
        return Reply(found | {"expires_at": NOW_S + 86_400, "refresh_token_expires_at": NOW_S + 172_800})

    def act(self, form: dict[str, str]) -> Reply:
        match form["type"]:
            case "pdd.order.number.list.increment.get":
                number, size = int(form["page"]), int(form["page_size"])
                page = [self.order(one) for one in self.orders[(number - 1) * size : number * size]]
                listed = [{"order_sn": one["order_sn"]} if one["order_sn"] in self.bare else one for one in page]
                return Reply({FEED: {"total_count": len(self.orders), "has_next": False, "order_sn_list": listed}})
            case "pdd.order.information.get":
                if form["order_sn"] not in self.orders:
                    return error(50001, "业务服务错误", "50001", "订单不存在")
                return Reply({"order_info_get_response": {"order_info": self.order(form["order_sn"])}})
            case "pdd.logistics.online.send":
                if self.tracking:
                    return error(50001, "业务服务错误", "50001", "订单已发货，不能重复发货")
                self.tracking = form["tracking_number"]
                return Reply({"logistics_online_send_response": {"is_success": True}})
            case "pdd.order.upload.extra.logistics":
                self.extra += json.loads(form["extra_track_list"])
                return Reply({"upload_extra_logistics_response": {"success": True}})
        raise AssertionError(form["type"])

    def order(self, number: str) -> dict[str, Any]:
        return {
            "order_sn": number,
            "confirm_status": 1,
            "order_status": 2 if self.tracking else 1,
            "tracking_number": self.tracking,
            "extra_delivery_list": self.extra,
            "pay_amount": "1.00",
            "updated_at": "2026-11-11 00:00:01",
            "item_list": [{"sku_id": 51972265894, "goods_count": 1, "goods_price": 1.0}],
        }


class Rig:
    def __init__(self, shop: Shop, platform: Platform, keys: MemoryKeys, connection: Connection) -> None:
        assert platform.puller is not None
        assert platform.seller is not None
        self.shop = shop
        self.keys = keys
        self.connection = connection
        self.puller: Puller = platform.puller
        self.seller: Seller = platform.seller


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    shop = Shop()
    keys = MemoryKeys(Token("access-0", NOW_MS + 30 * DAY, "refresh-0"), client_secret=SECRET)
    async with Served(shop.answer) as served:
        options = {"client_id": "app", "calls_per_s": "1000"}
        connection = Connection("pdd", "pinduoduo", "shop1", served.url, served.url, options=options)
        platform = connect(connection, keys, lambda: NOW_MS)
        yield Rig(shop, platform, keys, connection)
        assert platform.close is not None
        await platform.close()


def notice(tracking: str = "SF1", *, whole: bool = True, order_no: str = FIRST, carrier: str = "SF") -> ShipNotice:
    return ShipNotice("k", order_no, carrier, tracking, NOW_MS, (), whole)


def numbers(documents: list[bytes]) -> list[str]:
    found = [part for document in documents for part in Pinduoduo().identify(document, "shop1")]
    assert all(isinstance(part, Sliced) for part in found), found
    return [part.order_no for part in found]


async def test_whole_orders_come_from_the_last_page_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinduoduo, "PAGE_SIZE", 3)
    documents = await gathered(rig.puller.changed(WINDOW))
    assert set(numbers(documents)) == set(rig.shop.orders)
    assert [form["page"] for form in rig.shop.calls] == ["1", "3", "2", "1"]
    asked = rig.shop.calls[0]
    assert (asked["start_updated_at"], asked["end_updated_at"]) == (str(NOW_S - 1_200), str(NOW_S - 300))
    assert (asked["order_status"], asked["refund_status"], asked["is_lucky_flag"]) == ("5", "5", "0")


async def test_what_the_feed_only_names_is_fetched(rig: Rig) -> None:
    rig.shop.bare = {rig.shop.orders[0], FIRST}
    assert sorted(numbers(await gathered(rig.puller.changed(WINDOW)))) == sorted(rig.shop.orders)
    fetched = [form["order_sn"] for form in rig.shop.calls if "order_sn" in form]
    assert sorted(fetched) == sorted(rig.shop.bare)


async def test_a_feed_of_numbers_alone_is_fetched_whole(rig: Rig) -> None:
    rig.shop.instead = [Reply({FEED: {"total_count": 7, "order_sn_list": rig.shop.orders}})]
    assert sorted(numbers(await gathered(rig.puller.changed(WINDOW)))) == sorted(rig.shop.orders)


async def test_an_order_that_leaves_while_pages_are_read_hides_no_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinduoduo, "PAGE_SIZE", 2)
    all_of_them, gone = set(rig.shop.orders), []

    def leaves() -> None:
        gone.append(rig.shop.orders.pop(0))

    rig.shop.instead = [lambda: None, leaves, leaves, leaves]
    assert set(numbers(await gathered(rig.puller.changed(WINDOW)))) | set(gone) == all_of_them
    assert len(gone) == 3


@pytest.mark.parametrize("listed", [{}, {"order_sn_list": []}, {"order_sn_list": None}, {"order_sn_list": ""}])
async def test_an_empty_page_is_an_empty_page_in_every_form(rig: Rig, listed: dict[str, Any]) -> None:
    rig.shop.instead = [Reply({FEED: {"total_count": 0, **listed}})]
    assert await gathered(rig.puller.changed(WINDOW)) == []


@pytest.mark.parametrize(
    "body",
    [{}, {FEED: {}}, {FEED: {"total_count": 1}}, {FEED: {"total_count": 1, "order_sn_list": [{"pay_amount": "1"}]}}],
)
async def test_what_is_no_page_is_an_error_and_no_empty_page(rig: Rig, body: dict[str, Any]) -> None:
    rig.shop.instead = [Reply(body)]
    with pytest.raises(PlatformBusy):
        await gathered(rig.puller.changed(WINDOW))


async def test_no_request_spans_more_than_half_an_hour(rig: Rig) -> None:
    rig.shop.orders = []
    await gathered(rig.puller.changed(Window(NOW_MS - 100 * MINUTE, NOW_MS - 5 * MINUTE)))
    spans = [(int(form["start_updated_at"]), int(form["end_updated_at"])) for form in rig.shop.calls]
    assert all(end - start <= 1_800 for start, end in spans)
    assert spans[0][0] == NOW_S - 6_000
    assert spans[-1][1] == NOW_S - 300
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans)), "and leaves no gap"


async def test_a_window_of_half_an_hour_with_fractions_spans_no_more(rig: Rig) -> None:
    rig.shop.orders = []
    await gathered(rig.puller.changed(Window(NOW_MS - 30 * MINUTE - 1, NOW_MS - 1)))
    spans = [int(form["end_updated_at"]) - int(form["start_updated_at"]) for form in rig.shop.calls]
    assert max(spans) <= 1_800


def test_a_window_ends_more_than_three_minutes_before_now() -> None:
    assert pinduoduo.RULES.margin_ms > 3 * MINUTE
    assert pinduoduo.RULES.window_ms == 30 * MINUTE


async def test_one_order_is_fetched_by_its_number(rig: Rig) -> None:
    document = await rig.puller.order(FIRST)
    assert document is not None
    assert numbers([document]) == [FIRST]
    assert await rig.puller.order("261111-0") is None


async def test_a_token_that_ends_in_the_middle_is_refreshed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinduoduo, "PAGE_SIZE", 3)

    def ends() -> None:
        rig.shop.access = "nobody has this"

    rig.shop.instead = [lambda: None, ends]
    assert set(numbers(await gathered(rig.puller.changed(WINDOW)))) == set(rig.shop.orders)
    assert rig.keys.kept == [Token("access-of-refresh-0", NOW_MS + DAY, "refresh-0+", NOW_MS + 2 * DAY)]


async def test_a_dead_refresh_token_needs_a_person(rig: Rig) -> None:
    rig.shop.access = rig.shop.refresh = "another"
    with pytest.raises(NotAuthorised, match=r"10035.*authorise the shop anew"):
        await rig.puller.check()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (error(70031, "调用过于频繁，请调整调用频率"), None),
        (error(4711, "当前接口被限流，请稍后重试"), None),
        (error(50000, "系统内部错误"), None),
        (Reply(status=502), None),
        (Reply(b"<html>"), None),
        (error(20004, "签名sign校验失败"), NotAuthorised),
        (error(10001, "公共参数错误:client_id"), NotAuthorised),
        (error(50001, "业务服务错误", "50001", "参数错误"), PlatformRefused),
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


async def test_a_parcel_is_told_with_the_carriers_number(rig: Rig) -> None:
    assert await rig.seller.ship(notice()) == ""
    sent = rig.shop.calls[-1]
    assert (sent["order_sn"], sent["logistics_id"], sent["tracking_number"]) == (FIRST, "44", "SF1")
    assert sent["redelivery_type"] == "1"


async def test_telling_the_same_twice_is_a_success(rig: Rig) -> None:
    for _ in range(2):
        assert await rig.seller.ship(notice()) == ""
    assert rig.shop.extra == []


async def test_a_further_parcel_is_told_beside_the_first_once(rig: Rig) -> None:
    await rig.seller.ship(notice("SF1", whole=False))
    for _ in range(2):
        await rig.seller.ship(notice("ZT2", carrier="ZTO"))
    assert rig.shop.tracking == "SF1"
    assert rig.shop.extra == [{"shipping_id": 115, "tracking_number": "ZT2"}]


async def test_a_refusal_of_an_order_that_is_not_on_its_way_stays_one(rig: Rig) -> None:
    rig.shop.instead = [error(50001, "业务服务错误", "50001", "订单正在售后中，不能发货")]
    with pytest.raises(PlatformRefused, match="售后中"):
        await rig.seller.ship(notice())
    assert rig.shop.extra == []


async def test_a_connection_that_is_cut_after_the_notice_leaves_it_unknown_and_then_it_is_asked(rig: Rig) -> None:
    def taken_but_cut() -> Reply:
        rig.shop.tracking = "SF1"
        return Reply(cut=True)

    assert await rig.seller.knows(notice()) is False
    rig.shop.instead = [taken_but_cut]
    with pytest.raises(OutcomeUnknown):
        await rig.seller.ship(notice())
    assert await rig.seller.knows(notice()) is True


@pytest.mark.parametrize("said", [Reply({}), Reply(b"<html>"), error(50000, "系统内部错误")])
async def test_an_answer_that_does_not_say_what_became_of_the_notice_is_unknown(rig: Rig, said: Reply) -> None:
    rig.shop.instead = [said]
    with pytest.raises(OutcomeUnknown):
        await rig.seller.ship(notice())


async def test_a_notice_that_was_not_taken_is_no_success(rig: Rig) -> None:
    rig.shop.instead = [Reply({"logistics_online_send_response": {"is_success": False}})]
    with pytest.raises(PlatformRefused):
        await rig.seller.ship(notice())


@pytest.mark.parametrize("own", ["", "RKT"])
async def test_an_unknown_carrier_is_refused_before_anything_is_sent(rig: Rig, own: str) -> None:
    if own:
        rig.connection.options["carrier.ROCKET"] = own
    with pytest.raises(PlatformRefused) as caught:
        await rig.seller.ship(notice(carrier="ROCKET"))
    assert caught.value.code == "unknown-carrier"
    assert rig.shop.calls == []


async def test_a_code_becomes_a_token_that_is_kept(rig: Rig) -> None:
    token = await pinduoduo.authorise(rig.connection, rig.keys, lambda: NOW_MS, "the-code")
    assert rig.keys.kept == [token]
    with pytest.raises(NotAuthorised):
        await pinduoduo.authorise(rig.connection, rig.keys, lambda: NOW_MS, "used")


def test_the_page_where_the_shop_lets_us_in_names_the_app() -> None:
    connection = Connection("pdd", "pinduoduo", "s", options={"client_id": "app"})
    url = urlsplit(pinduoduo.authorise_url(connection, "https://erp.example/b"))
    assert parse_qs(url.query)["client_id"] == ["app"]
    assert parse_qs(url.query)["redirect_uri"] == ["https://erp.example/b"]
