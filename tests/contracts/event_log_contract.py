"""What every event log promises, whatever it is made of."""

from collections.abc import Callable
from hashlib import sha256
from threading import Thread

import pytest

from adapters.storage.recorder import RecorderLog
from domain.ports import Advance, Conflict, Payload, Record, Recorded, StoredSnapshot, Tracked
from domain.proof import leaf_hash


def record(stream: str, version: int, data: bytes = b"{}", sealed: bytes | None = None) -> Record:
    return Record(stream, version, "order.paid", b'{"at":1}', data, sealed)


def payload(text: bytes, stream: str = "order-1") -> Payload:
    return Payload(sha256(text).digest(), stream, text)


def advance(row: Tracked, position: int, **other: object) -> Advance:
    fields = {"incarnation": row.incarnation, "epoch": row.epoch, "previous": row.position, **other}
    return Advance(position=position, digest=b"d" * 32, at_ms=1_700_000_000_000, **fields)  # type: ignore[arg-type]


def places(events: list[Recorded]) -> list[tuple[int, str, int]]:
    return [(event.position, event.stream, event.version) for event in events]


class EventLogContract:
    """Subclasses give a `log` fixture: a fresh, empty log."""

    # --- positions and versions ---

    def test_a_fresh_log_is_empty_and_tracks_nothing(self, log: RecorderLog) -> None:
        row = log.tracked()
        assert (row.incarnation, row.epoch, row.position, row.digest, row.at_ms, row.head) == ("", 0, 0, b"", 0, 0)
        assert row.generation
        assert log.read(0, 10) == []
        assert log.select_many(["order-1"]) == {}

    def test_positions_are_given_in_order_without_gaps(self, log: RecorderLog) -> None:
        assert log.append([record("a", 1), record("b", 1), record("a", 2)]) == 3
        assert log.append([record("b", 2)]) == 4
        assert places(log.read(0, 10)) == [(1, "a", 1), (2, "b", 1), (3, "a", 2), (4, "b", 2)]
        assert log.tracked().head == 4

    def test_a_refused_commit_leaves_no_hole(self, log: RecorderLog) -> None:
        log.append([record("a", 1)])
        with pytest.raises(Conflict):
            log.append([record("b", 1), record("a", 1)])
        assert log.append([record("c", 1)]) == 2
        assert places(log.read(0, 10)) == [(1, "a", 1), (2, "c", 1)]

    @pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 1023, 1024, 1025, 1500])
    def test_batches_of_any_size_are_written_whole(self, log: RecorderLog, count: int) -> None:
        records = [record(f"order-{at // 3}", at % 3 + 1, b"%d" % at) for at in range(count)]
        assert log.append(records) == count
        assert [Record(*event[1:7]) for event in log.read(0, count + 1)] == records

    @pytest.mark.parametrize(
        "batch",
        [
            [record("a", 1)],
            [record("a", 2)],
            [record("a", 4)],
            [record("a", 3), record("a", 3)],
            [record("a", 3), record("a", 5)],
            [record("a", 4), record("a", 3)],
            [record("new", 2)],
            [record("new", 0)],
            [record("new", -1)],
            [record("new", 1), record("new", 1)],
            [record("a", 3), record("new", 2)],
        ],
    )
    def test_only_the_next_version_of_a_stream_is_taken(self, log: RecorderLog, batch: list[Record]) -> None:
        log.append([record("a", 1), record("a", 2)])
        with pytest.raises(Conflict):
            log.append(batch)
        assert places(log.read(0, 10)) == [(1, "a", 1), (2, "a", 2)]
        assert log.append([record("a", 3)]) == 3

    def test_an_append_of_nothing_changes_nothing(self, log: RecorderLog) -> None:
        log.append([record("a", 1)])
        before = log.tracked()
        assert log.append([]) == 1
        assert log.tracked() == before

    @pytest.mark.parametrize("stream", ["order-订单:一号店:№1", "order-" + "x" * 1200, "order-a'b\"c%s;--", "ÅÅ", " "])
    def test_streams_may_have_any_name(self, log: RecorderLog, stream: str) -> None:
        log.append([record(stream, 1), record(stream + "x", 1)])
        log.append([record(stream, 2)])
        assert places(list(log.select_many([stream])[stream].events)) == [(1, stream, 1), (3, stream, 2)]

    def test_stream_names_are_compared_exactly(self, log: RecorderLog) -> None:
        log.append([record("A", 1), record("a", 1), record("e\u0301", 1), record("\u00e9", 1)])
        assert sorted(log.select_many(["A", "e\u0301"])) == ["A", "e\u0301"]

    def test_every_byte_comes_back_and_the_leaf_covers_it(self, log: RecorderLog) -> None:
        every = bytes(range(256))
        log.append([Record("a", 1, "order.received", every, every * 20, b"\x01" + every), record("a", 2, b"")])
        first, second = log.read(0, 10)
        assert first[:7] == (1, "a", 1, "order.received", every, every * 20, b"\x01" + every)
        assert first.leaf == leaf_hash(*first[:6], first.sealed or b"")
        assert second.sealed is None
        assert second.leaf == leaf_hash(2, "a", 2, "order.paid", b'{"at":1}', b"", b"")
        assert all(type(value) is bytes for value in (first.envelope, first.data, first.sealed, first.leaf))

    # --- the compare-and-set ---

    def test_a_commit_moves_the_position_with_its_events(self, log: RecorderLog) -> None:
        row = log.take_over()
        log.append([record("a", 1)], advance=advance(row, 7))
        after = log.tracked()
        assert (after.position, after.digest, after.at_ms, after.head) == (7, b"d" * 32, 1_700_000_000_000, 1)
        assert (after.epoch, after.generation) == (row.epoch, row.generation)

    def test_a_commit_without_events_still_moves_the_position(self, log: RecorderLog) -> None:
        assert log.append([], advance=advance(log.take_over(), 3)) == 0
        assert log.tracked().position == 3

    @pytest.mark.parametrize("wrong", [{"incarnation": "other"}, {"epoch": 0}, {"epoch": 2}, {"previous": 4}])
    def test_nothing_is_written_where_the_row_is_another(self, log: RecorderLog, wrong: dict[str, object]) -> None:
        log.take_over()
        row = log.set_incarnation(1, "life", 5)
        with pytest.raises(Conflict):
            log.append(
                [record("a", 1)],
                payloads=[payload(b"raw")],
                snapshots=[StoredSnapshot("a", 1, "t", b"s")],
                advance=advance(row, 6, **wrong),
            )
        assert log.tracked() == row
        assert log.read(0, 10) == []
        assert log.select_many(["a"]) == {}
        assert log.payloads([payload(b"raw").digest]) == {}

    @pytest.mark.parametrize("position", [4, 5])
    def test_the_position_only_goes_forward(self, log: RecorderLog, position: int) -> None:
        log.take_over()
        row = log.set_incarnation(1, "life", 5)
        with pytest.raises(Conflict):
            log.append([record("a", 1)], advance=advance(row, position))
        assert log.tracked() == row

    def test_the_same_commit_twice_is_refused(self, log: RecorderLog) -> None:
        row = log.take_over()
        log.append([], advance=advance(row, 1))
        with pytest.raises(Conflict):
            log.append([], advance=advance(row, 1))
        with pytest.raises(Conflict):
            log.append([], advance=advance(row, 2))

    def test_nothing_is_written_where_a_version_is_taken(self, log: RecorderLog) -> None:
        row = log.take_over()
        log.append([record("a", 1)])
        with pytest.raises(Conflict):
            log.append(
                [record("b", 1), record("a", 1)],
                payloads=[payload(b"raw")],
                snapshots=[StoredSnapshot("b", 1, "t", b"s")],
                advance=advance(row, 1),
            )
        assert log.tracked() == Tracked("", 1, 0, b"", 0, 1, row.generation)
        assert "b" not in log.select_many(["a", "b"])
        assert log.payloads([payload(b"raw").digest]) == {}

    def test_who_was_taken_over_from_writes_no_more(self, log: RecorderLog) -> None:
        zombie = log.take_over()
        heir = log.take_over()
        assert heir.epoch == zombie.epoch + 1
        with pytest.raises(Conflict):
            log.append([record("a", 1)], advance=advance(zombie, 1))
        with pytest.raises(Conflict):
            log.set_incarnation(zombie.epoch, "life", 0)
        log.append([record("a", 1)], advance=advance(heir, 1))
        assert log.tracked().position == 1

    def test_a_new_life_of_the_mail_forgets_the_last_mail(self, log: RecorderLog) -> None:
        row = log.take_over()
        log.append([record("a", 1)], advance=advance(row, 9))
        after = log.set_incarnation(row.epoch, "life-2", 20)
        assert after == Tracked("life-2", row.epoch, 20, b"", 0, 1, row.generation)
        assert log.tracked() == after

    def test_a_new_life_and_what_is_said_of_it_are_one_commit(self, log: RecorderLog) -> None:
        row = log.take_over()
        log.append([record("cell", 1)], advance=advance(row, 9))
        after = log.set_incarnation(row.epoch, "life-2", 20, records=[record("cell", 2, b"reset"), record("b", 1)])
        assert after == Tracked("life-2", row.epoch, 20, b"", 0, 3, row.generation)
        assert log.tracked() == after
        assert places(log.read(0, 10)) == [(1, "cell", 1), (2, "cell", 2), (3, "b", 1)]
        assert log.read(1, 1)[0].leaf == leaf_hash(2, "cell", 2, "order.paid", b'{"at":1}', b"reset", b"")
        assert log.append([record("cell", 3)], advance=advance(after, 21)) == 4

    @pytest.mark.parametrize(
        ("epoch", "records"),
        [(0, [record("cell", 1)]), (1, [record("cell", 2)]), (1, [record("cell", 1), record("a", 1)])],
    )
    def test_of_a_refused_new_life_nothing_is_said(self, log: RecorderLog, epoch: int, records: list[Record]) -> None:
        log.take_over()
        log.append([record("a", 1)])
        before = log.tracked()
        with pytest.raises(Conflict):
            log.set_incarnation(epoch, "life-2", 20, records=records)
        assert log.tracked() == before
        assert places(log.read(0, 10)) == [(1, "a", 1)]

    # --- loading ---

    def test_many_streams_are_loaded_at_once(self, log: RecorderLog) -> None:
        log.append([record(f"s{at}", version) for version in (1, 2, 3) for at in range(300)])
        loaded = log.select_many([f"s{at}" for at in range(400)])
        assert len(loaded) == 300
        assert all(found.snapshot is None for found in loaded.values())
        assert all([event.version for event in found.events] == [1, 2, 3] for found in loaded.values())
        assert places(list(loaded["s7"].events)) == [(8, "s7", 1), (308, "s7", 2), (608, "s7", 3)]

    def test_a_stream_that_is_named_twice_is_loaded_once(self, log: RecorderLog) -> None:
        log.append([record("a", 1), record("a", 2), record("b", 1)], snapshots=[StoredSnapshot("b", 1, "b.v1", b"b")])
        loaded = log.select_many(["a", "b", "a", "b"])
        assert [event.version for event in loaded["a"].events] == [1, 2]
        assert (loaded["b"].snapshot, list(loaded["b"].events)) == (StoredSnapshot("b", 1, "b.v1", b"b"), [])

    def test_a_snapshot_stands_for_the_events_before_it(self, log: RecorderLog) -> None:
        snapshot = StoredSnapshot("a", 2, "stock.v1", b"folded")
        log.append([record("a", 1), record("a", 2), record("b", 1)], snapshots=[snapshot])
        assert log.select_many(["a"])["a"].snapshot == snapshot
        whole = log.select_many(["a"], snapshots=False)["a"]
        assert (whole.snapshot, [event.version for event in whole.events]) == (None, [1, 2])
        assert list(log.select_many(["a"])["a"].events) == []
        log.append([record("a", 3)])
        loaded = log.select_many(["a", "b"])
        assert loaded["a"].snapshot == snapshot
        assert [event.version for event in loaded["a"].events] == [3]
        assert loaded["b"].snapshot is None

    def test_a_later_snapshot_replaces_an_older_one_and_never_the_other_way(self, log: RecorderLog) -> None:
        old, new, again = (StoredSnapshot("a", at, "t", data) for at, data in ((1, b"1"), (2, b"2"), (2, b"3")))
        log.append([record("a", 1), record("a", 2)], snapshots=[old, new])
        log.append([], snapshots=[old])
        assert log.select_many(["a"])["a"].snapshot == new
        log.append([], snapshots=[again])
        assert log.select_many(["a"])["a"].snapshot == again

    def test_reading_goes_on_page_by_page(self, log: RecorderLog) -> None:
        log.append([record("a", version) for version in range(1, 11)])
        assert [event.position for event in log.read(0, 4)] == [1, 2, 3, 4]
        assert [event.position for event in log.read(4, 4)] == [5, 6, 7, 8]
        assert [event.position for event in log.read(8, 4)] == [9, 10]
        assert log.read(10, 4) == []

    def test_told_are_the_same_events_without_what_is_sealed(self, log: RecorderLog) -> None:
        log.append([record("a", version, sealed=b"secret") for version in range(1, 11)])
        for after in (0, 4, 8, 10):
            assert log.told(after, 4) == [event[:6] for event in log.read(after, 4)]

    def test_one_stream_is_selected_from_either_end(self, log: RecorderLog) -> None:
        log.append([record("a", version) for version in range(1, 6)] + [record("b", 1)])
        assert [event.version for event in log.select("a", after=1, upto=3)] == [2, 3]
        assert [event.version for event in log.select("a", desc=True, limit=2)] == [5, 4]
        assert [event.version for event in log.select("a", upto=3, desc=True, limit=1)] == [3]
        assert log.select("nobody") == []

    # --- payloads ---

    def test_a_payload_is_kept_once(self, log: RecorderLog) -> None:
        one, two = payload(b"one"), payload(b"two" * 5000, "order-2")
        log.append([record("a", 1)], payloads=[one, two, one])
        log.append([record("a", 2)], payloads=[one._replace(stream="order-9"), payload(b"three")])
        assert log.payloads([one.digest, two.digest, b"?" * 32]) == {one.digest: one, two.digest: two}
        assert log.payloads([]) == {}

    # --- several at once ---

    def test_of_two_writers_one_wins_each_position(self, log: RecorderLog, other: Callable[[], RecorderLog]) -> None:
        row = log.take_over()
        outcomes: list[str] = []

        def write(mine: RecorderLog, stream: str) -> None:
            for at in range(20):
                try:
                    mine.append([record(f"{stream}-{at}", 1)], advance=advance(row, at + 1, previous=at))
                    outcomes.append(stream)
                except Conflict:
                    outcomes.append("conflict")

        threads = [Thread(target=write, args=(mine, name)) for mine, name in ((log, "x"), (other(), "y"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = len([outcome for outcome in outcomes if outcome != "conflict"])
        assert len(outcomes) == 40
        assert log.tracked().position == log.tracked().head == won >= 1
        assert [event.position for event in log.read(0, 100)] == list(range(1, won + 1))

    def test_reading_while_another_thread_writes_sees_whole_commits(self, log: RecorderLog) -> None:
        def write() -> None:
            for at in range(40):
                log.append([record(f"s{at}", version) for version in (1, 2, 3)])

        writer = Thread(target=write)
        writer.start()
        seen = [0]
        while writer.is_alive():
            events = log.read(0, 1000)
            assert [event.position for event in events] == list(range(1, len(events) + 1))
            assert len(events) % 3 == 0
            assert len(events) >= seen[-1]
            seen.append(len(events))
            for found in log.select_many([f"s{at}" for at in range(40)]).values():
                assert len(found.events) == 3
        writer.join()
        assert len(log.read(0, 1000)) == 120

    # --- following another log ---

    def test_following_another_log_goes_forward_with_its_events(self, log: RecorderLog) -> None:
        assert log.followed("other") is None
        assert log.append_following([record("a", 1)], "other", 5) == 1
        for again in (5, 4):
            with pytest.raises(Conflict):
                log.append_following([record("a", 2)], "other", again)
        with pytest.raises(Conflict):
            log.append_following([record("a", 1)], "other", 6)
        assert log.followed("other") == 5
        assert places(log.read(0, 10)) == [(1, "a", 1)]

    def test_closing_twice_is_harmless(self, log: RecorderLog) -> None:
        log.close()
        log.close()
