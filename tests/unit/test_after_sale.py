"""After-sales: every command at every stage, what channels and counters say meanwhile, money, goods, replacements."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from domain import after_sale, after_sale_acts, order, stock
from domain.after_sale import (
    AfterSaleApproved,
    AfterSaleClosed,
    AfterSaleDeclined,
    AfterSaleMatched,
    AfterSaleOpened,
    AnnounceReturn,
    ApproveAfterSale,
    CloseAfterSale,
    DeclineAfterSale,
    OpenAfterSale,
    OrderRefunded,
    ReceiveReturn,
    RefundAfterSale,
    ReplacementAsked,
    ReplacementReleased,
    ReplacementReserved,
    ReplacementShipped,
    ReplacementShort,
    ReturnAnnounced,
    ReturnReceived,
    SendReplacement,
)
from domain.after_sale_case import AfterSales, Case, case_numbered, case_of_allocation, evolve
from domain.canonical import Line, Parcel, Return, ReturnLine
from domain.cell import Returned, Turn
from domain.decider import Command, DomainError, Event
from domain.delivery import ConfirmDelivery, Packed
from domain.ids import order_key
from domain.order import LinesCancelled, OrderCancelled, OrderPaid, OrderShipped, PartiallyShipped, shown_status
from domain.picking import ScanItem, UnscanItem
from domain.rulings import Gift, Kit, Ruling
from domain.shelf import SetPicking
from domain.stock import SKU_MAX
from domain.tracking import RecordTrack, Scan
from tests.spec import T0, WAREHOUSE, Cell, Spec, at, line, normalized, replayed, snapshot, taking

KEY = order_key("taobao", "shop1", "o-1")
TWO = (line("1"), line("2", quantity=3))
"""100 for one unit of line 1, 300 for three of line 2."""
SHIPPED = (*normalized(snapshot(lines=TWO)), OrderPaid(400, "CNY", T0), OrderShipped((), T0))


def shipped() -> Spec:
    return Spec(order.order).given(*SHIPPED)


def opened(kind: Any = "return_refund", lines: tuple[tuple[str, int], ...] = (("2", 2),)) -> AfterSaleOpened:
    return AfterSaleOpened(lines, "quality", command="c-0", kind=kind, skus=tuple(f"S{name}" for name, _ in lines))


def at_stage(stage: str, kind: Any = "return_refund") -> Spec:
    """Return an order with a case of two units of line 2 at this stage."""
    spec = shipped().given(opened(kind))
    approved = AfterSaleApproved(1, "c-1")
    way: dict[str, tuple[Event, ...]] = {
        "opened": (),
        "approved": (approved,),
        "returning": (approved, ReturnAnnounced(1, "SF", "SF9", "c-2")),
        "received": (approved, ReturnReceived(1, 1, (("2", 1),), command="c-3")),
        "refunded": (approved, OrderRefunded(("2",), 150, "", "c-4", 1, method="original")),
        "replaced": (
            approved,
            ReplacementAsked(1, 1, (("S2", 2),), "", "c-5"),
            ReplacementReserved(1, "o/case-1-1", "A", (("S2", 2),)),
            after_sale.ReplacementShipped(1, "o/case-1-1", "A", Parcel("SF", "T9"), T0, "c-6"),
        ),
        "declined": (AfterSaleDeclined(1, "used", "c-7"), AfterSaleClosed(("2",), 1, "c-7")),
        "closed": (AfterSaleClosed(("2",), 1, "c-8"),),
    }
    spec.given(*way[stage])
    assert spec.state.cases[0].stage == stage
    return spec


# --- every command at every stage

STAGES = ("opened", "approved", "returning", "received", "refunded", "replaced", "declined", "closed")
OVER = after_sale.CaseOver
COMMANDS: dict[str, tuple[Command, dict[str, type[DomainError] | tuple[type[Event], ...]]]] = {
    "approve": (
        ApproveAfterSale("x", 1),
        {"opened": (AfterSaleApproved,), **dict.fromkeys(("approved", "returning", "received"), ()),
         **dict.fromkeys(("refunded", "replaced", "declined", "closed"), OVER)},
    ),
    "decline": (
        DeclineAfterSale("x", 1, "used"),
        {**dict.fromkeys(STAGES[:4], (AfterSaleDeclined, AfterSaleClosed)), **dict.fromkeys(STAGES[4:], OVER)},
    ),
    "announce": (
        AnnounceReturn("x", 1, "SF", "SF9"),
        {**dict.fromkeys(STAGES[:6], (ReturnAnnounced,)), **dict.fromkeys(STAGES[6:], OVER)},
    ),
    "receive": (
        ReceiveReturn("x", 1, (("2", 1),)),
        {**dict.fromkeys(STAGES[:6], (ReturnReceived,)), **dict.fromkeys(STAGES[6:], OVER)},
    ),
    "refund": (
        RefundAfterSale("x", 1, (("2", 50),)),
        {"opened": after_sale.NotApproved, **dict.fromkeys(STAGES[1:6], (OrderRefunded,)),
         **dict.fromkeys(STAGES[6:], OVER)},
    ),
    "close": (
        CloseAfterSale("x", 1),
        {**dict.fromkeys(STAGES[:6], (AfterSaleClosed,)), **dict.fromkeys(STAGES[6:], ())},
    ),
}  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", COMMANDS)
def test_what_may_be_done_at_which_stage(name: str, stage: str) -> None:
    command, expected = COMMANDS[name]
    spec = at_stage(stage).when(command)
    follows = expected[stage]
    if isinstance(follows, tuple):
        spec.then_some(*follows)
        if follows:
            spec.when(command).then_nothing()
    else:
        spec.then_raises(follows)


@pytest.mark.parametrize("stage", STAGES)
def test_a_replacement_may_be_asked_for_once_the_case_is_approved(stage: str) -> None:
    spec = at_stage(stage, "exchange").when(SendReplacement("x", 1))
    if stage == "opened":
        spec.then_raises(after_sale.NotApproved)
    elif stage in ("replaced", "declined", "closed"):
        spec.then_raises(OVER)
    else:
        spec.then(ReplacementAsked(1, 1, (("S2", 2),), "", "x")).when(SendReplacement("x", 1)).then_nothing()
        spec.when(SendReplacement("y", 1)).then_raises(after_sale.ReplacementUnderWay)


@pytest.mark.parametrize(
    "command",
    [command for command, _ in COMMANDS.values()] + [SendReplacement("x", 1), OpenAfterSale("x", "exchange", "other")],
)
def test_of_an_order_that_nobody_knows_there_is_no_after_sale(command: Command) -> None:
    Spec(order.order).when(command).then_raises(order.OrderUnknown)


@pytest.mark.parametrize("command", [*(command for command, _ in COMMANDS.values()), SendReplacement("x", 1)])
def test_a_case_that_there_is_not_is_named_with_those_there_are(command: Command) -> None:
    shipped().when(command).then_raises(after_sale.NoSuchCase)


# --- opening


def test_a_case_is_opened_for_units_of_lines_with_a_reason_of_the_list() -> None:
    spec = shipped().when(OpenAfterSale("c-1", "return_refund", "quality", (("2", 1), ("2", 1)), "R9"))
    spec.then(AfterSaleOpened((("2", 2),), "quality", "R9", "c-1", 0, "return_refund", ("S2",)))
    assert spec.state.after_sales == (("2", "open"),)
    assert (shown_status(spec.state), spec.state.status) == ("after_sale", "shipped")
    assert spec.state.returned == (), "goods come back when they are received"


def test_without_lines_it_is_about_all_that_can_be() -> None:
    spec = shipped().given(opened(lines=(("2", 2),))).when(OpenAfterSale("c-1", "exchange", "quality"))
    spec.then(AfterSaleOpened((("1", 1), ("2", 1)), "quality", "", "c-1", 0, "exchange", ("S1", "S2")))
    spec.when(OpenAfterSale("c-2", "exchange", "quality")).then_raises(after_sale.TooManyUnits)


def test_who_wants_more_than_can_be_put_right_hears_that_nothing_is_left() -> None:
    spec = shipped().given(opened(lines=(("2", 3),)))
    spec.when(OpenAfterSale("c-1", "exchange", "quality", (("2", 1),))).then_raises(after_sale.TooManyUnits)
    assert spec._refusal is not None
    assert spec._refusal.reason == "1 units of line 2: an after-sale of this kind can be of 0"


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (OpenAfterSale("c-1", "refund", "quality"), after_sale.UnknownKind),  # type: ignore[arg-type]
        (OpenAfterSale("c-1", "", "quality"), after_sale.UnknownKind),
        (OpenAfterSale("c-1", "exchange", "because"), after_sale.UnknownReason),
        (OpenAfterSale("c-1", "exchange", "other", (("9", 1),)), after_sale.TooManyUnits),
        (OpenAfterSale("c-1", "exchange", "other", (("2", 0),)), after_sale.TooManyUnits),
        (OpenAfterSale("c-1", "exchange", "other", (("2", 4),)), after_sale.TooManyUnits),
        (OpenAfterSale("c-1", "exchange", "other", (("2", 2), ("2", 2))), after_sale.TooManyUnits),
    ],
)
def test_a_case_needs_goods_of_the_order_a_kind_and_a_reason(command: Command, refusal: type[DomainError]) -> None:
    shipped().when(command).then_raises(refusal)


def test_two_cases_share_the_units_of_a_line_and_a_refund_of_one_leaves_the_other_open() -> None:
    spec = shipped().given(opened(lines=(("2", 2),)))
    spec.when(OpenAfterSale("c-1", "refund_only", "quality", (("2", 2),))).then_raises(after_sale.TooManyUnits)
    spec.when(OpenAfterSale("c-2", "refund_only", "quality", (("2", 1),))).then_some(AfterSaleOpened)
    spec.when(ApproveAfterSale("c-3", 2)).then_some(AfterSaleApproved)
    spec.when(RefundAfterSale("c-4", 2)).then_some(OrderRefunded)
    assert spec.state.after_sales == (("2", "open"),)
    spec.when(CloseAfterSale("c-5", 1)).then_some(AfterSaleClosed)
    assert spec.state.after_sales == (("2", "refunded"),), "what was refunded stays so"


@pytest.mark.parametrize("kind", ["return_refund", "exchange", "reship", "repair"])
def test_goods_that_have_not_left_cannot_come_back_nor_be_replaced(kind: Any) -> None:
    spec = Spec(order.order).given(*normalized(snapshot(lines=TWO)), OrderPaid(400, "CNY", T0))
    spec.when(OpenAfterSale("c-1", kind, "quality")).then_raises(after_sale.TooManyUnits)
    spec.given(PartiallyShipped(("1",), ())).when(OpenAfterSale("c-2", kind, "quality"))
    spec.then(AfterSaleOpened((("1", 1),), "quality", "", "c-2", 0, kind, ("S1",)))


@pytest.mark.parametrize("history", [normalized(snapshot("awaiting_payment")), (*SHIPPED[:2], OrderCancelled("no"))])
def test_of_what_is_not_sold_nothing_can_be_put_right(history: tuple[Event, ...]) -> None:
    spec = Spec(order.order).given(*history)
    spec.when(OpenAfterSale("c-1", "refund_only", "other")).then_raises(after_sale.NothingSold)


def test_what_came_back_cannot_come_back_again_but_may_be_refunded() -> None:
    spec = at_stage("received").when(OpenAfterSale("c-9", "return_refund", "other", (("2", 2),)))
    spec.then_raises(after_sale.TooManyUnits)
    spec.given(AfterSaleClosed(("2",), 1, "c-8")).when(OpenAfterSale("c-9", "refund_only", "other", (("2", 3),)))
    spec.then_some(AfterSaleOpened)


# --- before shipping


def paid_cell(lines: tuple[Line, ...] = TWO) -> Cell:
    cell = Cell()
    cell.receive(("S1", 10), ("S2", 10))
    cell.take(snapshot(lines=lines))
    return cell


def send(cell: Cell, command: Command) -> Turn:
    """Send it twice: the second time changes nothing."""
    turn = cell.send(KEY, command)
    assert cell.send(KEY, command).records == []
    assert replayed(cell.records) == cell.living
    return turn


def figures(cell: Cell, sku: str) -> tuple[int, int, int]:
    level = cell.level(sku)
    return level.on_hand, level.reserved, level.damaged


def test_an_open_refund_holds_the_order_and_an_approved_one_cancels_its_units() -> None:
    cell = paid_cell()
    assert send(cell, OpenAfterSale("c-1", "refund_only", "price", (("2", 2),))).outcome == "accepted"
    assert cell.send(KEY, order.Ship("c-2", "T1", "SF")).outcome == "refused"
    assert send(cell, ApproveAfterSale("c-3", 1)).outcome == "accepted"
    assert (cell.order().cancelled, figures(cell, "S2")) == ((("2", 2),), (10, 1, 0))
    assert send(cell, order.Ship("c-4", "T1", "SF")).outcome == "accepted"
    assert (cell.order().status, shown_status(cell.order())) == ("shipped", "after_sale")
    assert send(cell, RefundAfterSale("c-5", 1)).outcome == "accepted"
    assert (cell.order().cases[0].refunded, shown_status(cell.order())) == (200, "shipped")


def test_approving_a_refund_of_everything_cancels_the_order_and_it_can_still_be_paid_back() -> None:
    cell = paid_cell()
    send(cell, OpenAfterSale("c-1", "refund_only", "other"))
    turn = send(cell, ApproveAfterSale("c-2", 1))
    assert [record.tag for record in turn.records if record.stream == KEY] == [
        "order.after_sale_approved", "order.lines_cancelled", "order.cancelled"]  # fmt: skip
    assert (cell.order().status, figures(cell, "S2")) == ("cancelled", (10, 0, 0))
    assert send(cell, RefundAfterSale("c-3", 1)).outcome == "accepted"
    assert cell.order().cases[0].refunded == 400


def test_declining_a_refund_lets_the_order_go() -> None:
    cell = paid_cell()
    send(cell, OpenAfterSale("c-1", "refund_only", "other"))
    send(cell, DeclineAfterSale("c-2", 1, "withdrawn"))
    assert (cell.order().after_sales, cell.order().status) == ((), "allocating")
    assert send(cell, order.Ship("c-3", "T1", "SF")).outcome == "accepted"


def test_a_price_difference_is_paid_and_cancels_nothing() -> None:
    cell = paid_cell()
    send(cell, OpenAfterSale("c-1", "price_protection", "price", (("2", 3),)))
    send(cell, ApproveAfterSale("c-2", 1))
    send(cell, RefundAfterSale("c-3", 1, (("2", 30),), "transfer"))
    assert (cell.order().cancelled, figures(cell, "S2")) == ((), (10, 3, 0))
    assert send(cell, order.Ship("c-4", "T1", "SF")).outcome == "accepted"


def test_only_what_has_not_left_of_a_part_shipped_line_is_cancelled() -> None:
    spec = Spec(order.order).given(*normalized(snapshot(lines=TWO)), OrderPaid(400, "CNY", T0))
    spec.given(PartiallyShipped((), (), T0, "o/1-1", (("2", 2),), "c-0"), opened("refund_only", (("2", 3),)))
    spec.when(ApproveAfterSale("c-1", 1)).then(
        AfterSaleApproved(1, "c-1"), LinesCancelled((("2", 1),), "after-sale case 1", "c-1")
    )


# --- goods that come back


def sold_cell(ruling: Ruling | None = None) -> Cell:
    cell = Cell()
    cell.receive(("S1", 10), ("S2", 10), ("P1", 10), ("P2", 10), ("G1", 10))
    if ruling is None:
        cell.take(snapshot(lines=TWO))
    else:
        cell.take(snapshot(lines=TWO), ruling=ruling)
    assert cell.send(KEY, order.Ship("ship", "T1", "SF")).outcome == "accepted"
    return cell


def test_good_units_are_available_again_and_damaged_ones_never() -> None:
    cell = sold_cell()
    send(cell, OpenAfterSale("c-1", "return_refund", "damaged", (("2", 3),)))
    send(cell, ApproveAfterSale("c-2", 1))
    send(cell, AnnounceReturn("c-3", 1, "SF", "SF9"))
    send(cell, ReceiveReturn("c-4", 1, (("2", 1),), (("2", 1),), (("2", 1),)))
    assert figures(cell, "S2") == (9, 0, 1)
    assert cell.level("S2").available == 8
    assert (cell.order().returned, cell.order().cases[0].missing) == ((("2", 2),), (("2", 1),))
    assert f"{KEY}/case-1/return-1" in cell.ledger.documents
    assert send(cell, ReceiveReturn("c-5", 1, (("2", 1),))).outcome == "refused", "nothing more is awaited"
    assert cell.order().status == "shipped", "the second axis never overwrites the first"


def test_a_return_may_come_in_parts_and_into_a_warehouse_that_is_named() -> None:
    cell = sold_cell()
    send(cell, OpenAfterSale("c-1", "return_refund", "no_reason", (("2", 3),)))
    send(cell, ReceiveReturn("c-2", 1, (("2", 1),), warehouse="B"))
    send(cell, ReceiveReturn("c-3", 1, (), (("2", 2),), warehouse="B"))
    level = cell.level("S2", "B")
    assert (level.on_hand, level.damaged, level.available) == (3, 2, 1)
    assert cell.order().cases[0].receipts == 2


def test_goods_that_come_back_without_a_word_open_their_case() -> None:
    cell = sold_cell()
    turn = send(cell, ReceiveReturn("c-1", good=(("2", 1),), damaged=(("1", 1),), reason="refused_delivery"))
    assert [record.tag for record in turn.records] == [
        "order.after_sale_opened", "order.return_received", "stock.returned", "stock.returned_damaged"]  # fmt: skip
    (case,) = cell.order().cases
    assert (case.kind, case.reason, case.stage, case.approved) == (
        "return_refund", "refused_delivery", "received", False)  # fmt: skip
    assert send(cell, ReceiveReturn("c-2", good=(("2", 2),))).outcome == "accepted", "two more: a case of their own"
    assert send(cell, ReceiveReturn("c-3", good=(("2", 1),))).outcome == "refused", "there are no more"


def test_goods_may_come_after_the_money_went_back() -> None:
    cell = sold_cell()
    send(cell, WISH)
    send(cell, ApproveAfterSale("c-2", 1))
    send(cell, RefundAfterSale("c-3", 1))
    send(cell, ReceiveReturn("c-4", good=(("2", 2),)))
    (case,) = cell.order().cases
    assert (case.stage, case.back, figures(cell, "S2")) == ("refunded", (("2", 2),), (9, 0, 0))


def test_goods_that_come_back_find_the_one_case_that_awaits_them() -> None:
    cell = sold_cell()
    send(cell, OpenAfterSale("c-1", "refund_only", "other", (("2", 1),)))
    send(cell, OpenAfterSale("c-2", "exchange", "wrong_item", (("2", 1),)))
    send(cell, ReceiveReturn("c-3", good=(("2", 1),)))
    assert [case.back for case in cell.order().cases] == [(), (("2", 1),)]


def test_what_came_back_is_not_out_any_more_whatever_is_opened_of_it() -> None:
    spec = shipped().given(opened(lines=(("2", 3),)), ReturnReceived(1, 1, (("2", 2),)), opened(lines=(("2", 3),)))
    spec.when(ReceiveReturn("x", 2, (("2", 2),))).then_raises(after_sale.TooManyUnits)
    spec.when(ReceiveReturn("x", 2, (("2", 1),))).then_some(ReturnReceived)
    spec.when(ReceiveReturn("y", 1, (("2", 1),))).then_raises(after_sale.TooManyUnits)


BOTH = (opened(lines=(("1", 1), ("2", 1))), OrderRefunded(("2",), 100))
"""A case of two lines; the money for one of them went back."""


@pytest.mark.parametrize(
    "end",
    [
        AfterSaleClosed((), 1),
        AfterSaleClosed(("1",)),
        ReplacementShipped(1, "o/r1", "A", Parcel("SF", "T9"), T0, "c-9"),
    ],
)
def test_a_line_whose_money_went_back_stays_refunded_when_the_rest_of_its_case_ends(end: Event) -> None:
    spec = shipped().given(*BOTH)
    assert spec.state.after_sales == (("1", "open"), ("2", "refunded"))
    after = spec.given(end).state
    assert after.after_sales == (("2", "refunded"),)
    assert after.cases[0].done == (("2", "refunded"), ("1", "closed"))


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (ReceiveReturn("x", 1), after_sale.TooManyUnits),
        (ReceiveReturn("x", 1, (("2", 3),)), after_sale.TooManyUnits),
        (ReceiveReturn("x", 1, (("1", 1),)), after_sale.TooManyUnits),
        (ReceiveReturn("x", 1, (("2", 9),)), after_sale.TooManyUnits),
        (ReceiveReturn("x", 1, (("2", 1),), (("2", 1),), (("2", 1),)), after_sale.TooManyUnits),
        (ReceiveReturn("x", 0, (("1", 1),), reason="because"), after_sale.UnknownReason),
        (ReceiveReturn("x", 0, (), (), (("1", 9),)), after_sale.TooManyUnits),
        (ReceiveReturn("x", 1, (("2", 1),), warehouse="W" * 300), after_sale.BadWarehouse),
    ],
)
def test_no_more_is_taken_back_than_was_sent_and_is_awaited(command: Command, refusal: type[DomainError]) -> None:
    at_stage("approved").when(command).then_raises(refusal)


def test_two_cases_that_await_the_same_line_must_be_told_apart() -> None:
    spec = shipped().given(opened(lines=(("2", 1),)), opened("exchange", (("2", 1),)))
    spec.when(ReceiveReturn("x", 0, (("2", 1),))).then_raises(after_sale.WhichCase)


@pytest.mark.parametrize("sku", ["", "S" * (SKU_MAX + 1), "S\n1"])
def test_what_no_warehouse_can_have_cannot_be_taken_back(sku: str) -> None:
    spec = Spec(order.order).given(*normalized(snapshot(lines=(line("1", sku),))), OrderPaid(1, "CNY", T0))
    spec.given(OrderShipped((), T0)).when(ReceiveReturn("x", 0, (("1", 1),))).then_raises(after_sale.SkuUnknown)


def test_a_line_without_a_sku_cannot_be_taken_back_or_sent_again() -> None:
    spec = Spec(order.order).given(*normalized(snapshot(lines=(line("1", ""),))), OrderPaid(1, "CNY", T0))
    spec.given(OrderShipped((), T0), opened("exchange", (("1", 1),)), AfterSaleApproved(1, "c-1"))
    spec.when(ReceiveReturn("x", 1, (("1", 1),))).then_raises(after_sale.SkuUnknown)
    spec.when(SendReplacement("y", 1)).then_raises(after_sale.SkuUnknown)
    spec.when(SendReplacement("z", 1, (("S9", 1),))).then_some(ReplacementAsked)


@pytest.mark.parametrize("kind", ["refund_only", "price_protection", "reship"])
def test_a_case_that_brings_no_goods_takes_none(kind: Any) -> None:
    spec = at_stage("approved", kind)
    spec.when(ReceiveReturn("x", 1, (("2", 1),))).then_raises(after_sale.NothingComesBack)
    spec.when(AnnounceReturn("y", 1, "SF", "SF9")).then_raises(after_sale.NothingComesBack)


@pytest.mark.parametrize(("carrier", "tracking"), [("", "SF9"), ("SF", " ")])
def test_a_parcel_back_has_a_number_and_a_carrier(carrier: str, tracking: str) -> None:
    at_stage("approved").when(AnnounceReturn("x", 1, carrier, tracking)).then_raises(after_sale.NoReturnParcel)


def test_a_kit_comes_back_by_its_parts_and_a_gift_by_its_own_name() -> None:
    ruled = Ruling(1, kits=(Kit("1", (("P1", 2), ("P2", 1))),), gifts=(Gift("g", "G1", 1),))
    cell = sold_cell(ruled)
    assert (cell.level("P1").on_hand, cell.level("G1").on_hand) == (8, 9)
    send(cell, ReceiveReturn("c-1", good=(("1", 1),), damaged=(("gift:g:G1", 1),)))
    assert (cell.level("P1").on_hand, cell.level("P2").on_hand) == (10, 10)
    assert (cell.level("G1").on_hand, cell.level("G1").damaged) == (10, 1)


def test_what_is_only_missing_moves_no_stock() -> None:
    cell = sold_cell()
    turn = send(cell, ReceiveReturn("c-1", missing=(("2", 1),)))
    assert {record.stream for record in turn.records} == {KEY}


# --- money


def test_in_full_is_what_the_units_cost_and_a_part_is_taken_off() -> None:
    spec = at_stage("approved").when(RefundAfterSale("x", 1, (("2", 50), ("2", 30)), "transfer", "P1"))
    spec.then(OrderRefunded(("2",), 80, "P1", "x", 1, (), "transfer"))
    spec.when(RefundAfterSale("y", 1)).then(OrderRefunded(("2",), 120, "", "y", 1, (), "original"))
    spec.when(RefundAfterSale("z", 1)).then_raises(after_sale.TooMuchMoney)
    assert spec.state.cases[0].refunded == 200


def test_freight_goes_back_under_no_line_and_never_more_than_was_paid() -> None:
    view = snapshot(lines=TWO, freight=20)
    spec = Spec(order.order).given(*normalized(view), OrderPaid(420, "CNY", T0), OrderShipped((), T0))
    spec.given(opened(lines=(("1", 1), ("2", 3))), AfterSaleApproved(1, "c-1"))
    spec.when(RefundAfterSale("x", 1)).then(
        OrderRefunded(("1", "2"), 400, "", "x", 1, (("1", 100), ("2", 300)), "original")
    )
    spec.when(RefundAfterSale("y", 1, (("", 21),))).then_raises(after_sale.TooMuchMoney)
    spec.when(RefundAfterSale("z", 1, (("", 20),))).then(
        OrderRefunded(("1", "2"), 20, "", "z", 1, (("", 20),), "original")
    )
    spec.when(RefundAfterSale("w", 1)).then_raises(after_sale.TooMuchMoney)


@pytest.mark.parametrize("amounts", [(("2", 0),), (("2", -1),), (("2", 301),), (("2", 200), ("2", 101)), (("1", 1),)])
def test_no_more_goes_back_for_a_line_than_was_paid_for_it(amounts: tuple[tuple[str, int], ...]) -> None:
    at_stage("approved").when(RefundAfterSale("x", 1, amounts)).then_raises(after_sale.TooMuchMoney)


@pytest.mark.parametrize("line_id", ["1", "2"])
def test_who_asks_for_too_much_money_hears_that_nothing_is_left(line_id: str) -> None:
    spec = at_stage("approved").given(OrderRefunded(("2",), 300))
    spec.when(RefundAfterSale("x", 1, ((line_id, 1),))).then_raises(after_sale.TooMuchMoney)
    assert spec._refusal is not None
    assert f"1 for line {line_id}: of what was paid for it 0 is left" in spec._refusal.reason


def test_a_line_that_cost_one_minor_unit_is_paid_back_too() -> None:
    cheap = msgspec.structs.replace(line("1"), amount=1)
    spec = Spec(order.order).given(*normalized(snapshot(lines=(cheap,))), OrderPaid(1, "CNY", T0), OrderShipped((), T0))
    spec.given(opened(lines=(("1", 1),)), AfterSaleApproved(1, "c-1"))
    spec.when(RefundAfterSale("x", 1)).then(OrderRefunded(("1",), 1, "", "x", 1, (), "original"))


def test_what_a_payment_service_gave_back_counts_though_it_does_not_say_what_for() -> None:
    spec = at_stage("approved").given(OrderRefunded((), 350, "P9"))
    assert [(case.stage, case.refunded) for case in spec.state.cases] == [("approved", 0)]
    spec.when(RefundAfterSale("x", 1)).then_raises(after_sale.TooMuchMoney)
    spec.when(RefundAfterSale("y", 1, (("2", 50),))).then_some(OrderRefunded)


def test_what_cost_nothing_and_what_the_channel_took_away_is_not_paid_back() -> None:
    free = msgspec.structs.replace(line("1"), amount=0)
    spec = Spec(order.order).given(*normalized(snapshot(lines=(free, TWO[1]))), OrderPaid(300, "CNY", T0))
    spec.given(OrderShipped((), T0), opened(lines=(("1", 1), ("2", 3), ("9", 1))), AfterSaleApproved(1, "c-1"))
    spec.when(RefundAfterSale("x", 1)).then(OrderRefunded(("1", "2", "9"), 300, "", "x", 1, (("2", 300),), "original"))


def test_what_the_channel_paid_back_is_not_paid_twice() -> None:
    spec = at_stage("approved").given(OrderRefunded(("2",), 300))
    assert (spec.state.cases[0].stage, spec.state.cases[0].refunded) == ("refunded", 300)
    spec.when(RefundAfterSale("x", 1)).then_raises(after_sale.TooMuchMoney)


def test_who_pays_on_delivery_has_paid_what_was_to_be_paid() -> None:
    spec = Spec(order.order).given(*normalized(snapshot(lines=TWO, paid=0)), OrderPaid(0, "CNY", T0))
    spec.given(OrderShipped((), T0), opened(), AfterSaleApproved(1, "c-1"))
    spec.when(RefundAfterSale("x", 1)).then_some(OrderRefunded)


def test_there_are_two_ways_to_pay_back() -> None:
    command = RefundAfterSale("x", 1, (), "cash")  # type: ignore[arg-type]
    at_stage("approved").when(command).then_raises(after_sale.UnknownMethod)


def test_above_the_limit_a_refund_needs_its_approval() -> None:
    state = order.after_sales_of(at_stage("approved").state)
    stand = msgspec.structs.replace(
        order.stand_of(at_stage("approved").state), refund_limit=199, approvals=frozenset({"big-1"})
    )
    with pytest.raises(after_sale.ApprovalMissing):
        after_sale_acts.decide(RefundAfterSale("x", 1), state, stand)
    with pytest.raises(after_sale.ApprovalMissing):
        after_sale_acts.decide(RefundAfterSale("x", 1, approval="big-2"), state, stand)
    (event,) = after_sale_acts.decide(RefundAfterSale("x", 1, approval="big-1"), state, stand)
    assert isinstance(event, OrderRefunded)
    assert event.approval == "big-1"
    assert after_sale_acts.decide(RefundAfterSale("x", 1, (("2", 199),)), state, stand)


# --- goods that are sent instead


def exchanged(lines: tuple[tuple[str, int], ...] = (), kind: Any = "exchange") -> Cell:
    cell = sold_cell()
    send(cell, OpenAfterSale("c-1", kind, "wrong_item", (("2", 2),)))
    send(cell, ApproveAfterSale("c-2", 1))
    assert send(cell, SendReplacement("c-3", 1, lines)).outcome == "accepted"
    return cell


@pytest.mark.parametrize("kind", ["exchange", "reship", "repair"])
def test_a_replacement_is_reserved_picked_and_shipped_beside_the_first_shipment(kind: Any) -> None:
    cell = exchanged(kind=kind)
    before = cell.order()
    assert (figures(cell, "S2"), cell.tags(KEY)[-1]) == ((7, 2, 0), "order.pick_list_issued")
    assert send(cell, order.ScanOut("c-4")).outcome == "accepted"
    assert cell.send(KEY, order.ScanOut("c-5")).outcome == "repeated", "it is picked already"
    assert send(cell, order.Ship("c-6", "T9", "SF")).outcome == "accepted"
    after = cell.order()
    assert (figures(cell, "S2"), after.cases[0].stage, after.after_sales) == ((5, 0, 0), "replaced", ())
    for name in ("status", "shipped", "sent", "allocations", "attempts", "cancelled"):
        assert getattr(after, name) == getattr(before, name), name
    assert cell.send(KEY, order.Ship("c-7", "T9", "SF")).outcome == "refused", "it has left"


def test_a_replacement_is_followed_and_decides_nothing_of_the_orders_own_delivery() -> None:
    cell = exchanged()
    own = cell.order().tracking.parcels
    for number, parcel in enumerate(own):
        scan = RecordTrack(f"t-{number}", parcel.tracking, "SF", (Scan(T0, "signed"),))
        assert send(cell, scan).outcome == "accepted"
    assert cell.order().tracking.delivered
    send(cell, order.Ship("c-4", "T9", "SF"))
    before = cell.order()
    assert before.tracking.delivered, "what the customer has he still has"
    assert send(cell, RecordTrack("t-9", "T9", "SF", (Scan(T0, "in_transit"),))).outcome == "accepted"
    assert cell.order().tracking.delivered
    assert send(cell, RecordTrack("t-10", "T9", "SF", (Scan(T0 + 1, "refused"),))).outcome == "accepted"
    (stopped,) = cell.order().interceptions
    assert stopped[1] == "delivery_failed"


def test_where_picking_is_verified_a_replacement_is_scanned_too() -> None:
    cell = exchanged()
    cell.send(WAREHOUSE, SetPicking("d-1", verified=True))
    assert cell.send(KEY, order.Ship("c-4", "T9", "SF")).outcome == "refused", "nothing is scanned"
    assert send(cell, ScanItem("c-5", "S2", units=2)).outcome == "accepted"
    assert cell.order().cases[0].replacement.scanned == (("S2", 2),)  # type: ignore[union-attr]
    assert send(cell, UnscanItem("c-6", "S2")).outcome == "accepted"
    assert cell.send(KEY, order.Ship("c-7", "T9", "SF")).outcome == "refused", "one is missing"
    assert send(cell, ScanItem("c-8", "S2", f"{KEY}/case-1-1")).outcome == "accepted"
    assert send(cell, order.Ship("c-9", "T9", "SF")).outcome == "accepted"


def test_another_size_may_be_sent() -> None:
    cell = exchanged((("S1", 1), ("S1", 1)))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((9, 2, 0), (7, 0, 0))
    assert send(cell, order.Ship("c-4", "T9", "SF", f"pick-{KEY}/case-1-1")).outcome == "accepted"
    assert figures(cell, "S1") == (7, 0, 0)


def test_goods_that_were_sent_for_a_case_come_back_by_a_name_of_their_own() -> None:
    cell = exchanged((("S1", 2),))
    send(cell, ReceiveReturn("c-4", 1, (("2", 2),)))
    assert cell.send(KEY, ReceiveReturn("c-5", 0, (("case-1:S1", 1),))).outcome == "refused", "they have not left"
    send(cell, order.Ship("c-6", "T9", "SF"))
    assert (figures(cell, "S1"), figures(cell, "S2")) == ((7, 0, 0), (9, 0, 0))
    turn = cell.send(KEY, ReceiveReturn("c-7", 0, (("2", 2),)))
    assert (turn.outcome, "2 of case-1:S1" in turn.reason) == ("refused", True)
    assert send(cell, ReceiveReturn("c-8", 0, (("case-1:S1", 1),))).outcome == "accepted"
    assert send(cell, OpenAfterSale("c-9", "exchange", "quality", (("case-1:S1", 1),))).outcome == "accepted"
    assert send(cell, ReceiveReturn("c-10", 3, (), (("case-1:S1", 1),))).outcome == "accepted"
    assert (figures(cell, "S1"), cell.order().returned) == ((9, 0, 1), (("2", 2), ("case-1:S1", 2)))
    assert cell.send(KEY, ReceiveReturn("c-11", 0, (("case-1:S1", 1),))).outcome == "refused", "all of it is back"
    assert send(cell, RefundAfterSale("c-12", 1)).outcome == "accepted", "money goes back for what was bought"


def test_what_was_sent_for_a_case_is_not_sent_again_beside_what_was_bought() -> None:
    """The first parcel was lost, and the second one, too: as much as was bought is sent once more."""
    cell = exchanged(kind="reship")
    send(cell, order.Ship("c-4", "T9", "SF"))
    send(cell, OpenAfterSale("c-5", "reship", "missing_item"))
    assert cell.order().cases[1].lines == (("1", 1), ("2", 3))


def test_a_case_without_lines_is_about_what_was_sent_for_one_where_nothing_else_is_out() -> None:
    cell = sold_cell()
    send(cell, OpenAfterSale("c-1", "exchange", "wrong_item"))
    send(cell, ApproveAfterSale("c-2", 1))
    send(cell, ReceiveReturn("c-3", 1, (("1", 1), ("2", 3))))
    send(cell, SendReplacement("c-4", 1))
    send(cell, order.Ship("c-5", "T9", "SF"))
    send(cell, OpenAfterSale("c-6", "return_refund", "quality"))
    assert cell.order().cases[1].lines == (("case-1:S1", 1), ("case-1:S2", 3))


def test_what_no_warehouse_has_is_told_and_may_be_asked_for_again() -> None:
    cell = exchanged((("S9", 1),))
    assert cell.tags(KEY)[-1] == "order.replacement_short"
    assert (cell.order().cases[0].replacement, cell.order().interceptions) == (None, ())
    cell.receive(("S9", 1), document="d-2")
    send(cell, SendReplacement("c-4", 1, (("S9", 1),)))
    assert figures(cell, "S9") == (1, 1, 0)
    assert [name for name in cell.ledger.allocations] == [f"{KEY}/case-1-2"]  # noqa: C416


@pytest.mark.parametrize("end", [CloseAfterSale("x", 1), DeclineAfterSale("x", 1, "withdrawn")])
def test_a_case_that_ends_gives_back_what_was_held_for_it(end: Command) -> None:
    cell = exchanged()
    turn = send(cell, end)
    assert "order.replacement_released" in [record.tag for record in turn.records]
    assert (figures(cell, "S2"), len(cell.ledger.allocations)) == ((7, 0, 0), 0)
    assert cell.send(KEY, order.Ship("y", "T9", "SF")).outcome == "refused"


def test_a_hold_stops_a_replacement_too() -> None:
    cell = exchanged()
    cell.take(snapshot("shipped", 9, TWO, holds=("locked",)))
    assert cell.send(KEY, order.Ship("c-4", "T9", "SF")).outcome == "refused"
    send(cell, OpenAfterSale("c-5", "reship", "missing_item", (("1", 1),)))
    send(cell, ApproveAfterSale("c-6", 2))
    assert cell.send(KEY, SendReplacement("c-7", 2)).outcome == "refused"


def test_of_goods_into_the_eu_a_replacement_names_its_lot_too() -> None:
    lot = order.Lot("S2", "L1", 2, "1.8", "kgCO2e", "ISO 14067", "maker")
    cell = Cell()
    cell.receive(("S1", 10), ("S2", 10))
    cell.take(snapshot(lines=TWO), ruling=Ruling(1, lots=True))
    lots = tuple(msgspec.structs.replace(lot, sku=sku, units=units) for sku, units in (("S1", 1), ("S2", 3)))
    assert cell.send(KEY, order.Ship("ship", "T1", "SF", lots=lots)).outcome == "accepted"
    send(cell, OpenAfterSale("c-1", "exchange", "quality", (("2", 2),)))
    send(cell, ApproveAfterSale("c-2", 1))
    send(cell, SendReplacement("c-3", 1))
    assert cell.send(KEY, order.Ship("c-4", "T9", "SF")).outcome == "refused"
    assert send(cell, order.Ship("c-5", "T9", "SF", lots=(lot,))).outcome == "accepted"
    assert "order.lots_recorded" in cell.tags(KEY)[-2:]


def test_a_part_shipped_order_ships_its_rest_and_the_replacement_apart() -> None:
    cell = paid_cell()
    cell.take(snapshot("allocating", 4, (line("1", state="shipped"), TWO[1])))
    send(cell, OpenAfterSale("c-1", "reship", "missing_item", (("1", 1),)))
    send(cell, ApproveAfterSale("c-2", 1))
    send(cell, SendReplacement("c-3", 1))
    assert cell.send(KEY, order.Ship("c-4", "T2", "SF")).outcome == "accepted", "without a name it is the order's own"
    assert (cell.order().status, figures(cell, "S2"), figures(cell, "S1")) == ("shipped", (7, 0, 0), (9, 1, 0))
    assert send(cell, order.Ship("c-5", "T3", "SF", f"{KEY}/case-1-1")).outcome == "accepted"
    assert figures(cell, "S1") == (8, 0, 0)


def test_a_warehouse_of_others_confirms_a_replacement_like_other_goods() -> None:
    cell = exchanged()
    name = f"{KEY}/case-1-1"
    wrong = ConfirmDelivery("c-4", f"pick-{name}", name, (Packed("SF", "T8"),), (("S2", 1),))
    assert send(cell, msgspec.structs.replace(wrong, final=False)).outcome == "accepted"
    assert cell.order().cases[0].replacement is not None, "more of it is to come"
    right = msgspec.structs.replace(wrong, command_id="c-5", parcels=(Packed("SF", "T9"),))
    send(cell, right)
    assert (cell.order().cases[0].stage, figures(cell, "S2")) == ("replaced", (5, 0, 0))


def test_a_replacement_without_a_number_has_not_left_yet() -> None:
    cell = exchanged()
    name = f"{KEY}/case-1-1"
    packed = ConfirmDelivery("c-4", f"pick-{name}", name, (Packed("SF", ""),), (("S2", 2),))
    assert send(cell, packed).outcome == "accepted"
    assert cell.tags(KEY)[-1] == "order.delivery_confirmed"
    assert (cell.order().cases[0].replacement is not None, cell.order().interceptions) == (True, ())
    assert send(cell, order.Ship("c-5", "T9", "SF")).outcome == "accepted"
    assert (cell.order().cases[0].stage, figures(cell, "S2")) == ("replaced", (5, 0, 0))


def test_a_warehouse_of_others_that_packs_something_else_stops_the_order() -> None:
    cell = exchanged()
    name = f"{KEY}/case-1-1"
    send(cell, ConfirmDelivery("c-4", f"pick-{name}", name, (Packed("SF", "T8"),), (("S1", 2),)))
    assert [reason for _, reason in cell.order().interceptions] == ["packed_differently"]
    assert cell.order().cases[0].replacement is not None


def test_several_replacements_are_told_apart_by_their_names() -> None:
    cell = exchanged()
    send(cell, OpenAfterSale("c-4", "reship", "missing_item", (("1", 1),)))
    send(cell, ApproveAfterSale("c-5", 2))
    send(cell, SendReplacement("c-6", 2))
    assert cell.send(KEY, order.Ship("c-7", "T9", "SF")).outcome == "refused", "which of the two?"
    assert cell.send(KEY, order.Ship("c-8", "T9", "SF", f"{KEY}/case-3-1")).outcome == "refused"
    assert send(cell, order.Ship("c-9", "T9", "SF", f"{KEY}/case-2-1")).outcome == "accepted"
    assert [case.stage for case in cell.order().cases] == ["approved", "replaced"]


@pytest.mark.parametrize("kind", ["refund_only", "return_refund", "price_protection"])
def test_for_a_refund_no_goods_are_sent(kind: Any) -> None:
    at_stage("approved", kind).when(SendReplacement("x", 1)).then_raises(after_sale.NothingIsSent)


@pytest.mark.parametrize("lines", [(("S2", 0),), (("", 1),)])
def test_a_replacement_is_of_skus_and_units(lines: tuple[tuple[str, int], ...]) -> None:
    at_stage("approved", "exchange").when(SendReplacement("x", 1, lines)).then_raises(stock.BadQuantity)


# --- what the channel says


def told(cell: Cell, minute: int, stage: Any, reference: str = "", units: int = 3, amount: int = 300) -> Turn:
    """Let the channel say how line 2 stands."""
    second = msgspec.structs.replace(TWO[1], after_sale=stage, after_sale_id=reference, quantity=units, amount=amount)
    return cell.take(snapshot("shipped", minute, (TWO[0], second)))


WISH = OpenAfterSale("c-1", "return_refund", "quality", (("2", 2),))


def ends_alike(*ways: Callable[[Cell], Any]) -> tuple[Case, ...]:
    """Return the cases that every one of these ways leads to."""
    ends = []
    for way in ways:
        cell = sold_cell()
        way(cell)
        ends.append((cell.order().cases, cell.order().after_sales))
    assert all(end == ends[0] for end in ends), ends
    cases = ends[0][0]
    assert isinstance(cases, tuple)
    return cases


def test_a_channel_and_a_person_with_the_same_wish_make_one_case_whoever_comes_first() -> None:
    (case,) = ends_alike(
        lambda cell: (send(cell, WISH), told(cell, 5, "open", "R1")),
        lambda cell: (told(cell, 5, "open", "R1"), send(cell, WISH)),
        lambda cell: (told(cell, 5, "open"), send(cell, WISH), told(cell, 6, "open", "R1")),
    )
    assert (case.kind, case.reason, case.units("2"), case.reference) == ("return_refund", "quality", 2, "R1")


def test_a_reference_finds_its_case_and_no_other() -> None:
    wish = msgspec.structs.replace(WISH, reference="R1")
    (case,) = ends_alike(
        lambda cell: (send(cell, wish), told(cell, 5, "open", "R1")),
        lambda cell: (told(cell, 5, "open", "R1"), send(cell, wish)),
    )
    assert case.kind == "return_refund"
    cell = sold_cell()
    told(cell, 5, "open", "R1")
    other = msgspec.structs.replace(WISH, reference="R2")
    assert cell.send(KEY, other).outcome == "refused", "all units of the line are in the channel's case"
    assert send(cell, msgspec.structs.replace(wish, command_id="c-2")).outcome == "accepted"
    assert send(cell, msgspec.structs.replace(wish, command_id="c-3")).outcome == "refused", "it is known"


def test_without_lines_a_person_says_more_of_the_case_that_the_channel_opened() -> None:
    cell = sold_cell()
    told(cell, 5, "open", "R1")
    send(cell, OpenAfterSale("c-1", "exchange", "wrong_item"))
    (case,) = cell.order().cases
    assert (case.lines, case.kind, case.reference) == ((("2", 3),), "exchange", "R1")


def test_what_people_paid_back_the_channel_does_not_open_again() -> None:
    def paid_back(cell: Cell) -> Turn:
        send(cell, ApproveAfterSale("c-2", 1))
        return send(cell, RefundAfterSale("c-3", 1))

    (case,) = ends_alike(
        lambda cell: (send(cell, WISH), paid_back(cell), told(cell, 5, "open", "R1"), told(cell, 6, "refunded", "R1")),
        lambda cell: (send(cell, WISH), told(cell, 5, "open", "R1"), paid_back(cell), told(cell, 6, "refunded", "R1")),
        lambda cell: (told(cell, 5, "open", "R1"), send(cell, WISH), paid_back(cell), told(cell, 6, "open", "R1")),
    )
    assert (case.stage, case.refunded) == ("refunded", 200)


@pytest.mark.parametrize("reference", ["", "R1"])
@pytest.mark.parametrize("end", [DeclineAfterSale("c-2", 1, "used"), CloseAfterSale("c-2", 1)])
def test_what_people_ended_stays_so_while_the_channel_says_nothing_new(reference: str, end: Command) -> None:
    cell = sold_cell()
    told(cell, 5, "open", reference)
    send(cell, end)
    assert "order.after_sale_opened" not in [
        record.tag for record in told(cell, 6, "open", reference, amount=290).records
    ]
    assert cell.order().after_sales == ()
    told(cell, 7, "open", "R2")
    assert [case.stage for case in cell.order().cases][1:] == ["opened"], "another number is another wish"


def test_a_channel_that_pays_back_what_people_declined_has_the_last_word() -> None:
    cell = sold_cell()
    told(cell, 5, "open", "R1")
    send(cell, DeclineAfterSale("c-2", 1, "used"))
    told(cell, 6, "refunded", "R1")
    assert cell.order().after_sales == (("2", "refunded"),)
    assert [(case.stage, case.refunded) for case in cell.order().cases] == [("refunded", 300)]


def test_a_channel_that_pays_back_what_people_replaced_pays_for_that_case() -> None:
    cell = exchanged()
    send(cell, order.Ship("c-4", "T9", "SF"))
    told(cell, 5, "refunded")
    assert [(case.stage, case.refunded) for case in cell.order().cases] == [("refunded", 300)]


def test_what_the_channel_closed_and_opens_again_is_the_same_case() -> None:
    (case,) = ends_alike(
        lambda cell: (told(cell, 5, "open", "R1"), told(cell, 6, "closed", "R1"), told(cell, 7, "open", "R1")),
        lambda cell: told(cell, 7, "open", "R1"),
    )
    assert case.open


def test_a_refund_that_comes_without_a_word_opens_its_case_first() -> None:
    (case,) = ends_alike(
        lambda cell: (told(cell, 5, "open", "R1"), told(cell, 6, "refunded", "R1")),
        lambda cell: told(cell, 6, "refunded", "R1"),
    )
    assert (case.stage, case.refunded, case.reference) == ("refunded", 300, "R1")


def test_a_channel_s_new_number_takes_the_place_of_the_old_one() -> None:
    (case,) = ends_alike(
        lambda cell: (told(cell, 5, "open", "R1"), told(cell, 6, "open", "R2")),
        lambda cell: told(cell, 6, "open", "R2"),
    )
    assert case.reference == "R2"


def test_a_channel_s_word_on_a_line_settles_every_case_of_it() -> None:
    cell = sold_cell()
    send(cell, OpenAfterSale("c-1", "refund_only", "other", (("2", 1),)))
    send(cell, OpenAfterSale("c-2", "exchange", "other", (("2", 1),)))
    told(cell, 5, "open")
    told(cell, 6, "refunded")
    assert [case.stage for case in cell.order().cases] == ["refunded", "refunded"]
    assert [case.refunded for case in cell.order().cases] == [300, 0]


def test_a_channel_that_says_again_what_it_paid_back_settles_no_later_case() -> None:
    cell = sold_cell()
    told(cell, 5, "refunded", "R1")
    send(cell, OpenAfterSale("c-1", "exchange", "quality", (("2", 1),)))
    told(cell, 6, "refunded", "R1", amount=290)
    assert [(case.stage, case.refunded) for case in cell.order().cases] == [("refunded", 300), ("opened", 0)]
    cell.send(KEY, order.CancelLines("c-2", (("1", 1),), "too late"))
    lines = (line("1", after_sale="refunded"), line("2", quantity=3, after_sale="refunded"))
    cell.take(snapshot("shipped", 7, lines))
    assert [case.refunded for case in cell.order().cases] == [300, 0, 100]


def test_lines_of_one_case_may_end_apart() -> None:
    lines = (line("1", after_sale="open"), line("2", quantity=3, after_sale="open"))
    cell = sold_cell()
    cell.take(snapshot("shipped", 5, lines))
    cell.take(snapshot("shipped", 6, (line("1", after_sale="refunded"), lines[1])))
    (case,) = cell.order().cases
    assert (case.open, cell.order().after_sales) == (True, (("1", "refunded"), ("2", "open")))
    cell.take(snapshot("shipped", 7, (line("1", after_sale="refunded"), line("2", quantity=3, after_sale="closed"))))
    (case,) = cell.order().cases
    assert (case.stage, case.refunded, cell.order().after_sales) == ("refunded", 100, (("1", "refunded"),))


def test_a_refund_of_several_lines_tells_each_share() -> None:
    lines = tuple(line(name, quantity=units, after_sale="refunded") for name, units in (("1", 1), ("2", 3)))
    spec = shipped().when(taking(snapshot("shipped", 9, lines)))
    refunds = [event for event in spec._events if isinstance(event, OrderRefunded)]
    assert [(event.amount, event.amounts) for event in refunds] == [(400, (("1", 100), ("2", 300)))]


# --- goods brought to a counter


def brought(cell: Cell, reference: str = "C1", units: int = 2) -> Turn:
    goods = Return("taobao", "shop1", "o-1", reference, at(9), "CNY", (ReturnLine("S2", units, 90),))
    return cell.channel(Returned(goods, f"return-{reference}"), KEY)


def test_goods_brought_to_a_counter_settle_the_case_that_was_open_for_them() -> None:
    cell = sold_cell()
    send(cell, WISH)
    assert brought(cell).outcome == "accepted"
    (case,) = cell.order().cases
    assert (case.stage, case.refunded, case.reference, case.kind) == ("refunded", 90, "C1", "return_refund")
    assert cell.order().returned == (("2", 2),)
    assert brought(cell).outcome == "repeated"


def test_goods_that_were_sent_for_a_case_may_be_brought_to_a_counter() -> None:
    cell = exchanged((("S9", 1),))
    cell.receive(("S9", 1), document="d-2")
    send(cell, SendReplacement("c-4", 1, (("S9", 1),)))
    send(cell, order.Ship("c-5", "T9", "SF"))
    goods = Return("taobao", "shop1", "o-1", "C9", at(9), "CNY", (ReturnLine("S9", 1, 0),))
    assert cell.channel(Returned(goods, "return-C9"), KEY).outcome == "accepted"
    assert cell.order().returned == (("case-1:S9", 1),)


def test_goods_brought_to_a_counter_without_a_word_are_a_case_of_their_own() -> None:
    cell = sold_cell()
    brought(cell)
    brought(cell, "C2", 1)
    assert [(case.stage, case.reference) for case in cell.order().cases] == [("refunded", "C1"), ("refunded", "C2")]
    assert brought(cell, "C3", 1).outcome == "refused"


def test_cancelling_what_has_left_finds_the_case_that_is_open_for_it() -> None:
    spec = at_stage("opened").when(order.CancelLines("x", (("1", 1), ("2", 3)), "too big"))
    spec.then(
        AfterSaleOpened((("1", 1),), "too big", command="x", skus=("S1",)),
        AfterSaleOpened((("2", 3),), "too big", command="x", case=1, skus=("S2",)),
    )
    assert [(case.reason, case.units("2")) for case in spec.state.cases] == [("quality", 3), ("too big", 0)]


# --- what was written by the first builds, and what can be in no log


def test_a_refund_of_the_first_builds_is_a_case_though_nobody_had_opened_it() -> None:
    spec = shipped().given(OrderRefunded(("1", "2"), 400))
    (case,) = spec.state.cases
    assert (case.stage, case.refunded, spec.state.after_sales) == (
        "refunded", 400, (("1", "refunded"), ("2", "refunded")))  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        AfterSaleMatched(9, "R1"),
        AfterSaleApproved(9, "c"),
        AfterSaleDeclined(9, "used", "c"),
        ReturnAnnounced(9, "SF", "SF9", "c"),
        ReturnReceived(9, 1, (("1", 1),), command="c"),
        ReplacementAsked(9, 1, (("S1", 1),), "", "c"),
        ReplacementReserved(9, "o/case-9-1", "A", (("S1", 1),)),
        ReplacementShort(9, "o/case-9-1", "A", ()),
        ReplacementReleased(9, "o/case-9-1", "A"),
        after_sale.ReplacementPicked(9, "o/case-9-1", "c"),
        after_sale.ReplacementShipped(9, "o/case-9-1", "A", Parcel("SF", "T9"), T0, "c"),
    ],
)
def test_an_event_of_a_case_that_there_is_not_refuses_nothing(event: Event) -> None:
    nothing = AfterSales((), ())
    assert evolve(nothing, event).cases == ()
    assert case_numbered(nothing, 9) is None


def test_a_picked_replacement_that_is_no_longer_there_changes_nothing() -> None:
    case = Case(1, (("1", 1),))
    state = AfterSales((case,), ())
    assert evolve(state, after_sale.ReplacementPicked(1, "o/case-1-1", "c")) == state


@pytest.mark.parametrize(
    ("allocation", "number"), [("o/case-3-1", 3), ("o/1", 0), ("o/1-2", 0), ("o/gift-1", 0), ("o/case-x", 0)]
)
def test_an_allocation_names_the_case_it_is_for(allocation: str, number: int) -> None:
    assert case_of_allocation(allocation) == number
