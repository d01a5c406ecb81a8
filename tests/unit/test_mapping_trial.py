"""What each field of a payload becomes is told by changing it, never by values that happen to be equal."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.channels import load
from domain.canonical import Status
from domain.mapping import SHIPPED
from domain.ports import Sliced
from runners import mapping_trace
from runners.mapping_trial import Became, try_payload
from tests.channel_samples import ORDERED_MS, cut, encoded
from tests.channel_samples import SAMPLES as WRITTEN

ZONE = "Asia/Shanghai"
CHANNELS = load((), merchant_zone=ZONE)
SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples"
RECEIPT = """\
小票号,门店编号,门店名称,销售时间,行号,货号,商品名称,数量,单价,金额,实收金额
R1,S1,一店,2026-11-11 09:12:33,1,SKU-1,钻,1,10.00,10.00,30.00
R1,S1,一店,2026-11-11 09:12:33,2,SKU-2,头,2,10.00,20.00,
"""
GOODS = {
    "goods_id": "25252",
    "sku_id": "51972",
    "outer_id": "DRL-1",
    "goods_name": "电钻",
    "goods_price": 10,
    "goods_count": 2,
}
PINDUODUO = {
    "order_sn": "261111-999",
    "created_time": "2026-11-11 00:04:01",
    "pay_time": "2026-11-11 00:04:10",
    "updated_at": "2026-11-11 00:04:12",
    "confirm_status": 1,
    "order_status": 1,
    "refund_status": 1,
    "group_status": 1,
    "goods_amount": 40,
    "pay_amount": 40,
    "receiver_name": "~Ag~",
    "item_list": [{**GOODS, "goods_img": "http://a"}, {**GOODS, "goods_img": "http://b"}],
}


def told(name: str, raw: bytes | str) -> dict[str, list[Became]]:
    """Return what each field becomes, by its path."""
    channel = CHANNELS[name]
    pieces = channel.identify(raw.encode() if isinstance(raw, str) else raw, "s")
    piece = next(each for each in pieces if isinstance(each, Sliced))
    trial = try_payload(channel, piece, ZONE, SHIPPED)
    assert not trial.now_error
    found: dict[str, list[Became]] = {}
    for row in trial.rows:
        found.setdefault(row.source, []).append(row.now)
    return found


def targets(found: dict[str, list[Became]]) -> dict[str, list[str]]:
    return {path: [f"{each.mark} {each.target}".strip() for each in its] for path, its in found.items()}


def sample(name: str) -> bytes:
    if not SAMPLES.exists():
        pytest.skip("the reference samples are not here")
    return (SAMPLES / name).read_bytes()


def test_a_receipts_columns_are_told_apart_though_their_values_are_alike() -> None:
    found = told("pos", RECEIPT)
    assert found["金额"] == [Became("read", "lines[0].amount", 1000)]
    assert {path: its for path, its in targets(found).items() if not path.startswith("rows[0]")} == {
        "小票号": ["read order_no", "attribute attributes.receipt_no"],
        "门店编号": ["read shop"],
        "门店名称": ["attribute attributes.store_name"],
        "销售时间": ["read ordered_at", "read modified_at", "read paid_at", "read shipped_at"],
        "行号": ["read lines[0].id"],
        "货号": ["read lines[0].sku"],
        "商品名称": ["read lines[0].name"],
        "数量": ["read lines[0].quantity"],
        "单价": ["read lines[0].unit_price"],
        "金额": ["read lines[0].amount"],
        "实收金额": ["read amounts.paid"],
        "rows[1].小票号": ["read order_no", "attribute attributes.receipt_no"],
        "rows[1].门店编号": ["read shop"],
        "rows[1].门店名称": ["attribute attributes.store_name"],
        "rows[1].销售时间": ["read ordered_at", "read modified_at", "read paid_at", "read shipped_at"],
        "rows[1].行号": ["read lines[1].id"],
        "rows[1].货号": ["read lines[1].sku"],
        "rows[1].商品名称": ["read lines[1].name"],
        "rows[1].数量": ["read lines[1].quantity"],
        "rows[1].单价": ["read lines[1].unit_price"],
        "rows[1].金额": ["read lines[1].amount"],
        "rows[1].实收金额": ["left"],
    }


def test_lines_of_the_same_goods_keep_their_fields_apart() -> None:
    found = told("pinduoduo", json.dumps(PINDUODUO))
    for place, line_id in ((0, "51972"), (1, "51972#2")):
        item, line = f"item_list[{place}]", f"lines[{place}]"
        assert targets({path: its for path, its in found.items() if path.startswith(item)}) == {
            f"{item}.goods_id": [f"read {line}.item"],
            f"{item}.sku_id": [f"read {line}.id", f"read {line}.item"],
            f"{item}.outer_id": [f"read {line}.sku"],
            f"{item}.goods_name": [f"read {line}.name"],
            f"{item}.goods_price": [f"read {line}.unit_price"],
            f"{item}.goods_count": [f"read {line}.quantity"],
            f"{item}.goods_img": [f"attribute {line}.attributes.goods_img"],
        }
        assert found[f"{item}.sku_id"][0].value == line_id
    order = targets(found)
    assert order["order_status"] == ["read native_status", "read status"]
    assert order["pay_amount"] == ["read amounts.payable", "read amounts.paid"]
    assert order["receiver_name"] == ["sealed personal.receiver.name"]


TAOBAO = {
    "tid": ["read order_no"],
    "tid_str": ["read order_no"],
    "status": ["read native_status"],
    "type": ["attribute attributes.type"],
    "created": ["read ordered_at"],
    "modified": ["read modified_at"],
    "pay_time": ["read paid_at"],
    "total_fee": ["read amounts.goods"],
    "payment": ["read amounts.payable", "read amounts.paid"],
    "post_fee": ["read amounts.freight"],
    "buyer_open_uid": ["sealed personal.customer_id"],
    "receiver_state": ["sealed personal.receiver.province", "read region"],
    "orders.order[0].oid": ["read lines[0].id"],
    "orders.order[0].sku_id": ["read lines[0].item"],
    "orders.order[0].num": ["read lines[0].quantity"],
    "orders.order[0].price": ["read lines[0].unit_price"],
    "orders.order[0].divide_order_fee": ["read lines[0].amount"],
    "orders.order[0].status": ["read"],
    "orders.order[2].num": ["read lines[2].quantity"],
    "seller_memo": ["sealed personal.messages.seller_memo"],
    "alipay_no": ["sealed personal.attributes.alipay_no"],
    "service_orders.service_order[0].num": ["attribute attributes.service_package[0].num"],
}


def test_a_taobao_trade_is_told_field_by_field() -> None:
    found = targets(told("taobao", sample("taobao/paid_multi_item.json")))
    assert {path: found[path] for path in TAOBAO} == TAOBAO
    assert [path for path, its in found.items() if its == ["unknown"]] == []


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        (
            "pinduoduo",
            "pinduoduo/paid_single.json",
            {
                "order_sn": ["read order_no"],
                "postage": ["read amounts.freight"],
                "discount_amount": ["read amounts.discount", "read lines[0].discount"],
                "item_list[0].goods_count": ["read lines[0].quantity"],
            },
        ),
        (
            "pos",
            "pos_csv/receipts_gbk.csv",
            {
                "收银员": ["sealed personal.attributes.cashier"],
                "条码": ["read lines[0].item"],
                "小计": ["read lines[0].amount"],
                "会员卡号": ["sealed personal.customer_id"],
                "rows[1].折扣金额": ["read lines[1].discount"],
            },
        ),
    ],
)
def test_samples_of_the_reference_are_told_field_by_field(name: str, file: str, expected: dict[str, Any]) -> None:
    found = targets(told(name, sample(file)))
    assert {path: found[path] for path in expected} == expected


@pytest.mark.parametrize("name", sorted(WRITTEN))
@pytest.mark.parametrize("status", ["awaiting_payment", "shipped", "cancelled"])
def test_every_field_of_every_channel_is_looked_at(name: str, status: Status) -> None:
    written = WRITTEN[name]
    piece = cut(written, encoded(written.make(1, status, ORDERED_MS, ORDERED_MS + 60_000)))
    trial = try_payload(written.channel, piece, ZONE, SHIPPED)
    assert (trial.now_error, [row.source for row in trial.rows if row.now.mark == "unknown"]) == ("", [])
    told = {row.now.target for row in trial.rows}
    assert {"order_no", "ordered_at", "lines[0].quantity"} <= told


def test_a_field_that_cannot_be_changed_alone_is_read_and_not_guessed() -> None:
    found = targets(told("taobao", sample("taobao/paid_multi_item.json")))
    assert found["orders.order[0].refund_status"] == ["read"]


def test_more_fields_than_are_looked_at_are_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping_trace, "LEAVES_MAX", 2)
    found = targets(told("pinduoduo", json.dumps(PINDUODUO)))
    assert (found["created_time"], found["pay_time"]) == (["read ordered_at"], ["unknown"])
