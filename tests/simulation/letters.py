"""What the world sends: histories of orders on three channels, stock, scans, trouble. Each carries its facts.

Facts are what the sender meant, known without any of the product's translation; the reference model goes by them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal, NamedTuple

import msgspec

from adapters.channels.pos_csv import channel as pos_channel
from domain import cellular, intake, stock
from domain.envelope import By
from domain.ids import CELL_KEY, intake_key, mapping_key, order_key, skus_key, warehouse_key
from domain.mail import AsideReport, Body, ChannelPayload, Mail, encode_mail
from domain.mapping import ChangeMapping
from domain.order import CancelLines, ScanOut
from domain.ports import Sliced
from domain.skus import SetSkus

BEGIN_MS = 1_794_326_400_000
"""2026-11-10 16:00 UTC: midnight of the great sale."""
SECRET = "Pii"
"""Every name, phone, address and remark holds it; no envelope, event or reason may."""
LEDGER = warehouse_key("A")
SKUS = ("DRILL", "BIT", "TAPE", "SAW")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_json = msgspec.json.encode
_pos = pos_channel("Asia/Shanghai")

Status = Literal["awaiting_payment", "paid", "allocating", "shipped", "completed", "cancelled"]


class Item(NamedTuple):
    """A line as its channel sees it."""

    id: str
    sku: str
    units: int
    state: Literal["open", "shipped", "cancelled"] = "open"
    after_sale: Literal["", "open", "refunded", "closed"] = ""


class View(NamedTuple):
    """A channel's view of an order."""

    channel: str
    order_no: str
    status: Status
    modified: int
    """Seconds behind `BEGIN_MS`."""
    items: tuple[Item, ...]
    created: int = 0
    held: bool = False
    address: int = 0
    counter: bool = False
    pay_by: int = 0
    """Seconds behind `BEGIN_MS`; 0 = the channel names none."""
    paid: bool = False
    rows: int = 0
    """Completeness, where times cannot tell."""
    marks: tuple[str, ...] = ()
    """What is special about it: see `shop.MARKS`."""
    presale: bool = False
    deposit: int = 0
    """Minor units."""
    buyer: int = 0


class GoodsBack(NamedTuple):
    """Goods of a counter sale came back."""

    reference: str
    lines: tuple[tuple[str, int], ...]


class Letter(NamedTuple):
    """One message and what it means."""

    mail: Mail
    facts: View | GoodsBack | Literal["broken", "command", "nobody", "garbage"]
    payload: bytes
    silent: bool = False
    """Whether it may rightly leave no event."""


def key_of(channel: str, order_no: str) -> str:
    return order_key(channel, "shop", order_no)


def letter(to: str, body: Body, facts: Any, by: By, now_ms: int, *, silent: bool = False) -> Letter:
    mail = Mail(to, body, now_ms, by, "simulation")
    return Letter(mail, facts, encode_mail(mail), silent)


def item_of(channel: str, line: str) -> str:
    """Return the channel's own id of what a line is of."""
    return f"{'6500' if channel == 'taobao' else '35'}{line}"


# --- wire formats


def _text(second: int) -> str:
    at = _EPOCH + timedelta(milliseconds=BEGIN_MS + second * 1000, hours=8)
    return f"{at:%Y-%m-%d %H:%M:%S}"


_TAOBAO = {
    "awaiting_payment": "WAIT_BUYER_PAY",
    "paid": "WAIT_SELLER_SEND_GOODS",
    "allocating": "SELLER_CONSIGNED_PART",
    "shipped": "WAIT_BUYER_CONFIRM_GOODS",
    "completed": "TRADE_FINISHED",
    "cancelled": "TRADE_CLOSED",
}
_REFUND = {"": "NO_REFUND", "open": "WAIT_SELLER_AGREE", "refunded": "SUCCESS", "closed": "CLOSED"}


def taobao(view: View) -> bytes:
    """Write the view as Taobao does."""
    lines = []
    total = 0
    for item in view.items:
        total += 10 * item.units
        line: dict[str, Any] = {
            "oid": item.id,
            "num_iid": item_of("taobao", item.id),
            "outer_sku_id": item.sku,
            "title": f"goods {item.id}",
            "price": "10.00",
            "num": item.units,
            "payment": f"{10 * item.units}.00",
            "refund_status": _REFUND[item.after_sale],
        }
        if item.state == "shipped" and view.status == "allocating":
            line |= {"consign_time": _text(view.modified), "invoice_no": f"T{item.id}", "logistics_company": "SF"}
        lines.append(line)
    trade: dict[str, Any] = {
        "tid": view.order_no,
        "status": _TAOBAO[view.status],
        "created": _text(view.created),
        "modified": _text(view.modified),
        "payment": f"{total}.00",
        "total_fee": f"{total}.00",
        "buyer_nick": f"{SECRET}Nick{view.order_no}",
        "receiver_name": f"{SECRET}Name",
        "receiver_state": "浙江省",
        "receiver_address": f"{SECRET}Street {view.address}",
        "receiver_mobile": f"{SECRET}13800000000",
        "buyer_message": f"{SECRET}Message",
        "unheard_of": f"{SECRET}Field",
        "forbid_consign": view.held,
        "orders": {"order": lines},
    }
    if view.paid:
        trade["pay_time"] = _text(view.created + 1)
    if view.status in ("shipped", "completed"):
        trade["consign_time"] = _text(view.modified)
    if view.status in ("completed", "cancelled"):
        trade["end_time"] = _text(view.modified)
    if view.pay_by:
        trade["timeout_action_time"] = _text(view.pay_by)
    return _json(trade)


_DOUYIN = {"awaiting_payment": 1, "paid": 2, "allocating": 101, "shipped": 3, "completed": 5, "cancelled": 4}
_DOUYIN_AFTER = {"": (0, 0), "open": (6, 0), "refunded": (12, 3), "closed": (28, 0)}


def douyin(view: View) -> bytes:
    """Write the view as Douyin does."""
    begin = BEGIN_MS // 1000
    code = 105 if view.held else _DOUYIN[view.status]
    lines = []
    total = 0
    for item in view.items:
        total += 1000 * item.units
        after, refund = _DOUYIN_AFTER[item.after_sale]
        status = {"shipped": 3, "cancelled": 4}.get(item.state, code) if view.status == "allocating" else code
        line = {
            "order_id": item.id,
            "parent_order_id": view.order_no,
            "main_status": status,
            "product_id": item_of("douyin", item.id),
            "product_name": f"goods {item.id}",
            "code": item.sku,
            "item_num": item.units,
            "origin_amount": 1000,
            "pay_amount": 1000 * item.units,
            "after_sale_info": {"after_sale_status": after, "refund_status": refund},
        }
        lines.append(line)
    order: dict[str, Any] = {
        "order_id": view.order_no,
        "order_status": _DOUYIN[view.status],
        "main_status": code,
        "create_time": begin + view.created,
        "update_time": begin + view.modified,
        "pay_time": begin + view.created + 1 if view.paid else 0,
        "ship_time": begin + view.modified if view.status in ("shipped", "completed") else 0,
        "finish_time": begin + view.modified if view.status in ("completed", "cancelled") else 0,
        "order_amount": total,
        "pay_amount": total,
        "post_amount": 0,
        "doudian_open_id": f"{SECRET}Open{view.order_no}",
        "encrypt_post_receiver": f"{SECRET}Name",
        "encrypt_post_tel": f"{SECRET}Phone",
        "post_addr": {"province": {"name": "浙江省"}, "encrypt_detail": f"{SECRET}Street {view.address}"},
        "buyer_words": f"{SECRET}Words",
        "unheard_of": f"{SECRET}Field",
        "sku_order_list": lines,
    }
    if view.pay_by:
        order["order_expire_time"] = begin + view.pay_by
    return _json(order)


_HEADER = "小票号,门店编号,收银员,销售时间,行号,商品编码,商品名称,数量,单价,小计,备注,状态"


def receipt(number: str, second: int, items: tuple[Item, ...], *, void: bool = False, back_to: str = "") -> bytes:
    """Write a till's receipt and have the channel cut it out of its file, as an edge does."""
    sign = -1 if back_to else 1
    remark = f"退货 原单 {back_to}" if back_to else f"{SECRET}Remark"
    rows = [
        f"{number},shop,{SECRET}Cashier,{_text(second)},{item.id},{item.sku},goods,{sign * item.units},10.00,"
        f"{sign * 10 * item.units}.00,{remark},{'作废' if void else ''}"
        for item in items
    ]
    (piece,) = _pos.identify("\n".join((_HEADER, *rows)).encode(), "shop")
    assert isinstance(piece, Sliced), piece
    return piece.raw


# --- histories


def histories(chance: Random, orders: int) -> list[Letter]:
    """Return the letters of some orders' lives, still in order; the world shuffles and copies them."""
    found: list[Letter] = []
    for number in range(orders):
        if chance.random() < 0.15:
            found += _counter_sale(chance, number)
            continue
        channel = chance.choice(("taobao", "douyin"))
        views = list(_life(chance, channel, f"{7000 + number}"))
        found += [channel_letter(view, chance) for view in views]
        if chance.random() < 0.1:
            found.append(_broken(chance, views[-1]))
    return found


def channel_letter(view: View, chance: Random) -> Letter:
    raw = taobao(view) if view.channel == "taobao" else douyin(view)
    body = ChannelPayload(view.channel, "shop", view.order_no, raw)
    now_ms = BEGIN_MS + view.modified * 1000 + chance.randrange(5_000)
    return letter(key_of(view.channel, view.order_no), body, view, By("channel", view.channel), now_ms)


def _life(chance: Random, channel: str, order_no: str) -> Iterator[View]:
    """Tell one order's life as its channel sees it; each view is newer than the one before."""
    created = second = chance.randrange(3600)
    items = tuple(
        Item(f"{order_no}{line}", chance.choice(SKUS), chance.randrange(1, 4))
        for line in range(chance.choice((1, 1, 2, 3)))
    )
    if chance.random() < 0.1:
        items = (items[0]._replace(sku=""), *items[1:])
    view = View(channel, order_no, "awaiting_payment", second, items, created)

    def later(**changes: Any) -> View:
        nonlocal view, second
        second += chance.randrange(1, 900)
        view = view._replace(modified=second, **changes)
        return view

    if chance.random() < 0.6:
        yield later(pay_by=created + chance.randrange(600, 5400) if chance.random() < 0.5 else 0)
        if chance.random() < 0.2:
            yield later(pay_by=created + chance.randrange(5400, 9000))
        if chance.random() < 0.2:
            yield later(status="cancelled", items=_all(items, "cancelled"), pay_by=0)
            return
    view = view._replace(paid=True, pay_by=0)
    yield later(status="paid", held=chance.random() < 0.15)
    while chance.random() < 0.35:
        match chance.randrange(3):
            case 0:
                items = tuple(item._replace(units=chance.randrange(1, 4)) for item in items)
            case 1:
                items = tuple(item._replace(sku=item.sku or chance.choice(SKUS)) for item in items)
            case _:
                view = view._replace(address=view.address + 1)
        yield later(items=items, held=view.held and chance.random() < 0.5)
    if chance.random() < 0.15:
        asked = (items[0]._replace(after_sale="open"), *items[1:])
        yield later(items=asked, held=False)
        yield later(items=items)
    if chance.random() < 0.15:
        yield later(status="cancelled", items=_all(items, "cancelled"), held=False)
        return
    if chance.random() < 0.3:
        return
    if len(items) > 1 and chance.random() < 0.5:
        yield later(status="allocating", items=(items[0]._replace(state="shipped"), *items[1:]), held=False)
    items = _all(items, "shipped")
    yield later(status="shipped", items=items, held=False)
    if chance.random() < 0.3:
        yield later(items=(items[0]._replace(after_sale="open"), *items[1:]))
        if chance.random() < 0.7:
            items = (items[0]._replace(after_sale=chance.choice(("refunded", "closed"))), *items[1:])
            yield later(items=items)
    if chance.random() < 0.5:
        yield later(status="completed", items=items)


def _all(items: tuple[Item, ...], state: Literal["shipped", "cancelled"]) -> tuple[Item, ...]:
    return tuple(item._replace(state=state) for item in items)


def _counter_sale(chance: Random, number: int) -> Iterator[Letter]:
    """A sale over the counter, perhaps imported half at first, voided, or brought back."""
    second = chance.randrange(3600)
    name = f"P-20261111-{number:04}"
    order_no = f"20261111-{name}"
    items = tuple(
        Item(str(line + 1), sku, chance.randrange(1, 4))
        for line, sku in enumerate(chance.sample(SKUS, chance.choice((1, 2))))
    )
    by = By("channel", "pos")

    def sale(items: tuple[Item, ...], *, void: bool = False) -> Letter:
        raw = receipt(name, second, items, void=void)
        status: Status = "cancelled" if void else "completed"
        shown = _all(items, "cancelled" if void else "shipped")
        view = View("pos", order_no, status, second, shown, second, counter=True, paid=not void, rows=len(items))
        return letter(key_of("pos", order_no), ChannelPayload("pos", "shop", order_no, raw), view, by, BEGIN_MS)

    if len(items) > 1 and chance.random() < 0.5:
        yield sale(items[:1])
    yield sale(items)
    if chance.random() < 0.2:
        yield sale(items, void=True)
        return
    for go in range(chance.choice((0, 0, 1, 2))):
        back = items[0]._replace(units=chance.randrange(1, 3))
        own = f"P-20261111-9{number:02}{go}"
        raw = receipt(own, second + 60 + go, (back,), back_to=name)
        facts = GoodsBack(f"20261111-{own}", ((back.sku, back.units),))
        yield letter(key_of("pos", order_no), ChannelPayload("pos", "shop", order_no, raw), facts, by, BEGIN_MS)


def _broken(chance: Random, view: View) -> Letter:
    """A payload of a real order that nobody can translate."""
    raw = chance.choice(
        (
            b'{"tid": "1", "receiver_name": "' + SECRET.encode() + b'Name", "status"',
            _json({"tid": view.order_no, "status": "NEVER_HEARD_OF", "receiver_name": f"{SECRET}Name"}),
            _json({"order_id": view.order_no, "order_status": 9999, "buyer_words": f"{SECRET}Words"}),
        )
    )
    body = ChannelPayload(chance.choice((view.channel, "myspace")), "shop", view.order_no, raw)
    return letter(key_of(view.channel, view.order_no), body, "broken", By("channel", view.channel), BEGIN_MS)


# --- everything else


def stock_letter(chance: Random, number: int, now_ms: int) -> Letter:
    """Goods come in, or a count finds another figure."""
    keeper = By("person", "k1", "keeper")
    sku = chance.choice(SKUS)
    body: Body
    match chance.randrange(8):
        case 0:
            body = stock.AdjustStock(f"count-{number}", sku, chance.randrange(-4, 5) or 1, "counted")
        case 1:
            body = stock.ProtectStock(f"protect-{number}", sku, chance.randrange(4))
        case _:
            lines = tuple((each, chance.randrange(1, 12)) for each in chance.sample(SKUS, chance.randrange(1, 4)))
            body = stock.ReceiveStock(f"in-{number}", lines)
    return letter(LEDGER, body, "command", keeper, now_ms)


def stray_letter(chance: Random, number: int, now_ms: int) -> Letter:
    """Something that fits nowhere, or fits without being an order's."""
    raw = f"{SECRET}{number}".encode()
    by = By("channel", "taobao")
    aside = intake_key("taobao", "shop")
    match chance.randrange(6):
        case 0:
            mail = Mail(aside, AsideReport("taobao", "shop", "hint", "fetch it", raw, order_no="1"), now_ms, by)
        case 1:
            mail = Mail(aside, AsideReport("taobao", "shop", "quarantined", "what is it?", raw), now_ms, by)
        case 2:
            mail = Mail(aside, intake.RecordUnmatched(f"unmatched-{number}", "cancellation", "no order"), now_ms, by)
        case 3:
            mail = Mail(f"nobody-{number}", AsideReport("x", "y", "hint", "", raw), now_ms, by)
            return Letter(mail, "nobody", encode_mail(mail))
        case 4:
            mail = Mail(aside, intake.DiscardAside(f"none-{number}", "tidy"), now_ms, by)
        case _:
            mail = Mail(aside, AsideReport("taobao", "shop", "ignored", "", raw), now_ms, by)
            return Letter(mail, "garbage", chance.randbytes(chance.randrange(1, 40)))
    return Letter(mail, "command", encode_mail(mail))


def scan_letter(chance: Random, to: str, number: int, now_ms: int) -> Letter:
    """The keeper scans a parcel out."""
    tracking = f"SF{number}" if chance.random() < 0.7 else ""
    body = ScanOut(f"scan-{number}", tracking, tracking and "SF")
    return letter(to, body, "command", By("person", "k1", "keeper"), now_ms, silent=not tracking)


def cancel_letter(chance: Random, to: str, line: str, number: int, now_ms: int) -> Letter:
    """Service cancels a line's units, or everything."""
    lines = ((line, chance.randrange(1, 3)),) if line and chance.random() < 0.6 else ()
    body = CancelLines(f"cancel-{number}", lines, "changed their mind")
    return letter(to, body, "command", By("person", "s1", "service"), now_ms, silent=not lines)


def skus_letter(channel: str, lines: list[str], number: int, now_ms: int) -> Letter:
    """Somebody enters which SKUs some lines' items are; an item is always the same."""
    pairs = tuple((item_of(channel, line), SKUS[int(line) % len(SKUS)]) for line in lines)
    body = SetSkus(f"skus-{number}", pairs, "list")
    return letter(skus_key(channel, "shop"), body, "command", By("person", "o1", "operations"), now_ms, silent=True)


def mapping_letter(chance: Random, number: int, now_ms: int) -> Letter:
    """Somebody changes how a channel's fields are read; one in four has a fault in the document."""
    channel = chance.choice(("taobao", "douyin", "pos"))
    text = (
        f'note = "{number}"\n[[field]]\nfrom = "unheard_of"\nto = "personal.attributes.known"\n'
        f'[[field]]\nfrom = "nowhere"\nto = "attributes.read_by"\npersonal = false\ndefault = {number}\n'
    )
    if chance.random() < 0.25:
        text += "[[field]]\n"
    body = ChangeMapping(f"mapping-{number}", text, "the till has a new column")
    return letter(mapping_key(channel), body, "command", By("person", "o1", "operations"), now_ms)


def tick(now_ms: int) -> Letter:
    """Time has passed: what a simulated or historic run says to move the mail's clock on."""
    return letter(CELL_KEY, cellular.Tick(), "command", By("system", "clock"), now_ms, silent=True)
