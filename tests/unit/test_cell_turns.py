"""One message in, one turn out: everything that follows from it, at once."""

import pytest

from domain import cell as cells
from domain import cellular, fulfilment, order, rulebook, stock
from domain.canonical import Return, ReturnLine
from domain.catalogue import decode_event
from domain.cell import EndlessTurn, Held, Message, Missing, Returned, Taken, run_turn
from domain.envelope import By, decode_envelope
from domain.fulfilment import Message as Reaction
from domain.ids import (
    BARCODES_KEY,
    BUYERS_KEY,
    CELL_KEY,
    RULEBOOK_KEY,
    VIEWS_KEY,
    buyer_of,
    finance_key,
    mapping_key,
    order_key,
    skus_key,
    trail_key,
)
from domain.mail import AsideReport, ChannelPayload, Mail
from tests.spec import T0, WAREHOUSE, Cell, at, line, snapshot, taking

KEY = order_key("taobao", "shop1", "o-1")
PAID = snapshot()


def stocked() -> Cell:
    cell = Cell()
    cell.receive(("S1", 10), ("S2", 10))
    return cell


def test_paid_reserved_and_listed_is_one_step() -> None:
    cell = stocked()
    turn = cell.take(PAID)
    assert [record.tag for record in turn.records] == [
        "order.received", "order.normalized", "order.paid", "stock.reserved", "order.reserved", "order.pick_list_issued"
    ]  # fmt: skip
    assert (turn.outcome, turn.keeps_payload) == ("accepted", True)
    assert cell.order().status == "allocating"


def test_every_event_says_when_by_whom_and_because_of_what() -> None:
    cell = stocked()
    turn = cell.take(PAID)
    first, *_, reserved, confirmed, _ = (decode_envelope(record.envelope) for record in turn.records)
    assert (first.by, first.causation, first.correlation) == (By("channel", "taobao"), "life-2", "life-2")
    assert (reserved.by, reserved.causation) == (By("rule", "fulfilment"), f"{KEY}@3")
    assert confirmed.causation == f"{WAREHOUSE}@2"
    assert {decode_envelope(record.envelope).message for record in turn.records} == {"life-2"}


def test_only_a_view_of_the_order_is_stored_with_its_personal_half() -> None:
    cell = stocked()
    cell.take(PAID)
    cell.take(snapshot("paid", 5, freight=1))
    sealed = {record.tag for record in cell.records if record.sealed}
    assert sealed == {"order.normalized", "order.amended"}


def test_a_refused_act_is_answered_alike_when_it_comes_again() -> None:
    cell = stocked()
    cell.take(snapshot("awaiting_payment"))
    first, again = (cell.send(KEY, order.ScanOut("c-1")) for _ in range(2))
    assert (first.outcome, again.outcome, again.reason) == ("refused", "refused", first.reason)
    assert cell.tags(KEY).count("order.refused") == 1
    assert cell.send(KEY, order.ScanOut("c-2")).outcome == "refused"


def test_a_repeat_keeps_no_payload() -> None:
    cell = stocked()
    cell.take(PAID)
    turn = cell.take(PAID)
    assert (turn.outcome, turn.keeps_payload, [record.tag for record in turn.records]) == (
        "repeated", False, ["order.repeated"]
    )  # fmt: skip


def test_a_refusal_is_recorded_where_an_auditor_would_ask() -> None:
    cell = stocked()
    cell.take(PAID)
    turn = cell.send(KEY, order.CancelLines("c-1", (("9", 1),), ""))
    assert (turn.outcome, [record.tag for record in turn.records]) == ("refused", ["order.refused"])
    assert "line 9" in turn.reason
    assert cell.send(KEY, order.CancelLines("c-1", (("9", 1),), "")).records == []
    turn = cell.send(WAREHOUSE, stock.AdjustStock("d-1", "S1", -99, ""))
    assert (turn.outcome, [record.tag for record in turn.records]) == ("refused", ["stock.refused"])


@pytest.mark.parametrize(
    ("to", "tag"),
    [
        (CELL_KEY, "cell.refused"),
        ("intake-x:y", "intake.refused"),
        (WAREHOUSE, "stock.refused"),
        (mapping_key("taobao"), "mapping.refused"),
        (skus_key("taobao", "shop1"), "skus.refused"),
        (RULEBOOK_KEY, "rules.refused"),
        (trail_key(buyer_of("taobao", "cafe")), "trail.refused"),
        (BUYERS_KEY, "buyers.refused"),
        (BARCODES_KEY, "goods.refused"),
        (finance_key("taobao", "shop1"), "finance.refused"),
        (VIEWS_KEY, "views.refused"),
    ],
)
def test_a_message_to_the_wrong_kind_of_actor_is_refused_and_breaks_nothing(to: str, tag: str) -> None:
    turn = Cell().send(to, order.Ship("c-1", "T", "SF"))
    assert (turn.outcome, [record.tag for record in turn.records]) == ("refused", [tag])


def test_a_failed_act_that_no_rule_speaks_of_follows_its_sender() -> None:
    cell = stocked()
    cell.take(PAID)
    failed = order.RecordEffect("c-1", "erp", f"{KEY}@4", "failed", reason="no such account")
    assert [record.tag for record in cell.send(KEY, failed).records] == ["order.effect_failed"]
    stops = order.RecordEffect("c-2", "erp", f"{KEY}@5", "failed", reason="no such account", then="intercept")
    assert [record.tag for record in cell.send(KEY, stops).records] == ["order.effect_failed", "order.intercepted"]


def test_what_a_turn_lacks_it_names() -> None:
    message = Message("life-1", T0, Mail(KEY, ChannelPayload("taobao", "shop1", "o-1", b"x"), T0, By("channel")))
    with pytest.raises(Missing) as missing:
        run_turn(message, {})
    assert missing.value.streams == (KEY,)
    states = {KEY: Held(0, order.Order())}
    with pytest.raises(Missing) as missing:
        run_turn(message, states)
    assert missing.value.payloads == ("life-1",)
    with pytest.raises(Missing) as missing:
        run_turn(message, states, Taken(taking(PAID)))
    assert missing.value.streams == (RULEBOOK_KEY,)
    ruled = {**states, RULEBOOK_KEY: Held(0, rulebook.State())}
    with pytest.raises(Missing) as missing:
        run_turn(message, ruled, Taken(taking(PAID)))
    assert missing.value.streams == (WAREHOUSE,)
    assert states == {KEY: Held(0, order.Order())}, "a turn that was not finished left something behind"


def test_the_same_message_and_states_give_the_same_bytes() -> None:
    one, other = stocked(), stocked()
    assert one.take(PAID) == other.take(PAID)


def test_process_managers_that_answer_each_other_for_ever_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = stocked()
    numbers = iter(range(cells.STEPS_MAX * 2))
    monkeypatch.setattr(
        fulfilment,
        "react_to_ledger",
        lambda *_: [Reaction(WAREHOUSE, stock.ReceiveStock(f"x-{next(numbers)}", (("S1", 1),)))],
    )
    with pytest.raises(EndlessTurn):
        cell.receive(("S1", 1), document="d-2")


def test_a_tick_is_accepted_and_records_nothing() -> None:
    turn = Cell().send(CELL_KEY, cellular.Tick())
    assert (turn.outcome, turn.records) == ("accepted", [])


def test_lost_mail_and_a_reset_broker_are_in_the_log() -> None:
    cell = Cell()
    cell.send(CELL_KEY, cellular.NoteMailLost(5, 9))
    cell.send(CELL_KEY, cellular.NoteBrokerReset("a", "b", 9, "wiped"))
    assert cell.tags() == ["cell.mail_lost", "cell.broker_reset"]
    assert cell.states[CELL_KEY].state == cellular.CellState(5, 1)


@pytest.mark.parametrize(
    ("kind", "tag", "outcome"),
    [
        ("hint", "intake.hinted", "hint"),
        ("ignored", "intake.ignored", "ignored"),
        ("refused", "intake.refused", "refused"),
        ("quarantined", "intake.quarantined", "quarantined"),
        ("nonsense", "intake.refused", "refused"),
    ],
)
def test_what_is_no_order_goes_to_the_intake(kind: str, tag: str, outcome: str) -> None:
    cell = Cell()
    report = AsideReport("taobao", "shop1", kind, "why", b"raw", order_no="o-1")
    turn = cell.send("intake-taobao:shop1", report, cells.Untranslatable("", "", "", "p-1"))
    assert ([record.tag for record in turn.records], turn.outcome) == ([tag], outcome)
    assert cell.send("intake-taobao:shop1", report, cells.Untranslatable("", "", "", "p-1")).outcome == "repeated"


def test_a_return_of_goods_finds_its_sale() -> None:
    cell = stocked()
    cell.take(snapshot("completed", kind="counter"))
    goods = Return("pos", "shop1", "o-1", "r-1", at(9), "CNY", (ReturnLine("S1", 1, 100),))
    turn = cell.channel(Returned(goods, "p-r"), KEY)
    assert [record.tag for record in turn.records] == ["order.after_sale_opened", "order.refunded"]


def test_a_return_that_comes_before_its_sale_waits_for_it() -> None:
    cell = stocked()
    goods = Return("pos", "shop1", "o-1", "r-1", at(9), "CNY", (ReturnLine("S1", 1, 100),))
    assert cell.channel(Returned(goods, "p-r"), KEY).outcome == "queued"
    turn = cell.take(snapshot("completed", kind="counter"))
    assert [record.tag for record in turn.records][-2:] == ["order.after_sale_opened", "order.refunded"]


def test_timers_are_told_in_the_order_they_were_set_and_cleared() -> None:
    cell = stocked()
    first = cell.take(snapshot("awaiting_payment"))
    assert first.timers == [cells.Timer(KEY, "payment", T0 + order.PAYMENT_TERM_MS)]
    moved = cell.take(snapshot("awaiting_payment", 2, pay_by=at(99)))
    assert moved.timers == [cells.Timer(KEY, "payment", None), cells.Timer(KEY, "payment", at(99).utc_ms)]


def test_one_view_with_many_lines_of_one_sku_reserves_their_sum() -> None:
    cell = stocked()
    turn = cell.take(snapshot(lines=(line("1", "S1", 2), line("2", "S1", 3))))
    reserved = next(record for record in turn.records if record.tag == "stock.reserved")
    assert decode_event(reserved.tag, reserved.data).lines == (("S1", 5),)  # type: ignore[attr-defined]
