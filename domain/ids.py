"""Stream keys and their encoding.

An actor's key is also its stream: `<kind>-<part>[:<part>…]`, for example `order-taobao:shop1:2231958349`.
Parts come from outside (a channel's order number may hold dots, blanks, `*`, `>` or any script), so each is encoded:
ASCII letters, digits, `_` and `-` stay, every other byte of the UTF-8 text becomes `=XX` (upper-case hex). The result
is safe in a NATS subject token, in a KV key and in a file name, and decodes to exactly the text that went in.
"""

import re
from functools import lru_cache

PART_BYTES_MAX = 200
"""Longest id from outside, in UTF-8 bytes. Longer ids are refused: no platform has them, and a subject has limits."""

KEY_LENGTH_MAX = 2_000
"""Longest key: three parts of `PART_BYTES_MAX` bytes, each byte encoded. Indexes and subjects have limits, too."""

_KEY = re.compile(r"[a-z]+-[A-Za-z0-9_=-]+(?::[A-Za-z0-9_=-]+)*")
_SAFE = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPE = re.compile(r"=([0-9A-F]{2})")


class BadId(ValueError):
    """An id from outside that cannot name an actor: empty, blank or too long. The message says which."""


def encode_id(text: str) -> str:
    """Encode one id for use in keys, subjects and KV keys."""
    if _SAFE.fullmatch(text):
        return text
    raw = text.encode("utf-8", "surrogatepass").decode("latin-1")
    return _UNSAFE.sub(lambda m: f"={ord(m[0]):02X}", raw)


def decode_id(encoded: str) -> str:
    """Give back the text that `encode_id` was given."""
    if "=" not in encoded:
        return encoded
    raw = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), encoded).encode("latin-1")
    return raw.decode("utf-8", "surrogatepass")


def checked_part(text: str, what: str) -> str:
    """Return `text` if it can be part of a key.

    Raises:
        BadId: it is empty, only white space, or longer than `PART_BYTES_MAX` bytes.
    """
    if not text or not text.strip():
        raise BadId(f"{what} is empty; an order cannot be told apart without it")
    if len(text) * 4 > PART_BYTES_MAX and len(text.encode("utf-8", "surrogatepass")) > PART_BYTES_MAX:
        raise BadId(f"{what} is longer than {PART_BYTES_MAX} bytes: {text[:40]!r}…")
    return text


def order_key(channel: str, shop: str, order_no: str) -> str:
    """Key of an order's actor. Identity is (channel, shop, channel order no), never guessed.

    Raises:
        BadId: a part is empty, blank or too long.
    """
    return (
        f"order-{encode_id(checked_part(channel, 'channel'))}"
        f":{encode_id(checked_part(shop, 'shop'))}:{encode_id(checked_part(order_no, 'order number'))}"
    )


@lru_cache(maxsize=1024)
def intake_key(channel: str, shop: str) -> str:
    """Key of the actor that records what came in on a channel and could not be told to be an order's."""
    return f"intake-{encode_id(channel or 'unknown')}:{encode_id(shop or 'unknown')}"


@lru_cache(maxsize=1024)
def warehouse_key(code: str) -> str:
    """Key of a warehouse's stock ledger."""
    return f"warehouse-{encode_id(checked_part(code, 'warehouse code'))}"


@lru_cache(maxsize=1024)
def warehouse_of(key: str) -> str:
    """Return the code of the warehouse whose stock ledger has this key."""
    return parts_of(key)[0]


@lru_cache(maxsize=1024)
def mapping_key(channel: str) -> str:
    """Key of a channel's field mapping.

    Raises:
        BadId: the name is empty, blank or too long.
    """
    return f"mapping-{encode_id(checked_part(channel, 'channel'))}"


@lru_cache(maxsize=1024)
def skus_key(channel: str, shop: str) -> str:
    """Key of the table that says which SKUs the items of a channel's shop are.

    Raises:
        BadId: a part is empty, blank or too long.
    """
    return f"skus-{encode_id(checked_part(channel, 'channel'))}:{encode_id(checked_part(shop, 'shop'))}"


def skus_key_of(order: str) -> str:
    """Key of the table of SKUs that an order's channel and shop go by."""
    return f"skus-{order[order.index('-') + 1 : order.rindex(':')]}"


RULEBOOK_KEY = "rulebook-main"
"""Key of the cell's rule book."""


def buyer_of(channel: str, customer: str) -> str:
    """Return the name of a buyer: the channel that knows him, and the keyed digest of its id of him.

    Raises:
        BadId: a part is empty, blank or too long.
    """
    return f"{encode_id(checked_part(channel, 'channel'))}:{encode_id(checked_part(customer, 'customer'))}"


def trail_key(buyer: str) -> str:
    """Key of what a buyer (`buyer_of`) has ordered of late."""
    return f"trail-{buyer}"


def finance_key(channel: str, shop: str, day: str = "") -> str:
    """Key of what is known of a shop's money: of the statements of a day (YYYY-MM-DD), or (without) what differs.

    Raises:
        BadId: a part is empty, blank or too long.
    """
    parts = (checked_part(channel, "channel"), checked_part(shop, "shop"), *((day,) if day else ()))
    return "finance-" + ":".join(encode_id(part) for part in parts)


BUYERS_KEY = "buyers-main"
"""Key of what is agreed with buyers."""
VIEWS_KEY = "views-main"
"""Key of the actor that records whether the views show what the log says."""
BARCODES_KEY = "goods-main"
"""Key of the actor that knows which SKU a barcode is of."""
PRIVACY_KEY = "privacy-main"
"""Key of who asked that a person be forgotten, or what is held of him."""
CELL_KEY = "cell-main"
"""Key of the actor that records what befalls the cell itself (lost mail, a broker that was reset)."""


_PARTS = {"order": (3,), "intake": (2,), "skus": (2,), "trail": (2,), "finance": (2, 3)}
"""How many parts the keys of a kind have; one where it is not named."""
OF_CHANNELS = frozenset({"order", "intake", "mapping", "skus", "trail", "finance"})
"""Kinds of actors whose key begins with a channel."""


def is_key(text: str) -> bool:
    """Whether a text is a key as this module makes them: a kind, a dash, all its parts, each as it is encoded.

    Whoever reads the log takes keys apart, so another spelling of a key is none: it would be another actor, or no text.
    """
    if len(text) > KEY_LENGTH_MAX or _KEY.fullmatch(text) is None:
        return False
    if text.count(":") + 1 not in _PARTS.get(kind_of(text), (1,)):
        return False
    return "=" not in text or _is_exact(text)


def _is_exact(key: str) -> bool:
    """Whether the parts of a key are encoded as `encode_id` does it."""
    try:
        parts = parts_of(key)
    except UnicodeDecodeError:
        return False
    return key[key.index("-") + 1 :] == ":".join(map(encode_id, parts))


def kind_of(key: str) -> str:
    """Return the kind of an actor: what stands before the first dash of its key."""
    return key[: key.index("-")]


def parts_of(key: str) -> tuple[str, ...]:
    """Return the decoded parts of a key, without its kind."""
    return tuple([decode_id(part) for part in key[key.index("-") + 1 :].split(":")])


def token_of(key: str) -> str:
    """Return the part of a key behind its kind as ONE token for subjects and KV keys (`:` and `=` encoded again)."""
    return encode_id(key[key.index("-") + 1 :])
