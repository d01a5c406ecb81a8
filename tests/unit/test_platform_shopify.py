"""Shopify: signed webhooks of this shop, pages by cursor, a bucket that is not overrun, fulfillments told once."""

import base64
import json
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.platforms import connect, http
from adapters.platforms import shopify as module
from adapters.platforms.connection import Connection, Token
from adapters.platforms.shopify_client import ShopifyClient, wait_after
from adapters.platforms.shopify_push import ShopifyReceiver, webhook_signature
from domain.platforms import (
    NotAuthorised,
    NotGenuine,
    OutcomeUnknown,
    PlatformBusy,
    PlatformRefused,
    Puller,
    Seller,
    ShippedLine,
    Window,
)
from tests.platform_world import NOW_MS, Asked, MemoryKeys, Reply, Served, connected, gathered, notice, pushed

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/shopify"
SECRET, DOMAIN = "hush", "example-store.myshopify.com"
BODY = b'{"id":5940139491002,"financial_status":"paid"}'
SIGN = "+F3Od5hmGC9JzhWywTA27rRUdqqcJ7yhV2JZiPra7Ys="
RECEIVER = ShopifyReceiver(DOMAIN, lambda: SECRET)
HEADERS = {
    "X-Shopify-Topic": "orders/paid",
    "X-Shopify-Shop-Domain": DOMAIN,
    "X-Shopify-Webhook-Id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    "X-Shopify-Hmac-Sha256": SIGN,
}


# --- Webhooks ---


def test_the_signature_is_that_of_the_reference() -> None:
    assert webhook_signature(SECRET, BODY) == SIGN
    if SAMPLES.exists():
        found = json.loads((SAMPLES / "signature_vectors.json").read_text(encoding="utf-8"))
        assert webhook_signature(found["secret"], found["raw_body"].encode()) == found["X-Shopify-Hmac-Sha256"]


@pytest.mark.parametrize("prefix", ["X-Shopify-", "Shopify-"])
def test_a_genuine_webhook_is_handed_on_as_it_is_in_either_spelling(prefix: str) -> None:
    taken = RECEIVER.receive(pushed(BODY, {name.replace("X-Shopify-", prefix): v for name, v in HEADERS.items()}))
    assert (taken.documents, taken.answer.status) == ((BODY,), 200)
    assert taken.nonce == HEADERS["X-Shopify-Webhook-Id"]


@pytest.mark.parametrize("name", ["Shop-Domain", "Webhook-Id", "Hmac-Sha256"])
def test_a_missing_or_odd_header_is_refused(name: str) -> None:
    kept = {key: value for key, value in HEADERS.items() if not key.endswith(name)}
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(BODY, kept))
    for value in ("", "é", "\x00"):
        with pytest.raises(NotGenuine):
            RECEIVER.receive(pushed(BODY, {**HEADERS, f"X-Shopify-{name}": value}))
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(BODY, {**HEADERS, f"Shopify-{name}": "another"}))


def test_another_shop_another_secret_and_another_method_are_refused() -> None:
    with pytest.raises(NotGenuine, match="another shop"):
        RECEIVER.receive(pushed(BODY, {**HEADERS, "X-Shopify-Shop-Domain": "other.myshopify.com"}))
    with pytest.raises(NotGenuine):
        ShopifyReceiver(DOMAIN, lambda: "hus").receive(pushed(BODY, HEADERS))
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(BODY, HEADERS, method="GET"))


@given(at=st.integers(min_value=0), change=st.integers(min_value=1, max_value=127), where=st.sampled_from("bs"))
def test_any_changed_byte_of_body_or_signature_is_refused(at: int, change: int, where: str) -> None:
    body, sign = bytearray(BODY), SIGN
    if where == "b":
        body[at % len(body)] ^= change
    else:
        at %= len(sign)
        sign = sign[:at] + chr(ord(sign[at]) ^ change) + sign[at + 1 :]
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(bytes(body), {**HEADERS, "X-Shopify-Hmac-Sha256": sign}))


# --- A platform on loopback ---

FIRST = 5_940_139_491_002
LINES = (866_550_311_766_439_030, 866_550_311_766_439_031)
WINDOW = Window(NOW_MS - 3_600_500, NOW_MS - 60_000)
API = "/admin/api/2026-07"


class Shop:
    """What Shopify answers, as far as the tests need it: one order that can be shipped, and a feed."""

    def __init__(self, orders: int = 1, *, page_max: int = 250) -> None:
        self.count = orders
        self.page_max = page_max
        self.token = "shpat-1"
        self.parcels: list[dict[str, Any]] = []
        self.open = {LINES[0]: 2, LINES[1]: 1}
        self.locations = {LINES[0]: 1, LINES[1]: 1}
        self.before: Callable[[Asked], Reply | None] = lambda _: None

    def answer(self, asked: Asked) -> Reply:
        early = self.before(asked)
        if early is not None:
            return early
        if asked.path == "/admin/oauth/access_token":
            return self._token(asked.json)
        if asked.headers.get("x-shopify-access-token") != self.token:
            return Reply({"errors": "[API] Invalid API key or access token"}, 401)
        path = asked.path.removeprefix(API)
        if asked.method == "POST" and path == "/fulfillments.json":
            return self._fulfil(asked.json["fulfillment"])
        if path == "/orders.json":
            return self._list(asked)
        if path == f"/orders/{FIRST}.json":
            return Reply({"order": {"id": FIRST, "fulfillments": self.parcels}})
        if path == f"/orders/{FIRST}/fulfillment_orders.json":
            return Reply({"fulfillment_orders": [self._open(line) for line in LINES]})
        return Reply({"errors": "Not Found"}, 404)

    def _token(self, asked: dict[str, Any]) -> Reply:
        assert asked["client_secret"] == SECRET
        if asked.get("code") != "the code" and asked.get("refresh_token") != "r-1":
            return Reply({"error": "invalid_request", "error_description": "no such code"}, 400)
        self.token = "shpat-2"
        return Reply({"access_token": self.token, "scope": "read_orders", "expires_in": 3_600, "refresh_token": "r-2"})

    def _list(self, asked: Asked) -> Reply:
        size = min(int(asked.query["limit"]), self.page_max)
        if "page_info" in asked.query:
            assert set(asked.query) == {"limit", "page_info"}
            start = int(base64.b64decode(asked.query["page_info"]))
        else:
            assert (asked.query["status"], asked.query.get("order")) in {("any", "updated_at asc"), ("any", None)}
            start = 0
        ids = range(FIRST, FIRST + self.count)[start : start + size]
        headers: tuple[tuple[str, str], ...] = (("x-shopify-shop-api-call-limit", "2/40"),)
        if start + size < self.count:
            cursor = base64.b64encode(str(start + size).encode()).decode().replace("=", "%3D")
            before = f'<https://elsewhere.invalid{asked.path}?limit={size}&page_info=cHJldg>; rel="previous"'
            after = f'<https://elsewhere.invalid{asked.path}?limit={size}&page_info={cursor}>; rel="next"'
            headers += (("link", f"{before}, {after}" if start else after),)
        return Reply({"orders": [{"id": number} for number in ids]}, headers=headers)

    def _open(self, line: int) -> dict[str, Any]:
        units = self.open[line]
        return {
            "id": 1_000_000 + line % 100,
            "status": "open" if units else "closed",
            "assigned_location_id": self.locations[line],
            "line_items": [{"id": 2_000_000 + line % 100, "line_item_id": line, "fulfillable_quantity": units}],
        }

    def _fulfil(self, asked: dict[str, Any]) -> Reply:
        shipped = []
        for part in asked["line_items_by_fulfillment_order"]:
            for each in part["fulfillment_order_line_items"]:
                line = next(line for line in LINES if 2_000_000 + line % 100 == each["id"])
                if each["quantity"] > self.open[line]:
                    return Reply({"errors": ["Invalid fulfillment order line item quantity requested."]}, 422)
                self.open[line] -= each["quantity"]
                shipped.append({"id": line, "quantity": each["quantity"]})
        number = asked["tracking_info"]["number"]
        parcel = {"id": 255_858_046 + len(self.parcels), "status": "success", "tracking_numbers": [number]}
        self.parcels.append({**parcel, "tracking_number": number, "line_items": shipped})
        return Reply({"fulfillment": parcel}, 201)


def keys(token: Token | None = None) -> MemoryKeys:
    return MemoryKeys(token, app_secret=SECRET, access_token="shpat-1")


def connection(url: str, options: dict[str, str] | None = None, *, given_token: bool = True) -> Connection:
    usual = {"shop_domain": DOMAIN, "app_key": "client-1", "calls_per_s": "1000"}
    secrets = {"access_token": "env:X"} if given_token else {}
    return Connection("sh", "shopify", "s", url, options={**usual, **(options or {})}, secrets=secrets)


def at(shop: Shop, **options: str) -> AbstractAsyncContextManager[tuple[Puller, Seller, Served]]:
    return connected(shop.answer, lambda url: connection(url, options), keys())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.001)


def numbers(documents: list[bytes]) -> list[int]:
    return [order["id"] for document in documents for order in json.loads(document)["orders"]]


PARCEL = notice(order_no=str(FIRST), lines=(ShippedLine(str(LINES[0]), 2), ShippedLine(str(LINES[1]), 1)))


@pytest.mark.parametrize(("orders", "page_max"), [(0, 250), (1, 250), (250, 250), (251, 250), (95, 20)])
async def test_all_orders_of_a_window_come_by_the_cursor_and_never_from_its_address(orders: int, page_max: int) -> None:
    async with at(Shop(orders, page_max=page_max)) as (puller, _, served):
        found = numbers(await gathered(puller.changed(WINDOW)))
    assert found == list(range(FIRST, FIRST + orders))
    assert served.asked[0].query["updated_at_min"] == "2026-11-10T15:05:29Z"
    assert served.asked[0].query["updated_at_max"] == "2026-11-10T16:04:30Z"


async def test_a_cursor_that_comes_again_is_told_as_busy() -> None:
    shop = Shop()
    link = ("link", f'<https://{DOMAIN}{API}/orders.json?page_info=x>; rel="next"')
    shop.before = lambda _: Reply({"orders": [{"id": 1}]}, headers=(link,))
    async with at(shop) as (puller, _, _served):
        with pytest.raises(PlatformBusy, match="goes on"):
            await gathered(puller.changed(WINDOW))


def test_links_are_read_for_the_next_cursor_only() -> None:
    assert module.next_page("") is None
    assert module.next_page('<https://x/o.json?page_info=a%2B%3D>; rel="previous"') is None
    assert module.next_page("<https://x/o.json?limit=1&page_info=a%2B%3D>; rel=next") == "a+="
    with pytest.raises(PlatformBusy):
        module.next_page('<https://x/o.json?page=2>; rel="next"')


async def test_one_order_is_fetched_by_its_id_and_an_unknown_or_impossible_one_is_none() -> None:
    async with at(Shop()) as (puller, _, served):
        body = await puller.order(str(FIRST))
        assert body is not None
        assert json.loads(body)["order"]["id"] == FIRST
        assert await puller.order("1") is None
        asked = len(served.asked)
        assert await puller.order("../shop") is None
        assert await puller.order("") is None
        assert len(served.asked) == asked


def test_a_bucket_is_left_room_before_it_runs_over() -> None:
    assert wait_after("1/40") == wait_after("35/40") == wait_after("") == wait_after("x/y") == wait_after("1/0") == 0
    assert wait_after("40/40") == pytest.approx(2.5)
    assert wait_after("80/80") == pytest.approx(2.5)


async def test_after_an_answer_with_a_full_bucket_the_next_call_waits() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    shop = Shop()
    shop.before = lambda _: Reply({"orders": []}, headers=(("x-shopify-shop-api-call-limit", "40/40"),))
    async with Served(shop.answer) as served:
        client = ShopifyClient(connection(served.url), keys(), lambda: NOW_MS, sleep)
        for _ in range(2):
            await client.call("GET", "orders.json", repeatable=True)
        await client.close()
    assert waits == [pytest.approx(2.5)]


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(b"", 500),
        Reply(b"<html>"),
        Reply({"errors": "Internal"}),
        Reply(b"", 429, (("retry-after", "0.01"),)),
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
    async with at(shop) as (puller, seller, _served):
        assert len(numbers(await gathered(puller.changed(WINDOW)))) == 2
        left = 10_000
        with pytest.raises(PlatformBusy):
            await gathered(puller.changed(WINDOW))
        with pytest.raises(PlatformBusy):
            await seller.ship(PARCEL)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, NotAuthorised), (403, NotAuthorised), (402, NotAuthorised), (301, PlatformRefused), (400, PlatformRefused)],
)
async def test_statuses_are_told_by_kind(status: int, kind: type[Exception]) -> None:
    shop = Shop()
    shop.before = lambda _: Reply({"errors": {"limit": ["too much"]}}, status)
    async with at(shop) as (puller, _, _served):
        with pytest.raises(kind, match="too much"):
            await gathered(puller.changed(WINDOW))


async def test_no_secret_shows_in_any_error() -> None:
    shop = Shop()
    shop.before = lambda _: Reply({"errors": "no"}, 401)
    async with at(shop) as (puller, seller, _served):
        with pytest.raises(NotAuthorised) as caught:
            await puller.check()
        assert "shpat" not in f"{caught.value!r}{puller!r}{seller!r}"


# --- Parcels ---


async def test_a_parcel_is_told_as_a_fulfillment_of_what_is_open() -> None:
    shop = Shop()
    async with at(shop) as (_, seller, served):
        assert not await seller.knows(PARCEL)
        assert await seller.ship(PARCEL) == "255858046"
        assert await seller.knows(PARCEL)
    (asked,) = (one for one in served.asked if one.method == "POST")
    found = asked.json["fulfillment"]
    assert found["tracking_info"] == {"number": "SF1400000000006", "company": "SF Express"}
    assert found["notify_customer"] is True
    assert [part["fulfillment_order_id"] for part in found["line_items_by_fulfillment_order"]] == [1_000_030, 1_000_031]


async def test_telling_the_same_parcel_twice_tells_it_once() -> None:
    shop = Shop()
    async with at(shop, notify_customer="false") as (_, seller, served):
        assert await seller.ship(PARCEL) == await seller.ship(PARCEL)
    posts = [one for one in served.asked if one.method == "POST"]
    assert len(posts) == 1
    assert posts[0].json["fulfillment"]["notify_customer"] is False


async def test_a_parcel_with_goods_of_two_places_becomes_a_fulfillment_of_each_and_survives_half_a_failure() -> None:
    shop = Shop()
    shop.locations[LINES[1]] = 2
    left = 2

    def fail(asked: Asked) -> Reply | None:
        nonlocal left
        left -= asked.method == "POST"
        return Reply({"errors": ["not now"]}, 422) if left == 0 and asked.method == "POST" else None

    shop.before = fail
    async with at(shop) as (_, seller, _served):
        with pytest.raises(PlatformRefused, match="not now"):
            await seller.ship(PARCEL)
        assert not await seller.knows(PARCEL)
        left = 10
        await seller.ship(PARCEL)
        assert await seller.knows(PARCEL)
    assert [len(parcel["line_items"]) for parcel in shop.parcels] == [1, 1]


@pytest.mark.parametrize("trouble", [Reply(cut=True), Reply(b"", 500), Reply({"errors": "x"}), Reply(b"<html>")])
async def test_a_notice_without_a_clear_answer_is_not_repeated_but_can_be_asked_about(trouble: Reply) -> None:
    shop = Shop()
    lines = [{"id": LINES[0], "quantity": 2}, {"id": LINES[1], "quantity": 1}]

    def lose(asked: Asked) -> Reply | None:
        if asked.method != "POST":
            return None
        shop.parcels.append({"id": 9, "status": "success", "tracking_number": PARCEL.tracking, "line_items": lines})
        return trouble

    shop.before = lose
    async with at(shop) as (_, seller, served):
        with pytest.raises(OutcomeUnknown):
            await seller.ship(PARCEL)
        assert await seller.knows(PARCEL)
        assert await seller.ship(PARCEL) == "9"
    assert len([one for one in served.asked if one.method == "POST"]) == 1


async def test_units_that_are_not_open_are_refused_by_line_and_nothing_is_sent() -> None:
    shop = Shop()
    shop.open[LINES[0]] = 1
    async with at(shop) as (_, seller, served):
        with pytest.raises(PlatformRefused, match=f"1 of line {LINES[0]}"):
            await seller.ship(PARCEL)
    assert all(asked.method == "GET" for asked in served.asked)


async def test_a_parcel_that_names_no_lines_holds_all_that_is_open_and_is_never_told_for_nothing() -> None:
    shop = Shop()
    async with at(shop) as (_, seller, _served):
        await seller.ship(notice(order_no=str(FIRST), lines=()))
        assert shop.open == dict.fromkeys(LINES, 0)
        await seller.ship(notice(order_no=str(FIRST), lines=()))
        with pytest.raises(PlatformRefused, match="nothing open"):
            await seller.ship(notice(order_no=str(FIRST), lines=(), tracking="SF2"))
    assert len(shop.parcels) == 1


async def test_a_fulfillment_that_was_cancelled_does_not_count() -> None:
    shop = Shop()
    lines = [{"id": LINES[0], "quantity": 2}, {"id": LINES[1], "quantity": 1}]
    shop.parcels.append({"id": 9, "status": "cancelled", "tracking_number": PARCEL.tracking, "line_items": lines})
    async with at(shop) as (_, seller, _served):
        assert not await seller.knows(PARCEL)


async def test_an_unknown_order_is_refused() -> None:
    async with at(Shop()) as (_, seller, _served):
        assert not await seller.knows(notice(order_no="1"))
        with pytest.raises(PlatformRefused, match="knows no order"):
            await seller.ship(notice(order_no="1"))


# --- Authorisation ---


async def test_the_code_of_an_authorisation_becomes_a_kept_token_that_is_used() -> None:
    shop, its = Shop(), MemoryKeys(None, app_secret=SECRET)
    async with Served(shop.answer) as served:
        its_connection = connection(served.url, given_token=False)
        token = await module.authorise(its_connection, its, lambda: NOW_MS, "the code")
        assert its.kept == [token]
        with pytest.raises(NotAuthorised, match="status 400"):
            await module.authorise(its_connection, its, lambda: NOW_MS, "another")
        platform = connect(its_connection, its, lambda: NOW_MS)
        assert platform.puller is not None
        assert platform.close is not None
        await platform.puller.check()
        await platform.close()


async def test_a_token_that_ends_is_refreshed_where_there_is_something_to_refresh_it_with() -> None:
    shop, its = Shop(), MemoryKeys(Token("ended", NOW_MS - 1, "r-1"), app_secret=SECRET)
    async with connected(shop.answer, lambda url: connection(url, given_token=False), its) as (puller, _, _served):
        await puller.check()
    assert [(token.access, token.refresh) for token in its.kept] == [("shpat-2", "r-2")]


def test_a_shops_owner_is_sent_to_the_shop() -> None:
    url = module.authorise_url(connection(""), "https://127.0.0.1/back")
    assert url.startswith(f"https://{DOMAIN}/admin/oauth/authorize?client_id=client-1&scope=read_orders")
    with pytest.raises(ValueError, match="shop_domain"):
        connect(Connection("sh", "shopify", "s"), keys(), lambda: NOW_MS)
    with pytest.raises(ValueError, match="domain only"):
        connect(connection("", {"shop_domain": f"https://{DOMAIN}"}), keys(), lambda: NOW_MS)
