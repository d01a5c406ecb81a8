"""Carriers: our codes, what people call them, and each platform's own code."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from domain.platforms import PlatformRefused


class Carrier(NamedTuple):
    """A carrier, by our code."""

    name: str
    """In Chinese, as on labels."""
    english: str


CARRIERS: Final[Mapping[str, Carrier]] = {
    "SF": Carrier("顺丰速运", "SF Express"),
    "EMS": Carrier("EMS", "China Post EMS"),
    "POST": Carrier("邮政快递包裹", "China Post"),
    "JD": Carrier("京东快递", "JD Logistics"),
    "YTO": Carrier("圆通速递", "YTO Express"),
    "ZTO": Carrier("中通快递", "ZTO Express"),
    "STO": Carrier("申通快递", "STO Express"),
    "YUNDA": Carrier("韵达快递", "Yunda Express"),
    "JT": Carrier("极兔速递", "J&T Express"),
    "DBL": Carrier("德邦快递", "Deppon"),
    "DHL": Carrier("DHL", "DHL"),
    "UPS": Carrier("UPS", "UPS"),
    "FEDEX": Carrier("FedEx", "FedEx"),
}
"""The usual ones. A merchant adds others as the option `carrier.CODE` of a connection."""


def platform_code(code: str, table: Mapping[str, str], options: Mapping[str, str]) -> str:
    """Return the platform's own code of a carrier: the connection's option first, then the platform's table.

    Raises:
        PlatformRefused: neither knows it.
    """
    found = options.get(f"carrier.{code}") or table.get(code)
    if not found:
        raise PlatformRefused(
            f"the platform's code of carrier {code!r} is not known",
            f"add the option carrier.{code} to the connection, with the code the platform uses",
            code="unknown-carrier",
        )
    return found
