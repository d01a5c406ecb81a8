"""Amounts in every notation become whole minor units, or are refused."""

from decimal import Decimal

import pytest

from domain.money import AMOUNT_MAX, BadMoney, format_minor, minor


@pytest.mark.parametrize(
    ("value", "fen"),
    [
        ("329", 32900),
        ("329.00", 32900),
        ("329.5", 32950),
        ("1,329.00", 132900),
        ("12,345,678.90", 1234567890),
        ("¥329.00", 32900),
        ("￥1,329", 132900),
        ("329.00元", 32900),
        ("(59.00)", -5900),
        ("（59.00）", -5900),
        ("-59.00", -5900),
        ("−59.00", -5900),
        ("¥-59.00", -5900),
        ("+59.00", 5900),
        (" 59.00 ", 5900),
        (".50", 50),
        ("0.00", 0),
        ("-0.00", 0),
        ("59.000", 5900),
        ("RMB 5.00", 500),
        (59, 5900),
        (Decimal("59.90"), 5990),
        (Decimal("5E+2"), 50000),
        (59.9, 5990),
        (0.1, 10),
        ("100000000000.00", AMOUNT_MAX),
    ],
)
def test_every_notation_of_an_amount_in_yuan(value: object, fen: int) -> None:
    assert minor(value) == fen


def test_the_unit_belongs_to_the_field() -> None:
    assert [minor(value, unit="fen") for value in (AMOUNT_MAX, -AMOUNT_MAX)] == [AMOUNT_MAX, -AMOUNT_MAX]
    assert minor(32900, unit="fen") == minor("32900", unit="fen") == minor("329.00") == 32900
    with pytest.raises(BadMoney, match="more decimals"):
        minor("329.00", unit="fen")


def test_each_currency_has_its_own_decimals() -> None:
    assert minor("500", "JPY") == 500
    assert minor("1.234", "KWD") == 1234
    assert minor("$5.00", "USD") == 500
    with pytest.raises(BadMoney, match="more decimals"):
        minor("500.5", "JPY")
    with pytest.raises(BadMoney, match="unknown"):
        minor("5.00", "XXX")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-",
        "abc",
        "NaN",
        "inf",
        "1e3",
        "1,32",
        "1.2.3",
        "--5",
        "(-5)",
        "(5",
        "5)",
        "12 34",
        "5.001",
        "59.0.0",
        "١٢.٣٤",
        "$5.00",
        "€5.00",
        "USD 5.00",
        "1" * 50,
        "100000000000.01",
        5.001,
        0.1 + 0.2,
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("1E+999999"),
        Decimal("1E-999999"),
        10**30,
        True,
        None,
        [],
        {},
    ],
)
def test_what_is_no_amount_is_refused_and_never_rounded(value: object) -> None:
    with pytest.raises(BadMoney) as refused:
        minor(value)
    assert len(str(refused.value)) < 200


def test_amounts_are_written_as_they_are_read() -> None:
    assert format_minor(132900, "CNY") == "1329.00"
    assert format_minor(-5, "CNY") == "-0.05"
    assert format_minor(500, "JPY") == "500"
    assert format_minor(1234, "KWD") == "1.234"
    for amount in (0, 1, -1, 99, 100, -123456):
        assert minor(format_minor(amount, "CNY")) == amount
