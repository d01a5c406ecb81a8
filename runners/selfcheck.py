"""Holds what people see against the log: rows of read models of sampled or of all orders, and the channels' own word.

A sample folds each order from its own stream by the projections themselves and compares every row that is of it. All of
it builds the read models anew (`runners.replay`). Nothing is put right: the result is mailed and recorded.
"""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from adapters.storage.read_models import ReadModels
from domain.catalogue import decode_event
from domain.decider import fold
from domain.envelope import By
from domain.ids import VIEWS_KEY
from domain.mail import Mail
from domain.order import (
    InterceptionResolved,
    Order,
    OrderAmended,
    OrderCancelled,
    OrderNormalized,
    OrderShipped,
    PartiallyShipped,
    order,
)
from domain.time_units import HOUR_MS
from domain.views import DIFFER_MAX, Differing, RecordCheck
from projections.after_sales import AfterSaleCases
from projections.base import Projection, in_current_shape
from projections.desk import Desk
from projections.orders import Orders
from runners.log_pages import pages
from runners.replay import replay_read_models

if TYPE_CHECKING:
    from domain.ports import EventLog, Recorded

BY_ORDER: Final[Sequence[Projection[Any, Any]]] = (Orders(), Desk(), AfterSaleCases())
"""Read models whose documents are one order's each."""
AT_ONCE = 200
DRAWS_MAX = 10
"""Events that are drawn for each order that is wanted, at most: not all are of orders, and not all of other ones."""
LOOKS_MAX = 3
"""How often an order that moves on meanwhile is looked at."""
HEARD_MS = HOUR_MS
"""How long a channel may go on saying that nothing was shipped."""
ALIVE: Final = "alive_after_cancelling"
"""Of the interception that asks people about an order that its channel goes on with after cancelling it."""
_RANK: Final = {"awaiting_payment": 0, "paid": 1, "allocating": 1, "shipped": 2, "completed": 3}
_SHIPPED = 2


class Checked(NamedTuple):
    """What a check found."""

    position: int
    """Of the log, as of which it was looked at."""
    orders: int
    rows: int
    differ: tuple[Differing, ...]
    """Those that are listed."""
    notes: tuple[str, ...] = ()
    more: int = 0
    """How many others there are."""

    @property
    def differing_orders(self) -> int:
        """Of how many orders (or other rows) any view differs."""
        return len({each.row for each in self.differ})


def check_sample(log: "EventLog", views: ReadModels, orders: int) -> Checked:
    """Check orders that are drawn from the log by its own length, so that a repeat draws the same ones."""
    head = log.tracked().head
    chance = random.Random(head)  # noqa: S311  it only chooses where to look
    if head <= DRAWS_MAX * orders:
        known = sorted(_keys(log, head))
        keys = set(chance.sample(known, min(orders, len(known))))
    else:
        keys = set()
        for _ in range(DRAWS_MAX * orders):
            keys |= {each.stream for each in log.read(chance.randrange(head), 1) if each.stream.startswith("order-")}
            if len(keys) == orders:
                break
    return check_orders(log, views, sorted(keys))


def check_orders(log: "EventLog", views: ReadModels, keys: Sequence[str]) -> Checked:
    """Check these orders: each view of them, and what their channels say."""
    differ: list[Differing] = []
    rows = 0
    head = log.tracked().head
    for start in range(0, len(keys), AT_ONCE):
        part = keys[start : start + AT_ONCE]
        for projection in BY_ORDER:
            count, found = _checked(log, views, projection, part)
            rows += count
            differ += found
        for key, loaded in log.select_many(part, snapshots=False).items():
            said = channel_differs(loaded.events)
            if said:
                differ.append(Differing("channel", key, said))
    return Checked(head, len(keys), rows, tuple(differ))


def check_all(log: Any, views: ReadModels, scratch: Path, live_file: Path | None) -> Checked:
    """Check every row of every read model by building them anew, and what the channels say of every order."""
    head = log.tracked().head
    result = replay_read_models(log, scratch, None if live_file else views, live_file=live_file)
    differ = [_told(text) for text in result.differences]
    keys = sorted(_keys(log, head))
    for start in range(0, len(keys), AT_ONCE):
        for key, loaded in log.select_many(keys[start : start + AT_ONCE], snapshots=False).items():
            said = channel_differs(loaded.events)
            if said:
                differ.append(Differing("channel", key, said))
    more = (f"{result.more} further differences are not listed",) if result.more else ()
    return Checked(head, len(keys), sum(result.rows.values()), tuple(differ), (*result.notes, *more), result.more)


def mail_of(checked: Checked, by: By, now_ms: int) -> Mail:
    """Return the mail that has a check recorded."""
    text = msgspec.json.encode((checked.position, checked.orders, checked.rows, checked.differ, now_ms))
    command = RecordCheck(
        f"check-{sha256(text).hexdigest()[:24]}",
        checked.orders,
        checked.rows,
        checked.differing_orders,
        checked.differ[:DIFFER_MAX],
        checked.position,
        len(checked.differ) + checked.more,
    )
    return Mail(VIEWS_KEY, command, now_ms, by, "self-check")


# --- the channel's own word


def channel_differs(events: "Sequence[Recorded]") -> str:
    """Return how the channel's last word on an order is not its state; "" where they agree.

    We may be ahead of a channel that has not spoken since; it may never be ahead of us.
    """
    facts = [(decode_event(each.tag, each.data), each) for each in events]
    state: Order = fold(order, [fact for fact, _ in facts])
    said = [(fact.snapshot, each) for fact, each in facts if isinstance(fact, OrderNormalized | OrderAmended)]
    asked = any(reason == ALIVE for _, reason in state.interceptions)
    decided = any(
        isinstance(f, InterceptionResolved) and f.command and f.interception.startswith(ALIVE) for f, _ in facts
    )
    if not said or state.quarantined is not None or asked or decided:
        return ""  # what waits for a person, or was decided by one, shows as that in every view
    view, event = said[-1]
    ours, theirs = state.status, view.status
    words = f"{ours} here, {theirs} at the channel"
    if theirs == "cancelled" or ours == "cancelled":
        ended = [each.position for fact, each in facts if isinstance(fact, OrderCancelled)]
        unheard = ours == "cancelled" and ended and event.position < ended[-1]
        return "" if ours == theirs or unheard else words
    if _RANK[theirs] > _RANK.get(ours, -1):
        return words
    left = [fact.shipped_ms for fact, _ in facts if isinstance(fact, OrderShipped | PartiallyShipped)]
    spoken = view.modified_at.utc_ms
    deaf = _RANK.get(ours, 0) >= _SHIPPED > _RANK[theirs] and left and spoken > max(left) + HEARD_MS
    return words if deaf else ""


# --- rows


_Rows = dict[tuple[Any, ...], tuple[Any, ...]]


def _checked(
    log: "EventLog", views: ReadModels, projection: Projection[Any, Any], keys: Sequence[str]
) -> tuple[int, list[Differing]]:
    """Compare the rows of these orders; those that move on meanwhile are looked at again."""
    differ: list[Differing] = []
    count = 0
    wanted: Collection[str] = keys
    for look in range(LOOKS_MAX):
        before = views.checkpoint(projection).position
        shown = _shown(views, projection, wanted)
        moved = views.checkpoint(projection).position != before
        made = _made(log, projection, wanted, before)
        count = max(count, sum(map(len, made.values())))
        differ = list(_differences(projection, shown, made))
        if not differ or not moved or look == LOOKS_MAX - 1:
            break
        wanted = sorted({each.row for each in differ})
    return count, differ


def _made(log: "EventLog", projection: Projection[Any, Any], keys: Collection[str], upto: int) -> Mapping[str, _Rows]:
    events = [
        event
        for loaded in log.select_many(list(keys), snapshots=False).values()
        for event in loaded.events
        if event.position <= upto
    ]
    events.sort(key=lambda event: event.position)
    made: dict[str, _Rows] = {table.name: {} for table in projection.tables}
    for change in projection.changes(projection.fold(in_current_shape(events), {})):
        places = _key_places(change.table)
        made[change.table.name].update({tuple(row[place] for place in places): tuple(row) for row in change.rows})
        for gone in change.deletes:
            made[change.table.name].pop(tuple(gone), None)
    return made


def _shown(views: ReadModels, projection: Projection[Any, Any], keys: Collection[str]) -> Mapping[str, _Rows]:
    shown: dict[str, _Rows] = {table.name: {} for table in projection.tables}
    places = {table.name: _key_places(table) for table in projection.tables}
    for table, row in views.rows_of(projection, keys):
        shown[table][tuple(row[place] for place in places[table])] = row
    return shown


def _key_places(table: Any) -> list[int]:
    return [place for place, column in enumerate(table.columns) if column.primary_key]


def _differences(
    projection: Projection[Any, Any], shown: Mapping[str, _Rows], made: Mapping[str, _Rows]
) -> Iterator[Differing]:
    for table in projection.tables:
        names = [column.name for column in table.columns]
        key = names.index("key")
        theirs, ours = shown[table.name], made[table.name]
        for name in sorted({*theirs, *ours}, key=repr):
            live, built = theirs.get(name), ours.get(name)
            row = str((live or built or ("",) * len(names))[key])
            if live is None:
                yield Differing(str(table.name), row, "missing")
            elif built is None:
                yield Differing(str(table.name), row, "surplus")
            elif live != built:
                what = ", ".join(each for each, one, two in zip(names, live, built, strict=True) if one != two)
                yield Differing(str(table.name), row, str(what))


def _told(text: str) -> Differing:
    """Return a difference as a rebuild tells it, without the values in it."""
    where, _, what = text.partition(": ")
    table, _, row = where.partition(" ")
    if what.startswith("is in the live"):
        return Differing(table, row, "surplus")
    if what.startswith("the live"):
        return Differing(table, row, "missing")
    columns = [part.strip().partition(" is ")[0] for part in what.split("; ")]
    return Differing(table, row, ", ".join(name for name in columns if name.isidentifier()))


def _keys(log: "EventLog", head: int) -> set[str]:
    return {
        event.stream
        for page in pages(log, head)
        for event in page
        if event.version == 1 and event.stream.startswith("order-")
    }
