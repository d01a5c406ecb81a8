"""The rows depend on the events alone: not on batches, restarts, or what was in memory."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import OutOfStep, ReadModels
from domain.catalogue import TAGS
from domain.order import on_hold, replacements_of, shown_status, why_held
from projections import PROJECTIONS
from runners.projector import Projector
from tests.trade import Trade, trade_day


def day(seed: int, acts: int = 60) -> MemoryEventLog:
    log = MemoryEventLog()
    trade_day(Trade(log), seed, acts)
    return log


def everything(read_models: ReadModels) -> list[tuple[str, tuple[Any, ...]]]:
    return [row for projection in PROJECTIONS for row in read_models.rows(projection)]


def rows_of(log: MemoryEventLog, batches: list[int], *, restart_each: bool) -> list[tuple[str, tuple[Any, ...]]]:
    read_models = ReadModels("sqlite://")
    projector = Projector(log, read_models)
    for size in batches:
        if restart_each:
            projector = Projector(log, read_models)
        projector._batch = size
        projector.run_once()
    projector._batch = 1000
    projector.run()
    found = everything(read_models)
    read_models.close()
    return found


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), batches=st.lists(st.integers(1, 40), max_size=8), restart_each=st.booleans())
def test_batches_and_restarts_leave_no_trace_in_the_rows(seed: int, batches: list[int], restart_each: bool) -> None:
    log = day(seed)
    assert rows_of(log, batches, restart_each=restart_each) == rows_of(log, [], restart_each=False)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 40),
    kept=st.sampled_from([3, 20_000]),
    fates=st.lists(st.sampled_from(["written", "lost", "refused"]), max_size=12),
)
def test_folding_ahead_of_what_is_written_leaves_no_trace_in_the_rows(
    seed: int, size: int, kept: int, fates: list[str]
) -> None:
    """A batch is folded while the one before is not written; that one may be refused, or be written and not told."""
    log = day(seed)
    read_models = ReadModels("sqlite://")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runners.projector.DOCUMENTS_KEPT", kept)
        projector = Projector(log, read_models, batch=size)
        under_way = None
        for fate in (*fates, *["written"] * 1000):
            folded = projector.fold()
            if under_way is not None:
                if fate != "refused":
                    projector.write(under_way)
                if fate != "written":
                    projector.reload()
                    under_way = None
                    continue
                projector.written(under_way)
            under_way = folded
            if folded is None:
                break
        projector.show_finished()
        found = everything(read_models)
    assert projector.position == log.tracked().head
    read_models.close()
    assert found == rows_of(log, [], restart_each=False)


def test_a_day_of_trade_holds_most_kinds_of_events() -> None:
    """Guards the property above: it would be empty with a log of few kinds."""
    seen = {event.tag for seed in range(12) for event in day(seed, 120).read(0, 10_000)}
    assert len(seen & set(TAGS.values())) >= 28


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_read_models_say_what_the_actors_hold(seed: int) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade_day(trade, seed, 60)
    read_models = ReadModels("sqlite://")
    Projector(log, read_models).run()
    for key, held in trade.states.items():
        if not key.startswith("order-") or not held.version:
            continue
        shown = read_models.order(key)
        state = held.state
        assert shown is not None
        assert shown.get("state", "") == shown_status(state)
        assert shown.get("fulfilment", "") == state.status
        assert [i["interception"] for i in shown.get("interceptions", [])] == [i for i, _ in state.interceptions]
        assert shown.get("quarantine", {}).get("item") == (state.quarantined and state.quarantined.item)
        assert shown.get("queued", 0) == len(state.queue)
        assert sorted(shown.get("shipped_lines", [])) == sorted(state.shipped)
        assert [each["id"] for each in shown.get("allocations", ())] == [each.id for each in state.allocations]
        held_for = (*state.allocations, *replacements_of(state))
        wanted = {each.id: each for each in held_for if each.listed and not each.picked}
        lists = {row["allocation"]: row for row in read_models.pick_lists({"key": key})}
        assert lists.keys() == wanted.keys()
        for name, row in lists.items():
            told = [why_held(state)] if on_hold(state) else []
            assert row["stopped"] == ", ".join([*told, *(["quarantined"] if state.quarantined else [])])
            assert (row["priority"], row["area"]) == (state.ruled.priority, wanted[name].area)
            lines = {sku: (units, scanned) for sku, units, scanned in row["lines"]}
            assert {sku: units for sku, (units, _) in lines.items() if units} == dict(wanted[name].lines)
            assert {sku: units for sku, (_, units) in lines.items() if units} == dict(wanted[name].scanned)
        assert [(i["id"], i["quantity"]) for i in shown["items"]] == [(i.id, i.quantity) for i in state.lines]
    read_models.close()


def test_a_second_projector_cannot_write_what_is_written_already(tmp_path: Path) -> None:
    log = day(1)
    read_models = ReadModels(f"sqlite:///{tmp_path}/rm.db")
    first, second = Projector(log, read_models, batch=20), Projector(log, read_models, batch=20)
    first.run_once()
    before = everything(read_models)
    with pytest.raises(OutOfStep):
        second.run_once()
    assert everything(read_models) == before
    second.run()
    with pytest.raises(OutOfStep):
        first.run()
    assert everything(read_models) == rows_of(log, [], restart_each=False)
    read_models.close()
