"""Carriers as each platform names them: neutral code → (the platform's code, the platform's name).

Written for the simulators alone: a client that sends a code which is not here is refused, as the platform would.
"""

from collections.abc import Mapping
from typing import Final

CARRIERS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "taobao": {
        "SF": ("SF", "顺丰速运"),
        "EMS": ("EMS", "EMS"),
        "POST": ("POST", "邮政快递包裹"),
        "JD": ("JDKD", "京东快递"),
        "YTO": ("YTO", "圆通速递"),
        "ZTO": ("ZTO", "中通快递"),
        "STO": ("STO", "申通快递"),
        "YUNDA": ("YUNDA", "韵达快递"),
        "JT": ("HTKY", "极兔速递"),
        "DBL": ("DBKD", "德邦快递"),
    },
    "jd": {
        "SF": ("467", "顺丰快递"),
        "EMS": ("465", "邮政EMS"),
        "POST": ("2170", "邮政快递包裹"),
        "JD": ("2087", "京东快递"),
        "YTO": ("463", "圆通快递"),
        "ZTO": ("1499", "中通速递"),
        "STO": ("470", "申通快递"),
        "YUNDA": ("1327", "韵达快递"),
        "DBL": ("3046", "德邦快递"),
    },
    "douyin": {
        "SF": ("shunfeng", "顺丰速运"),
        "EMS": ("ems", "EMS"),
        "POST": ("youzhengguonei", "邮政快递包裹"),
        "JD": ("jd", "京东快递"),
        "YTO": ("yuantong", "圆通快递"),
        "ZTO": ("zhongtong", "中通快递"),
        "STO": ("shentong", "申通快递"),
        "YUNDA": ("yunda", "韵达快递"),
        "JT": ("jtexpress", "极兔速递"),
        "DBL": ("debangkuaidi", "德邦快递"),
    },
    "pinduoduo": {
        "SF": ("44", "顺丰快递"),
        "EMS": ("118", "邮政EMS"),
        "POST": ("132", "邮政快递包裹"),
        "JD": ("120", "京东配送"),
        "YTO": ("85", "圆通快递"),
        "ZTO": ("115", "中通快递"),
        "STO": ("1", "申通快递"),
        "YUNDA": ("121", "韵达快递"),
        "JT": ("384", "极兔速递"),
        "DBL": ("131", "德邦快递"),
    },
    "wechat_shop": {
        "SF": ("SF", "顺丰速运"),
        "EMS": ("EMS", "EMS"),
        "POST": ("YZPY", "邮政快递包裹"),
        "JD": ("JD", "京东快递"),
        "YTO": ("YTO", "圆通速递"),
        "ZTO": ("ZTO", "中通快递"),
        "STO": ("STO", "申通快递"),
        "YUNDA": ("YD", "韵达快递"),
        "JT": ("JTSD", "极兔速递"),
        "DBL": ("DBL", "德邦快递"),
    },
    "shopify": {
        "SF": ("SF Express", "SF Express"),
        "EMS": ("China Post EMS", "China Post EMS"),
        "POST": ("China Post", "China Post"),
        "YTO": ("YTO Express", "YTO Express"),
        "DHL": ("DHL", "DHL"),
        "UPS": ("UPS", "UPS"),
        "FEDEX": ("FedEx", "FedEx"),
    },
}


def native(channel: str, carrier: str) -> tuple[str, str]:
    """Return a platform's code and name of a carrier; its own text where the platform has no table."""
    return CARRIERS.get(channel, {}).get(carrier, (carrier, carrier))


def neutral(channel: str, code: str) -> str | None:
    """Return the neutral code of a platform's own, None where the platform knows no such carrier."""
    for carrier, (own, _) in CARRIERS[channel].items():
        if own == code:
            return carrier
    return None
