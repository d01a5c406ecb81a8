"""What the rule book says of an order, recorded as far as it is new."""

from domain.order.events import GiftsGranted, InterceptionResolved, OrderIntercepted, OrderRouted, WhenPaid
from domain.order.state import Order
from domain.order.steps import Steps, note_promise, release_holds
from domain.rulings import Ruling


def obey(steps: Steps, ruling: Ruling, flaws: tuple[str, ...], before: Order, now_ms: int) -> None:
    """Record what the rule book says, as far as it is new, and stop what a rule sees as a risk."""
    state = steps.state
    if state.kind == "counter" or state.status not in ("awaiting_payment", "paid", "allocating"):
        return
    rules = ruling.rules
    ruled = state.ruled
    kits = ruling.kits if state.lines != before.lines or not ruled.kits else ruled.kits
    buyer = ruled.buyer or ruling.buyer
    when_paid = ruled.when_paid
    if state.status == "awaiting_payment":
        follows = ruling.promise is not None or ruling.forms or flaws
        when_paid = WhenPaid(rules, ruling.promise, ruling.forms, flaws) if follows else None
    routed = (ruling.routes, kits, ruling.tags, ruling.priority, ruling.keep, ruling.lots, buyer)
    known = (ruled.routes, ruled.kits, ruled.tags, ruled.priority, ruled.keep, ruled.lots, ruled.buyer)
    within_ms = 0 if before.status else ruling.suspect_within_ms
    if routed != known or within_ms or when_paid != ruled.when_paid:
        steps.add(OrderRouted(rules, *routed, within_ms, when_paid))
    if ruling.gifts != ruled.gifts and not ruled.waived and not any(each.picked for each in state.allocations):
        steps.add(GiftsGranted(rules, ruling.gifts, ruling.savings), *release_holds(state, "gifts_changed"))
    note_promise(steps, ruling.promise, rules, now_ms)
    seen = {found.rule for found in ruling.found}
    for name, _ in state.interceptions:
        rule = name.partition(RULE_MARK)[2]
        if rule and rule not in seen:
            steps.add(InterceptionResolved(name, "no_longer"))
    for found in ruling.found:
        if found.rule not in ruled.found:
            name = f"{found.reason}-{state.digest[:12]}{RULE_MARK}{found.rule}"
            told = (found.reason, found.evidence, found.advice, found.role)
            steps.add(OrderIntercepted(name, *told, now_ms, found.rule, rules))


RULE_MARK = "@"
"""Stands in an interception's id before the rule that saw the risk."""
