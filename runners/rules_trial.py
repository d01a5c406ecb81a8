"""What changed rules would change: rule by rule, and in what they say of orders that are in the log."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from domain import buyers, order
from domain.catalogue import TAGS, decode_event
from domain.decider import fold
from domain.envelope import decode_envelope
from domain.ids import BUYERS_KEY, buyer_of, kind_of
from domain.rule_parts import Book
from domain.rule_table import rows_of
from domain.rules import judge
from domain.rulings import Facts, Ruling
from runners.replay import ReplayLog

if TYPE_CHECKING:
    from domain.canonical import Snapshot

PAGE_EVENTS = 2_000
_VIEWS = frozenset({TAGS[order.OrderNormalized], TAGS[order.OrderAmended]})


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule that differs between two documents."""

    kind: str
    id: str
    what: Literal["added", "removed", "changed", "moved"]
    """`moved`: it stands elsewhere among the others, and the first that fits may be another one now."""
    fields: dict[str, tuple[Any, Any]] = {}
    """Key → (before, after)."""


def changes(before: str, after: str) -> list[Change]:
    """Return how a document differs from another, rule by rule; how it is written does not matter.

    Raises:
        BadRules: one of the two cannot be read.
    """
    old, new = rows_of(before), rows_of(after)
    found = [Change(*name, "removed") for name in old if name not in new]
    kept = [name for name in new if name in old]
    moved = _moved([name for name in old if name in new], kept)
    for name, row in new.items():
        if name not in old:
            found.append(Change(*name, "added"))
        elif old[name] != row:
            keys = sorted({key for key in {*old[name], *row} if old[name].get(key) != row.get(key)})
            found.append(Change(*name, "changed", {key: (old[name].get(key), row.get(key)) for key in keys}))
        elif name in moved:
            found.append(Change(*name, "moved"))
    return found


def _moved(old: list[tuple[str, str]], new: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return what stands before something else than it did, as few as a look from the front can tell."""
    moved: set[tuple[str, str]] = set()
    left = list(old)
    for name in new:
        if name in moved:
            continue
        while left and left[0] in moved:
            left.pop(0)
        if left and left[0] == name:
            left.pop(0)
        else:
            moved.add(name)
    return moved


class Sighting(msgspec.Struct, frozen=True):
    """An order of the log, as rules would see it now."""

    key: str
    facts: Facts


def recent(log: ReplayLog, count: int) -> Iterator[str]:
    """Yield the keys of the orders that channels told of last, the newest first."""
    seen: set[str] = set()
    upto = log.tracked().head
    while upto > 0 and len(seen) < count:
        after = max(upto - PAGE_EVENTS, 0)
        for event in reversed(log.read(after, upto - after)):
            if event.tag in _VIEWS and event.stream not in seen:
                seen.add(event.stream)
                yield event.stream
                if len(seen) == count:
                    return
        upto = after


def sighting(log: ReplayLog, key: str) -> Sighting | None:
    """Return an order as its channel told of it last, with its buyer as he is known now; None where no channel has.

    What is wrong with its address the log does not tell: rules see nothing there.
    """
    if kind_of(key) != "order":
        return None
    snapshot: Snapshot | None = None
    seen_ms = 0
    for event in log.select(key):
        facts = decode_event(event.tag, event.data)
        if isinstance(facts, order.OrderNormalized | order.OrderAmended):
            seen_ms = decode_envelope(event.envelope).observed_at
            snapshot = facts.snapshot
        elif isinstance(facts, order.OrderSkusMapped) and snapshot is not None:
            given = dict(facts.lines)
            lines = [msgspec.structs.replace(line, sku=given.get(line.id, line.sku)) for line in snapshot.lines]
            snapshot = msgspec.structs.replace(snapshot, lines=tuple(lines))
    if snapshot is None:
        return None
    buyer = buyer_of(snapshot.channel, snapshot.customer) if snapshot.customer else ""
    known = _known(log).get(buyer)
    terms = buyers.facts_of(known, key, snapshot) if known is not None else {}
    return Sighting(key, Facts(snapshot, (), seen_ms, snapshot.ordered_at.utc_ms, terms, buyer))


def _known(log: ReplayLog) -> Mapping[str, buyers.Buyer]:
    state: buyers.Buyers = fold(buyers.buyers, [decode_event(each.tag, each.data) for each in log.select(BUYERS_KEY)])
    return state.known


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What two books say of one order."""

    key: str
    now: Ruling
    then: Ruling
    differs: dict[str, tuple[Any, Any]] = {}
    """Part of the ruling → (now, then)."""


class Trial(msgspec.Struct, frozen=True):
    """What two books say of some orders."""

    orders: int
    differing: int
    rules: dict[str, tuple[int, int]]
    """Rule → of how many orders it says something now, and then."""
    verdicts: list[Verdict]


def try_rules(now: Book, then: Book, sightings: Iterable[Sighting]) -> Trial:
    """Let both books judge every order."""
    verdicts: list[Verdict] = []
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for each in sightings:
        one, two = judge(now, each.facts), judge(then, each.facts)
        before.update(_rules(one))
        after.update(_rules(two))
        verdicts.append(Verdict(each.key, one, two, dict(_differences(one, two))))
    rules = {rule: (before[rule], after[rule]) for rule in sorted({*before, *after})}
    return Trial(len(verdicts), sum(bool(each.differs) for each in verdicts), rules, verdicts)


def _rules(ruling: Ruling) -> set[str]:
    """Return the rules that a ruling names."""
    kinds: tuple[Iterable[Any], ...] = (ruling.found, ruling.gifts, ruling.savings, ruling.routes, ruling.forms)
    named = {part.rule for parts in kinds for part in parts}
    return named | ({ruling.promise.rule} if ruling.promise else set())


def _differences(one: Ruling, two: Ruling) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for part in Ruling.__struct_fields__:
        before, after = getattr(one, part), getattr(two, part)
        if before != after:
            yield part, (msgspec.to_builtins(before), msgspec.to_builtins(after))
