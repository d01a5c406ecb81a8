"""Faults that a simulated day can hold: what each is, what must stop the order, who must hear of it, and how many."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

APPROVAL: Final = "approval"
"""Stands for the stop of an order that somebody must approve."""
QUARANTINE: Final = "quarantined"
"""Stands for the stop of an order with a message that nobody could handle."""


class Kind(NamedTuple):
    """A kind of fault."""

    reason: str
    """What the order must be stopped for; "" = it must go on without anybody."""
    role: str
    """Who must be told."""
    what: str
    """For people."""


KINDS: Final[Mapping[str, Kind]] = {
    "short_stock": Kind("stock_short", "operations", "goods that no warehouse has"),
    "short_gift": Kind("gift_short", "operations", "a gift that no warehouse has"),
    "bad_address": Kind("address_anomaly", "service", "no name, no phone, half a phone, or no street"),
    "changed_address": Kind("changed_after_allocation", "operations", "another address once the goods are picked"),
    "late_payment": Kind("payment_timeout", "service", "paid some time after its deadline"),
    "missing_payment": Kind("payment_timeout", "service", "never paid"),
    "wrong_payment": Kind("amount_mismatch", "finance", "the payment service tells of less than is owed"),
    "wrong_sum": Kind("wrong_sum", "finance", "the lines do not come to what is to be paid"),
    "unmapped_sku": Kind("unmapped_sku", "operations", "an item that nobody has entered yet"),
    "placed_twice": Kind("suspected_duplicate", "service", "the same goods, by the same buyer, once more"),
    "unknown_status": Kind(QUARANTINE, "operations", "a status that no table knows"),
    "overdue_promise": Kind("overdue_promise", "operations", "nobody has packed it in the promised time"),
    "late_presale": Kind("presale_overdue", "operations", "presold goods that come late"),
    "many_units": Kind("large_quantity", "service", "more units than anybody orders"),
    "large_amount": Kind(APPROVAL, "finance", "an amount that finance must approve"),
    "refusing_target": Kind("effect_failed", "operations", "the shop refuses the ship notice"),
    "dead_target": Kind("", "", "the shop does not answer for a while"),
    "slow_target": Kind("", "", "the shop takes seconds for each answer"),
}
ALL_SHARE: Final = 0.02
"""Part of the orders that each kind befalls, where kinds are named or all are asked for."""
REFERENCE: Final[Mapping[str, float]] = {
    "late_payment": 0.010,
    "bad_address": 0.001,
    "short_stock": 0.001,
    "missing_payment": 0.001,
    "placed_twice": 0.001,
    "large_amount": 0.001,
    "unmapped_sku": 0.0005,
    "changed_address": 0.0005,
    "wrong_payment": 0.0005,
    "dead_target": 0.010,
    "slow_target": 0.010,
}
"""The reference day: faults as a merchant with orderly stock and tables has them. About one order in two hundred
needs a person; deadlines that are missed by minutes and shops that are away for a while need none."""


class BadKinds(ValueError):
    """A kind of fault that there is not."""


def shares_of(words: str) -> Mapping[str, float]:
    """Return kind → part of the orders, from `all`, `reference`, or kinds with commas between.

    Raises:
        BadKinds: there is no such kind.
    """
    if words == "reference":
        return REFERENCE
    names: Sequence[str] = list(KINDS) if words == "all" else [word.strip() for word in words.split(",")]
    unknown = sorted(set(names) - KINDS.keys())
    if unknown:
        raise BadKinds(f"no fault {', '.join(unknown)}; there are all, reference, {', '.join(KINDS)}")
    return dict.fromkeys(names, ALL_SHARE)


BOOK: Final = """\
# The rule book of simulated days with faults.
format = 1
note = "simulated faults"

[[warehouse]]
code = "A"
[[warehouse]]
code = "B"

[[promotion]]
id = "gloves"
over = "CNY(299)"
gift = { sku = "SIM-GLOVES", units = 1 }

[[promotion]]
id = "scarf"
when = 'attr("campaign") == "scarf"'
over = 1
gift = { sku = "SIM-SCARF", units = 1 }

[[intercept]]
id = "many-units"
when = "units > 200"
reason = "large_quantity"
evidence = "{units} units of {skus}"
advice = "ask the customer whether the quantity is meant, then release or cancel"
role = "service"

[[intercept]]
id = "wrong-sum"
when = 'not (attr("amount_mismatch") == None)'
reason = "wrong_sum"
evidence = "{goods} of goods, {freight} of freight, {discount} off: {payable} is to be paid"
advice = "have the amounts put right on the channel, or release to take them as they are"
role = "finance"

[[duplicate]]
id = "same-again"
within = "30m"

[[promise]]
id = "half-a-day"
ship_within = "12h"

[[approve]]
id = "large-amount"
when = "payable > CNY(5000)"
form = "large_amount"
role = "finance"

[[notify]]
id = "approval-asked"
on = ["order.approval_requested"]
to = ["finance"]
title = "审批 To approve: {order_no}"
text = "{form} of {payable}"
"""
PROMISED_MS: Final = 12 * 3_600_000
"""What `half-a-day` promises."""
