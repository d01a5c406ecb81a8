"""How a till writes its tables, as people say it in a mapping's `[template]`: what a file itself does not tell."""

from typing import Literal

import msgspec


class BadTill(ValueError):
    """A template that cannot be used: which key of it, and what is wrong."""

    def __init__(self, reason: str, *where: str) -> None:
        """Keep both."""
        super().__init__(reason)
        self.reason = reason
        self.where = where


class Till(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A template. What it leaves out is as the channel has it."""

    columns: dict[str, str] = {}
    """Name in the file → meaning; "" = none: the column is kept, sealed."""
    words: dict[str, str] = {}
    """Word of a kind, state or delivery column → what it says."""
    receipt_numbers_unique: bool | None = None
    """Receipt numbers never come again in a store: order numbers then have no date before them."""
    sums_checked: bool | None = None
    """Whether receipts are refused whose money does not add up, or of which lines are missing."""
    zone: str = ""
    """Zone of the till's clock: fixed offset or IANA name."""
    date_order: Literal["dmy", "mdy"] | None = None
    """How `11/12/2026` is meant."""
    fold: Literal["earlier", "later"] | None = None
    """Which hour is meant of the one that comes twice when clocks go back; without it such a row is refused."""
    currency: str = ""
    encoding: str = ""
    """Of the files; "" = each file tells it."""
    separator: str = ""
    """Between cells; "" = each file tells it."""
