"""What people do on an order: approvals, talk, and what customers say of it; one part of the order's aggregate.

`domain.order` hands acts over and holds the state; here they are told apart.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from domain import approvals, care, talk
from domain.acts import Act
from domain.approvals import Approvals
from domain.care import Care
from domain.decider import Event
from domain.talk import Talk

NO_APPROVALS = Approvals()


class People(msgspec.Struct, frozen=True, gc=False):
    """State of all that."""

    approvals: Approvals = NO_APPROVALS
    talk: Talk = Talk()
    care: Care = Care()


NO_PEOPLE = People()
"""Of an order that nobody has said anything about."""


class Stand(msgspec.Struct, frozen=True, gc=False):
    """As much of the order itself as decides what people may do."""

    left: bool
    """Whether something is still to be sent."""
    subject: str
    """What an approval would be about; see `domain.approvals.subject_of`."""


def _to_be_sent(stand: Stand) -> None:
    if not stand.left:
        raise approvals.NothingToApprove("nothing of the order is still to be sent, so nothing can be approved")


def _request(act: approvals.RequestApproval, people: People, stand: Stand, now_ms: int) -> Sequence[Event]:
    _to_be_sent(stand)
    return approvals.request(act, people.approvals, stand.subject, now_ms)


_Handler = Callable[[Any, People, Stand, int], Sequence[Event]]

_DECIDE: Mapping[type[Act], _Handler] = {
    approvals.RequestApproval: _request,
    approvals.Approve: lambda act, people, _, __: approvals.approve(act, people.approvals),
    approvals.Reject: lambda act, people, _, __: approvals.reject(act, people.approvals),
    approvals.AttachDocument: lambda act, people, _, __: approvals.attach(act, people.approvals),
    approvals.DetachDocument: lambda act, people, _, __: approvals.detach(act, people.approvals),
    talk.Comment: lambda act, people, _, __: talk.comment(act, people.talk),
    talk.ReadMentions: lambda act, people, _, __: talk.read(act, people.talk),
    care.Complain: lambda act, people, _, __: care.complain(act, people.care),
    care.CloseComplaint: lambda act, people, _, __: care.close(act, people.care),
    care.Enquire: lambda act, people, _, now_ms: care.enquire(act, people.care, now_ms),
}
ACTS: frozenset[type[Act]] = frozenset(_DECIDE)
AT_ONCE = ACTS - {approvals.RequestApproval, approvals.Approve, approvals.Reject}
"""Acts that run while a quarantined message of the order waits: people talk about that very message."""
EVENTS: frozenset[type[Event]] = frozenset({*approvals.EVOLVE, *talk.EVOLVE, *care.EVOLVE})
WORDED: frozenset[type[Event]] = EVENTS - {
    approvals.ApprovalEscalated,
    approvals.ApprovalWithdrawn,
    talk.MentionsRead,
}
"""Events beside which the words of the act that led to them are stored, sealed."""


def decide(act: Act, people: People, stand: Stand, now_ms: int) -> Sequence[Event]:
    """Return what follows from an act. Raises DomainError where it breaks a rule."""
    return _DECIDE[type(act)](act, people, stand, now_ms)


def evolve(people: People, event: Event) -> People:
    """Return the state after the event."""
    kind = type(event)
    if kind in approvals.EVOLVE:
        return msgspec.structs.replace(people, approvals=approvals.EVOLVE[kind](people.approvals, event))
    if kind in talk.EVOLVE:
        return msgspec.structs.replace(people, talk=talk.EVOLVE[kind](people.talk, event))
    return msgspec.structs.replace(people, care=care.EVOLVE[kind](people.care, event))
