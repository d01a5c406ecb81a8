"""Replay folds actors of every kind, and notices a row that is missing from any table of any read model."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.ids import kind_of
from projections import PROJECTIONS
from runners.projector import Projector
from runners.replay import replay_read_models, replay_states
from tests.fakes import Trace
from tests.simulation.run import quiet
from tests.simulation.world import World


@pytest.fixture(scope="module")
def log() -> Iterator[MemoryEventLog]:
    quiet()
    world = World(47, Trace(), ruled=True)
    world.run(400)
    yield world.log
    assert world.outside is not None
    world.outside.close()


def test_states_of_every_kind_are_folded(log: MemoryEventLog) -> None:
    found = replay_states(log)
    assert found.problems == []
    streams = {event.stream for event in log.read(0, found.events)}
    assert found.streams == dict(sorted(Counter(map(kind_of, streams)).items()))
    assert found.streams.keys() >= {"order", "warehouse", "rulebook", "buyers"}


def rows(log: MemoryEventLog, batch: int, *, restart_each: bool = False) -> list[tuple[str, tuple[Any, ...]]]:
    """What a projector writes that folds ahead, or one that begins anew with each batch."""
    models = ReadModels("sqlite://")
    projector = Projector(log, models, batch=batch)
    while restart_each and projector.run_once():
        projector = Projector(log, models, batch=batch)
    under_way = None
    while (folded := projector.fold()) is not None:
        if under_way is not None:
            projector.write(under_way)
            projector.written(under_way)
        under_way = folded
    if under_way is not None:
        projector.write(under_way)
    found = [row for projection in PROJECTIONS for row in models.rows(projection)]
    models.close()
    return found


def test_of_a_ruled_cell_too_batches_leave_no_trace_in_the_rows(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows(log, 100_000)
    assert rows(log, 13, restart_each=True) == whole
    monkeypatch.setattr("runners.projector.DOCUMENTS_KEPT", 3)
    for batch in (1, 2, 3, 7, 40):
        assert rows(log, batch) == whole


def test_a_missing_row_of_any_table_is_noticed(log: MemoryEventLog, tmp_path: Path) -> None:
    live = tmp_path / "live.db"
    models = ReadModels(f"sqlite:///{live}")
    Projector(log, models).run()
    models.close()
    robbed = set()
    with closing(sqlite3.connect(live)) as db:
        for made in (made for projection in PROJECTIONS for made in projection.tables):
            keys = ", ".join(column.name for column in made.primary_key)
            first = f"({keys}) = (SELECT {keys} FROM {made.name} LIMIT 1)"  # noqa: S608 - the tables' own names
            if db.execute(f"DELETE FROM {made.name} WHERE {first}").rowcount:  # noqa: S608
                robbed.add(made.name)
        db.commit()
    found = replay_read_models(log, tmp_path, live_file=live)
    assert {difference.partition(" ")[0] for difference in found.differences} == robbed
    assert len(found.differences) == len(robbed)
    names = {name.rpartition("_v")[0] for name in robbed}
    assert names >= {"orders", "order_views", "order_search", "inventory", "intake", "desk", "after_sales"}
