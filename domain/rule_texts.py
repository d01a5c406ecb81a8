"""Texts with places in braces, such as `{units} units for {payable}`: which places there are, and what goes there."""

import re
from collections.abc import Callable, Collection, Mapping

from domain.condition_values import Scope
from domain.money import BadMoney, format_minor

TEXT_MAX = 1_000
"""Longest text, in characters."""
_SHOWN_MAX = 5
_PLACE = re.compile(r"\{([^{}]*)\}")

NOTICE_PLACES = frozenset(
    {
        "event", "label", "at", "order", "channel", "shop", "order_no", "status", "payable", "currency", "tags",
        "reason", "evidence", "advice", "role", "rule", "form", "warehouse", "sku", "units", "due", "detail",
        "amount", "short", "tracking", "carrier", "link",
    }
)  # fmt: skip
"""Places in the title and text of a notice; `domain.notices` fills them. One that an event says nothing of is empty."""


class BadText(ValueError):
    """A text with a place that there is not."""


def _money(amount: Callable[[Scope], int]) -> Callable[[Scope], str]:
    def shown(scope: Scope) -> str:
        try:
            return f"{scope.currency} {format_minor(amount(scope), scope.currency)}"
        except BadMoney:  # a currency that nobody knows the decimals of
            return f"{amount(scope)} minor units of {scope.currency}"

    return shown


def _some(words: Collection[str]) -> str:
    first = ", ".join(list(words)[:_SHOWN_MAX])
    return first + (f" and {len(words) - _SHOWN_MAX} more" if len(words) > _SHOWN_MAX else "")


EVIDENCE_PLACES: Mapping[str, Callable[[Scope], str]] = {
    "channel": lambda scope: scope.snapshot.channel,
    "shop": lambda scope: scope.snapshot.shop,
    "order_no": lambda scope: scope.snapshot.order_no,
    "status": lambda scope: scope.snapshot.status,
    "native_status": lambda scope: scope.snapshot.native_status,
    "region": lambda scope: scope.snapshot.region,
    "payable": _money(lambda scope: scope.amounts.payable),
    "paid": _money(lambda scope: scope.amounts.paid),
    "goods": _money(lambda scope: scope.amounts.goods),
    "freight": _money(lambda scope: scope.amounts.freight),
    "discount": _money(lambda scope: scope.amounts.discount),
    "units": lambda scope: str(sum(line.quantity for line in scope.lines)),
    "line_count": lambda scope: str(len(scope.lines)),
    "skus": lambda scope: _some(dict.fromkeys(line.sku or line.item for line in scope.lines)),
    "tags": lambda scope: _some(scope.tags),
    "flaws": lambda scope: _some(scope.facts.flaws),
    "holds": lambda scope: _some(scope.snapshot.holds),
}
"""Places in the evidence of an interception. None of them is personal."""


def check_places(text: str, places: Collection[str]) -> None:
    """Refuse a text that is too long, or has a place that is not among these.

    Raises:
        BadText: with the reason.
    """
    if len(text) > TEXT_MAX:
        raise BadText(f"a text has at most {TEXT_MAX:,} characters")
    for name in _PLACE.findall(text):
        if name not in places:
            raise BadText(f"there is no place {{{name}}}: there are {', '.join(sorted(places))}")
    if "{" in (rest := _PLACE.sub("", text)) or "}" in rest:
        raise BadText("a brace stands alone: places are written {units}")


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its places filled; those without a value stay empty."""
    return _PLACE.sub(lambda place: values.get(place[1], ""), text)


def evidence(text: str) -> Callable[[Scope], str]:
    """Return what fills the places of a checked text from an order."""
    if "{" not in text:
        return lambda _: text
    return lambda scope: _PLACE.sub(lambda place: EVIDENCE_PLACES[place[1]](scope), text)
