"""What is wrong with a receiver's address is told in fixed words, however a platform shows it."""

import pytest

from domain.address import FLAWS, flaws_of

WHOLE = {"name": "张三", "phone": "13800000000", "detail": "长安街 1 号"}


@pytest.mark.parametrize(
    ("receiver", "flaws"),
    [
        (WHOLE, ()),
        ({}, ()),
        ({"name": " ", "phone": "", "detail": "\t"}, ()),
        ({**WHOLE, "name": ""}, ("no_name",)),
        ({**WHOLE, "phone": "  "}, ("no_phone",)),
        ({**WHOLE, "detail": ""}, ("no_detail",)),
        ({**WHOLE, "phone": "12306"}, ()),
        ({**WHOLE, "phone": "1230"}, ("bad_phone",)),
        ({**WHOLE, "phone": "+86 (0)1"}, ("bad_phone",)),
        ({**WHOLE, "phone": "1 ext. 2"}, ("bad_phone",)),
        ({"city": "北京"}, ("no_name", "no_phone", "no_detail")),
        ({"city": "北京", "tel": "110"}, ("no_name", "bad_phone", "no_detail")),
    ],
)
def test_what_is_missing_is_told_worst_first_and_nothing_of_no_receiver(
    receiver: dict[str, str], flaws: tuple[str, ...]
) -> None:
    assert flaws_of(receiver) == flaws


@pytest.mark.parametrize("shown", ["138****0000", "~AES~Zm9v~1~", "**", "#"])
def test_a_masked_or_encrypted_number_is_a_number(shown: str) -> None:
    assert flaws_of({**WHOLE, "phone": shown}) == ()


def test_one_number_that_can_be_called_is_enough() -> None:
    assert flaws_of({**WHOLE, "phone": "0", "virtual_phone": "13800000000-1234"}) == ()
    assert flaws_of({**WHOLE, "phone": "0", "mobile": "1"}) == ("bad_phone",)


@pytest.mark.parametrize("part", ["name_masked", "first_name", "last_name", "company"])
def test_any_form_of_a_name_names_somebody(part: str) -> None:
    assert flaws_of({part: "x", "mobile": "13800000000", "line1": "Main St 1"}) == ()


@pytest.mark.parametrize("part", ["detail", "address1", "street", "line3", "town", "location"])
def test_any_form_of_a_place_is_one(part: str) -> None:
    assert flaws_of({"name": "x", "tel": "010-12345", part: "y"}) == ()


def test_every_flaw_has_its_word() -> None:
    found = [flaws_of({"city": "x"}), flaws_of({"city": "x", "tel": "1"})]
    assert {word for flaws in found for word in flaws} == set(FLAWS)
