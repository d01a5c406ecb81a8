"""The desk: what waits for whom after which events, and what stands in an order's thread."""

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.approvals import (
    ApprovalEscalated,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
    DocumentAttached,
    DocumentDetached,
)
from domain.care import ComplaintClosed, OrderComplained, OrderEnquired
from domain.envelope import By
from domain.ids import order_key
from domain.order import InterceptionResolved, OrderIntercepted, OrderNormalized, OrderReceived
from domain.talk import MentionsRead, OrderCommented
from runners.projector import Projector
from tests.colleagues import CHEN, LI, QIAN, SHOP, WU
from tests.trade import NOON_MS, Trade, view

KEY = order_key("taobao", "s1", "1")
ASKED = ApprovalRequested("credit", "credit", "finance", 1, people=2, due_ms=NOON_MS + 9, escalate_to="operations")
STOPPED = OrderIntercepted("i-1", "stock_short", "S1: 0 left", "receive some", "keeper", NOON_MS)


class Board:
    """Given events, what is on the desk?"""

    def __init__(self, read_models: ReadModels) -> None:
        self.log = MemoryEventLog()
        self.read_models = read_models
        self._trade = Trade(self.log)
        self.given(OrderReceived("taobao", "s1", "1", "p"), OrderNormalized(view("1"), "digest", "address"), by=SHOP)

    def given(self, *events: Any, by: By | None = None) -> "Board":
        self._trade.append(KEY, *events, by=by)
        return self

    def waits(self) -> list[tuple[str, str, str, str, str]]:
        Projector(self.log, self.read_models).run()
        return [(row["kind"], row["item"], row["role"], row["person"], row["state"]) for row in self.read_models.desk()]

    def thread(self) -> list[tuple[str, str, str, int]]:
        Projector(self.log, self.read_models).run()
        return [(row["tag"], row["who"], row["role"], row["round"]) for row in self.read_models.thread(KEY)]

    def counts(self) -> dict[str, Any]:
        Projector(self.log, self.read_models).run()
        found = self.read_models.desked(KEY)
        assert found is not None
        return found


@pytest.fixture
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    made = ReadModels(f"sqlite:///{tmp_path_factory.mktemp('rm')}/read_models.db")
    yield Board(made)
    made.close()


def test_an_order_that_nobody_has_to_look_at_is_not_on_the_desk(board: Board) -> None:
    assert board.waits() == []
    assert board.thread() == []
    assert board.read_models.desked(KEY) is None


def test_an_approval_waits_for_its_role_until_enough_people_have_said_yes(board: Board) -> None:
    board.given(ASKED, by=WU)
    assert board.waits() == [("approval", "credit", "finance", "", "open")]
    assert board.given(ApprovalGiven("credit", 1, "li.wei", "finance", 1, False), by=LI).waits() != []
    assert board.given(ApprovalGiven("credit", 1, "zhao", "finance", 2, True), by=LI).waits() == []


def test_what_is_due_goes_to_the_other_role(board: Board) -> None:
    board.given(ASKED, ApprovalEscalated("credit", 1, "operations", NOON_MS + 9))
    assert board.waits() == [("approval", "credit", "operations", "", "escalated")]


def test_a_no_waits_for_operations_and_asking_again_for_the_role(board: Board) -> None:
    board.given(ASKED, ApprovalRejected("credit", 1, "li.wei", "finance"))
    assert board.waits() == [("approval", "credit", "operations", "", "rejected")]
    assert board.given(ASKED).waits() == [("approval", "credit", "finance", "", "open")]


def test_what_is_withdrawn_waits_no_more(board: Board) -> None:
    assert board.given(ASKED, ApprovalWithdrawn("credit", 1, "cancelled")).waits() == []


def test_a_verdict_on_what_is_not_there_changes_nothing(board: Board) -> None:
    board.given(ApprovalRejected("x", 1, "li.wei", "finance"), ApprovalEscalated("x", 1, "sales", NOON_MS))
    assert board.waits() == []


def test_mentions_wait_for_role_or_person_until_they_are_read(board: Board) -> None:
    board.given(OrderCommented(1, 1, "wu", "sales", ("finance", "zhao")), by=WU)
    assert board.waits() == [
        ("mention", "1/finance", "finance", "", "open"),
        ("mention", "1/zhao", "", "zhao", "open"),
    ]
    board.given(MentionsRead((1,), "li.wei", "finance"), by=LI)
    assert board.waits() == [("mention", "1/zhao", "", "zhao", "open")]


def test_interceptions_and_complaints_wait_until_they_are_settled(board: Board) -> None:
    board.given(STOPPED, OrderComplained("complaint-1", "gift_missing", "phone", True), by=QIAN)
    assert {row[:3] for row in board.waits()} == {
        ("interception", "i-1", "keeper"),
        ("complaint", "complaint-1", "service"),
    }
    board.given(InterceptionResolved("i-1", "release"), ComplaintClosed("complaint-1", "settled", "chen", "service"))
    assert board.waits() == []


def test_what_opens_and_ends_in_one_batch_leaves_nothing(board: Board) -> None:
    board.given(STOPPED, InterceptionResolved("i-1", "release"), STOPPED)
    assert board.waits() == [("interception", "i-1", "keeper", "", "open")]
    assert board.given(InterceptionResolved("i-1", "release"), STOPPED).waits() != []


def test_the_thread_tells_who_did_what_as_which_role(board: Board) -> None:
    board.given(ASKED)
    board.given(OrderCommented(1, 1, "wu", "sales"), by=WU)
    board.given(DocumentAttached("invoice-1", "invoice", "00", 9, "chen", "service"), by=CHEN)
    board.given(DocumentDetached("invoice-1", "chen", "service"), by=CHEN)
    board.given(OrderEnquired("logistics", "miniprogram", True, 0, NOON_MS), by=SHOP)
    board.given(ASKED, by=WU)
    board.given(STOPPED, MentionsRead((1,), "li.wei", "finance"))
    assert board.thread() == [
        ("order.approval_requested", "test", "rule", 0),
        ("order.commented", "wu", "sales", 1),
        ("order.document_attached", "chen", "service", 0),
        ("order.document_detached", "chen", "service", 0),
        ("order.enquired", "miniprogram", "channel", 0),
        ("order.approval_requested", "wu", "sales", 0),
    ]


def test_figures_are_counted_for_each_order(board: Board) -> None:
    for number, (who, role) in enumerate((("wu", "sales"), ("li.wei", "finance"), ("wu", "sales")), 1):
        board.given(OrderCommented(number, number, who, role))
    for repeats, by_himself in ((0, True), (1, False), (2, True)):
        board.given(OrderEnquired("logistics", "phone", by_himself, repeats, NOON_MS))
    board.given(
        OrderComplained("complaint-1", "late", "phone"), OrderComplained("complaint-2", "gift_missing", "x", True)
    )
    found = board.counts()
    assert (found["messages"], found["rounds"]) == (3, 3)
    assert (found["enquiries"], found["self_service"], found["repeats"]) == (3, 2, 2)
    assert (found["complaints"], found["gift_complaints"], found["waiting"]) == (2, 1, 2)


def test_the_orders_page_shows_an_approval_that_nobody_has_given_as_a_hold(board: Board) -> None:
    def held() -> tuple[Any, Any]:
        Projector(board.log, board.read_models).run()
        (row,) = board.read_models.orders({"key": KEY})
        shown = board.read_models.order(KEY)
        assert shown is not None
        return row["held"], shown.get("approvals")

    board.given(ASKED)
    assert held() == (1, {"credit": "open"})
    board.given(ApprovalGiven("credit", 1, "li.wei", "finance", 1, False))
    assert held()[0] == 1
    board.given(ApprovalRejected("credit", 1, "li.wei", "finance"))
    assert held() == (1, {"credit": "rejected"})
    board.given(ASKED, ApprovalGiven("credit", 1, "li.wei", "finance", 2, True))
    assert held()[0] == 0
    board.given(ASKED, ApprovalWithdrawn("credit", 1, "cancelled"))
    assert held()[0] == 0
