"""Money as whole minor units (fen, cents) with its currency beside it; never a float, never rounded.

The unit of an amount belongs to its field, not to its channel: say `unit="fen"` where the source counts minor units.
"""

import re
from decimal import Decimal
from typing import Final, Literal

Unit = Literal["yuan", "fen"]
"""What one of a field's numbers counts: major units (yuan, dollars) or minor ones (fen, cents)."""

AMOUNT_MAX: Final = 10**13
"""Largest amount taken, in minor units (100 thousand million yuan): more is a wrong unit or a broken source."""

MINOR_DIGITS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("AED", "ARS", "AUD", "BGN", "BRL", "CAD", "CHF", "CNY", "COP", "CZK", "DKK", "EGP", "EUR"), 2),
    **dict.fromkeys(("GBP", "HKD", "HUF", "IDR", "ILS", "INR", "KES", "KZT", "MAD", "MOP", "MXN", "MYR", "NGN"), 2),
    **dict.fromkeys(("NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RUB", "SAR", "SEK", "SGD", "THB"), 2),
    **dict.fromkeys(("TRY", "TWD", "UAH", "USD", "UZS", "ZAR"), 2),
}
"""Digits behind the point by ISO 4217 code. A currency that is not here is refused, not taken for two digits."""

_PLAIN_MAX: Final = 14
_SIGNS: Final = str.maketrans({"，": ",", "－": "-", "−": "-", "（": "(", "）": ")", "￥": "¥", "\u00a0": " "})
_TEXT: Final = re.compile(
    r"(?P<open>\()?\s*(?P<sign>[+-])?\s*(?:¥|RMB|\$|€|£|[A-Z]{3})?\s*(?P<sign2>[+-])?\s*"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.(?P<part>[0-9]+))?\s*(?:元|圆|[A-Z]{3})?\s*(?P<close>\))?"
)
_CODE: Final = re.compile(r"[A-Z]{3}|[$€£¥元圆]")
_SIGN_OF: Final = {
    "¥": ("CNY", "JPY"),
    "元": ("CNY", "HKD", "TWD"),
    "圆": ("CNY", "JPY"),
    "RMB": ("CNY",),
    "€": ("EUR",),
    "£": ("GBP", "EGP"),
    "$": ("USD", "AUD", "CAD", "HKD", "MXN", "NZD", "SGD", "TWD", "BRL", "ARS", "CLP", "COP"),
}
_TEXT_MAX: Final = 40


class BadMoney(ValueError):
    """An amount that cannot be told, and is not guessed. The message says which text and why."""


def minor(value: object, currency: str = "CNY", unit: Unit = "yuan") -> int:
    """Return an amount in minor units of `currency`.

    Takes text (`329`, `1,329.00`, `¥329.00`, `329.00元`, `-59.00`, `(59.00)` which is negative too), int, Decimal and
    such floats as say exactly a decimal of the currency.

    Raises:
        BadMoney: it is no amount, has more decimals than the currency, is absurdly large, or the currency is unknown.
    """
    if type(value) is str:
        if currency == "CNY" and unit == "yuan" and value[-3:-2] == "." and len(value) <= _PLAIN_MAX:
            digits = value[:-3] + value[-2:]  # the usual `123.45`, without building a Decimal
            if digits.isdigit() and digits.isascii() and len(digits) > 2:  # noqa: PLR2004
                return int(digits)
        if unit == "fen" and "." in value:
            raise BadMoney(f"{value[:_TEXT_MAX]!r} has more decimals than fen: it looks like an amount in yuan")
        return _scaled(_number(value, currency), value, currency, unit)
    if type(value) is int:
        amount = value if unit == "fen" else value * 10 ** digits_of(currency)
        if -AMOUNT_MAX <= amount <= AMOUNT_MAX:
            return amount
        raise BadMoney(f"{str(value)[:_TEXT_MAX]} is too large for an amount of money")
    if isinstance(value, Decimal):
        return _scaled(value, str(value), currency, unit)
    if isinstance(value, float):
        return _scaled(Decimal(repr(value)), repr(value), currency, unit)
    raise BadMoney(f"a {type(value).__name__} is no amount of money")


def format_minor(amount: int, currency: str) -> str:
    """Write an amount for people and files, e.g. `1329.00` for 132900 CNY, `500` for 500 JPY.

    Raises:
        BadMoney: the currency is unknown.
    """
    digits = digits_of(currency)
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    if digits == 0:
        return f"{sign}{amount}"
    whole, part = divmod(amount, 10**digits)
    return f"{sign}{whole}.{part:0{digits}d}"


def digits_of(currency: str) -> int:
    """Return how many decimals a currency has.

    Raises:
        BadMoney: the currency is unknown.
    """
    digits = MINOR_DIGITS.get(currency)
    if digits is None:
        raise BadMoney(f"the currency {currency[:_TEXT_MAX]!r} is unknown")
    return digits


def _number(text: str, currency: str) -> Decimal:
    """Read an amount as people and exports write it."""
    match = _TEXT.fullmatch(text.strip().translate(_SIGNS)) if len(text) <= _TEXT_MAX else None
    whole, part = (match["whole"], match["part"]) if match else (None, None)
    if match is None or (whole is None and part is None) or bool(match["open"]) != bool(match["close"]):
        raise BadMoney(f"{text[:_TEXT_MAX]!r} is no amount of money")
    signs = [sign for sign in (match["sign"], match["sign2"]) if sign]
    if len(signs) + bool(match["open"]) > 1:
        raise BadMoney(f"{text!r} has more than one sign")
    for named in _CODE.findall(match[0]):
        if currency not in _SIGN_OF.get(named, (named,)):
            raise BadMoney(f"{text!r} is not an amount in {currency}")
    number = Decimal(f"{(whole or '0').replace(',', '')}.{part or '0'}")
    return -number if match["open"] or "-" in signs else number


def _scaled(number: Decimal, text: str, currency: str, unit: Unit) -> int:
    """Return the whole number of minor units that `number` is, without ever rounding."""
    digits = 0 if unit == "fen" else digits_of(currency)
    if not number.is_finite():
        raise BadMoney(f"{text[:_TEXT_MAX]} is no amount of money")
    if not number:
        return 0
    if number.adjusted() > 15:  # noqa: PLR2004 -- before `int` makes a huge number of `1E+999999`
        raise BadMoney(f"{text[:_TEXT_MAX]} is too large for an amount of money")
    exponent = int(number.as_tuple().exponent)
    if exponent < -digits - _TEXT_MAX:
        raise BadMoney(f"{text[:_TEXT_MAX]} has more decimals than {currency} in {unit}")
    whole, parts = number.as_integer_ratio()
    amount: int
    amount, lost = divmod(whole * 10**digits, parts)
    if lost:
        raise BadMoney(f"{text[:_TEXT_MAX]} has more decimals than {currency} in {unit}")
    if not -AMOUNT_MAX <= amount <= AMOUNT_MAX:
        raise BadMoney(f"{text[:_TEXT_MAX]} is too large for an amount of money")
    return amount
