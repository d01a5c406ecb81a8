"""What is recorded of a payload that nobody could read is public: it may quote fields, and reaches nobody."""

import pytest

from runners.preparing import TOLD_MAX, plain
from tests.privacy_world import PHONE, cell, trade


@pytest.mark.parametrize(
    "number", [PHONE, "138 1234 5678", "+86-138-1234-5678", "+8613812345678", "li.wei+shop@mail.example.cn"]
)
def test_a_persons_number_in_a_field_of_ours_is_not_told(number: str) -> None:
    told = plain(f"unknown status: Invalid enum value '{number}' of order 2231958349123")
    assert not any(part in told for part in ("5678", "li.wei", "example"))
    assert told.startswith("unknown status: ")
    assert told.endswith("of order 2231958349123")


@pytest.mark.parametrize("text", ["'1770602400000' lies a day behind", "18888 is no amount", "138123456789"])
def test_other_numbers_are_told_as_they_are(text: str) -> None:
    assert plain(text) == text


def test_what_is_cut_is_cut_behind_what_is_left_out() -> None:
    assert plain("x" * (TOLD_MAX - 3) + PHONE) == "x" * (TOLD_MAX - 3) + "…"


@pytest.mark.parametrize("before", range(12))
@pytest.mark.parametrize("number", [PHONE, "li.wei@mail.example.cn"])
def test_of_a_text_of_any_length_no_half_number_is_told(number: str, before: int) -> None:
    told = plain("," * before + f"{number}," * TOLD_MAX)
    assert set(told) == {",", "…"}


def test_a_quarantined_order_names_no_phone(tmp_path_factory: pytest.TempPathFactory) -> None:
    with cell(tmp_path_factory.mktemp("cell") / "data") as made:
        assert made.take("1", trade("1", status=PHONE)).outcome == "quarantined"
        assert not [event for event in made.log.read(0, 100) if PHONE.encode() in event.data]
