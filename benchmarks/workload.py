"""The work that is measured: a backlog of Taobao orders, paid as they come, each scanned out with tracking later.

Eight events an order: received, normalized, paid, stock reserved, reserved, pick list issued, shipped, picked out.
Payloads are written here, in the real wire format, one or two lines an order, 1.2 KB on average.
"""

from collections.abc import Iterator

import msgspec

from domain.envelope import By
from domain.ids import order_key, warehouse_key
from domain.mail import ChannelPayload, Mail
from domain.order import ScanOut
from domain.stock import ReceiveStock

EVENTS_PER_ORDER = 8
SKUS = 200
BEGIN_MS = 1_794_326_400_000
SHOP = "hardware"
DAY = "2026-11-11"
_encode = msgspec.json.encode


def trade(number: int, day: str = DAY) -> tuple[str, bytes]:
    """Return order number and raw payload of the n-th order, placed on a day."""
    tid = 2_960_318_827_700_000_000 + number * 10_000 + 2_345
    second = number % 86_400
    created = f"{day} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    count = 2 if number % 5 == 0 else 1
    lines = [
        {
            "oid": tid + line + 1,
            "num_iid": 650_012_345_000 + (number * 7 + line) % SKUS,
            "sku_id": f"47110022{(number * 7 + line) % SKUS:05}",
            "outer_sku_id": f"SKU-{(number * 7 + line) % SKUS:04}",
            "title": "充电电钻 18V 锂电双速",
            "sku_properties_name": "规格:标准",
            "price": "329.00",
            "num": 1 + line,
            "discount_fee": "30.00",
            "total_fee": f"{329 * (1 + line) - 30}.00",
            "divide_order_fee": f"{329 * (1 + line) - 30}.00",
            "refund_status": "NO_REFUND",
            "status": "WAIT_SELLER_SEND_GOODS",
        }
        for line in range(count)
    ]
    total = sum(329 * (1 + line) for line in range(count))
    paid = total - 30 * count
    order = {
        "tid": tid,
        "tid_str": str(tid),
        "status": "WAIT_SELLER_SEND_GOODS",
        "type": "fixed",
        "created": created,
        "modified": created,
        "pay_time": created,
        "seller_nick": "五金旗舰店",
        "buyer_nick": f"t**{number % 10}",
        "buyer_open_uid": f"AAHd5f0xAAHk2bQp{number:08}",
        "total_fee": f"{total}.00",
        "payment": f"{paid}.00",
        "post_fee": "0.00",
        "discount_fee": "0.00",
        "receiver_name": "王**",
        "receiver_state": "浙江省",
        "receiver_city": "杭州市",
        "receiver_district": "西湖区",
        "receiver_town": "转塘街道",
        "receiver_address": "转塘街道**路**号",
        "receiver_mobile": f"*******{number % 10_000:04}",
        "oaid": f"1k5Xw2Lr9bQy{number:06}",
        "orders": {"order": lines},
    }
    return str(tid), _encode(order)


def mails(orders: int, day: str = DAY) -> Iterator[Mail]:
    """Yield the backlog: one receipt of stock, all orders as their channel sent them, then a scan for each."""
    stock = tuple((f"SKU-{number:04}", 10_000_000) for number in range(SKUS))
    keeper = By("person", "k-1", "keeper")
    channel = By("channel", "taobao")
    yield Mail(warehouse_key("A"), ReceiveStock("opening", stock), BEGIN_MS, keeper, "bench")
    keys = []
    for number in range(orders):
        order_no, raw = trade(number, day)
        key = order_key("taobao", SHOP, order_no)
        keys.append(key)
        yield Mail(key, ChannelPayload("taobao", SHOP, order_no, raw), BEGIN_MS + number, channel, "taobao/bench#1")
    for number, key in enumerate(keys):
        yield Mail(
            key, ScanOut(f"scan-{number}", f"SF{number:012}", "SF"), BEGIN_MS + orders + number, keeper, "bench/scan"
        )
