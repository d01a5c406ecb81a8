"""A warehouse's day with the real command: what is next, a wrong scan, right ones, shipping; counting and moving."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running import Running, orderspine, until

pytestmark = pytest.mark.xdist_group("cli")
EAN = "6901234567892"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("floor") / "data", "--clock", "mail") as running:
        yield running


def trade(number: str, *lines: tuple[str, int], status: str = "WAIT_SELLER_SEND_GOODS") -> dict[str, Any]:
    orders = [
        {"oid": f"{number}{place}", "num": units, "price": "5.00", "payment": f"{5 * units}.00", "outer_sku_id": sku}
        for place, (sku, units) in enumerate(lines, 1)
    ]
    total = f"{5 * sum(units for _, units in lines)}.00"
    return {
        "tid": number,
        "status": status,
        "created": "2026-03-01 10:00:00",
        "pay_time": "2026-03-01 10:01:00",
        "modified": "2026-03-01 10:01:00",
        "payment": total,
        "total_fee": total,
        "receiver_name": "王小明",
        "receiver_mobile": "13800138000",
        "receiver_state": "浙江省",
        "receiver_city": "杭州市",
        "receiver_district": "西湖区",
        "receiver_address": "文三路 1 号",
        "orders": {"order": orders},
    }


def take_in(up: Running, folder: Path, *trades: dict[str, Any]) -> None:
    file = folder / "trades.jsonl"
    file.write_text("\n".join(json.dumps(each) for each in trades))
    assert up.run("ingest", file, "--shop", "s1").code == 0


def lists(up: Running) -> dict[str, dict[str, Any]]:
    return {row["order_no"]: row for row in up.run("pick", "list", "--json").json}


def test_goods_are_picked_by_scans_and_leave_once(up: Running, tmp_path: Path) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text(f"条码,商家编码\n{EAN},TEE-2\n")
    assert up.run("stock", "barcodes", "import", codes).code == 0
    assert up.run("stock", "barcodes", "list", "--json").json == [{"barcode": EAN, "sku": "TEE-2"}]
    assert up.run("stock", "receive", "TEE-10=20", "TEE-2=20", "MUG=5", "--document", "open").code == 0
    assert up.run("pick", "verified", "on").code == 0
    take_in(up, tmp_path, trade("31", ("TEE-10", 1), ("TEE-2", 2)), trade("32", ("MUG", 1)))
    until(lambda: set(lists(up)) == {"31", "32"})

    following = up.run("pick", "next", "--json").json
    assert [row["order_no"] for row in following["lists"]] == ["31"]
    assert [(stop["sku"], stop["units"]) for stop in following["walk"]] == [("TEE-2", 2), ("TEE-10", 1)]
    assert len(up.run("pick", "next", "--wave", "5", "--json").json["lists"]) == 2

    wrong = up.run("scan", "31", "MUG", "--command-id", "scan-wrong", "--json")
    assert wrong.code == 1
    assert (wrong.json["outcome"], "not on the pick list" in wrong.json["reason"]) == ("refused", True)
    assert up.run("scan", "31", "MUG", "--command-id", "scan-wrong", "--json").json["reason"] == wrong.json["reason"]
    history = up.run("audit", "history", "taobao:s1:31", "--json").json["events"]
    assert [event["tag"] for event in history].count("order.pick_error") == 1

    early = up.run("ship", "31", "--tracking", "SF31", "--carrier", "SF")
    assert early.code == 1
    assert "first scan" in early.out
    assert up.run("scan", "31", EAN, "--units", "2", "--json").json["open"] == 1
    assert up.run("scan", "31", EAN).code == 1, "one more than the list wants"
    assert "all of it is scanned" in up.run("scan", "31", "TEE-10").out
    until(lambda: lists(up)["31"]["open"] == 0)
    assert (lists(up)["31"]["errors"], lists(up)["32"]["open"]) == (2, 1)
    assert [row["order_no"] for row in up.run("pick", "next", "--json").json["lists"]] == ["32"]

    assert up.run("ship", "31", "--tracking", "SF31", "--carrier", "SF").code == 0
    assert up.run("ship", "31", "--tracking", "SF31", "--carrier", "SF").code == 1, "a double click sends no second one"
    until(lambda: "31" not in lists(up))
    assert [row["on_hand"] for row in up.run("stock", "show", "--sku", "TEE-2", "--json").json] == [18]
    assert up.run("scan", "32", "MUG", "--back").code == 1
    assert up.run("pick", "verified", "off").code == 0
    assert up.run("ship", "32", "--tracking", "SF32", "--carrier", "SF").code == 0


def test_a_held_order_is_shown_as_stopped_and_goes_when_it_is_cancelled(up: Running, tmp_path: Path) -> None:
    assert up.run("stock", "receive", "HAT=5", "--document", "hats").code == 0
    take_in(up, tmp_path, trade("33", ("HAT", 1)))
    until(lambda: "33" in lists(up))
    refund = trade("33", ("HAT", 1))
    refund["modified"] = "2026-03-01 11:00:00"
    refund["orders"]["order"][0]["refund_status"] = "WAIT_SELLER_AGREE"
    take_in(up, tmp_path, refund)
    until(lambda: lists(up)["33"]["stopped"])
    assert up.run("pick", "next", "--json").json["lists"] == []
    said = up.run("scan", "33", "HAT")
    assert said.code == 1
    assert "held" in said.out
    assert up.run("cancel", "33", "--reason", "refund").code == 0
    until(lambda: "33" not in lists(up))


def test_shelves_are_counted_moved_and_bought_again(up: Running, tmp_path: Path) -> None:
    assert up.run("stock", "receive", "CAP=10", "SOCK=10", "--document", "caps").code == 0
    take_in(up, tmp_path, trade("34", ("CAP", 4)))
    until(lambda: "34" in lists(up))
    assert up.run("stock", "reorder", "CAP", "5", "--target", "30").code == 0
    assert up.run("stock", "damage", "SOCK", "--by", "3", "--reason", "wet").code == 0
    assert up.run("stock", "scrap", "SOCK", "1", "--reason", "bin").code == 0
    file = tmp_path / "count.csv"
    file.write_text("sku,quantity\nCAP,3\nSOCK,8\n")
    counted = up.run("stock", "count", "--file", file, "--json")
    assert counted.code == 1
    assert "CAP: 3 counted, 4 promised" in counted.json["counts"][0]["reason"]
    again = up.run("stock", "count", "--file", file, "--json")
    assert (again.code, again.json["counts"][0]["outcome"]) == (1, "accepted"), "the same figures, counted once more"
    named = [up.run("stock", "count", "--file", file, "--document", "c-1", "--json").json["counts"] for _ in range(2)]
    assert [each[0]["outcome"] for each in named] == ["accepted", "repeated"]
    assert up.run("stock", "count", "SOCK=8").code == 0
    assert "no warehouse 'B' is known" in up.run("stock", "move", "SOCK=1", "--to", "B").err
    assert up.run("stock", "move", "SOCK=7", "--to", "B", "--new-warehouse").code == 1
    assert up.run("stock", "move", "CAP=2", "SOCK=6", "--to", "B", "--document", "m-1", "--new-warehouse").code == 0
    assert "重复 repeated" in up.run("stock", "move", "CAP=2", "SOCK=6", "--to", "B", "--document", "m-1").out
    until(lambda: len(up.run("stock", "low", "--json").json) == 1)
    (low,) = up.run("stock", "low", "--json").json
    assert (low["sku"], low["available"], low["to_order"]) == ("CAP", 4, 26)
    shown = {row["warehouse"]: row for row in up.run("stock", "show", "--sku", "SOCK", "--json").json}
    assert (shown["A"]["on_hand"], shown["A"]["damaged"], shown["A"]["available"]) == (2, 2, 0)
    assert shown["B"]["available"] == 6
    assert up.run("stock", "receive", "CAP=26", "--document", "caps-2").code == 0
    until(lambda: up.run("stock", "low", "--json").json == [])


def test_the_log_of_such_a_day_replays_to_the_same_states_and_rows(up: Running) -> None:
    assert up.run("audit", "verify").code == 0
    said = up.run("audit", "replay")
    assert said.code == 0, said


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["scan", "1", "S", "--units", "0"], 2, "--units: from 1"),
        (["stock", "count"], 2, "say what was found"),
        (["stock", "count", "A=1", "--file", "x.csv"], 2, "not both"),
        (["stock", "count", "A=-1"], 2, "from 0 to"),
        (["stock", "count", "--file", "nosuch.csv"], 2, "cannot be read"),
        (["stock", "move", "--to", "B"], 2, "say what goes"),
        (["stock", "move", "A=1", "--to", "A"], 2, "there already"),
        (["stock", "reorder", "A", "9" * 30], 2, "LEVEL: at most"),
        (["stock", "barcodes", "remove"], 2, "say which barcodes"),
        (["pick", "next", "--wave", "0"], 2, "--wave"),
        (["pick", "verified", "maybe"], 2, "maybe"),
        (["ship", "1", "--tracking", "T", "--carrier", "SF", "--lot", "S1=L"], 2, "needs a SKU, a lot and units"),
        (["ship", "1", "--tracking", "T", "--carrier", "SF", "--lot", "nosuch"], 2, "cannot be read"),
        (["pick", "list"], 4, "there is no OrderSpine data in"),
        (["stock", "low"], 4, "there is no OrderSpine data in"),
    ],
)
def test_wrong_use_says_what_to_do(words: list[str], code: int, sentence: str, tmp_path: Path) -> None:
    said = orderspine(*words, "--data", tmp_path / "nothing")
    assert (said.code, said.out) == (code, "")
    assert sentence in said.err
