"""Parcels on their way: what carriers say of them, when an order counts as delivered, and when something went wrong.

A sub-state of the order. Parcels enter it as they leave; scans of them come late, doubled and in any order, and are
kept in the order of their own time. What the latest scan says decides. 已签收 is told under 已发货: no status moves.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from domain.canonical import Parcel
from domain.decider import Command, DomainError, Event
from domain.time_units import DAY_MS

COMPLETE_AFTER_MS = 7 * DAY_MS
"""An order whose channel does not complete it is completed by rule so long after it was delivered."""
AHEAD_MS_MAX = DAY_MS
"""A scan that is dated further ahead than any clock or zone explains would decide for ever: it is not taken."""
SCANS_MAX = 500
"""Most scans of one order's parcels; more is a loop at the carrier's, and is refused."""

TrackState = Literal[
    "",
    "collected",
    "in_transit",
    "delivering",
    "signed",
    "problem",
    "refused",
    "returning",
    "returned",
    "forwarded",
    "customs",
]
"""揽收 在途 派件 签收 疑难 拒签 退回 退签 转投 清关; "" where the carrier does not say."""

FAILURES: Mapping[str, tuple[str, str]] = {
    "problem": ("疑难 the carrier has a problem with the parcel", "ask the carrier, then tell the customer"),
    "refused": ("拒签 the customer refused the parcel", "ask the customer why; send it again, or open an after-sale"),
    "returning": ("退回 the parcel is on its way back", "ask carrier and customer; send it again, or refund"),
    "returned": ("退签 the parcel came back to the sender", "book the goods in; send them again, or refund"),
}
"""State → (what it means, what service should do)."""


class Scan(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One thing a carrier noted of a parcel."""

    at_ms: int
    """The carrier's own time of it, UTC ms."""
    state: TrackState = ""
    where: str = ""
    """A place, as far as a town or a depot; never an address or a person."""
    text: str = ""
    """Digest of the carrier's own words, which may name a courier or the customer: they are not kept."""


class RecordTrack(Command, frozen=True):
    """A carrier, or a person, tells how a parcel gets on."""

    command_id: str
    """From the content: the same told again is the same act."""
    tracking: str
    carrier: str
    """Our code of it; "" = the one the parcel left with."""
    scans: tuple[Scan, ...]


class SettleDelivery(Command, frozen=True):
    """In-turn: what parcels and timers say means that the order is delivered, or over."""


# --- events


class ParcelTracked(Event, frozen=True):
    """A carrier told something new of a parcel. `scans` are those not known before, by their own time."""

    tracking: str
    carrier: str
    scans: tuple[Scan, ...]
    command: str = ""


class OrderDelivered(Event, frozen=True):
    """All parcels were signed for (已签收, under 已发货)."""

    delivered_ms: int
    """When the last one was, by the carrier's clock, UTC ms."""


class DeliveryFailed(Event, frozen=True):
    """A parcel does not reach the customer as things stand: refused, on its way back, or in trouble."""

    tracking: str
    carrier: str
    state: TrackState
    at_ms: int


# --- refusals


class NoSuchParcel(DomainError):
    """No parcel of this number has left for the order."""


class NothingScanned(DomainError):
    """A message about a parcel that says nothing of it, or only what is dated in the future."""


class TooManyScans(DomainError):
    """More was told of the order's parcels than any parcel lives through."""


# --- state


class Tracked(msgspec.Struct, frozen=True, gc=False):
    """A parcel."""

    tracking: str
    carrier: str
    own: bool = False
    """Whether we sent it; others are known from the channel, which may correct them."""
    beside: bool = False
    """Whether it was sent for an after-sale: it is followed, and decides nothing of the order's own delivery."""
    gone: bool = False
    """Whether the channel has put another number in its place: it decides nothing any more."""
    at_ms: int = 0
    """Of the latest scan with a state."""
    state: TrackState = ""
    """What that scan says."""
    scans: frozenset[Scan] = frozenset()


class Tracking(msgspec.Struct, frozen=True, gc=False):
    """All parcels of an order."""

    parcels: tuple[Tracked, ...] = ()
    delivered: bool = False
    due: bool = False
    """Whether the time in which the customer could still object is over."""


NO_TRACKING = Tracking()
_replace = msgspec.structs.replace


def sent(state: Tracking, parcels: Iterable[Parcel], *, own: bool) -> Tracking:
    """Return the state after these parcels left."""
    known = {each.tracking for each in state.parcels}
    told = {each.tracking: each.carrier for each in parcels if each.tracking and each.tracking not in known}
    fresh = [Tracked(tracking, carrier, own) for tracking, carrier in told.items()]
    return _replace(state, parcels=(*state.parcels, *fresh), delivered=False, due=False) if fresh else state


def sent_beside(state: Tracking, parcel: Parcel) -> Tracking:
    """Return the state after a parcel left for an after-sale."""
    if not parcel.tracking or any(each.tracking == parcel.tracking for each in state.parcels):
        return state
    return _replace(state, parcels=(*state.parcels, Tracked(parcel.tracking, parcel.carrier, own=True, beside=True)))


def corrected(state: Tracking, parcels: Sequence[Parcel]) -> Tracking:
    """Return the state after the channel told its parcels anew: a number it does not tell any more was wrong."""
    told = {each.tracking for each in parcels if each.tracking}
    if not told:
        return state
    after = sent(state, parcels, own=False)
    marked = tuple(
        each if each.own or each.gone is (each.tracking not in told) else _replace(each, gone=not each.gone)
        for each in after.parcels
    )
    return after if marked == after.parcels else _replace(after, parcels=marked)


def evolve(state: Tracking, event: Event) -> Tracking:
    """Return the state after an event of `EVENTS`."""
    match event:
        case ParcelTracked():
            parcels = tuple(
                _scanned(each, event.scans) if each.tracking == event.tracking else each for each in state.parcels
            )
            return _replace(state, parcels=parcels)
        case OrderDelivered():
            return _replace(state, delivered=True)
        case _:
            return state


EVENTS: tuple[type[Event], ...] = (ParcelTracked, OrderDelivered, DeliveryFailed)


def _scanned(parcel: Tracked, scans: Sequence[Scan]) -> Tracked:
    newest = latest((*scans, Scan(parcel.at_ms, parcel.state)))
    return _replace(parcel, scans=parcel.scans | set(scans), at_ms=newest.at_ms, state=newest.state)


def latest(scans: Iterable[Scan]) -> Scan:
    """Return the scan that decides: the latest that says anything; of one moment always the same."""
    return max((scan for scan in scans if scan.state), key=_by_time, default=Scan(0))


def _by_time(scan: Scan) -> tuple[int, bool, str]:
    # Carriers note the signature and the last call of a courier in one second.
    return scan.at_ms, scan.state == "signed", scan.state


def all_signed(state: Tracking) -> bool:
    """Whether every parcel of the order itself was signed for, and there is one."""
    return {each.state for each in _deciding(state)} == {"signed"}


def _deciding(state: Tracking) -> list[Tracked]:
    return [each for each in state.parcels if not (each.gone or each.beside)]


def overdue(state: Tracking) -> Tracking:
    """Return the state after the time to object ran out."""
    return _replace(state, due=True)


def signed_ms(state: Tracking) -> int:
    """Return when the last parcel of the order itself was signed for, UTC ms."""
    return max(each.at_ms for each in _deciding(state))


# --- decisions


def record(command: RecordTrack, state: Tracking, now_ms: int) -> tuple[ParcelTracked | None, DeliveryFailed | None]:
    """Return what a message tells that is new, and whether it means that the parcel does not arrive.

    Raises:
        NothingScanned, NoSuchParcel, TooManyScans: it is refused.
    """
    scans = {scan for scan in command.scans if scan.at_ms <= now_ms + AHEAD_MS_MAX}
    if not scans:
        what = "all that is said is dated in the future" if command.scans else "nothing is said"
        raise NothingScanned(f"{what} of parcel {command.tracking[:40]!r}")
    parcel = next((each for each in state.parcels if each.tracking == command.tracking), None)
    if parcel is None:
        left = ", ".join(each.tracking for each in state.parcels)[:200] or "none"
        raise NoSuchParcel(f"no parcel {command.tracking[:40]!r} has left for the order; known: {left}")
    fresh = tuple(sorted(scans - parcel.scans, key=_whole))
    if not fresh:
        return None, None
    if sum(len(each.scans) for each in state.parcels) + len(fresh) > SCANS_MAX:
        raise TooManyScans(f"more than {SCANS_MAX} scans of the parcels of one order; look what the carrier sends")
    carrier = command.carrier or parcel.carrier
    tracked = ParcelTracked(parcel.tracking, carrier, fresh, command.command_id)
    after = _scanned(parcel, fresh)
    news = (after.at_ms, after.state) != (parcel.at_ms, parcel.state) and after.state in FAILURES and not parcel.gone
    failed = DeliveryFailed(parcel.tracking, carrier, after.state, after.at_ms) if news else None
    return tracked, failed


def _whole(scan: Scan) -> tuple[int, str, str, str]:
    return scan.at_ms, scan.state, scan.where, scan.text
