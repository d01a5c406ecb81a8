"""What a warehouse of others should have of a pick list follows from the order's events alone."""

from typing import Any

from domain.delivery import ConfirmDelivery, Packed
from domain.ids import order_key
from domain.order import CancelLines, ScanOut
from domain.ports import Recorded
from domain.rulings import Route, Ruling
from runners.wms_orders import TAGS, asked_at
from tests.spec import Cell, line, snapshot

KEY = order_key("taobao", "shop1", "o-1")
LINES = (line("1", quantity=3), line("2"))
CODE = f"pick-{KEY}/1"


def asked(cell: Cell) -> list[tuple[str, tuple[tuple[str, int], ...], str]]:
    """Return (code, lines, replaced code) of all that was ever asked for, in order."""
    story = [
        Recorded(position, each.stream, each.version, each.tag, each.envelope, each.data, None, b"")
        for position, each in enumerate((each for each in cell.records if each.stream == KEY), 1)
    ]
    found = [one for event in story if event.tag in TAGS for one in asked_at(story, event.version)]
    return [(each.code, each.allocation.lines, each.replaces) for each in found]


def taken(view: Any = None, **more: Any) -> Cell:
    cell = Cell()
    cell.receive(("S1", 9), ("S2", 9))
    cell.take(view or snapshot(lines=LINES), **more)
    return cell


FIRST = (CODE, (("S1", 3), ("S2", 1)), "")


def test_a_pick_list_is_asked_for_once() -> None:
    cell = taken()
    cell.take(snapshot(minute=2, lines=LINES, freight=5))
    assert asked(cell) == [FIRST]


def test_an_order_that_is_held_is_asked_for_when_the_hold_is_over() -> None:
    cell = taken(snapshot(lines=LINES, holds=("risk",)))
    assert asked(cell) == []
    cell.take(snapshot(minute=2, lines=LINES))
    assert asked(cell) == [FIRST]


def test_a_cancelled_order_is_called_off() -> None:
    cell = taken()
    cell.send(KEY, CancelLines("c-1", (), "changed their mind"))
    assert asked(cell) == [FIRST, (CODE, (), "")]


def test_a_changed_order_is_called_off_and_asked_for_anew() -> None:
    cell = taken()
    cell.take(snapshot(minute=2, lines=(line("1", quantity=1),)))
    assert asked(cell) == [FIRST, (CODE, (), ""), (f"pick-{KEY}/2", (("S1", 1),), "")]


def test_fewer_units_take_the_place_of_what_went_out_each_time() -> None:
    cell = taken()
    cell.send(KEY, CancelLines("c-1", (("1", 1),), "one less"))
    cell.send(KEY, CancelLines("c-2", (("2", 1),), "and no cup"))
    cell.send(KEY, CancelLines("c-3", (), "nothing at all"))
    first, second, third, last = asked(cell)
    assert first == FIRST
    assert second[1:] == ((("S1", 2), ("S2", 1)), CODE)
    assert third[1:] == ((("S1", 2),), second[0])
    assert last == (third[0], (), "")
    assert len({first[0], second[0], third[0]}) == 3


def test_what_the_warehouse_confirmed_is_not_called_off() -> None:
    cell = taken()
    parcel = Packed("SF", "T1")
    cell.send(KEY, ConfirmDelivery("w-1", CODE, f"{KEY}/1", (parcel,), FIRST[1]))
    assert cell.order().status == "shipped"
    assert asked(cell) == [FIRST]


def test_what_left_by_another_hand_is_called_off() -> None:
    by_hand, by_channel = taken(), taken()
    by_hand.send(KEY, ScanOut("c-1", "T1", "SF"))
    by_channel.take(snapshot("shipped", 2, LINES))
    assert asked(by_hand) == asked(by_channel) == [FIRST, (CODE, (), "")]


def test_each_warehouse_is_asked_for_its_part() -> None:
    cell = Cell()
    cell.receive(("S1", 9))
    cell.receive(("S2", 9), warehouse="B")
    cell.take(snapshot(lines=LINES), ruling=Ruling(1, routes=(Route("all", warehouses=("A", "B")),)))
    assert sorted(lines for _, lines, _ in asked(cell)) == [(("S1", 3),), (("S2", 1),)]
    assert len({code for code, _, _ in asked(cell)}) == 2
