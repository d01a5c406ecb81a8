"""The port to warehouses of others, against the simulated one over HTTP: what every implementation must keep."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from adapters.simulators.wms import APP_KEY, CUSTOMER, OWNER, SECRET, SimWms, serving
from adapters.wms.client import CRITERIA_MAX, QimenWms
from adapters.wms.settings import WmsSettings
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.wms import DeliveryOrder, Receiver, Wms, WmsLine, WmsStock
from tests.integration.gatewaying import until_async
from tests.platform_world import NOW_MS

CODE = "pick-order-taobao:shop1:1/1"
TO = Receiver("王小明", "13812345678", province="浙江省", city="杭州市", detail="路 1 号")


class Pair(NamedTuple):
    """A warehouse, and a client of it."""

    sim: SimWms
    wms: Wms


@contextlib.asynccontextmanager
async def pair(*, secret: str = SECRET, timeout_s: float = 5.0, **fields: Any) -> AsyncIterator[Pair]:
    sim = SimWms(lambda: NOW_MS, **{"pick_after_s": 3600.0, **fields})
    async with serving(sim) as url:
        settings = WmsSettings("sim", url, APP_KEY, CUSTOMER, "env:UNUSED", {"A": "HZ01"}, OWNER)
        client = QimenWms(settings, lambda: secret, lambda: NOW_MS, timeout_s=timeout_s)
        try:
            yield Pair(sim, client)
        finally:
            await client.close()


def an_order(code: str = CODE, *lines: tuple[str, int], to: Receiver = TO) -> DeliveryOrder:
    found = tuple(WmsLine(sku, units, "电钻") for sku, units in lines or (("S1", 2), ("S2", 1)))
    return DeliveryOrder(code, "A", "taobao", "shop1", "1", found, to, NOW_MS, NOW_MS - 60_000, NOW_MS - 30_000)


async def test_what_is_created_is_there_as_it_was_asked_for() -> None:
    async with pair() as (sim, wms):
        assert not await wms.knows(CODE, "A")
        assert await wms.create(an_order()) == sim.orders[CODE].number
        assert await wms.knows(CODE, "A")
        assert (sim.orders[CODE].lines, sim.orders[CODE].warehouse) == ({"S1": 2, "S2": 1}, "HZ01")
        assert sim.orders[CODE].receiver["detailAddress"] == "路 1 号"


async def test_creating_twice_is_creating_once() -> None:
    async with pair() as (sim, wms):
        assert await wms.create(an_order()) == await wms.create(an_order())
        assert sim.created == [CODE]


async def test_creating_at_the_same_time_is_creating_once() -> None:
    async with pair() as (sim, wms):
        references = await asyncio.gather(*(wms.create(an_order()) for _ in range(8)))
        assert (len(set(references)), sim.created) == (1, [CODE])


@pytest.mark.parametrize("how", ["cut_after", "500_after", "wrong_json"])
async def test_an_answer_that_got_lost_leaves_the_outcome_unknown_and_can_be_asked_about(how: Any) -> None:
    async with pair() as (sim, wms):
        sim.faults.plan(1, how, "deliveryorder.create")
        with pytest.raises(OutcomeUnknown):
            await wms.create(an_order())
        assert await wms.knows(CODE, "A")
        assert sim.created == [CODE]


async def test_a_warehouse_that_took_it_and_never_answered_is_asked_about() -> None:
    async with pair(timeout_s=0.3) as (sim, wms):
        sim.faults.plan(1, "timeout_after", "deliveryorder.create")
        with pytest.raises(OutcomeUnknown):
            await wms.create(an_order())
        assert await wms.knows(CODE, "A")


@pytest.mark.parametrize("how", ["cut_before", "500", "html"])
async def test_a_request_that_was_lost_leaves_nothing_behind(how: Any) -> None:
    async with pair() as (sim, wms):
        sim.faults.plan(1, how, "deliveryorder.create")
        with pytest.raises(OutcomeUnknown):
            await wms.create(an_order())
        assert not await wms.knows(CODE, "A")
        assert sim.created == []


Ask = Callable[[Wms], Any]
ASKS: dict[str, Ask] = {
    "knows": lambda wms: wms.knows(CODE, "A"),
    "cancel": lambda wms: wms.cancel(CODE, "A"),
    "stock": lambda wms: wms.stock("A", ["S1"]),
}


@pytest.mark.parametrize("name", ASKS)
async def test_questions_are_repeated_while_the_warehouse_stumbles(name: str) -> None:
    async with pair() as (sim, wms):
        sim.faults.plan(1, "500")
        sim.faults.plan(1, "cut_before")
        assert await ASKS[name](wms) in (False, "not there", [])


async def test_a_warehouse_that_is_down_is_busy() -> None:
    async with pair() as (sim, wms):
        sim.down = True
        with pytest.raises(PlatformBusy):
            await wms.knows(CODE, "A")
        assert not sim.created


async def test_a_wrong_secret_is_told_as_such() -> None:
    async with pair(secret="another") as (sim, wms):
        for ask in ASKS.values():
            with pytest.raises(NotAuthorised):
                await ask(wms)
        with pytest.raises(NotAuthorised):
            await wms.create(an_order())
        assert sim.created == []


async def test_a_receiver_that_the_warehouse_does_not_take_is_refused_without_being_quoted() -> None:
    async with pair() as (_, wms):
        with pytest.raises(PlatformRefused) as refused:
            await wms.create(an_order(to=Receiver("王小明", "13812345678")))
        assert "no address" in refused.value.reason
        assert not any(part in str(refused.value) for part in ("王小明", "13812345678"))


async def test_what_is_called_off_is_off_however_often() -> None:
    async with pair() as (sim, wms):
        await wms.create(an_order())
        assert await wms.cancel(CODE, "A") == "cancelled"
        assert await wms.cancel(CODE, "A") == "cancelled"
        assert sim.orders[CODE].status == "CANCELED"
        assert not await wms.knows(CODE, "A")
        assert await wms.cancel("pick-unknown", "A") == "not there"


async def test_it_is_too_late_to_call_off_what_was_picked() -> None:
    async with pair(pick_after_s=0.0) as (sim, wms):
        await wms.create(an_order())
        await until_async(lambda: sim.orders[CODE].status == "DELIVERED")
        with pytest.raises(PlatformRefused) as refused:
            await wms.cancel(CODE, "A")
        assert refused.value.code == "picked"
        assert await wms.knows(CODE, "A")


async def test_a_code_that_was_called_off_is_not_taken_for_created() -> None:
    async with pair() as (_, wms):
        await wms.create(an_order())
        await wms.cancel(CODE, "A")
        with pytest.raises(PlatformRefused):
            await wms.create(an_order())


async def test_stock_is_told_free_and_locked_together() -> None:
    async with pair() as (sim, wms):
        sim.stock = {("HZ01", "S1"): 10, ("HZ01", "S2"): 0, ("HZ02", "S3"): 5}
        await wms.create(an_order())
        asked = ["S1", "S2", "S3", "S4"]
        assert await wms.stock("A", asked) == [WmsStock("S1", 10), WmsStock("S2", 0)]


async def test_much_stock_is_asked_for_in_pieces() -> None:
    async with pair() as (sim, wms):
        skus = [f"S{number}" for number in range(2 * CRITERIA_MAX + 1)]
        sim.stock = {("HZ01", sku): number for number, sku in enumerate(skus)}
        assert await wms.stock("A", skus) == [WmsStock(sku, number) for number, sku in enumerate(skus)]
        assert len(sim.requests) == 3


async def test_a_warehouse_that_is_not_served_is_an_error_of_the_settings() -> None:
    async with pair() as (_, wms):
        with pytest.raises(ValueError, match="does not serve warehouse Z"):
            await wms.knows(CODE, "Z")
