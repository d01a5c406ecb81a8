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
    "text", ["", "order", "order-", "order-a b", "order-a\0", "order-a:", "-a", "order-" + "x" * 2000]
)
def test_nothing_else_is(text: str) -> None:
    assert not is_key(text)


@pytest.mark.parametrize("number", ["=FF", "=E4=B8", "=ff", "=41", "=", "=4", "=ED=A0"])
def test_what_is_no_encoded_id_is_part_of_no_key(number: str) -> None:
    """Whoever reads the log takes keys apart: one that a person cut short must not come to be in it."""
    assert not is_key(f"order-taobao:s1:{number}")
    assert not is_key(f"warehouse-{number}")


@pytest.mark.parametrize(
    "text",
    ["order-a:b", "order-a:b:c:d", "warehouse-a:b", "intake-a", "intake-a:b:c", "skus-a", "mapping-a:b", "finance-a"],
)
def test_a_key_has_as_many_parts_as_its_kind(text: str) -> None:
    assert not is_key(text)
