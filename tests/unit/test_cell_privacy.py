"""Forgetting in a cell: one turn decides for all a person's orders, and nothing of him is kept afterwards."""

import msgspec
import pytest

from domain import order, stock, tracking
from domain.buyers import BuyerOwes, BuyerSet, buyers
from domain.canonical import Return
from domain.cell import Held, Message, Returned, Taken, Untranslatable, quarantine_turn
from domain.decider import fold
from domain.envelope import By
from domain.ids import order_key
from domain.mail import ChannelPayload, Mail
from domain.privacy import LOOK_MS, SETTLED_MS, ForgetPerson, RecordDisclosure, WithdrawForgetting
from tests.spec import CHANNEL, T0, Cell, at, replayed, snapshot, taking

PRIVACY = "privacy-main"
KEY = order_key("taobao", "shop1", "o-1")
LI = By("person", "li", "service")


def forgotten() -> Cell:
    cell = Cell()
    cell.take(snapshot("completed"))
    turn = cell.send(PRIVACY, ForgetPerson("f-1", LI, asked="customer", reason="by phone", orders=(KEY,)), by=LI)
    assert turn.outcome == "accepted", turn.reason
    return cell


def test_a_request_forgets_all_orders_in_its_own_turn() -> None:
    cell = forgotten()
    assert cell.tags()[-2:] == ["privacy.forgetting_asked", "order.forgotten"]
    assert replayed(cell.records) == cell.living


def test_an_order_that_is_under_way_refuses_the_whole_request_and_that_is_recorded() -> None:
    cell = Cell()
    cell.take(snapshot("paid"))
    turn = cell.send(PRIVACY, ForgetPerson("f-1", LI, asked="customer", reason="by phone", orders=(KEY,)), by=LI)
    assert (turn.outcome, cell.tags(PRIVACY)) == ("refused", ["privacy.refused"])
    assert "order.forgotten" not in cell.tags()


def test_only_orders_can_be_forgotten_as_orders() -> None:
    cell = Cell()
    asked = ForgetPerson("f-1", LI, asked="customer", reason="by phone", orders=("warehouse-A",))
    assert cell.send(PRIVACY, asked, by=LI).outcome == "refused"


def test_what_is_given_out_needs_no_other_actor() -> None:
    cell = forgotten()
    told = RecordDisclosure("d-1", LI, asked="customer", reason="by phone", orders=(KEY,))
    assert cell.send(PRIVACY, told, by=LI).outcome == "accepted"
    assert cell.tags()[-1] == "privacy.disclosed"


GOODS = Return("taobao", "shop1", "o-9", "r-1", at(1), "CNY", ())


@pytest.mark.parametrize("prepared", [Untranslatable("broken", "", "", ""), Returned(GOODS, "")])
def test_bytes_that_must_not_be_kept_leave_nothing_but_the_refusal(prepared: Untranslatable | Returned) -> None:
    cell = Cell()
    turn = cell.channel(prepared, KEY)
    assert (turn.outcome, turn.reason != "", cell.tags(KEY)) == ("refused", True, ["order.refused"])


def test_a_view_that_must_not_be_kept_does_not_wait_behind_a_bad_message() -> None:
    cell = Cell()
    cell.take(snapshot("awaiting_payment"))
    cell.channel(Untranslatable("broken", "", "", "bad-1"), KEY)
    view = taking(snapshot("paid", 2))
    bare = order.TakeSnapshot(view.snapshot, view.digest, view.address, "", b"")
    assert cell.channel(Taken(bare), KEY).outcome == "refused"
    assert cell.order().queue == ()


def test_a_message_that_kills_and_must_not_be_kept_is_dropped() -> None:
    cell = forgotten()
    mail = Mail(KEY, ChannelPayload("taobao", "shop1", "o-1", b"raw"), T0, CHANNEL, "test")
    turn = quarantine_turn(Message("life-9", T0, mail), cell.states, "it kills", "")
    assert [record.tag for record in turn.records] == ["order.refused"]


def test_what_is_no_check_is_refused_by_the_views_and_recorded() -> None:
    cell = Cell()
    turn = cell.send("views-main", stock.ReceiveStock("d-1", (("S1", 1),)))
    assert (turn.outcome, cell.tags("views-main")) == ("refused", ["views.refused"])


# --- requests that wait


def asked(own: str = "f-1", *orders: str) -> ForgetPerson:
    named = orders or (KEY,)
    return ForgetPerson(own, LI, asked="customer", reason="by phone", orders=named, when_finished=True)


def test_the_step_that_finishes_the_last_order_carries_the_request_out_in_its_own_turn() -> None:
    cell = Cell()
    other = order_key("taobao", "shop1", "o-2")
    cell.take(snapshot("paid"))
    cell.take(snapshot("paid", number="o-2"))
    assert cell.send(PRIVACY, asked("f-1", KEY, other), by=LI).outcome == "accepted"
    assert cell.tags(PRIVACY) == ["privacy.forgetting_awaited", "order.timer_set"]
    assert cell.order().awaited == cell.order("o-2").awaited == ("f-1",)
    cell.take(snapshot("cancelled", 2))
    assert "privacy.forgetting_asked" not in cell.tags(), "the other one is under way"
    assert not cell.order().forgotten
    turn = cell.take(snapshot("cancelled", 2, number="o-2"))
    tags = [record.tag for record in turn.records]
    assert tags[-4:] == ["order.timer_cleared", "privacy.forgetting_asked", "order.forgotten", "order.forgotten"]
    assert tags.index("order.cancelled") < tags.index("privacy.forgetting_asked")
    assert (cell.order().forgotten, cell.order("o-2").forgotten) == ("f-1", "f-1")
    assert cell.order().awaited == ()
    assert replayed(cell.records) == cell.living


def test_a_parcel_that_is_delivered_finishes_its_order() -> None:
    cell = Cell()
    cell.receive(("S1", 10))
    cell.take(snapshot("paid"))
    cell.send(PRIVACY, asked(), by=LI)
    cell.send(KEY, order.ScanOut("out-1", "T1", "SF"))
    assert (cell.order().status, cell.order().forgotten) == ("shipped", "")
    cell.send(KEY, tracking.RecordTrack("track-1", "T1", "SF", (tracking.Scan(T0, "signed"),)))
    assert (cell.order().status, cell.order().forgotten) == ("shipped", "f-1")
    assert "order.delivered" in cell.tags(KEY)
    assert replayed(cell.records) == cell.living


def test_a_buyer_who_owes_something_is_forgotten_the_day_after_he_paid() -> None:
    cell = Cell()
    buyer = "taobao:00aa"
    cell.take(snapshot("completed"))
    owes = (BuyerSet(buyer, "", (), "CNY", 5_00, (), "c-0"), BuyerOwes(buyer, KEY, 1))
    cell.states["buyers-main"] = Held(2, fold(buyers, owes))
    wants = msgspec.structs.replace(asked(), buyers=(buyer,))
    assert cell.send(PRIVACY, wants, by=LI).outcome == "accepted"
    rings = order.TimerDue("forget-f-1", T0 + LOOK_MS)
    cell.send(PRIVACY, rings, by=By("system", "timer"))
    assert not cell.order().forgotten
    paid = cell.states["buyers-main"]
    cell.states["buyers-main"] = Held(3, buyers.evolve(paid.state, BuyerOwes(buyer, KEY, 0)))
    cell.send(PRIVACY, rings, by=By("system", "timer"))
    assert cell.order().forgotten == "f-1"


def test_silence_is_noticed_by_the_request_s_own_timer() -> None:
    cell = Cell()
    cell.take(snapshot("shipped"))
    turn = cell.send(PRIVACY, asked(), by=LI)
    (timer,) = turn.timers
    assert (timer.stream, timer.due_ms) == (PRIVACY, T0 + LOOK_MS)
    due_ms, days = T0 + LOOK_MS, 0
    while not cell.order().forgotten:
        cell.now_ms = due_ms
        turn = cell.send(PRIVACY, order.TimerDue(timer.id, due_ms), by=By("system", "timer"))
        opened = [each.due_ms for each in turn.timers if each.due_ms is not None]
        due_ms = opened[0] if opened else 0
        days += 1
        assert days < 40
    assert days == SETTLED_MS // LOOK_MS + 1
    assert due_ms == 0, "no timer is left open"
    assert replayed(cell.records) == cell.living


def test_a_withdrawn_request_is_never_carried_out() -> None:
    cell = Cell()
    cell.take(snapshot("paid"))
    cell.send(PRIVACY, asked(), by=LI)
    told = WithdrawForgetting("w-1", LI, request="f-1", reason="changed his mind")
    turn = cell.send(PRIVACY, told, by=LI)
    assert (turn.outcome, [timer.due_ms for timer in turn.timers]) == ("accepted", [None])
    assert cell.order().awaited == ()
    cell.take(snapshot("cancelled", 2))
    cell.send(PRIVACY, order.TimerDue("forget-f-1", T0), by=By("system", "timer"))
    assert cell.tags(PRIVACY)[-1] == "privacy.forgetting_withdrawn"
    assert not cell.order().forgotten


def test_forgotten_by_another_request_meanwhile_it_carries_out_the_rest() -> None:
    cell = Cell()
    cell.take(snapshot("paid"))
    first = asked()
    cell.send(PRIVACY, first, by=LI)
    cell.send(PRIVACY, asked("f-2", KEY, order_key("taobao", "shop1", "o-2")), by=LI)
    assert cell.order().awaited == ("f-1", "f-2")
    cell.take(snapshot("cancelled", 2))
    assert cell.tags(PRIVACY).count("privacy.forgetting_asked") == 2
    assert cell.tags(KEY).count("order.forgotten") == 1


def test_what_is_wrong_is_refused_at_once_also_where_it_would_wait() -> None:
    cell = Cell()
    nobody = ForgetPerson("f-1", LI, asked="customer", reason="by phone", orders=("warehouse-A",), when_finished=True)
    assert cell.send(PRIVACY, nobody, by=LI).outcome == "refused"
    assert cell.send(PRIVACY, order.TimerDue("forget-f-1", T0), by=LI).outcome == "repeated"
