"""The simulated platforms post messages and speak over sockets; the clients tell what is genuine, and lose nothing."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from adapters.platforms import connect
from adapters.platforms.connection import Connection
from adapters.simulators import Simulated
from adapters.simulators.miniprogram import SERIAL, MiniProgram
from adapters.simulators.platform import Push
from adapters.simulators.store import Kind
from adapters.simulators.wechat_shop import WechatShop
from domain.platforms import Frame, NotAuthorised, NotGenuine, PlatformBusy, Pushed, PushRequest, Receiver
from domain.ports import Aside
from tests.integration.simulated_shops import Clock, Shop, shop_on
from tests.platform_world import Asked, MemoryKeys, Reply, Served

HINTS = ("douyin", "wechat_shop")
WHOLE = ("shopify", "miniprogram", "generic")
SOCKETS = ("taobao", "pinduoduo")
KINDS: tuple[Kind, ...] = (
    "created",
    "paid",
    "shipped",
    "partly_shipped",
    "completed",
    "cancelled",
    "after_sale",
    "changed",
)


def receiver_of(shop: Shop) -> Receiver:
    assert shop.platform.receiver is not None
    return shop.platform.receiver


def received(shop: Shop, push: Push, *, late_ms: int = 0) -> Pushed:
    request = PushRequest(push.method, push.query, push.headers, push.body, shop.clock() + late_ms)
    return receiver_of(shop).receive(request)


@pytest.mark.parametrize("channel", HINTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_pushed_hint_names_the_order_exactly(channel: str, kind: Kind) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        first = msgspec.structs.replace(order.lines[0], after_sale="open")
        if kind == "after_sale":
            shop.sim.change(order.order_no, lines=(first, *order.lines[1:]))
        pushed = received(shop, shop.sim.push(order.order_no, kind))
        assert shop.hints(pushed.documents) == [order.order_no]


@pytest.mark.parametrize("channel", WHOLE)
async def test_a_pushed_order_is_the_order_that_a_pull_would_give(channel: str) -> None:
    async with shop_on(channel) as shop:
        order = shop.fill(1)[0]
        seen = shop.read(received(shop, shop.sim.push(order.order_no)).documents)[order.order_no]
        assert seen.status == "paid"
        assert seen.amounts.payable == order.payable_fen
        if channel != "miniprogram":
            assert (await shop.pulled())[order.order_no] == seen


@pytest.mark.parametrize("channel", [*HINTS, *WHOLE])
async def test_an_altered_push_is_not_genuine(channel: str) -> None:
    async with shop_on(channel) as shop:
        push = shop.sim.push(shop.fill(1)[0].order_no)
        # WeChat signs the ciphertext, not the envelope around it.
        first = push.body.index(b'"Encrypt":"') + 11 if channel == "wechat_shop" else 0
        last = len(push.body) - (2 if channel == "wechat_shop" else 0)
        for at in range(first, last, max(1, len(push.body) // 40)):
            body = bytearray(push.body)
            body[at] ^= 1
            with pytest.raises(NotGenuine):
                received(shop, push._replace(body=bytes(body)))
        with pytest.raises(NotGenuine):
            received(shop, push._replace(body=b""))
        for name in [name for name in push.headers if "sign" in name or "hmac" in name]:
            without = {other: value for other, value in push.headers.items() if other != name}
            with pytest.raises(NotGenuine):
                received(shop, push._replace(headers=without))


@pytest.mark.parametrize("channel", ["wechat_shop", "miniprogram", "generic"])
async def test_an_old_push_is_not_genuine(channel: str) -> None:
    async with shop_on(channel) as shop:
        push = shop.sim.push(shop.fill(1)[0].order_no)
        received(shop, push, late_ms=200_000)
        for late_ms in (400_000, -400_000):
            with pytest.raises(NotGenuine):
                received(shop, push, late_ms=late_ms)


@pytest.mark.parametrize("channel", ["shopify", "miniprogram", "generic"])
async def test_a_push_has_a_mark_by_which_a_repeat_is_known(channel: str) -> None:
    async with shop_on(channel) as shop:
        number = shop.fill(1)[0].order_no
        push = shop.sim.push(number)
        assert received(shop, push).nonce == received(shop, push).nonce != ""
        assert received(shop, shop.sim.push(number)).nonce != received(shop, push).nonce


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_an_encrypted_message_is_read_in_both_forms(form: str) -> None:
    async with shop_on("wechat_shop") as shop:
        order = shop.fill(1)[0]
        assert isinstance(shop.sim.platform, WechatShop)
        pushed = received(shop, shop.sim.platform.push(order, "paid", form))
        assert shop.hints(pushed.documents) == [order.order_no]


async def test_wechat_checks_the_address_first() -> None:
    async with shop_on("wechat_shop") as shop:
        assert isinstance(shop.sim.platform, WechatShop)
        probe = shop.sim.platform.probe("5412345678901234567")
        answer = received(shop, probe)
        assert answer.answer.body == b"5412345678901234567"
        assert answer.documents == ()
        with pytest.raises(NotGenuine):
            received(shop, probe._replace(query={**probe.query, "nonce": "1"}))


async def test_a_notice_of_wechat_pay_is_a_hint_of_its_order(tmp_path: Path) -> None:
    async with shop_on("miniprogram") as shop:
        pem = tmp_path / "wechatpay.pem"
        pem.write_bytes(MiniProgram.public_key())
        options = {**shop.connection.options, f"wechatpay_key.{SERIAL}": str(pem)}
        platform = connect(msgspec.structs.replace(shop.connection, options=options), shop.keys, shop.clock)
        assert platform.receiver is not None
        assert platform.close is not None
        assert isinstance(shop.sim.platform, MiniProgram)
        order = shop.fill(1)[0]
        push = shop.sim.platform.payment_notice(order)
        found = platform.receiver.receive(PushRequest("POST", {}, push.headers, push.body, shop.clock()))
        assert shop.hints(found.documents) == [order.order_no]
        with pytest.raises(NotGenuine):
            platform.receiver.receive(PushRequest("POST", {}, push.headers, push.body + b" ", shop.clock()))
        await platform.close()


async def test_a_probe_and_an_unknown_tag_are_answered_and_do_no_harm() -> None:
    async with shop_on("douyin") as shop:
        platform = shop.sim.platform
        probe = platform.signed(b'[{"tag":"0","msg_id":"0","data":"2026-11-11"}]')  # type: ignore[attr-defined]
        answered = received(shop, probe)
        assert platform.push_accepted(answered.answer.status, answered.answer.body)
        unknown = platform.signed(b'[{"tag":"999","msg_id":"x:1","data":"{\\"p_id\\":1}"}]')  # type: ignore[attr-defined]
        parts = [part for one in received(shop, unknown).documents for part in shop.channel.identify(one, "s")]
        assert [part.kind for part in parts if isinstance(part, Aside)] == ["ignored"]


@contextlib.asynccontextmanager
async def webhook(shop: Shop, trouble: Callable[[int], bool]) -> AsyncIterator[tuple[str, list[Pushed]]]:
    """Serve the shop's receiver as a gateway would; while `trouble` says so, it is busy."""
    taken: list[Pushed] = []
    count = 0

    def answer(asked: Asked) -> Reply:
        nonlocal count
        count += 1
        if trouble(count):
            return Reply(b"busy", 503)
        try:
            pushed = receiver_of(shop).receive(
                PushRequest(asked.method, asked.query, asked.headers, asked.body, shop.clock())
            )
        except NotGenuine:
            return Reply(b"", 401)
        taken.append(pushed)
        return Reply(pushed.answer.body, pushed.answer.status, (("content-type", pushed.answer.content_type),))

    async with Served(answer) as served:
        yield f"{served.url}/webhooks/{shop.sim.channel}", taken


@pytest.mark.parametrize("channel", [*HINTS, *WHOLE])
async def test_messages_come_doubled_in_disorder_and_again_until_they_are_taken(channel: str) -> None:
    async with shop_on(channel) as shop:
        orders = shop.fill(5)
        pushes = [shop.sim.push(order.order_no) for order in orders]
        async with webhook(shop, lambda count: count % 3 == 1) as (url, taken):
            told = await shop.sim.deliver(url, pushes, copies=2, disorder=random.Random(7), gap_s=0.001)
        assert all(delivery.accepted for delivery in told)
        assert max(delivery.tries for delivery in told) > 1
        assert len(taken) == 10
        documents = [one for pushed in taken for one in pushed.documents]
        numbers = shop.hints(documents) if channel in HINTS else list(shop.read(documents))
        assert set(numbers) == {order.order_no for order in orders}


@pytest.mark.parametrize("channel", [*HINTS, *WHOLE])
async def test_a_message_that_is_never_taken_is_given_up_by_the_platform(channel: str) -> None:
    async with shop_on(channel) as shop:
        push = shop.sim.push(shop.fill(1)[0].order_no)
        async with webhook(shop, lambda _: True) as (url, taken):
            told = await shop.sim.deliver(url, [push], tries=3, gap_s=0.001)
        assert [(delivery.tries, delivery.accepted, delivery.status) for delivery in told] == [(3, False, 503)]
        assert taken == []


async def frames_of(shop: Shop) -> AsyncGenerator[Frame, None]:
    assert shop.platform.listener is not None
    async for frame in shop.platform.listener.frames():
        if frame.documents:  # not a heartbeat
            yield frame


async def taken(frames: AsyncIterator[Frame], count: int) -> list[Frame]:
    async with asyncio.timeout(10):
        return [await anext(frames) for _ in range(count)]


@pytest.mark.parametrize("channel", SOCKETS)
async def test_what_is_acknowledged_does_not_come_again(channel: str) -> None:
    async with shop_on(channel) as shop:
        assert shop.sim.socket is not None
        orders = shop.fill(3)
        async with contextlib.aclosing(frames_of(shop)) as frames:
            for order in orders:
                shop.sim.announce(order.order_no)
            found = await taken(frames, 3)
            numbers = [number for frame in found for number in shop.hints(frame.documents)]
            assert sorted(numbers) == sorted(order.order_no for order in orders)
            for frame in found:
                await frame.acknowledge()
            await asyncio.sleep(0.05)
            assert not shop.sim.socket.waiting
            await asyncio.sleep(0.4)
            assert len(shop.sim.socket.sent) == 3
        assert len(shop.sim.socket.acknowledged) == 3


@pytest.mark.parametrize("channel", SOCKETS)
async def test_what_is_not_acknowledged_comes_again(channel: str) -> None:
    async with shop_on(channel) as shop:
        assert shop.sim.socket is not None
        number = shop.fill(1)[0].order_no
        shop.sim.announce(number)
        async with contextlib.aclosing(frames_of(shop)) as frames:
            first, second = await taken(frames, 2)
            assert shop.hints(first.documents) == shop.hints(second.documents) == [number]
            assert len(shop.sim.socket.sent) == 2
            assert shop.sim.socket.acknowledged == []
            await second.acknowledge()
            await asyncio.sleep(0.05)
            assert not shop.sim.socket.waiting


@pytest.mark.parametrize("channel", SOCKETS)
async def test_a_broken_line_is_told_and_the_next_one_brings_the_rest(channel: str) -> None:
    async with shop_on(channel) as shop:
        assert shop.sim.socket is not None
        orders = shop.fill(2)
        for order in orders:
            shop.sim.announce(order.order_no)
        frames = frames_of(shop)
        found = await taken(frames, 2)
        await found[0].acknowledge()
        await asyncio.sleep(0.05)
        await shop.sim.socket.cut()
        with pytest.raises(PlatformBusy):
            await taken(frames, 1)
        async with contextlib.aclosing(frames_of(shop)) as again:
            (rest,) = await taken(again, 1)
            assert shop.hints(rest.documents) == shop.hints(found[1].documents)


@pytest.mark.parametrize("channel", SOCKETS)
async def test_a_socket_lets_nobody_in_without_the_secret(channel: str) -> None:
    async with shop_on(channel, secret="not-the-secret") as shop:
        assert shop.sim.socket is not None
        with pytest.raises(NotAuthorised):
            await taken(frames_of(shop), 1)
        assert shop.sim.socket.refused == 1


@pytest.mark.parametrize("channel", SOCKETS)
async def test_ids_of_messages_above_two_to_the_53_are_acknowledged_exactly(channel: str) -> None:
    async with shop_on(channel) as shop:
        assert shop.sim.socket is not None
        number = shop.sim.announce(shop.fill(1)[0].order_no)
        assert float(number) != number
        async with contextlib.aclosing(frames_of(shop)) as frames:
            (frame,) = await taken(frames, 1)
            await frame.acknowledge()
            await asyncio.sleep(0.05)
        assert shop.sim.socket.acknowledged == [number]


@pytest.mark.parametrize("channel", SOCKETS)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_message_names_its_order(channel: str, kind: Kind) -> None:
    async with shop_on(channel) as shop:
        number = shop.fill(1)[0].order_no
        shop.sim.announce(number, kind)
        async with contextlib.aclosing(frames_of(shop)) as frames:
            (frame,) = await taken(frames, 1)
            assert shop.hints(frame.documents) == [number]


async def test_changes_are_announced_by_themselves_where_that_is_wanted() -> None:
    clock = Clock()
    async with Simulated("taobao", now_ms=clock, announce=True) as sim:
        told = sim.letting_in()
        keys = MemoryKeys(None, **told["secrets"])
        connection = msgspec.convert(told["connection"], Connection)
        platform = connect(connection, keys, clock)
        async with shop_on("taobao") as other:
            order = other.fill(1)[0]
        sim.add(order)
        sim.change(order.order_no, status="cancelled")
        assert sim.socket is not None
        assert [kind for _, kind in sim.socket.waiting.values()] == ["paid", "cancelled"]
        assert platform.close is not None
        await platform.close()
