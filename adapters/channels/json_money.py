"""Reading amounts that may be in any currency: each has its own number of decimals (JPY none, KWD three)."""

from functools import lru_cache
from typing import Final

from adapters.channels.json_fields import FEN_MAX, path
from domain.canonical import TranslationError
from domain.money import BadMoney, Unit, digits_of, minor

_SHOWN_MAX: Final = 60
_texts: Final = lru_cache(maxsize=65_536)(minor)


def currency_of(value: object, name: str, where: str = "") -> str:
    """Return an ISO 4217 code whose decimals are known.

    Raises:
        TranslationError: it is none; the number of decimals is never guessed.
    """
    try:
        digits_of(code := str(value or ""))
    except BadMoney as error:
        raise TranslationError(str(error), path(where, name), "use the ISO 4217 code, such as CNY") from None
    return code


def amount_of(
    value: object, currency: str, name: str, where: str = "", *, unit: Unit = "yuan", signed: bool = False
) -> int | None:
    """Return an amount in minor units of `currency`; None where it is absent. Only a `signed` one may be negative.

    `unit` says what the field counts: "yuan" the currency's major unit, "fen" its minor one.

    Raises:
        TranslationError: it is no amount, has more decimals than the currency, or none that an order can have.
    """
    if value is None or value == "":
        return None
    try:
        amount = _texts(value, currency, unit) if type(value) is str else minor(value, currency, unit)
    except BadMoney as error:
        raise TranslationError(str(error), path(where, name), f"an amount in {currency} belongs here") from None
    if (-FEN_MAX if signed else 0) <= amount <= FEN_MAX:
        return amount
    reason = "is negative" if amount < 0 else "is absurdly large for an order"
    raise TranslationError(f"{str(value)[:_SHOWN_MAX]} {reason}", path(where, name), "correct it at its source")


def total_of(price: int, quantity: int, name: str, where: str) -> int:
    """Return price times quantity, in minor units.

    Raises:
        TranslationError: it is more than an order can have.
    """
    if price * quantity > FEN_MAX:
        reason = f"{quantity} times the price is absurdly much"
        raise TranslationError(reason, path(where, name), "correct price or quantity at their source")
    return price * quantity
