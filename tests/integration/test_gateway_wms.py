"""Warehouses call the gateway: what is genuine is committed before it is answered, the rest is told why."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from adapters.simulators.wms import APP_KEY, CUSTOMER, OWNER, SECRET, SimDelivery, SimWms
from adapters.storage.sealing import open_sealed
from adapters.wms.settings import WmsSettings
from adapters.wms.xml import read, text
from domain.catalogue import decode_event
from domain.delivery import DeliveryConfirmed
from domain.envelope import By
from domain.ids import intake_key, order_key, warehouse_key
from domain.intake import IntakeRefused
from domain.mail import Mail
from domain.order import CancelLines, OrderIntercepted, OrderShipped, PickListIssued
from domain.stock import ReceiveStock, StockAdjusted, StockReceived
from domain.wms import code_of
from runners import wms_settings
from runners.bootstrap import open_log, open_vault
from tests.integration.gatewaying import Gateway, running_gateway
from tests.integration.harness import end
from tests.integration.mixed_mail import BEGIN_MS, trade

pytestmark = pytest.mark.xdist_group("gateway_wms")
LEDGER = warehouse_key("A")
INTAKE = intake_key("wms", "north")


class World(NamedTuple):
    """A gateway before a cell, and a warehouse that calls it."""

    gateway: Gateway
    sim: SimWms

    def facts(self, stream: str, kind: type[Any]) -> list[Any]:
        found = [event for event in self.gateway.cell.recorded() if event.stream == stream]
        return [fact for event in found if isinstance(fact := decode_event(event.tag, event.data), kind)]

    async def ordered(self, number: int) -> SimDelivery:
        """Take an order in; return its delivery order as the warehouse has it."""
        key = order_key("taobao", "hardware", str(number))
        said = await self.gateway.push(
            trade(number, "WAIT_SELLER_SEND_GOODS", BEGIN_MS, BEGIN_MS, receiver_mobile="13812345678")
        )
        assert said.json()["orders"][0]["outcome"] in ("accepted", "repeated"), said.text
        (issued,) = self.facts(key, PickListIssued)
        return SimDelivery(code_of(issued.pick_list), f"W{number}", "HZ01", dict(issued.lines), {})

    async def confirm(self, delivery: SimDelivery, tracking: str = "SF1", **more: Any) -> tuple[str, str]:
        lines = more.pop("lines", delivery.lines)
        return await self.say("deliveryorder.confirm", self.sim.confirmation(delivery, lines, tracking, **more))

    async def say(self, method: str, body: bytes, **changed: str) -> tuple[str, str]:
        """Call, signed; return flag and code of the answer."""
        root = read((await self.sim.call_back(method, body, **changed)).encode())
        return text(root, "flag"), text(root, "code")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    data = tmp_path / "data"
    async with running_gateway(data) as gateway:
        (data / "secret").write_text(SECRET)
        (data / "secret").chmod(0o600)
        settings = WmsSettings("north", "http://127.0.0.1:9", APP_KEY, CUSTOMER, "file:secret", {"A": "HZ01"}, OWNER)
        wms_settings.save(data, [settings])
        lines = tuple((f"SKU-{number}", 100) for number in range(7))
        now_ms = time.time_ns() // 1_000_000
        await gateway.cell.publish([Mail(LEDGER, ReceiveStock("opening", lines), now_ms, By("system", "test"))])
        sim = SimWms(
            lambda: time.time_ns() // 1_000_000, callback=f"{str(gateway.client.base_url).rstrip('/')}/wms/north"
        )
        async with sim:
            yield World(gateway, sim)


def key(number: int) -> str:
    return order_key("taobao", "hardware", str(number))


async def test_what_left_is_shipped_with_its_number_however_often_it_is_told(world: World) -> None:
    delivery = await world.ordered(1)
    assert await world.confirm(delivery, "SF111") == ("success", "0")
    assert await world.confirm(delivery, "SF111") == ("success", "0")
    assert await world.confirm(delivery, "SF111", ending="-again") == ("success", "0")
    await asyncio.gather(*(world.confirm(delivery, "SF111") for _ in range(5)))
    (shipped,) = world.facts(key(1), OrderShipped)
    assert [(each.carrier, each.tracking) for each in shipped.parcels] == [("SF", "SF111")]
    (confirmed,) = world.facts(key(1), DeliveryConfirmed)
    assert confirmed.command == f"wms/north/{delivery.code}/OB-W1"
    # Short, wrong, and called off before: told as taken, and stopped for people.
    short = await world.ordered(2)
    assert await world.confirm(short, lines={sku: units - 1 for sku, units in short.lines.items()}) == ("success", "0")
    wrong = await world.ordered(3)
    assert await world.confirm(wrong, lines={"OTHER": 1}) == ("success", "0")
    late = await world.ordered(4)
    now_ms = time.time_ns() // 1_000_000
    await world.gateway.cell.publish([Mail(key(4), CancelLines("c-1", (), "no"), now_ms, By("person", "p"))])
    assert await world.confirm(late) == ("success", "0")
    reasons = [[each.reason for each in world.facts(key(number), OrderIntercepted)] for number in (2, 3, 4)]
    assert reasons == [["packed_differently"], ["packed_differently"], ["left_after_release"]]
    assert [world.facts(key(number), OrderShipped) for number in (2, 3, 4)] == [[], [], []]


async def test_calls_that_are_not_genuine_change_nothing_and_are_told_why(world: World) -> None:
    delivery = await world.ordered(1)
    body = world.sim.confirmation(delivery, delivery.lines, "SF1")
    head = world.gateway.cell.tracked()
    method = "deliveryorder.confirm"
    assert await world.say(method, body, sign="0" * 32) == ("failure", "sign-check-failure")
    assert await world.say(method, body, customerId="C9") == ("failure", "unknown-customer")
    assert await world.say(method, body, timestamp="2020-01-01 00:00:00") == ("failure", "invalid-timestamp")
    assert await world.say("deliveryorder.destroy", body) == ("failure", "unknown-method")
    world.sim.secret = "another"
    assert await world.say(method, body) == ("failure", "sign-check-failure")
    assert world.gateway.cell.tracked() == head
    client = world.gateway.client
    assert (await client.post("/wms/south", content=body)).status_code == 404
    assert (await client.get("/wms/north")).status_code in (404, 405)
    assert (await client.post("/wms/north", content=b"x" * (600 << 10))).status_code == 413
    answer = await client.post("/wms/north", content=b"")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")


async def test_what_is_genuine_and_cannot_be_followed_is_kept_sealed(world: World) -> None:
    stranger = SimDelivery("pick-unknown", "W9", "HZ01", {"SKU-1": 1}, {})
    bodies = {
        "unknown-delivery-order": world.sim.confirmation(stranger, stranger.lines, "SF9"),
        "bad-xml": b'<!DOCTYPE r [<!ENTITY a "b">]><request>&a;</request>',
        "bad-request": b"<request><deliveryOrder/></request>",
    }
    for code, body in bodies.items():
        for _ in range(2):
            assert await world.say("deliveryorder.confirm", body) == ("failure", code)
    refused = world.facts(INTAKE, IntakeRefused)
    assert len(refused) == 3, "the same again is the same"
    assert not any("仓管".encode() in event.data + event.envelope for event in world.gateway.cell.recorded())
    log = open_log(world.gateway.cell.settings, read_only=True)
    stored = log.payloads([bytes.fromhex(each.payload) for each in refused]).values()
    log.close()
    vault = open_vault(world.gateway.cell.settings)
    data_keys = vault.keys([each.stream for each in stored], create=False)
    vault.close()
    assert len(data_keys) == 3, "each can be forgotten by itself"
    assert {open_sealed(data_keys[each.stream], each.stream, each.sealed) for each in stored} == set(bodies.values())


async def test_a_warehouse_cannot_confirm_what_another_one_was_asked_for(world: World) -> None:
    delivery = await world.ordered(1)
    data = world.gateway.cell.path
    (known,) = wms_settings.load(data)
    wms_settings.save(data, [msgspec.structs.replace(known, warehouses={"B": "HZ01"})])
    assert await world.confirm(delivery) == ("failure", "unknown-delivery-order")
    assert world.facts(key(1), OrderShipped) == []
    wms_settings.save(data, [known])
    assert await world.confirm(delivery) == ("success", "0")


async def test_changes_of_stock_are_booked_once_by_their_document(world: World) -> None:
    def item(document: str, units: int, kind: str = "CGRK", **more: Any) -> dict[str, Any]:
        return {
            "warehouseCode": "HZ01",
            "orderCode": f"PO-{document}",
            "orderType": kind,
            "outBizCode": document,
            "itemCode": "SKU-1",
            "quantity": units,
            **more,
        }

    async def report(*items: dict[str, Any]) -> str:
        return text(read((await world.sim.report(list(items))).encode()), "code")

    delivery = await world.ordered(1)
    ours = item("OB-4", -2, "JYCK", orderCode=delivery.code)
    several = (item("OB-1", 12), item("OB-2", -3, "QTCK"), item("OB-3", 5, inventoryType="CC"), ours)
    for _ in range(3):
        assert await report(*several) == "0"
    assert [each.lines for each in world.facts(LEDGER, StockReceived)][1:] == [(("SKU-1", 12),)]
    (adjusted,) = world.facts(LEDGER, StockAdjusted)
    assert (adjusted.document, adjusted.delta, adjusted.reason) == ("wms/north/OB-2/SKU-1", -3, "north: QTCK PO-OB-2")
    # Half of one document twice in a message is one document.
    assert await report(item("OB-5", 1), item("OB-5", 2)) == "0"
    assert world.facts(LEDGER, StockReceived)[-1].lines == (("SKU-1", 3),)
    # So are its parts for several orders, or of several kinds.
    assert await report(item("OB-8", 1), item("OB-8", 4, orderCode="PO-other")) == "0"
    assert world.facts(LEDGER, StockReceived)[-1].lines == (("SKU-1", 5),)
    assert await report(item("OB-9", 1), item("OB-9", -4, "QTCK")) == "0"
    told = world.facts(LEDGER, StockAdjusted)[-1]
    assert (told.delta, told.reason) == (-3, "north: CGRK PO-OB-9, QTCK PO-OB-9")
    # Below what is promised: told as refused, and a later try works.
    assert await report(item("OB-6", -5_000, "QTCK")) == "refused"
    assert await report({**item("OB-7", 1), "warehouseCode": "HZ99"}) == "unknown-warehouse"


async def test_while_the_worker_is_away_a_call_is_told_to_come_again_and_is_not_lost(world: World) -> None:
    delivery = await world.ordered(1)
    end(world.gateway.cell.processes[-1])
    assert await world.confirm(delivery) == ("failure", "busy")
    world.gateway.cell.start()
    said = [await world.confirm(delivery) for _ in range(5)]  # each waits for a while
    assert said[-1] == ("success", "0")
    assert len(world.facts(key(1), OrderShipped)) == 1
