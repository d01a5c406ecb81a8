"""The platforms' clients pull from the simulated platforms: pages, moving orders, tokens, limits, faults."""

import itertools
from importlib import import_module

import pytest

from adapters.platforms import http
from adapters.simulators.faults import How
from adapters.simulators.making import LINES
from adapters.simulators.orders import SimOrder
from domain.canonical import Snapshot
from domain.platforms import NotAuthorised, PlatformBusy, PlatformError, Window
from tests.integration.simulated_shops import FEEDS, MINUTE, WINDOW, shop_on

REFRESHED = ("taobao", "jd", "douyin", "pinduoduo", "wechat_shop")
"""Platforms whose tokens end and are refreshed."""
ONCE: tuple[How, ...] = (
    "500",
    "502",
    "503",
    "429",
    "limited",
    "inner_error",
    "html",
    "cut_before",
    "cut_after",
    "500_after",
    "wrong_json",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait little between tries."""
    monkeypatch.setattr(http, "_BACKOFF_S", 0.01)
    monkeypatch.setattr("adapters.platforms.generic._BACKOFF_S", 0.01)


def check(order: SimOrder, seen: Snapshot) -> None:
    assert seen.status == order.status
    assert seen.amounts.payable == order.payable_fen
    assert [line.sku for line in seen.lines] == [line.sku for line in order.lines]
    assert seen.modified_at.utc_ms == order.modified_ms // 1000 * 1000


@pytest.mark.parametrize("channel", FEEDS)
async def test_a_window_of_many_pages_is_pulled_whole(channel: str) -> None:
    async with shop_on(channel, per_page=5) as shop:
        orders = shop.fill(23)
        seen = await shop.pulled()
        assert seen.keys() == {order.order_no for order in orders}
        for order in orders:
            check(order, seen[order.order_no])
        pages = [one for one in shop.sim.requests if FEEDS[channel] in one.operation]
        assert len(pages) >= 5
        assert {one.outcome for one in shop.sim.requests} == {"ok"}


@pytest.mark.parametrize("channel", FEEDS)
async def test_an_empty_window_is_no_error(channel: str) -> None:
    async with shop_on(channel) as shop:
        assert await shop.pulled() == {}
        assert len(shop.sim.requests) >= 1


@pytest.mark.parametrize("channel", FEEDS)
async def test_a_window_shows_only_what_changed_in_it(channel: str) -> None:
    async with shop_on(channel) as shop:
        orders = shop.fill(10)
        narrow = Window(orders[3].modified_ms, orders[6].modified_ms)
        seen = await shop.pulled(narrow)
        within = {order.order_no for order in orders[3:6]}
        # A feed that knows whole seconds, both ends included, may show the next one too.
        assert within <= seen.keys() <= within | {orders[6].order_no}


@pytest.mark.parametrize("channel", FEEDS)
@pytest.mark.parametrize(("moved", "after"), list(itertools.product([0, 6, 11], [1, 2, 3])))
async def test_an_order_that_moves_while_pages_are_read_hides_no_other(channel: str, moved: int, after: int) -> None:
    async with shop_on(channel, per_page=3) as shop:
        orders = shop.fill(12)
        number = orders[moved].order_no
        shop.sim.when(FEEDS[channel], after, lambda: shop.sim.change(number, message="changed"))
        seen = await shop.pulled()
        assert {order.order_no for order in orders} - {number} <= seen.keys()
        # It is in a later window.
        later = await shop.pulled(Window(WINDOW.end_ms, shop.clock() + MINUTE))
        assert number in later


@pytest.mark.parametrize("channel", FEEDS)
async def test_several_orders_that_move_hide_no_other(channel: str) -> None:
    async with shop_on(channel, per_page=3) as shop:
        orders = shop.fill(14)
        gone = [orders[at].order_no for at in (0, 1, 5, 9, 13)]
        for after, number in enumerate(gone, 1):
            shop.sim.when(FEEDS[channel], after, lambda number=number: shop.sim.change(number, message="m"))  # type: ignore[misc]
        seen = await shop.pulled()
        assert {order.order_no for order in orders} - set(gone) <= seen.keys()


@pytest.mark.parametrize("channel", REFRESHED)
@pytest.mark.parametrize("after", [1, 2])
async def test_a_token_that_ends_between_pages_is_refreshed(channel: str, after: int) -> None:
    async with shop_on(channel, per_page=4) as shop:
        orders = shop.fill(9)
        shop.sim.when(FEEDS[channel], after, shop.sim.expire_tokens)
        seen = await shop.pulled()
        assert seen.keys() == {order.order_no for order in orders}
        assert len(shop.keys.kept) == 1
        assert shop.keys.kept[-1].access == shop.sim.platform.tokens.current.access


@pytest.mark.parametrize("channel", ["taobao", "jd", "douyin", "pinduoduo"])
async def test_a_shop_whose_refresh_token_is_dead_must_be_authorised_anew(channel: str) -> None:
    async with shop_on(channel) as shop:
        shop.fill(3)
        shop.sim.expire_tokens(refresh=True)
        with pytest.raises(NotAuthorised):
            await shop.pulled()
        assert shop.keys.kept == []


async def test_a_shopify_token_that_was_withdrawn_must_be_given_anew() -> None:
    async with shop_on("shopify") as shop:
        shop.sim.expire_tokens(refresh=True)
        with pytest.raises(NotAuthorised):
            await shop.pulled()


@pytest.mark.parametrize("channel", FEEDS)
async def test_wrong_keys_are_told_as_such(channel: str) -> None:
    async with shop_on(channel, secret="not-the-secret") as shop:
        shop.fill(3)
        if channel in ("wechat_shop", "shopify"):  # there the secret is for tokens, not for calls
            shop.sim.expire_tokens(refresh=True)
        with pytest.raises(NotAuthorised):
            await shop.pulled()


@pytest.mark.parametrize("channel", FEEDS)
@pytest.mark.parametrize("how", ONCE)
async def test_trouble_that_passes_loses_nothing(channel: str, how: How, monkeypatch: pytest.MonkeyPatch) -> None:
    if (channel, how) == ("shopify", "limited"):
        monkeypatch.setattr("adapters.platforms.http.retry_after_s", lambda _: 0.01)
    if how == "429":
        monkeypatch.setattr("adapters.platforms.http.retry_after_s", lambda _: 0.01)
    async with shop_on(channel, per_page=4) as shop:
        orders = shop.fill(7)
        shop.sim.fail_next(1, how, FEEDS[channel])
        try:
            seen = await shop.pulled()
        except PlatformBusy:
            # What a merchant's own program answers in such words is not asked for again at once.
            assert (channel, how) in {("generic", "html"), ("generic", "wrong_json")}
            seen = await shop.pulled()
        assert seen.keys() == {order.order_no for order in orders}


@pytest.mark.parametrize("channel", FEEDS)
@pytest.mark.parametrize("how", ["503", "inner_error", "html", "cut_before", "wrong_json"])
async def test_trouble_that_stays_is_told_and_never_taken_for_an_empty_window(channel: str, how: How) -> None:
    async with shop_on(channel, per_page=4) as shop:
        shop.fill(7)
        shop.sim.fail_next(50, how, FEEDS[channel])
        with pytest.raises(PlatformError) as told:
            await shop.pulled()
        assert isinstance(told.value, PlatformBusy), told.value


@pytest.mark.parametrize("channel", FEEDS)
async def test_trouble_on_a_later_page_is_no_end_of_the_window(channel: str) -> None:
    async with shop_on(channel, per_page=3) as shop:
        shop.fill(9)
        shop.sim.when(FEEDS[channel], 2, lambda: shop.sim.fail_next(50, "inner_error", FEEDS[channel]))
        with pytest.raises(PlatformBusy):
            await shop.pulled()


@pytest.mark.parametrize("channel", FEEDS)
async def test_a_platform_that_says_nothing_is_given_up(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = http.Http.__init__.__kwdefaults__ or {}
    monkeypatch.setattr(http.Http.__init__, "__kwdefaults__", {**usual, "timeout_s": 0.15})
    async with shop_on(channel) as shop:
        shop.fill(3)
        shop.sim.fail_next(50, "timeout")
        with pytest.raises(PlatformBusy):
            await shop.pulled()


@pytest.mark.parametrize("channel", [name for name in FEEDS if name != "shopify"])
async def test_a_client_slows_down_when_the_platform_says_so(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.3)
    monkeypatch.setattr("adapters.platforms.http.retry_after_s", lambda _: 0.3)
    async with shop_on(channel, per_page=2) as shop:
        orders = shop.fill(4)
        shop.sim.limit(8)
        seen = await shop.pulled()
        assert seen.keys() == {order.order_no for order in orders}


@pytest.mark.parametrize("channel", FEEDS)
async def test_one_order_is_fetched_whole(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(2)[1]
        found = await shop.puller.order(order.order_no)
        assert found is not None
        check(order, shop.read([found])[order.order_no])


@pytest.mark.parametrize("channel", FEEDS)
async def test_an_order_that_the_shop_does_not_have_is_none(channel: str) -> None:
    async with shop_on(channel) as shop:
        known = shop.fill(1)[0].order_no
        assert await shop.puller.order(known[:-1] + ("1" if known[-1] != "1" else "2")) is None


@pytest.mark.parametrize("channel", FEEDS)
async def test_the_check_of_a_connection_speaks_to_people(channel: str) -> None:
    async with shop_on(channel) as shop:
        shop.fill(2)
        assert len(await shop.puller.check()) > 10


@pytest.mark.parametrize("channel", ["taobao", "jd", "douyin", "pinduoduo", "shopify"])
async def test_a_code_is_exchanged_for_a_token_once(channel: str) -> None:
    module = import_module(f"adapters.platforms.{channel}")
    async with shop_on(channel) as shop:
        code = shop.sim.platform.tokens.code()
        token = await module.authorise(shop.connection, shop.keys, shop.clock, code)
        assert shop.sim.platform.tokens.state(token.access) == "ok"
        assert shop.keys.kept[-1] == token
        assert not token.expires_ms or token.expires_ms > shop.clock()
        with pytest.raises(PlatformError):
            await module.authorise(shop.connection, shop.keys, shop.clock, code)


@pytest.mark.parametrize("channel", ["taobao", "jd", "douyin", "pinduoduo", "wechat_shop"])
async def test_a_token_is_refreshed_before_it_ends(channel: str) -> None:
    async with shop_on(channel) as shop:
        shop.fill(1)
        token = shop.keys.token()
        assert token is not None
        shop.clock.now_ms = token.expires_ms - 30_000
        await shop.puller.check()
        assert [one.outcome for one in shop.sim.requests if one.outcome != "ok"] == []
        if channel != "wechat_shop":  # the same token is given until its last minutes
            assert len(shop.keys.kept) == 1


async def test_what_an_answer_made_from_xml_leaves_out_is_not_missed() -> None:
    async with shop_on("taobao", per_page=1, odd_forms=True) as shop:
        orders = shop.fill(3, lines=LINES[:1])
        seen = await shop.pulled()
        for order in orders:
            check(order, seen[order.order_no])


async def test_a_window_that_holds_too_much_is_asked_for_in_parts() -> None:
    async with shop_on("wechat_shop", per_window_max=5) as shop:
        orders = shop.fill(17)
        seen = await shop.pulled()
        assert seen.keys() == {order.order_no for order in orders}
        assert any(one.outcome == "refused 31042" for one in shop.sim.requests)


async def test_a_request_is_dated_when_it_is_sent() -> None:
    async with shop_on("taobao") as shop:
        shop.fill(2)
        shop.clock.now_ms += 3 * 3_600_000
        assert await shop.pulled()
