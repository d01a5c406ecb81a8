"""Douyin: what is genuine gets in, the feed is paged whole, tokens outlive their end, parcels are told once."""

import json
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.channels.douyin import channel
from adapters.platforms import connect, http
from adapters.platforms import douyin as module
from adapters.platforms.connection import Connection, Token
from adapters.platforms.douyin_client import request_signature
from adapters.platforms.douyin_push import DouyinReceiver, push_signature
from adapters.platforms.douyin_ship import request_id
from domain.platforms import (
    NotAuthorised,
    NotGenuine,
    PlatformBusy,
    PlatformRefused,
    Puller,
    Pushed,
    Seller,
    Window,
)
from domain.ports import Sliced
from tests.platform_world import NOW_MS, NOW_S, Asked, MemoryKeys, Reply, Served, connected, gathered, notice, pushed

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/douyin"
KEY, SECRET = "7000000000000000001", "test-app-secret"
FIRST = 6_937_476_692_437_472_002
WINDOW = Window(NOW_MS - 3_600_500, NOW_MS - 60_000)


# --- Pushes ---

BODY = b'[{"tag":"101","msg_id":"1:0:1","data":"{\\"p_id\\": 6937476692437472002, \\"shop_id\\": 7784061}"}]'
RECEIVER = DouyinReceiver(KEY, lambda: SECRET)


def receive(body: bytes = BODY, sign: str | None = None, method: str = "POST") -> Pushed:
    given_headers = {"event-sign": push_signature(KEY, body, SECRET) if sign is None else sign}
    return RECEIVER.receive(pushed(body, given_headers, method=method))


@pytest.mark.skipif(not SAMPLES.exists(), reason="the reference material is not here")
def test_signatures_are_those_of_the_reference() -> None:
    found = json.loads((SAMPLES / "signature_vectors.json").read_text(encoding="utf-8"))
    key, secret, asked, push = found["app_key"], found["app_secret"], found["request"], found["push"]
    signed = request_signature(key, asked["method"], asked["param_json"], str(asked["timestamp"]), secret)
    assert signed == asked["sign"]
    assert push_signature(key, push["raw_body"].encode(), secret) == push["event-sign"]


def test_the_signature_of_a_small_request_is_known() -> None:
    # base="s""app_keyk""methodm""param_json{}""timestamp1""v2""s": printf … | openssl dgst -sha256 -hmac s
    assert (
        request_signature("k", "m", "{}", "1", "s")
        == "63934629df7624811c25f1eb6eee25205e5ea37cf4db03f873cfea9ea9cd7ace"
    )
    assert push_signature("k", b"[]", "s") == "0539ecd43d2e7c8acc87f20dfd98c916"


def test_a_genuine_push_is_handed_on_as_it_is_and_ends_as_a_hint() -> None:
    taken = receive()
    assert taken.documents == (BODY,)
    assert json.loads(taken.answer.body) == {"code": 0, "msg": "success"}
    (found,) = channel("Asia/Shanghai").identify(taken.documents[0], "shop1")
    assert (found.kind, found.order_no) == ("hint", str(FIRST))  # type: ignore[union-attr] # told by kind


@pytest.mark.parametrize("body", [b'[{"tag":"0","msg_id":"1","data":"x"}]', b'[{"tag":0}]', b'{"tag":"0"}'])
def test_a_probe_is_answered_and_takes_nothing_in(body: bytes) -> None:
    assert receive(body) == Pushed((), receive().answer)


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'[{"tag":"0"},{"tag":"101"}]', b"\xff"])
def test_what_is_signed_and_no_mere_probe_is_never_dropped(body: bytes) -> None:
    assert receive(body).documents == (body,)


def test_a_push_without_a_right_signature_is_refused() -> None:
    right = push_signature(KEY, BODY, SECRET)
    for sign in ("", "0" * 32, right.upper(), right[:-1], right + "0", f"{right}, {right}", "é" * 32, "\x00"):
        with pytest.raises(NotGenuine):
            receive(sign=sign)
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(BODY))
    with pytest.raises(NotGenuine):
        receive(method="GET")


@given(at=st.integers(min_value=0, max_value=len(BODY) - 1), change=st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_refused(at: int, change: int) -> None:
    body = bytearray(BODY)
    body[at] ^= change
    with pytest.raises(NotGenuine):
        receive(bytes(body), push_signature(KEY, BODY, SECRET))


# --- A platform on loopback ---


class Shop:
    """What the platform answers, as far as the tests need it."""

    def __init__(self, orders: int = 0, *, page_max: int = 100, whole: bool = True) -> None:
        self.orders = [
            {
                "order_id": str(FIRST + number),
                "update_time": NOW_S - 3_000 + number,
                **({"sku_order_list": [{"order_id": str(FIRST + number)}]} if whole else {}),
            }
            for number in range(orders)
        ]
        self.page_max = page_max
        self.token = "t-1"
        self.refreshes = 0
        self.parcels: list[dict[str, Any]] = []
        self.before: Callable[[Asked], Reply | None] = lambda _: None

    def answer(self, asked: Asked) -> Reply:
        query, text = asked.query, asked.body.decode()
        right = request_signature(query["app_key"], query["method"], text, query["timestamp"], SECRET)
        if asked.method != "POST" or query["sign"] != right or asked.path != "/" + query["method"].replace(".", "/"):
            return failed(40003, "isv.signature-invalid")
        early = self.before(asked)
        if early is not None:
            return early
        params = json.loads(text)
        assert text == json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if query["method"].startswith("token."):
            return self._token(params)
        if query["access_token"] != self.token:
            return failed(40003, "isv.access-token-expired")
        return {"order.searchList": self._list, "order.orderDetail": self._detail}.get(query["method"], self._ship)(
            params
        )

    def _token(self, params: dict[str, Any]) -> Reply:
        self.refreshes += 1
        self.token = f"t-{self.refreshes + 1}"
        refresh = f"r-{self.refreshes + 1}"
        if params.get("refresh_token") not in (None, f"r-{self.refreshes}"):
            return failed(50001, "dop.token-generate-failed:token-expired")
        return done({"access_token": self.token, "expires_in": 604_800, "refresh_token": refresh})

    def _list(self, params: dict[str, Any]) -> Reply:
        size = min(params["size"], self.page_max)
        found = [
            order
            for order in self.orders
            if params["update_time_start"] <= int(str(order["update_time"])) <= params["update_time_end"]
        ]
        page = found[params["page"] * size : (params["page"] + 1) * size]
        return done({"page": params["page"], "size": size, "total": len(found), "shop_order_list": page or None})

    def _detail(self, params: dict[str, Any]) -> Reply:
        for order in self.orders:
            if order["order_id"] == params["shop_order_id"]:
                lines = [{"order_id": order["order_id"]}]
                return done({"shop_order_detail": {**order, "sku_order_list": lines, "logistics_info": self.parcels}})
        return failed(40004, "isv.parameter-invalid:10002", "订单不存在")

    def _ship(self, params: dict[str, Any]) -> Reply:
        self.parcels.append({"tracking_no": params["logistics_code"], "company": params["company_code"]})
        return done({"pack_id": "7438525010135810342"})


def done(data: Any) -> Reply:
    return Reply({"code": 10000, "msg": "success", "sub_code": "", "sub_msg": "", "log_id": "l", "data": data})


def failed(code: int, sub_code: str, sub_msg: str = "no") -> Reply:
    return Reply({"code": code, "msg": "msg", "sub_code": sub_code, "sub_msg": sub_msg, "data": None})


def connection(url: str, **options: str) -> Connection:
    return Connection("dy", "douyin", "shop1", url, options={"app_key": KEY, "calls_per_s": "500", **options})


TOKEN = Token("t-1", NOW_MS + 86_400_000, "r-1")


def keys(token: Token | None = TOKEN) -> MemoryKeys:
    return MemoryKeys(token, app_secret=SECRET)


def at(
    shop: Shop, its: MemoryKeys | None = None, options: dict[str, str] | None = None
) -> AbstractAsyncContextManager[tuple[Puller, Seller, Served]]:
    return connected(shop.answer, lambda url: connection(url, **(options or {})), its or keys())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.001)


def numbers(documents: list[bytes]) -> list[str]:
    found = [part for document in documents for part in channel("Asia/Shanghai").identify(document, "shop1")]
    assert all(isinstance(part, Sliced) for part in found)
    return [part.order_no for part in found]


# --- Pull ---


@pytest.mark.parametrize(("orders", "page_max"), [(0, 100), (1, 100), (100, 100), (101, 100), (257, 100), (95, 20)])
async def test_all_orders_of_a_window_come_whatever_the_pages(orders: int, page_max: int) -> None:
    async with at(Shop(orders, page_max=page_max)) as (puller, _, _served):
        found = numbers(await gathered(puller.changed(WINDOW)))
    assert sorted(set(found)) == [str(FIRST + number) for number in range(orders)]


async def test_an_order_that_changes_while_we_read_makes_us_miss_no_other() -> None:
    shop = Shop(250)
    asked_lists = 0

    def change(_: Asked) -> Reply | None:
        nonlocal asked_lists
        asked_lists += 1
        if asked_lists == 2:  # one of the first page leaves the window, and the others move up
            shop.orders[0]["update_time"] = NOW_S + 100
        return None

    shop.before = change
    async with at(shop) as (puller, _, _served):
        found = numbers(await gathered(puller.changed(WINDOW)))
    assert {str(FIRST + number) for number in range(1, 250)} <= set(found)


async def test_pages_are_numbered_from_nothing_and_the_window_ends_where_it_should() -> None:
    async with at(Shop(3)) as (puller, _, served):
        await gathered(puller.changed(WINDOW))
    (asked,) = served.asked
    assert asked.json["page"] == 0
    assert asked.json["update_time_start"] * 1_000 <= WINDOW.start_ms
    assert asked.json["update_time_end"] * 1_000 >= WINDOW.end_ms
    assert (asked.json["order_by"], asked.json["order_asc"]) == ("update_time", True)


async def test_a_window_with_too_many_orders_is_cut_until_it_can_be_paged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 100)
    async with at(Shop(350)) as (puller, _, served):
        found = numbers(await gathered(puller.changed(WINDOW)))
    assert set(found) == {str(FIRST + number) for number in range(350)}
    assert all(asked.json["page"] * asked.json["size"] <= 100 for asked in served.asked)


async def test_a_second_with_too_many_orders_is_told_and_not_cut_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 5)
    shop = Shop(9)
    for order in shop.orders:
        order["update_time"] = NOW_S - 3_000
    async with at(shop) as (puller, _, _served):
        with pytest.raises(PlatformRefused, match="within a second"):
            await gathered(puller.changed(WINDOW))


async def test_orders_listed_without_their_lines_are_fetched_whole() -> None:
    async with at(Shop(7, whole=False)) as (puller, _, served):
        found = numbers(await gathered(puller.changed(WINDOW)))
    assert sorted(found) == [str(FIRST + number) for number in range(7)]
    assert served.paths().count("/order/orderDetail") == 7


async def test_one_order_is_fetched_by_its_number_and_an_unknown_one_is_none() -> None:
    async with at(Shop(1)) as (puller, _, _served):
        body = await puller.order(str(FIRST))
        assert body is not None
        assert numbers([body]) == [str(FIRST)]
        assert await puller.order("1") is None


async def test_a_check_tells_what_changed_lately() -> None:
    async with at(Shop(3)) as (puller, _, _served):
        assert "0 orders" in await puller.check()


# --- Trouble ---


async def test_a_token_that_ends_in_the_middle_of_paging_is_refreshed_once_and_nothing_is_missed() -> None:
    shop, its = Shop(250), keys()
    asked_lists = 0

    def expire(asked: Asked) -> Reply | None:
        nonlocal asked_lists
        asked_lists += asked.query["method"] == "order.searchList"
        if asked_lists == 2:
            shop.token = "ended"
            asked_lists += 100
        return None

    shop.before = expire
    async with at(shop, its) as (puller, _, _served):
        found = numbers(await gathered(puller.changed(WINDOW)))
    assert len(set(found)) == 250
    assert [token.access for token in its.kept] == ["t-2"]
    assert its.kept[0].refresh_expires_ms == NOW_MS + 14 * 86_400_000


async def test_an_app_of_the_shops_own_lets_itself_in() -> None:
    its = keys(None)
    async with at(Shop(1), its, {"shop_id": "7784061"}) as (puller, _, served):
        await puller.check()
    assert served.asked[0].json == {"grant_type": "authorization_self", "code": "", "shop_id": 7784061}
    assert "access_token" not in served.asked[0].query
    assert [token.access for token in its.kept] == ["t-2"]


async def test_without_a_token_a_person_is_asked_for() -> None:
    async with at(Shop(1), keys(None)) as (puller, _, served):
        with pytest.raises(NotAuthorised, match="authorise"):
            await puller.check()
    assert served.asked == []


async def test_a_refresh_token_that_is_dead_asks_for_a_person() -> None:
    async with at(Shop(1), keys(Token("old", NOW_MS - 1, "wrong"))) as (puller, _, _served):
        with pytest.raises(NotAuthorised, match="token-expired"):
            await puller.check()


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(b"<html>", 502),
        Reply(b"<html>"),
        Reply(b"{}"),
        Reply({"code": 60000, "msg": "limit", "sub_code": "", "data": None}),
        Reply({"code": 20000, "msg": "down", "sub_code": "isp.service-error:1", "data": None}),
        Reply({"code": 10001, "msg": "in part", "sub_code": "", "data": {"total": 0}}),
        Reply(b"", 429, (("retry-after", "0"),)),
        Reply(cut=True),
    ],
)
async def test_trouble_that_passes_is_outlived_and_lasting_trouble_is_told_as_busy(trouble: Reply) -> None:
    shop, left = Shop(2), 2

    def fail(_: Asked) -> Reply | None:
        nonlocal left
        left -= 1
        return trouble if left >= 0 else None

    shop.before = fail
    async with at(shop) as (puller, _, _served):
        assert len(numbers(await gathered(puller.changed(WINDOW)))) == 2
        left = 1_000
        with pytest.raises(PlatformBusy):
            await gathered(puller.changed(WINDOW))


@pytest.mark.parametrize(
    ("code", "sub_code", "kind"),
    [
        (30001, "isv.app-permissions-insufficient", NotAuthorised),
        (30002, "isv.invalid_ip", NotAuthorised),
        (40003, "isv.signature-invalid", NotAuthorised),
        (40003, "isv.access-token-invalid", NotAuthorised),
        (50002, "isv.business-failed:1", PlatformRefused),
        (40004, "isv.parameter-invalid:1", PlatformRefused),
    ],
)
async def test_errors_inside_an_answer_of_status_200_are_told_by_their_kind(
    code: int, sub_code: str, kind: type
) -> None:
    shop = Shop(2)
    shop.before = lambda _: failed(code, sub_code)
    async with at(shop) as (puller, _, served):
        with pytest.raises(kind, match=sub_code):
            await gathered(puller.changed(WINDOW))
    assert len(served.asked) == 1


async def test_no_secret_shows_in_any_error() -> None:
    shop = Shop(2)
    shop.before = lambda _: Reply(b"x", 500)
    async with at(shop) as (puller, seller, _served):
        for call in (gathered(puller.changed(WINDOW)), seller.ship(notice()), puller.order("1")):
            with pytest.raises(PlatformBusy) as caught:
                await call
            told = str(caught.value) + repr(caught.value) + repr(puller) + repr(seller)
            assert not any(hidden in told for hidden in ("t-1", "r-1", SECRET, "sign=", "access_token"))


# --- Parcels ---


async def test_a_parcel_is_told_with_its_lines_and_the_platforms_code_of_the_carrier() -> None:
    async with at(Shop(1)) as (_, seller, served):
        assert await seller.ship(notice()) == "7438525010135810342"
    (asked,) = served.asked
    assert asked.path == "/order/logisticsAddSinglePack"
    assert asked.json == {
        "order_id_list": [str(FIRST)],
        "shipped_order_info": [
            {"shipped_order_id": "6937476692437472003", "shipped_num": 2},
            {"shipped_order_id": "6937476692437472004", "shipped_num": 1},
        ],
        "logistics_code": "SF1400000000006",
        "company_code": "shunfeng",
        "request_id": request_id(notice().key),
    }


async def test_a_notice_whose_answer_is_lost_is_told_again_under_the_same_request_id() -> None:
    shop, left = Shop(1), 1

    def cut(_: Asked) -> Reply | None:
        nonlocal left
        left -= 1
        return Reply(cut=True) if left >= 0 else None

    shop.before = cut
    async with at(shop) as (_, seller, served):
        await seller.ship(notice())
    assert len({asked.json["request_id"] for asked in served.asked}) == 1
    assert len(served.asked) == 2


async def test_a_parcel_that_the_platform_refuses_because_it_knows_it_counts_as_told() -> None:
    shop = Shop(1)
    shop.parcels.append({"tracking_no": "SF1400000000006"})
    ship = "order.logisticsAddSinglePack"
    shop.before = lambda asked: failed(50002, "isv.business-failed:4") if asked.query["method"] == ship else None
    async with at(shop) as (_, seller, _served):
        assert await seller.ship(notice()) == ""
        assert await seller.knows(notice())
        assert not await seller.knows(notice(tracking="SF2"))
        assert not await seller.knows(notice(order_no="1"))
        with pytest.raises(PlatformRefused):
            await seller.ship(notice(tracking="SF2"))


async def test_an_open_refund_is_overruled_only_where_the_merchant_says_so() -> None:
    async with at(Shop(1), options={"reject_refunds": "true"}) as (_, seller, served):
        await seller.ship(notice())
    assert served.asked[0].json["is_reject_refund"] is True


async def test_a_carrier_without_a_code_is_refused_before_anything_is_sent() -> None:
    async with at(Shop(1), options={"carrier.OWN": "ziyou"}) as (_, seller, served):
        with pytest.raises(PlatformRefused, match=r"carrier\.DHL"):
            await seller.ship(notice(carrier="DHL"))
        assert served.asked == []
        await seller.ship(notice(carrier="OWN"))
    assert served.asked[0].json["company_code"] == "ziyou"


# --- Authorisation ---


async def test_the_code_of_an_authorisation_becomes_a_kept_token() -> None:
    shop, its = Shop(), keys(None)
    async with Served(shop.answer) as served:
        token = await module.authorise(connection(served.url), its, lambda: NOW_MS, "the code")
    assert its.kept == [token]
    assert (token.access, token.refresh, token.expires_ms) == ("t-2", "r-2", NOW_MS + 604_800_000)
    assert served.asked[0].json == {"grant_type": "authorization_code", "code": "the code"}


def test_a_shops_owner_is_sent_where_the_app_can_be_let_in() -> None:
    assert "service_id=42" in module.authorise_url(connection("", service_id="42"), "http://127.0.0.1/x")
    with pytest.raises(ValueError, match="service_id"):
        module.authorise_url(connection(""), "http://127.0.0.1/x")
    with pytest.raises(ValueError, match="lets itself in"):
        module.authorise_url(connection("", shop_id="1"), "http://127.0.0.1/x")


async def test_a_wrong_option_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="app_key"):
        connect(Connection("dy", "douyin", "s"), keys(), lambda: NOW_MS)
    with pytest.raises(ValueError, match="shop_id"):
        connect(connection("", shop_id="my shop"), keys(), lambda: NOW_MS)
