"""Buyers from the command line: terms go in through the mail, rules ask of them, and what is owed is shown."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import Running, Said, orderspine, until

pytestmark = pytest.mark.xdist_group("cli")
RULES = """\
format = 1
[[intercept]]
id = "dealers-price"
when = 'customer("grade") == "dealer" and customer("price_differs") == True'
reason = "price_list"
evidence = "{payable}"
advice = "correct the price"
role = "sales"
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("cli-buyers") / "data", "--clock", "mail") as running:
        yield running


def done(*words: object) -> Said:
    """Run a command line that must succeed."""
    said = orderspine(*words)
    assert said.code == 0, said.err
    return said


def written(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(text)
    return str(file)


def test_a_dealers_price_list_is_kept_to(up: Running, tmp_path: Path) -> None:
    data = str(up.data)
    prices = written(tmp_path, "prices.csv", "sku,price\nS1,4.50\n")
    terms = ("--channel", "taobao", "--customer", "uid-7", "--grade", "dealer", "--tag", "vip", "--credit", "500")
    done("buyers", "set", *terms, "--prices", prices, "--data", data, "--json")
    rules = written(tmp_path, "rules.toml", RULES)
    done("rules", "apply", rules, "--reason", "price lists", "--data", data)
    line = {
        "oid": "901",
        "num": 1,
        "price": "5.00",
        "payment": "5.00",
        "num_iid": 6500,
        "title": "a",
        "outer_sku_id": "S1",
    }
    for number, uid in (("77", "uid-7"), ("78", "uid-8")):
        trade = {
            "tid": number, "status": "WAIT_SELLER_SEND_GOODS", "created": "2026-03-01 10:00:00",
            "pay_time": "2026-03-01 10:01:00", "modified": "2026-03-01 10:01:00", "payment": "5.00",
            "total_fee": "5.00", "buyer_open_uid": uid, "orders": {"order": [{**line, "oid": f"{number}1"}]},
        }  # fmt: skip
        raw = written(tmp_path, f"{number}.json", json.dumps(trade))
        done("ingest", raw, "--channel", "taobao", "--shop", "s", "--data", data)

    def reasons(number: str) -> list[str]:
        said = orderspine("order", number, "--data", data, "--json")
        return [] if said.code else [each["reason"] for each in said.json.get("interceptions", ())]

    until(lambda: "price_list" in reasons("77"))
    assert "price_list" not in reasons("78")
    (known,) = done("buyers", "list", "--data", data, "--json").json
    assert (known["grade"], known["credit_limit"], known["prices"]) == ("dealer", 50_000, {"S1": 450})
    assert "uid-7" not in known["buyer"]


def test_terms_are_not_kept_for_a_channel_that_there_is_not(up: Running) -> None:
    said = up.run("buyers", "set", "--channel", "taoboa", "--customer", "uid-7", "--credit", "500")
    assert (said.code, "there is no channel 'taoboa'; known are " in said.err) == (2, True)


@pytest.mark.parametrize(("text", "said"), [
    ("sku,price\n,4\n", "row 2: no SKU"), ("item,price\nS1,4\n", "columns sku and price"),
    ("sku,price\nS1,4\nS1,5\n", "two prices of S1"), ("sku,price\nS1,much\n", "row 2"),
])  # fmt: skip
def test_a_price_list_with_a_mistake_changes_nothing(up: Running, tmp_path: Path, text: str, said: str) -> None:
    prices = written(tmp_path, "bad.csv", text)
    terms = ("--channel", "taobao", "--customer", "uid-9", "--prices", prices)
    ended = orderspine("buyers", "set", *terms, "--data", str(up.data))
    assert ended.code == 2
    assert said in ended.err
