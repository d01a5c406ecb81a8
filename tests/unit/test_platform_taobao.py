"""Taobao's client against a small server that checks signatures, pages, limits and forgets."""

import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from adapters.channels.taobao import Taobao
from adapters.platforms import connect, taobao
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
from domain.ports import Aside, Sliced
from tests.platform_world import NOW_MS, Asked, MemoryKeys, Reply, Served, gathered

SECRET = "app-s3cr3t"
FIRST = 2960318827740212345
"""Larger than 2^53."""
MINUTE = 60_000
WINDOW = Window(NOW_MS - 20 * MINUTE, NOW_MS - 5 * MINUTE)


def error(code: int, sub_code: str = "", sub_msg: str = "") -> Reply:
    return Reply({"error_response": {"code": code, "msg": "said", "sub_code": sub_code, "sub_msg": sub_msg}})


class Shop:
    """The platform's side of one shop."""

    def __init__(self) -> None:
        self.tids = [FIRST + number for number in range(7)]
        self.per_page = 100
        self.access = "access-0"
        self.refresh = "refresh-0"
        self.sent: dict[str, dict[str, str]] = {}
        self.lines = ["11", "12"]
        self.instead: list[Reply | Callable[[dict[str, str]], Reply | None]] = []
        """Answers (or what to do before the usual one) to the next calls."""
        self.calls: list[dict[str, str]] = []
        self.single = False
        """Write lists of one as one object."""

    def answer(self, asked: Asked) -> Reply:
        form = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        if asked.path == "/token":
            return self.token(form)
        assert (asked.method, asked.path) == ("POST", "/router/rest")
        sign = form.pop("sign")
        base = "".join(f"{name}{form[name]}" for name in sorted(form))
        if form["sign_method"] == "md5":
            right = hashlib.new("md5", f"{SECRET}{base}{SECRET}".encode(), usedforsecurity=False).hexdigest().upper()
        else:
            right = hmac.new(SECRET.encode(), base.encode(), "md5").hexdigest().upper()
        if sign != right:
            return error(25)
        assert form["timestamp"] == "2026-11-11 00:05:30", "the platform's local time"
        assert (form["app_key"], form["v"], form["format"]) == ("12345678", "2.0", "json")
        if form["session"] != self.access:
            return error(27, "invalid-sessionkey")
        self.calls.append(form)
        if self.instead:
            instead = self.instead.pop(0)
            reply = instead(form) if callable(instead) else instead
            if reply is not None:
                return reply
        match form["method"]:
            case "taobao.trades.sold.increment.get":
                return self.page(form)
            case "taobao.trade.fullinfo.get":
                return self.whole(form)
            case "taobao.logistics.online.send":
                return self.send(form)
        raise AssertionError(form["method"])

    def token(self, form: dict[str, str]) -> Reply:
        assert (form["client_id"], form["client_secret"]) == ("12345678", SECRET)
        good = form.get("code") == "the-code" or form.get("refresh_token") == self.refresh
        if not good:
            return Reply({"error": "invalid_grant", "error_description": "expired"}, 400)
        self.access, self.refresh = f"access-of-{self.refresh}", f"{self.refresh}+"
        return Reply(
            {
                "access_token": self.access,
                "refresh_token": self.refresh,
                "expires_in": 86_400,
                "re_expires_in": "172800",
                "taobao_user_nick": "shop",
            }
        )

    def page(self, form: dict[str, str]) -> Reply:
        number, size = int(form["page_no"]), min(int(form["page_size"]), self.per_page)
        trades = [{"tid": tid, "status": "WAIT_BUYER_PAY"} for tid in self.tids[(number - 1) * size : number * size]]
        body: dict[str, Any] = {"total_results": len(self.tids)}
        if trades:
            body["trades"] = {"trade": trades[0] if self.single and len(trades) == 1 else trades}
        return Reply({"trades_sold_increment_get_response": body})

    def whole(self, form: dict[str, str]) -> Reply:
        if int(form["tid"]) not in self.tids:
            return error(15, "isv.trade-not-exist")
        lines = [
            {"oid": int(oid), "num": 1, "price": "1.00", "status": "TRADE_CLOSED" if oid == "13" else "OPEN"}
            | self.sent.get(oid, {})
            for oid in self.lines
        ]
        return Reply({"trade_fullinfo_get_response": {"trade": {"tid": int(form["tid"]), "orders": {"order": lines}}}})

    def send(self, form: dict[str, str]) -> Reply:
        oids = form["sub_tid"].split(",") if form["is_split"] == "1" else list(self.lines)
        if any(oid in self.sent for oid in oids):
            return error(15, "isv.logistics-online-service-error:B27", "sent before")
        self.sent |= {oid: {"invoice_no": form["out_sid"], "company": form["company_code"]} for oid in oids}
        return Reply({"logistics_online_send_response": {"shipping": {"is_success": True}}})


class Rig:
    def __init__(self, shop: Shop, platform: Platform, keys: MemoryKeys, connection: Connection) -> None:
        assert platform.puller is not None
        assert platform.seller is not None
        self.shop = shop
        self.keys = keys
        self.connection = connection
        self.puller: Puller = platform.puller
        self.seller: Seller = platform.seller
        self.platform = platform


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    shop = Shop()
    keys = MemoryKeys(Token("access-0", NOW_MS + 86_400_000, "refresh-0"), app_secret=SECRET)
    async with Served(shop.answer) as served:
        options = {"app_key": "12345678", "calls_per_s": "1000"}
        connection = Connection("flagship", "taobao", "shop1", served.url, served.url, "ws://127.0.0.1:9")
        connection.options.update(options)
        platform = connect(connection, keys, lambda: NOW_MS)
        yield Rig(shop, platform, keys, connection)
        assert platform.close is not None
        await platform.close()


def notice(*lines: str, whole: bool = True, tracking: str = "SF1400000000002", carrier: str = "SF") -> ShipNotice:
    parts = tuple(ShippedLine(line, 1) for line in lines)
    return ShipNotice("k", str(FIRST), carrier, tracking, NOW_MS, parts, whole)


def numbers(documents: list[bytes]) -> list[str]:
    found = [part for document in documents for part in Taobao().identify(document, "shop1")]
    assert all(isinstance(part, Sliced) for part in found), found
    return [part.order_no for part in found]


async def test_each_trade_of_the_feed_comes_whole_and_its_number_stays_exact(rig: Rig) -> None:
    documents = await gathered(rig.puller.changed(WINDOW))
    assert sorted(numbers(documents)) == [str(tid) for tid in rig.shop.tids]
    feed = rig.shop.calls[0]
    assert (feed["start_modified"], feed["end_modified"]) == ("2026-11-10 23:45:30", "2026-11-11 00:00:30")
    assert feed["use_has_next"] == "false"
    assert {"orders", "promotion_details", "service_orders", "oaid"} <= set(rig.shop.calls[-1]["fields"].split(","))


async def test_pages_are_read_from_the_last_one_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taobao, "PAGE_SIZE", 2)
    await gathered(rig.puller.changed(WINDOW))
    feed = [form["page_no"] for form in rig.shop.calls if "page_no" in form]
    assert feed == ["1", "4", "3", "2", "1"]


async def test_a_trade_that_changes_while_pages_are_read_hides_no_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taobao, "PAGE_SIZE", 2)
    shop, tids = rig.shop, list(rig.shop.tids)
    gone: list[int] = []

    def leaves(at: int) -> Callable[[dict[str, str]], None]:
        return lambda _: gone.append(shop.tids.pop(at))

    # While the last page, the one before it, … are asked for, a trade of an earlier page changes and leaves.
    shop.instead = [lambda _: None, leaves(1), leaves(0), leaves(2)]
    documents = await gathered(rig.puller.changed(WINDOW))
    found = {part.order_no for document in documents for part in Taobao().identify(document, "s")}
    assert {int(number) for number in found} | set(gone) == set(tids)
    assert len(gone) == 3


async def test_a_trade_that_cannot_be_fetched_stays_in_sight_as_a_hint(rig: Rig) -> None:
    rig.shop.instead = [lambda _: None, error(15, "isv.trade-not-exist")]
    documents = await gathered(rig.puller.changed(WINDOW))
    parts = [part for document in documents for part in Taobao().identify(document, "shop1")]
    assert sorted(int(part.order_no) for part in parts) == rig.shop.tids
    assert [part.kind for part in parts if isinstance(part, Aside)] == ["hint"]


@pytest.mark.parametrize("single", [True, False])
async def test_one_trade_may_come_as_a_list_or_as_one_object(rig: Rig, single: bool) -> None:
    rig.shop.tids, rig.shop.single = [FIRST], single
    assert numbers(await gathered(rig.puller.changed(WINDOW))) == [str(FIRST)]


@pytest.mark.parametrize("trades", [{}, {"trades": {}}, {"trades": None}, {"trades": {"trade": []}}, {"trades": ""}])
async def test_an_empty_page_is_an_empty_page_in_every_form(rig: Rig, trades: dict[str, Any]) -> None:
    rig.shop.instead = [Reply({"trades_sold_increment_get_response": {"total_results": 0, **trades}})]
    assert await gathered(rig.puller.changed(WINDOW)) == []


@pytest.mark.parametrize(
    "page",
    [
        {"trades_sold_increment_get_response": {}},
        {"trades_sold_increment_get_response": {"total_results": 2}},
        {"trades_sold_increment_get_response": {"total_results": 1, "trades": {"trade": [{"status": "x"}]}}},
        {"another_response": {"total_results": 0}},
        {},
    ],
)
async def test_a_page_that_is_none_is_an_error_and_no_empty_page(rig: Rig, page: dict[str, Any]) -> None:
    rig.shop.instead = [Reply(page)]
    with pytest.raises(PlatformBusy):
        await gathered(rig.puller.changed(WINDOW))


async def test_a_long_window_is_asked_for_in_parts(rig: Rig) -> None:
    rig.shop.tids = []
    await gathered(rig.puller.changed(Window(NOW_MS - 90 * MINUTE, NOW_MS - 5 * MINUTE)))
    asked = [(form["start_modified"][11:], form["end_modified"][11:]) for form in rig.shop.calls]
    assert asked == [("22:35:30", "23:05:30"), ("23:05:30", "23:35:30"), ("23:35:30", "00:00:30")]


async def test_a_number_the_shop_does_not_have_is_none(rig: Rig) -> None:
    assert await rig.puller.order(str(FIRST)) is not None
    assert await rig.puller.order("1") is None


async def test_a_token_that_ends_in_the_middle_is_refreshed_and_nothing_is_lost(rig: Rig) -> None:
    def ends(_: dict[str, str]) -> Reply:
        rig.shop.access = "nobody has this"
        return error(27, "invalid-sessionkey")

    rig.shop.instead = [lambda _: None, lambda _: None, ends]
    assert len(await gathered(rig.puller.changed(WINDOW))) == 7
    assert rig.keys.kept == [
        Token("access-of-refresh-0", NOW_MS + 86_400_000, "refresh-0+", NOW_MS + 172_800_000),
    ]


async def test_a_dead_refresh_token_needs_a_person(rig: Rig) -> None:
    rig.shop.access, rig.shop.refresh = "another", "another"
    with pytest.raises(NotAuthorised, match=r"invalid_grant.*authorise the shop anew"):
        await rig.puller.check()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (error(7, "accesscontrol.limited-by-app-api-access-count", "This ban will last for 0 more seconds"), None),
        (error(15, "isp.remote-service-timeout"), None),
        (error(10), None),
        (Reply(status=500), None),
        (Reply(b"<html>"), None),
        (Reply(cut=True), None),
        (error(25), NotAuthorised),
        (error(29, "isv.appkey-not-exists"), NotAuthorised),
        (error(40, "isv.missing-parameter"), PlatformRefused),
        (error(15, "isv.anything"), PlatformRefused),
        (Reply({"x_response": {}}, 404), PlatformRefused),
    ],
)
async def test_an_error_inside_an_answer_means_what_it_says(
    rig: Rig, said: Reply, kind: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.platforms.http._BACKOFF_S", 0.001)
    rig.shop.instead = [said]
    if kind is None:
        assert "7 trades" in await rig.puller.check(), "it is tried again"
        assert len(rig.shop.calls) == 2
    else:
        with pytest.raises(kind):
            await rig.puller.check()
        assert len(rig.shop.calls) == 1


async def test_a_ban_says_how_long_it_lasts(rig: Rig) -> None:
    rig.shop.instead = [error(7, "accesscontrol.limited", "This ban will last for 600 more seconds")]
    with pytest.raises(PlatformBusy) as caught:
        await rig.puller.check()
    assert caught.value.retry_after_s == 600.0


async def test_hmac_is_signed_as_well(rig: Rig) -> None:
    rig.connection.options["sign_method"] = "hmac"
    platform = connect(rig.connection, rig.keys, lambda: NOW_MS)
    assert platform.puller is not None
    assert platform.close is not None
    await platform.puller.check()
    assert rig.shop.calls[-1]["sign_method"] == "hmac"
    await platform.close()


async def test_a_whole_trade_is_told_without_its_lines(rig: Rig) -> None:
    assert await rig.seller.ship(notice("11", "12")) == ""
    sent = rig.shop.calls[-1]
    assert (sent["tid"], sent["out_sid"], sent["company_code"]) == (str(FIRST), "SF1400000000002", "SF")
    assert sent["is_split"] == "0"
    assert "sub_tid" not in sent


async def test_a_closed_line_keeps_no_trade_from_being_whole(rig: Rig) -> None:
    rig.shop.lines = ["11", "12", "13"]
    await rig.seller.ship(notice("11", "12"))
    assert rig.shop.calls[-1]["is_split"] == "0"


async def test_parcels_of_a_split_trade_name_their_lines_the_last_one_too(rig: Rig) -> None:
    await rig.seller.ship(notice("11", whole=False))
    assert (rig.shop.calls[-1]["is_split"], rig.shop.calls[-1]["sub_tid"]) == ("1", "11")
    await rig.seller.ship(notice("12", tracking="SF2"))
    assert (rig.shop.calls[-1]["is_split"], rig.shop.calls[-1]["sub_tid"]) == ("1", "12")


async def test_telling_the_same_twice_is_a_success_and_sent_once(rig: Rig) -> None:
    for _ in range(2):
        await rig.seller.ship(notice("11", "12"))
    assert sum(form["method"].endswith("send") for form in rig.shop.calls) == 1


async def test_what_somebody_entered_meanwhile_is_a_success_too(rig: Rig) -> None:
    def by_hand(_: dict[str, str]) -> None:
        rig.shop.sent = {oid: {"invoice_no": "SF1400000000002"} for oid in ("11", "12")}

    rig.shop.instead = [lambda _: None, by_hand]
    assert await rig.seller.ship(notice("11", "12")) == ""


async def test_another_waybill_on_the_trade_is_a_refusal(rig: Rig) -> None:
    rig.shop.sent = {oid: {"invoice_no": "ANOTHER"} for oid in ("11", "12")}
    with pytest.raises(PlatformRefused, match="sent before") as caught:
        await rig.seller.ship(notice("11", "12"))
    assert caught.value.code == "isv.logistics-online-service-error:B27"


async def test_a_connection_that_is_cut_after_the_notice_leaves_it_unknown_and_then_it_is_asked(rig: Rig) -> None:
    def taken_but_cut(form: dict[str, str]) -> Reply:
        rig.shop.send(form)
        return Reply(cut=True)

    rig.shop.instead = [lambda _: None, taken_but_cut]
    assert await rig.seller.knows(notice("11", "12")) is False
    rig.shop.instead = [lambda _: None, taken_but_cut]
    with pytest.raises(OutcomeUnknown):
        await rig.seller.ship(notice("11", "12"))
    assert await rig.seller.knows(notice("11", "12")) is True
    assert await rig.seller.knows(notice("11", "12", tracking="SF9")) is False


@pytest.mark.parametrize("said", [error(15, "isp.remote-service-timeout"), Reply(b"<html>"), Reply({})])
async def test_an_answer_that_does_not_say_what_became_of_the_notice_is_unknown(rig: Rig, said: Reply) -> None:
    rig.shop.instead = [lambda _: None, said]
    with pytest.raises(OutcomeUnknown):
        await rig.seller.ship(notice("11", "12"))


async def test_a_notice_that_was_not_taken_is_no_success(rig: Rig) -> None:
    rig.shop.instead = [lambda _: None, Reply({"logistics_online_send_response": {"shipping": {"is_success": False}}})]
    with pytest.raises(PlatformRefused):
        await rig.seller.ship(notice("11", "12"))


async def test_a_token_that_ends_before_a_notice_sends_it_once(rig: Rig) -> None:
    def ends(_: dict[str, str]) -> Reply:
        rig.shop.access = "nobody has this"
        return error(27)

    rig.shop.instead = [lambda _: None, ends]
    await rig.seller.ship(notice("11", "12"))
    assert rig.shop.sent["11"]["invoice_no"] == "SF1400000000002"


async def test_china_post_is_called_as_in_the_platforms_own_example(rig: Rig) -> None:
    await rig.seller.ship(notice("11", "12", carrier="POST"))
    assert rig.shop.calls[-1]["company_code"] == "POST"


async def test_an_unknown_carrier_is_refused_before_anything_is_sent(rig: Rig) -> None:
    with pytest.raises(PlatformRefused, match="carrier 'ROCKET' is not known"):
        await rig.seller.ship(notice("11", carrier="ROCKET"))
    assert rig.shop.calls == []
    rig.connection.options["carrier.ROCKET"] = "RKT"
    await rig.seller.ship(notice("11", "12", carrier="ROCKET"))
    assert rig.shop.calls[-1]["company_code"] == "RKT"


async def test_an_unknown_trade_cannot_be_shipped(rig: Rig) -> None:
    rig.shop.tids = []
    with pytest.raises(PlatformRefused, match="knows no trade"):
        await rig.seller.ship(notice("11"))


async def test_a_code_becomes_a_token_that_is_kept(rig: Rig) -> None:
    token = await taobao.authorise(rig.connection, rig.keys, lambda: NOW_MS, "the-code")
    assert rig.keys.kept == [token]
    assert (token.access, token.refresh) == ("access-of-refresh-0", "refresh-0+")
    with pytest.raises(NotAuthorised, match="invalid_grant"):
        await taobao.authorise(rig.connection, rig.keys, lambda: NOW_MS, "used")


def test_the_page_where_the_shop_lets_us_in_names_the_app() -> None:
    connection = Connection("flagship", "taobao", "shop1", options={"app_key": "12345678"})
    url = urlsplit(taobao.authorise_url(connection, "https://erp.example/back?x=1"))
    assert (url.hostname, url.path) == ("oauth.taobao.com", "/authorize")
    assert parse_qs(url.query)["redirect_uri"] == ["https://erp.example/back?x=1"]
    assert parse_qs(url.query)["client_id"] == ["12345678"]


@pytest.mark.parametrize("options", [{}, {"app_key": " "}, {"app_key": "1", "sign_method": "sha1"}])
async def test_what_a_connection_must_say_is_asked_for_at_once(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"connection flagship: the option (app_key|sign_method)"):
        connect(Connection("flagship", "taobao", "shop1", options=options), MemoryKeys(), lambda: 0)


async def test_a_missing_secret_needs_a_person(rig: Rig) -> None:
    platform = connect(rig.connection, MemoryKeys(Token("access-0")), lambda: NOW_MS)
    assert platform.puller is not None
    assert platform.close is not None
    with pytest.raises(NotAuthorised, match="app_secret"):
        await platform.puller.check()
    await platform.close()


async def test_no_secret_is_told(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = ""
    rig.shop.refresh = "another"
    for said in (error(25), error(40), error(27), Reply({}, 404)):
        rig.shop.instead = [said]
        with pytest.raises((PlatformRefused, NotAuthorised)) as caught:
            await rig.puller.order("1")
        told += f"{caught.value!r} {caught.value.__cause__!r}"
    told += json.dumps(caplog.text)
    assert not any(secret in told for secret in (SECRET, "access-0", "refresh-0"))
