"""What every database of read models promises."""

from typing import Any, ClassVar

import pytest
from sqlalchemy import BigInteger, Column, Text
from sqlalchemy.event import listen, remove

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import NotBuilt, OutOfStep, ReadModels, Step
from domain.cell import Untranslatable
from domain.envelope import By
from domain.finance import Finding, Judged, JudgeOrders
from domain.ids import finance_key, intake_key, order_key, warehouse_key
from domain.intake import RecordUnmatched
from domain.mail import ChannelPayload
from domain.order import ScanOut
from domain.stock import ReceiveStock
from projections import PROJECTIONS
from projections.base import Change, versioned
from runners.projector import Projector
from tests.colleagues import CHEN, WU, ask, comment, complain
from tests.trade import SECRET, Trade, trade_day, view


class Notes:
    """A projection's tables, as small as can be; `version` tells two of them apart."""

    name: ClassVar = "notes"

    def __init__(self, version: int) -> None:
        self.version = version
        self.table = versioned(
            "notes",
            version,
            Column("key", Text, primary_key=True),
            Column("text", Text, nullable=False),
            Column("position", BigInteger, nullable=False),
        )
        self.tables = (self.table,)

    def step(self, previous: int, position: int, *rows: tuple[str, str], deletes: tuple[str, ...] = ()) -> Step:
        written = [(key, text, position) for key, text in rows]
        change = Change(self.table, written, [(key,) for key in deletes])
        return Step(self, [change], "life", previous, position)


def judged(shop: str) -> Judged:
    return Judged(order_key(shop, shop, "1"), "2026-02-09", (Finding("amount_differs", 1500, 1400, "CNY"),))


def texts(read_models: ReadModels, notes: Notes) -> dict[str, str]:
    return {row[0]: row[1] for _, row in read_models.rows(notes)}


class ReadModelsContract:
    """Subclasses give `read_models`."""

    @pytest.fixture
    def notes(self, read_models: ReadModels) -> Notes:
        notes = Notes(1)
        read_models.prepare([notes])
        read_models.reset(notes, "life", read_models.checkpoint(notes))
        return notes

    def test_rows_and_checkpoint_are_written_together(self, read_models: ReadModels, notes: Notes) -> None:
        read_models.apply(notes.step(0, 2, ("a", "one"), ("b", "two")))
        read_models.apply(notes.step(2, 5, ("a", "three"), deletes=("b", "never there")))
        assert texts(read_models, notes) == {"a": "three"}
        assert read_models.checkpoint(notes)[:2] == ("life", 5)

    def test_a_gap_a_repeat_or_another_life_is_refused_whole(self, read_models: ReadModels, notes: Notes) -> None:
        read_models.apply(notes.step(0, 2, ("a", "one")))
        for wrong in (
            notes.step(3, 4, ("a", "gap")),
            notes.step(0, 2, ("a", "repeat")),
            notes.step(2, 4, ("a", "x"))._replace(generation="other"),
        ):
            with pytest.raises(OutOfStep):
                read_models.apply(wrong)
        assert texts(read_models, notes) == {"a": "one"}
        assert read_models.checkpoint(notes)[:2] == ("life", 2)

    def test_of_several_steps_all_are_written_or_none(self, read_models: ReadModels, notes: Notes) -> None:
        with pytest.raises(OutOfStep):
            read_models.apply(notes.step(0, 2, ("a", "one")), notes.step(0, 2, ("b", "two")))
        assert texts(read_models, notes) == {}
        assert read_models.checkpoint(notes).position == 0

    def test_any_text_can_be_stored(self, read_models: ReadModels, notes: Notes) -> None:
        read_models.apply(notes.step(0, 1, ("quote ' \" ; -- %s ?", "售后中 😀"), ("nul", "a\0b")))
        stored = texts(read_models, notes)
        assert stored["quote ' \" ; -- %s ?"] == "售后中 😀"
        assert stored["nul"] in ("a\0b", "a�b")

    def test_ids_that_no_text_column_can_hold_keep_nothing_from_being_shown(self, read_models: ReadModels) -> None:
        half = "s\ud800"
        log = MemoryEventLog()
        trade = Trade(log)
        unread = Untranslatable("no lines", "", "", "digest")
        trade.send(order_key("taobao", half, half), ChannelPayload("taobao", half, half), unread)
        trade.send(intake_key(half, half), RecordUnmatched("u1", "cancellation", "no order"))
        trade.send(
            finance_key(half, half), JudgeOrders("j", "2026-02-09", 1, (judged(half),)), by=By("system", "match")
        )
        for receipt in ("r1", "r2"):
            trade.send(warehouse_key(half), ReceiveStock(receipt, (("SKU-1", 5),)), by=WU)
            Projector(log, read_models, PROJECTIONS).run()
        assert [(row["channel"], row["shop"]) for row in read_models.intake()] == [("s?", "s?"), ("taobao", "s?")]
        assert [(row["warehouse"], row["on_hand"]) for row in read_models.inventory()] == [("s?", 10)]
        assert [row["channel"] for row in read_models.finance_differences()] == ["s?"]

    def test_a_table_is_walked_in_pages_by_its_key(self, read_models: ReadModels, notes: Notes) -> None:
        read_models.apply(notes.step(0, 2, *((f"{number:03}", "x") for number in reversed(range(25)))))
        found = list(read_models.table_pages(notes, notes.table, ["text", "key"], (), 10))
        assert [len(page) for page in found] == [10, 10, 5]
        assert [tuple(row) for page in found for row in page] == [("x", f"{number:03}") for number in range(25)]
        newer = Notes(2)
        read_models.prepare([newer])
        with pytest.raises(NotBuilt, match="notes"):
            list(read_models.table_pages(newer, newer.table, ["key"], (), 10))

    def test_many_rows_fit_one_batch(self, read_models: ReadModels, notes: Notes) -> None:
        read_models.apply(notes.step(0, 1, *((f"k{number}", "x") for number in range(3000))))
        assert len(read_models.load(notes, [f"k{number}" for number in range(0, 3000, 2)])["notes_v1"]) == 1500
        pages = [page["notes_v1"] for page in read_models.pages(notes, 0, 1, 700)]
        assert [len(page) for page in pages] == [700, 700, 700, 700, 200]
        assert len({row[0] for page in pages for row in page}) == 3000

    @pytest.mark.parametrize("number", [1, 15, 16, 17, 48, 50])
    def test_of_rows_of_one_key_in_a_batch_the_last_one_stands(
        self, read_models: ReadModels, notes: Notes, number: int
    ) -> None:
        read_models.apply(notes.step(0, 1, ("k0", "known")))
        rows = [(f"k{each}", f"{text} {each}") for each in range(number) for text in ("first", "last")]
        read_models.apply(notes.step(1, 2, *rows))
        assert texts(read_models, notes) == {f"k{each}": f"last {each}" for each in range(number)}

    def test_a_page_that_is_not_full_is_the_last_one_whatever_is_written_meanwhile(
        self, read_models: ReadModels, notes: Notes
    ) -> None:
        for position, key in enumerate("abcdef", 1):
            read_models.apply(notes.step(position - 1, position, (key, "old")))
        moves = iter("ab")

        def write(_db: Any, _cursor: Any, text: str, *_: Any) -> None:
            key = next(moves, None) if text.startswith("SELECT") and "notes_v1" in text else None
            if key is not None:
                at = read_models.checkpoint(notes).position
                read_models.apply(notes.step(at, at + 1, (key, "new")))

        listen(read_models._engine, "after_cursor_execute", write)
        seen: list[str] = []
        after, full = 0, True
        while full:
            rows = read_models.since(notes, after, 6, 3)["notes_v1"]
            seen += [row[0] for row in rows]
            after, full = (rows[-1][2], len(rows) >= 3) if rows else (6, False)
        remove(read_models._engine, "after_cursor_execute", write)
        assert {"c", "d", "e", "f"} <= set(seen)  # what moves on comes again, behind 6

    def test_a_new_version_is_built_beside_the_live_one_and_swapped_in(
        self, read_models: ReadModels, notes: Notes
    ) -> None:
        read_models.apply(notes.step(0, 2, ("a", "old")))
        newer = Notes(2)
        read_models.prepare([newer])
        assert not read_models.checkpoint(newer).live
        read_models.reset(newer, "life", read_models.checkpoint(newer))
        read_models.apply(newer.step(0, 2, ("a", "new")))
        assert [(row["version"], row["live"]) for row in read_models.positions()] == [(1, True), (2, False)]
        assert texts(read_models, notes) == {"a": "old"}
        read_models.go_live(newer)
        assert [(row["version"], row["live"]) for row in read_models.positions()] == [(2, True)]
        assert texts(read_models, newer) == {"a": "new"}
        again = Notes(1)  # an older build comes back: its tables were dropped, it begins anew
        read_models.prepare([again])
        assert read_models.checkpoint(again) == ("", 0, False)
        assert texts(read_models, again) == {}

    def test_a_reset_empties_only_what_was_believed_to_be_there(self, read_models: ReadModels, notes: Notes) -> None:
        believed = read_models.checkpoint(notes)
        read_models.apply(notes.step(0, 2, ("a", "one")))
        with pytest.raises(OutOfStep):
            read_models.reset(notes, "next life", believed)
        assert texts(read_models, notes) == {"a": "one"}
        read_models.reset(notes, "next life", read_models.checkpoint(notes))
        assert texts(read_models, notes) == {}
        assert read_models.checkpoint(notes)[:2] == ("next life", 0)

    def test_questions_to_an_empty_database_have_empty_answers(self, read_models: ReadModels) -> None:
        assert read_models.positions() == []
        assert read_models.orders({"state": "paid"}) == []
        assert read_models.order("order-a:b:c") is None
        assert read_models.inventory() == []
        assert read_models.intake() == []
        assert read_models.desk() == []
        assert read_models.thread("order-a:b:c") == []
        assert read_models.desked("order-a:b:c") is None
        assert read_models.count_orders() == {}

    def test_orders_are_found_by_everything_people_ask_by(self, read_models: ReadModels) -> None:
        log = MemoryEventLog()
        trade = Trade(log)
        trade.receive(3)
        paid = trade.take(view("1"))
        short = trade.take(view("2", units=9))
        waiting = trade.take(view("3", "awaiting_payment", shop="s2"))
        shipped = trade.take(view("4", "shipped"))
        trade.send(short, ChannelPayload("taobao", "s1", "2"), Untranslatable("no lines", "orders", "look", "digest"))
        Projector(log, read_models, PROJECTIONS).run()

        def keys(**filters: Any) -> set[str]:
            return {row["key"] for row in read_models.orders(filters)}

        assert keys() == {paid, short, waiting, shipped}
        assert keys(state="awaiting_payment") == {waiting}
        assert keys(channel="taobao", shop="s1") == {paid, short, shipped}
        assert keys(order_no="4") == keys(tracking="T-4") == {shipped}
        assert keys(tracking="T-1") == set()
        assert keys(customer="c0ffee") == {paid, short, waiting, shipped}
        assert keys(held=True) == keys(quarantined=True) == {short}
        assert keys(pick_list=True) == {paid}
        assert keys(key=paid) == {paid}
        with pytest.raises(KeyError):
            keys(colour="red")
        newest, older = read_models.orders(limit=2)
        assert newest["position"] > older["position"]
        assert {row["key"] for row in read_models.orders({"before": older["position"]})} == keys() - {
            newest["key"],
            older["key"],
        }
        assert sum(read_models.count_orders().values()) == 4
        assert read_models.count_orders(filters={"held": True}) == {"paid": 1}
        assert read_models.count_orders("channel", {"customer": "c0ffee", "shop": "s1"}) == {"taobao": 3}

        trade.send(paid, ScanOut("scan-1", "SF-77", "SF"))
        Projector(log, read_models, PROJECTIONS).run()
        assert keys(tracking="SF-77") == {paid}
        assert keys(pick_list=True) == set()

    def test_the_order_record_has_its_nine_fields_and_the_document_the_rest(self, read_models: ReadModels) -> None:
        log = MemoryEventLog()
        trade = Trade(log)
        trade.receive()
        key = trade.take(view("1", units=2))
        Projector(log, read_models, PROJECTIONS).run()
        (record,) = read_models.orders({"key": key})
        head = log.read(0, 100)[-1]
        assert (record["key"], record["channel"], record["ordered_at"], record["customer"]) == (
            order_key("taobao", "s1", "1"),
            "taobao",
            "local-1770600000000",
            "c0ffee",
        )
        assert [(item["sku"], item["quantity"], item["amount"]) for item in record["items"]] == [
            ("SKU-1", 2, 2000),
            ("SKU-2", 1, 500),
        ]
        assert (record["amount_paid"], record["currency"], record["state"]) == (2500, "CNY", "allocating")
        assert (record["updated_by"], record["position"]) == ("rule:fulfilment", head.position)
        assert "sealed" not in record
        shown = read_models.order(key)
        assert shown is not None
        assert shown["sealed"] == SECRET
        assert shown["attributes"] == {"source": "app"}
        assert (shown["channel"], shown["amounts"]["payable"], shown["paid_at"]["text"]) == (
            "taobao",
            2500,
            "t1770600000001",
        )

    def test_the_desk_shows_what_is_due_first_and_then_what_has_waited_longest(self, read_models: ReadModels) -> None:
        log = MemoryEventLog()
        trade = Trade(log)
        trade.receive()
        one, two = trade.take(view("1")), trade.take(view("2"))
        short = trade.take(view("3", units=900))
        trade.send(one, comment("c-1", WU, "who? @finance @li.wei"), by=WU)
        trade.send(two, ask("c-2", WU, due_within_ms=9_000_000, escalate_to="sales"), by=WU)
        trade.send(one, ask("c-3", WU, due_within_ms=1_000, escalate_to="sales"), by=WU)
        trade.send(two, complain("c-4"), by=CHEN)
        Projector(log, read_models, PROJECTIONS).run()
        rows = [(row["key"], row["kind"]) for row in read_models.desk()]
        assert rows == [
            (one, "approval"),
            (two, "approval"),
            (short, "interception"),
            (one, "mention"),
            (one, "mention"),
            (two, "complaint"),
        ]
        assert [row["key"] for row in read_models.desk(role="finance")] == [one, two, one]
        assert [row["item"] for row in read_models.desk(role="finance", person="li.wei", kind="mention")] == [
            "1/finance",
            "1/li.wei",
        ]
        assert [row["kind"] for row in read_models.desk(key=two, limit=1)] == ["approval"]
        assert read_models.thread(one)[0]["sealed"] == comment("c-1", WU, "who? @finance @li.wei").sealed
        desked = read_models.desked(one)
        assert desked is not None
        assert (desked["messages"], desked["rounds"], desked["waiting"]) == (1, 1, 3)

    def test_rows_come_back_in_one_order_everywhere(self, read_models: ReadModels) -> None:
        log = MemoryEventLog()
        trade_day(Trade(log), 3, 60)
        Projector(log, read_models, PROJECTIONS).run()
        for projection in PROJECTIONS:
            found = list(read_models.rows(projection))
            widths = {made.name: len(made.primary_key) for made in projection.tables}
            by_table = [(name, [str(value) for value in row[: widths[name]]]) for name, row in found]
            for made in projection.tables:
                keys = [key for name, key in by_table if name == made.name]
                assert keys == sorted(keys)
