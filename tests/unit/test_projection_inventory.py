"""The inventory read model: what stands in the rows after which events."""

from collections.abc import Iterator

import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain import reorder, shelf, stock
from domain.ids import warehouse_key
from projections import PROJECTIONS
from projections.inventory import Inventory
from runners.projector import Projector
from tests.trade import LEDGER, NOON_MS, Trade, view


@pytest.fixture
def read_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadModels]:
    made = ReadModels(f"sqlite:///{tmp_path_factory.mktemp('rm')}/read_models.db")
    yield made
    made.close()


def levels(read_models: ReadModels, log: MemoryEventLog) -> dict[tuple[str, str], tuple[int, int, int, int, int]]:
    Projector(log, read_models, PROJECTIONS).run()
    return {
        (row["warehouse"], row["sku"]): (
            row["on_hand"],
            row["reserved"],
            row["pre_reserved"],
            row["protected"],
            row["available"],
        )
        for row in read_models.inventory()
    }


def test_every_kind_of_movement_shows_in_its_own_figure(read_models: ReadModels) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade.append(
        LEDGER,
        stock.StockReceived("d1", (("S", 100), ("T", 10)), NOON_MS),
        stock.StockAdjusted("d2", "S", -3, "count", NOON_MS),
        stock.StockProtected("d3", "S", 5, NOON_MS),
        stock.StockReserved("a1", "order-x:y:1", (("S", 20), ("T", 2))),
        stock.StockPreReserved("g1", "order-x:y:2", (("S", 7),)),
        stock.StockReleased("a1", (("T", 2),)),
        stock.StockPickedOut("a1", (("S", 20),)),
        stock.StockIssued("i1", "order-x:y:3", (("T", 1),)),
    )
    trade.append(warehouse_key("B 2"), stock.StockReceived("d9", (("S", 1),), NOON_MS))
    assert levels(read_models, log) == {
        ("A", "S"): (77, 0, 7, 5, 65),
        ("A", "T"): (9, 0, 0, 0, 9),
        ("B 2", "S"): (1, 0, 0, 0, 1),
    }


def test_what_a_gift_held_is_given_back_to_where_it_was_taken_from(read_models: ReadModels) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade.append(LEDGER, stock.StockReceived("d1", (("S", 10),), NOON_MS))
    trade.append(LEDGER, stock.StockPreReserved("g1", "o", (("S", 4),)))
    projector = Projector(log, read_models)
    projector.run()
    trade.append(LEDGER, stock.StockPickedOut("g1", (("S", 1),)))
    assert levels(read_models, log) == {("A", "S"): (9, 0, 3, 0, 6)}
    trade.append(LEDGER, stock.StockReleased("g1", (("S", 3),)))
    assert levels(read_models, log) == {("A", "S"): (9, 0, 0, 0, 9)}
    trade.append(LEDGER, stock.StockReserved("g1", "o", (("S", 2),)), stock.StockReleased("g1", (("S", 2),)))
    assert levels(read_models, log) == {("A", "S"): (9, 0, 0, 0, 9)}


def test_what_people_do_at_the_shelves_shows(read_models: ReadModels) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade.append(
        LEDGER,
        stock.StockReceived("d1", (("S", 100),), NOON_MS),
        shelf.StockMovedOut("m1", "B", (("S", 20),), NOON_MS),
        shelf.StockMovedIn("m2", "B", (("S", 3), ("T", 1)), NOON_MS),
        shelf.StockDamaged("d2", "S", 5, "wet", NOON_MS),
        shelf.StockDamaged("d3", "S", -1, "dry", NOON_MS),
        shelf.StockScrapped("d4", "S", 2, "bin", NOON_MS),
        shelf.StockCounted("c1", (("S", 81), ("U", 0)), NOON_MS),
        reorder.ReorderLevelSet("r1", "S", 90, 200, NOON_MS),
        reorder.ReorderSignalled("S", 79, 90, 121),
    )
    assert levels(read_models, log) == {("A", "S"): (81, 0, 0, 0, 79), ("A", "T"): (1, 0, 0, 0, 1)}
    (row,) = read_models.low_stock()
    assert (row["sku"], row["damaged"], row["reorder_level"], row["reorder_target"]) == ("S", 2, 90, 200)
    assert row["to_order"] == 121
    assert read_models.low_stock("B") == []
    trade.append(LEDGER, reorder.ReorderCleared("S", 90))
    levels(read_models, log)
    assert read_models.low_stock() == []
    trade.append(LEDGER, reorder.ReorderSignalled("S", 79, 90, 121), reorder.ReorderLevelSet("r2", "S", 0, 0, NOON_MS))
    levels(read_models, log)
    assert read_models.low_stock() == []


def test_a_level_says_which_event_changed_it_and_who(read_models: ReadModels) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade.receive(5)
    trade.take(view("1"))
    Projector(log, read_models).run()
    (row,) = read_models.inventory(sku="SKU-1")
    reserved = next(event for event in log.read(0, 100) if event.tag == "stock.reserved")
    assert (row["position"], row["updated_by"]) == (reserved.position, "rule:fulfilment")
    assert row["available"] == 4


def test_the_levels_are_those_of_the_ledger_itself(read_models: ReadModels) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade.receive(7)
    for number in range(12):
        trade.take(view(str(number), units=1 + number % 2))
    state = trade.states[LEDGER].state
    assert {sku: (level.on_hand, level.reserved) for sku, level in state.levels.items()} == {
        sku: figures[:2] for (_, sku), figures in levels(read_models, log).items()
    }


def test_a_pre_reservation_of_an_old_name_is_as_old_as_its_own_event_wherever_batches_end() -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade.receive()
    held, given_back = stock.StockPreReserved("g1", "order-x:y:1", (("SKU-1", 2),)), (("SKU-1", 2),)
    for event in (held, stock.StockReleased("g1", given_back), held, stock.StockReleased("g1", given_back), held):
        trade.append(LEDGER, event)
    found = []
    for batch in (1, 2, 3, 4, 100):
        read_models = ReadModels("sqlite://")
        Projector(log, read_models, [Inventory()], batch=batch).run()
        found.append(list(read_models.rows(Inventory())))
        read_models.close()
    assert found == [found[-1]] * 5
