"""What people read of orders and moments: names as channels write them, times in the merchant's zone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import PART_BYTES_MAX, order_key
from runners.commands.acting import person
from runners.commands.common import moment
from runners.naming import orders_named

PARTS = st.text(min_size=1, max_size=PART_BYTES_MAX // 4).filter(str.strip)


@given(PARTS.filter(lambda text: ":" not in text), PARTS.filter(lambda text: ":" not in text), PARTS)
def test_an_order_is_named_so_that_it_can_be_given_back(channel: str, shop: str, number: str) -> None:
    shown = orders_named(order_key(channel, shop, number))
    assert order_key(*shown.split(":", 2)) == order_key(channel, shop, number)


def test_every_order_in_a_text_is_named_and_the_rest_of_it_stays() -> None:
    one = order_key("taobao", "五金旗舰店", "2849")
    assert orders_named(f"pick-{one}/1, stock.x {one}@3: wants 2") == (
        "pick-taobao:五金旗舰店:2849/1, stock.x taobao:五金旗舰店:2849@3: wants 2"
    )
    assert orders_named("reorder-a, warehouse-A, order-less") == "reorder-a, warehouse-A, order-less"


def test_a_shop_with_a_colon_keeps_its_key_by_which_alone_it_can_be_given() -> None:
    key = order_key("generic", "a:b", "1")
    assert orders_named(key) == key


def test_a_moment_is_told_in_the_merchant_s_zone() -> None:
    assert moment(1_795_919_835_999, "Asia/Shanghai") == "2026-11-29 10:37:15"
    assert moment(1_795_919_835_999, "Europe/Berlin") == "2026-11-29 03:37:15"


def test_whoever_said_his_name_once_acts_under_it_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERSPINE_PERSON", " li.wei ")
    assert (person("keeper").id, person("keeper").role) == ("li.wei", "keeper")
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    for nothing in ("", "  "):
        monkeypatch.setenv("ORDERSPINE_PERSON", nothing)
        assert person("keeper").id == "root"
