"""WeChat shop: the feed names orders and each is fetched whole, tokens are asked for anew, parcels are told once."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from adapters.channels.wechat_shop import channel
from adapters.platforms import connect, http, wechat_shop
from adapters.platforms.connection import Connection, Token
from domain.platforms import (
    NotAuthorised,
    OutcomeUnknown,
    PlatformBusy,
    PlatformRefused,
    Puller,
    Seller,
    ShippedLine,
    Window,
)
from tests.platform_world import NOW_MS, NOW_S, Asked, MemoryKeys, Reply, Served, connected, gathered, notice

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "app-secret-of-the-shop"
FIRST = 3_737_550_999_277_696_001
WINDOW = Window(NOW_MS - 3_600_500, NOW_MS - 60_000)
SEND = "/channels/ec/order/delivery/send"


class Shop:
    """What WeChat answers, as far as the tests need it."""

    def __init__(self, orders: int = 0, *, most: int = 10**9) -> None:
        self.orders = {str(FIRST + number): NOW_S - 3_000 + number for number in range(orders)}
        self.most = most
        """Orders that a window may hold before it is to be made narrower."""
        self.token = "w-1"
        self.made = 1
        self.parcels: list[dict[str, Any]] = []
        self.before: Callable[[Asked], Reply | None] = lambda _: None

    def answer(self, asked: Asked) -> Reply:
        early = self.before(asked)
        if early is not None:
            return early
        if asked.path == "/cgi-bin/stable_token":
            if asked.json["secret"] != SECRET:
                return failed(40001)
            if asked.json["force_refresh"] or self.token == "ended":
                self.made += 1
                self.token = f"w-{self.made}"
            return Reply({"access_token": self.token, "expires_in": 7_200})
        if asked.query["access_token"] != self.token:
            return failed(42001)
        paths = {"/channels/ec/order/list/get": self._list, "/channels/ec/order/get": self._get, SEND: self._send}
        return paths[asked.path](asked.json)

    def _list(self, asked: dict[str, Any]) -> Reply:
        span = asked["update_time_range"]
        assert span["end_time"] - span["start_time"] <= 7 * 86_400
        found = [name for name, at in self.orders.items() if span["start_time"] <= at <= span["end_time"]]
        if len(found) > self.most:
            return failed(31042)
        start, belongs = 0, f"{span['start_time']}-{span['end_time']}-{asked['page_size']}"
        if "next_key" in asked:
            start_text, _, filtered = asked["next_key"].partition("/")
            if filtered != belongs:
                return failed(606006)
            start = int(start_text)
        end = start + asked["page_size"]
        more = end < len(found)
        return Reply(
            {
                "errcode": 0,
                "order_id_list": found[start:end],
                "has_more": more,
                "next_key": f"{end}/{belongs}" if more else "",
            }
        )

    def _get(self, asked: dict[str, Any]) -> Reply:
        if asked["order_id"] not in self.orders:
            return failed(100001, "order not exist")
        detail = {
            "product_infos": [{"product_id": "1001", "sku_id": "2001"}],
            "delivery_info": {"delivery_product_info": self.parcels},
        }
        return Reply({"errcode": 0, "errmsg": "ok", "order": {"order_id": asked["order_id"], "order_detail": detail}})

    def _send(self, asked: dict[str, Any]) -> Reply:
        if self.parcels:
            return failed(109001)
        self.parcels += asked["delivery_list"]
        return Reply({"errcode": 0, "errmsg": "ok"})


def failed(code: int, text: str = "no") -> Reply:
    return Reply({"errcode": code, "errmsg": text})


def keys(token: Token | None = None) -> MemoryKeys:
    return MemoryKeys(token, app_secret=SECRET)


def at(shop: Shop, its: MemoryKeys | None = None) -> AbstractAsyncContextManager[tuple[Puller, Seller, Served]]:
    options = {"app_id": "wx1", "calls_per_s": "1000"}
    return connected(shop.answer, lambda url: Connection("wx", "wechat_shop", "s", url, options=options), its or keys())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.001)
    monkeypatch.setattr(wechat_shop, "PAGE_SIZE", 10)


def numbers(documents: list[bytes], kind: str = "") -> list[str]:
    found = [part for document in documents for part in channel("Asia/Shanghai").identify(document, "shop1")]
    assert {getattr(part, "kind", "") for part in found} <= {kind}
    return [part.order_no for part in found]


PARCEL = notice(
    order_no=str(FIRST),
    lines=(ShippedLine("1001/2001", 2, "1001/2001"), ShippedLine("1002/2002#2", 1, "1002/2002"), ShippedLine("7", 1)),
)


@pytest.mark.parametrize("orders", [0, 1, 10, 11, 23])
async def test_all_orders_of_a_window_come_whole_whatever_the_pages(orders: int) -> None:
    async with at(Shop(orders)) as (puller, _, _served):
        found = numbers(await gathered(puller.changed(WINDOW)))
    assert found == [str(FIRST + number) for number in range(orders)]


async def test_a_longer_window_than_may_be_asked_for_is_asked_for_in_parts() -> None:
    async with at(Shop(3)) as (puller, _, _served):
        found = numbers(await gathered(puller.changed(Window(NOW_MS - 20 * 86_400_000, NOW_MS))))
    assert len(found) == 3


async def test_a_window_that_is_too_full_is_made_narrower() -> None:
    async with at(Shop(24, most=6)) as (puller, _, _served):
        found = numbers(await gathered(puller.changed(WINDOW)))
    assert set(found) == {str(FIRST + number) for number in range(24)}


async def test_a_window_that_cannot_be_narrower_is_told() -> None:
    async with at(Shop(2, most=0)) as (puller, _, _served):
        with pytest.raises(PlatformRefused, match="31042"):
            await gathered(puller.changed(WINDOW))


async def test_a_platform_that_gives_the_same_page_for_ever_is_told_as_busy() -> None:
    shop = Shop(1)
    page = {"errcode": 0, "order_id_list": ["1"], "has_more": True, "next_key": "k"}
    shop.before = lambda asked: Reply(page) if asked.path.endswith("list/get") else None
    async with at(shop) as (puller, _, _served):
        with pytest.raises(PlatformBusy, match="goes on"):
            await gathered(puller.changed(WINDOW))


async def test_an_order_that_is_gone_between_list_and_fetch_stays_in_sight_as_a_hint() -> None:
    shop = Shop(2)

    def vanish(asked: Asked) -> None:
        if asked.path.endswith("order/get"):
            shop.orders.clear()

    shop.before = vanish
    async with at(shop) as (puller, _, _served):
        found = numbers(await gathered(puller.changed(WINDOW)), "hint")
    assert sorted(found) == [str(FIRST), str(FIRST + 1)]


async def test_ids_stay_exact_whether_text_or_number() -> None:
    shop = Shop(1)
    raw = b'{"errcode":0,"order_id_list":[3737550999277696001],"has_more":false}'
    shop.before = lambda asked: Reply(raw) if asked.path.endswith("list/get") else None
    async with at(shop) as (puller, _, _served):
        assert numbers(await gathered(puller.changed(WINDOW))) == ["3737550999277696001"]


async def test_an_unknown_order_is_none() -> None:
    async with at(Shop(1)) as (puller, _, _served):
        assert await puller.order("1") is None


async def test_the_first_token_needs_nobody_and_is_kept_and_asked_for_once() -> None:
    its = keys()
    async with at(Shop(12), its) as (puller, _, served):
        await gathered(puller.changed(WINDOW))
        assert "0 orders" in await puller.check()
    assert [token.access for token in its.kept] == ["w-1"]
    assert its.kept[0].expires_ms == NOW_MS + 7_200_000
    assert served.paths().count("/cgi-bin/stable_token") == 1
    assert served.asked[0].json["force_refresh"] is False


async def test_a_token_that_ends_in_the_middle_is_replaced_and_nothing_is_missed() -> None:
    shop, its, left = Shop(25), keys(), 8

    def expire(_: Asked) -> None:
        nonlocal left
        left -= 1
        if not left:
            shop.token = "ended"

    shop.before = expire
    async with at(shop, its) as (puller, _, _served):
        assert len(numbers(await gathered(puller.changed(WINDOW)))) == 25
    assert [token.access for token in its.kept] == ["w-1", "w-2"]


async def test_a_token_that_is_refused_before_its_end_is_forced_to_be_another() -> None:
    shop, its, refused = Shop(2), keys(Token("w-1", NOW_MS + 5_000_000)), 1

    def refuse(asked: Asked) -> Reply | None:
        nonlocal refused
        refused -= asked.path.startswith("/channels")
        return failed(40001) if refused == 0 and asked.path.startswith("/channels") else None

    shop.before = refuse
    async with at(shop, its) as (puller, _, served):
        assert len(numbers(await gathered(puller.changed(WINDOW)))) == 2
    asked = [one.json["force_refresh"] for one in served.asked if one.path.endswith("stable_token")]
    assert asked == [False, True]


async def test_a_wrong_secret_asks_for_a_person_and_is_not_shown() -> None:
    async with at(Shop(1), MemoryKeys(None, app_secret="wrong-secret")) as (puller, _, _served):
        with pytest.raises(NotAuthorised) as caught:
            await puller.check()
    assert "wrong-secret" not in str(caught.value)


async def test_a_missing_secret_asks_for_a_person() -> None:
    async with at(Shop(1), MemoryKeys(None)) as (puller, _, _served):
        with pytest.raises(NotAuthorised, match="app_secret"):
            await puller.check()


@pytest.mark.parametrize(
    "trouble",
    [Reply(b"", 500), Reply(b"<html>"), Reply({}), failed(-1, "system error"), failed(45011), Reply(cut=True)],
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
        left = 10_000
        with pytest.raises(PlatformBusy):
            await gathered(puller.changed(WINDOW))


@pytest.mark.parametrize(
    ("code", "kind"),
    [(48001, NotAuthorised), (61004, NotAuthorised), (40097, PlatformRefused), (606006, PlatformRefused)],
)
async def test_errors_inside_an_answer_of_status_200_are_told_by_kind(code: int, kind: type[Exception]) -> None:
    shop = Shop(1)
    shop.before = lambda asked: failed(code) if asked.path.endswith("list/get") else None
    async with at(shop) as (puller, _, _served):
        with pytest.raises(kind, match=str(code)):
            await gathered(puller.changed(WINDOW))


async def test_a_parcel_is_told_with_product_and_sku_of_its_lines() -> None:
    async with at(Shop(1)) as (_, seller, served):
        assert not await seller.knows(PARCEL)
        await seller.ship(PARCEL)
        assert await seller.knows(PARCEL)
        assert not await seller.knows(notice(order_no="1"))
    asked = next(one for one in served.asked if one.path == SEND)
    assert asked.json == {
        "order_id": str(FIRST),
        "delivery_list": [
            {
                "deliver_type": 1,
                "delivery_id": "SF",
                "waybill_id": "SF1400000000006",
                "product_infos": [
                    {"product_id": "1001", "sku_id": "2001", "product_cnt": 2},
                    {"product_id": "1002", "sku_id": "2002", "product_cnt": 1},
                    {"product_id": "7", "sku_id": "", "product_cnt": 1},
                ],
            }
        ],
    }


async def test_telling_the_same_parcel_twice_is_a_success() -> None:
    shop = Shop(1)
    async with at(shop) as (_, seller, _served):
        await seller.ship(PARCEL)
        await seller.ship(PARCEL)
    assert len(shop.parcels) == 1


async def test_a_parcel_of_an_order_that_was_shipped_under_another_number_is_no_success() -> None:
    shop = Shop(1)
    async with at(shop) as (_, seller, _served):
        await seller.ship(PARCEL)
        with pytest.raises(PlatformRefused, match="109001"):
            await seller.ship(msgspec.structs.replace(PARCEL, tracking="SF1400000000777"))
    assert len(shop.parcels) == 1


@pytest.mark.parametrize("trouble", [Reply(cut=True), Reply(b"", 502), failed(-1), Reply(b"<html>")])
async def test_a_notice_without_a_clear_answer_is_not_repeated_but_can_be_asked_about(trouble: Reply) -> None:
    shop = Shop(1)

    def lose(asked: Asked) -> Reply | None:
        if asked.path != SEND:
            return None
        shop.parcels.extend(asked.json["delivery_list"])
        return trouble

    shop.before = lose
    async with at(shop) as (_, seller, served):
        with pytest.raises(OutcomeUnknown):
            await seller.ship(PARCEL)
        assert await seller.knows(PARCEL)
    assert served.paths().count(SEND) == 1


async def test_a_refused_notice_is_told_with_the_platforms_own_code() -> None:
    shop = Shop(1)
    shop.before = lambda asked: failed(108009, "订单在售后中") if asked.path == SEND else None
    async with at(shop) as (_, seller, _served):
        with pytest.raises(PlatformRefused, match="售后") as caught:
            await seller.ship(PARCEL)
    assert caught.value.code == "108009"


async def test_pushes_are_judged_with_the_secrets_of_the_connection() -> None:
    platform = connect(Connection("wx", "wechat_shop", "s", options={"app_id": "wx1"}), keys(), lambda: NOW_MS)
    assert platform.receiver is not None
    assert platform.close is not None
    await platform.close()
    with pytest.raises(ValueError, match="app_id"):
        connect(Connection("wx", "wechat_shop", "s"), keys(), lambda: NOW_MS)
