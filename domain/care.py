"""What customers say of an order: complaints and enquiries, each with what it is about and how it came.

A complaint stays open until somebody closes it. An enquiry is *repeated* when its topic was asked within a day before:
then the answer had not helped. Whether the customer found it out by himself is told by who sent the message.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from domain.acts import CUSTOMER, Act, NobodyActs, acting, check_words, checked_links, word
from domain.decider import DomainError, Event
from domain.time_units import DAY_MS

CAUSES: Mapping[str, str] = {
    "gift_missing": "赠品缺失",
    "late": "发货或送达迟",
    "wrong_item": "错发",
    "missing_item": "漏发",
    "damaged": "破损",
    "quality": "质量",
    "price": "价格或优惠",
    "attitude": "服务态度",
    "other": "其他",
}
"""What a complaint can be about → the merchant's word."""
TOPICS: Mapping[str, str] = {
    "logistics": "物流",
    "shipping_time": "发货时间",
    "after_sale": "售后",
    "refund": "退款",
    "invoice": "发票",
    "address": "改地址",
    "gift": "赠品",
    "product": "商品",
    "price": "价格",
    "other": "其他",
}
"""What an enquiry can be about → the merchant's word."""
REPEAT_WITHIN_MS = DAY_MS
"""An enquiry on the same topic within so long after the last one is a repeat."""


class Complain(Act, frozen=True, kw_only=True):
    """The customer complains: to a person who records it, or by a channel. His words are among the sealed ones."""

    cause: str
    channel: str
    """How it came: `phone`, `wechat`, the name of a sales channel …"""
    gift: bool = False
    """Whether it is about a gift."""
    links: tuple[str, ...] = ()
    """Ids of what it is about: lines, parcels, interceptions, the platform's number of it."""


class CloseComplaint(Act, frozen=True, kw_only=True):
    """A complaint was dealt with."""

    complaint: str
    outcome: Literal["settled", "unfounded"]


class Enquire(Act, frozen=True, kw_only=True):
    """The customer wants to know something: of a person who records it, or by himself."""

    topic: str
    channel: str
    """As in `Complain`."""
    links: tuple[str, ...] = ()


class OrderComplained(Event, frozen=True):
    """The customer complained; his words, where there are any, are sealed beside it."""

    complaint: str
    """Id within the order."""
    cause: str
    """One of `CAUSES`."""
    channel: str
    gift: bool = False
    links: tuple[str, ...] = ()
    person: str = ""
    """Who recorded it; "" where it came by itself."""
    role: str = CUSTOMER
    command: str = ""


class ComplaintClosed(Event, frozen=True):
    """A complaint was dealt with."""

    complaint: str
    outcome: Literal["settled", "unfounded"]
    person: str
    role: str
    command: str = ""


class OrderEnquired(Event, frozen=True):
    """The customer wanted to know something; his words, where there are any, are sealed beside it."""

    topic: str
    """One of `TOPICS`."""
    channel: str
    self_service: bool
    """Whether he looked it up by himself."""
    repeats: int
    """How often the same was asked before, each time within a day after the last; 0 = for the first time."""
    asked_ms: int
    """UTC ms."""
    links: tuple[str, ...] = ()
    person: str = ""
    """Who answered; "" where nobody had to."""
    role: str = CUSTOMER
    command: str = ""


class UnknownCause(DomainError):
    """No complaint has such a cause."""


class UnknownTopic(DomainError):
    """No enquiry has such a topic."""


class NoSuchComplaint(DomainError):
    """There is no open complaint of that id."""


class Care(msgspec.Struct, frozen=True, gc=False):
    """How complaints and enquiries stand."""

    complaints: int = 0
    """How many there were."""
    open: tuple[str, ...] = ()
    """Ids of the complaints that nobody has closed."""
    asked: tuple[tuple[str, int, int], ...] = ()
    """(topic, when it was asked last in UTC ms, repeats of that enquiry)."""


_replace = msgspec.structs.replace


def _complained(state: Care, event: OrderComplained) -> Care:
    return _replace(state, complaints=state.complaints + 1, open=(*state.open, event.complaint))


def _closed(state: Care, event: ComplaintClosed) -> Care:
    return _replace(state, open=tuple(each for each in state.open if each != event.complaint))


def _enquired(state: Care, event: OrderEnquired) -> Care:
    others = tuple(each for each in state.asked if each[0] != event.topic)
    return _replace(state, asked=(*others, (event.topic, event.asked_ms, event.repeats)))


EVOLVE: Mapping[type[Event], Any] = {
    OrderComplained: _complained,
    ComplaintClosed: _closed,
    OrderEnquired: _enquired,
}
"""Event → function of (state, event)."""


def complain(act: Complain, state: Care) -> Sequence[Event]:
    """Open a complaint."""
    person, role = _who(act)
    check_words(act)
    if act.cause not in CAUSES:
        raise UnknownCause(f"no complaint is about {act.cause[:40]!r}; known are {', '.join(CAUSES)}")
    return (
        OrderComplained(
            f"complaint-{state.complaints + 1}",
            act.cause,
            word(act.channel, "the way a complaint came"),
            act.gift or act.cause == "gift_missing",
            checked_links(act.links),
            person,
            role,
            act.command_id,
        ),
    )


def close(act: CloseComplaint, state: Care) -> Sequence[Event]:
    """Close a complaint."""
    person, role = acting(act)
    check_words(act)
    if act.complaint not in state.open:
        raise NoSuchComplaint(f"no open complaint {act.complaint[:60]!r}; open are {', '.join(state.open) or 'none'}")
    return (ComplaintClosed(act.complaint, act.outcome, person, role, act.command_id),)


def enquire(act: Enquire, state: Care, now_ms: int) -> Sequence[Event]:
    """Record an enquiry."""
    person, role = _who(act)
    check_words(act)
    if act.topic not in TOPICS:
        raise UnknownTopic(f"no enquiry is about {act.topic[:40]!r}; known are {', '.join(TOPICS)}")
    repeats = next(
        (
            before + 1
            for topic, asked, before in state.asked
            if topic == act.topic and now_ms - asked <= REPEAT_WITHIN_MS
        ),
        0,
    )
    channel = word(act.channel, "the way an enquiry came")
    links = checked_links(act.links)
    return (OrderEnquired(act.topic, channel, not person, repeats, now_ms, links, person, role, act.command_id),)


def _who(act: Act) -> tuple[str, str]:
    """Return (id, role) of the person who records it; ("", "customer") where a channel brought it by itself."""
    if act.who.kind == "channel":
        return "", CUSTOMER
    if act.who.kind != "person":
        raise NobodyActs(f"{type(act).__name__} comes from a person or a channel, not from {act.who.kind!r}")
    return acting(act)
