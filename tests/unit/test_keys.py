"""A key is what `domain.ids` makes; nothing else is an actor's address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import (
    BadId,
    buyer_of,
    finance_key,
    intake_key,
    is_key,
    mapping_key,
    order_key,
    skus_key,
    trail_key,
    warehouse_key,
)

parts = st.text(max_size=60)


@given(parts, parts, parts)
def test_whatever_names_an_actor_is_a_key(channel: str, shop: str, number: str) -> None:
    try:
        assert is_key(order_key(channel, shop, number))
        assert is_key(warehouse_key(number))
    except BadId:
        return
    assert is_key(intake_key(channel, shop))
    assert is_key(skus_key(channel, shop))
    assert is_key(mapping_key(channel))
    assert is_key(trail_key(buyer_of(channel, number)))
    assert is_key(finance_key(channel, shop))
    assert is_key(finance_key(channel, shop, "2026-02-09"))


def test_the_longest_order_is_a_key() -> None:
    assert is_key(order_key("\u9999" * 66, "\u9999" * 66, "\u9999" * 66))


@pytest.mark.parametrize(
    "text", ["", "order", "order-", "order-a b", "order-a\0", "order-a:", "-a", "order-a:b:" + "x" * 2000]
)
def test_nothing_else_is(text: str) -> None:
    assert not is_key(text)


@pytest.mark.parametrize(
    "text",
    [
        "order-1",
        "order-a:1",
        "order-a:b:1:2",
        "warehouse-A:B",
        "intake-a",
        "intake-a:b:c",
        "skus-a",
        "trail-a",
        "finance-a",
        "mapping-a:b",
    ],
)
def test_a_key_has_all_parts_of_its_kind_and_no_more(text: str) -> None:
    assert not is_key(text)


@pytest.mark.parametrize("number", ["=31", "=2d", "=C3=28", "=FF", "=ff", "=E4=B8", "=ED=A0", "=", "=3", "1=3D="])
def test_another_spelling_of_a_key_is_none(number: str) -> None:
    assert not is_key(f"order-a:b:{number}")
    assert not is_key(f"warehouse-{number}")
