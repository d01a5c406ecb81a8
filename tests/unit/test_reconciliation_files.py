"""Files around reconciliation: what is taken for equal, and what finance gets."""

from pathlib import Path

import pytest

from domain.matching import EXACT, Tolerance
from runners.finance_export import FIELDS, write
from runners.matching import FILE, BadTolerance, tolerance_of


def test_what_is_taken_for_equal_is_nothing_until_somebody_says_so(tmp_path: Path) -> None:
    assert tolerance_of(tmp_path) == EXACT
    (tmp_path / FILE).write_text('{"amount": 5}')
    (tmp_path / FILE).chmod(0o600)
    assert tolerance_of(tmp_path) == Tolerance(amount=5)


@pytest.mark.parametrize("text", ["{", '{"amount": -1}', '{"amounts": 5}', '{"amount": 0.5}'])
def test_a_tolerance_with_a_mistake_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(BadTolerance, match=FILE):
        tolerance_of(tmp_path)


def test_a_tolerance_that_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    (tmp_path / FILE).chmod(0o666)
    with pytest.raises(BadTolerance, match="chmod 600"):
        tolerance_of(tmp_path)


def test_a_cell_that_begins_like_a_formula_is_none_for_a_spreadsheet(tmp_path: Path) -> None:
    row = dict.fromkeys(FIELDS, "") | {"order_no": "=1+1", "shop": "-x", "paid": "-5.00"}
    assert write(tmp_path / "f.csv", iter([row])) == 1
    content = (tmp_path / "f.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfday,")
    assert b",'-x,'=1+1," in content
    assert b",-5.00," in content
