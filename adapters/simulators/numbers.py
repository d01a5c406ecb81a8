"""Numbers in each platform's own form: orders, items. The same input always gives the same number."""

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from adapters.simulators.texts import wall

CHANNELS: Final = ("taobao", "jd", "douyin", "pinduoduo", "wechat_shop", "shopify", "miniprogram", "generic")


def order_no(channel: str, seq: int, at_ms: int) -> str:
    """Return the number of the `seq`-th order of a channel, which was ordered at `at_ms`.

    Raises:
        ValueError: there is no such channel.
    """
    day = wall(at_ms)[:10].replace("-", "")
    match channel:
        case "taobao":  # 19 digits; the lines' ids lie 10^9 apart behind it
            return str(2_960_000_000_000_012_345 + seq * 10**11)
        case "jd":
            return str(301_000_000_000 + seq)
        case "douyin":  # 19 digits; the lines' ids follow
            return str(6_937_000_000_000_000_000 + seq * 1_000)
        case "pinduoduo":
            return f"{day[2:]}-{481_803_600_000_000 + seq}"
        case "wechat_shop":
            return str(3_737_000_000_000_000_000 + seq)
        case "shopify":
            return str(5_940_000_000_000 + seq)
        case "miniprogram":
            return f"MP{day}{seq:06d}"
        case "generic":
            return f"W{day}-{seq:06d}"
    raise ValueError(f"no channel {channel!r}: {', '.join(CHANNELS)}")


@lru_cache(maxsize=65_536)
def number_of(kind: str, text: str, digits: int) -> int:
    """Return a number of exactly so many digits that stands for a text."""
    least: int = 10 ** (digits - 1)
    return least + int.from_bytes(blake2b(f"{kind}:{text}".encode(), digest_size=8).digest(), "big") % (9 * least)


@lru_cache(maxsize=65_536)
def token_of(kind: str, text: str, size: int = 24) -> str:
    """Return a text of lower-case hex digits that stands for another."""
    return blake2b(f"{kind}:{text}".encode(), digest_size=32).hexdigest()[:size]
