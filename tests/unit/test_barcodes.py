"""The table of barcodes: entered, corrected, taken out."""

import pytest

from domain.barcodes import (
    PAIRS_MAX,
    BadBarcode,
    BarcodesRefused,
    BarcodesRemoved,
    BarcodesSet,
    MissingCommandId,
    NoSuchBarcode,
    RemoveBarcodes,
    SetBarcodes,
    WrongActor,
    barcodes,
)
from domain.cellular import Tick
from domain.decider import RefusedBefore
from domain.ids import BARCODES_KEY
from runners.commands.barcodes import read_barcodes
from tests.spec import Cell, Spec

KNOWN = BarcodesSet((("690", "S1"), ("691", "S1")), "c-0")


def test_what_is_new_is_entered() -> None:
    spec = Spec(barcodes).given(KNOWN)
    spec.when(SetBarcodes("c-1", (("690", "S1"), ("692", "S2"), ("692", "S2")))).then(
        BarcodesSet((("692", "S2"),), "c-1")
    )
    spec.when(SetBarcodes("c-2", (("692", "S3"),))).then(BarcodesSet((("692", "S3"),), "c-2"))
    spec.when(SetBarcodes("c-3", (("690", "S1"),))).then_nothing()
    spec.when(SetBarcodes("c-1", (("699", "S9"),))).then_nothing()
    assert dict(spec.state.table) == {"690": "S1", "691": "S1", "692": "S3"}


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        (("690", "S1"), ("690", "S2")),
        (("", "S1"),),
        ((" 690", "S1"),),
        (("9" * 81, "S1"),),
        (("690", ""),),
        (("690", "S" * 201),),
        (("69\x000", "S1"),),
        tuple((str(number), "S1") for number in range(PAIRS_MAX + 1)),
    ],
)
def test_what_cannot_be_is_refused(pairs: tuple[tuple[str, str], ...]) -> None:
    Spec(barcodes).when(SetBarcodes("c-1", pairs)).then_raises(BadBarcode)


def test_barcodes_are_taken_out() -> None:
    spec = Spec(barcodes).given(KNOWN)
    spec.when(RemoveBarcodes("c-1", ("690", "690", "nosuch"))).then(BarcodesRemoved(("690",), "c-1"))
    spec.when(RemoveBarcodes("c-2", ("690",))).then_raises(NoSuchBarcode)
    spec.given(BarcodesRemoved(("690",), ""))
    assert dict(spec.state.table) == {"691": "S1"}


def test_a_refused_message_is_answered_alike() -> None:
    made = Cell()
    first = made.send(BARCODES_KEY, RemoveBarcodes("c-1", ("690",)))
    assert (first.outcome, made.tags()) == ("refused", ["goods.refused"])
    made.send(BARCODES_KEY, SetBarcodes("c-2", (("690", "S1"),)))
    again = made.send(BARCODES_KEY, RemoveBarcodes("c-1", ("690",)))
    assert (again.outcome, again.reason, again.records) == ("refused", first.reason, [])
    spec = Spec(barcodes).given(BarcodesRefused("RemoveBarcodes", "NoSuchBarcode", "none", "c-1"))
    spec.when(RemoveBarcodes("c-1", ("690",))).then_raises(RefusedBefore)


def test_a_message_without_an_id_and_a_strange_one_are_refused() -> None:
    Spec(barcodes).when(SetBarcodes("", (("690", "S1"),))).then_raises(MissingCommandId)
    Spec(barcodes).when(Tick()).then_raises(WrongActor)


def test_a_file_is_read_in_either_language() -> None:
    assert read_barcodes("商家编码,条码\nS1,690\n\nS1,691\n".encode("gb18030")) == ([("690", "S1"), ("691", "S1")], [])
    assert read_barcodes(b"name,Barcode,SKU\nx,690,S1\n") == ([("690", "S1")], [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "row 1: the header"),
        ("a,b\n1,2\n", "row 1: the header"),
        ("sku,barcode\n", "there are no rows"),
        ("sku,barcode\nS1,\n", "row 2: no barcode"),
        ("sku,barcode\n,690\n", "row 2: no SKU"),
        ("sku,barcode\nS1\n", "row 2: no barcode"),
        ("sku,barcode\nS1,6.90123E+12\n", "row 2: the barcode 6.90123E+12 was destroyed"),
        ("sku,barcode\nS1,690\nS2,690\n", "row 3: 690 is S2 here and S1 above"),
        (f"sku,barcode\nS1,{'9' * 81}\n", "row 2: '9999"),
        (f"sku,barcode\n{'S' * 201},690\n", "row 2: 'SSSS"),
        ("sku,barcode\nS1,69\x1b0\n", "row 2: '69\\x1b0' is no barcode"),
        ('sku,barcode\n"S1,690', "not a CSV file"),
    ],
)
def test_a_wrong_file_says_where(text: str, says: str) -> None:
    _, errors = read_barcodes(text.encode())
    assert errors[0].startswith(says)


def test_a_file_in_no_known_encoding_is_refused() -> None:
    assert read_barcodes(b"\xff\xff\xff")[1] == ["the file is neither UTF-8, UTF-16 nor GB18030"]
