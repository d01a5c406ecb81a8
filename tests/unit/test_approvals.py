"""Approvals: who must agree before an order ships, who may, and what keeps it from shipping until then."""

from typing import Any

import pytest

from domain.acts import NobodyActs, NotAWord, UnknownRole, WordsMissing, WordsTooLong
from domain.approvals import (
    DOCUMENTS_MAX,
    DUE_MAX_MS,
    PEOPLE_MAX,
    ApprovalEscalated,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    Approvals,
    ApprovalWithdrawn,
    Approve,
    AskedAlready,
    AskedAnew,
    AskedOtherwise,
    AttachDocument,
    BadForm,
    BytesGone,
    DetachDocument,
    DocumentAttached,
    DocumentCounts,
    DocumentDetached,
    DocumentsMissing,
    FourEyes,
    NoSuchApproval,
    NoSuchDocument,
    NothingToApprove,
    NotYourForm,
    TooManyDocuments,
    blocking,
    next_due,
    subject_of,
)
from domain.canonical import Snapshot
from domain.cell import Untranslatable
from domain.decider import Event, RefusedBefore
from domain.envelope import By
from domain.order import (
    CancelLines,
    DiscardQuarantined,
    OrderOnHold,
    OrderPaid,
    OrderRefused,
    OrderReserved,
    OrderUnknown,
    PickListIssued,
    ResolveInterception,
    ScanOut,
    Ship,
    TimerCleared,
    TimerDue,
    TimerSet,
    order,
)
from domain.rulings import Form, Ruling
from domain.talk import OrderCommented
from domain.time_units import HOUR_MS
from tests.colleagues import LI, QIAN, SHOP, WU, ZHAO, approve, ask, attach, comment, reject, words
from tests.spec import T0, Cell, Spec, at, line, normalized, snapshot, taking

VIEW = snapshot()
SUBJECT = subject_of(VIEW.lines, VIEW.amounts)
ASKED = ApprovalRequested("credit", "credit", "finance", 1, asked_by="wu", subject=SUBJECT, command="ask-1")
PAID = (*normalized(VIEW), OrderPaid(100, "CNY", at(1).utc_ms))
HELD = (OrderReserved("o/1", "A", (("S1", 1),)), PickListIssued("pick-o/1", "o/1", "A", (("S1", 1),)))


def paid(*more: Event) -> Spec:
    return Spec(order).given(*PAID, *more)


def yes(who: By = LI, number: int = 1, *, complete: bool = True, command: str = "c-1", **more: Any) -> ApprovalGiven:
    return ApprovalGiven("credit", 1, who.id, who.role, number, complete, command=command, **more)


# --- asking


def test_a_person_asks_for_an_approval() -> None:
    paid().when(ask("ask-1")).then(ASKED)


def test_a_form_says_what_is_needed_and_when_it_goes_to_whom() -> None:
    form: dict[str, Any] = {
        "fields": ("hs_code",),
        "documents": ("invoice",),
        "people": 2,
        "due_within_ms": 5,
        "escalate_to": "sales",
    }
    spec = paid().when(ask("ask-1", form="customs", role="operations", **form))
    spec.then(
        ApprovalRequested(
            *("customs", "customs", "operations", 1, ("hs_code",), ("invoice",), 2, T0 + 5, 5, "sales"),
            asked_by="wu",
            subject=SUBJECT,
            command="ask-1",
        ),
        TimerSet("approval", T0 + 5),
    )


def test_a_year_and_the_most_people_can_be_asked_for() -> None:
    paid().when(ask("ask-1", due_within_ms=DUE_MAX_MS, escalate_to="sales", people=PEOPLE_MAX)).then_some(
        ApprovalRequested, TimerSet
    )


def test_the_same_request_again_changes_nothing() -> None:
    paid(ASKED).when(ask("ask-1")).then_nothing()


def test_what_is_open_is_not_asked_for_again() -> None:
    paid(ASKED).when(ask("ask-2")).then_raises(AskedAlready)


@pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (ask("c-1", By("system", "timer")), NobodyActs),
        (ask("c-1", By("person", " ", "sales")), NobodyActs),
        (ask("c-1", By("person", "wu", "the boss")), UnknownRole),
        (ask("c-1", form="credit of Mr Wang"), NotAWord),
        (ask("c-1", role="the boss"), UnknownRole),
        (ask("c-1", fields=("a b",)), NotAWord),
        (ask("c-1", documents=("",)), NotAWord),
        (ask("c-1", people=0), BadForm),
        (ask("c-1", people=6), BadForm),
        (ask("c-1", due_within_ms=-1, escalate_to="sales"), BadForm),
        (ask("c-1", due_within_ms=DUE_MAX_MS + 1, escalate_to="sales"), BadForm),
        (ask("c-1", due_within_ms=5), BadForm),
        (ask("c-1", escalate_to="sales"), BadForm),
        (ask("c-1", due_within_ms=5, escalate_to="the boss"), UnknownRole),
    ],
)
def test_a_request_that_nobody_could_follow_is_refused(act: Any, refusal: type[Any]) -> None:
    paid().when(act).then_raises(refusal)


def test_nothing_is_approved_of_an_order_that_has_left() -> None:
    shipped = snapshot("shipped", 2)
    spec = Spec(order).when(taking(shipped))
    spec.given(*spec._events).when(ask("c-1")).then_raises(NothingToApprove)


def test_of_an_order_that_nobody_knows_nothing_is_approved() -> None:
    Spec(order).when(ask("c-1")).then_raises(OrderUnknown)


def test_a_role_of_the_merchants_own_approves_what_is_asked_of_it() -> None:
    spec = paid().when(ask("ask-1", form="craft", role="workshop")).then_some(ApprovalRequested)
    spec.when(approve("c-1", By("person", "sun", "workshop"), "craft")).then_some(ApprovalGiven)


# --- asking again


def test_after_a_no_the_same_form_is_asked_for_again_and_stays_as_strict() -> None:
    strict = ApprovalRequested(
        *("credit", "credit", "finance", 1, ("limit",), (), 2, T0 + 5, 5, "sales", "large", 3, "", SUBJECT)
    )
    spec = paid(strict, TimerSet("approval", T0 + 5), ApprovalRejected("credit", 1, "li.wei", "finance"))
    spec.when(ask("ask-2", role=""), T0 + 9).then(
        ApprovalRequested(
            *(
                "credit",
                "credit",
                "finance",
                2,
                ("limit",),
                (),
                2,
                T0 + 14,
                5,
                "sales",
                "large",
                3,
                "wu",
                SUBJECT,
                "ask-2",
            )
        ),
        TimerCleared("approval", fired=False),
        TimerSet("approval", T0 + 14),
    )
    spec.when(approve("c-1", WU, "credit", "limit")).then_raises(NotYourForm)


@pytest.mark.parametrize(
    "weaker",
    [
        {"role": "sales"},
        {"people": 2},
        {"fields": ("x",)},
        {"documents": ("x",)},
        {"due_within_ms": 1},
        {"escalate_to": "sales"},
    ],
)
def test_asking_again_changes_nothing_of_the_form(weaker: dict[str, Any]) -> None:
    spec = paid(ASKED, ApprovalRejected("credit", 1, "li.wei", "finance"))
    spec.when(ask("ask-2", **weaker)).then_raises(AskedOtherwise)


def test_what_was_approved_can_be_asked_again() -> None:
    spec = paid(ASKED, yes())
    spec.when(ask("ask-2", QIAN)).then_some(ApprovalRequested)
    assert spec.state.people.approvals.asked[0].approvers == ()
    spec.when(approve("c-2", LI)).then_some(ApprovalGiven)


# --- saying yes


def test_one_yes_completes_a_plain_form() -> None:
    paid(ASKED).when(approve("c-1", LI)).then(yes())


def test_a_yes_lets_the_warehouse_pick_what_waited_for_it() -> None:
    spec = paid(ASKED, OrderReserved("o/1", "A", (("S1", 1),)))
    spec.when(approve("c-1", LI)).then(yes(), PickListIssued("pick-o/1", "o/1", "A", (("S1", 1),)))


def test_the_same_yes_again_changes_nothing() -> None:
    paid(ASKED, yes()).when(approve("c-1", LI)).then_nothing()


def test_two_people_means_two_people() -> None:
    spec = paid(ApprovalRequested("credit", "credit", "finance", 1, people=2))
    spec.when(approve("c-1", LI)).then(yes(complete=False))
    spec.when(approve("c-2", LI)).then_raises(FourEyes)
    for same in ("LI.WEI", " li.wei", "ｌi.wei"):
        spec.when(approve("c-3", By("person", same, "finance"))).then_raises(FourEyes)
    spec.when(approve("c-4", ZHAO)).then(yes(ZHAO, 2, command="c-4"))


def test_who_asked_does_not_approve() -> None:
    spec = paid().when(ask("ask-1", LI)).then_some(ApprovalRequested)
    spec.when(approve("c-1", LI)).then_raises(FourEyes)
    spec.when(approve("c-2", ZHAO)).then_some(ApprovalGiven)


@pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (approve("c-1", WU), NotYourForm),
        (approve("c-1", SHOP), NobodyActs),
        (approve("c-1", By("person", "li.wei")), UnknownRole),
        (approve("c-1", LI, "customs"), NoSuchApproval),
        (Approve("c-1", LI, ("note",), approval="credit"), WordsMissing),
        (Approve("c-1", LI, (), b"sealed", approval="credit"), WordsMissing),
        (Approve("c-1", LI, ("note",), b"x" * 70_000, approval="credit"), WordsTooLong),
    ],
)
def test_a_yes_that_does_not_count_is_refused(act: Any, refusal: type[Any]) -> None:
    paid(ASKED).when(act).then_raises(refusal)


def test_a_yes_to_what_the_order_was_before_does_not_count() -> None:
    spec = paid(ASKED).when(taking(snapshot(minute=9, freight=900)))
    spec.given(*spec._events)
    spec.when(Approve("c-1", LI, approval="credit", attempt=1)).then_raises(AskedAnew)
    spec.when(Approve("c-2", LI, approval="credit", attempt=2)).then_some(ApprovalGiven)


def test_every_field_must_be_filled_in() -> None:
    spec = paid(ApprovalRequested("credit", "credit", "finance", 1, ("limit", "terms")))
    spec.when(approve("c-1", LI, "credit", "limit")).then_raises(WordsMissing)
    spec.when(approve("c-1", LI, "credit", "terms", "limit", "note")).then(yes(filled=("limit", "note", "terms")))


def test_documents_must_be_there_first() -> None:
    spec = paid(ApprovalRequested("credit", "credit", "finance", 1, documents=("invoice", "contract")))
    spec.when(attach("a-1")).then_some(DocumentAttached)
    spec.when(approve("c-1", LI)).then_raises(DocumentsMissing)
    spec.when(attach("a-2", kind="contract")).then_some(DocumentAttached)
    spec.when(approve("c-2", LI)).then(yes(command="c-2"))


# --- saying no


def test_a_no_keeps_the_order_on_hold_until_it_is_asked_again_or_cancelled() -> None:
    spec = paid(*HELD, ASKED)
    spec.when(reject("c-1", LI)).then(ApprovalRejected("credit", 1, "li.wei", "finance", "c-1"))
    spec.when(Ship("s-1", "T1", "SF")).then_raises(OrderOnHold)
    spec.when(approve("c-2", ZHAO)).then_raises(NoSuchApproval)
    spec.when(reject("c-3", ZHAO)).then_raises(NoSuchApproval)
    spec.when(CancelLines("c-4", (), "no credit"))
    assert ApprovalWithdrawn("credit", 1, "cancelled") in spec._events


def test_a_no_needs_its_reason_and_the_right_person() -> None:
    spec = paid(ASKED)
    told, sealed = words("no", "note")
    bare = reject("c-1", LI)
    spec.when(type(bare)("c-1", LI, told, sealed, approval="credit")).then_raises(WordsMissing)
    spec.when(reject("c-1", WU)).then_raises(NotYourForm)


def test_a_refused_act_is_refused_alike_when_it_comes_again() -> None:
    spec = paid(ASKED, OrderRefused("Approve", "NotYourForm", "not yours", "c-1"))
    spec.when(approve("c-1", WU)).then_raises(RefusedBefore)


# --- the hold


def test_nothing_ships_while_an_approval_is_open_and_stock_is_reserved_all_the_same() -> None:
    cell = Cell()
    cell.take(snapshot("awaiting_payment"))
    key = next(iter(cell.living))
    cell.send(key, ask("ask-1", WU), by=WU)
    cell.receive(("S1", 5))
    cell.take(snapshot(minute=2))
    assert cell.order().allocations
    assert "order.pick_list_issued" not in cell.tags()
    turn = cell.send(key, ScanOut("s-1", "T1", "SF"))
    assert (turn.outcome, "approval credit is open" in turn.reason) == ("refused", True)
    cell.send(key, approve("c-1", LI), by=LI)
    assert cell.tags(key)[-2:] == ["order.approved", "order.pick_list_issued"]
    assert cell.send(key, ScanOut("s-2", "T1", "SF")).outcome == "accepted"


def test_who_acts_is_told_by_the_mail_and_not_by_the_body() -> None:
    cell = Cell()
    cell.take(VIEW)
    key = next(iter(cell.living))
    cell.send(key, ask("ask-1", WU), by=WU)
    turn = cell.send(key, approve("c-1", ZHAO), by=WU)
    assert turn.outcome == "refused"
    assert "not for sales" in turn.reason


def test_an_approval_that_waits_behind_a_quarantined_message_keeps_its_author() -> None:
    cell = Cell()
    cell.take(VIEW)
    key = next(iter(cell.living))
    cell.send(key, ask("ask-1", WU), by=WU)
    cell.channel(Untranslatable("no such status", "status", "correct it", "nonsense"), key)
    assert cell.send(key, approve("c-1", LI), by=LI).outcome == "queued"
    item = cell.order().quarantined
    assert item is not None
    cell.send(key, DiscardQuarantined("d-1", item.item, "junk"), by=QIAN)
    (given,) = [record for record in cell.records if record.tag == "order.approved"]
    assert b'"person":"li.wei"' in given.data
    assert b'"id":"li.wei"' in given.envelope


def test_what_the_channel_ships_by_itself_needs_no_approval_any_more() -> None:
    spec = paid(ASKED)
    spec.when(taking(snapshot("shipped", 5)))
    assert ApprovalWithdrawn("credit", 1, "nothing_left") in spec._events


def test_what_is_released_by_cancelling_an_interception_withdraws_it_too() -> None:
    cell = Cell()
    cell.take(snapshot(lines=(line("1", ""),)))
    key = next(key for key in cell.living if key.startswith("order-"))
    cell.send(key, ask("ask-1", WU, due_within_ms=5, escalate_to="sales"), by=WU)
    (name, _), *_ = cell.order().interceptions
    cell.send(key, ResolveInterception("r-1", name, "cancel"))
    assert blocking(cell.order().people.approvals) == ()
    assert dict(cell.order().timers) == {}


# --- due


def test_what_nobody_decides_in_time_goes_to_another_role_as_well() -> None:
    spec = paid().when(ask("ask-1", due_within_ms=5, escalate_to="operations")).then_some(ApprovalRequested, TimerSet)
    spec.when(TimerDue("approval", T0 + 4)).then_nothing()
    spec.when(approve("c-1", QIAN)).then_raises(NotYourForm)
    spec.when(TimerDue("approval", T0 + 5), T0 + 6).then(
        TimerCleared("approval", fired=True), ApprovalEscalated("credit", 1, "operations", T0 + 5)
    )
    spec.when(TimerDue("approval", T0 + 5)).then_nothing()
    assert next_due(spec.state.people.approvals) is None
    spec.when(approve("c-2", QIAN)).then_some(ApprovalGiven)


def test_either_role_may_decide_after_the_escalation() -> None:
    spec = paid(ASKED, ApprovalEscalated("credit", 1, "operations", T0))
    spec.when(approve("c-1", LI)).then_some(ApprovalGiven)


def test_one_timer_stands_at_the_first_that_is_due() -> None:
    spec = paid().when(ask("ask-1", due_within_ms=9, escalate_to="sales")).then_some(ApprovalRequested, TimerSet)
    spec.when(ask("ask-2", form="craft", role="engineer", due_within_ms=5, escalate_to="sales")).then_some(
        ApprovalRequested, TimerCleared, TimerSet
    )
    assert dict(spec.state.timers) == {"approval": T0 + 5}
    spec.when(TimerDue("approval", T0 + 5)).then_some(TimerCleared, ApprovalEscalated, TimerSet)
    assert dict(spec.state.timers) == {"approval": T0 + 9}
    spec.when(approve("c-1", LI)).then_some(ApprovalGiven, TimerCleared)


def test_what_moves_no_due_time_leaves_the_timer_alone() -> None:
    spec = paid().when(ask("ask-1", due_within_ms=9, escalate_to="sales")).then_some(ApprovalRequested, TimerSet)
    spec.when(comment("c-1", WU, "@finance please")).then_some(OrderCommented)
    spec.when(ask("ask-2", form="craft", role="engineer")).then_some(ApprovalRequested)
    spec.when(approve("c-2", ZHAO, "craft")).then_raises(NotYourForm)
    assert dict(spec.state.timers) == {"approval": T0 + 9}


def test_payment_keeps_the_timer_of_an_approval() -> None:
    spec = Spec(order).given(*normalized(snapshot("awaiting_payment", 0)))
    spec.when(ask("ask-1", due_within_ms=HOUR_MS, escalate_to="sales")).then_some(ApprovalRequested, TimerSet)
    spec.when(taking(snapshot(minute=3)))
    spec.given(*spec._events)
    assert dict(spec.state.timers) == {"approval": T0 + HOUR_MS}


# --- what the rule book asks for

CREDIT = Form("large", "credit", "finance", people=2, due_within_ms=HOUR_MS, escalate_to="operations")
CUSTOMS = Form("abroad", "customs", "operations", ("hs_code",), ("invoice",))


def ruled(*forms: Form, view: Snapshot = VIEW) -> Any:
    return taking(view, ruling=Ruling(3, forms=forms))


def requested(spec: Spec) -> list[tuple[str, int, str, int]]:
    return [
        (each.approval, each.attempt, each.rule, each.rules)
        for each in spec._events
        if isinstance(each, ApprovalRequested)
    ]


def test_the_rule_book_asks_when_the_order_is_paid() -> None:
    spec = Spec(order).when(ruled(CREDIT, CUSTOMS, view=snapshot("awaiting_payment", 0)))
    assert requested(spec) == []
    spec.given(*spec._events).when(ruled(CREDIT, CUSTOMS))
    assert requested(spec) == [("credit", 1, "large", 3), ("customs", 1, "abroad", 3)]
    spec.given(*spec._events)
    assert dict(spec.state.timers) == {"approval": T0 + HOUR_MS}
    asked = spec.state.people.approvals.asked[1].asked
    assert (asked.fields, asked.documents, asked.role, asked.asked_by) == (("hs_code",), ("invoice",), "operations", "")


def test_a_form_that_is_asked_for_already_is_not_asked_again() -> None:
    spec = Spec(order).when(ruled(CREDIT, CREDIT))
    assert len(requested(spec)) == 1
    spec.given(*spec._events).when(ruled(CREDIT, view=snapshot(minute=5, holds=("locked",))))
    assert requested(spec) == []


def test_two_rules_with_a_form_of_one_name_are_two_approvals() -> None:
    spec = Spec(order).when(ruled(CREDIT, Form("abroad", "credit", "sales"), Form("odd", "credit", "sales")))
    assert [name for name, *_ in requested(spec)] == ["credit", "credit-2", "credit-3"]


def test_other_goods_or_another_amount_must_be_approved_again() -> None:
    spec = paid().when(ruled(CREDIT, view=snapshot(minute=5, freight=1)))
    spec.given(*spec._events, yes(complete=False), yes(ZHAO, 2, command="c-2"))
    larger = snapshot(minute=9, freight=900)
    spec.when(ruled(CREDIT, view=larger))
    assert requested(spec) == [("credit", 2, "large", 3)]
    spec.given(*spec._events)
    assert spec.state.people.approvals.asked[0].approvers == ()


def test_so_must_what_a_person_had_asked_for() -> None:
    spec = paid(ASKED, yes())
    spec.when(taking(snapshot(minute=9, freight=900)))
    assert requested(spec) == [("credit", 2, "", 0)]
    spec.given(*spec._events).when(approve("c-9", WU)).then_raises(NotYourForm)
    spec.when(approve("c-9", By("person", "wu", "finance"))).then_raises(FourEyes)


def test_what_no_rule_asks_for_any_more_is_withdrawn_unless_it_was_given() -> None:
    spec = paid().when(ruled(CREDIT, CUSTOMS, view=snapshot(minute=5)))
    spec.given(*spec._events, yes(complete=True))
    spec.when(ruled(view=snapshot(minute=6, holds=("locked",))))
    assert [each for each in spec._events if isinstance(each, ApprovalWithdrawn)] == [
        ApprovalWithdrawn("customs", 1, "no_longer")
    ]
    spec.given(*spec._events).when(ruled(CUSTOMS, view=snapshot(minute=7)))
    assert requested(spec) == [("customs", 2, "abroad", 3)]


def test_a_form_that_was_rejected_waits_for_a_person() -> None:
    spec = paid().when(ruled(CREDIT, view=snapshot(minute=5)))
    spec.given(*spec._events, ApprovalRejected("credit", 1, "li.wei", "finance"))
    spec.when(ruled(CREDIT, view=snapshot(minute=6, freight=900)))
    assert requested(spec) == []


# --- documents


def test_a_document_is_attached_once_and_detached_again() -> None:
    spec = paid().when(attach("a-1")).then(DocumentAttached("invoice-1", "invoice", "00f7", 9, "wu", "sales", "a-1"))
    spec.when(attach("a-2")).then_nothing()
    spec.when(DetachDocument("a-3", LI, document="invoice-1")).then(
        DocumentDetached("invoice-1", "li.wei", "finance", "a-3")
    )
    spec.when(DetachDocument("a-4", LI, document="invoice-1")).then_raises(NoSuchDocument)
    spec.when(attach("a-5")).then_some(DocumentAttached)
    assert spec.state.people.approvals.documents[0].document == "invoice-2"


def test_a_document_that_somebody_approved_by_stays() -> None:
    asked = ApprovalRequested("credit", "credit", "finance", 1, documents=("invoice",))
    spec = paid(asked, DocumentAttached("invoice-1", "invoice", "00f7", 9, "wu", "sales"), yes())
    spec.when(DetachDocument("a-1", WU, document="invoice-1")).then_raises(DocumentCounts)
    spec.when(attach("a-2", payload="00f8")).then_some(DocumentAttached)
    spec.when(DetachDocument("a-3", WU, document="invoice-1")).then_some(DocumentDetached)


@pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (attach("a-1", SHOP), NobodyActs),
        (attach("a-1", kind="scan of Mr Wang"), NotAWord),
        (attach("a-1", payload=""), BytesGone),
        (AttachDocument("a-1", WU, kind="invoice", size=1, payload="00"), WordsMissing),
    ],
)
def test_a_document_that_could_not_be_kept_is_refused(act: Any, refusal: type[Any]) -> None:
    paid().when(act).then_raises(refusal)


def test_documents_are_bounded() -> None:
    many = [DocumentAttached(f"x-{n}", "x", f"{n}", 1, "wu", "sales") for n in range(DOCUMENTS_MAX)]
    paid(*many).when(attach("a-1")).then_raises(TooManyDocuments)


def test_an_empty_state_blocks_nothing() -> None:
    assert blocking(Approvals()) == ()
    assert next_due(Approvals()) is None
