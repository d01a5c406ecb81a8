"""Snapshots in any order, each one to five times, end like the same snapshots in order, once each.

What is promised holds for *consistent* histories: what a channel cannot take back it does not take back. A status only
moves along the transition table, a line that has left stays `shipped` (whatever becomes of its refund) with its SKU
and units, a refund that was paid is not unsaid, and an open after-sale that has a number keeps having one. Everything
else may change with every snapshot, also within one moment of the channel's clock, which often counts in seconds.
"""

from typing import Any

import msgspec
from hypothesis import given, note
from hypothesis import strategies as st

from domain.canonical import Line, Snapshot
from domain.order import held_of, on_hold
from tests.spec import Cell, line, replayed, snapshot

SKUS = ("SA", "SB", "SC")
AMPLE = 10_000


def view_of(cell: Cell, numbers: list[str]) -> dict[str, Any]:
    """Return what people see of orders and stock in the end; not how it came about."""
    orders = {}
    for number in numbers:
        state = cell.order(number)
        present = {each.id for each in state.lines}
        orders[number] = {
            "status": state.status,
            "lines": state.lines,
            "shipped": sorted(state.shipped & present),
            "after_sale": sorted(pair for pair in state.after_sales if pair[0] in present),
            "amounts": state.amounts,
            "address": state.address,
            "holds": state.holds,
            "interceptions": sorted(reason for _, reason in state.interceptions),
            "timers": state.timers,
            "held": held_of(state.allocations),
            "may_be_picked": any(each.listed for each in state.allocations) and not on_hold(state),
            "cancelled": state.cancelled,
            # How often a case was opened and closed meanwhile is not the end; which of them is open is.
            "cases": sorted(
                (name, case.reference)
                for case in state.cases
                for name, _ in case.lines
                if name in present and case.open_for(name)
            ),
        }
    levels = {sku: msgspec.structs.astuple(cell.level(sku)) for sku in SKUS}
    return {"orders": orders, "levels": levels, "allocations": len(cell.ledger.allocations)}


def run(history: list[Snapshot], numbers: list[str]) -> dict[str, Any]:
    cell = Cell()
    cell.receive(*((sku, AMPLE) for sku in SKUS))
    for each in history:
        cell.take(each, f"addr-{each.attributes.get('address', 1)}")
    assert replayed(cell.records) == cell.living
    return view_of(cell, numbers)


@st.composite
def histories(draw: st.DrawFn, number: str = "o-1") -> list[Snapshot]:
    """Draw a consistent history of one order, in order."""
    replace = msgspec.structs.replace
    mapped = st.sampled_from(SKUS)
    drawn_sku = st.one_of(mapped, mapped, mapped, st.just(""))
    lines: list[Line] = [
        line(str(index), draw(drawn_sku), draw(st.integers(1, 3))) for index in range(draw(st.integers(1, 3)))
    ]
    status: Any = draw(st.sampled_from(["awaiting_payment", "awaiting_payment", "paid"]))
    minute, address, freight, deposit, pay_by = 1, 1, 0, 0, None
    holds: tuple[str, ...] = ()
    shipped_minute: int | None = None
    told: list[Snapshot] = []
    for _ in range(draw(st.integers(1, 7))):
        view = snapshot(
            status,
            minute,
            lines,
            number=number,
            paid=deposit if status == "awaiting_payment" else None,
            holds=holds,
            freight=freight,
            pay_by=pay_by if status == "awaiting_payment" else None,
            shipped=shipped_minute,
        )
        if shipped_minute is None:
            view = replace(view, shipped_at=None)
        told.append(replace(view, attributes={"address": address}))
        minute += draw(st.sampled_from([0, 1, 30]))
        step = draw(
            st.sampled_from(
                ["pay", "pay", "part", "ship", "complete", "cancel", "amend", "hold", "map", "address", "freight",
                 "deposit", "after_sale", "after_sale", "drop", "cancel_line"]
            )
        )  # fmt: skip
        open_lines = [index for index, each in enumerate(lines) if each.state == "open"]
        over = status in ("completed", "cancelled")
        if step == "pay" and status == "awaiting_payment":
            status = "paid"
        elif step == "part" and status in ("paid", "allocating") and open_lines:
            index = draw(st.sampled_from(open_lines))
            if lines[index].sku:
                lines[index] = replace(lines[index], state="shipped")
                status = "allocating"
                shipped_minute = shipped_minute or minute
        elif step == "ship" and status in ("paid", "allocating"):
            lines = [replace(each, state="shipped" if each.state == "open" else each.state) for each in lines]
            status = "shipped"
            shipped_minute = shipped_minute or minute
        elif step == "complete" and status == "shipped":
            status = "completed"
        elif step == "cancel" and not over:
            status = "cancelled"
        elif step == "amend" and open_lines:
            index = draw(st.sampled_from(open_lines))
            lines[index] = replace(lines[index], quantity=draw(st.integers(1, 4)), sku=draw(drawn_sku))
        elif step == "drop" and len(open_lines) > 1:
            del lines[open_lines[0]]
        elif step == "cancel_line" and open_lines:
            lines[open_lines[0]] = replace(lines[open_lines[0]], state="cancelled")
        elif step == "map":
            lines = [replace(each, sku=each.sku or "SA") for each in lines]
        elif step == "hold":
            holds = draw(st.sampled_from([(), ("risk_review",), ("locked", "risk_review")]))
        elif step == "address":
            address = draw(st.integers(1, 3))
        elif step == "freight":
            freight = draw(st.integers(0, 900))
        elif step == "deposit" and status == "awaiting_payment":
            deposit = 50
            pay_by = draw(st.sampled_from([None, snapshot(minute=minute + 90).modified_at]))
        elif step == "after_sale":
            index = draw(st.integers(0, len(lines) - 1))
            now = lines[index].after_sale
            stage = draw(st.sampled_from(["open", "refunded", "closed", ""]))
            if now != "refunded":
                reference = draw(st.sampled_from(["", "R1", "R2"])) if stage else ""
                if now == stage == "open" and not reference:
                    reference = lines[index].after_sale_id
                lines[index] = replace(lines[index], after_sale=stage, after_sale_id=reference)
    return told


@st.composite
def deliveries(draw: st.DrawFn, history: list[Snapshot]) -> list[Snapshot]:
    """Draw the same messages in any order, each one to five times."""
    copies = [each for each in history for _ in range(draw(st.integers(1, 5)))]
    return draw(st.permutations(copies))


@given(st.data())
def test_any_order_of_delivery_ends_like_the_true_order(data: st.DataObject) -> None:
    history = data.draw(histories())
    delivered = data.draw(deliveries(history))
    note(f"in order: {[(v.status, v.modified_at.text) for v in history]}")
    assert run(delivered, ["o-1"]) == run(history, ["o-1"])


@given(st.data())
def test_several_orders_do_not_disturb_each_other(data: st.DataObject) -> None:
    numbers = ["o-1", "o-2", "o-3"]
    all_of_them = [data.draw(histories(number)) for number in numbers]
    history = [each for one in all_of_them for each in one]
    delivered = data.draw(deliveries(history))
    assert run(delivered, numbers) == run(history, numbers)
