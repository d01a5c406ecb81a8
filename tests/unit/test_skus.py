"""An item that no SKU is known of stops its order, is listed, and lets the order go on in the turn that enters it."""

from typing import Any

import msgspec
import pytest

from domain import order as orders
from domain import skus as tables
from domain.canonical import Return, ReturnLine
from domain.catalogue import decode_event
from domain.cell import Message, Missing, Returned, run_turn
from domain.handled import Handled, MissingCommandId
from domain.ids import order_key, skus_key, skus_key_of
from domain.mail import Mail
from domain.order import ResolveInterception, ScanOut, TimerCleared, TimerDue, TimerSet
from domain.skus import (
    PAIRS_MAX,
    AwaitSkus,
    BadEntry,
    NotMapped,
    RemoveSkus,
    SetSkus,
    SkusMapped,
    SkusRefused,
    SkusReleased,
    SkusRemoved,
    SkusSettled,
    SkusUnmapped,
    WrongActor,
    skus,
)
from tests.spec import PERSON, T0, Cell, Spec, at, line, replayed, snapshot

TABLE = skus_key("taobao", "shop1")
FIRST = order_key("taobao", "shop1", "o-1")
BARE = (line("1", ""), line("2"))


def entered(*pairs: tuple[str, str], command: str = "c-0") -> SkusMapped:
    return SkusMapped(pairs, command)


def waiting(*items: str, order: str = FIRST) -> SkusUnmapped:
    return SkusUnmapped(order, tuple((item, "") for item in items))


# --- the table


def test_entries_are_recorded_as_far_as_they_are_new() -> None:
    spec = Spec(skus).when(SetSkus("c-1", (("a", "S1"), ("b", "S2")), "list"))
    spec.then(SkusMapped((("a", "S1"), ("b", "S2")), "c-1", "list"))
    spec.when(SetSkus("c-2", (("a", "S1"), ("b", "S3")))).then(SkusMapped((("b", "S3"),), "c-2"))
    spec.when(SetSkus("c-3", (("a", "S1"), ("a", "S1")))).then_nothing()
    assert dict(spec.state.table) == {"a": "S1", "b": "S3"}


def test_a_repeat_of_an_old_entry_does_not_undo_a_newer_one() -> None:
    spec = Spec(skus).given(entered(("a", "S1"), command="c-1"), entered(("a", "S2"), command="c-2"))
    spec.when(SetSkus("c-1", (("a", "S1"),))).then_nothing()


def test_items_are_taken_out_by_name_and_those_that_are_not_there_are_told() -> None:
    spec = Spec(skus).given(entered(("a", "S1"), ("b", "S2")))
    spec.when(RemoveSkus("c-1", ("a", "z", "a"), "gone")).then(SkusRemoved(("a",), "c-1", "gone"))
    spec.when(RemoveSkus("c-2", ("a",))).then_raises(NotMapped)
    assert dict(spec.state.table) == {"b": "S2"}


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        (("", "S"),),
        (("a", ""),),
        ((" a", "S"),),
        (("a", "S" * 201),),
        (("a", "S"), ("a", "T")),
        (("a", "S"),) * (PAIRS_MAX + 1),
    ],
)
def test_bad_entries_are_refused_whole(pairs: Any) -> None:
    Spec(skus).when(SetSkus("c-1", pairs)).then_raises(BadEntry)


def test_an_entry_that_was_refused_stays_refused_and_is_recorded_once() -> None:
    cell = Cell()
    key = skus_key("taobao", "shop1")
    first, again = (cell.send(key, SetSkus("c-1", (("", "S"),))) for _ in range(2))
    assert (first.outcome, again.outcome, again.reason) == ("refused", "refused", first.reason)
    assert cell.tags(key) == ["skus.refused"]


def test_an_act_needs_an_id_and_the_right_actor() -> None:
    Spec(skus).when(SetSkus("", (("a", "S"),))).then_raises(MissingCommandId)
    Spec(skus).when(ScanOut("c-1")).then_raises(WrongActor)


def test_a_refusal_of_an_act_without_an_id_is_no_act_that_was_handled() -> None:
    spec = Spec(skus).given(SkusRefused("SetSkus", "MissingCommandId", "no id"))
    assert spec.state.handled == Handled()
    spec.when(SetSkus("", (("a", "S"),))).then_raises(MissingCommandId)


def test_the_past_is_never_refused_even_where_it_takes_out_what_is_not_there() -> None:
    spec = Spec(skus).given(entered(("a", "S1")), waiting("b"))
    spec.given(SkusRemoved(("z",), "c-1"), SkusSettled("o-9"), SkusReleased(("o-8",)))
    assert (dict(spec.state.table), list(spec.state.waiting)) == ({"a": "S1"}, [FIRST])


# --- who waits


def test_orders_that_wait_are_noted_once_and_served_in_the_order_they_came() -> None:
    spec = Spec(skus).when(AwaitSkus("o-9", (("a", ""),))).then(waiting("a", order="o-9"))
    spec.when(AwaitSkus("o-9", (("a", ""),))).then_nothing()
    spec.when(AwaitSkus("o-1", (("a", ""), ("b", "")))).then(waiting("a", "b", order="o-1"))
    spec.when(AwaitSkus("o-5", (("b", ""),))).then(waiting("b", order="o-5"))
    spec.when(SetSkus("c-1", (("a", "S"),))).then(SkusMapped((("a", "S"),), "c-1", "", ("o-9", "o-1")))
    assert list(spec.state.waiting) == ["o-5"]


def test_an_order_that_needs_nothing_more_is_struck_off() -> None:
    spec = Spec(skus).given(waiting("a"))
    spec.when(AwaitSkus(FIRST, ())).then(SkusSettled(FIRST))
    spec.when(AwaitSkus(FIRST, ())).then_nothing()


def test_what_is_known_already_is_given_at_once() -> None:
    spec = Spec(skus).given(entered(("a", "S1")))
    spec.when(AwaitSkus(FIRST, (("a", ""), ("b", "")))).then(waiting("a", "b"), SkusReleased((FIRST,)))


def test_many_that_wait_are_served_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "RELEASE_MAX", 2)
    spec = Spec(skus).given(*(waiting("a", order=f"o-{number}") for number in range(5)))
    due = TimerSet("release", T0)
    spec.when(SetSkus("c-1", (("a", "S"),))).then(SkusMapped((("a", "S"),), "c-1", "", ("o-0", "o-1")), due)
    cleared = TimerCleared("release", fired=True)
    spec.when(TimerDue("release", T0), T0 + 1).then(cleared, SkusReleased(("o-2", "o-3")), TimerSet("release", T0 + 1))
    spec.when(TimerDue("release", T0)).then_nothing()
    spec.when(TimerDue("release", T0 + 1)).then(cleared, SkusReleased(("o-4",)))
    assert not spec.state.timers


def test_a_timer_that_finds_nobody_waiting_any_more_only_ends() -> None:
    spec = Spec(skus).given(entered(("a", "S")), waiting("a"), TimerSet("release", T0), SkusSettled(FIRST))
    spec.when(TimerDue("release", T0), T0 + 1).then(TimerCleared("release", fired=True)).when(
        TimerDue("release", T0)
    ).then_nothing()


# --- whole turns


def stocked() -> Cell:
    cell = Cell()
    cell.receive(("S1", 10), ("S2", 10))
    return cell


def tags(cell: Cell, since: int) -> list[str]:
    return [record.tag for record in cell.records[since:]]


def enter(cell: Cell, *pairs: tuple[str, str], command: str = "c-1") -> list[str]:
    since = len(cell.records)
    cell.send(TABLE, SetSkus(command, pairs))
    return tags(cell, since)


def test_an_item_in_the_table_is_as_good_as_a_sku_of_the_channel() -> None:
    cell = stocked()
    enter(cell, ("item-1", "S1"))
    cell.take(snapshot(lines=BARE))
    assert cell.tags(FIRST) == [
        "order.received",
        "order.normalized",
        "order.paid",
        "order.reserved",
        "order.pick_list_issued",
    ]
    event: Any = decode_event("order.normalized", cell.records[3].data)
    assert (event.snapshot.lines[0].sku, event.mapped) == ("S1", ("1",))
    assert cell.take(snapshot(lines=BARE)).outcome == "repeated"


def test_an_unknown_item_stops_its_order_until_it_is_entered() -> None:
    cell = stocked()
    cell.take(snapshot(lines=BARE))
    assert [reason for _, reason in cell.order().interceptions] == ["unmapped_sku"]
    assert cell.tags(TABLE) == ["skus.unmapped"]
    assert enter(cell, ("item-1", "S1")) == [
        "skus.mapped",
        "order.skus_mapped",
        "order.resolved",
        "stock.reserved",
        "order.reserved",
        "order.pick_list_issued",
    ]
    assert cell.order().allocations
    assert cell.level("S1").reserved == 1
    assert cell.take(snapshot(lines=BARE)).outcome == "repeated"
    assert replayed(cell.records) == cell.living


def test_two_unknown_items_need_both() -> None:
    cell = stocked()
    cell.take(snapshot(lines=(line("1", ""), line("2", ""))))
    assert enter(cell, ("item-1", "S1")) == ["skus.mapped", "order.skus_mapped", "skus.unmapped"]
    assert not cell.order().allocations
    assert "order.pick_list_issued" in enter(cell, ("item-2", "S2"), command="c-2")


def test_an_unpaid_order_waits_for_its_money_and_not_for_its_skus() -> None:
    cell = stocked()
    cell.take(snapshot("awaiting_payment", lines=BARE))
    assert not cell.order().interceptions
    assert not cell.tags(TABLE)
    enter(cell, ("item-1", "S1"))
    cell.take(snapshot("paid", 2, lines=BARE))
    assert cell.order().allocations


def test_a_cancelled_order_waits_no_longer() -> None:
    cell = stocked()
    cell.take(snapshot(lines=BARE))
    cell.take(snapshot("cancelled", 2, lines=BARE))
    assert cell.tags(TABLE) == ["skus.unmapped", "skus.settled"]
    assert enter(cell, ("item-1", "S1")) == ["skus.mapped"]


def test_the_channel_itself_may_name_the_sku_later() -> None:
    cell = stocked()
    cell.take(snapshot(lines=BARE))
    cell.take(snapshot(minute=2, lines=(line("1"), line("2"))))
    assert cell.order().allocations
    assert cell.tags(TABLE)[-1] == "skus.settled"


def test_what_left_before_its_sku_was_known_is_deducted_when_it_is() -> None:
    cell = stocked()
    cell.take(snapshot("shipped", 5, lines=BARE, shipped=5))
    assert (cell.level("S1").on_hand, cell.level("S2").on_hand) == (10, 9)
    enter(cell, ("item-1", "S1"))
    assert cell.level("S1").on_hand == 9


def test_a_corrected_entry_reaches_an_order_with_its_next_view_unless_the_goods_have_left() -> None:
    cell = stocked()
    enter(cell, ("item-1", "S1"))
    cell.take(snapshot(lines=BARE))
    enter(cell, ("item-1", "S2"), command="c-2")
    assert cell.order().lines[0].sku == "S1"
    cell.take(snapshot(minute=2, lines=BARE))
    assert cell.order().lines[0].sku == "S2"
    assert (cell.level("S1").reserved, cell.level("S2").reserved) == (0, 2)
    cell.take(snapshot("shipped", 3, lines=BARE))
    enter(cell, ("item-1", "S1"), command="c-3")
    cell.take(snapshot("completed", 4, lines=BARE))
    assert cell.order().lines[0].sku == "S2"
    assert (cell.level("S1").on_hand, cell.level("S2").on_hand) == (10, 8)


def test_an_order_keeps_its_sku_when_the_item_is_taken_out() -> None:
    cell = stocked()
    enter(cell, ("item-1", "S1"))
    cell.take(snapshot(lines=BARE))
    cell.send(TABLE, RemoveSkus("c-2", ("item-1",)))
    cell.take(snapshot(minute=2, lines=BARE, freight=5))
    assert cell.order().lines[0].sku == "S1"


def test_nobody_can_release_what_has_no_sku() -> None:
    cell = stocked()
    cell.take(snapshot(lines=BARE))
    name = cell.order().interceptions[0][0]
    assert cell.send(FIRST, ResolveInterception("c-9", name, "release")).outcome == "refused"


def test_a_hundred_orders_that_wait_are_served_in_one_turn() -> None:
    cell = Cell()
    cell.receive(("S1", 1_000), ("S2", 1_000))
    for number in range(100):
        cell.take(snapshot(number=f"o-{number}", lines=BARE))
    cell.states = {key: held for key, held in cell.states.items() if not key.startswith("order-")}
    states = replayed(cell.records)
    asked: list[tuple[str, ...]] = []
    mail = Mail(TABLE, SetSkus("c-1", (("item-1", "S1"),)), T0, PERSON)
    while True:
        try:
            turn = run_turn(Message("life-999", T0, mail), cell.states)
            break
        except Missing as missing:
            asked.append(missing.streams)
            cell.states.update({stream: states[stream] for stream in missing.streams})
    assert [len(streams) for streams in asked] == [100], "all that it misses at once"
    cell.keep(turn)
    assert cell.level("S1").reserved == 100


def test_a_return_may_name_the_item_where_the_sku_came_from_the_table() -> None:
    cell = Cell()
    cell.send(TABLE, SetSkus("c-1", (("item-1", "S1"),)))
    cell.take(snapshot("completed", lines=(line("1", ""),), kind="counter"))
    back = Return("taobao", "shop1", "o-1", "r-1", at(9), "CNY", (ReturnLine("", 1, 100, item="item-1"),))
    assert cell.channel(Returned(back, "payload-r"), FIRST).outcome == "accepted"


def test_the_table_of_an_order_is_that_of_its_channel_and_shop() -> None:
    assert skus_key_of(order_key("taobao", "店 1:x", "a:b")) == skus_key("taobao", "店 1:x")


def test_filling_changes_nothing_where_nothing_is_missing() -> None:
    view = snapshot(lines=(line("1"), msgspec.structs.replace(line("2", ""), item="")))
    filled, mapped = tables.fill(view, orders.Order(), {"item-1": "X"})
    assert filled is view
    assert not mapped
