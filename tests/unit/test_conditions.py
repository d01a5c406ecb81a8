"""Conditions of rules: what they mean, what is refused with its place, and that no order makes them fail."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from domain.canonical import Amounts, Line, SourceTime
from domain.condition_values import Scope
from domain.conditions import DEPTH_MAX, TEXT_MAX, BadCondition, read_condition
from domain.rulings import Facts
from tests.spec import T0, snapshot

ORDERED = SourceTime("x", T0, 480, "2026-11-11T20:15:00.000+08:00")
LINES = (
    Line("1", "A-1", 2, name="充电电钻 Pro", spec="18V", item="i1", unit_price=10_000, amount=20_000,
         attributes={"engraving": True}),
    Line("2", "GIFT-9", 1, gift=True),
    Line("3", "B-1", 7, unit_price=1_000, amount=7_000, state="cancelled"),
)  # fmt: skip
ATTRIBUTES = {
    "service": "rush", "invoice": {"type": "vat"}, "a.b": 1, "weight": "7.5", "count": 3, "list": ["x", "y", {}],
    "vip": True, "odd": {"x": 1}, "exact": Decimal("1.5"), "no_number": Decimal("NaN"), "nothing": None, "big": 10**400,
}  # fmt: skip
VIEW = msgspec.structs.replace(
    snapshot("paid", lines=LINES, holds=("locked",)),
    ordered_at=ORDERED,
    region="浙江省/杭州市",
    amounts=Amounts("CNY", goods=21_000, discount=1_000, freight=900, payable=20_900, paid=20_900),
    attributes=ATTRIBUTES,
)
FACTS = Facts(VIEW, ("bad_phone",), T0, T0, {"grade": "dealer", "since": {"year": 2020}})


def holds(text: str, view: Any = VIEW, *, tags: tuple[str, ...] = ("urgent",)) -> bool:
    scope = Scope(msgspec.structs.replace(FACTS, snapshot=view))
    scope.tags.extend(tags)
    found = read_condition(text)(scope)
    assert type(found) is bool
    return found


TRUE = (
    'channel == "taobao" and shop == "shop1" and kind == "normal" and status == "paid" and currency == "CNY"',
    'native_status == "NATIVE_paid" and startswith(region, "浙江") and contains(region, "杭州")',
    "payable == CNY(209) and payable == CNY(209.00) and payable == CNY('209.00') and paid >= payable",
    "goods - discount + freight == payable",
    "payable * 2 == CNY(418) and 2 * payable > payable and payable * 0.5 < CNY(105)",
    "CNY(199) <= payable < CNY(399)",
    "not CNY(199) <= payable < CNY(205)",
    "payable != CNY(1) and -payable < CNY(0) and -CNY(5) < -CNY(4)",
    "units == 3 and line_count == 2 and units + line_count * 2 - 1 == 6 and -1 < units and 1.5 < units",
    "hour == 20 and weekday == 3 and 18 <= hour < 22",
    '"urgent" in tags and "late" not in tags and "bad_phone" in flaws and "locked" in holds',
    'channel in ("taobao", "jd") and channel not in ["x"] and units in {3, 4} and units not in (1, 2)',
    'any_line(sku == "A-1" and quantity == 2 and unit_price == CNY(100) and amount == CNY(200) and spec == "18V")',
    'any_line(gift) and any_line(item == "i1") and any_line(channel == "taobao" and matches(name, "*电钻*"))',
    'not any_line(sku == "B-1")',
    "every_line(quantity > 0) and not every_line(gift) and every_line(gift == False or gift != False)",
    'units_of(sku == "A-1") == 2 and amount_of(not gift) == CNY(200) and count_of(gift) == 1',
    'any_line(attr("engraving") == True) and count_of(attr("engraving") == None) == 1',
    'attr("service") == "rush" and attr("service") != "slow" and attr("service") in ("rush", 1)',
    'attr("invoice.type") == "vat" and attr("a.b") == 1 and attr("invoice.none") == None',
    'attr("invoice.type.deeper") == None and attr("nothing") == None and attr("odd") != None',
    'attr("count") > 2 and attr("count") * 2 == 6 and 2 + attr("count") == 5 and number(attr("weight")) > 7',
    'number(attr("weight")) * 2 == 15.0 and number(attr("count")) == 3 and number("4") == 4',
    'attr("count") < CNY(1) and payable > attr("count") and CNY(1) * attr("count") == CNY(3)',
    'attr("vip") == True and attr("vip") != False and attr("exact") > 1 and attr("exact") < 1.75',
    '"x" in attr("list") and "z" not in attr("list") and "us" in attr("service") and "up" not in attr("service")',
    'attr("count") == attr("count") and attr("service") == attr("service") and attr("exact") < attr("count")',
    'customer("grade") == "dealer" and customer("since.year") == 2020 and customer("name") == None',
    'endswith(lower(attr("service")), "sh") and lower(channel) == "taobao" and contains(attr("service"), "us")',
    'matches(shop, "shop?") and matches(shop, "*[0-9]") and not matches(shop, "hop1")',
    'attr("service") not in tags and "urgent" in tags and not channel in tags',
    "True and not False",
    "(\n  units == 3\n  # a remark\n  and line_count == 2\n)",
    "units == 1 or units == 2 or units == 3",
    'units == 3 and line_count == 2 and channel == "taobao"',
    '"A" == "A" and "a" < "b" and 1 < 2 < 3',
    'None == None and hour != None and lower(attr("none")) == None',
)  # fmt: skip
FALSE = (
    # missing, or of another kind: any comparison is false
    'attr("none") == "x"', 'attr("none") != "x"', 'attr("none") < 1', 'attr("none") in ("x",)',
    'attr("none") not in ("x",)', '"x" in attr("none")', '"x" not in attr("none")', 'attr("none") in attr("list")',
    'attr("none") + 1 > 0', 'number(attr("none")) > 0', 'number(attr("service")) > 0', 'number(attr("vip")) == 1',
    'attr("service") > 1', 'attr("service") * 3 == "rushrushrush"', 'attr("list") * 2 == 1', 'attr("vip") == 1',
    'attr("vip") > 0', 'attr("odd") == attr("odd")', 'attr("odd") in ("x",)', 'attr("service") == attr("count")',
    'attr("no_number") < 1', 'attr("exact") * 1.5 > 0', 'attr("big") * 1.5 > 0', '"x" in attr("count")',
    '1 in attr("service")', 'startswith(attr("count"), "3")', 'matches(attr("list"), "*")',
    'lower(attr("count")) == "3"', 'lower(attr("none")) != "x"', '-attr("service") < 0', 'lower(attr("none")) < "x"',
    # another currency
    "payable > USD(1)", "payable <= USD(1)", "payable != USD(1)", "payable + USD(1) > CNY(0)", "USD(1) < CNY(100)",
)  # fmt: skip


@pytest.mark.parametrize("text", TRUE)
def test_what_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize("text", FALSE)
def test_what_is_missing_or_does_not_go_together_compares_false(text: str) -> None:
    assert not holds(text)
    assert holds(f"not ({text})")


def test_an_order_without_lines_has_none_of_every_kind() -> None:
    empty = msgspec.structs.replace(VIEW, lines=LINES[2:])
    assert not holds("every_line(quantity > 0) or any_line(quantity > 0) or units > 0 or line_count > 0", empty)
    assert holds("units_of(gift) == 0 and amount_of(gift) == CNY(0)", empty)


@pytest.mark.parametrize("local", ["", "minute 5", "2026-13-45T99", "²²²²²²²²²²²²²²"])
def test_a_time_that_cannot_be_told_has_neither_hour_nor_weekday(local: str) -> None:
    view = msgspec.structs.replace(VIEW, ordered_at=SourceTime("x", 0, 0, local))
    assert holds("weekday == None", view)
    if local != "2026-13-45T99":
        assert holds("hour == None", view)
    assert not holds("weekday > 0", view)


REFUSED = (
    ('chanel == "x"', 1, 1, "did you mean 'channel'"),
    ('channel = "x"', 1, 1, "=="),
    ("payable > 199", 1, 11, r"CNY\(199\)"),
    ('channel == "x" and\n  unts > 1', 2, 3, "did you mean 'units'"),
    ('"刻刻" == chanel', 1, 9, "did you mean 'channel'"),
    ('status == "payed"', 1, 11, "did you mean 'paid'"),
    ('"normall" == kind', 1, 1, "did you mean 'normal'"),
    ('status in ("paid", "shiped")', 1, 20, "did you mean 'shipped'"),
    ('"bad_fone" in flaws', 1, 1, "did you mean 'bad_phone'"),
    ('"urgnt" in tags', 1, 1, "did you mean 'urgent'"),
    ("a) or (b", 1, 1, "parentheses"),
    ("units > 1, units > 2", 1, 1, "a list and no condition"),
    ('channel == "x" && units > 1', 1, 17, "write 'and' for '&&'"),
    ("!gift", 1, 1, "write 'not' for '!'"),
    ('"\\d" == channel', 1, 1, "escape"),
    ("units >", 1, 8, "syntax"),
    ("(", 1, 1, "never closed"),
    ("'\0'", 1, 4, "null"),
    ("units >\r\n", 2, 1, "syntax"),
    ("\runits\0", 2, 7, "null"),
    ("\ud800", 1, 1, "cannot be read"),
    ("units", 1, 1, "a number and not yes or no"),
    ("channel and gift", 1, 1, "text and not yes or no"),
    ('attr("vip")', 1, 1, "a value and not yes or no"),
    ('sku == "x"', 1, 1, r"any_line\(…\)"),
    ("any_line(any_line(gift))", 1, 10, "asked of one line already"),
    ("any_line()", 1, 1, "takes one condition"),
    ("any_line(units)", 1, 10, "not yes or no"),
    ("true", 1, 1, "write True"),
    ("attr == 1", 1, 1, "is a function"),
    ("line.sku == 1", 1, 1, "no dots"),
    ('attributes["x"] == 1', 1, 1, "no brackets"),
    ('"x" == ("x", "y")', 1, 8, "behind 'in' only"),
    ("lambda: 1", 1, 1, "no place"),
    ("units if gift else 1", 1, 1, "no place"),
    ('channel == f"{shop}"', 1, 12, "no place"),
    ("[x for x in tags] == 1", 1, 1, "no place"),
    ('channel == b"x"', 1, 12, "texts in quotes"),
    ("units == 1j", 1, 10, "texts in quotes"),
    ("units is 1", 1, 10, "write == or !="),
    ("1 < units in (1, 2)", 1, 1, "join them with 'and'"),
    ("units < None", 1, 9, "no order"),
    ('tags == "a"', 1, 1, '"urgent" in tags'),
    ("any_line(gift < True)", 1, 10, "no order"),
    ("payable in (1, 2)", 1, 1, "money cannot be looked for"),
    ('units in (1, "a")', 1, 14, "never text"),
    ("units in (1, shop)", 1, 14, "texts and numbers only"),
    ('channel in "taobao"', 1, 12, r"\('taobao',\)"),
    ('"a" in payable', 1, 8, "this is money"),
    ("1 in channel", 1, 1, "a number cannot be in text"),
    ("1 in tags", 1, 1, "a number cannot be in several words"),
    ("units / 2 > 1", 1, 1, "only"),
    ("channel + channel == channel", 1, 1, "cannot be reckoned with"),
    ("payable * payable > 1", 1, 1, "money times money"),
    ("payable + 1 > CNY(1)", 1, 1, "means nothing"),
    ("-channel == 1", 1, 1, "can have a sign"),
    ("~units == 1", 1, 1, "can have a sign"),
    ('channel.startswith("x")', 1, 1, r"write startswith\(name"),
    ("a.b(1)", 1, 1, "functions stand alone"),
    ("foo(1)", 1, 1, "there is no function 'foo'"),
    ("startwith(shop, shop)", 1, 1, "did you mean 'startswith'"),
    ("lower(text=shop) == shop", 1, 1, "plain values only"),
    ("lower(*shop) == shop", 1, 1, "plain values only"),
    ("lower() == shop", 1, 1, "takes 1 value and has 0"),
    ("contains(shop) == True", 1, 1, "takes 2 values and has 1"),
    ("lower(units) == shop", 1, 7, "takes text"),
    ("matches(shop, channel)", 1, 15, "in quotes"),
    ("attr(shop) == 1", 1, 1, "one name in quotes"),
    ('customer("") == 1', 1, 1, "one name in quotes"),
    ("payable > CNY()", 1, 11, "takes one amount"),
    ("payable > CNY(True)", 1, 11, "takes one amount"),
    ("payable > CNY('1.234')", 1, 11, "more decimals"),
    ("not " * (DEPTH_MAX + 5) + "gift", 1, 125, "within each other"),
    ("-" * 1_900 + "1 == units", 1, 31, "within each other"),
    ("", 1, 1, "no condition"),
    ("\n ", 1, 1, "no condition"),
    ("units" * TEXT_MAX, 1, 1, "at most"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "reason"), REFUSED, ids=[row[0][:30] for row in REFUSED])
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(BadCondition, match=reason) as caught:
        read_condition(text, tags=("urgent",))
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"line {line}, column {column}: ")


def test_of_a_line_its_names_and_those_of_its_order_are_known() -> None:
    scope = Scope(FACTS)
    condition = read_condition('quantity == 2 and attr("engraving") == True and channel == "taobao"', of_line=True)
    scope.line = LINES[0]
    assert condition(scope) is True
    scope.line = LINES[1]
    assert condition(scope) is False
    with pytest.raises(BadCondition, match="'quantity'"):
        read_condition("quantty == 2", of_line=True)


def test_without_a_list_of_tags_any_may_be_asked_for() -> None:
    assert read_condition('"whatever" in tags')(Scope(FACTS)) is False
    with pytest.raises(BadCondition, match="there are none"):
        read_condition('"whatever" in tags', tags=())


@pytest.mark.parametrize("sign", ["==", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize(("one", "two"), [("5", 5), (5, "5"), (True, 1), (None, 1), ("x", None), ([1], [1])])
def test_attributes_of_different_kinds_are_neither_alike_nor_different(one: Any, two: Any, sign: str) -> None:
    view = msgspec.structs.replace(VIEW, attributes={"one": one, "two": two})
    assert not holds(f'attr("one") {sign} attr("two")', view)
