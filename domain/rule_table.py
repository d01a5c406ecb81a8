"""The rule book as data: the document that people edit, read and checked, each fault with its line, made ready to use.

`domain.rule_shapes` says which tables and keys there are; here is what must hold between them. What the rules say of
an order is `domain.rules`.
"""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from domain.condition_values import Run
from domain.conditions import BadCondition, read_condition
from domain.documents import BadDocument, Places, Where, read_document
from domain.ids import BadId, checked_part
from domain.money import BadMoney, minor
from domain.rule_parts import (
    EMPTY,
    FREIGHT,
    Act,
    Approval,
    Book,
    Keeping,
    Kitting,
    Notice,
    Offer,
    Promising,
    Routing,
    Step,
    Stop,
    Suspicion,
    Tagging,
    Warehouse,
)
from domain.rule_shapes import (
    TABLES,
    ActRow,
    ApproveRow,
    BookRow,
    DuplicateRow,
    GiftRow,
    InterceptRow,
    KitRow,
    NotifyRow,
    PromiseRow,
    PromotionRow,
    ProtectRow,
    RouteRow,
    RuleRow,
    TagRow,
    TierRow,
)
from domain.rule_texts import EVIDENCE_PLACES, NOTICE_PLACES, BadText, check_places, evidence
from domain.rulings import Form, Promise, Route
from domain.time_units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from domain.trail import RECENT_MS

TEXT_MAX = 200_000
"""Longest document, in characters."""
RULES_MAX = 500
"""Most rules of one book."""
UNITS_MAX = 100_000
"""Most units that a rule speaks of; more is a slip of the keyboard."""
PEOPLE_MAX = 9
DURATION_MAX_MS = 400 * DAY_MS
TRIES_MAX = 100

R = TypeVar("R", bound=RuleRow)
T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

RESERVED_REASONS = frozenset(
    {
        "address_anomaly", "alive_after_cancelling", "changed_after_allocation", "effect_failed", "gift_short",
        "moved_backwards", "order_unknown", "overdue_promise", "payment_timeout", "presale_overdue",
        "shipped_without_stock", "stock_short", "suspected_duplicate", "unmapped_sku",
    }
)  # fmt: skip
"""Reasons for which the order stops itself, and which it lifts itself."""


class BadRules(BadDocument):
    """A document that cannot be a rule book."""


@lru_cache(maxsize=32)
def read_rules(text: str) -> Book:
    """Read and check a rule book; "" is the empty one. The same text gives the same book without being read again.

    Raises:
        BadRules: with the reason, and the line where it can be told.
    """
    if not text.strip():
        return EMPTY
    document, places = _document(text)
    return _Checker(document, places).book()


def rows_of(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rules of a document as they are written, in order, by kind and id (a warehouse: its code).

    Raises:
        BadRules: it cannot be read at all.
    """
    if not text.strip():
        return {}
    document, _ = _document(text)
    found = {}
    for table in TABLES:
        for row in getattr(document, table):
            found[table, getattr(row, "id", "") or row.code] = msgspec.to_builtins(row)
    return found


def _document(text: str) -> tuple[BookRow, Places]:
    if len(text) > TEXT_MAX:
        raise BadRules(f"the rule book is longer than {TEXT_MAX:,} characters")
    try:
        document, places = read_document(text, BookRow, "rule book", _advice)
    except BadDocument as error:
        raise BadRules(error.reason, error.line) from None
    try:
        msgspec.json.encode(document)
    except UnicodeEncodeError:  # JSON can write halves of characters; rulings with them could not be stored
        raise BadRules("a text in it has half of a character in it (\\ud800 to \\udfff)") from None
    if sum(len(getattr(document, table)) for table in TABLES) > RULES_MAX:
        raise BadRules(f"the rule book has more than {RULES_MAX} rules")
    return document, places


def _advice(where: Where, name: str) -> str:
    """Return what would be right where the document has another shape."""
    if where[-1:] == ("from",) or where[-1:] == ("until",):
        return "write a time with its offset, for example 2026-11-11T00:00:00+08:00"
    if where[-1:] == ("format",) or name == "format":
        return "a rule book begins with format = 1"
    if not where:
        return f"there are {', '.join(f'[[{table}]]' for table in TABLES)}"
    shape = TABLES.get(str(where[0]))
    if name and shape is not None and len(where) == 2:  # noqa: PLR2004  a table and its place
        return f"[[{where[0]}]] has {', '.join(field.encode_name for field in msgspec.structs.fields(shape))}"
    return ""


_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_WORD = re.compile(r"[^\s{}]{1,60}")
_REASON = re.compile(r"[a-z][a-z0-9_]{0,59}")
_MONEY = re.compile(r"([A-Z]{3})\(\s*[\"']?([0-9.]+)[\"']?\s*\)")
_DURATION = re.compile(r"(?:[0-9]{1,4}[smhd])+")
_DURATION_PART = re.compile(r"([0-9]+)([smhd])")
_UNIT_MS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


class _Checker:
    """Checks one document and makes its parts ready."""

    def __init__(self, document: BookRow, places: Places) -> None:
        self._document = document
        self._places = places
        self._ids: dict[str, int] = {}
        self._tags: set[str] = set()
        self._warehouses: dict[str, Warehouse] = {}
        self._kits = {kit.sku for kit in document.kit}
        self._used: set[str] = set()

    def book(self) -> Book:
        document = self._document
        for place, row in enumerate(document.warehouse):
            self._warehouse(("warehouse", place), row.code, row.name)
        known = tuple(self._warehouses.values()) or EMPTY.warehouses
        self._warehouses = {each.code: each for each in known}
        tags = self._all("tag", document.tag, self._tag)
        acts: dict[str, Act] = {}
        for place, act in enumerate(document.act):
            self._act(("act", place), act, acts)
        return Book(
            known,
            tags,
            self._all("route", document.route, self._route),
            self._all("kit", document.kit, self._kit),
            self._all("promotion", document.promotion, self._offer),
            self._all("intercept", document.intercept, self._stop),
            self._all("promise", document.promise, self._promise),
            self._all("approve", document.approve, self._approval),
            self._all("protect", document.protect, self._keeping),
            self._all("lots", document.lots, lambda _at, _row, when: when),
            self._all("duplicate", document.duplicate, self._suspicion),
            self._all("notify", document.notify, self._notice),
            acts,
            "customer" in self._used,
            tuple(each.code for each in known),
        )

    def _all(self, table: str, rows: Sequence[R], make: Callable[[Where, R, Run | None], T]) -> tuple[T, ...]:
        """Check every rule of a table, and return those that are enabled."""
        made = []
        for place, row in enumerate(rows):
            at = (table, place)
            self._id(at, row.id)
            one = make(at, row, self._when(at, row, of_taking=table == "promotion"))
            if row.enabled:
                made.append(one)
        return tuple(made)

    # --- what every rule has

    def _fault(self, at: Where, key: str, reason: str) -> BadRules:
        line = self._places.of(*at, key)
        return BadRules(f"{key}: {reason}" if line else f"{'.'.join(map(str, at))}.{key}: {reason}", line)

    def _id(self, at: Where, name: str) -> None:
        if _ID.fullmatch(name) is None:
            raise self._fault(at, "id", f"{name!r} is no id: lower-case letters, digits and dashes, at most 60")
        if name in self._ids:
            also = f"the rule in line {self._ids[name]}" if self._ids[name] else "another rule"
            raise self._fault(at, "id", f"{also} has the id {name!r} already")
        self._ids[name] = self._places.of(*at)

    def _when(self, at: Where, row: RuleRow, *, of_taking: bool) -> Run | None:
        """Return whether a rule applies: in its time, and by its condition."""
        holds = self._condition(at, "when", row.when)
        for key, time in (("from", row.since), ("until", row.until)):
            if time is not None and time.tzinfo is None:
                raise self._fault(at, key, f"it has no offset: {_advice((*at, key), '')}")
        if row.since is None and row.until is None:
            return holds
        first = _instant(row.since) if row.since else -_FOR_EVER
        end = _instant(row.until) if row.until else _FOR_EVER
        if first >= end:
            raise self._fault(at, "until", "it ends before it begins")
        moment = attrgetter("facts.taken_ms" if of_taking else "facts.now_ms")
        if holds is None:
            return lambda scope: first <= moment(scope) < end
        return lambda scope: first <= moment(scope) < end and holds(scope)

    def _condition(self, at: Where, key: str, text: str, *, of_line: bool = False) -> Run | None:
        if not text:
            return None
        try:
            return read_condition(text, of_line=of_line, tags=self._tags, used=self._used)
        except BadCondition as error:
            line = self._places.inside(error.line, *at, key)
            where = f"{key}, column {error.column}" if line else f"{'.'.join(map(str, at))}.{key}"
            raise BadRules(f"{where}: {error.reason}", line) from None

    # --- small values

    def _word(self, at: Where, key: str, word: str, what: str) -> str:
        if _WORD.fullmatch(word) is None:
            raise self._fault(at, key, f"{word!r} is no {what}: one word without blanks, at most 60 characters")
        return word

    def _words(self, at: Where, key: str, words: Sequence[str], what: str) -> tuple[str, ...]:
        return tuple(self._word(at, key, word, what) for word in words)

    def _sku(self, at: Where, key: str, sku: str) -> str:
        try:
            return checked_part(sku, "SKU")
        except BadId as error:
            raise self._fault(at, key, str(error)) from None

    def _units(self, at: Where, key: str, units: int, least: int = 1) -> int:
        if not least <= units <= UNITS_MAX:
            raise self._fault(at, key, f"{units} is no number of units: {least} to {UNITS_MAX:,}")
        return units

    def _known_warehouse(self, at: Where, key: str, code: str) -> str:
        if code not in self._warehouses:
            known = ", ".join(self._warehouses)
            raise self._fault(
                at, key, f"there is no warehouse {code!r} (there are {known}): declare it as [[warehouse]]"
            )
        return code

    def _money(self, at: Where, key: str, text: str) -> tuple[int, str]:
        match = _MONEY.fullmatch(text.strip())
        if match is None:
            raise self._fault(at, key, f'{text!r} is no money: write "CNY(199)" or "CNY(199.50)"')
        try:
            amount = minor(match[2], match[1])
        except BadMoney as error:
            raise self._fault(at, key, str(error)) from None
        if not amount:
            raise self._fault(at, key, "money here is more than nothing")
        return amount, match[1]

    def _duration(self, at: Where, key: str, text: str) -> int:
        """Return milliseconds; 0 for ""."""
        if not text:
            return 0
        if _DURATION.fullmatch(text) is None:
            raise self._fault(at, key, f'{text!r} is no span of time: write "30m", "4h", "2d" or "1h30m"')
        span = sum(int(number) * _UNIT_MS[unit] for number, unit in _DURATION_PART.findall(text))
        if not 0 < span <= DURATION_MAX_MS:
            raise self._fault(at, key, f"{text!r} is no span of time: more than nothing, at most 400d")
        return span

    def _text(self, at: Where, key: str, text: str, places: Collection[str]) -> str:
        try:
            check_places(text, places)
        except BadText as error:
            raise self._fault(at, key, str(error)) from None
        return text

    # --- one rule of each kind

    def _warehouse(self, at: Where, code: str, name: str) -> None:
        try:
            checked_part(code, "warehouse code")
        except BadId as error:
            raise self._fault(at, "code", str(error)) from None
        if code in self._warehouses:
            raise self._fault(at, "code", f"the warehouse {code!r} is there already")
        self._warehouses[code] = Warehouse(code, name)

    def _tag(self, at: Where, row: TagRow, when: Run | None) -> Tagging:
        self._tags.add(self._word(at, "tag", row.tag, "tag"))
        return Tagging(when, row.tag)

    def _route(self, at: Where, row: RouteRow, when: Run | None) -> Routing:
        for code in row.warehouses:
            self._known_warehouse(at, "warehouses", code)
        if len(set(row.warehouses)) < len(row.warehouses):
            raise self._fault(at, "warehouses", "a warehouse is there twice")
        if row.area:
            self._word(at, "area", row.area, "area")
        lines = self._condition(at, "lines", row.lines, of_line=True)
        says = bool(row.warehouses or row.area or row.processing or row.split)
        if not says and not row.priority:
            reason = "the route says nothing: give it warehouses, split, area, processing or priority"
            raise self._fault(at, "id", reason)
        route = Route(row.id, (), tuple(row.warehouses), row.split or "lines", row.area, row.processing)
        return Routing(when, lines, route if says else None, row.priority)

    def _kit(self, at: Where, row: KitRow, when: Run | None) -> Kitting:
        self._sku(at, "sku", row.sku)
        if not row.parts:
            raise self._fault(at, "parts", 'it has none: write parts = { "SKU-1" = 2 }')
        for sku, units in row.parts.items():
            self._units(at, "parts", units)
            if self._sku(at, "parts", sku) in self._kits:
                raise self._fault(at, "parts", f"{sku!r} is a kit itself: name what is in it")
        return Kitting(when, row.sku, tuple(row.parts.items()))

    def _gift(self, at: Where, gift: GiftRow, *, bought: bool = False) -> GiftRow:
        self._units(at, "gift", gift.units)
        if gift.warehouse:
            self._known_warehouse(at, "gift", gift.warehouse)
        if not gift.sku and bought:
            return gift
        if self._sku(at, "gift", gift.sku) in self._kits:
            raise self._fault(at, "gift", f"{gift.sku!r} is a kit: give its parts, each by a promotion of its own")
        return gift

    def _offer(self, at: Where, row: PromotionRow, when: Run | None) -> Offer:
        buy = self._condition(at, "buy", row.buy, of_line=True)
        counted = type(row.every) is int
        self._units(at, "most", row.most, 0)
        ways = [name for name, there in (("tiers", row.tiers), ("over", row.over != ""), ("every", counted)) if there]
        match ways:
            case ["tiers"] if not (row.gift or row.save or row.every or row.most):
                steps = [self._step((*at, "tiers", place), tier) for place, tier in enumerate(row.tiers)]
                if len({step.currency for step in steps}) > 1:
                    raise self._fault(at, "tiers", "all tiers are of units, or of money of one currency")
                if len({step.over for step in steps}) < len(steps):
                    raise self._fault(at, "tiers", "two tiers begin at the same")
                steps.sort(key=lambda step: step.over)
                return Offer(row.id, when, buy, tuple(steps), repeats=False, each=row.each, most=0)
            case ["over"] if not row.each:
                if row.most and not row.every:
                    raise self._fault(at, "most", "it goes with every = true")
                step = self._step(at, TierRow(over=row.over, gift=row.gift, save=row.save))
                return Offer(row.id, when, buy, (step,), repeats=bool(row.every), each=False, most=row.most)
            case ["every"] if row.gift is not None and not (row.save or row.each):
                gift = self._gift(at, row.gift, bought=True)
                step = Step(self._units(at, "every", row.every), "", gift, 0, "")
                return Offer(row.id, when, buy, (step,), repeats=True, each=False, most=row.most)
        raise self._fault(
            at,
            "id",
            "a promotion is one of: every = N with gift (buy N, get M); over with save or gift (spend and save, with "
            "every = true for each full amount); or [[promotion.tiers]] with over, and save or gift, in each",
        )

    def _step(self, at: Where, row: TierRow) -> Step:
        if isinstance(row.over, str):
            over, currency = self._money(at, "over", row.over)
        else:
            over, currency = self._units(at, "over", row.over), ""
        gift = self._gift(at, row.gift) if row.gift is not None else None
        if row.save == "freight":
            return Step(over, currency, gift, FREIGHT, "")
        if not row.save:
            if gift is None:
                raise self._fault(at, "over", "say what is given there: gift or save")
            return Step(over, currency, gift, 0, "")
        save, of = self._money(at, "save", row.save)
        if currency and of != currency:
            raise self._fault(at, "save", f"{of} is saved where {currency} is spent")
        return Step(over, currency, gift, save, of)

    def _stop(self, at: Where, row: InterceptRow, when: Run | None) -> Stop:
        if _REASON.fullmatch(row.reason) is None:
            raise self._fault(at, "reason", f"{row.reason!r} is no reason: small letters, digits, _: large_quantity")
        if row.reason in RESERVED_REASONS:
            raise self._fault(at, "reason", f"for {row.reason!r} orders stop by themselves: use a word of your own")
        told = evidence(self._text(at, "evidence", row.evidence, EVIDENCE_PLACES))
        self._text(at, "advice", row.advice, ())
        return Stop(when, row.id, row.reason, told, row.advice, self._word(at, "role", row.role, "role"))

    def _promise(self, at: Where, row: PromiseRow, when: Run | None) -> Promising:
        ship = self._duration(at, "ship_within", row.ship_within)
        deliver = self._duration(at, "deliver_within", row.deliver_within)
        if not ship:
            raise self._fault(at, "ship_within", 'it is empty: write "4h" or "2d"')
        if deliver and deliver < ship:
            raise self._fault(at, "deliver_within", "it is shorter than ship_within")
        return Promising(when, Promise(row.id, ship, deliver))

    def _approval(self, at: Where, row: ApproveRow, when: Run | None) -> Approval:
        if not 1 <= row.people <= PEOPLE_MAX:
            raise self._fault(at, "people", f"{row.people} people cannot approve: 1 to {PEOPLE_MAX}, 2 = four eyes")
        if bool(row.due_within) != bool(row.escalate_to):
            raise self._fault(at, "due_within", "due_within and escalate_to go together: one of the two is missing")
        if row.escalate_to:
            self._word(at, "escalate_to", row.escalate_to, "role")
        form = Form(
            row.id,
            self._word(at, "form", row.form, "form"),
            self._word(at, "role", row.role, "role"),
            self._words(at, "fields", row.fields, "field"),
            self._words(at, "documents", row.documents, "kind of document"),
            row.people,
            self._duration(at, "due_within", row.due_within),
            row.escalate_to,
        )
        return Approval(when, form)

    def _suspicion(self, at: Where, row: DuplicateRow, when: Run | None) -> Suspicion:
        within = self._duration(at, "within", row.within)
        if not 0 < within <= RECENT_MS:
            raise self._fault(
                at, "within", f'{row.within!r}: a time up to {RECENT_MS // DAY_MS} days, for example "30m"'
            )
        return Suspicion(when, within)

    def _keeping(self, at: Where, row: ProtectRow, when: Run | None) -> Keeping:
        if not row.skus:
            raise self._fault(at, "skus", "it names no SKU")
        skus = tuple(self._sku(at, "skus", sku) for sku in row.skus)
        return Keeping(when, skus, self._units(at, "keep", row.keep))

    def _notice(self, at: Where, row: NotifyRow, when: Run | None) -> Notice:
        from domain.catalogue import TYPES  # noqa: PLC0415  the catalogue knows the rule book's events

        for tag in row.on:
            if tag not in TYPES:
                raise self._fault(at, "on", f"there is no event {tag!r}{_close(tag, TYPES)}; docs/events.md lists all")
            if not tag.startswith(("order.", "cell.")):
                raise self._fault(at, "on", f"{tag} cannot be told: only events of orders and of the cell can")
        if not row.on or not row.to:
            raise self._fault(at, "to" if row.on else "on", "it is empty, so that nobody would be told of anything")
        if not row.title.strip():
            raise self._fault(at, "title", "it is empty")
        title = self._text(at, "title", row.title, NOTICE_PLACES)
        text = self._text(at, "text", row.text, NOTICE_PLACES)
        to = self._words(at, "to", row.to, "name of a receiver")
        return Notice(row.id, when, frozenset(row.on), to, title, text)

    def _act(self, at: Where, row: ActRow, acts: dict[str, Act]) -> None:
        self._id(at, row.id)
        effect = self._word(at, "effect", row.effect, "name of an effect")
        backoff = self._duration(at, "backoff", row.backoff)
        timeout = self._duration(at, "timeout", row.timeout)
        if not 0 <= row.tries <= TRIES_MAX:
            raise self._fault(at, "tries", f"{row.tries} tries: 1 to {TRIES_MAX}, or 0 = as it ships")
        if not row.enabled:
            return
        if effect in acts:
            raise self._fault(at, "effect", f"{acts[effect].rule!r} says already how {effect!r} is tried")
        acts[effect] = Act(row.id, effect, row.tries, backoff, timeout, row.then)


_FOR_EVER = 1 << 62


def _instant(time: datetime) -> int:
    """Return UTC milliseconds, exactly."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def _close(name: str, names: Collection[str]) -> str:
    close = get_close_matches(name, names, 1)
    return f": did you mean {close[0]!r}?" if close else ""
