"""Compares a day of orders, payments and shipments with the statements, and has what differs recorded.

The finance read model says only where to look; every figure is folded from the log.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from adapters.storage.read_models import ReadModels
from domain.catalogue import TAGS, decode_event
from domain.envelope import By
from domain.finance import JUDGED_MAX, Finance, Judged, JudgeOrders, Line, LineRead, evolve
from domain.ids import finance_key, parts_of
from domain.mail import Mail, Reply
from domain.matching import EXACT, TELLS, Cover, Money, Tolerance, days_after, judge, judge_line
from domain.matching import evolve as tell
from projections.base import observed_at_of
from runners import settings_file

if TYPE_CHECKING:
    from domain.ports import EventLog

FILE = "reconciliation.json"
AT_ONCE = 500
Shop = tuple[str, str]
Send = Callable[[Sequence[Mail]], Awaitable[Sequence[Reply]]]


class BadTolerance(ValueError):
    """`reconciliation.json` cannot be used; the message says why."""


class ShopDay(NamedTuple):
    """One shop, compared."""

    channel: str
    shop: str
    judged: tuple[Judged, ...]
    """Orders of which something differs, or did."""
    agreeing: int
    """How many others there are."""
    covered: bool
    """Whether a statement of the day itself is there."""
    silent: bool
    """Whether no statement of this shop was ever taken in."""


class Compared(NamedTuple):
    """A day, compared."""

    day: str
    as_of: int
    """Position of the log that was looked at."""
    shops: tuple[ShopDay, ...]


def tolerance_of(data: Path) -> Tolerance:
    """Return what is taken for equal and in time.

    Raises:
        BadTolerance: the file cannot be used.
    """
    file = data / FILE
    raw = settings_file.read(file, BadTolerance, "hide differences")
    if raw is None:
        return EXACT
    try:
        found = msgspec.json.decode(raw, type=Tolerance)
    except msgspec.DecodeError as error:
        raise BadTolerance(f"{file}: {error}") from None
    if min(found.amount, found.settle_days, found.ship_days) < 0:
        raise BadTolerance(f"{file}: nothing may be below 0")
    return found


def compare(log: "EventLog", views: ReadModels, day: str, tolerance: Tolerance = EXACT) -> Compared:
    """Compare all shops for a day. The read models must be level with the log.

    Looked at are orders to which something of money happened on that day or in the days before it in which it may be
    late; orders that its statements name; and all of which something differs.
    """
    as_of = log.tracked().head
    back = max(1, tolerance.ship_days, tolerance.settle_days) + 1
    keys = views.finance_days([days_after(day, -each) for each in range(back + 1)])
    of_day = views.finance_lines(day=day)
    keys |= {row["key"] for row in of_day if row["key"]}
    unsettled = [*views.finance_differences(state="open"), *views.finance_differences(state="explained")]
    differed = {row["key"] for row in unsettled}
    keys |= {key for key in differed if key.startswith("order-")}
    covers = _covers(views)
    places: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    loose: set[tuple[str, str, str]] = {(row["channel"], row["shop"], row["day"]) for row in of_day if not row["key"]}
    for row in views.finance_lines(keys):
        places[row["key"]].add((row["channel"], row["shop"], row["day"]))
    days = _lines_of(log, {place for found in places.values() for place in found} | loose)
    money = money_of(log, keys)
    judged: dict[Shop, list[Judged]] = defaultdict(list)
    agreeing: Counter[Shop] = Counter()
    for key in sorted(keys):
        channel, shop, _ = parts_of(key)
        cover = covers.get((channel, shop), Cover())
        lines = [line for place in sorted(places[key]) for line in days[place].get(key, ())]
        today = max(day, cover.last)
        found = judge(key, money.get(key, Money()), lines, cover, today, tolerance)
        if found.findings or key in differed:
            judged[channel, shop].append(found)
        else:
            agreeing[channel, shop] += 1
    for channel, shop, each in sorted(loose):
        odd = {line.id: line for line in days[channel, shop, each].get("", ()) if line.kind == "unknown"}
        judged[channel, shop] += [judge_line(line) for line in odd.values()]
    shops = []
    for place in sorted({*judged, *agreeing}):
        cover = covers.get(place, Cover())
        of_the_day = day in cover.payments or day in cover.settlements
        shops.append(ShopDay(*place, tuple(judged[place]), agreeing[place], of_the_day, place not in covers))
    return Compared(day, as_of, tuple(shops))


def mails_of(compared: Compared, by: By, now_ms: int) -> list[Mail]:
    """Return the mail that has a comparison recorded."""
    mails = []
    for each in compared.shops:
        for start in range(0, max(1, len(each.judged)), JUDGED_MAX):
            part = each.judged[start : start + JUDGED_MAX]
            agreeing = 0 if start else each.agreeing
            text = msgspec.json.encode((compared.day, compared.as_of, part, agreeing))
            name = f"match-{sha256(text).hexdigest()[:24]}"
            command = JudgeOrders(name, compared.day, compared.as_of, part, agreeing)
            to = finance_key(each.channel, each.shop)
            mails.append(Mail(to, command, now_ms, by, f"reconcile/{compared.day}"))
    return mails


# --- what the log says


_TELLING = {TAGS[kind] for kind in TELLS}
_READ = TAGS[LineRead]


def money_of(log: "EventLog", keys: Collection[str]) -> dict[str, Money]:
    """Return what the log says of the money of these orders."""
    found: dict[str, Money] = {}
    wanted = sorted(keys)
    for start in range(0, len(wanted), AT_ONCE):
        for key, loaded in log.select_many(wanted[start : start + AT_ONCE], snapshots=False).items():
            money = Money()
            for event in loaded.events:
                if event.tag in _TELLING:
                    money = tell(money, decode_event(event.tag, event.data), observed_at_of(event.envelope))
            found[key] = money
    return found


def _lines_of(
    log: "EventLog", places: Iterable[tuple[str, str, str]]
) -> Mapping[tuple[str, str, str], Mapping[str, Sequence[Line]]]:
    """Return (channel, shop, day) → key of an order ("" = of none) → lines."""
    found: dict[tuple[str, str, str], dict[str, list[Line]]] = {}
    for place in sorted(places):
        stream = finance_key(*place)
        loaded = log.select_many([stream], snapshots=False).get(stream)
        state = Finance()
        for event in loaded.events if loaded is not None else ():
            if event.tag == _READ:
                state = evolve(state, decode_event(event.tag, event.data))
        by_order: dict[str, list[Line]] = defaultdict(list)
        for variants in state.lines.values():
            for line in variants:
                by_order[line.order].append(line)
        found[place] = by_order
    return found


def _covers(views: ReadModels) -> dict[Shop, Cover]:
    payments: dict[Shop, set[str]] = defaultdict(set)
    settlements: dict[Shop, set[str]] = defaultdict(set)
    for row in views.finance_statements():
        (settlements if row["settles"] else payments)[row["channel"], row["shop"]].add(row["day"])
    return {
        shop: Cover(frozenset(payments[shop]), frozenset(settlements[shop]))
        for shop in sorted({*payments, *settlements})
    }
