"""A file of items and SKUs: read whatever its encoding, separator and column names, or refused row by row."""

import pytest

from runners.sku_file import read_skus


@pytest.mark.parametrize(
    "raw",
    [
        b"item,sku\n6500/1,S1\n6500/2,S2\n",
        b"\xef\xbb\xbfSKU;Item\r\nS1;6500/1\r\n S2 ; 6500/2 \r\n\r\n",
        "商品ID\t规格ID\t商家编码\n6500\t1\tS1\n6500\t2\tS2\n".encode("gb18030"),
        "num_iid,sku_id,outer_sku_id,name\n6500,1,S1,x\n6500,2,S2,y\n6500,2,S2,y\n".encode("utf-16"),
    ],
)
def test_the_usual_files_are_read(raw: bytes) -> None:
    assert read_skus(raw) == ([("6500/1", "S1"), ("6500/2", "S2")], [])


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "header"),
        (b"item,name\n1,2\n", "item and sku"),
        (b"item,sku\n", "no rows"),
        (b"item,sku\n1,\n", "row 2: no SKU"),
        (b"item,sku\n6.5E+11,S\n", "destroyed by a spreadsheet"),
        (b"item,sku\n1,S\n1,T\n", "row 3: 1 is T here and S above"),
        (b"item,sku\n" + b"1" * 201 + b",S\n", "longer than"),
        (b"item,sku_id,outer_sku_id\n" + b"1" * 150 + b"," + b"2" * 150 + b",S\n", "the item is longer than"),
        (b"item,sku_id,outer_sku_id\n,2,S\n", "row 2: no item"),
        (b'item,sku\n"1,S\n', "not a CSV file"),
        (b"\xff\xfe\x00", "neither"),
    ],
)
def test_what_is_wrong_is_told_by_row(raw: bytes, told: str) -> None:
    _, errors = read_skus(raw)
    assert told in errors[0]
