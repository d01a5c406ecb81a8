"""A rule book made ready to use: what `domain.rule_table` makes of the document, and `domain.rules` asks."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from domain.condition_values import Run, Scope
from domain.rule_shapes import GiftRow
from domain.rule_texts import filled
from domain.rulings import Facts, Form, Promise, Quantities, Route

Priority = Literal["", "urgent", "express"]


class Warehouse(NamedTuple):
    """Where goods are."""

    code: str
    name: str


class Tagging(NamedTuple):
    """A word for orders."""

    when: Run | None
    """None = always; so everywhere here."""
    tag: str


class Routing(NamedTuple):
    """Where lines go."""

    when: Run | None
    lines: Run | None
    route: Route | None
    """Without its lines; None = it says nothing of where."""
    priority: Priority


class Kitting(NamedTuple):
    """What a kit is made of."""

    when: Run | None
    sku: str
    parts: Quantities


class Step(NamedTuple):
    """From where on something is given."""

    over: int
    currency: str
    """Of `over` as money; "" = units."""
    gift: GiftRow | None
    save: int
    """Minor units; `FREIGHT` = the freight."""
    save_currency: str


FREIGHT = -1


class Offer(NamedTuple):
    """A promotion."""

    rule: str
    when: Run | None
    buy: Run | None
    steps: tuple[Step, ...]
    """Ascending; the units to buy for one gift are one step that repeats."""
    repeats: bool
    each: bool
    most: int


class Stop(NamedTuple):
    """A risk."""

    when: Run | None
    rule: str
    reason: str
    evidence: Callable[[Scope], str]
    advice: str
    role: str


class Promising(NamedTuple):
    """What is promised."""

    when: Run | None
    promise: Promise


class Approval(NamedTuple):
    """Who must agree."""

    when: Run | None
    form: Form


class Suspicion(NamedTuple):
    """How close two orders of the same goods must be to be taken for one."""

    when: Run | None
    within_ms: int


class Keeping(NamedTuple):
    """Stock that is left."""

    when: Run | None
    skus: tuple[str, ...]
    keep: int


class Notice(NamedTuple):
    """Who is told of what."""

    rule: str
    when: Run | None
    on: frozenset[str]
    to: tuple[str, ...]
    title: str
    text: str

    def written(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Return title and text with their places (`NOTICE_PLACES`) filled."""
        return filled(self.title, values), filled(self.text, values)


class Act(NamedTuple):
    """How an act outside is tried again."""

    rule: str
    effect: str
    tries: int
    """0 = as it ships, here and in the next two."""
    backoff_ms: int
    timeout_ms: int
    then: Literal["intercept", "give_up"]


class Book(NamedTuple):
    """A rule book, ready to be used."""

    warehouses: tuple[Warehouse, ...]
    """The first is preferred where no route says otherwise."""
    tags: tuple[Tagging, ...] = ()
    routes: tuple[Routing, ...] = ()
    kits: tuple[Kitting, ...] = ()
    offers: tuple[Offer, ...] = ()
    stops: tuple[Stop, ...] = ()
    promises: tuple[Promising, ...] = ()
    approvals: tuple[Approval, ...] = ()
    protections: tuple[Keeping, ...] = ()
    lots: tuple[Run | None, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    notices: tuple[Notice, ...] = ()
    acts: Mapping[str, Act] = {}
    """Name of the effect → how it is tried."""
    asks_buyer: bool = False
    """Whether rules ask what is known of the buyer."""
    codes: tuple[str, ...] = ("A",)
    """Codes of the warehouses, the first preferred."""

    @property
    def ruled(self) -> bool:
        """Whether any rule is about orders."""
        return any(self[1:11])

    def notices_on(self, tag: str, facts: Facts | None = None) -> list[Notice]:
        """Return who is to be told of an event.

        Args:
            tag: of the event.
            facts: the order that it is of; without, notices with a condition are left out.
        """
        found = []
        scope: Scope | None = None
        for notice in self.notices:
            if tag not in notice.on:
                continue
            if notice.when is not None:
                if facts is None:
                    continue
                if scope is None:
                    scope = Scope(facts)
                    scope.tags.extend(tags_of(self, scope))
                if not notice.when(scope):
                    continue
            found.append(notice)
        return found


EMPTY = Book((Warehouse("A", ""),))
"""What ships: one warehouse, no rules."""


def tags_of(book: Book, scope: Scope) -> list[str]:
    """Let every tag rule that applies put its word on the scope, and return the words."""
    tags = scope.tags
    for when, tag in book.tags:
        if (when is None or when(scope)) and tag not in tags:
            tags.append(tag)
    return tags
