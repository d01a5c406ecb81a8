"""What the rule book says of an order is obeyed: routes and splits, gifts, kits, promises, risks, lots."""

from typing import Any, Literal

import msgspec
import pytest

from domain import approvals, order, stock
from domain.after_sale import ReceiveReturn
from domain.cell import Message, Missing, Turn, run_turn
from domain.ids import order_key
from domain.mail import Mail
from domain.payments import RecordPayment
from domain.routing import Stock, plain_warehouse, plan, pre_plan
from domain.rulings import Form, Found, Gift, Kit, Promise, Route, Ruling, Saving
from tests.spec import PERSON, T0, Cell, line, replayed, snapshot

KEY = order_key("taobao", "shop1", "o-1")
TWO = (line("1"), line("2", quantity=3))
BOTH = ("A", "B")
HOUR_MS = 3_600_000


def figures(cell: Cell, sku: str, warehouse: str = "A") -> tuple[int, int, int]:
    level = cell.level(sku, warehouse)
    return level.on_hand, level.reserved, level.pre_reserved


def stocked(a: dict[str, int], b: dict[str, int] | None = None) -> Cell:
    cell = Cell()
    if a:
        cell.receive(*a.items())
    if b:
        cell.receive(*b.items(), warehouse="B")
    return cell


def send(cell: Cell, command: Any) -> Turn:
    turn = cell.send(KEY, command)
    assert {key: held for key, held in cell.living.items() if held != replayed(cell.records)[key]} == {}
    return turn


def places(cell: Cell) -> dict[str, tuple[tuple[str, int], ...]]:
    return {each.warehouse + each.area: each.lines for each in cell.order().allocations}


def reasons(cell: Cell) -> list[str]:
    return [reason for _, reason in cell.order().interceptions]


# --- where from


def test_the_first_warehouse_that_has_everything_serves_the_order() -> None:
    cell = stocked({"S1": 9}, {"S1": 9, "S2": 9})
    cell.take(snapshot(lines=TWO), ruling=Ruling(1, routes=(Route("all", warehouses=BOTH),)))
    assert places(cell) == {"B": (("S1", 1), ("S2", 3))}
    assert [each.id for each in cell.order().allocations] == [f"{KEY}/1"], "only parcels of several are numbered"
    assert cell.tags(KEY).count("order.pick_list_issued") == 1
    send(cell, order.Ship("c-1", "T1", "SF"))
    assert (cell.order().status, figures(cell, "S2", "B")) == ("shipped", (6, 0, 0))


def test_an_order_that_no_warehouse_has_whole_is_split_and_leaves_in_several_parcels() -> None:
    cell = stocked({"S1": 9}, {"S2": 9})
    cell.take(snapshot(lines=TWO), ruling=Ruling(1, routes=(Route("all", warehouses=BOTH),)))
    assert places(cell) == {"A": (("S1", 1),), "B": (("S2", 3),)}
    assert [each.id for each in cell.order().allocations] == [f"{KEY}/1-1", f"{KEY}/1-2"]
    assert cell.tags(KEY).count("order.pick_list_issued") == 2
    assert send(cell, order.Ship("c-1", "T1", "SF")).outcome == "refused", "which of the two?"
    assert send(cell, order.Ship("c-2", "T1", "SF", "B")).outcome == "accepted"
    assert (cell.order().status, cell.order().shipped, figures(cell, "S2", "B")) == (
        "allocating", frozenset({"2"}), (6, 0, 0))  # fmt: skip
    assert send(cell, order.Ship("c-3", "T9", "SF", "B")).outcome == "refused", "it has left: one shipment each"
    assert send(cell, order.Ship("c-4", "T2", "SF")).outcome == "accepted"
    assert (cell.order().status, figures(cell, "S1")) == ("shipped", (8, 0, 0))


def test_units_that_are_cancelled_are_taken_out_of_the_parcel_that_they_are_in() -> None:
    cell = stocked({"S1": 2}, {"S1": 4})
    gift = Ruling(1, gifts=(Gift("g", "S1", 2),), routes=(Route("b", warehouses=("B",)),))
    cell.take(snapshot(lines=(line("1", "S1", 2), line("2", "S1", 2))), ruling=gift)
    assert places(cell) == {"B": (("S1", 4),), "A": (("S1", 2),)}
    send(cell, order.CancelLines("c-1", (("1", 1),), "one is enough"))
    assert places(cell) == {"B": (("S1", 3),), "A": (("S1", 2),)}
    assert dict(cell.order().allocations[0].units) == {"1": 1, "2": 2}
    send(cell, order.Ship("c-2", "T1", "SF", "B"))
    send(cell, order.Ship("c-3", "T2", "SF", "A"))
    assert (cell.order().status, figures(cell, "S1"), figures(cell, "S1", "B")) == ("shipped", (0, 0, 0), (1, 0, 0))


def sent_in_part() -> Cell:
    """Return a cell with an order of ten units of one line, six of them on their way."""
    cell = stocked({"S1": 6}, {"S1": 4})
    units = Ruling(1, routes=(Route("big", warehouses=BOTH, split="units"),))
    cell.take(snapshot("paid", 1, (line("1", quantity=10),)), ruling=units)
    send(cell, order.Ship("c-1", "T1", "SF", "A"))
    return cell


@pytest.mark.parametrize(
    ("cancelled", "back"), [((), 6), ((("1", 10),), 6), ((("1", 8),), 4), ((("1", 5), ("1", 2)), 3), ((("1", 4),), 0)]
)
def test_units_of_a_line_that_have_left_are_not_cancelled_with_the_others(
    cancelled: order.Quantities, back: int
) -> None:
    cell = sent_in_part()
    assert send(cell, order.CancelLines("c-2", cancelled, "changed her mind")).outcome == "accepted"
    state = cell.order()
    assert (state.status, state.cancelled, state.shipped) == ("shipped", (("1", 4),), frozenset({"1"}))
    assert [case.lines for case in state.cases] == ([(("1", back),)] if back else [])
    assert (figures(cell, "S1"), figures(cell, "S1", "B")) == ((0, 0, 0), (4, 0, 0))


def test_units_that_have_not_left_are_cancelled_before_those_that_have() -> None:
    cell = sent_in_part()
    send(cell, order.CancelLines("c-2", (("1", 3),), "fewer will do"))
    state = cell.order()
    assert (state.status, state.cancelled, state.cases, places(cell)) == (
        "allocating",
        (("1", 3),),
        (),
        {"B": (("S1", 1),)},
    )


def test_an_order_that_its_channel_cancels_while_units_are_on_their_way_is_an_after_sale_of_these() -> None:
    cell = sent_in_part()
    cell.take(snapshot("cancelled", 5, (line("1", quantity=10),)))
    state = cell.order()
    assert (state.status, [case.lines for case in state.cases]) == ("shipped", [(("1", 6),)])


def test_a_plan_is_made_anew_when_units_move_from_one_line_to_another_of_the_same_goods() -> None:
    cell = stocked({"S1": 3}, {"S1": 1})
    units = Ruling(1, routes=(Route("big", warehouses=BOTH, split="units"),))
    cell.take(snapshot("paid", 1, (line("1", "S1", 2), line("2", "S1", 2))), ruling=units)
    cell.take(snapshot("paid", 2, (line("1", "S1", 3), line("2", "S1", 1))), ruling=units)
    told = [dict(each.units) for each in cell.order().allocations]
    assert {name: sum(each.get(name, 0) for each in told) for name in "12"} == {"1": 3, "2": 1}


def test_a_plan_of_several_warehouses_outlives_a_change_that_moves_no_units() -> None:
    cell = stocked({"S1": 3}, {"S1": 1})
    units = Ruling(1, routes=(Route("big", warehouses=BOTH, split="units"),))
    view = snapshot("paid", 1, (line("1", "S1", 4),))
    cell.take(view, ruling=units)
    planned = cell.order().allocations
    cheaper = msgspec.structs.replace(view.lines[0], amount=1)
    cell.take(snapshot("paid", 2, (cheaper,)), ruling=units)
    assert cell.order().allocations == planned
    assert (len(planned), cell.tags(KEY).count("order.released")) == (2, 0)


def test_a_plan_outlives_that_goods_which_have_left_already_are_not_on_the_shelf() -> None:
    cell = stocked({"S1": 9, "S2": 1}, {"G1": 3})
    cell.send("warehouse-A", stock.AdjustStock("d-9", "S2", -1, "counted"))
    gift = Ruling(1, gifts=(Gift("g", "G1", 1, "B"),))
    lines = (line("1"), line("2", "S2", 2, "shipped"))
    cell.take(snapshot("allocating", 9, lines), ruling=gift)
    assert (reasons(cell), places(cell)) == (["shipped_without_stock"], {"A": (("S1", 1),), "B": (("G1", 1),)})


def test_goods_that_left_beside_a_plan_are_not_taken_out_of_what_it_holds() -> None:
    cell = stocked({"S1": 9}, {"S2": 9})
    both = Ruling(1, routes=(Route("all", warehouses=BOTH),))
    cell.take(snapshot(lines=TWO), ruling=both)
    planned = cell.order().allocations
    turn = cell.take(snapshot("allocating", 5, (*TWO, line("3", "S1", state="shipped"))), ruling=both)
    assert cell.order().allocations == planned
    assert [record.tag for record in turn.records if record.stream == "warehouse-A"] == ["stock.issued"]
    assert (figures(cell, "S1"), figures(cell, "S2", "B")) == ((8, 1, 0), (9, 3, 0))


def test_a_channel_that_says_what_we_told_it_does_not_hold_the_rest_of_a_line() -> None:
    """JD, WeChat and Shopify hold an order of which they know that a line left in part, and no more than that."""
    cell = sent_in_part()
    cell.take(snapshot("allocating", 2, (line("1", quantity=10),), holds=("line_partly_shipped",)))
    assert send(cell, order.Ship("c-2", "T2", "SF")).outcome == "accepted"
    assert cell.order().status == "shipped"


@pytest.mark.parametrize("hold", ["line_partly_shipped", "risk_review"])
def test_a_hold_that_we_did_not_bring_about_stops_what_is_left(hold: str) -> None:
    cell = sent_in_part() if hold == "risk_review" else stocked({"S1": 10}, {})
    cell.take(snapshot("allocating", 2, (line("1", quantity=10),), holds=(hold,)))
    assert "held" in send(cell, order.Ship("c-2", "T2", "SF")).reason


def test_even_units_of_a_line_are_shared_where_the_route_allows_it() -> None:
    units = Ruling(1, routes=(Route("big", warehouses=BOTH, split="units"),))
    cell = stocked({"S2": 2}, {"S2": 2})
    cell.take(snapshot(lines=(line("2", quantity=3),)), ruling=units)
    assert places(cell) == {"A": (("S2", 2),), "B": (("S2", 1),)}
    send(cell, order.Ship("c-1", "T1", "SF", "A"))
    assert (cell.order().sent, cell.order().shipped, order.needs(cell.order())) == (
        (("2", 2),),
        frozenset(),
        (("S2", 1),),
    )
    send(cell, order.Ship("c-2", "T2", "SF"))
    assert (cell.order().status, cell.order().sent) == ("shipped", ())
    assert (figures(cell, "S2"), figures(cell, "S2", "B")) == ((0, 0, 0), (1, 0, 0))


def test_a_line_that_leaves_in_parts_has_left_with_its_last_unit() -> None:
    cell = stocked({"S2": 2}, {"S2": 2})
    cell.receive(("S1", 9), warehouse="C")
    route = Route("big", warehouses=("A", "B", "C"), split="units")
    cell.take(snapshot(lines=TWO), ruling=Ruling(1, routes=(route,)))
    assert places(cell) == {"A": (("S2", 2),), "B": (("S2", 1),), "C": (("S1", 1),)}
    for number, (code, shipped, needed) in enumerate(
        [("A", frozenset(), (("S1", 1), ("S2", 1))), ("B", frozenset("2"), (("S1", 1),)), ("C", frozenset("12"), ())], 1
    ):
        assert send(cell, order.Ship(f"c-{number}", f"T{number}", "SF", code)).outcome == "accepted"
        assert (cell.order().shipped, order.needs(cell.order())) == (shipped, needed)
    assert (cell.order().status, cell.order().sent) == ("shipped", ())
    assert [figures(cell, "S2"), figures(cell, "S2", "B"), figures(cell, "S1", "C")] == [
        (0, 0, 0), (1, 0, 0), (8, 0, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("split", ["never", "lines"])
def test_units_are_not_shared_without_leave(split: Any) -> None:
    cell = stocked({"S2": 2}, {"S2": 2})
    cell.take(
        snapshot(lines=(line("2", quantity=3),)), ruling=Ruling(1, routes=(Route("r", warehouses=BOTH, split=split),))
    )
    assert (places(cell), reasons(cell)) == ({}, ["stock_short"])
    assert (figures(cell, "S2"), figures(cell, "S2", "B")) == ((2, 0, 0), (2, 0, 0))
    asked = [record.stream for record in cell.records if record.tag == "stock.reservation_refused"]
    assert asked == ["warehouse-A"], "the first of the route says how much is missing"


def test_what_nobody_has_gives_everything_back_and_says_where_it_is_short() -> None:
    cell = stocked({"S1": 9, "S2": 1}, {"S1": 0 + 9})
    routes = (Route("near", ("1",), ("B",)), Route("far", ("2",), ("A",)))
    cell.take(snapshot(lines=TWO), ruling=Ruling(1, routes=routes))
    assert (places(cell), reasons(cell), cell.order().status) == ({}, ["stock_short"], "paid")
    assert (figures(cell, "S1", "B"), len(cell.ledger.allocations)) == ((9, 0, 0), 0), "what was held is given back"
    cell.receive(("S2", 9), document="more")
    ((name, _),) = cell.order().interceptions
    send(cell, order.ResolveInterception("c-1", name, "release"))
    assert places(cell) == {"B": (("S1", 1),), "A": (("S2", 3),)}


def test_custom_work_is_isolated_until_its_processing_is_confirmed() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    route = Route("engraving", ("2",), area="C", processing=True)
    cell.take(snapshot(lines=TWO), ruling=Ruling(1, routes=(route,), priority="urgent"))
    assert places(cell) == {"A": (("S1", 1),), "AC": (("S2", 3),)}
    lists = [record.data for record in cell.records if record.tag == "order.pick_list_issued"]
    assert [b'"area":"C"' in data for data in lists] == [False, True]
    assert all(b'"priority":"urgent"' in data for data in lists)
    custom = next(each.id for each in cell.order().allocations if each.area)
    which = send(cell, order.Ship("c-0", "T1", "SF"))
    assert which.reason.endswith(f"name one of {KEY}/1-1 (A), {KEY}/1-2 (A, area C)")
    assert send(cell, order.Ship("c-1", "T1", "SF", custom)).outcome == "refused"
    assert send(cell, order.ConfirmProcessing("c-2")).outcome == "accepted"
    assert send(cell, order.ConfirmProcessing("c-3", custom)).outcome == "refused", "once is enough"
    assert send(cell, order.Ship("c-4", "T1", "SF", custom)).outcome == "accepted"
    assert send(cell, order.Ship("c-5", "T2", "SF")).outcome == "accepted"
    assert cell.order().status == "shipped"


def test_a_kit_reserves_all_its_parts_or_none_and_takes_them_from_the_shelf() -> None:
    kit = Ruling(1, kits=(Kit("1", (("P1", 2), ("P2", 1))),))
    cell = stocked({"P1": 9, "P2": 1})
    cell.take(snapshot(lines=(line("1", "KIT", 2),)), ruling=kit)
    assert (places(cell), reasons(cell), figures(cell, "P1")) == ({}, ["stock_short"], (9, 0, 0))
    cell.receive(("P2", 1), document="more")
    ((name, _),) = cell.order().interceptions
    send(cell, order.ResolveInterception("c-1", name, "release"))
    assert places(cell) == {"A": (("P1", 4), ("P2", 2))}
    send(cell, order.Ship("c-2", "T1", "SF"))
    assert (figures(cell, "P1"), figures(cell, "P2")) == ((5, 0, 0), (0, 0, 0))


def test_a_kit_that_its_channel_ships_is_deducted_by_its_parts() -> None:
    kit = Ruling(1, kits=(Kit("1", (("P1", 2),)),))
    cell = stocked({"P1": 9})
    goods = (line("1", "KIT", 2),)
    cell.take(snapshot(lines=goods), ruling=kit)
    cell.take(snapshot("shipped", 5, goods), ruling=kit)
    assert figures(cell, "P1") == (5, 0, 0)


def test_stock_kept_from_campaigns_is_not_eaten() -> None:
    cell = stocked({"S1": 5})
    cell.take(snapshot(lines=(line("1", quantity=3),)), ruling=Ruling(1, keep=(("S1", 3),)))
    assert (reasons(cell), figures(cell, "S1")) == (["stock_short"], (5, 0, 0))
    cell.take(snapshot(lines=(line("1", quantity=3),), number="o-2"))
    assert figures(cell, "S1") == (5, 3, 0), "an order that the rule is not about may have it"


@pytest.mark.parametrize(("there", "served_by"), [(4, "A"), (3, "")])
def test_the_preferred_warehouse_serves_an_order_down_to_its_last_unit(there: int, served_by: str) -> None:
    ledger = stock.evolve(stock.Ledger(), stock.StockReceived("d-1", (("S1", there),), T0))
    places = Stock(("A", "B"), {"A": ledger, "B": stock.Ledger()}.__getitem__)
    paid = order.Order("paid", lines=PRE)
    assert plain_warehouse(paid, order.needs(paid), places) == served_by


@pytest.mark.parametrize("elsewhere", ["A", "B"])
def test_what_is_held_in_another_warehouse_asks_for_a_plan(elsewhere: str) -> None:
    ledger = stock.evolve(stock.Ledger(), stock.StockReceived("d-1", (("S1", 4),), T0))
    places = Stock(("A", "B"), {"A": ledger, "B": stock.Ledger()}.__getitem__)
    anywhere = (Route("near", warehouses=("A",)), Route("any"))
    held = order.Ruled(anywhere, pre_holds=(order.Allocation("o/pre-1", elsewhere, (("S1", 1),)),))
    paid = order.Order("paid", lines=PRE, ruled=held)
    assert plain_warehouse(paid, order.needs(paid), places) == {"A": "A", "B": ""}[elsewhere]


def test_what_is_planned_ahead_is_held_only_once_a_ledger_says_so() -> None:
    places = Stock(("A",), {"A": stock.Ledger()}.__getitem__)
    gift = order.Ruled(gifts=(Gift("buy-2", "G1", 1),))
    unpaid = order.Order("awaiting_payment", lines=TWO, ruled=gift)
    assert pre_plan("o", unpaid, places) == (order.Allocation("o/pre-1", "A", (("G1", 1),), held=False),)


# --- gifts

GIFT = Ruling(1, gifts=(Gift("buy-2", "G1", 1),), savings=(Saving("over", 500),))


def test_a_gift_of_an_unpaid_order_is_held_in_the_turn_that_takes_it_in_and_converted_at_payment() -> None:
    cell = stocked({"S1": 9, "S2": 9, "G1": 1})
    turn = cell.take(snapshot("awaiting_payment", 1, TWO), ruling=GIFT)
    assert [record.tag for record in turn.records if record.tag != "order.timer_set"][2:] == [
        "order.gifts_granted", "stock.pre_reserved", "order.gift_pre_reserved"]  # fmt: skip
    assert (figures(cell, "G1"), figures(cell, "S1")) == ((1, 0, 1), (9, 0, 0))
    cell.take(snapshot("paid", 2, TWO), ruling=GIFT)
    assert (figures(cell, "G1"), figures(cell, "S1")) == ((1, 1, 0), (9, 1, 0))
    send(cell, order.Ship("c-1", "T1", "SF"))
    assert (figures(cell, "G1"), len(cell.ledger.allocations)) == ((0, 0, 0), 0)


def test_a_gift_that_is_not_there_stops_the_order_and_is_waived_or_tried_again() -> None:
    decisions: dict[Literal["waive", "release"], list[str]] = {"waive": ["S1", "S2"], "release": ["S1", "S2", "G1"]}
    for decision, tags in decisions.items():
        cell = stocked({"S1": 9, "S2": 9})
        cell.take(snapshot("awaiting_payment", 1, TWO), ruling=GIFT)
        assert reasons(cell) == ["gift_short"]
        cell.take(snapshot("paid", 2, TWO), ruling=GIFT)
        assert (places(cell), reasons(cell)) == ({}, ["gift_short"]), "main goods are not promised without their gift"
        cell.receive(("G1", 5), document="gifts")
        ((name, _),) = cell.order().interceptions
        send(cell, order.ResolveInterception("c-1", name, decision))
        assert [sku for each in cell.order().allocations for sku, _ in each.lines] == tags
        cell.take(snapshot("paid", 3, TWO, freight=1), ruling=GIFT)
        assert [sku for each in cell.order().allocations for sku, _ in each.lines] == tags, "a waived gift stays waived"


def test_a_paid_order_without_its_gift_is_stopped_for_the_gift() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("paid", 2, TWO), ruling=GIFT)
    assert (places(cell), reasons(cell), figures(cell, "S1")) == ({}, ["gift_short"], (9, 0, 0))


def test_only_a_lack_of_gifts_can_be_waived() -> None:
    cell = stocked({"S1": 9})
    cell.take(snapshot("paid", 2, TWO), ruling=GIFT)
    ((name, reason),) = cell.order().interceptions
    assert reason == "stock_short"
    assert send(cell, order.ResolveInterception("c-1", name, "waive")).outcome == "refused"


def test_a_gift_is_given_back_when_the_order_is_cancelled_or_not_paid_in_time() -> None:
    cell = stocked({"G1": 1})
    cell.take(snapshot("awaiting_payment", 1, TWO), ruling=GIFT)
    cell.take(snapshot("cancelled", 2, TWO), ruling=GIFT)
    assert (figures(cell, "G1"), len(cell.ledger.allocations)) == ((1, 0, 0), 0)
    cell = stocked({"S1": 9, "S2": 9, "G1": 1})
    cell.take(snapshot("awaiting_payment", 1, TWO), ruling=GIFT)
    ((timer, due_ms),) = cell.order().timers
    send(cell, order.TimerDue(timer, due_ms))
    assert (figures(cell, "G1"), reasons(cell)) == ((1, 0, 0), ["payment_timeout"])
    cell.take(snapshot("paid", 9, TWO), ruling=GIFT)
    assert (figures(cell, "G1"), reasons(cell)) == ((1, 1, 0), []), "a late payment gets it if it is still there"


def test_a_changed_order_gets_the_gifts_that_it_now_deserves() -> None:
    cell = stocked({"G1": 5, "G2": 5})
    cell.take(snapshot("awaiting_payment", 1, TWO), ruling=GIFT)
    cell.take(snapshot("awaiting_payment", 2, (line("1"),)), ruling=Ruling(1, gifts=(Gift("other", "G2", 2),)))
    assert (figures(cell, "G1"), figures(cell, "G2")) == ((5, 0, 0), (5, 0, 2))
    cell.take(snapshot("awaiting_payment", 3, (line("1"),), freight=5), ruling=Ruling(1))
    assert (figures(cell, "G2"), len(cell.ledger.allocations)) == ((5, 0, 0), 0)


def test_a_gift_from_another_warehouse_leaves_in_a_parcel_of_its_own() -> None:
    cell = stocked({"S1": 9, "S2": 9}, {"G1": 1})
    ruling = Ruling(1, gifts=(Gift("buy-2", "G1", 1, "B"),))
    cell.take(snapshot("awaiting_payment", 1, TWO), ruling=ruling)
    assert figures(cell, "G1", "B") == (1, 0, 1)
    cell.take(snapshot("paid", 2, TWO), ruling=ruling)
    assert places(cell) == {"A": (("S1", 1), ("S2", 3)), "B": (("G1", 1),)}
    assert figures(cell, "G1", "B") == (1, 1, 0)
    send(cell, order.Ship("c-1", "T1", "SF", "A"))
    assert (cell.order().status, order.needs(cell.order())) == ("allocating", (("G1", 1),))
    send(cell, order.Ship("c-2", "T2", "SF", "B"))
    assert (cell.order().status, figures(cell, "G1", "B")) == ("shipped", (0, 0, 0))


@pytest.mark.parametrize("by_channel", [False, True])
def test_a_gift_that_stays_here_when_the_rest_is_cancelled_has_not_left(by_channel: bool) -> None:
    cell = stocked({"S1": 9, "S2": 9}, {"G1": 3})
    ruling = Ruling(1, gifts=(Gift("g", "G1", 2, "B"),))
    cell.take(snapshot("paid", 2, TWO), ruling=ruling)
    send(cell, order.Ship("c-1", "T1", "SF", "A"))
    assert (cell.order().status, figures(cell, "G1", "B")) == ("allocating", (3, 2, 0))
    if by_channel:
        cell.take(snapshot("cancelled", 5, TWO), ruling=ruling)
    else:
        send(cell, order.CancelLines("c-2", (), "changed his mind"))
    after = cell.order()
    assert (after.status, after.ruled.gifts, figures(cell, "G1", "B")) == ("shipped", (), (3, 0, 0))
    back = ReceiveReturn("c-3", 0, (("gift:g:G1", 1),))
    assert cell.send(order_key("taobao", "shop1", "o-1"), back).outcome == "refused"
    assert replayed(cell.records) == cell.living


def test_a_gift_from_another_warehouse_has_its_own_parcel_in_an_order_that_comes_paid() -> None:
    cell = stocked({"S1": 9, "S2": 9}, {"G1": 1})
    cell.take(snapshot("paid", 2, TWO), ruling=Ruling(1, gifts=(Gift("buy-2", "G1", 1, "B"),)))
    assert places(cell) == {"A": (("S1", 1), ("S2", 3)), "B": (("G1", 1),)}
    assert (figures(cell, "G1", "B"), reasons(cell)) == ((1, 1, 0), [])


def test_a_gift_stays_while_its_channel_reports_only_other_lines_as_shipped() -> None:
    cell = stocked({"S1": 9, "S2": 9, "G1": 1})
    cell.take(snapshot("paid", 2, TWO), ruling=GIFT)
    cell.take(snapshot("allocating", 5, (line("1", state="shipped"), TWO[1])), ruling=GIFT)
    assert (figures(cell, "S1"), figures(cell, "S2"), figures(cell, "G1")) == ((8, 0, 0), (9, 3, 0), (1, 1, 0))


def test_a_gift_leaves_with_what_its_channel_reports_as_shipped() -> None:
    cell = stocked({"S1": 9, "S2": 9, "G1": 1})
    cell.take(snapshot("paid", 2, TWO), ruling=GIFT)
    cell.take(snapshot("shipped", 5, TWO), ruling=GIFT)
    assert (figures(cell, "G1"), len(cell.ledger.allocations)) == ((0, 0, 0), 0)


def test_gifts_are_never_promised_twice() -> None:
    cell = stocked({"S1": 99, "S2": 99, "G1": 3})
    for number in range(5):
        cell.take(snapshot("awaiting_payment", 1, TWO, number=f"o-{number}"), ruling=GIFT)
    assert figures(cell, "G1") == (3, 0, 3)
    assert sum(bool(cell.order(f"o-{number}").interceptions) for number in range(5)) == 2


# --- promises and risks


def test_a_gift_that_was_held_is_free_again_when_the_plan_that_took_it_comes_to_nothing() -> None:
    cell = stocked({"S1": 9, "G1": 1})
    two = Ruling(1, gifts=(Gift("g", "G1", 1), Gift("h", "G2", 1, "B")))
    cell.take(snapshot("awaiting_payment", 1), ruling=two)
    assert (figures(cell, "G1"), reasons(cell)) == ((1, 0, 1), ["gift_short"])
    cell.take(snapshot("paid", 2), ruling=two)
    send(cell, order.ResolveInterception("c-1", cell.order().interceptions[0][0], "release"))
    assert (figures(cell, "G1"), cell.order().ruled.pre_holds, reasons(cell)) == ((1, 0, 0), (), ["gift_short"])
    cell.receive(("G2", 1), warehouse="B")
    send(cell, order.ResolveInterception("c-2", cell.order().interceptions[0][0], "release"))
    assert (figures(cell, "G1"), figures(cell, "G2", "B")) == ((1, 1, 0), (1, 1, 0))


def test_parts_of_a_plan_are_asked_for_once_whatever_happens_between() -> None:
    cell = stocked({"S1": 9})
    suspects = Ruling(1, gifts=(Gift("h", "G2", 1, "B"),), suspect_within_ms=HOUR_MS)
    for number in ("o-1", "o-2"):
        view = msgspec.structs.replace(snapshot(lines=(line("1"),), number=number), customer="c-1")
        cell.take(view, ruling=suspects)
    stopped = [name for name, _ in cell.order("o-2").interceptions]
    assert max(cell.order("o-2").interceptions, key=lambda each: each[1])[1] == "suspected_duplicate"
    assert len(stopped) == len(set(stopped)) == 2, "each of the two is told once"


def test_a_promise_is_recorded_at_payment_and_its_breach_stops_the_order_once() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    ruling = Ruling(4, promise=Promise("hour", HOUR_MS, 2 * HOUR_MS))
    cell.take(snapshot("awaiting_payment", 1, TWO), ruling=ruling)
    assert "order.promised" not in cell.tags()
    turn = cell.take(snapshot("paid", 2, TWO), ruling=ruling)
    assert turn.timers[-1].due_ms == T0 + 2 * 60_000 + HOUR_MS
    cell.take(snapshot("paid", 3, TWO, freight=1), ruling=ruling)
    assert cell.tags().count("order.promised") == 1
    due = order.TimerDue("promise", T0 + 2 * 60_000 + HOUR_MS)
    send(cell, due)
    assert reasons(cell) == ["overdue_promise"]
    assert send(cell, due).records == []
    assert send(cell, order.Ship("c-1", "T1", "SF")).outcome == "refused"
    ((name, _),) = cell.order().interceptions
    send(cell, order.ResolveInterception("c-2", name, "release"))
    assert send(cell, order.Ship("c-3", "T1", "SF")).outcome == "accepted"


def test_a_promise_that_was_kept_rings_no_bell() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("paid", 2, TWO), ruling=Ruling(1, promise=Promise("hour", HOUR_MS)))
    turn = send(cell, order.Ship("c-1", "T1", "SF"))
    assert [(timer.id, timer.due_ms) for timer in turn.timers] == [("promise", None)]
    assert send(cell, order.TimerDue("promise", T0 + 2 * 60_000 + HOUR_MS)).records == []


BIG = Ruling(2, found=(Found("big", "large_quantity", "500 units", "ask the buyer", "sales"),))


def test_a_rule_stops_an_order_once_and_a_release_stands() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("paid", 2, TWO), ruling=BIG)
    ((name, reason),) = cell.order().interceptions
    assert (reason, places(cell)) == ("large_quantity", {})
    send(cell, order.ResolveInterception("c-1", name, "release"))
    assert places(cell) != {}
    cell.take(snapshot("paid", 3, TWO, freight=1), ruling=BIG)
    assert reasons(cell) == []


def test_a_risk_that_is_gone_lifts_its_interception() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("paid", 2, TWO), ruling=BIG)
    cell.take(snapshot("paid", 3, TWO, freight=1), ruling=Ruling(2))
    assert (reasons(cell), cell.order().status) == ([], "allocating")


def test_a_risk_that_is_still_there_keeps_its_interception_and_one_that_is_gone_lifts_only_its_own() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("paid", 2, TWO), ruling=BIG, flaws=("no_phone",))
    stopped = cell.order().interceptions
    assert sorted(reasons(cell)) == ["address_anomaly", "large_quantity"]
    cell.take(snapshot("paid", 3, TWO, freight=1), ruling=BIG, flaws=("no_phone",))
    assert cell.order().interceptions == stopped
    assert "order.resolved" not in cell.tags()
    cell.take(snapshot("paid", 4, TWO, freight=2), ruling=Ruling(2), flaws=("no_phone",))
    assert reasons(cell) == ["address_anomaly"]


def test_a_bad_address_stops_the_order_until_it_is_corrected() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("awaiting_payment", 1, TWO), flaws=("no_phone",))
    assert reasons(cell) == [], "nobody pays for an order that will never come"
    cell.take(snapshot("paid", 2, TWO), flaws=("no_phone",))
    assert (reasons(cell), places(cell)) == (["address_anomaly"], {})
    cell.take(snapshot("paid", 3, TWO), "addr-2")
    assert (reasons(cell), cell.order().status) == ([], "allocating")


def test_goods_into_the_eu_leave_only_with_lot_and_carbon_figure() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("paid", 2, TWO), ruling=Ruling(1, lots=True))
    whole = (order.Lot("S1", "L1", 1, "1.2", "kgCO2e", "ISO 14067", "maker"),
             order.Lot("S2", "L2", 2, "3.1", "kgCO2e", "ISO 14067", "maker"),
             order.Lot("S2", "L3", 1, "1.5", "kgCO2e", "ISO 14067", "maker"))  # fmt: skip
    for lots in ((), whole[:2], (*whole[:2], order.Lot("S2", "L3", 1))):
        assert send(cell, order.Ship(f"c-{len(lots)}-{len(cell.records)}", "T1", "SF", "", lots)).outcome == "refused"
    turn = send(cell, order.Ship("c-9", "T1", "SF", "", whole))
    assert [record.tag for record in turn.records][:2] == ["order.lots_recorded", "order.shipped"]


def test_the_plain_case_asks_no_rules_and_records_nothing_of_them() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot(lines=TWO))
    assert cell.tags(KEY) == [
        "order.received",
        "order.normalized",
        "order.paid",
        "order.reserved",
        "order.pick_list_issued",
    ]


def test_a_counter_sale_is_not_routed_nor_stopped() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("completed", 2, TWO, kind="counter"), ruling=BIG, flaws=("no_phone",))
    assert reasons(cell) == []
    assert "order.routed" not in cell.tags()


def test_20_buyers_of_10_units_and_1000_of_one_sell_exactly_what_is_there() -> None:
    ruling = Ruling(1, routes=(Route("any", warehouses=BOTH, split="units"),), gifts=(Gift("g", "G1", 1),))
    for buyers, units, a, b in ((20, 10, 60, 47), (1_000, 1, 400, 300)):
        cell = stocked({"S1": a, "G1": buyers}, {"S1": b})
        for number in range(buyers):
            cell.take(snapshot(lines=(line("1", quantity=units),), number=f"o-{number}"), ruling=ruling)
        served = sum(cell.order(f"o-{number}").status == "allocating" for number in range(buyers))
        assert served == (a + b) // units
        left = cell.level("S1").available + cell.level("S1", "B").available
        assert (left, cell.level("G1").reserved) == (a + b - served * units, served)
        assert min(cell.level("S1").available, cell.level("S1", "B").available) >= 0


def test_a_ledger_never_promises_below_what_is_kept_and_counts_a_pre_reservation_once() -> None:
    cell = stocked({"G1": 3})
    key = order_key("taobao", "shop1", "o-9")
    hold = stock.PreReserve("o/pre-1", key, (("G1", 2),), (("G1", 1),))
    ledger = cell.ledger
    (held,) = stock.decide(hold, ledger)
    ledger = stock.evolve(ledger, held)
    assert isinstance(stock.decide(stock.PreReserve("o/pre-2", key, (("G1", 1),), (("G1", 1),)), ledger)[0],
                      stock.ReservationRefused)  # fmt: skip
    taken = stock.decide(stock.Reserve("o/1", key, (("G1", 3),), (), ("o/pre-1",)), ledger)
    assert [type(event) for event in taken] == [stock.StockReleased, stock.StockReserved]
    refused = stock.decide(stock.Reserve("o/1", key, (("G1", 4),), (), ("o/pre-1",)), ledger)
    assert [type(event) for event in refused] == [stock.ReservationRefused], "the pre-reservation stays"


# --- presales

DAY_MS = 24 * HOUR_MS
PRE = (line("1", quantity=4),)


def presale(cell: Cell, status: Any, minute: int, paid: int | None = None, **more: Any) -> None:
    cell.take(snapshot(status, minute, more.pop("lines", PRE), kind="presale", paid=paid, **more))


def expected(cell: Cell, units: int, arrival: str = "PO-1", days: int = 5) -> None:
    cell.send("warehouse-A", stock.ExpectStock(f"e-{arrival}-{units}", arrival, (("S1", units),), T0 + days * DAY_MS))


def arrive(cell: Cell, units: int, arrival: str = "PO-1") -> None:
    document = f"in-{arrival}-{len(cell.records)}"
    cell.send("warehouse-A", stock.ReceiveStock(document, (("S1", units),), arrival))


def test_a_presale_locks_what_is_to_arrive_from_its_deposit_on_and_ships_when_it_is_here_and_paid() -> None:
    cell = stocked({"S1": 1})
    expected(cell, 5)
    presale(cell, "awaiting_payment", 1)
    assert cell.level("S1").promised == 0, "nobody locks stock for nothing"
    presale(cell, "awaiting_payment", 2, paid=50)
    level = cell.level("S1")
    assert (level.pre_reserved, level.promised, level.available) == (1, 3, 0)
    assert dict(cell.order().timers)["presale"] == T0 + 5 * DAY_MS
    presale(cell, "paid", 3)
    assert (cell.order().status, places(cell)) == ("paid", {}), "there is nothing to pick yet"
    arrive(cell, 2)
    assert (cell.level("S1").promised, places(cell)) == (1, {})
    arrive(cell, 3)
    assert (places(cell), figures(cell, "S1")) == ({"A": (("S1", 4),)}, (6, 4, 0))
    assert "presale" not in dict(cell.order().timers)
    send(cell, order.Ship("c-1", "T1", "SF"))
    assert (figures(cell, "S1"), len(cell.ledger.allocations), cell.ledger.promises) == ((2, 0, 0), 0, ())


def test_goods_that_arrive_are_for_those_who_were_promised_them_first() -> None:
    cell = stocked({"S2": 1})
    expected(cell, 8)
    for number in ("o-1", "o-2"):
        presale(cell, "paid", 1, number=number)
    cell.take(snapshot(lines=PRE, number="o-3"))
    assert [cell.order(number).interceptions[:1] for number in ("o-1", "o-2")] == [(), ()]
    assert cell.order("o-3").interceptions[0][1] == "stock_short", "an order of today does not wait"
    arrive(cell, 6)
    assert [cell.order(number).status for number in ("o-1", "o-2")] == ["allocating", "paid"]
    assert (cell.level("S1").available, cell.level("S1").promised) == (0, 2), "what is here is not sold to others"
    arrive(cell, 2)
    assert cell.order("o-2").status == "allocating"


def test_more_than_is_to_arrive_is_not_sold() -> None:
    cell = stocked({"S2": 1})
    expected(cell, 7)
    for number in ("o-1", "o-2"):
        presale(cell, "paid", 1, number=number)
    assert cell.order("o-2").interceptions[0][1] == "stock_short"
    assert cell.level("S1").promised == 4


def test_a_presale_is_unlocked_when_it_is_cancelled_changed_or_not_paid_in_time() -> None:
    cell = stocked({"S1": 1})
    expected(cell, 9)
    presale(cell, "awaiting_payment", 2, paid=50, pay_by=snapshot("paid", 9).modified_at)
    presale(
        cell, "awaiting_payment", 3, paid=50, lines=(line("1", quantity=2),), pay_by=snapshot("paid", 9).modified_at
    )
    assert (figures(cell, "S1"), cell.level("S1").promised) == ((1, 0, 1), 1)
    due_ms = dict(cell.order().timers)["payment"]
    send(cell, order.TimerDue("payment", due_ms))
    assert (figures(cell, "S1"), cell.level("S1").promised, reasons(cell)) == ((1, 0, 0), 0, ["payment_timeout"])
    presale(cell, "paid", 12, lines=(line("1", quantity=2),))
    assert cell.level("S1").promised == 1
    presale(cell, "cancelled", 13, lines=(line("1", quantity=2),))
    assert (figures(cell, "S1"), cell.level("S1").promised, cell.ledger.promises) == ((1, 0, 0), 0, ())


def test_a_presale_whose_goods_do_not_come_in_time_is_stopped_until_they_do() -> None:
    cell = stocked({"S2": 1})
    expected(cell, 5)
    presale(cell, "paid", 2)
    send(cell, order.TimerDue("presale", T0 + 5 * DAY_MS))
    assert reasons(cell) == ["presale_overdue"]
    arrive(cell, 5)
    assert (reasons(cell), cell.order().status) == ([], "allocating")


def test_goods_of_a_lock_that_was_given_up_do_not_end_the_wait_of_the_one_that_counts() -> None:
    cell = stocked({"S2": 1})
    expected(cell, 5)
    presale(cell, "paid", 2)
    (hold,) = cell.order().ruled.pre_holds
    due = cell.order().timers
    late = order.ConfirmArrived("o/pre-0")
    (told,) = order.decide(late, cell.order(), T0)
    assert told == order.PresaleArrived("o/pre-0")
    after = order.evolve(cell.order(), told)
    assert (after.timers, after.ruled.pre_holds) == (due, (hold,))


def test_that_goods_of_a_presale_are_late_is_told_also_when_its_balance_was_paid_meanwhile() -> None:
    cell = stocked({"S2": 1})
    expected(cell, 5)
    presale(cell, "awaiting_payment", 2, paid=50)
    presale(cell, "paid", 3)
    due_ms = dict(cell.order().timers)["presale"]
    send(cell, order.TimerDue("presale", due_ms))
    assert reasons(cell) == ["presale_overdue"]


def test_an_order_may_use_all_that_several_pre_reservations_hold_for_it_in_one_warehouse() -> None:
    ledger = stock.Ledger()
    for held in (stock.StockReceived("d-1", (("S1", 4),), T0), stock.StockPreReserved("o/pre-1", "o", (("S1", 1),)),
                 stock.StockPreReserved("o/pre-2", "o", (("S1", 3),))):  # fmt: skip
        ledger = stock.evolve(ledger, held)
    holds = (order.Allocation("o/pre-1", "A", (("S1", 1),)), order.Allocation("o/pre-2", "A", (("S1", 3),)))
    routes = (Route("far", warehouses=("B", "A")),)
    state = order.Order("paid", lines=PRE, ruled=order.Ruled(routes, pre_holds=holds))
    places = Stock(("A", "B"), {"A": ledger, "B": stock.Ledger()}.__getitem__)
    assert [(each.warehouse, each.lines) for each in plan("o", state, places)] == [("A", (("S1", 4),))]


def test_what_a_part_of_a_plan_does_not_take_stays_held_for_the_other_parts_and_is_nobody_elses() -> None:
    cell = stocked({"S1": 1, "S2": 1})
    expected(cell, 9)
    both = (line("1", "S1", 1), line("2", "S2", 1))
    craft = Ruling(1, routes=(Route("craft", ("1",), area="craft", processing=True),))
    cell.take(snapshot("awaiting_payment", 2, both, kind="presale", paid=50), ruling=craft)
    presale(cell, "paid", 2, number="o-2")
    assert (figures(cell, "S1"), cell.level("S1").promised) == ((1, 0, 1), 4)
    cell.take(snapshot("paid", 3, both, kind="presale"), ruling=craft)
    assert [(each.area, each.lines) for each in cell.order().allocations] == [
        ("craft", (("S1", 1),)), ("", (("S2", 1),))]  # fmt: skip
    assert (figures(cell, "S1"), figures(cell, "S2"), cell.level("S1").promised) == ((1, 1, 0), (1, 1, 0), 4)


def test_what_is_held_for_a_later_part_of_a_plan_does_not_go_to_who_waits_for_the_same_goods() -> None:
    cell = stocked({"S1": 1, "S2": 1})
    cell.send("warehouse-A", stock.ExpectStock("e-1", "PO-1", (("S2", 9),), T0 + 5 * DAY_MS))
    both = (line("1", "S1", 1), line("2", "S2", 1))
    craft = Ruling(1, routes=(Route("craft", ("1",), area="craft", processing=True),))
    cell.take(snapshot("awaiting_payment", 2, both, kind="presale", paid=50), ruling=craft)
    presale(cell, "paid", 2, number="o-2", lines=(line("1", "S2", 4),))
    assert (figures(cell, "S2"), cell.level("S2").promised) == ((1, 0, 1), 4)
    cell.take(snapshot("paid", 3, both, kind="presale"), ruling=craft)
    assert (figures(cell, "S2"), cell.level("S2").promised, reasons(cell)) == ((1, 1, 0), 4, [])


def test_goods_that_arrive_for_a_presale_leave_what_is_kept_from_it() -> None:
    cell = stocked({"S1": 2})
    expected(cell, 8)
    keeps = Ruling(1, keep=(("S1", 3),))
    cell.take(snapshot("awaiting_payment", 2, PRE, kind="presale", paid=50), ruling=keeps)
    assert (figures(cell, "S1"), cell.level("S1").promised) == ((2, 0, 0), 4)
    arrive(cell, 4)
    assert (figures(cell, "S1"), cell.level("S1").promised) == ((6, 0, 3), 1)
    arrive(cell, 4)
    assert (figures(cell, "S1"), cell.level("S1").available) == ((10, 0, 4), 6)


def test_a_presale_of_goods_that_are_here_is_held_at_once() -> None:
    cell = stocked({"S1": 9})
    presale(cell, "awaiting_payment", 2, paid=50)
    assert figures(cell, "S1") == (9, 0, 4)
    presale(cell, "paid", 3)
    assert (figures(cell, "S1"), cell.order().status) == ((9, 4, 0), "allocating")


def test_an_announced_arrival_is_replaced_and_called_off() -> None:
    cell = stocked({"S2": 1})
    expected(cell, 5)
    expected(cell, 2)
    presale(cell, "paid", 2)
    assert reasons(cell) == ["stock_short"]
    cell.send("warehouse-A", stock.ExpectStock("e-off", "PO-1", (), T0 + DAY_MS))
    assert dict(cell.ledger.arrivals) == {}
    assert cell.send("warehouse-A", stock.ExpectStock("e-bad", "", (("S1", 1),), T0)).outcome == "refused"
    assert cell.send("warehouse-A", stock.ExpectStock("e-off", "PO-2", (("S1", 1),), T0)).outcome == "repeated"


# --- paid by somebody who knows nothing else of the order


def test_what_was_ruled_of_an_unpaid_order_follows_its_payment_by_a_notice() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    form = Form("large", "credit", "finance")
    ruling = Ruling(7, promise=Promise("hour", HOUR_MS), forms=(form,))
    cell.take(snapshot("awaiting_payment", 1, TWO), ruling=ruling, flaws=("no_phone",))
    assert "order.promised" not in cell.tags()
    send(cell, RecordPayment("c-1", "t-1", 400, "CNY", "paid", T0 + 60_000))
    assert cell.order().status == "paid"
    assert (reasons(cell), places(cell)) == (["address_anomaly"], {})
    assert ("promise", T0 + 60_000 + HOUR_MS) in cell.order().timers
    assert [each.asked.form for each in approvals.blocking(cell.order().people.approvals)] == ["credit"]
    ((name, _),) = cell.order().interceptions
    send(cell, order.ResolveInterception("c-2", name, "release"))
    assert send(cell, order.Ship("c-3", "T1", "SF")).outcome == "refused", "nobody has approved it"
    cell.take(snapshot("paid", 5, TWO), ruling=ruling)
    assert cell.tags().count("order.promised") == 1


def test_an_address_without_a_flaw_stops_no_order_that_is_paid_by_a_notice() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    ruling = Ruling(7, promise=Promise("hour", HOUR_MS))
    cell.take(snapshot("awaiting_payment", 1, TWO), ruling=ruling)
    send(cell, RecordPayment("c-1", "t-1", 400, "CNY", "paid", T0 + 60_000))
    assert (cell.order().status, reasons(cell)) == ("allocating", [])
    assert ("promise", T0 + 60_000 + HOUR_MS) in cell.order().timers
    assert places(cell) == {"A": (("S1", 1), ("S2", 3))}


def test_an_unpaid_order_that_nothing_waits_for_records_nothing_of_it() -> None:
    cell = stocked({"S1": 9, "S2": 9})
    cell.take(snapshot("awaiting_payment", 1, TWO), ruling=Ruling(7))
    assert "order.routed" not in cell.tags()


def test_a_presale_whose_gift_lies_elsewhere_is_locked_in_both_places_and_leaves_in_two_parcels() -> None:
    cell = stocked({"S1": 1}, {"G1": 1})
    expected(cell, 5)
    ruling = Ruling(1, gifts=(Gift("deposit", "G1", 1, "B"),))
    cell.take(snapshot("awaiting_payment", 2, PRE, kind="presale", paid=50), ruling=ruling)
    assert (figures(cell, "S1"), cell.level("S1").promised, figures(cell, "G1", "B")) == ((1, 0, 1), 3, (1, 0, 1))
    assert reasons(cell) == []
    cell.take(snapshot("paid", 3, PRE, kind="presale"), ruling=ruling)
    arrive(cell, 5)
    assert places(cell) == {"A": (("S1", 4),), "B": (("G1", 1),)}
    assert (figures(cell, "S1"), figures(cell, "G1", "B")) == ((6, 4, 0), (1, 1, 0))
    assert len(cell.states["warehouse-B"].state.allocations) == 1


def test_a_presale_that_lacks_only_its_gift_keeps_its_goods_and_goes_on_when_the_gift_is_there() -> None:
    cell = stocked({"S1": 9}, {"S9": 1})
    ruling = Ruling(1, gifts=(Gift("deposit", "G1", 1, "B"),))
    cell.take(snapshot("awaiting_payment", 2, PRE, kind="presale", paid=50), ruling=ruling)
    assert (reasons(cell), figures(cell, "S1")) == (["gift_short"], (9, 0, 4))
    cell.take(snapshot("paid", 3, PRE, kind="presale"), ruling=ruling)
    assert (reasons(cell), figures(cell, "S1")) == (["gift_short"], (9, 0, 4))
    cell.receive(("G1", 1), document="gifts", warehouse="B")
    ((name, _),) = cell.order().interceptions
    send(cell, order.ResolveInterception("c-1", name, "release"))
    assert places(cell) == {"A": (("S1", 4),), "B": (("G1", 1),)}


def test_a_presale_that_waits_for_a_gift_can_go_without_it() -> None:
    cell = stocked({"S1": 9}, {"S9": 1})
    ruling = Ruling(1, gifts=(Gift("deposit", "G1", 1, "B"),))
    cell.take(snapshot("paid", 3, PRE, kind="presale"), ruling=ruling)
    ((name, _),) = cell.order().interceptions
    send(cell, order.ResolveInterception("c-1", name, "waive"))
    assert places(cell) == {"A": (("S1", 4),)}


def test_goods_that_arrive_are_told_in_one_turn_to_thousands_who_were_promised_them() -> None:
    cell, many = Cell(), 3_400
    expected(cell, many)
    for number in range(many):
        cell.take(snapshot("paid", number=f"o-{number}", kind="presale"))
    orders = {key: cell.states.pop(key) for key in [*cell.states] if key.startswith("order-")}
    states = dict(cell.states)
    arrived = Mail("warehouse-A", stock.ReceiveStock("d-1", (("S1", many),), "PO-1"), T0, PERSON)
    asked: list[int] = []
    while True:
        try:
            turn = run_turn(Message("life-1", T0, arrived), states)
            break
        except Missing as missing:
            asked.append(len(missing.streams))
            states.update((key, orders[key]) for key in missing.streams)
    assert asked == [many], "each asking begins the turn anew"
    assert sum(record.tag == "order.pick_list_issued" for record in turn.records) == many
