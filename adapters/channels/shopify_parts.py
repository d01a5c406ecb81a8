"""What all parts of a Shopify order share: notes of names and values, discounts' shares, taxes, double amounts."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from adapters.channels.json_fields import keep
from adapters.channels.json_money import amount_of
from adapters.channels.shopify_fields import NOTES, TAX, AllocationFields, OrderFields, TaxFields
from domain.timehub import TimeReader

EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})
_MONEY: Final = frozenset({"amount", "currency_code"})
_SET: Final = frozenset({"shop_money", "presentment_money"})
_NOTHING: Final = frozenset("0.")


class Context(NamedTuple):
    """What the parts of one order share while it is translated."""

    raw: bytes
    order: OrderFields
    currency: str
    times: TimeReader
    unknown: dict[str, dict[str, Any]]
    """Unknown fields, by path."""
    of_lines: dict[str, dict[str, Any]]
    """Sealed fields of lines, by line id."""
    wrong: list[dict[str, Any]]
    """Sum rules that do not hold."""
    attributes: dict[str, Any]
    sealed: dict[str, Any]

    def amount(self, value: object, name: str, where: str = "", *, signed: bool = False) -> int | None:
        """Read an amount in the shop's currency."""
        return amount_of(value, self.currency, name, where, signed=signed)

    def notes(self, value: object, where: str, declared: dict[str, Any], sealed: dict[str, Any]) -> bool:
        """Keep names and values that the shop, an app or the customer wrote; tell whether any may be a person's.

        What `NOTES` names is declared; where there is anything else, the whole is sealed.
        """
        strange = value not in EMPTY and not isinstance(value, (list, dict))
        pairs = list(beside(value))
        for name, told in pairs:
            if name in NOTES and isinstance(told, (str, int)):
                declared[NOTES[name]] = told
            else:
                strange = True
        if isinstance(value, list) and len(pairs) != len(value):
            strange = True
        if strange:
            sealed[where.rpartition(".")[2]] = keep(value, where)
        return strange and any(name not in NOTES and not name.startswith("_") for name, _ in pairs)


def beside(value: object) -> Iterator[tuple[str, Any]]:
    """Return the names and values of properties: a list of them, or an object."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, dict) and isinstance(one.get("name"), str) and set(one) <= {"name", "value"}:
                yield one["name"], one.get("value")


def text_of(value: object) -> str | None:
    """Return a number as the text it is."""
    return None if value is None else str(value)


def allocations(
    context: Context, found: list[AllocationFields] | None, where: str, declared: dict[str, Any]
) -> int | None:
    """Add up the shares of discounts and keep which is of which; None where there are none."""
    if not found:
        return None
    off = 0
    native = []
    for place, fields in enumerate(found):
        inner = f"{where}.discount_allocations[{place}]"
        off += context.amount(fields.amount, "amount", inner) or 0
        one = {"amount": fields.amount, "discount_application_index": fields.discount_application_index}
        keep_set(context, fields.amount_set, "amount_set", fields.amount, (one, context.sealed), inner)
        native.append(one)
    declared["discount_allocations"] = native
    return off


def taxes(context: Context, found: list[TaxFields] | None, where: str, declared: dict[str, Any]) -> None:
    """Keep which tax is how much."""
    if not found:
        return
    native = []
    for place, fields in enumerate(found):
        inner = f"{where}[{place}]"
        context.amount(fields.price, "price", inner)
        one = {**TAX.declared(fields), "price": fields.price, "rate": text_of(fields.rate)}
        keep_set(context, fields.price_set, "price_set", fields.price, (one, context.sealed), inner)
        native.append(one)
    declared["tax_lines"] = native


def keep_set(
    context: Context, value: Any, name: str, plain: object, into: tuple[dict[str, Any], dict[str, Any]], where: str
) -> None:
    """Keep an amount told in two currencies where it says more than the plain field; what is none is sealed."""
    if value in EMPTY:
        return
    declared, sealed = into
    if not _is_set(value):
        sealed[f"{where}.{name}" if where and sealed is context.sealed else name] = keep(value, where)
        return
    for one in value.values():
        said = one["amount"] == str(plain) if plain is not None else set(one["amount"]) <= _NOTHING
        if not said or one["currency_code"] != context.currency:
            declared[name] = value
            return


def _is_set(value: Any) -> bool:
    """Tell whether this is an amount in two currencies and nothing else: then it may be shown to anyone."""
    return (
        isinstance(value, dict)
        and value.keys() <= _SET
        and all(
            isinstance(one, dict) and one.keys() == _MONEY and all(isinstance(text, str) for text in one.values())
            for one in value.values()
        )
    )
