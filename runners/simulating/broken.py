"""What goes wrong on the way from a channel: cut-off bytes, words nobody knows, numbers a spreadsheet destroyed."""

import random
from collections.abc import Sequence
from typing import Final, Literal

from domain.time_units import HOUR_MS, MINUTE_MS
from runners.simulating.wire_time import wall

Oddity = tuple[int, str, str, bytes, Literal["json", "table", ""]]
"""When, whose, which shop, what, and what it claims to be."""

_CUT: Final = b'{"trade_fullinfo_get_response":{"trade":{"tid":2848326700001009999,"status":"WAIT_SEL'
_STRANGE: Final = b'{"orderNo":"WX-77","total":"12.00"}'


def oddities(rng: random.Random, orders: int, begin_ms: int, channels: Sequence[str]) -> list[Oddity]:
    """Return a few inputs of the day that are no orders, or not to be understood."""
    found: list[Oddity] = []

    def at() -> int:
        return begin_ms + HOUR_MS + rng.randrange(22 * HOUR_MS)

    for number in range(1 + orders // 700):
        place = str(number).encode()
        found.append((at(), "", "", _STRANGE.replace(b"77", place), "json"))
        if "taobao" in channels:
            found.append((at(), "taobao", "五金旗舰店", _CUT + place, "json"))
            found.append((at(), "taobao", "五金旗舰店", _hint(number, at()), "json"))
        if "pos" in channels:
            found.append((at(), "pos", "", _destroyed(number, begin_ms), "table"))
    return found


def unknown_status(raw: bytes) -> bytes:
    """Return the payload with a status that no table knows."""
    for known, strange in (
        (b'"WAIT_SELLER_SEND_GOODS"', b'"WAIT_SELLER_SEND_LATER"'),
        (b'"order_status":2', b'"order_status":777'),
    ):
        raw = raw.replace(known, strange)
    return raw


def _hint(number: int, at_ms: int) -> bytes:
    content = f'{{\\"tid\\":28483267000010{number:05d},\\"status\\":\\"WAIT_SELLER_SEND_GOODS\\"}}'
    published = wall(at_ms + MINUTE_MS)
    text = f'{{"id":{number},"topic":"taobao_trade_TradeBuyerPay","content":"{content}","pub_time":"{published}"}}'
    return text.encode()


def _destroyed(number: int, begin_ms: int) -> bytes:
    header = "小票号,门店编号,销售时间,商品编码,数量,单价,小计,实收金额"
    row = f"2.0261{number}E+15,S01,{wall(begin_ms)},BIT-01,1,59.00,59.00,59.00"
    return f"{header}\r\n{row}\r\n".encode("utf-8-sig")
