"""What a channel's fields become and which SKU an item is, from the command line: tried, refused, applied, in force."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running import Running, orderspine, until

pytestmark = pytest.mark.xdist_group("cli")

MAPPING = """\
[lines]
path = "orders.order[]"
id = "oid"

[[field]]
from = "trade_memo_flag"
to = "invoice_type"
convert = "choice"
personal = false
[field.values]
1 = "normal"
2 = "vat"

[[field]]
from = "orders.order[].customization"
to = "personal.lines.attributes.engraving"
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("cli-mapping") / "data", "--clock", "mail") as running:
        yield running


def trade(number: str, **more: Any) -> dict[str, Any]:
    line = {"oid": f"{number}1", "num": 1, "price": "5.00", "payment": "5.00", "num_iid": 6500, "title": "电钻"}
    return {
        "tid": number,
        "status": "WAIT_SELLER_SEND_GOODS",
        "created": "2026-03-01 10:00:00",
        "pay_time": "2026-03-01 10:01:00",
        "modified": "2026-03-01 10:01:00",
        "payment": "5.00",
        "total_fee": "5.00",
        "trade_memo_flag": 2,
        "orders": {"order": [{**line, "customization": "老王"}]},
        **more,
    }


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def taken_in(up: Running, folder: Path, *trades: dict[str, Any]) -> None:
    file = written(folder, "trades.jsonl", "\n".join(json.dumps(each) for each in trades))
    assert up.run("ingest", file, "--shop", "s1").code in (0, 1)


def order_of(up: Running, number: str) -> dict[str, Any]:
    until(lambda: up.run("order", f"taobao:s1:{number}", "--json").code == 0)
    found: dict[str, Any] = up.run("order", f"taobao:s1:{number}", "--json").json
    return found


def test_a_payload_can_be_tried_without_anything_running(tmp_path: Path) -> None:
    payload = written(tmp_path, "trade.json", json.dumps(trade("8001")))
    candidate = written(tmp_path, "m.toml", MAPPING)
    said = orderspine(
        "channels", "map", "taobao", "--try", payload, "--with", candidate, "--shop", "s1", "--data", tmp_path, "--json"
    )
    assert said.code == 0
    (order,) = said.json["orders"]
    rows = {row["source"]: row for row in order["rows"]}
    assert rows["trade_memo_flag"]["now"]["mark"] == "sealed"
    assert rows["trade_memo_flag"]["then"] == {"mark": "mapped", "target": "invoice_type", "value": "vat"}
    engraving = rows["orders.order[0].customization"]
    assert engraving["now"]["target"].startswith("personal.")
    assert (engraving["then"]["line"], engraving["then"]["value"]) == ("80011", "老王")
    assert rows["orders.order[0].title"]["now"] == {"mark": "read", "target": "lines[0].name", "value": "电钻"}
    shown = orderspine("channels", "map", "taobao", "--try", payload, "--shop", "s1", "--data", tmp_path)
    assert shown.code == 0
    assert "lines[0].name" in shown.out


def test_a_payload_that_would_be_quarantined_says_why(tmp_path: Path) -> None:
    payload = written(tmp_path, "trade.json", json.dumps(trade("8001", trade_memo_flag=7)))
    candidate = written(tmp_path, "m.toml", MAPPING)
    words = ("channels", "map", "taobao", "--try", payload, "--shop", "s1", "--data", tmp_path)
    assert orderspine(*words).code == 0
    said = orderspine(*words, "--with", candidate)
    assert said.code == 1
    assert "line 5 of the mapping" in said.err


def test_a_bad_document_is_refused_with_its_line(tmp_path: Path) -> None:
    payload = written(tmp_path, "trade.json", json.dumps(trade("8001")))
    bad = written(tmp_path, "m.toml", MAPPING.replace('"invoice_type"', '"attributes.a.b"'))
    said = orderspine("channels", "map", "taobao", "--try", payload, "--with", bad, "--data", tmp_path)
    assert said.code == 1
    assert "m.toml: line 7: there is no target 'attributes.a.b'" in said.err
    assert orderspine("channels", "map", "nobody", "--data", tmp_path).code == 2
    assert orderspine("channels", "map", "pos", "--show", "--history", "--data", tmp_path).code == 2


def test_manual_capture_is_for_the_channel_that_has_it(tmp_path: Path) -> None:
    mapping = written(tmp_path, "m.toml", "[payment]\nmanual_capture = true\n")
    payload = written(tmp_path, "trade.json", json.dumps(trade("8001")))
    said = orderspine("channels", "map", "taobao", "--try", payload, "--with", mapping, "--data", tmp_path)
    assert (said.code, "m.toml: when an order of taobao is paid" in said.err) == (1, True)
    order = {"id": 1, "created_at": "2026-11-11T00:05:00-05:00", "updated_at": "2026-11-11T00:05:20-05:00"}
    order |= {"currency": "USD", "financial_status": "authorized", "fulfillment_status": None, "total_price": "98.00"}
    lines = [{"id": 11, "sku": "DRL-01", "title": "Drill", "quantity": 2, "price": "49.00"}]
    file = written(tmp_path, "order.json", json.dumps({**order, "line_items": lines}))
    words = ("channels", "map", "shopify", "--try", file, "--with", mapping, "--json", "--data", tmp_path)
    assert orderspine(*words).code == 0


def test_a_change_is_in_force_at_once_and_its_history_is_kept(up: Running, tmp_path: Path) -> None:
    first = up.run("channels", "map", "taobao")
    assert "version 0 (ships with the channel)" in first.err
    taken_in(up, tmp_path, trade("8101"))
    file = written(tmp_path, "m.toml", MAPPING)
    assert up.run("channels", "map", "taobao", "--apply", file).code == 2, "nobody said why"
    assert up.run("channels", "map", "taobao", "--apply", file, "--reason", "invoices").code == 0
    again = up.run("channels", "map", "taobao", "--apply", file, "--reason", "invoices", "--json")
    assert again.json["outcome"] == "repeated"
    taken_in(up, tmp_path, trade("8102"), trade("8103", trade_memo_flag=7))
    assert "invoice_type" not in order_of(up, "8101").get("attributes", {})
    mapped = order_of(up, "8102")
    assert (mapped["attributes"]["invoice_type"], mapped["mapping"]) == ("vat", 1)
    until(lambda: up.run("quarantine", "list", "--json").json)
    (kept,) = up.run("quarantine", "list", "--json").json
    assert "line 5 of the mapping" in kept["reason"]
    better = written(tmp_path, "better.toml", MAPPING.replace('2 = "vat"', '2 = "vat"\n7 = "none"'))
    assert up.run("channels", "map", "taobao", "--apply", better, "--reason", "one more word").code == 0
    assert up.run("quarantine", "resend", kept["id"]).code == 0
    until(lambda: order_of(up, "8103").get("attributes"))
    found = order_of(up, "8103")
    assert (found["attributes"]["invoice_type"], found["mapping"]) == ("none", 2)
    shown = up.run("channels", "map", "taobao", "--show", "--json").json
    assert (shown["version"], shown["text"]) == (2, better.read_text())
    history = up.run("channels", "map", "taobao", "--history", "--json").json
    assert [(each["version"], each["reason"]) for each in history] == [(1, "invoices"), (2, "one more word")]
    assert "one more word" in up.run("channels", "map", "taobao", "--history").out
    assert up.run("channels", "map", "taobao", "--shipped", "--json").json["version"] == 0


def test_a_tills_template_is_drafted_filled_in_tried_and_applied(up: Running, tmp_path: Path) -> None:
    file = written(tmp_path, "till.csv", "Bon;Zeit;Ware;Menge;Summe\n77;2026-03-02 10:00:00;A;1;10.00\n")
    assert "no channel recognises this" in up.run("ingest", file, "--shop", "s7").out
    draft = up.run("channels", "map", "pos", "--template", file)
    assert draft.code == 0, draft.err
    assert '"Bon" = ""' in draft.out
    text = draft.out
    for name, meaning in (("Bon", "recipt"), ("Zeit", "moment"), ("Ware", "sku"), ("Menge", "quantity")):
        text = text.replace(f'"{name}" = ""', f'"{name}" = "{meaning}"')
    text = text.replace('"Summe" = ""', '"Summe" = "line_amount"')
    mapping = written(tmp_path, "till.toml", text)
    number = text.splitlines().index('"Bon" = "recipt"') + 1
    bad = up.run("channels", "map", "pos", "--apply", mapping, "--reason", "our till")
    assert bad.code == 1
    assert f"till.toml: line {number}: there is no meaning 'recipt'" in bad.err
    mapping.write_text(text.replace("recipt", "receipt").replace("unique = false", "unique = true"))
    tried = up.run("channels", "map", "pos", "--try", file, "--with", mapping, "--shop", "s7", "--json").json
    (order,) = tried["orders"]
    assert (order["order_no"], order.get("then_error", "")) == ("77", "")
    assert order["now_error"], "as things are, nobody can read it"
    assert up.run("channels", "map", "pos", "--try", file, "--shop", "s7").code == 1
    assert up.run("channels", "map", "pos", "--apply", mapping, "--reason", "our till").code == 0
    assert up.run("channels", "map", "pos", "--try", file, "--shop", "s7").code == 0
    taken = up.run("ingest", file, "--shop", "s7", "--json")
    assert (taken.code, taken.json["channels"]) == (0, {"pos": {"accepted": 1}})
    until(lambda: up.run("orders", "--shop", "s7", "--json").json)
    (row,) = up.run("orders", "--shop", "s7", "--json").json
    assert row["order_no"] == "77"
    assert "reads no tables" in up.run("channels", "map", "taobao", "--template", file).err


def test_unmapped_items_are_listed_entered_and_let_their_orders_go(up: Running, tmp_path: Path) -> None:
    assert up.run("stock", "receive", "SKU-1=10", "--document", "D-9").code == 0
    taken_in(up, tmp_path, trade("8201"), trade("8202"))
    order_of(up, "8202")
    until(lambda: sum(row["orders"] for row in up.run("skus", "unmapped", "--json").json) >= 2)
    rows = up.run("skus", "unmapped", "--channel", "taobao", "--json").json
    assert [(row["shop"], row["item"], row["name"]) for row in rows] == [("s1", "6500", "电钻")]
    assert rows[0]["orders"] >= 2
    assert "6500" in up.run("skus", "unmapped").out
    file = written(tmp_path, "items.csv", "商品ID;SKU编码\n6500;SKU-1\n7000;SKU-2\n")
    place = ("--channel", "taobao", "--shop", "s1")
    assert up.run("skus", "import", file, *place).code == 0
    until(lambda: order_of(up, "8201")["state"] == "allocating")
    assert order_of(up, "8202")["items"][0]["sku"] == "SKU-1"
    assert up.run("skus", "unmapped", "--json").json == []
    assert up.run("skus", "import", file, *place, "--json").json["outcomes"] == {"repeated": 1}
    assert up.run("skus", "set", "7000", "SKU-3", *place).code == 0
    assert up.run("skus", "remove", "7000", *place).code == 0
    assert up.run("skus", "remove", "7000", *place).code == 1
    assert [(row["item"], row["sku"]) for row in up.run("skus", "list", *place, "--json").json] == [("6500", "SKU-1")]
    bad = written(tmp_path, "bad.csv", "item,sku\n6.5E+11,S\n,S\n")
    said = up.run("skus", "import", bad, *place)
    assert said.code == 1
    assert "row 2" in said.err
    assert "row 3: no item" in said.err


def test_an_item_of_a_channel_that_does_not_exist_is_refused(up: Running, tmp_path: Path) -> None:
    file = written(tmp_path, "items.csv", "item,sku\n1,SKU-1\n")
    for words in (("set", "1", "SKU-1"), ("import", str(file))):
        said = up.run("skus", *words, "--channel", "tabao", "--shop", "s1")
        assert said.code == 2
        assert "there is no channel 'tabao'; known are douyin" in said.err
    # One that got in before can be taken out.
    assert up.run("skus", "remove", "1", "--channel", "tabao", "--shop", "s1").code in (0, 1)
