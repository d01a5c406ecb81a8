"""What stops an order: goods or an address that no longer fit, SKUs nobody knows."""

from domain.order.events import OrderReleased
from domain.order.questions import fits, held_of, live_lines, needs, spelled
from domain.order.state import Order
from domain.order.steps import Steps, intercept, release_holds, resolve_reason


def look_for_changes(steps: Steps, before: Order, now_ms: int) -> None:
    """Give allocations back that no longer fit the order; once one is picked, have people look instead."""
    state = steps.state
    allocations = state.allocations
    if not allocations:
        look_for_locks(steps)
        return
    changed = state.lines != before.lines or state.ruled is not before.ruled
    differs = changed and not fits(state)
    if not any(each.picked for each in allocations):
        if differs:
            steps.add(
                *(OrderReleased(each.id, each.warehouse, each.lines, CHANGED) for each in allocations),
                *resolve_reason(state, CHANGED, "released"),
            )
    elif differs or state.address != before.address:
        held = tuple(held_of(allocations).items())
        intercept(
            steps,
            CHANGED,
            f"the channel now wants {spelled(needs(state))}; picked are {spelled(held)}"
            + ("; the address is another" if state.address != before.address else ""),
            "check the parcel against the order; release to ship what is picked, or cancel",
            "operations",
            now_ms,
        )


def look_for_locks(steps: Steps) -> None:
    """Give the goods of a presale back where more is locked than it wants; what it wants now is locked anew."""
    state = steps.state
    holds = state.ruled.pre_holds
    if holds and state.kind == "presale":
        wanted = dict(needs(state))
        if any(units > wanted.get(sku, 0) for sku, units in held_of(holds).items()):
            steps.add(*release_holds(state, CHANGED))


CHANGED = "changed_after_allocation"
ADDRESS = "address_anomaly"


def look_for_flaws(steps: Steps, flaws: tuple[str, ...], now_ms: int) -> None:
    """Stop what no carrier could deliver; an address that was put right lifts it."""
    state = steps.state
    if not flaws:
        steps.add(*resolve_reason(state, ADDRESS, "corrected"))
    elif state.kind != "counter" and state.status in ("paid", "allocating"):
        intercept(
            steps,
            ADDRESS,
            f"of the receiver's address: {', '.join(flaws)}",
            "ask the customer and have the address corrected on the channel; release to ship to it as it is, or cancel",
            "service",
            now_ms,
        )


def look_for_risks(steps: Steps, now_ms: int) -> None:
    """Stop what cannot be fulfilled as it stands."""
    state = steps.state
    if state.kind == "counter" or state.status not in ("paid", "allocating"):
        return
    unmapped = [
        line.item or line.name for line, _ in live_lines(state) if not line.sku and line.id not in state.shipped
    ]
    if unmapped:
        intercept(
            steps,
            "unmapped_sku",
            f"channel items without a SKU: {', '.join(unmapped)[:200]}",
            "enter the SKU of these items (orderspine skus set), or on the channel, or cancel these lines",
            "operations",
            now_ms,
        )
    elif state.interceptions:
        steps.add(*resolve_reason(state, "unmapped_sku", "mapped"))
