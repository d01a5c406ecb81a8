"""A read model as of any position is the full fold of the log up to there, whatever it is folded from."""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import LargeBinary

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.ids import decode_id
from projections import PROJECTIONS
from projections.base import Projection
from projections.inventory import Inventory
from projections.orders import Orders
from runners import as_of as as_of_module
from runners.as_of import AsOf, UnknownColumn, as_of
from runners.log_diff import diff_cell
from runners.moments import Counting, position_at
from runners.replay import Upto
from runners.snapshots import Snapshots, kept
from tests.trade import Trade, trade_day

ONE = (Inventory(),)
Tables = dict[str, list[dict[str, Any]]]


@lru_cache(maxsize=4)
def day(seed: int) -> MemoryEventLog:
    log = MemoryEventLog()
    trade_day(Trade(log), seed, 50)
    return log


def whole_fold(log: MemoryEventLog, projection: Projection[Any, Any], position: int) -> Tables:
    """The obvious way: all events up to a position, one by one, in memory."""
    models = ReadModels("sqlite://")
    models.prepare((projection,))
    documents: dict[Any, Any] = {}
    bounded: Any = Upto(log, position)
    for event in bounded.read(0, position) if position else []:
        changed = projection.fold([event], documents)
        for change in projection.changes(changed):
            with models._engine.begin() as db:
                models._write(db, change)
        for key, document in changed.items():
            if document is None:
                documents.pop(key, None)
            else:
                documents[key] = document
    suffix = f"_v{projection.version}"
    found: Tables = {made.name.removesuffix(suffix): [] for made in projection.tables}
    columns = {made.name: list(made.columns) for made in projection.tables}
    for table, row in models.rows(projection):
        shown = {
            column.name: value
            for column, value in zip(columns[table], row, strict=True)
            if not isinstance(column.type, LargeBinary)
        }
        found[table.removesuffix(suffix)].append(shown)
    models.close()
    return found


def picked(tables: Tables, where: dict[str, str]) -> Tables:
    return {
        name: [row for row in rows if all(row[column] == value for column, value in where.items())]
        for name, rows in tables.items()
        if all(where.keys() <= row.keys() for row in rows)
    }


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 3), share=st.floats(0, 1), every=st.sampled_from([0, 30]))
def test_as_of_any_position_every_read_model_is_the_whole_fold(seed: int, share: float, every: int) -> None:
    log = day(seed)
    position = round(share * log.tracked().head)
    with TemporaryDirectory() as folder:
        snapshots = Snapshots(Path(folder), log.tracked().generation)
        if every:
            snapshots.make(log, every)
        for projection in PROJECTIONS:
            found = as_of(log, projection, position, snapshots=snapshots)
            assert found.rows == whole_fold(log, projection, position)
            assert found.folded_from == ("snapshot" if snapshots.nearest(projection, position) else "beginning")


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 3), share=st.floats(0, 1), choice=st.integers(0, 10**6))
def test_rows_of_one_stream_need_that_stream_only(seed: int, share: float, choice: int) -> None:
    log = day(seed)
    head = log.tracked().head
    position = round(share * head)
    streams = sorted({event.stream for event in log.read(0, head) if event.stream.startswith("order-")})
    key = streams[choice % len(streams)]
    for projection in PROJECTIONS:
        where = {"warehouse": "A"} if projection.name == "inventory" else {"key": key}
        stream = projection.stream_of(where)
        if not stream:
            continue
        counting = Counting(log)
        found = as_of(counting, projection, position, where)
        assert found.folded_from == "stream"
        rows = {name: rows for name, rows in found.rows.items() if rows}
        assert rows == {
            name: rows for name, rows in picked(whole_fold(log, projection, position), where).items() if rows
        }
        assert counting.rows <= len(log.select(stream)) + 2


def test_a_long_stream_is_folded_from_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = day(1)
    monkeypatch.setattr(as_of_module, "LONG_STREAM", 0)
    snapshots = Snapshots(tmp_path, log.tracked().generation)
    snapshots.make(log, 40, (Inventory(),))
    first = snapshots.all()[0].position
    for position in range(first, log.tracked().head, 19):
        found = as_of(log, Inventory(), position, {"warehouse": "A"}, snapshots)
        assert found.folded_from == "snapshot"
        assert (
            found.rows["inventory"] == picked(whole_fold(log, Inventory(), position), {"warehouse": "A"})["inventory"]
        )


def test_snapshots_grow_apart_with_age_and_what_is_dropped_is_never_needed_again() -> None:
    before: set[int] = set()
    for count in range(1, 400):
        now = kept(count)
        assert set(now) <= {*before, count}
        assert now[-4:] == list(range(max(1, count - 3), count + 1))
        for position in range(now[0], count + 1):
            nearest = max(each for each in now if each <= position)
            assert position - nearest <= max(1, (count - nearest) / 2)
        before = set(now)
    assert len(before) < 40


def test_snapshots_are_made_once_and_pruned_and_those_of_another_life_go(tmp_path: Path) -> None:
    log = day(2)
    head = log.tracked().head
    snapshots = Snapshots(tmp_path, log.tracked().generation)
    other = Snapshots(tmp_path, "another-life")
    (tmp_path / "another-life").mkdir()
    made, dropped = snapshots.make(log, 20, ONE)
    assert {each.position for each in made} == {number * 20 for number in kept(head // 20)}
    assert dropped == []
    assert other.all() == []
    assert not (tmp_path / "another-life").exists()
    assert snapshots.make(log, 20, ONE) == ([], [])
    made, dropped = snapshots.make(log, 35, ONE)
    assert {each.position for each in snapshots.all()} == {number * 35 for number in kept(head // 35)}
    assert dropped


def test_a_question_no_table_can_answer_is_refused() -> None:
    log = day(1)
    for where in ({"colour": "red"}, {"held": "perhaps"}, {"viewed": "x", "state": "paid"}):
        with pytest.raises(UnknownColumn):
            as_of(log, Orders(), 10, where)


def test_a_moment_is_the_last_event_before_the_first_later_one() -> None:
    log = day(3)
    events = log.read(0, log.tracked().head)
    times = sorted({decode_at(event.envelope) for event in events})
    assert position_at(log, times[0] - 1) == 0
    for time in times:
        assert position_at(log, time) == max(event.position for event in events if decode_at(event.envelope) <= time)
        assert decode_at(events[position_at(log, time) - 1].envelope) == time


def decode_at(envelope: bytes) -> int:
    from domain.envelope import decode_envelope  # noqa: PLC0415

    return decode_envelope(envelope).at


def test_a_difference_is_what_two_looks_differ_in() -> None:
    log = day(0)
    head = log.tracked().head
    after, upto = head // 3, head - head // 5
    found = diff_cell(log, after, upto)
    looks: list[AsOf] = [as_of(log, Orders(), position) for position in (after, upto)]
    old, new = ({row["key"]: row["state"] for row in look.rows["orders"]} for look in looks)
    assert {each.key for each in found.orders if "state" in each.changes} == {
        key for key in {*old, *new} if old.get(key) != new.get(key)
    }
    for state, (before, now) in found.states.items():
        assert before == list(old.values()).count(state)
        assert now == list(new.values()).count(state)
    levels = [as_of(log, Inventory(), position).rows["inventory"] for position in (after, upto)]
    one, two = ({f"{row['warehouse']}:{row['sku']}": row["available"] for row in rows} for rows in levels)
    assert {each.key for each in found.stock if "available" in each.changes} == {
        key for key in {*one, *two} if one.get(key) != two.get(key)
    }
    assert all(decode_id(each.key).count(":") for each in found.stock)
