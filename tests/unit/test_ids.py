"""Ids from outside become keys, and come out of them again exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import (
    PART_BYTES_MAX,
    BadId,
    checked_part,
    decode_id,
    encode_id,
    intake_key,
    kind_of,
    order_key,
    parts_of,
    token_of,
    warehouse_key,
)
from domain.mail import subject_of

texts = st.text(st.characters(codec=None), min_size=1, max_size=60)
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=")


@given(texts)
def test_any_text_survives_and_is_safe_in_subjects_keys_and_file_names(text: str) -> None:
    assert decode_id(encode_id(text)) == text
    assert set(encode_id(text)) <= SAFE


@given(st.tuples(texts, texts, texts))
def test_the_parts_of_a_key_come_out_again(parts: tuple[str, str, str]) -> None:
    if any(not part.strip() or len(part.encode("utf-8", "surrogatepass")) > PART_BYTES_MAX for part in parts):
        return
    key = order_key(*parts)
    assert kind_of(key) == "order"
    assert parts_of(key) == parts
    assert decode_id(token_of(key)) == key.removeprefix("order-")
    assert set(token_of(key)) <= SAFE
    assert len(subject_of("cell", key)) < 3_500, "a subject must fit the broker's control line"


@given(texts, texts)
def test_different_ids_have_different_keys(one: str, other: str) -> None:
    assert (encode_id(one) == encode_id(other)) == (one == other)


def test_big_numbers_stay_exact() -> None:
    assert order_key("taobao", "shop1", "2231958349123456789012") == "order-taobao:shop1:2231958349123456789012"


@pytest.mark.parametrize("part", ["", " ", "\t\n", "　"])
def test_an_empty_id_names_nobody(part: str) -> None:
    with pytest.raises(BadId, match="order number is empty"):
        order_key("taobao", "shop1", part)


def test_an_id_has_an_end() -> None:
    assert checked_part("x" * PART_BYTES_MAX, "shop")
    assert checked_part("店" * (PART_BYTES_MAX // 3), "shop")
    for text in ("x" * (PART_BYTES_MAX + 1), "店" * (PART_BYTES_MAX // 3 + 1)):
        with pytest.raises(BadId, match="longer"):
            checked_part(text, "shop")


def test_an_intake_is_named_even_where_nobody_said_whose_it_is() -> None:
    assert (intake_key("", ""), intake_key("taobao", "店")) == ("intake-unknown:unknown", "intake-taobao:=E5=BA=97")


def test_a_warehouse_needs_a_code() -> None:
    assert parts_of(warehouse_key("A.1")) == ("A.1",)
    with pytest.raises(BadId):
        warehouse_key("")
