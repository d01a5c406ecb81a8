"""The event catalogue for people, written from the code: `python -m runners.docs_events` prints docs/events.md.

`--write` puts it into its place. Meanings are docstrings, so a page that is current cannot say anything else than the
code does; `make docs` writes it, and a test compares.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from domain import canonical, finance, order, rulings, stock, tracking, views
from domain.catalogue import TYPES, UPCASTS
from domain.envelope import By, Envelope
from domain.time_units import DAY_MS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "events.md"

_AXES: Final[dict[str, str]] = {
    **dict.fromkeys(("received", "normalized", "amended", "repeated", "outdated", "skus_mapped"), "channel's view"),
    **dict.fromkeys(("paid", "deposit_paid", "completed", "cancelled", "lines_cancelled"), "fulfilment"),
    **dict.fromkeys(("reserved", "released", "reservation_failed", "pick_list_issued", "picked"), "fulfilment"),
    **dict.fromkeys(("item_scanned", "item_unscanned", "pick_error"), "picking"),
    **dict.fromkeys(("routed", "promised", "allocated", "processed", "lots_recorded"), "fulfilment"),
    **dict.fromkeys(("gifts_granted", "gift_pre_reserved", "gifts_waived"), "gifts"),
    **dict.fromkeys(("presale_locked", "presale_arrived"), "fulfilment"),
    "delivery_confirmed": "fulfilment",
    **dict.fromkeys(("partially_shipped", "shipped"), "fulfilment"),
    **dict.fromkeys(("after_sale_opened", "after_sale_closed", "refunded"), "after-sale"),
    **dict.fromkeys(("after_sale_matched", "after_sale_approved", "after_sale_declined"), "after-sale"),
    **dict.fromkeys(("return_announced", "return_received"), "after-sale"),
    **dict.fromkeys(("replacement_asked", "replacement_reserved", "replacement_short"), "after-sale"),
    **dict.fromkeys(("replacement_picked", "replacement_shipped", "replacement_released"), "after-sale"),
    **dict.fromkeys(("intercepted", "resolved"), "hold"),
    **dict.fromkeys(("refused", "quarantined", "queued_behind", "queue_released"), "messages"),
    **dict.fromkeys(("effect_succeeded", "effect_failed"), "effects"),
    **dict.fromkeys(("tracked", "delivered", "delivery_failed"), "delivery"),
    **dict.fromkeys(("payment_recorded", "payment_failed"), "payments"),
    **dict.fromkeys(("service_opened", "service_scheduled", "service_done", "service_cancelled"), "service"),
    **dict.fromkeys(("approval_requested", "approved", "rejected"), "hold"),
    **dict.fromkeys(("approval_escalated", "approval_withdrawn"), "hold"),
    **dict.fromkeys(("document_attached", "document_detached"), "documents"),
    **dict.fromkeys(("commented", "mentions_read"), "talk"),
    **dict.fromkeys(("complained", "complaint_closed", "enquired"), "customer"),
    **dict.fromkeys(("timer_set", "timer_cleared"), "timers"),
    **dict.fromkeys(("forgotten", "forgetting_awaited", "forgetting_withdrawn"), "privacy"),
}
"""Which axis of the order an event moves."""
_OTHER_AXES: Final = {
    "stock": "stock ledger",
    "intake": "intake",
    "mapping": "field mapping",
    "skus": "SKUs",
    "rules": "rule book",
    "buyers": "buyers",
    "privacy": "privacy",
    "trail": "buyers",
    "goods": "barcodes",
    "finance": "finance",
    "views": "views",
    "cell": "cell",
}

_TITLES: Final = {
    "order": ("Orders", "Streams `order-<channel>:<shop>:<order no>`."),
    "stock": ("Stock ledgers", "Streams `warehouse-<code>`."),
    "intake": ("Intake", "Streams `intake-<channel>:<shop>`: what came in and is no order's message."),
    "privacy": ("Privacy", "Stream `privacy-main`: who asked that a person be forgotten, or what is held of him."),
    "mapping": ("Field mappings", "Streams `mapping-<channel>`: which document is in force."),
    "skus": (
        "Tables of SKUs",
        "Streams `skus-<channel>:<shop>`: which SKU a channel's item is, and which orders wait.",
    ),
    "rules": ("The rule book", "Stream `rulebook-main`: which rules are in force."),
    "buyers": ("Buyers", "Stream `buyers-main`: what was agreed with customers, and what they owe."),
    "trail": (
        "Trails of buyers",
        "Streams `trail-<channel>:<keyed digest>`: what a customer has ordered of late, where rules look for repeats.",
    ),
    "goods": ("Barcodes", "Stream `goods-main`: which SKU a barcode is of."),
    "finance": (
        "Finance",
        "Streams `finance-<channel>:<shop>:<day>`: what statements say; `finance-<channel>:<shop>`: what differs.",
    ),
    "views": ("Views", "Stream `views-main`: whether the views show what the log says."),
    "cell": ("The cell", "Stream `cell-main`."),
}

_HEAD: Final = """What is stored of each: stream, version, tag, the envelope, and the JSON of its fields;
fields with their default value are left out. Nothing here is personal: names, addresses and whatever nobody
declared harmless are sealed beside `order.normalized` and `order.amended`, what people write beside what they
did (`order.commented`, `order.approved` …). Times are UTC milliseconds, money is
in minor units (分 of CNY), quantities are units. A tag is never used again for another meaning; a shape that
must change gets a new tag, and the old one is read for ever."""

_SHAPES: Final = (
    Envelope,
    By,
    canonical.Snapshot,
    canonical.Line,
    canonical.Amounts,
    canonical.Parcel,
    canonical.SourceTime,
    order.Allocation,
    order.Lot,
    rulings.Route,
    rulings.Kit,
    rulings.Gift,
    rulings.Saving,
    tracking.Scan,
    finance.Line,
    views.Differing,
)


def axis_of(tag: str) -> str:
    """Return what an event is about.

    Raises:
        KeyError: an order's event that nobody has put on an axis yet.
    """
    noun, verb = tag.split(".", 1)
    return _OTHER_AXES[noun] if noun in _OTHER_AXES else _AXES[verb.partition(".")[0]]


def page() -> str:
    """Return the whole page, as Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Event catalogue"
    yield ""
    yield "Written by `make docs` from `domain/catalogue.py`; change the docstrings there, not this page."
    yield ""
    yield f"{len(TYPES)} events. {_HEAD}"
    yield ""
    yield "| Tag | About | Meaning |"
    yield "|---|---|---|"
    for tag, kind in TYPES.items():
        anchor = tag.replace(".", "")
        yield f"| [`{tag}`](#{anchor}) | {axis_of(tag)} | {_first_line(kind)} |"
    for noun, (title, where) in _TITLES.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield where
        for tag, kind in TYPES.items():
            if tag.partition(".")[0] == noun:
                yield ""
                yield from _described(f"`{tag}`", kind, f"*About: {axis_of(tag)}.* ")
    yield ""
    yield "## The order's statuses"
    yield ""
    yield "| From | To |"
    yield "|---|---|"
    for before, afters in order.TRANSITIONS.items():
        follow = ", ".join(f"`{after}`" for after in sorted(afters, key=lambda name: order.STATUS_RANK[name]))  # type: ignore[index]
        yield f"| {f'`{before}`' if before else '(unknown)'} | {follow or '(end)'} |"
    yield ""
    yield "## Shapes inside events"
    yield ""
    yield f"`Quantities` are pairs as each field says. The ledger forgets documents after {_days()} days."
    for shape in _SHAPES:
        yield ""
        yield from _described(shape.__name__, shape, "")
    yield ""
    yield "## Old shapes"
    yield ""
    if not UPCASTS:
        yield "None yet: every event ever written has one of the shapes above."
    for tag, (newer, _) in UPCASTS.items():
        yield f"- `{tag}` is read as `{newer}`."


def _days() -> int:
    return stock.DOCUMENTS_KEPT_MS // DAY_MS


def _described(title: str, kind: type[msgspec.Struct], before: str) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield before + " ".join((inspect.getdoc(kind) or "").split())
    notes = attribute_docs(kind)
    types = _annotations(kind)
    fields = msgspec.structs.fields(kind)
    if not fields:
        return
    yield ""
    yield "| Field | Type | Meaning |"
    yield "|---|---|---|"
    for field in fields:
        default = "" if field.required else f" Default: `{_default(field)}`."
        shown = types.get(field.name, "").replace("|", r"\|")
        yield f"| `{field.encode_name}` | `{shown}` | {(notes.get(field.name, '') + default).strip()} |"


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return repr(value).replace("'", '"')


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n", 1)[0]


@lru_cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """Return the bodies of a module's classes by name."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}


def _body(kind: type) -> list[ast.stmt]:
    return _classes(kind.__module__)[kind.__name__]


def _annotations(kind: type) -> dict[str, str]:
    """Return the types of the fields as they are written."""
    return {
        node.target.id: ast.unparse(node.annotation).replace("'", '"')
        for node in _body(kind)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def attribute_docs(kind: type) -> dict[str, str]:
    """Return what is written under the fields."""
    notes = {}
    body = _body(kind)
    for node, below in pairwise(body):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            notes[node.target.id] = " ".join(str(below.value.value).split())
    return notes


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())
