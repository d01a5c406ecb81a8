"""A channel's field mapping as data: the document that people edit, read and checked, each fault with its line.

The document is TOML (or the same as JSON). Each `[[field]]` takes what stands at a path of the channel's payload to a
place of the canonical order, through a converter. `[lines]` says where the payload's lines are, `[times]` in which zone
it writes times that name none, `[payment]` when an order counts as paid where that is the merchant's choice,
`[template]` how a till writes its tables.
"""

import re
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple, get_args

import msgspec

from domain.documents import BadDocument, Places, Where, decoded, header_of, read_document
from domain.mapping_path import BadPath, Every, Member, Path, begins_with, parse_path, plain_path
from domain.till import Till
from domain.timehub import Fold, TimeReader, time_reader, zone_of

TEXT_MAX = 100_000
"""Longest document, in characters."""
FIELDS_MAX = 500
"""Most fields of one document."""

Converter = Literal["text", "integer", "decimal", "yuan", "fen", "time", "boolean", "choice", "list", "json"]
"""How a value is read; see `domain.mapping_apply`."""
KNOWN_ATTRIBUTES = frozenset({"service_package", "invoice_type", "referrer_id"})
"""Custom attributes that OrderSpine itself knows: short for `attributes.…`."""
RECEIVER = frozenset(
    {"name", "phone", "telephone", "province", "city", "district", "town", "detail", "zip", "address_id"}
)
"""Parts of a receiver."""
_TEXTS = frozenset({"text", "choice", "integer", "decimal"})
_NAME = re.compile(r"[^\s.\[\]\"]{1,64}")
_ADVICE_PERSONAL = (
    "nobody has declared it harmless: say personal = false if it can name nobody, or map it to personal.attributes.…"
)


class BadMapping(BadDocument):
    """A document that cannot be a mapping."""


class FieldRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from", "target": "to"}):
    """One field, as people write it."""

    source: str | list[str]
    """Path in the payload; of several, the first that says something counts."""
    target: str
    """Place in the canonical order."""
    convert: Converter = "text"
    values: dict[str, str | int | bool] = {}
    """For `choice`: what each of the source's words becomes; "" = says nothing."""
    personal: bool | None = None
    default: str | int | bool | None = None
    """Where the source says nothing and the target is empty."""
    note: str = ""
    """For people."""


class LineList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a payload's lines are."""

    path: str
    """Of the list, for example `orders.order[]`."""
    id: str | list[str] = []
    """Where, in an element, its line id stands; without it elements and lines go together by their place."""


class Times(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a source writes times that do not say it themselves."""

    zone: str = ""
    """Fixed offset or IANA name; "" = as the platform does."""
    date_order: Literal["dmy", "mdy"] | None = None
    """How `11/12/2026` is meant; without it such a time is refused."""
    fold: Literal["earlier", "later"] | None = None
    """Which of two instants is meant when clocks go back; without it such a time is refused."""

    def reader(self, zone: str, target: str) -> TimeReader:
        """Return what reads these times: `zone` is the platform's, `target` that of the people who read them."""
        fold: Fold | None = None if self.fold is None else (0 if self.fold == "earlier" else 1)
        return time_reader(self.zone or zone, target, self.date_order, fold)


AS_THE_PLATFORM = Times()
"""What no mapping has changed."""


class Payment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an order counts as paid, where the platform leaves that to the merchant."""

    manual_capture: bool | None = None
    """An authorised payment counts: the money is taken when the goods leave. None = as the platform does."""


PAID_AS_THE_PLATFORM = Payment()
"""What no mapping has changed."""


class OfShop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one shop does differently."""

    times: Times = AS_THE_PLATFORM
    payment: Payment = PAID_AS_THE_PLATFORM


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole mapping of a channel, as people write it."""

    field: list[FieldRow] = []
    lines: LineList | None = None
    times: Times = AS_THE_PLATFORM
    payment: Payment = PAID_AS_THE_PLATFORM
    template: Till | None = None
    shops: dict[str, OfShop] = {}
    note: str = ""


class Target(NamedTuple):
    """A place in the canonical order."""

    group: Literal["attributes", "field", "personal", "receiver", "messages"]
    """What holds it; `field` = a field of its own."""
    name: str
    line: bool
    personal: bool


class Rule(NamedTuple):
    """One field, ready to be used."""

    sources: tuple[Path, ...]
    """For a line's field: from the line's element on."""
    target: Target
    shown: str
    """The target, as people write it."""
    convert: Converter
    values: Mapping[str, str | int | bool]
    default: str | int | bool | None
    number: int
    """Line in the document, for people; 0 = not known."""


class Table(NamedTuple):
    """A mapping, ready to be used."""

    orders: tuple[Rule, ...]
    lines: tuple[Rule, ...]
    line_list: Path
    line_ids: tuple[Path, ...]
    times: Times
    shops: Mapping[str, Times]
    payment: Payment = PAID_AS_THE_PLATFORM
    payments: Mapping[str, Payment] = {}
    """Shop → what it does differently."""
    template: Till | None = None
    """How tables are written; only a channel of tables can follow it."""

    def times_of(self, shop: str) -> Times:
        """Return how this shop writes times; what it does not say itself is as the channel does."""
        own = self.shops.get(shop)
        if own is None:
            return self.times
        theirs = self.times
        return Times(own.zone or theirs.zone, own.date_order or theirs.date_order, own.fold or theirs.fold)

    def payment_of(self, shop: str) -> Payment:
        """Return when this shop's orders count as paid; what it does not say itself is as in the channel."""
        own = self.payments.get(shop, self.payment)
        return self.payment if own.manual_capture is None else own


NOTHING = Table((), (), (), (), AS_THE_PLATFORM, {})
"""Maps nothing."""


def read_mapping(text: str, harmless: Collection[str] | None = None) -> Table:
    """Read and check a mapping.

    Args:
        text: the document.
        harmless: paths that the channel declares to be nobody's; None = the document was accepted before, so whether
            personal data could become public is not asked again.

    Raises:
        BadMapping: with the reason, and the line where it can be told.
    """
    if len(text) > TEXT_MAX:
        raise BadMapping(f"the mapping is longer than {TEXT_MAX:,} characters")
    document, places = _document(text)
    if len(document.field) > FIELDS_MAX:
        raise BadMapping(f"the mapping has more than {FIELDS_MAX} fields")
    line_list, line_ids = _line_list(document.lines, places)
    orders: list[Rule] = []
    lines: list[Rule] = []
    taken: dict[tuple[str, str, bool], int] = {}
    for place, row in enumerate(document.field):
        rule = _rule(row, line_list, places, place, harmless)
        identity = (rule.target.group, rule.target.name, rule.target.line)
        if identity in taken:
            first = taken[identity]
            also = f"the field in line {first}" if first else "another field"
            raise BadMapping(f"{also} has the target {row.target!r} already", places.of("field", place, "to"))
        taken[identity] = places.of("field", place)
        (lines if rule.target.line else orders).append(rule)
    _check_times(document, places)
    shops = {shop: of_shop.times for shop, of_shop in document.shops.items()}
    payments = {shop: of_shop.payment for shop, of_shop in document.shops.items()}
    told = (document.times, shops, document.payment, payments, document.template)
    return Table(tuple(orders), tuple(lines), line_list, line_ids, *told)


def line_of(text: str, *where: str) -> int:
    """Return in which line of a mapping a key stands, or the nearest table around it; 0 where it cannot be told.

    Raises:
        BadMapping: it cannot be read at all.
    """
    try:
        return Places(text, decoded(text)).of(*where)
    except BadDocument as error:
        raise BadMapping(error.reason, error.line) from None


def without_template(text: str) -> str:
    """Return a document without its `[template]`, as far as it is written in tables of its own."""
    kept, inside = [], False
    for line in text.splitlines():
        if name := header_of(line):
            inside = name == "template"
        if not inside:
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


def sources_of(text: str) -> list[str]:
    """Return the paths that a mapping reads, with every choice of elements as `[]`.

    Raises:
        BadMapping: it cannot be read at all.
    """
    document, _ = _document(text)
    found: dict[str, None] = {}
    for row in document.field:
        for source in _listed(row.source):
            try:
                found[plain_path(parse_path(source))] = None
            except BadPath:
                continue  # checking the whole says so, with its line
    return list(found)


# --- one field


def _rule(row: FieldRow, line_list: Path, places: Places, place: int, harmless: Collection[str] | None) -> Rule:
    target = _target(row.target, places.of("field", place, "to"))
    sources: list[Path] = []
    at = places.of("field", place, "from")
    if not _listed(row.source):
        raise BadMapping("the field names no source", at)
    for source in _listed(row.source):
        path = _path(source, at)
        if target.line:
            if not line_list:
                raise BadMapping(f'{row.target!r} is of the lines: say where they are ([lines] path = "…")', at)
            if not begins_with(path, line_list) or path == line_list:
                raise BadMapping(f"{source!r} is not in the lines, and {row.target!r} is of a line", at)
        _check_personal(row, target, source, path, harmless, places.exactly("field", place, "personal") or at)
        sources.append(path[len(line_list) :] if target.line else path)
    if target.group in ("field", "receiver", "messages") and row.convert not in _TEXTS:
        at = places.of("field", place, "convert")
        raise BadMapping(f"{row.target!r} holds text; convert = {row.convert!r} gives something else", at)
    if (row.convert == "choice") != bool(row.values):
        at = places.of("field", place, "convert") or places.of("field", place)
        raise BadMapping("convert = 'choice' and a table [field.values] go together: one of the two is missing", at)
    number = places.of("field", place)
    return Rule(tuple(sources), target, row.target, row.convert, row.values, row.default, number)


def _target(text: str, at: int) -> Target:
    """Read the place in the canonical order."""
    group, _, rest = text.rpartition(".")
    named = _NAME.fullmatch(rest) is not None
    match group:
        case "" if rest in KNOWN_ATTRIBUTES:
            return Target("attributes", rest, line=False, personal=False)
        case "" if rest == "region":
            return Target("field", rest, line=False, personal=False)
        case "" if rest == "customer_id":
            return Target("field", rest, line=False, personal=True)
        case "lines" if rest in ("sku", "name", "spec"):
            return Target("field", rest, line=True, personal=False)
        case "attributes" | "lines.attributes" if named:
            return Target("attributes", rest, line=group != "attributes", personal=False)
        case "personal.attributes" | "personal.lines.attributes" if named:
            return Target("personal", rest, line=group != "personal.attributes", personal=True)
        case "receiver" if rest in RECEIVER:
            return Target("receiver", rest, line=False, personal=True)
        case "messages" if named:
            return Target("messages", rest, line=False, personal=True)
    raise BadMapping(
        f"there is no target {text!r}: use attributes.NAME, lines.attributes.NAME, personal.attributes.NAME, "
        f"personal.lines.attributes.NAME, lines.sku, lines.name, lines.spec, region, customer_id, messages.NAME, "
        f"receiver.({'|'.join(sorted(RECEIVER))}) or {', '.join(sorted(KNOWN_ATTRIBUTES))}",
        at,
    )


def _check_personal(
    row: FieldRow, target: Target, source: str, path: Path, harmless: Collection[str] | None, at: int
) -> None:
    if target.personal or harmless is None:
        return
    if row.personal:
        raise BadMapping(f"{source!r} is personal, and anyone may see {row.target!r}: use personal.attributes.…", at)
    if row.personal is None and plain_path(path) not in harmless:
        raise BadMapping(f"{source!r} would be seen by anyone as {row.target!r}, and {_ADVICE_PERSONAL}", at)


def _line_list(lines: LineList | None, places: Places) -> tuple[Path, tuple[Path, ...]]:
    if lines is None:
        return (), ()
    path = _path(lines.path, places.of("lines", "path"))
    if isinstance(path[-1], Member):
        path = (*path, Every())
    return path, tuple(_path(each, places.of("lines", "id")) for each in _listed(lines.id) if each)


def _check_times(document: Document, places: Places) -> None:
    named = [(document.times, ("times",))]
    named += [(of_shop.times, ("shops", shop, "times")) for shop, of_shop in document.shops.items()]  # type: ignore[misc]
    for times, where in named:
        try:
            if times.zone:
                zone_of(times.zone)
        except ValueError as error:
            raise BadMapping(str(error), places.of(*where, "zone")) from None
    for place, row in enumerate(document.field):
        if row.convert == "time" and not document.times.zone:
            at = places.of("field", place, "convert")
            raise BadMapping('convert = "time" needs [times] zone = "…": the zone of times that name none', at)


def _path(text: str, at: int) -> Path:
    try:
        return parse_path(text)
    except BadPath as error:
        raise BadMapping(str(error), at) from None


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


# --- the text


def _document(text: str) -> tuple[Document, Places]:
    """Read the text as a document.

    Raises:
        BadMapping: it is neither TOML nor JSON, or has keys or values that a mapping has not.
    """
    try:
        return read_document(text, Document, "mapping", _advice)
    except BadDocument as error:
        raise BadMapping(error.reason, error.line) from None


def _advice(where: Where, name: str) -> str:
    if where[-1:] == ("convert",) and not name:
        return f"there is no such converter: use one of {', '.join(get_args(Converter))}"
    return ""
