"""The channels that docs/channel-fields.md shows work as they stand there, from the settings to the order."""

import json
from pathlib import Path

import pytest

from adapters.channels import load
from domain.canonical import Translated, TranslationError
from domain.ports import Aside, Sliced
from tests.integration.running import Running, until

CHANNELS = load(("examples.webshop", "examples.till"))
ORDER = {
    "web_order": "W-1001",
    "placed": "2026-03-01 10:00:00",
    "changed": "2026-03-01 10:05:00",
    "state": "paid",
    "total": "39.80",
    "campaign": "spring",
    "wish": "blue, please",
    "buyer": {"name": "李四"},
    "lines": [{"sku": "A-1", "units": 2, "price": "19.90", "engrave": "for Li"}],
}


def translated(name: str, raw: bytes) -> Translated:
    (piece,) = CHANNELS[name].identify(raw, "mine")
    assert isinstance(piece, Sliced)
    found = CHANNELS[name].translate(piece.raw, piece.shop)
    assert isinstance(found, Translated)
    return found


def test_each_field_of_the_web_shop_has_its_place() -> None:
    found = translated("webshop", json.dumps(ORDER).encode())
    snapshot = found.snapshot
    assert (snapshot.order_no, snapshot.status, snapshot.native_status) == ("W-1001", "paid", "paid")
    assert (snapshot.amounts.payable, snapshot.amounts.paid, snapshot.lines[0].quantity) == (3_980, 3_980, 2)
    assert (snapshot.attributes, found.personal.attributes) == ({"campaign": "spring"}, {"wish": "blue, please"})
    assert found.personal.line_attributes == {"1": {"engrave": "for Li"}}
    assert found.personal.receiver == {"name": "李四"}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"state": "lost"}, "state"),
        ({"placed": ""}, "placed"),
        ({"total": "-1.00"}, "total"),
        ({"lines": [{"units": 0}]}, "lines[0].units"),
        ({"lines": []}, "lines"),
        ({"lines": [7]}, "lines[0]"),
        ({"buyer": 7}, "buyer"),
    ],
)
def test_what_cannot_be_told_is_named(change: dict[str, object], where: str) -> None:
    with pytest.raises(TranslationError) as caught:
        CHANNELS["webshop"].translate(json.dumps({**ORDER, **change}).encode(), "mine")
    assert caught.value.where == where


@pytest.mark.parametrize("raw", [b'{"web_order": ', b'{"web_order": ""}', b"[]"])
def test_what_is_no_order_is_set_aside(raw: bytes) -> None:
    (aside,) = CHANNELS["webshop"].identify(raw, "mine")
    assert isinstance(aside, Aside)
    assert aside.reason


def test_a_till_with_a_template_is_read() -> None:
    found = translated("till", "Beleg;Zeit;Artikel;Stück;Summe\nR-7;01.03.2026 10:00;A-1;2;39.80\n".encode())
    assert (found.snapshot.order_no, found.snapshot.amounts.currency) == ("R-7", "EUR")
    assert found.snapshot.ordered_at.local == "2026-03-01T17:00:00.000+08:00"


def test_a_channel_that_the_settings_name_takes_in_orders(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "settings.json").write_text('{"channels": ["examples.webshop"]}')
    (tmp_path / "order.json").write_text(json.dumps(ORDER))
    with Running(data) as up:
        said = up.run("ingest", tmp_path / "order.json", "--shop", "mine", "--json")
        assert (said.code, said.json["channels"]) == (0, {"webshop": {"accepted": 1}}), said
        until(lambda: up.run("order", "webshop:mine:W-1001", "--json").code == 0)
        order = up.run("order", "webshop:mine:W-1001", "--reveal", "--json").json
        assert order["personal"]["attributes"] == {"wish": "blue, please"}
