"""The audit reads a log in PostgreSQL as it reads one in SQLite: nothing is believed, everything is found."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters.storage.checkpoints import CheckpointFolder, Signer
from adapters.storage.postgres_log import PostgresEventLog
from adapters.storage.postgres_scan import STREAMS_ENDING, PostgresScan
from adapters.storage.scan import Scan, SqliteScan, Unreadable
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import MemoryVault
from runners.audit import Verified, verify
from runners.history import find_stream
from runners.replay import replay_states
from tests.audit_log import Story, key_of

Change = Callable[[str], None]


ORDERS = 4_200
SHOPS = 22
"""With the one of the story."""
OF_21_SHOPS = "'order-x' || (n % 7) || ':s-' || (n % 3) || ':' || (50000 + n / 21)"


def many_orders(key: str, count: int) -> str:
    """Return the statement that copies an event as the first of many orders; `key` makes a key of the number n."""
    return f"""INSERT INTO events
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}),
        made (n, key) AS (SELECT n, {key} FROM numbers)
        SELECT (SELECT max(position) FROM events) + n, key, 1, tag, envelope, data, sealed, leaf
        FROM made CROSS JOIN (SELECT * FROM events WHERE position = 5) AS one"""  # noqa: S608


class ScanContract:
    """What every way of raw reading must show; `opened` and `change` come from the subclass."""

    def verified(self, opened: Callable[[], Scan], tmp_path: Path) -> Verified:
        return verify(
            opened,
            "main",
            folder=CheckpointFolder(tmp_path / "checkpoints"),
            signer=Signer.open(tmp_path / "key.pem"),
        )

    def test_an_honest_log_passes(self, opened: Callable[[], Scan], tmp_path: Path) -> None:
        first = self.verified(opened, tmp_path)
        assert (first.problems, first.checkpoints) == ([], 0)
        assert first.payloads > 5
        assert self.verified(opened, tmp_path).checkpoints == 1

    @pytest.mark.parametrize(
        ("statement", "kind"),
        [
            ("UPDATE events SET tag = 'order.amended' WHERE position = 5", "leaf"),
            ("DELETE FROM events WHERE position = 5", "gap"),
            ("DELETE FROM events WHERE position = 5", "version"),
            ("UPDATE events SET version = 90 WHERE position = 5", "version"),
            ("UPDATE events SET position = 1000 WHERE position = 5", "row"),
            ("DELETE FROM payloads", "payload"),
            ("UPDATE payloads SET sealed = digest", "payload"),
            ("UPDATE cell SET head = head + 1", "truncated"),
            ("UPDATE cell SET generation = 'other'", "generation"),
            ("UPDATE cell SET position = 1", "row"),
            ("UPDATE snapshots SET version = 100000", "snapshot"),
        ],
    )
    def test_every_change_is_found(
        self, opened: Callable[[], Scan], change: Change, tmp_path: Path, statement: str, kind: str
    ) -> None:
        assert self.verified(opened, tmp_path).ok
        change(statement)
        assert kind in {problem.kind for problem in self.verified(opened, tmp_path).problems}

    def test_streams_are_found_by_the_order_number(self, opened: Callable[[], Scan], change: Change) -> None:
        with closing(opened()) as scan:
            assert scan.has_stream(key_of(3))
            assert not scan.has_stream("order-x:y:z")
            assert find_stream(scan, "10003") == key_of(3)
            assert scan.streams_ending(":1000", 5) == []
            assert scan.orphans(5) == []
        elsewhere = ["order-pos:s-2:10003", "order-pos:s:10003", "order-taobao:shop=3A:10003", "order-wechat:x:10003"]
        others = ["order-pos:s:100034", "case-a:b:10003", "orders-pos:s:10003"]
        copies = [
            f"SELECT {10_000 + number}, '{stream}', 1, tag, envelope, data, sealed, leaf FROM events WHERE position = 5"  # noqa: S608
            for number, stream in enumerate([*elsewhere, *others])
        ]
        change(f"INSERT INTO events {' UNION ALL '.join(copies)}")
        with closing(opened()) as scan:
            assert set(scan.streams_ending(":10003", 9)) == {*elsewhere, key_of(3)}
            assert len(scan.streams_ending(":10003", 2)) == 2

    def test_streams_are_found_from_shop_to_shop_however_many_orders_there_are(
        self, opened: Callable[[], Scan], change: Change
    ) -> None:
        change(many_orders(f"CASE WHEN n < 4 THEN 'order-nocolon' || n ELSE {OF_21_SHOPS} END", ORDERS))
        with closing(opened()) as scan:
            assert scan.streams_ending(":50100", 50) == sorted(
                f"order-x{channel}:s-{shop}:50100" for channel in range(7) for shop in range(3)
            )
            assert len(scan.streams_ending(":50100", 5)) == 5
            assert find_stream(scan, "10003") == key_of(3)
            for nobodys in (":5010", ":100", ":", "%", "\\1", ":nobody"):
                assert scan.streams_ending(nobodys, 5) == []

    def test_bytes_without_events_are_seen(self, opened: Callable[[], Scan], change: Change) -> None:
        change(f"DELETE FROM events WHERE stream = '{key_of(13)}'")  # noqa: S608
        with closing(opened()) as scan:
            assert scan.orphans(5) == [key_of(13)]


class TestSqliteScan(ScanContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], Scan]:
        with closing(SqliteEventLog(tmp_path / "log.db")) as log:
            Story(log, MemoryVault()).tell(24)
        return partial(SqliteScan, tmp_path / "log.db")

    @pytest.fixture
    def change(self, tmp_path: Path) -> Change:
        def run(statement: str) -> None:
            log = SqliteEventLog(tmp_path / "log.db")
            with closing(log):
                log._writer.execute(statement)

        return run

    def test_a_missing_file_is_said_to_be_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            SqliteScan(tmp_path / "none.db")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan, as EXPLAIN tells it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.xdist_group("postgres")
class TestPostgresScan(ScanContract):
    @pytest.fixture
    def opened(self, postgres_dsn: str, postgres_schema: str) -> Callable[[], Scan]:
        with closing(PostgresEventLog(postgres_dsn, postgres_schema)) as log:
            Story(log, MemoryVault()).tell(24)
            assert replay_states(log).problems == []
        return partial(PostgresScan, postgres_dsn, postgres_schema)

    @pytest.fixture
    def change(self, postgres_dsn: str, postgres_schema: str) -> Change:
        def run(statement: str) -> None:
            with psycopg.connect(postgres_dsn, options=f"-c search_path={postgres_schema}") as db:
                db.execute(statement.encode())

        return run

    def test_a_schema_without_a_log_is_said_to_have_none(self, postgres_dsn: str) -> None:
        with pytest.raises(Unreadable, match="holds no log"):
            PostgresScan(postgres_dsn, "nothing_here")

    def test_no_order_is_walked_past_to_find_one(
        self, opened: Callable[[], Scan], change: Change, postgres_dsn: str, postgres_schema: str
    ) -> None:
        change(many_orders(OF_21_SHOPS, ORDERS))
        with psycopg.connect(
            postgres_dsn,
            options=f"-c search_path={postgres_schema}",
            autocommit=True,
            cursor_factory=psycopg.ClientCursor,
        ) as db:
            db.execute("VACUUM ANALYZE events")
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {STREAMS_ENDING}"
            ((plan,),) = db.execute(explain.encode(), (":50100", 50)).fetchall()
        looks = [node for node in nodes(plan[0]["Plan"]) if node.get("Relation Name") == "events"]
        assert looks
        assert {node["Node Type"] for node in looks} == {"Index Only Scan"}
        assert {node["Index Name"] for node in looks} == {"events_stream_version"}
        read = sum(node["Actual Rows"] * node["Actual Loops"] for node in looks)
        assert read <= 2 * SHOPS, f"{read} entries of {ORDERS:,} orders were read"
        with closing(opened()) as scan:
            assert len(scan.streams_ending(":50100", 50)) == SHOPS - 1
