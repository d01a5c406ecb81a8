"""What a warehouse of others confirms is recorded whole, and ships the order only where it is what was asked for."""

from typing import Any

import pytest

from domain.catalogue import decode_event
from domain.decider import Event
from domain.delivery import ConfirmDelivery, DeliveryConfirmed, Packed
from domain.ids import order_key
from domain.order import CancelLines, OrderIntercepted, OrderShipped, ResolveInterception, ScanOut
from domain.rulings import Route, Ruling
from tests.spec import Cell, line, replayed, snapshot

KEY = order_key("taobao", "shop1", "o-1")
LINES = (line("1", quantity=2), line("2"))
ASKED = (("S1", 2), ("S2", 1))


def confirm(
    number: int = 1,
    packed: tuple[tuple[str, int], ...] = ASKED,
    *,
    attempt: int = 1,
    tracking: str = "T1",
    lines: tuple[tuple[str, int], ...] = (),
    **more: Any,
) -> ConfirmDelivery:
    name = f"{KEY}/{attempt}"
    return ConfirmDelivery(f"w-{number}", f"pick-{name}", name, (Packed("SF", tracking, lines),), packed, **more)


@pytest.fixture
def cell() -> Cell:
    cell = Cell()
    cell.receive(("S1", 9), ("S2", 9))
    cell.take(snapshot(lines=LINES))
    return cell


def send(cell: Cell, command: Any) -> str:
    turn = cell.send(KEY, command)
    assert {key: held for key, held in cell.living.items() if held != replayed(cell.records)[key]} == {}
    return turn.outcome


def events(cell: Cell) -> list[Event]:
    return [decode_event(record.tag, record.data) for record in cell.records if record.stream == KEY]


def reasons(cell: Cell) -> list[str]:
    return [reason for _, reason in cell.order().interceptions]


def shipped(cell: Cell) -> list[OrderShipped]:
    return [event for event in events(cell) if isinstance(event, OrderShipped)]


def test_what_was_asked_for_and_left_is_shipped_with_its_parcel(cell: Cell) -> None:
    assert send(cell, confirm()) == "accepted"
    assert cell.order().status == "shipped"
    (event,) = shipped(cell)
    assert [(each.carrier, each.tracking, each.lines) for each in event.parcels] == [("SF", "T1", ("1", "2"))]
    assert [(cell.level(sku).on_hand, cell.level(sku).reserved) for sku in ("S1", "S2")] == [(7, 0), (8, 0)]


@pytest.mark.parametrize("again", [confirm(), confirm(2)], ids=["the same call", "the same under another id"])
def test_a_repeat_changes_nothing(cell: Cell, again: ConfirmDelivery) -> None:
    send(cell, confirm())
    records = len(cell.records)
    assert send(cell, again) == "repeated"
    assert len(cell.records) == records


@pytest.mark.parametrize(
    "packed",
    [(("S1", 1), ("S2", 1)), (("S1", 2),), (), (("S1", 2), ("S3", 1)), (("S1", 3), ("S2", 1))],
    ids=["too few", "a line missing", "nothing", "wrong goods", "too many"],
)
def test_what_was_packed_otherwise_is_recorded_and_stops_the_order(cell: Cell, packed: Any) -> None:
    assert send(cell, confirm(packed=packed)) == "accepted"
    assert reasons(cell) == ["packed_differently"]
    assert (cell.order().status, shipped(cell)) == ("allocating", [])
    recorded = [event for event in events(cell) if isinstance(event, DeliveryConfirmed)]
    assert [event.packed for event in recorded] == [packed]


def test_people_can_take_a_short_parcel_as_it_is(cell: Cell) -> None:
    send(cell, confirm(packed=(("S1", 1), ("S2", 1))))
    send(cell, CancelLines("c-1", (("1", 1),), "not there"))
    send(cell, ResolveInterception("c-2", cell.order().interceptions[0][0], "release"))
    assert send(cell, ScanOut("c-3", "T1", "SF")) == "accepted"
    assert cell.order().status == "shipped"
    assert [(cell.level(sku).on_hand, cell.level(sku).reserved) for sku in ("S1", "S2")] == [(8, 0), (8, 0)]


def test_parts_add_up_and_ship_with_the_last(cell: Cell) -> None:
    send(cell, confirm(1, (("S1", 2),), tracking="T1", lines=(("S1", 2),), final=False))
    assert (cell.order().status, reasons(cell)) == ("allocating", [])
    send(cell, confirm(2, (("S1", 2),), tracking="T1", lines=(("S1", 2),), final=False))
    send(cell, confirm(3, (("S2", 1),), tracking="T2", lines=(("S2", 1),)))
    (event,) = shipped(cell)
    assert [(each.tracking, each.lines) for each in event.parcels] == [("T1", ("1",)), ("T2", ("2",))]


def test_goods_without_a_number_are_picked_and_ship_when_they_have_one(cell: Cell) -> None:
    send(cell, confirm(tracking=""))
    assert (cell.order().status, cell.order().allocations[0].picked) == ("allocating", True)
    send(cell, ScanOut("c-1", "T9", "SF"))
    assert cell.order().status == "shipped"


def test_goods_that_were_picked_already_and_have_no_number_change_nothing_more(cell: Cell) -> None:
    send(cell, ScanOut("c-1"))
    before = cell.order()
    assert send(cell, confirm(tracking="")) == "accepted"
    assert cell.tags(KEY)[-1] == "order.delivery_confirmed"
    assert (cell.order().status, cell.order().allocations, reasons(cell)) == ("allocating", before.allocations, [])


def test_a_second_and_different_end_is_looked_at(cell: Cell) -> None:
    send(cell, confirm())
    assert send(cell, confirm(2, (("S1", 2),), tracking="T2")) == "accepted"
    assert reasons(cell) == ["confirmed_twice"]
    assert len(shipped(cell)) == 1


def test_goods_that_left_while_the_order_was_held_are_looked_at(cell: Cell) -> None:
    cell.take(snapshot("paid", 2, LINES, holds=("risk",)))
    send(cell, confirm())
    assert reasons(cell) == ["left_while_held"]
    assert cell.order().status == "allocating"


def test_goods_that_left_for_a_pick_list_that_was_called_off_are_looked_at(cell: Cell) -> None:
    send(cell, CancelLines("c-1", (), "changed their mind"))
    assert send(cell, confirm()) == "accepted"
    assert (cell.order().status, reasons(cell)) == ("cancelled", ["left_after_release"])


def test_an_order_that_was_shipped_already_notes_it_and_no_more(cell: Cell) -> None:
    send(cell, ScanOut("c-1", "T1", "SF"))
    send(cell, confirm())
    assert (cell.order().status, reasons(cell), len(shipped(cell))) == ("shipped", [], 1)


def test_each_warehouse_confirms_its_own_part() -> None:
    cell = Cell()
    cell.receive(("S1", 9))
    cell.receive(("S2", 9), warehouse="B")
    cell.take(snapshot(lines=LINES), ruling=Ruling(1, routes=(Route("all", warehouses=("A", "B")),)))
    parts = {each.warehouse: each for each in cell.order().allocations}
    for number, (warehouse, name) in enumerate((("B", parts["B"].id), ("A", parts["A"].id)), 1):
        parcel = Packed("SF", f"T-{warehouse}", parts[warehouse].lines)
        send(cell, ConfirmDelivery(f"w-{number}", f"pick-{name}", name, (parcel,), parts[warehouse].lines))
    assert (cell.order().status, reasons(cell)) == ("shipped", [])
    assert (cell.level("S1").on_hand, cell.level("S2", "B").on_hand) == (7, 8)


def test_goods_into_the_eu_do_not_ship_without_their_lots(cell: Cell) -> None:
    cell = Cell()
    cell.receive(("S1", 9), ("S2", 9))
    cell.take(snapshot(lines=LINES), ruling=Ruling(1, lots=True))
    send(cell, confirm())
    assert reasons(cell) == ["left_without_lots"]


def test_goods_that_left_before_their_area_had_done_its_work_are_looked_at() -> None:
    cell = Cell()
    cell.receive(("S1", 9), ("S2", 9))
    cell.take(snapshot(lines=LINES), ruling=Ruling(1, routes=(Route("engraving", area="C", processing=True),)))
    (allocation,) = cell.order().allocations
    told = ConfirmDelivery("w-1", f"pick-{allocation.id}", allocation.id, (Packed("SF", "T1"),), ASKED)
    assert send(cell, told) == "accepted"
    (stopped,) = (event for event in events(cell) if isinstance(event, OrderIntercepted))
    assert (stopped.reason, "area C" in stopped.evidence, "T1" in stopped.evidence) == ("left_unprocessed", True, True)
    assert (cell.order().status, shipped(cell)) == ("allocating", [])
