"""Orders in texts for people: by the names that their channels know."""

import re

from domain.ids import parts_of

_ORDER_KEY = re.compile(r"\border-[\w=-]+:[\w=-]+:[\w=-]+", re.ASCII)


def orders_named(text: str) -> str:
    """Return a text with `channel:shop:number` in place of each order's key.

    Where channel or shop hold a colon the key stays: only by it can the order be given to a verb.
    """
    return _ORDER_KEY.sub(_name, text) if "order-" in text else text


def _name(found: re.Match[str]) -> str:
    channel, shop, number = parts_of(found[0])
    return found[0] if ":" in channel + shop else f"{channel}:{shop}:{number}"
