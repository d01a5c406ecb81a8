"""History of one actor: every event, its cause and what it changed, and its state at any time; from the log alone."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import immutables
import msgspec

from adapters.storage.scan import Scan
from adapters.storage.sealing import SealBroken, open_sealed
from domain.catalogue import decode_event
from domain.cell import DECIDERS
from domain.envelope import By, decode_envelope
from domain.ids import encode_id, is_key, kind_of, order_key
from domain.labels import label_of
from domain.ports import Recorded, Vault
from domain.timehub import read_time, zone_of

if TYPE_CHECKING:
    from runners.replay import ReplayLog

_NEIGHBOURS = 32
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
ERASED = "erased"

Clock = Literal["at", "observed_at"]


class UnknownKey(LookupError):
    """No actor, or more than one, is meant by what was given. The message says which there are."""


class SeveralKeys(UnknownKey):
    """More than one is meant."""


class Related(msgspec.Struct, frozen=True):
    """An event of another actor that the same message caused."""

    position: int
    stream: str
    version: int
    tag: str
    label: str
    facts: Any
    by: By
    causation: str
    """The message's id, or `<stream>@<version>` of an event of the same turn."""


class Entry(msgspec.Struct, frozen=True):
    """One event, as an auditor reads it."""

    position: int
    version: int
    at: str
    """When it was recorded (the broker's clock), ISO 8601 in the merchant's zone."""
    observed_at: str
    """When the edge saw its cause."""
    tag: str
    label: str
    by: By
    message: str
    causation: str
    correlation: str
    source_tag: str
    rules: int
    facts: Any
    changes: dict[str, tuple[Any, Any]]
    """Field of the state → (before, after); None = it was not there."""
    payload: str
    """Digest of the raw bytes that came in, hex; "" where none were kept."""
    leaf: str
    personal: Any = None
    """The personal block where it was asked for; `erased` where its key is gone."""
    related: list[Related] = []


class StateAt(msgspec.Struct, frozen=True):
    """An actor's state as it was."""

    stream: str
    version: int
    position: int
    """Of the last event folded in; 0 = none yet."""
    at: str
    state: Any


def whole_keys(text: str) -> list[str]:
    """Return the streams that a text may name by itself: as a full key, or as `channel:shop:order no`."""
    parts = text.split(":", 2)
    keys = [text] if "-" in text and text.partition("-")[0] in DECIDERS else []
    if len(parts) == 3:  # noqa: PLR2004 - channel, shop, number
        keys.append(order_key(*parts))
    return keys


def find_stream(scan: Scan, text: str) -> str:
    """Return the stream meant by a full key, `channel:shop:order no`, or an order number that only one order has.

    Raises:
        UnknownKey: none is meant.
        SeveralKeys: several are.
    """
    for candidate in whole_keys(text):
        if scan.has_stream(candidate):
            return candidate
    found = scan.streams_ending(f":{encode_id(text)}", 6)
    if len(found) == 1:
        return found[0]
    if found:
        more = " and more" if len(found) > 5 else ""  # noqa: PLR2004 - one more than is shown was asked for
        raise SeveralKeys(f"{text!r} is the number of several orders: {', '.join(found[:5])}{more}; give the whole key")
    raise UnknownKey(
        f"the log knows no {text!r}; give a full key (order-taobao:shop1:10001, warehouse-A), channel:shop:number, "
        "or an order's number"
    )


def absent_stream(scan: Scan, text: str) -> str:
    """Return the stream that a full key, or `channel:shop:order no`, would name if there were one.

    Raises:
        UnknownKey: it is no full key, or there is such a stream.
    """
    keys = [key for key in whole_keys(text) if is_key(key)]
    if not keys:
        raise UnknownKey(
            f"{text!r} may be of any shop; give a full key (order-taobao:shop1:10001) or channel:shop:number"
        )
    for key in keys:
        if scan.has_stream(key):
            raise UnknownKey(f"{key} is there: leave --absent out")
    return keys[0]


def history(log: "ReplayLog", stream: str, zone: str, *, vault: Vault | None = None, last: int = 0) -> Iterator[Entry]:
    """Yield every event of a stream with what it changed, oldest first.

    Args:
        log: the log.
        stream: key of the actor.
        zone: the merchant's zone.
        vault: opens personal blocks; None = they are not shown.
        last: only so many of the latest events; 0 = all.
    """
    decider = DECIDERS[kind_of(stream)]
    state = decider.initial
    events = log.select(stream)
    turns: dict[str, list[Recorded]] = {}
    for number, event in enumerate(events):
        facts = decode_event(event.tag, event.data)
        before, state = state, decider.evolve(state, facts)
        if last and number < len(events) - last:
            continue
        envelope = decode_envelope(event.envelope)
        if envelope.message not in turns:
            turns = {envelope.message: _turn(log, event, envelope.message)}
        yield Entry(
            event.position,
            event.version,
            local(envelope.at, zone),
            local(envelope.observed_at, zone),
            event.tag,
            label_of(event.tag),
            envelope.by,
            envelope.message,
            envelope.causation,
            envelope.correlation,
            envelope.source_tag,
            envelope.rules,
            msgspec.json.decode(event.data),
            differences(before, state),
            digest_in(facts),
            event.leaf.hex(),
            _personal(vault, event) if vault is not None else None,
            [_related(each) for each in turns[envelope.message] if each.stream != stream],
        )


def digest_in(facts: Any) -> str:
    """Return the digest of raw bytes that an event names, hex; "" where it names none, or a message in their place."""
    named = getattr(facts, "payload", "")
    return named if _DIGEST.fullmatch(named) else ""


def state_at(
    log: "ReplayLog",
    stream: str,
    zone: str,
    *,
    position: int | None = None,
    time_ms: int | None = None,
    clock: Clock = "at",
) -> StateAt:
    """Fold a stream up to a position or a time, both included; up to its end where neither is given."""
    decider = DECIDERS[kind_of(stream)]
    state = decider.initial
    reached: Recorded | None = None
    for event in log.select(stream):
        if position is not None and event.position > position:
            break
        # Recorded times may differ from the order of events by a broker's clock; the first later one ends it.
        if time_ms is not None and getattr(decode_envelope(event.envelope), clock) > time_ms:
            break
        state = decider.evolve(state, decode_event(event.tag, event.data))
        reached = event
    shown = to_plain(state)
    if reached is None:
        return StateAt(stream, 0, 0, "", shown)
    at = local(decode_envelope(reached.envelope).at, zone)
    return StateAt(stream, reached.version, reached.position, at, shown)


def read_moment(text: str, zone: str, *, begins: bool = False) -> int:
    """Return a time given by a person, UTC ms; a time without zone is local.

    A date alone means the end of that day; where something `begins` with it, its beginning. Of two moments that clocks
    show alike when they go back it is the later one; where something begins with it, the earlier one.

    Raises:
        UnreadableTime: it cannot be told.
    """
    if _DATE.fullmatch(text.strip()):
        text = f"{text.strip()} {'00:00:00.000' if begins else '23:59:59.999'}"
    found = read_time(text, zone=zone, target=zone, fold=0 if begins else 1)
    if found is None:
        raise ValueError(f"{text!r} is no time")
    return found.utc_ms


def to_plain(state: Any) -> Any:
    """Return a state as dicts, lists and numbers."""
    return msgspec.to_builtins(state, enc_hook=_plain_map, str_keys=True)


def differences(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two states, field by field (`allocation.picked`, `levels[SKU1].reserved`)."""
    return dict(_differences("", before, after)) if before is not after else {}


def _differences(path: str, before: Any, after: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if before is after or before == after:
        return
    if isinstance(after, msgspec.Struct) and type(before) is type(after):
        for field in after.__struct_fields__:
            name = f"{path}.{field}" if path else field
            yield from _differences(name, getattr(before, field), getattr(after, field))
    elif isinstance(after, Mapping) and isinstance(before, Mapping):
        for key in sorted({*before, *after}):
            yield from _differences(f"{path}[{key}]", before.get(key), after.get(key))
    else:
        known, now = _by_id(before), _by_id(after)
        if known is not None and now is not None and known and now:
            yield from _differences(path, known, now)
        else:
            yield path, (to_plain(before), to_plain(after))


def _by_id(items: Any) -> dict[str, Any] | None:
    """Return a tuple of things that have ids as a dict, None where they have none."""
    if not isinstance(items, tuple) or not all(hasattr(item, "id") for item in items):
        return None
    return {item.id: item for item in items}


def _plain_map(value: Any) -> Any:
    if isinstance(value, immutables.Map):
        return dict(value.items())
    raise TypeError(f"a {type(value).__name__} has no plain form")


def _related(event: Recorded) -> Related:
    envelope = decode_envelope(event.envelope)
    named = (event.position, event.stream, event.version, event.tag, label_of(event.tag))
    return Related(*named, msgspec.json.decode(event.data), envelope.by, envelope.causation)


def _turn(log: "ReplayLog", event: Recorded, message: str) -> list[Recorded]:
    """Return all events of a message; they stand together in the log."""
    of_turn = partial(_same_message, message)
    first = event.position
    found: list[Recorded] = []
    while first > 1:
        page = log.read(max(first - 1 - _NEIGHBOURS, 0), min(_NEIGHBOURS, first - 1))
        kept = [each for each in page if of_turn(each)]
        found = kept + found
        first -= len(page)
        if len(kept) < len(page):
            break
    after = event.position - 1
    while page := log.read(after, _NEIGHBOURS):
        kept = [each for each in page if of_turn(each)]
        found += kept
        after = page[-1].position
        if len(kept) < len(page):
            break
    return found


def _same_message(message: str, event: Recorded) -> bool:
    return decode_envelope(event.envelope).message == message


def _personal(vault: Vault, event: Recorded) -> Any:
    if event.sealed is None:
        return None
    key = vault.keys((event.stream,), create=False).get(event.stream)
    if key is None:
        return ERASED
    try:
        return msgspec.json.decode(open_sealed(key, event.stream, event.sealed))
    except SealBroken as broken:
        return f"unreadable: {broken}"


def local(utc_ms: int, zone: str) -> str:
    """Return a moment, UTC ms, as ISO 8601 in a zone."""
    moment = datetime.fromtimestamp(utc_ms // 1000, UTC).replace(microsecond=utc_ms % 1000 * 1000)
    return moment.astimezone(zone_of(zone)).isoformat(timespec="milliseconds")
