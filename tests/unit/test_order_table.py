"""Every state meets every event and every command: nothing is undefined, and nothing leaves the transition table."""

from itertools import product
from typing import Any, Literal, get_args

import msgspec

from domain import approvals, care, talk
from domain.acts import Act
from domain.after_sale import (
    KINDS,
    AnnounceReturn,
    ApproveAfterSale,
    CloseAfterSale,
    DeclineAfterSale,
    OpenAfterSale,
    ReceiveReturn,
    RefundAfterSale,
    SendReplacement,
)
from domain.after_sale_case import Case, Replacement
from domain.canonical import Amounts, SourceTime, Status
from domain.decider import Command, DomainError, Event, fold
from domain.delivery import ConfirmDelivery, Packed
from domain.envelope import By
from domain.erasure import AwaitForget, DropMessage, Forget, StopAwaiting
from domain.order import (
    DECIDE,
    EVOLVE,
    TRANSITIONS,
    Allocation,
    CancelLines,
    ConfirmArrived,
    ConfirmPreReserved,
    ConfirmProcessing,
    ConfirmReserved,
    DiscardQuarantined,
    MapSkus,
    Order,
    OrderPromised,
    OrderShipped,
    Quarantine,
    QueueBehind,
    RecordEffect,
    ReportDuplicate,
    ReportShort,
    ResendQuarantined,
    ResolveInterception,
    ReturnGoods,
    Ruled,
    ScanOut,
    Ship,
    TakePlan,
    TakeSnapshot,
    TimerCleared,
    TimerDue,
    TimerSet,
    Waiting,
    decide,
    evolve,
    order,
    timers_of,
)
from domain.payments import Movement, Payments, RecordPayment, SettlePayments
from domain.picking import ScanItem, UnscanItem
from domain.rulings import Form, Found, Gift, Kit, Promise, Route, Ruling
from domain.service_work import CancelService, CompleteService, ScheduleService
from domain.tracking import RecordTrack, Scan, SettleDelivery, Tracked, Tracking
from tests.spec import T0, at, line, snapshot, taking
from tests.unit.test_catalogue import SAMPLES

RULING = Ruling(
    3,
    found=(Found("big", "large", "many", "ask", "sales"),),
    gifts=(Gift("g", "G1", 2),),
    routes=(Route("r", ("1",), ("B",), area="C", processing=True),),
    kits=(Kit("2", (("P1", 2), ("P2", 1))),),
    priority="urgent",
    promise=Promise("p", 3_600_000),
    forms=(Form("f", "customs", "operations", due_within_ms=1, escalate_to="finance"), Form("g", "credit", "finance")),
    keep=(("S1", 5),),
    lots=True,
)
FINANCE = By("person", "li.wei", "finance")
ACTS: tuple[Act, ...] = (
    approvals.RequestApproval("c-1", FINANCE, form="credit", role="finance"),
    approvals.RequestApproval("c-1", FINANCE, form="craft", role="engineer", due_within_ms=1, escalate_to="finance"),
    approvals.Approve("c-1", FINANCE, approval="credit"),
    approvals.Reject("c-1", FINANCE, ("reason",), b"sealed", approval="credit"),
    approvals.AttachDocument("c-1", FINANCE, ("name",), b"sealed", kind="invoice", size=1, payload="00f7"),
    approvals.DetachDocument("c-1", FINANCE, document="invoice-1"),
    talk.Comment("c-1", FINANCE, ("text",), b"sealed", mentions=("sales",)),
    talk.ReadMentions("c-1", FINANCE, upto=1),
    care.Complain("c-1", FINANCE, cause="late", channel="phone"),
    care.CloseComplaint("c-1", FINANCE, complaint="complaint-1", outcome="settled"),
    care.Enquire("c-1", FINANCE, topic="logistics", channel="phone"),
)
PEOPLE = fold(
    order,
    (
        approvals.ApprovalRequested("credit", "credit", "finance", 1, due_ms=T0, escalate_to="sales"),
        approvals.ApprovalRequested("customs", "customs", "operations", 1, rule="r", subject="another"),
        approvals.ApprovalRejected("customs", 1, "wu", "operations"),
        approvals.DocumentAttached("invoice-1", "invoice", "00f8", 1, "wu", "sales"),
        talk.OrderCommented(1, 1, "wu", "sales", ("finance",)),
        care.OrderComplained("complaint-1", "late", "phone"),
    ),
).people
"""What may stand open: approvals, a document, an unread mention, a complaint."""
Kind = Literal["normal", "presale", "counter"]
LINES = (line("1"), line("2", quantity=2))


def states() -> list[Order]:
    """Every status, plain and with everything that can hang on an order."""
    plain = [Order(status=status, lines=LINES if status else (), digest="x") for status in TRANSITIONS]  # type: ignore[arg-type]
    loaded = [
        msgspec.structs.replace(
            state,
            interceptions=(("i-1", "unmapped_sku"), ("i-2", "payment_timeout"), ("i-3", "gift_short")),
            after_sales=(("1", "open"),),
            timers=(("payment", T0), ("order", T0), ("promise", T0), ("approval", T0)),
            ruled=Ruled(gifts=(Gift("g", "G1", 1),), pre_holds=(Allocation("o/pre-1", "A", (("G1", 1),)),)),
            cancelled=(("2", 1),),
            quarantined=Waiting("m-1", "p-1", ""),
            queue=(Waiting("m-2", "p-2", ""),),
            holds=("locked",),
            people=PEOPLE,
            allocations=(Allocation("o/1", "A", (("S1", 1), ("S2", 1)), picked=True),)
            if state.status == "allocating"
            else (),
            shipped=frozenset({"1"}) if state.status in ("allocating", "shipped", "completed") else frozenset(),
        )
        for state in plain
    ]
    ruled = [
        msgspec.structs.replace(
            state,
            ruled=Ruled(kits=(Kit("2", (("P1", 2),)),), gifts=(Gift("g", "G1", 1),), lots=True, promised=True),
            sent=(("2", 1),),
            allocations=(
                Allocation(
                    "o/1-1",
                    "A",
                    (("S1", 1), ("G1", 1)),
                    listed=True,
                    units=(("1", 1), ("gift:g:G1", 1)),
                    scanned=(("S1", 1),),
                ),
                Allocation("o/1-2", "B", (("P1", 2),), units=(("2", 1),), area="C", unprocessed=True),
            )
            if state.status == "allocating"
            else (),
        )
        for state in plain
        if state.status
    ]
    held = [
        msgspec.structs.replace(state, allocations=(Allocation("o/1", "A", (("S1", 1), ("S2", 2)), listed=True),))
        for state in plain
        if state.status == "allocating"
    ]
    told = [
        msgspec.structs.replace(
            state,
            timers=(("complete", T0),),
            tracking=Tracking((Tracked("T1", "SF", at_ms=T0, state="signed"),), delivered=due, due=due),
            payments=Payments(
                (Movement("p-1", "paid", 300, "CNY", T0), Movement("r-1", "refund_failed", 9, "CNY", T0))
            ),
            amounts=Amounts("CNY", payable=300),
        )
        for state in plain
        if state.status
        for due in (False, True)
    ]
    cased = [
        msgspec.structs.replace(
            state,
            cases=(
                Case(1, (("1", 1),), approved=True, stage="approved"),
                Case(
                    2, (("2", 2),), "exchange", replacement=Replacement((("S2", 2),), "o/case-2-1", "A"), approved=True
                ),
                Case(3, (("2", 1),), "refund_only", stage="closed", done=(("2", "refunded"),), reference="r-3"),
            ),
            after_sales=(("1", "open"), ("2", "open")),
            services=(":77",),
            shipped=frozenset({"1", "2"}) if state.status in ("shipped", "completed") else frozenset(),
        )
        for state in plain
        if state.status
    ]
    return [
        *plain,
        *loaded,
        *ruled,
        *held,
        *told,
        *cased,
        *(msgspec.structs.replace(state, kind="counter") for state in plain),
    ]


def commands() -> list[Command]:
    kinds: tuple[tuple[Kind, int | None, SourceTime | None], ...] = (
        ("normal", None, None),
        ("counter", 0, None),
        ("presale", 50, at(9)),
    )
    views = [
        snapshot(status, minute, lines, kind=kind, paid=paid, pay_by=pay_by)
        for status, minute in product(get_args(Status), (0, 60))
        for lines in (LINES, (line("1", "", state="shipped", after_sale="open"), line("2", state="cancelled")))
        for kind, paid, pay_by in kinds
    ]
    return [
        *(taking(view) for view in views),
        *(taking(view, ruling=RULING, flaws=("no_phone",)) for view in views),
        ScanItem("c-1", "S1"),
        ScanItem("c-1", "S9", "o/1-1", 2),
        UnscanItem("c-1", "S1", "o/1-1"),
        ScanOut("c-1", verify=True),
        ScanOut("c-1"),
        ScanOut("c-1", "T1", "SF"),
        Ship("c-1", "T1", "SF"),
        ConfirmProcessing("c-1"),
        ConfirmDelivery("c-1", "pick-o/1", "o/1", (Packed("SF", "T1", (("S1", 1),)),), (("S1", 1),)),
        TakePlan(
            (Allocation("o/9-1", "A", (("S1", 1),), held=False), Allocation("o/9-2", "B", (("S2", 2),), held=False))
        ),
        ConfirmPreReserved("o/pre-1", "A", (("G1", 1),)),
        ConfirmPreReserved("o/pre-1", "A", (("S1", 1),), T0 + 9),
        ConfirmArrived("o/pre-1"),
        ReportDuplicate("order-taobao:shop1:o-0", 60_000),
        TimerDue("presale", T0),
        ResolveInterception("c-1", "i-1", "waive"),
        ResolveInterception("c-1", "i-3", "waive"),
        TimerDue("promise", T0),
        TimerDue("approval", T0),
        CancelLines("c-1", (), ""),
        CancelLines("c-1", (("1", 1),), ""),
        CancelLines("c-1", (("1", 9),), ""),
        ResolveInterception("c-1", "i-1", "release"),
        ResolveInterception("c-1", "i-2", "cancel"),
        TimerDue("payment", T0),
        TimerDue("order", T0),
        TimerDue("other", T0),
        ReturnGoods("c-1", "r-1", (("S2", 1, 100),), ""),
        ConfirmReserved("o/1", "A", (("S1", 1),)),
        ReportShort("o/1", "A", (("S1", 1, 0),)),
        ReportShort("o/issued-1", "A", (("S1", 1, 0),)),
        MapSkus((("item-1", "S1"),)),
        AwaitForget("c-43"),
        StopAwaiting("c-43"),
        Forget("c-40"),
        DropMessage(),
        ConfirmReserved("o/case-2-1", "A", (("S2", 2),)),
        ReportShort("o/case-2-1", "A", (("S2", 2, 0),)),
        Ship("c-1", "T9", "SF", "o/case-2-1"),
        *(OpenAfterSale("c-1", kind, "quality") for kind in KINDS),
        OpenAfterSale("c-1", "refund_only", "quality", (("1", 1),)),
        *(command("c-1", number) for command in (ApproveAfterSale, CloseAfterSale) for number in (1, 2, 3, 9)),
        *(DeclineAfterSale("c-1", number, "used") for number in (1, 2, 3, 9)),
        AnnounceReturn("c-1", 1, "SF", "SF9"),
        ReceiveReturn("c-1", 0, (("1", 1),)),
        ReceiveReturn("c-1", 1, damaged=(("1", 1),)),
        *(RefundAfterSale("c-1", number) for number in (1, 2, 3)),
        *(SendReplacement("c-1", number) for number in (1, 2, 3)),
        ScheduleService("c-1", 1, "2026-03-01"),
        CompleteService("c-1", 1),
        CancelService("c-1", 1, "customer"),
        RecordEffect("c-1", "ship_notice", "k-1", "succeeded"),
        RecordEffect("c-1", "ship_notice", "k-1", "failed", reason="busy", final=False),
        RecordTrack("c-1", "T1", "SF", (Scan(T0 + 1, "signed"),)),
        RecordTrack("c-2", "T1", "SF", (Scan(T0 + 1, "returning"),)),
        SettleDelivery(),
        TimerDue("complete", T0),
        RecordPayment("c-1", "p-9", 300, "CNY", "paid", T0),
        RecordPayment("c-2", "r-1", 9, "CNY", "refunded", T0),
        SettlePayments(),
        Quarantine("m-1", "bad", "", "", "p-9", ""),
        QueueBehind("m-2", "p-8", ""),
        *ACTS,
        ResendQuarantined("c-1", "m-1"),
        DiscardQuarantined("c-1", "m-1", ""),
        DiscardQuarantined("c-1", "order", ""),
    ]


def events() -> list[Event]:
    return [event for event in SAMPLES.values() if type(event) in EVOLVE]


def steps(state: Order, decided: Any) -> list[tuple[str, str]]:
    """Return the status steps that the events of one decision make."""
    taken: list[tuple[str, str]] = []
    for event in decided:
        after = evolve(state, event)
        if after.status != state.status:
            taken.append((state.status, after.status))
        state = after
    return taken


def test_every_event_of_the_order_is_sampled_and_every_command_is_tried() -> None:
    assert {type(event) for event in events()} == set(EVOLVE)
    assert {type(command) for command in commands()} == set(DECIDE)


def test_only_these_events_move_a_timer() -> None:
    moving = {type(event) for event in events() if timers_of(event)}
    assert moving == {TimerSet, TimerCleared, OrderPromised, OrderShipped}


def test_every_event_can_follow_every_state() -> None:
    for state, event in product(states(), events()):
        assert isinstance(evolve(state, event), Order)


def test_every_command_is_decided_or_refused_in_every_state_and_only_legal_steps_follow() -> None:
    reached: set[tuple[str, str]] = set()
    for state, command in product(states(), commands()):
        try:
            decided = decide(command, state, T0)
        except DomainError:
            continue
        for before, after in steps(state, decided):
            assert after in TRANSITIONS[before], (state, command)
            reached.add((before, after))
    legal = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    assert reached == legal


def test_an_order_that_is_over_has_no_timer_left() -> None:
    for state, command in product(states(), commands()):
        if state.status not in ("", "awaiting_payment") or not isinstance(command, TakeSnapshot):
            continue
        after = state
        for event in decide(command, state, T0):
            after = evolve(after, event)
        if after.status not in ("", "awaiting_payment"):
            assert "payment" not in dict(after.timers)


def test_700_lines_are_decided_in_reasonable_time() -> None:
    lines = tuple(line(str(number), state="shipped" if number % 3 else "open") for number in range(700))
    state = Order()
    work = 0
    for view in (snapshot(lines=lines), snapshot("allocating", 5, lines), snapshot("cancelled", 9, lines)):
        decided = decide(taking(view), state, T0)
        work += len(decided)
        for event in decided:
            state = evolve(state, event)
    assert state.status == "shipped"
    assert work < 20
