"""`wms.json` in the data directory: the warehouses that others run. It holds no secret, only where secrets are."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from adapters.platforms.connection import BadSettings, is_name, is_place
from domain.ids import BadId, checked_part

FILE: Final = "wms.json"
SECRET: Final = "secret"  # noqa: S105  the name of it
EVERY_S_MIN: Final = 60
SENDER: Final = frozenset({"name", "mobile", "province", "city", "area", "detailAddress"})


class BadWms(BadSettings):
    """`wms.json`, or a warehouse in it, means nothing: which one, and what to do."""


class WmsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One WMS."""

    name: str
    """What people and addresses call it: letters, digits, `-`, `_`; unique in the cell."""
    url: str
    """Where it is called."""
    app_key: str
    customer_id: str
    """What it calls the merchant (`customerId`)."""
    secret: str
    """Where the secret of signatures is found: `env:VARIABLE` or `file:PATH`."""
    warehouses: dict[str, str]
    """Our code of each warehouse that it serves → its own code."""
    owner_code: str
    """Whose goods they are, in its words (`ownerCode`, 货主)."""
    logistics: str = "OTHER"
    """`logisticsCode` of what is sent to it; it chooses the carrier where this is `OTHER`."""
    carriers: dict[str, str] = {}
    """Its code of a carrier → ours, where it is not one of Qimen's usual ones."""
    sender: dict[str, str] = {}
    """`senderInfo` of each delivery order, by Qimen's names; the merchant's own, not a customer's."""
    compare_every_s: int = 3600
    """How often its stock is compared with our ledger; 0 = never by itself."""
    enabled: bool = True

    def ours(self, warehouse: str) -> str | None:
        """Return our code of one of its warehouses; None where it serves none of that code."""
        return next((ours for ours, theirs in self.warehouses.items() if theirs == warehouse), None)


def parse(raw: bytes, place: str) -> tuple[WmsSettings, ...]:
    """Read the file's content.

    Raises:
        BadWms: it means nothing.
    """
    try:
        found = msgspec.json.decode(raw, type=list[WmsSettings])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadWms(f"{place}: {error}; it must be a list of warehouses (`orderspine wms add` writes it)") from error
    check(found, place)
    return tuple(found)


def check(found: Sequence[WmsSettings], place: str) -> None:
    """See that warehouses mean something, each and together.

    Raises:
        BadWms: they do not; never tells what might be a secret.
    """
    names: set[str] = set()
    served: dict[str, str] = {}
    for each in found:
        where = f"{place}: {each.name[:64]!r}"
        if not is_name(each.name):
            raise BadWms(f"{where}: a name has letters, digits, - and _ (at most 64)")
        if each.name.lower() in names:
            raise BadWms(f"{where}: there are two of this name; rename one")
        names.add(each.name.lower())
        _check_url(where, each.url)
        for field in ("app_key", "customer_id", "owner_code"):
            if not getattr(each, field).strip():
                raise BadWms(f"{where}: {field} is empty; ask the warehouse for it")
        if not is_place(each.secret):
            # Not shown: it may be the secret itself.
            raise BadWms(f"{where}: secret must say where it is found, env:VARIABLE or file:PATH, and not what it is")
        if each.compare_every_s and each.compare_every_s < EVERY_S_MIN:
            raise BadWms(f"{where}: compare_every_s is 0 or at least {EVERY_S_MIN}")
        if strange := each.sender.keys() - SENDER:
            raise BadWms(f"{where}: sender holds {', '.join(sorted(strange))}; known are {', '.join(sorted(SENDER))}")
        _check_warehouses(where, each)
        for ours in each.warehouses if each.enabled else ():
            if ours in served:
                raise BadWms(f"{where}: warehouse {ours} is served by {served[ours]} already; only one may pick there")
            served[ours] = each.name


def _check_warehouses(where: str, each: WmsSettings) -> None:
    if not each.warehouses:
        raise BadWms(f"{where}: warehouses is empty; say which it serves, our code and its own")
    try:
        for code in each.warehouses:
            checked_part(code, "warehouse code")
    except BadId as error:
        raise BadWms(f"{where}: {error}") from error
    theirs = list(each.warehouses.values())
    if not all(code.strip() for code in theirs) or len(set(theirs)) != len(theirs):
        raise BadWms(f"{where}: each warehouse needs a code of the WMS, and no two the same")


def _check_url(where: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise BadWms(f"{where}: url has no valid port") from None
    if parts.username or parts.password:
        raise BadWms(f"{where}: url holds a user or password; what is secret goes to where `secret` says")
    if not good:
        raise BadWms(f"{where}: url must be an address such as https://host/path")
