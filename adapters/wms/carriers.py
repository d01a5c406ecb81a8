"""Qimen's codes of carriers, as `logisticsCode` has them, and ours.

The list is in the description of `logisticsCode` of `deliveryorder.create` (Taobao's documentation of Qimen; quoted by
github.com/bububa/opentaobao, `model/qimen/DeliveryOrder.go`).
"""

from collections.abc import Mapping
from typing import Final

_OURS: Final[Mapping[str, str]] = {
    "SF": "SF",
    "EMS": "EMS",
    "EYB": "EMS",
    "POSTB": "POST",
    "YTO": "YTO",
    "ZTO": "ZTO",
    "STO": "STO",
    "YUNDA": "YUNDA",
    "HTKY": "JT",
    "JD": "JD",
}


def ours(code: str, own: Mapping[str, str]) -> str:
    """Return our code of a carrier: as the settings say, else by Qimen's list, else the warehouse's word itself."""
    return own.get(code) or _OURS.get(code.upper(), code)
