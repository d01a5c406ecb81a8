"""Whatever is on the shelves: a plan is for just what must leave, from as few places as can serve it."""

from collections import Counter
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decider import fold
from domain.order import Allocation, Order, Ruled, gift_line, needs
from domain.routing import Stock, plain_warehouse, plan
from domain.rulings import Gift, Route
from domain.stock import Ledger, StockReceived
from domain.warehouse import warehouse
from tests.spec import T0, line

CODES = ("A", "B", "C")
SKUS = ("S1", "S2")
GIFT = "G"

shelves = st.fixed_dictionaries(
    {code: st.fixed_dictionaries({sku: st.integers(0, 4) for sku in (*SKUS, GIFT)}) for code in CODES}
)
orders = st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 4)), min_size=1, max_size=3)
routes = st.builds(
    Route,
    st.just("r"),
    warehouses=st.one_of(st.just(()), st.permutations(CODES).map(tuple)),
    split=st.sampled_from(("never", "lines", "units")),
)
gifts = st.one_of(st.just(()), st.tuples(st.builds(Gift, st.just("g"), st.just(GIFT), st.integers(1, 2),
                                                   st.sampled_from(("", *CODES)))))  # fmt: skip


def order_of(lines: list[tuple[str, int]], **ruled: Any) -> Order:
    named = tuple(line(str(number), sku, units) for number, (sku, units) in enumerate(lines, 1))
    return Order(status="paid", lines=named, ruled=Ruled(**ruled))


def stock_of(shelf: dict[str, dict[str, int]]) -> Stock:
    @cache
    def ledger_of(code: str) -> Ledger:
        lines = tuple((sku, units) for sku, units in shelf[code].items() if units)
        ledger: Ledger = fold(warehouse, [StockReceived("d", lines, T0)], warehouse.initial)
        return ledger

    return Stock(CODES, ledger_of)


def goods_of(planned: tuple[Allocation, ...]) -> Counter[str]:
    return sum((Counter(dict(each.lines)) for each in planned), Counter())


@settings(max_examples=settings().max_examples * 3)
@given(shelves, orders, routes, gifts)
def test_a_plan_is_for_just_what_must_leave(
    shelf: dict[str, dict[str, int]], lines: list[tuple[str, int]], route: Route, gift: tuple[Gift, ...]
) -> None:
    order = order_of(lines, routes=(route,), gifts=gift)
    planned = plan("o", order, stock_of(shelf))
    assert goods_of(planned) == dict(needs(order))
    assert len({each.id for each in planned}) == len({each.warehouse for each in planned}) == len(planned)
    told: Counter[str] = Counter()
    for each in planned:
        assert all(units > 0 for _, units in (*each.lines, *each.units))
        for name, units in each.units:
            told[name] += units
    owed = [(each.id, each.quantity) for each in order.lines] + [(gift_line(each), each.units) for each in gift]
    assert told == dict(owed)
    parcels = {each.warehouse for each in planned if any(not sku.startswith(GIFT) for sku, _ in each.lines)}
    for free in gift:
        (place,) = (part.warehouse for part in planned if free.sku in dict(part.lines))
        if not free.warehouse and any(shelf[code][free.sku] >= free.units for code in parcels):
            assert place in parcels, "a gift goes into a parcel that is sent in any case"


@settings(max_examples=settings().max_examples * 3)
@given(shelves, orders, routes)
def test_goods_are_asked_of_who_has_them_and_of_one_who_has_all(
    shelf: dict[str, dict[str, int]], lines: list[tuple[str, int]], route: Route
) -> None:
    order = order_of(lines, routes=(route,))
    codes = route.warehouses or CODES
    planned = plan("o", order, stock_of(shelf))
    wanted = dict(needs(order))
    whole = [code for code in codes if all(shelf[code][sku] >= units for sku, units in wanted.items())]
    if whole or route.split == "never":
        assert [each.warehouse for each in planned] == [(whole or codes)[0]]
    short = [each for each in planned if any(shelf[each.warehouse][sku] < units for sku, units in each.lines)]
    assert {each.warehouse for each in short} <= {codes[0]}, "what nobody has is asked of the first"
    if route.split == "units" and len(lines) == 1:
        ((sku, units),) = wanted.items()
        assert bool(short) is (sum(each[sku] for each in shelf.values()) < units)
    if route.split == "lines":
        places = Counter(name for each in planned for name, _ in each.units)
        assert set(places.values()) == {1}, "no line is torn apart"


@settings(max_examples=settings().max_examples * 3)
@given(shelves, orders, gifts, st.sampled_from(CODES), st.booleans())
def test_what_one_warehouse_serves_without_a_question_is_what_the_plan_would_say(
    shelf: dict[str, dict[str, int]], lines: list[tuple[str, int]], gift: tuple[Gift, ...], lies: str, held: bool
) -> None:
    holds = tuple(Allocation("o/pre-1", lies, ((each.sku, each.units),)) for each in gift) if held else ()
    order = order_of(lines, gifts=gift, pre_holds=holds)
    stock = stock_of(shelf)
    code = plain_warehouse(order, needs(order), stock)
    planned = plan("o", order, stock)
    if code:
        assert [(each.warehouse, Counter(dict(each.lines))) for each in planned] == [
            (code, Counter(dict(needs(order))))
        ]
    for each in planned:
        if GIFT in dict(each.lines):
            assert each.warehouse == (lies if holds else gift[0].warehouse) or not (holds or gift[0].warehouse)
