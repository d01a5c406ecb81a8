"""Nothing that came in is lost: what nobody could handle waits whole, what follows waits behind it, and all runs."""

import json
from typing import Any

import pytest

from domain import order, stock
from domain.canonical import Snapshot
from domain.cell import Held, Message, Missing, Taken, Turn, Untranslatable, quarantine_turn, run_turn
from domain.ids import order_key
from domain.intake import DiscardAside, Intake
from domain.mail import Mail, decode_body
from tests.spec import PERSON, T0, WAREHOUSE, Cell, line, snapshot, taking

KEY = order_key("taobao", "shop1", "o-1")
BAD = Untranslatable("no such status", "status", "correct it", "bad-1")
LATER = snapshot("paid", 5, freight=5)


def broken() -> Cell:
    """An order whose first message nobody could translate, with three that follow it."""
    cell = Cell()
    cell.receive(("S1", 10))
    assert cell.channel(BAD, KEY).outcome == "quarantined"
    assert cell.take(LATER).outcome == "queued"
    assert cell.send(KEY, order.CancelLines("c-1", (("1", 1),), "less")).outcome == "queued"
    return cell


def item(cell: Cell) -> str:
    waiting = cell.order().quarantined
    assert waiting is not None
    return waiting.item


def test_other_orders_go_on() -> None:
    cell = broken()
    assert cell.take(snapshot(number="o-2")).outcome == "accepted"


def test_discarding_lets_what_follows_run_in_order_in_the_same_turn() -> None:
    cell = broken()
    turn = cell.send(KEY, order.DiscardQuarantined("c-9", item(cell), "junk"))
    tags = [record.tag for record in turn.records]
    assert tags[0] == "order.queue_released"
    assert tags.index("order.paid") < tags.index("order.lines_cancelled") < tags.index("order.cancelled")
    assert (cell.order().queue, cell.order().quarantined) == ((), None)
    assert cell.level("S1").available == 10


def test_resending_after_the_repair_runs_it_first() -> None:
    cell = broken()
    cell.payloads["bad-1"] = Taken(taking(snapshot("awaiting_payment", 1)))
    turn = cell.send(KEY, order.ResendQuarantined("c-9", item(cell)))
    tags = [record.tag for record in turn.records]
    assert tags.index("order.timer_set") < tags.index("order.amended") < tags.index("order.lines_cancelled")


def test_resending_without_a_repair_quarantines_it_again_and_the_rest_waits_on() -> None:
    cell = broken()
    before = cell.order()
    cell.send(KEY, order.ResendQuarantined("c-9", item(cell)))
    after = cell.order()
    assert (after.quarantined, after.queue) == (before.quarantined, before.queue)


def test_a_resend_asks_for_the_bytes_it_needs() -> None:
    cell = broken()
    message = Message("life-99", T0, Mail(KEY, order.ResendQuarantined("c-9", item(cell)), T0, PERSON))
    with pytest.raises(Missing) as missing:
        run_turn(message, cell.states)
    assert set(missing.value.payloads) == {"bad-1", taking(LATER).payload}


def test_a_scan_for_an_order_that_is_not_known_yet_waits_and_then_runs() -> None:
    cell = Cell()
    cell.receive(("S1", 10))
    assert cell.send(KEY, order.ScanOut("c-1", "T1", "SF")).outcome == "queued"
    tags = [record.tag for record in cell.take(snapshot()).records]
    assert tags.index("order.pick_list_issued") < tags.index("order.shipped") < tags.index("stock.picked_out")
    assert cell.level("S1") == stock.Level(9, 0, 0, 0, T0)


def test_acts_of_one_id_that_waited_are_refused_once() -> None:
    cell = Cell()
    for tracking in ("T1", "T2"):
        assert cell.send(KEY, order.ScanOut("c-1", tracking, "SF")).outcome == "queued"
    turn = cell.take(snapshot())
    tags = [record.tag for record in turn.records]
    assert turn.outcome == "accepted", "what the channel is told is of its own message"
    assert (tags.count("order.queue_released"), tags.count("order.refused")) == (1, 1), tags
    assert cell.order().queue == ()


def test_a_queue_that_was_given_up_does_not_run() -> None:
    cell = Cell()
    cell.send(KEY, order.ScanOut("c-1", "T1", "SF"))
    cell.send(KEY, order.DiscardQuarantined("c-2", "order", "mistake"))
    cell.receive(("S1", 10))
    cell.take(snapshot())
    assert cell.order().status == "allocating"
    assert cell.order().timers == ()


@pytest.mark.parametrize(
    "view",
    [
        snapshot(lines=(line("1"), line("1"))),
        snapshot(lines=(line("1", quantity=0),)),
        snapshot(lines=(line("1", quantity=-2),)),
        snapshot(lines=(line("1", quantity=10**9), line("2"))),
    ],
)
def test_lines_that_cannot_be_told_apart_or_counted_are_quarantined_with_their_reason(view: Snapshot) -> None:
    cell = Cell()
    turn = cell.take(view)
    assert turn.outcome == "quarantined"
    assert "line" in turn.reason or "units" in turn.reason
    assert cell.order().status == ""


def suspect(cell: Cell, to: str, body: Any, payload: str = "") -> Turn:
    message = Message(f"life-{cell.sequence + 1}", T0, Mail(to, body, T0, PERSON))
    cell.sequence += 1
    for stream in (to, "intake-cell:mail"):
        cell.states.setdefault(stream, Held(0, Intake()))
    return cell.keep(quarantine_turn(message, cell.states, "the process died", payload))


def test_a_message_that_killed_the_process_waits_whole_in_its_order() -> None:
    cell = Cell()
    cell.take(snapshot())
    turn = suspect(cell, KEY, order.CancelLines("c-1", (("1", 1),), "less"))
    assert turn.outcome == "quarantined"
    waiting = cell.order().quarantined
    assert waiting is not None
    assert decode_body(waiting.message) == order.CancelLines("c-1", (("1", 1),), "less")


def test_messages_that_killed_the_process_wait_whole_in_the_intake_each_of_them() -> None:
    cell = Cell()
    bodies = [stock.ReceiveStock("d-1", (("S1", 1),)), stock.ReceiveStock("d-2", (("S1", 2),))]
    for body in bodies:
        assert suspect(cell, WAREHOUSE, body).outcome == "quarantined"
    kept = [json.loads(record.data) for record in cell.records if record.tag == "intake.quarantined"]
    assert [decode_body(each["message"]) for each in kept] == bodies
    assert len({each["payload"] for each in kept}) == 2
    turn = cell.send("intake-cell:mail", DiscardAside(kept[0]["payload"], "seen"))
    assert turn.outcome == "accepted"


def test_a_full_queue_runs_in_one_turn() -> None:
    cell = Cell()
    cell.receive(("S1", 10**6))
    cell.channel(BAD, KEY)
    for number in range(order.QUEUE_MAX):
        units = 1 + number % 2
        assert cell.take(snapshot("paid", number, (line("1", quantity=units),))).outcome == "queued"
    assert cell.take(snapshot("paid", 99_999)).outcome == "refused"
    turn = cell.send(KEY, order.DiscardQuarantined("c-9", item(cell), "junk"))
    assert len(turn.records) > 4 * order.QUEUE_MAX
    assert (cell.order().queue, cell.order().status) == ((), "allocating")
