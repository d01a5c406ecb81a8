"""Forgetting in a cell: one turn decides for all a person's orders, and nothing of him is kept afterwards."""

import pytest

from domain import order, stock
from domain.canonical import Return
from domain.cell import Message, Returned, Taken, Untranslatable, quarantine_turn
from domain.envelope import By
from domain.ids import order_key
from domain.mail import ChannelPayload, Mail
from domain.privacy import ForgetPerson, RecordDisclosure
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
