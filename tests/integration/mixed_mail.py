"""A day's mail in small: everything a worker meets, drawn from a seed, in the real wire format of Taobao trades."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from domain.cellular import Tick
from domain.envelope import By
from domain.ids import CELL_KEY, intake_key, order_key, warehouse_key
from domain.intake import DiscardAside, RecordUnmatched
from domain.mail import AsideReport, ChannelPayload, Mail
from domain.order import CancelLines, DiscardQuarantined, ResendQuarantined, ScanOut, Ship, TimerDue
from domain.stock import AdjustStock, ProtectStock, ReceiveStock

BEGIN_MS = 1_794_326_400_000
SHOP = "hardware"
_CHINA = timedelta(hours=8)
CHANNEL = By("channel", "taobao")
KEEPER = By("person", "k-1", "keeper")


def china(utc_ms: int) -> str:
    """Return an instant as the channel writes it."""
    return (datetime.fromtimestamp(utc_ms // 1000, UTC) + _CHINA).strftime("%Y-%m-%d %H:%M:%S")


def trade(number: int, status: str, created_ms: int, modified_ms: int, **more: Any) -> bytes:
    """Return the n-th order as its channel sees it."""
    unpaid = status in {"WAIT_BUYER_PAY", "TRADE_CLOSED_BY_TAOBAO"}
    line = {
        "oid": 500_000 + number,
        "num_iid": 900 + number % 7,
        "outer_sku_id": f"SKU-{number % 7}",
        "title": "充电电钻 18V",
        "price": "329.00",
        "num": 1 + number % 3,
        "payment": f"{329 * (1 + number % 3)}.00",
        "divide_order_fee": f"{329 * (1 + number % 3)}.00",
        "refund_status": "NO_REFUND",
        "status": status,
    }
    fields = {
        "tid": number,
        "tid_str": str(number),
        "status": status,
        "type": "fixed",
        "created": china(created_ms),
        "modified": china(modified_ms),
        "payment": f"{329 * (1 + number % 3)}.00",
        "post_fee": "0.00",
        "buyer_open_uid": f"uid-{number % 11}",
        "receiver_name": "王**",
        "receiver_state": "浙江省",
        "receiver_city": "杭州市",
        "receiver_address": f"转塘街道**路{number}号",
        "receiver_mobile": "138****8000",
        "buyer_message": "周末送货，谢谢",
        "orders": {"order": [line]},
        **more,
    }
    if not unpaid:
        fields["pay_time"] = china(created_ms + 1000)
    if status == "WAIT_BUYER_CONFIRM_GOODS":
        fields["consign_time"] = china(modified_ms)
    return msgspec.json.encode(fields)


def key_of(number: int) -> str:
    """Return the key of the n-th order."""
    return order_key("taobao", SHOP, str(number))


def snapshot(number: int, raw: bytes, now_ms: int, **more: str) -> Mail:
    """Return the mail that carries a payload."""
    body = ChannelPayload("taobao", SHOP, str(number), raw)
    return Mail(key_of(number), body, now_ms, CHANNEL, f"taobao/{SHOP}#{number}", **more)


def mixed(count: int, seed: int = 1, *, begin_ms: int = BEGIN_MS, reply_to: str = "") -> Iterator[Mail]:
    """Yield `count` messages: about a third new orders, then what happens to them, and everything that goes wrong."""
    chance = random.Random(seed)
    stock = tuple((f"SKU-{number}", 40 * count // 100 + 5) for number in range(7))
    yield Mail(warehouse_key("A"), ReceiveStock(f"opening-{seed}", stock), begin_ms, KEEPER, "test")
    numbers: list[int] = []
    sent: list[Mail] = []
    base = seed * 1_000_000
    for at in range(1, count):
        now = begin_ms + at * 1000
        mail = _one(chance, base, numbers, sent, now, f"{seed}-{at}")
        if reply_to and at % 3 == 0:
            mail = msgspec.structs.replace(mail, reply_to=reply_to)
        sent.append(mail)
        yield mail


def _one(chance: random.Random, base: int, numbers: list[int], sent: list[Mail], now: int, name: str) -> Mail:
    dice = chance.random()
    if dice < 0.3 or not numbers:
        number = base + len(numbers) + 1
        numbers.append(number)
        status = chance.choice(("WAIT_BUYER_PAY", "WAIT_SELLER_SEND_GOODS", "WAIT_SELLER_SEND_GOODS"))
        return snapshot(number, trade(number, status, now - 5000, now - 1000), now)
    if dice < 0.4:
        return chance.choice(sent[-200:])
    number = chance.choice(numbers[-60:])
    created = BEGIN_MS
    if dice < 0.55:
        status = chance.choice(
            ("WAIT_SELLER_SEND_GOODS", "WAIT_BUYER_CONFIRM_GOODS", "TRADE_FINISHED", "TRADE_CLOSED_BY_TAOBAO")
        )
        return snapshot(number, trade(number, status, created, now - chance.randrange(0, 600_000)), now)
    if dice < 0.60:
        raw = chance.choice((b'{"tid":', b"\xff\xfe not json", b"[]", b'{"tid": 1, "status": 5}', b""))
        return snapshot(number, raw, now)
    if dice < 0.72:
        return Mail(key_of(number), ScanOut(f"scan-{name}", f"SF{name}", "SF"), now, KEEPER, "test")
    to = key_of(number)
    odd = (
        Mail(to, Ship(f"ship-{name}", f"YT{name}", "YT"), now, KEEPER),
        Mail(to, CancelLines(f"cancel-{name}", (), "customer asked"), now, KEEPER),
        Mail(to, CancelLines(f"cancel-{name}", (("no such line", 1),), "mistake"), now, KEEPER),
        Mail(key_of(base + 900_000 + number % 5), ScanOut(f"early-{name}"), now, KEEPER),
        Mail(to, TimerDue("payment", now), now, By("system", "timer")),
        Mail(to, ResendQuarantined(f"resend-{name}", f"first-{chance.randrange(1, 400)}"), now, KEEPER),
        Mail(to, DiscardQuarantined(f"discard-{name}", f"first-{chance.randrange(1, 400)}", "test"), now, KEEPER),
        Mail(intake_key("taobao", SHOP), AsideReport("taobao", SHOP, "hint", "push", name.encode()), now, CHANNEL),
        Mail(intake_key("douyin", "x"), AsideReport("douyin", "x", "refused", "no order", b"raw"), now, CHANNEL),
        Mail(intake_key("taobao", SHOP), RecordUnmatched(f"unmatched-{name}", "C1", "no order"), now, KEEPER),
        Mail(intake_key("taobao", SHOP), DiscardAside("none", "test"), now, KEEPER),
        Mail(to, ChannelPayload("nobody", "knows", "this"), now, CHANNEL),
        Mail("dragon-1", Tick(), now, KEEPER),
        Mail(CELL_KEY, Tick(), now, By("system", "clock")),
        Mail(warehouse_key("A"), ReceiveStock(f"more-{name}", (("SKU-1", 3),)), now, KEEPER),
        Mail(warehouse_key("A"), AdjustStock(f"count-{name}", "SKU-2", -1, "counted"), now, KEEPER),
        Mail(warehouse_key("A"), ProtectStock(f"keep-{name}", "SKU-3", 2), now, KEEPER),
        Mail(warehouse_key("A"), ScanOut("wrong actor"), now, KEEPER),
        Mail(to, ReceiveStock("wrong actor", ()), now, KEEPER),
    )
    return chance.choice(odd)
