"""Replay folds everything again and finds what is not the fold of the log; history tells an order's life."""
# ruff: noqa: S608 - the tests name their own rows

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from adapters.storage.scan import SqliteScan
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import MemoryVault, SqliteVault
from domain import order, stock
from domain.catalogue import TAGS, encode_event
from domain.decider import Event
from domain.envelope import By, Envelope, encode_envelope
from domain.ports import Record
from projections import inventory, orders
from runners import replay as replay_module
from runners.cli import run
from runners.history import ERASED, UnknownKey, find_stream, history, read_moment, state_at
from runners.lock import DataLock
from runners.log_pages import pages
from runners.projector import Projector
from runners.replay import check_invariants, replay_read_models, replay_states
from tests.audit_log import DAY, Story, key_of, make_log, open_story

ZONE = "Asia/Shanghai"
ORDERS, LEVELS = orders.TABLE.name, inventory.TABLE.name
COPIED = ["'SKU3x'" if each.name == "sku" else each.name for each in inventory.TABLE.columns]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("honest") / "data"
    make_log(data, 30)
    project(data)
    with DataLock(data):
        pass
    return data


@pytest.fixture
def data(honest: Path, tmp_path: Path) -> Path:
    shutil.copytree(honest, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def log(data: Path) -> Iterator[SqliteEventLog]:
    with closing(SqliteEventLog(data / "log.db", read_only=True)) as opened:
        yield opened


def project(data: Path) -> None:
    with (
        closing(SqliteEventLog(data / "log.db", read_only=True)) as log,
        closing(ReadModels(f"sqlite:///{data / 'read_models.db'}")) as models,
    ):
        Projector(log, models).run()


def change(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as db:
        assert db.execute(statement).rowcount > 0
        db.commit()


def test_an_honest_log_replays_to_what_is_stored(data: Path, log: SqliteEventLog, tmp_path: Path) -> None:
    states = replay_states(log)
    assert states.problems == []
    assert states.events == log.tracked().head
    assert states.streams == {"order": 30, "warehouse": 1}
    assert sum(states.states.values()) == 30
    assert states.snapshots == 1
    models = replay_read_models(log, tmp_path, live_file=data / "read_models.db")
    assert (models.differences, models.notes) == ([], [])
    assert models.rows[ORDERS] == 30


def test_a_replay_in_a_hurry_comes_to_the_same(
    data: Path, log: SqliteEventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "LONG", 0)
    monkeypatch.setattr(replay_module, "BATCH_EVENTS", 40)
    told: list[tuple[int, int]] = []
    models = replay_read_models(
        log, tmp_path, live_file=data / "read_models.db", progress=lambda *far: told.append(far), hurry=True
    )
    assert (models.differences, models.notes) == ([], [])
    assert models.rows[ORDERS] == 30
    head = log.tracked().head
    assert told == [(min(reached, head), head) for reached in range(40, head + 40, 40)]
    change(data / "read_models.db", f"UPDATE {ORDERS} SET state = 'lost' WHERE rowid = 1")
    again = tmp_path / "again"
    again.mkdir()
    models = replay_read_models(log, again, live_file=data / "read_models.db", hurry=True)
    assert len(models.differences) == 1


def test_few_states_in_memory_give_the_same_result(log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replay_states(log)
    monkeypatch.setattr(replay_module, "STATES_MAX", 4)
    monkeypatch.setattr(replay_module, "pages", partial(pages, size=25))
    few = replay_states(log)
    assert (few.states, few.streams, few.problems) == (whole.states, whole.streams, [])


def test_a_projector_that_is_behind_is_compared_where_it_stands(data: Path, tmp_path: Path) -> None:
    for story in open_story(data):
        story.tell(5, first=900)
    with closing(SqliteEventLog(data / "log.db", read_only=True)) as log:
        models = replay_read_models(log, tmp_path, live_file=data / "read_models.db")
        assert models.differences == []
        assert models.events < log.tracked().head


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (f"UPDATE {ORDERS} SET amount_paid = amount_paid + 1 WHERE key = '{key_of(3)}'", "amount_paid is"),
        (f"DELETE FROM {ORDERS} WHERE key = '{key_of(3)}'", "does not have it"),
        (f"UPDATE {LEVELS} SET reserved = reserved - 1 WHERE sku = 'SKU3'", "reserved is"),
        (
            f"INSERT INTO {LEVELS} SELECT {', '.join(COPIED)} FROM {LEVELS} WHERE sku = 'SKU3'",
            "nothing in the log made it",
        ),
    ],
)
def test_a_manipulated_row_is_named(data: Path, log: SqliteEventLog, tmp_path: Path, statement: str, told: str) -> None:
    change(data / "read_models.db", statement)
    models = replay_read_models(log, tmp_path, live_file=data / "read_models.db")
    (difference,) = models.differences
    assert told in difference
    assert key_of(3) in difference or "SKU3" in difference
    assert run(["audit", "replay", "--data", str(data)]) == 1


def test_live_read_models_are_compared_in_place_too(data: Path, log: SqliteEventLog, tmp_path: Path) -> None:
    change(data / "read_models.db", f"UPDATE {ORDERS} SET state = 'paid' WHERE key = '{key_of(2)}'")
    with closing(ReadModels(f"sqlite:///{data / 'read_models.db'}")) as live:
        models = replay_read_models(log, tmp_path, live)
    assert len(models.differences) == 1


def test_a_manipulated_snapshot_is_named(data: Path) -> None:
    change(
        data / "log.db",
        """UPDATE snapshots SET data = CAST(replace(CAST(data AS TEXT), '"SKU1":[', '"SKU1":[1') AS BLOB)
        WHERE stream = 'warehouse-A'""",
    )
    with closing(SqliteEventLog(data / "log.db", read_only=True)) as log:
        (problem,) = replay_states(log).problems
    assert problem.startswith("snapshot: ")
    assert "warehouse-A" in problem


class Forger:
    """Writes events that no decider would make."""

    def __init__(self) -> None:
        self.log = MemoryEventLog()
        self.story = Story(self.log, MemoryVault(b"seed"))
        self.story.tell(4)
        self.mail = self.story.sequence

    def write(self, stream: str, *events: Event, message: str = "") -> list[str]:
        self.mail += 1
        version = len(self.log.select(stream))
        told = message or f"life1-{self.mail}"
        envelope = encode_envelope(Envelope(DAY, DAY, By("system"), told, told, told))
        records = [
            Record(stream, version + number, TAGS[type(event)], envelope, encode_event(event), None)
            for number, event in enumerate(events, 1)
        ]
        self.log.append(records)
        return check_invariants(self.log)


def test_an_honest_story_breaks_no_invariant() -> None:
    assert check_invariants(Forger().log) == []


def test_an_order_that_lets_go_of_what_the_ledger_holds_is_found() -> None:
    forger = Forger()
    assert forger.write(key_of(1), order.OrderShipped((), DAY)) == [
        f"allocation: warehouse A holds (('SKU1', 2),) for {key_of(1)}/1, no order does"
    ]


FORGED: list[tuple[str, str, Event]] = [
    ("oversold", "warehouse-A", stock.StockReserved("x/1", key_of(1), (("SKU1", 10_000),))),
    ("oversold", "warehouse-A", stock.StockIssued("x/1", key_of(1), (("SKU1", 10_000),))),
    ("allocation", "warehouse-A", stock.StockReserved("x/1", key_of(1), (("SKU1", 1),))),
    ("allocation", "warehouse-A", stock.StockPickedOut("x/1", (("SKU1", 1),))),
    ("allocation", "warehouse-A", stock.StockReleased("x/1", (("SKU1", 1),))),
    ("allocation", key_of(4), order.OrderReserved("x/1", "A", (("SKU1", 1),))),
    ("allocation", key_of(4), order.PickListIssued("p", "x/1", "A", (("SKU1", 1),))),
    ("transition", key_of(4), order.OrderPaid(1, "CNY", DAY)),
    ("transition", key_of(2), order.OrderCancelled("no")),
]


@pytest.mark.parametrize(("kind", "stream", "event"), FORGED)
def test_what_no_decider_would_do_is_found(kind: str, stream: str, event: Event) -> None:
    found = Forger().write(stream, event)
    assert any(problem.startswith(f"{kind}: ") for problem in found), found


def test_a_message_applied_twice_is_found() -> None:
    forger = Forger()
    (problem,) = forger.write(key_of(1), order.OrderRepeated("x"), message="life1-2")
    assert problem.startswith("twice: ")


def test_history_tells_who_why_and_what_changed(data: Path, log: SqliteEventLog) -> None:
    with closing(SqliteVault(data / "keys.db")) as vault:
        entries = list(history(log, key_of(2), ZONE, vault=vault))
        vault.destroy([key_of(2)])
        erased = list(history(log, key_of(2), ZONE, vault=vault))
    assert [entry.version for entry in entries] == list(range(1, len(entries) + 1))
    by_tag = {entry.tag: entry for entry in entries}
    assert by_tag["order.received"].payload
    assert by_tag["order.normalized"].personal == {"receiver": {"name": "Wang"}}
    assert {entry.personal for entry in erased if entry.tag == "order.normalized"} == {ERASED}
    paid = by_tag["order.paid"]
    assert paid.label == "已付款 paid"
    assert paid.changes["status"] == ("awaiting_payment", "paid")
    assert paid.by.kind == "channel"
    assert paid.at.endswith("+08:00")
    reserved = by_tag["order.reserved"]
    assert (reserved.by.kind, reserved.by.id) == ("rule", "fulfilment")
    assert [(other.stream, other.tag) for other in reserved.related] == [("warehouse-A", "stock.reserved")]
    assert reserved.causation == f"warehouse-A@{reserved.related[0].version}"
    assert reserved.changes["allocations"][0] == ()
    assert [entry.version for entry in history(log, key_of(2), ZONE, last=2)] == [len(entries) - 1, len(entries)]


def test_a_ledgers_history_shows_levels_sku_by_sku(log: SqliteEventLog) -> None:
    first, second, *_ = history(log, "warehouse-A", ZONE)
    assert first.changes["levels[SKU1]"][0] is None
    assert {field for field in second.changes if field.startswith("levels")} == {"levels[SKU1].reserved"}


def test_the_state_is_shown_as_of_a_position_or_a_time(log: SqliteEventLog) -> None:
    entries = list(history(log, key_of(2), ZONE))
    paid = next(entry for entry in entries if entry.tag == "order.paid")
    assert state_at(log, key_of(2), ZONE, position=paid.position).state["status"] == "paid"
    assert state_at(log, key_of(2), ZONE, position=paid.position - 1).state["status"] == "awaiting_payment"
    before = state_at(log, key_of(2), ZONE, time_ms=read_moment("2026-01-01", ZONE))
    assert (before.version, before.state["status"]) == (0, "")
    at = read_moment(paid.at, ZONE)
    assert state_at(log, key_of(2), ZONE, time_ms=at).state["status"] != ""
    assert state_at(log, key_of(2), ZONE, time_ms=at - 10, clock="observed_at").version == 0
    end = state_at(log, key_of(2), ZONE)
    assert end.version == entries[-1].version


def test_times_of_people_are_local_and_a_date_means_its_end() -> None:
    assert read_moment("2026-02-09 22:03:04", ZONE) == read_moment("2026-02-09T14:03:04Z", ZONE)
    assert read_moment("2026-02-09", ZONE) == read_moment("2026-02-10 00:00:00", ZONE) - 1


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z"),  # its clocks leap over midnight
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"),  # and here they show it twice
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z"),
    ],
)
def test_a_day_begins_with_its_first_moment_where_clocks_change_at_midnight(zone: str, day: str, begins: str) -> None:
    found = read_moment(day, zone, begins=True)
    assert found == read_moment(begins, zone)
    eve = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
    assert read_moment(eve, zone) == found - 1
    twice = [read_moment("2026-10-25 02:30", "Europe/Berlin", begins=begins) for begins in (True, False)]
    assert twice[1] - twice[0] == 3_600_000, "a span has both"


def test_a_key_may_be_given_in_short_if_it_is_plain(data: Path) -> None:
    for story in open_story(data):
        story.send("order-douyin:shop2:10002", order.ScanOut("scan-x"))
    with closing(SqliteScan(data / "log.db")) as scan:
        assert find_stream(scan, key_of(3)) == key_of(3)
        assert find_stream(scan, "taobao:shop1:10003") == key_of(3)
        assert find_stream(scan, "10003") == key_of(3)
        assert find_stream(scan, "warehouse-A") == "warehouse-A"
        with pytest.raises(UnknownKey, match="several orders"):
            find_stream(scan, "10002")
        for unknown in ("0003", "nobody", "order-x:y:z", "a:b:c", ":"):
            with pytest.raises(UnknownKey, match="the log knows no"):
                find_stream(scan, unknown)


def test_the_verbs_work_on_the_files_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--data", str(data)]
    assert run(["audit", "history", "10002", "--reveal", *at]) == 0
    shown = capsys.readouterr().out
    assert "已付款 paid" in shown
    assert "Wang" in shown
    assert run(["audit", "history", "10002", "--json", *at]) == 0
    assert "Wang" not in capsys.readouterr().out
    assert run(["audit", "state", "10002", "--at", "2030-01-01", "--json", *at]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["state"]["status"] == "shipped"
    assert run(["audit", "state", "10002", "--at", "yesterday", *at]) == 2
    assert run(["audit", "history", "nobody", *at]) == 1
    assert run(["audit", "history", "order-:::", *at]) == 2
    assert run(["audit", "replay", "--json", *at]) == 0
    capsys.readouterr()
    assert run(["audit", "verify", "--json", *at]) == 0
    found = msgspec.json.decode(capsys.readouterr().out)
    assert found["ok"]
    assert Path(found["written"]).parent == data.with_name("data.checkpoints")
    change(data / "log.db", "UPDATE events SET tag = 'order.amended' WHERE position = 4")
    assert run(["audit", "verify", *at]) == 1
    assert "event 4 " in capsys.readouterr().out
