"""The plain case: what happens to an order moves the stock with it, and nothing stays behind."""

from domain import fulfilment, order, stock
from domain.ids import order_key
from domain.routing import Stock
from tests.spec import T0, WAREHOUSE, Cell, line, normalized, snapshot

KEY = order_key("taobao", "shop1", "o-1")
TWO = (line("1"), line("2", quantity=3))


def stocked(units: int = 10) -> Cell:
    cell = Cell()
    cell.receive(("S1", units), ("S2", units))
    return cell


def figures(cell: Cell, sku: str) -> tuple[int, int]:
    level = cell.level(sku)
    return level.on_hand, level.reserved


def test_an_unpaid_order_holds_nothing_and_a_paid_one_all_it_needs() -> None:
    cell = stocked()
    cell.take(snapshot("awaiting_payment", 1, TWO))
    assert figures(cell, "S2") == (10, 0)
    cell.take(snapshot("paid", 2, TWO))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((10, 1), (10, 3))


def test_a_scan_takes_the_goods_from_the_shelf() -> None:
    cell = stocked()
    cell.take(snapshot(lines=TWO))
    cell.send(KEY, order.ScanOut("c-1"))
    assert figures(cell, "S2") == (10, 3)
    cell.send(KEY, order.Ship("c-2", "T1", "SF"))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((9, 0), (7, 0))


def test_too_little_stock_holds_nothing_and_a_release_tries_again() -> None:
    cell = stocked(2)
    cell.take(snapshot(lines=TWO))
    assert cell.order().interceptions == (("stock_short-1", "stock_short"),)
    assert figures(cell, "S1") == (2, 0)
    cell.send(KEY, order.ResolveInterception("c-1", "stock_short-1", "release"))
    assert cell.order().interceptions == (("stock_short-2", "stock_short"),)
    cell.receive(("S2", 5), document="d-2")
    cell.send(KEY, order.ResolveInterception("c-2", "stock_short-2", "release"))
    assert (cell.order().status, figures(cell, "S2")) == ("allocating", (7, 3))


def test_an_order_that_has_asked_for_its_goods_does_not_ask_again_for_another_reason() -> None:
    warehouses = Stock(("A",), lambda _: stocked().ledger)
    before = order.Order()
    events = [*normalized(snapshot(lines=TWO)), order.OrderPaid(400, "CNY", T0)]
    for event in events:
        before = order.evolve(before, event)
    wanted = (("S1", 1), ("S2", 3))
    (asked,) = fulfilment.react_to_order(KEY, events, order.Order(), before, warehouses)
    assert asked == fulfilment.Message(WAREHOUSE, stock.Reserve(f"{KEY}/1", KEY, wanted))
    told = order.EffectSucceeded("erp", f"{KEY}@3")
    after = order.evolve(before, told)
    assert fulfilment.stock_wanted(after) == wanted
    assert fulfilment.react_to_order(KEY, [told], before, after, warehouses) == []


def test_a_platforms_hold_keeps_the_promise_and_stops_the_parcel() -> None:
    cell = stocked()
    cell.take(snapshot(lines=TWO, holds=("risk_review",)))
    assert (cell.order().status, figures(cell, "S2")) == ("allocating", (10, 3))
    assert "order.pick_list_issued" not in cell.tags()
    cell.take(snapshot("paid", 5, TWO))
    assert cell.tags()[-1] == "order.pick_list_issued"


def test_a_cancelled_order_gives_everything_back() -> None:
    cell = stocked()
    cell.take(snapshot(lines=TWO))
    cell.take(snapshot("cancelled", 5, TWO))
    assert (figures(cell, "S1"), figures(cell, "S2"), len(cell.ledger.allocations)) == ((10, 0), (10, 0), 0)


def test_cancelled_units_are_given_back_and_the_rest_ships() -> None:
    cell = stocked()
    cell.take(snapshot(lines=TWO))
    cell.send(KEY, order.CancelLines("c-1", (("2", 2),), "less"))
    assert figures(cell, "S2") == (10, 1)
    cell.send(KEY, order.Ship("c-2", "T1", "SF"))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((9, 0), (9, 0))


def test_a_change_before_picking_allocates_anew() -> None:
    cell = stocked()
    cell.take(snapshot(lines=TWO))
    cell.take(snapshot("paid", 5, (line("1", "S2", 4),)))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((10, 0), (10, 4))
    assert cell.order().status == "allocating"


def test_a_change_after_picking_ships_what_was_picked_when_somebody_decides_so() -> None:
    cell = stocked()
    cell.take(snapshot(lines=TWO))
    cell.send(KEY, order.ScanOut("c-1"))
    cell.take(snapshot("paid", 5, (line("1", quantity=5),)))
    ((interception, _),) = cell.order().interceptions
    assert cell.send(KEY, order.Ship("c-2", "T1", "SF")).outcome == "refused"
    cell.send(KEY, order.ResolveInterception("c-3", interception, "release"))
    cell.send(KEY, order.Ship("c-4", "T1", "SF"))
    assert (figures(cell, "S1"), figures(cell, "S2"), len(cell.ledger.allocations)) == ((9, 0), (7, 0), 0)


def test_the_rest_of_a_partly_shipped_order_goes_back_when_it_is_cancelled() -> None:
    cell = stocked()
    cell.take(snapshot(lines=TWO))
    cell.take(snapshot("allocating", 4, (line("1", state="shipped"), TWO[1])))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((9, 0), (10, 3))
    cell.send(KEY, order.CancelLines("c-1", (("2", 3),), "no more"))
    assert (figures(cell, "S2"), len(cell.ledger.allocations), cell.order().status) == ((10, 0), 0, "shipped")


def test_part_of_an_order_that_nobody_had_allocated_is_deducted_and_the_rest_reserved() -> None:
    cell = stocked()
    cell.take(snapshot("allocating", 4, (line("1", state="shipped"), TWO[1])))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((9, 0), (10, 3))


def test_of_two_lines_of_the_same_goods_the_one_that_has_not_left_stays_held() -> None:
    cell = stocked()
    cell.take(snapshot(lines=(line("1"), line("2", "S1", 2))))
    cell.take(snapshot("allocating", 4, (line("1", state="shipped"), line("2", "S1", 2))))
    assert figures(cell, "S1") == (9, 2)
    assert cell.order().allocations[0].lines == (("S1", 2),)


def test_goods_of_an_order_first_seen_as_shipped_are_deducted_once() -> None:
    cell = stocked()
    cell.take(snapshot("shipped", 4, TWO))
    cell.take(snapshot("completed", 9, TWO, shipped=4))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((9, 0), (7, 0))


def test_goods_that_left_before_the_stock_was_counted_are_not_deducted() -> None:
    cell = Cell()
    cell.now_ms = T0 + 10 * 60_000
    cell.receive(("S1", 10))
    cell.take(snapshot("shipped", 4))
    assert figures(cell, "S1") == (10, 0)


def test_goods_that_left_before_their_sku_was_known_are_deducted_when_it_is() -> None:
    cell = stocked()
    cell.take(snapshot("shipped", 4, (line("1", ""),)))
    assert figures(cell, "S1") == (10, 0)
    cell.take(snapshot("shipped", 8, (line("1"),), shipped=4))
    cell.take(snapshot("completed", 9, (line("1"),), shipped=4))
    assert figures(cell, "S1") == (9, 0)


def test_goods_that_left_without_stock_are_reported_and_not_oversold() -> None:
    cell = stocked(2)
    cell.take(snapshot("shipped", 4, TWO))
    assert figures(cell, "S2") == (0, 0)
    assert cell.order().interceptions == (("stock_short-issued-1", "shipped_without_stock"),)


def test_the_last_unit_is_sold_once() -> None:
    cell = stocked(1)
    for number in ("o-1", "o-2", "o-3"):
        cell.take(snapshot(number=number))
    assert [cell.order(number).status for number in ("o-1", "o-2", "o-3")] == ["allocating", "paid", "paid"]
    assert cell.level("S1").available == 0


def test_a_counter_sale_does_not_touch_the_warehouse() -> None:
    cell = stocked()
    cell.take(snapshot("completed", kind="counter"))
    assert figures(cell, "S1") == (10, 0)


def test_two_orders_do_not_share_allocations() -> None:
    cell = stocked()
    cell.take(snapshot(number="o-1"))
    cell.take(snapshot(number="o-10"))
    cell.send(KEY, order.CancelLines("c-1", (), ""))
    assert list(cell.ledger.allocations) == [f"{order_key('taobao', 'shop1', 'o-10')}/1"]


def test_stock_that_comes_later_does_not_move_an_order_by_itself() -> None:
    cell = Cell()
    cell.take(snapshot())
    turn = cell.send(WAREHOUSE, stock.ReceiveStock("d-1", (("S1", 5),)))
    assert [record.tag for record in turn.records] == ["stock.received"]
    assert cell.order().status == "paid"
