"""What people outside are told of what happened: which events, to whom, in what words. Pure.

A rule names events, receivers and two templates; an event becomes at most one note for each receiver, whatever rules
there are. A note holds nothing personal: a customer's phone is opened by whoever sends it, when it is sent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from string import Formatter
from typing import Any, Protocol

import msgspec

from domain.canonical import Snapshot
from domain.catalogue import TYPES
from domain.condition_values import Scope
from domain.decider import Event
from domain.labels import LABELS
from domain.money import format_minor
from domain.order import EFFECT_FAILED, EffectFailed, EffectSucceeded
from domain.rule_parts import Book, Notice, tags_of
from domain.rulings import Facts
from domain.timehub import told_in, zone_of

EFFECT = "notify"
"""What sending a note is called among the acts outside; with its key it is the note's identity for ever."""
CUSTOMER = "customer"
"""The receiver whose number is the order's own."""
PLACEHOLDERS: Mapping[str, str] = {
    "event": "tag of the event",
    "label": "what people call the event",
    "at": "when it happened, in the merchant's zone",
    "order": "name of the order, as every command takes it",
    "channel": "taobao, pos …",
    "shop": "the shop's name in keys",
    "order_no": "the channel's number",
    "status": "of the order, as its channel saw it then",
    "payable": "what the customer owes",
    "currency": "of the order",
    "tags": "what rules call the order",
    "reason": "why it happened, a stable word where there is one",
    "evidence": "what shows it",
    "advice": "what to do about it",
    "role": "who should act",
    "rule": "name of the rule that the event names",
    "form": "approval that is asked for",
    "amount": "money of the event, or what the customer owes, with its currency",
    "warehouse": "code of the warehouse",
    "sku": "goods of the event, SKU×units",
    "units": "units of these goods, or of the order",
    "short": "goods that are short, SKU: wanted/available",
    "tracking": "numbers of the parcels",
    "carrier": "codes of their carriers",
    "due": "until when, in the merchant's zone",
    "detail": "what else the event says: a decision, what was asked, what was done",
    "link": "address of the order's page, where notify.json says how it is made",
}
"""Everything that a template may name (`NOTICE_PLACES`). None of it is personal."""
VALUE_MAX = 300
"""Characters of one value; what is longer is cut: a note is a hint, the order has all of it."""
_FAILED = "effect_failed"
_OF = ("order.", "cell.")


class BadNotice(ValueError):
    """A rule of notes means nothing: which one, what is wrong, what to do."""


class Note(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What one receiver is told of one event. Nothing personal."""

    key: str
    """Idempotency key, 32 hex digits; the same note always carries the same one."""
    rule: str
    event: str
    """`<stream>@<version>`."""
    receiver: str
    """Name of the receiver."""
    title: str
    """One line."""
    text: str
    """Plain text, lines divided by `\\n`."""
    fields: Mapping[str, str] = {}
    """Value of each placeholder that has one."""
    at_ms: int = 0
    """When it happened, UTC ms."""


class Notifier(Protocol):
    """A way to tell somebody. Errors are those of `domain.platforms`."""

    async def send(self, note: Note, numbers: Sequence[str] = ()) -> str:
        """Send a note; return the outside's reference, "" where it gives none.

        Args:
            note: what is told.
            numbers: phone numbers that it goes to instead of the receiver's own; in no log and in no error's text.

        Raises:
            PlatformBusy: not now; nothing was sent.
            OutcomeUnknown: it may have been sent.
            NotAuthorised: a person must put keys, address or account right first.
            PlatformRefused: this note will never be taken.
        """
        ...

    async def knows(self, note: Note, tried_ms: int, numbers: Sequence[str] = ()) -> bool | None:
        """Tell whether a note that may have been sent around `tried_ms` was; None = nobody can be asked.

        Raises:
            PlatformBusy, NotAuthorised, PlatformRefused: see `send`.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Occurred(msgspec.Struct, frozen=True, gc=False):
    """A recorded event."""

    stream: str
    version: int
    tag: str
    fact: Event
    at_ms: int = 0
    about: str = ""
    """Where it says how a note ended: tag of the event that the note was about."""


class Context(msgspec.Struct, frozen=True, gc=False):
    """What is known of the event's order; all empty for the cell's own events."""

    order: str = ""
    channel: str = ""
    shop: str = ""
    order_no: str = ""
    snapshot: Snapshot | None = None
    """The channel's view when it happened."""
    tags: tuple[str, ...] = ()
    """What rules call the order."""
    link: str = ""
    zone: str = "UTC"
    """The merchant's, for times."""


When = Callable[[Occurred, Context], bool]


class NoticeRule(msgspec.Struct, frozen=True, gc=False):
    """Whom to tell of which events, in what words."""

    id: str
    on: frozenset[str]
    """Tags of events, of orders or of the cell."""
    to: tuple[str, ...]
    """Names or roles of receivers; `{role}` stands for the event's own role."""
    title: str
    """Template of one line."""
    text: str
    """Template; a line whose placeholders are all empty is left out."""
    when: When | None = None
    """Further condition; None = always."""


def check_rules(rules: Sequence[NoticeRule]) -> None:
    """See that rules mean something.

    Raises:
        BadNotice: one does not.
    """
    seen: set[str] = set()
    for rule in rules:
        where = f"notice {rule.id or '(without a name)'}"
        if not rule.id or rule.id in seen:
            raise BadNotice(f"{where}: each rule needs a name of its own")
        seen.add(rule.id)
        if not rule.on or not rule.to or not rule.title.strip():
            raise BadNotice(f"{where}: it needs events (on), receivers (to) and a title")
        for tag in sorted(rule.on):
            if tag not in TYPES or not tag.startswith(_OF):
                raise BadNotice(
                    f"{where}: there is no event {tag} that can be told; docs/events.md has those that begin with "
                    f"{' and '.join(_OF)}"
                )
        for word in rule.to:
            _check_template(word, f"{where}, to")
        _check_template(rule.title, f"{where}, title")
        _check_template(rule.text, f"{where}, text")


def notes_of(
    rules: Sequence[NoticeRule], occurred: Occurred, context: Context, receivers: Mapping[str, Iterable[str]]
) -> list[Note]:
    """Return what is told of an event, one note for each receiver: of several rules that name one the first counts.

    Nothing is told of a note's success, of a failure that will be tried again, nor of the failure of a note that was
    itself about a failure: no note leads to notes without end.

    Args:
        rules: in their order.
        occurred: what happened.
        context: of its order.
        receivers: word of a rule's `to` → names of the receivers that it means; a word that is not in it means nobody.
    """
    fact = occurred.fact
    if isinstance(fact, EffectSucceeded) and fact.effect == EFFECT:
        return []
    if isinstance(fact, EffectFailed) and (
        not fact.final or (fact.effect == EFFECT and occurred.about.endswith(_FAILED))
    ):
        return []
    fields: dict[str, str] | None = None
    notes: dict[str, Note] = {}
    for rule in rules:
        if occurred.tag not in rule.on or (rule.when is not None and not rule.when(occurred, context)):
            continue
        if fields is None:
            fields = fields_of(occurred, context)
        for word in rule.to:
            meant = word.format_map(_Fields(fields))
            for name in receivers.get(meant, ()):
                # A customer is told only by a rule that says so.
                if name not in notes and (name != CUSTOMER or word == CUSTOMER):
                    notes[name] = _note(rule, occurred, name, fields)
    return list(notes.values())


def rules_of(book: Book) -> tuple[NoticeRule, ...]:
    """Return what a rule book says of who is told; its conditions look at the order as its channel saw it then.

    What only the turn knows is not asked: the address's flaws are none, and no buyer is known.
    """
    return tuple(
        NoticeRule(each.rule, each.on, each.to, each.title, each.text, _when(book, each)) for each in book.notices
    )


def in_force(book: Book) -> tuple[NoticeRule, ...]:
    """Return a book's rules, and behind them those of `DEFAULT_RULES` whose names it does not use itself."""
    own = rules_of(book)
    names = {rule.id for rule in own}
    return own + tuple(rule for rule in DEFAULT_RULES if rule.id not in names)


def _when(book: Book, notice: Notice) -> When | None:
    asked = notice.when
    if asked is None:
        return None

    def when(occurred: Occurred, context: Context) -> bool:
        if context.snapshot is None:
            return False
        scope = Scope(Facts(context.snapshot, now_ms=occurred.at_ms))
        tags_of(book, scope)
        return bool(asked(scope))

    return when


def note_key(event: str, receiver: str) -> str:
    """Return the key of the act of telling a receiver of an event, as it stands in the log."""
    return f"{event}/{receiver}"


def fields_of(occurred: Occurred, context: Context) -> dict[str, str]:
    """Return the value of each placeholder that an event gives one."""
    fact, snapshot = occurred.fact, context.snapshot
    parcels = getattr(fact, "parcels", ())
    due_ms = getattr(fact, "due_ms", 0)
    role, advice = _USUAL.get(occurred.tag, ("", ""))
    amounts = snapshot.amounts if snapshot is not None else None
    goods = _goods(fact)
    lines = [line.quantity for line in snapshot.lines if line.state != "cancelled"] if snapshot is not None else []
    units = sum(units for _, units in goods) or sum(lines)
    values: dict[str, str] = {
        "event": occurred.tag,
        "label": " ".join(LABELS.get(occurred.tag, ())),
        "at": _local(occurred.at_ms, context.zone),
        "status": snapshot.status if snapshot is not None else "",
        "payable": format_minor(amounts.payable, amounts.currency) if amounts is not None else "",
        "currency": amounts.currency if amounts is not None else "",
        "tags": ", ".join(context.tags),
        "rule": getattr(fact, "rule", ""),
        "form": getattr(fact, "form", ""),
        "units": str(units) if units else "",
        "detail": getattr(fact, "decision", "") or getattr(fact, "what", "") or getattr(fact, "effect", ""),
        "order": context.order,
        "channel": context.channel,
        "shop": context.shop,
        "order_no": context.order_no,
        "reason": getattr(fact, "reason", ""),
        "evidence": told_in(context.zone, getattr(fact, "evidence", "")) or _evidence(fact),
        "advice": getattr(fact, "advice", "") or advice.format(order=context.order),
        "role": getattr(fact, "role", "") or role,
        "amount": _amount(fact, snapshot),
        "warehouse": getattr(fact, "warehouse", ""),
        "sku": ", ".join(f"{sku}×{units}" for sku, units in goods),
        "short": ", ".join(f"{sku}: {wanted}/{there}" for sku, wanted, there in getattr(fact, "short", ())),
        "tracking": ", ".join(parcel.tracking for parcel in parcels),
        "carrier": ", ".join(parcel.carrier for parcel in parcels),
        "due": _local(due_ms, context.zone) if due_ms else "",
        "link": context.link,
    }
    return {name: plain for name, value in values.items() if (plain := _plain(str(value)))}


class _Fields(dict[str, str]):
    """Values of placeholders; those without one are empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _note(rule: NoticeRule, occurred: Occurred, receiver: str, fields: dict[str, str]) -> Note:
    event = f"{occurred.stream}@{occurred.version}"
    lines = [line.format_map(_Fields(fields)) for line in rule.text.splitlines() if _says_something(line, fields)]
    return Note(
        sha256(f"{EFFECT}/{note_key(event, receiver)}".encode()).hexdigest()[:32],
        rule.id,
        event,
        receiver,
        " ".join(rule.title.format_map(_Fields(fields)).split()),
        "\n".join(lines).strip(),
        fields,
        occurred.at_ms,
    )


def _says_something(line: str, fields: Mapping[str, str]) -> bool:
    names = _names(line)
    return not names or any(name in fields for name in names)


def _names(template: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(template) if name is not None]


def _check_template(template: str, where: str) -> None:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise BadNotice(f"{where}: {error}; a brace that is no placeholder is written twice, {{{{ or }}}}") from None
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if name not in PLACEHOLDERS:
            raise BadNotice(f"{where}: there is no placeholder {{{name}}}; known are {', '.join(PLACEHOLDERS)}")
        if spec or conversion:
            raise BadNotice(f"{where}: {{{name}}} stands alone in its braces")


def _plain(text: str) -> str:
    """Return a value as one line that steers nothing."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= VALUE_MAX else line[: VALUE_MAX - 1] + "…"


def _goods(fact: Any) -> list[tuple[str, int]]:
    """Return the goods of an event that names SKUs and units (others name lines alone, or by their ids)."""
    if type(fact).__name__ not in _NAMES_SKUS:
        return []
    return [(str(sku), int(units)) for sku, units in fact.lines]


_NAMES_SKUS = frozenset({"OrderReserved", "OrderReleased", "PickListIssued"})


def _evidence(fact: Any) -> str:
    match fact:
        case EffectFailed():
            return fact.effect + (f" to {fact.key.rpartition('/')[2]}" if fact.effect == EFFECT else "")
        case _:
            first, last = getattr(fact, "first", None), getattr(fact, "last", None)
            return (
                f"messages {first} to {last}" if first is not None and last is not None else getattr(fact, "where", "")
            )


def _amount(fact: Any, snapshot: Snapshot | None) -> str:
    if isinstance(amount := getattr(fact, "amount", None), int):
        currency = getattr(fact, "currency", "") or (snapshot.amounts.currency if snapshot else "")
    elif snapshot is not None:
        amount, currency = snapshot.amounts.payable, snapshot.amounts.currency
    else:
        return ""
    return f"{format_minor(amount, currency)} {currency}" if currency else ""


def _local(utc_ms: int, zone: str) -> str:
    return datetime.fromtimestamp(utc_ms / 1000, UTC).astimezone(zone_of(zone)).strftime("%Y-%m-%d %H:%M:%S %z")


_LOST = "let every shop be compared with its platform (`orderspine channels reconcile`), and look what is missing"
_USUAL: Mapping[str, tuple[str, str]] = {
    "order.quarantined": (
        "operations",
        "correct it and resend, or discard (`orderspine quarantine list`); later messages of the order wait",
    ),
    "order.effect_failed": ("operations", "put right what the reason names, then `orderspine effects retry {order}`"),
    "order.pick_list_issued": ("keeper", "pick it and scan it out"),
    "cell.mail_lost": ("operations", _LOST),
    "cell.broker_reset": ("operations", _LOST),
    "cell.effect_failed": ("operations", "put right what the reason names (`orderspine effects list`)"),
}
"""Tag → (role, advice) of events that name none themselves."""
_ORDER = "订单 order: {order} {amount}\n"
_WHY = "原因 reason: {reason}\n依据 evidence: {evidence}\n建议 advice: {advice}\n"

DEFAULT_RULES: tuple[NoticeRule, ...] = (
    NoticeRule(
        "intercepted",
        frozenset({"order.intercepted"}),
        ("{role}",),
        "订单拦截 Order stopped: {order_no} ({reason})",
        _ORDER + _WHY + "期限 due: {due}\n{link}",
        # An act that was given up is told of as that, whether it stops the order or not.
        lambda occurred, _: getattr(occurred.fact, "reason", "") != EFFECT_FAILED,
    ),
    NoticeRule(
        "quarantined",
        frozenset({"order.quarantined"}),
        ("{role}",),
        "订单隔离 Order in quarantine: {order_no}",
        _ORDER + _WHY + "{link}",
    ),
    NoticeRule(
        "effect-failed",
        frozenset({"order.effect_failed", "cell.effect_failed"}),
        ("{role}",),
        "外部动作失败 Not done outside: {evidence} {order_no}",
        _ORDER + _WHY + "{link}",
    ),
    NoticeRule(
        "mail-lost",
        frozenset({"cell.mail_lost", "cell.broker_reset"}),
        ("{role}",),
        "消息丢失 Messages may be lost",
        _WHY,
    ),
    NoticeRule(
        "pick-list",
        frozenset({"order.pick_list_issued"}),
        ("{role}",),
        "拣货单 Pick list: {order_no}, {warehouse}",
        "订单 order: {order}\n仓库 warehouse: {warehouse}\n商品 goods: {sku}\n{link}",
    ),
)
"""What is told where nobody has said otherwise: what needs a person goes to the receivers named like its role."""
check_rules(DEFAULT_RULES)
