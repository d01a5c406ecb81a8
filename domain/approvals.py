"""Approvals: what somebody must agree to before an order ships, as a form with its fields and documents.

The rule book asks for them (credit review of large amounts, confirmation of craft work, customs clearance), or a person
does. An approval that is open or rejected keeps the order from shipping, whatever else holds; stock may be reserved.
Who asked may not approve, and nobody counts twice. What was approved is one state of the order: when its goods or its
amount change, the same form is asked for again.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec

from domain.acts import Act, acting, check_words, known_role, word
from domain.canonical import Amounts, Line
from domain.decider import DomainError, Event
from domain.rulings import Form
from domain.time_units import DAY_MS

PEOPLE_MAX = 5
"""Most people that one form may ask for."""
DUE_MAX_MS = 366 * DAY_MS
DOCUMENTS_MAX = 50
"""Most documents attached to one order at a time."""


# --- commands


class RequestApproval(Act, frozen=True, kw_only=True):
    """A person wants the order approved before it ships. Asking again for a form keeps what it asked for before."""

    form: str
    role: str = ""
    """Who must approve; needed for a form that was not asked for before."""
    fields: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    people: int = 1
    due_within_ms: int = 0
    """After so long it goes to `escalate_to` as well; 0 = never."""
    escalate_to: str = ""


class Approve(Act, frozen=True, kw_only=True):
    """A person says yes. The form's fields are among the sealed words."""

    approval: str
    attempt: int = 0
    """Which asking the person has seen; 0 = whichever stands."""


class Reject(Act, frozen=True, kw_only=True):
    """A person says no; the reason is among the sealed words."""

    approval: str


class AttachDocument(Act, frozen=True, kw_only=True):
    """A document for the order: its name is among the sealed words, its bytes are sealed like raw payloads."""

    kind: str
    """What it is, as forms name it: `customs_declaration`, `drawing` …"""
    size: int = 0
    """Bytes of the document itself: counted by whoever stores them."""
    raw: bytes = b""
    """The document, sealed under the order's key; it leaves the command before the turn."""
    ref: str = ""
    """Where an edge has put sealed bytes too big for the broker; `raw` is empty then."""
    payload: str = ""
    """Digest of the stored, sealed bytes, hex: filled in by whoever stores them."""


class DetachDocument(Act, frozen=True, kw_only=True):
    """A document was attached by mistake. Its bytes stay in the record."""

    document: str


# --- events


class ApprovalRequested(Event, frozen=True):
    """Somebody must approve the order before it ships. Words of whoever asked are sealed beside it."""

    approval: str
    """Id within the order: the form's name, numbered where several rules ask for one of that name."""
    form: str
    role: str
    attempt: int
    """How often this approval has been asked for, from 1."""
    fields: tuple[str, ...] = ()
    """What each one who approves must fill in."""
    documents: tuple[str, ...] = ()
    """Kinds of documents that must be attached before."""
    people: int = 1
    """How many different people must approve."""
    due_ms: int = 0
    """When it is escalated, UTC ms; 0 = never."""
    due_within_ms: int = 0
    """How long that was from the asking."""
    escalate_to: str = ""
    rule: str = ""
    """Rule that asks for it; "" where a person does."""
    rules: int = 0
    """Version of the rule book."""
    asked_by: str = ""
    """Id of the person who asked; "" where a rule did."""
    subject: str = ""
    """Digest of the goods and the amount that are to be approved."""
    command: str = ""


class ApprovalGiven(Event, frozen=True):
    """One person's yes. What was filled in is sealed beside it."""

    approval: str
    attempt: int
    person: str
    role: str
    yes: int
    """How many people have said yes, this one included."""
    complete: bool
    """Whether these are enough."""
    filled: tuple[str, ...] = ()
    """Names of what was filled in."""
    command: str = ""


class ApprovalRejected(Event, frozen=True):
    """One person's no; the reason is sealed beside it. The order stays on hold until it is cancelled or asked again."""

    approval: str
    attempt: int
    person: str
    role: str
    command: str = ""


class ApprovalEscalated(Event, frozen=True):
    """Nobody had decided in time: from now on another role may, too, and should."""

    approval: str
    attempt: int
    role: str
    """Role that it goes to."""
    due_ms: int
    """When it was due, UTC ms."""


class ApprovalWithdrawn(Event, frozen=True):
    """It is not needed any more: `cancelled`, `nothing_left` to be sent, or its rule asks for it `no_longer`."""

    approval: str
    attempt: int
    reason: Literal["cancelled", "nothing_left", "no_longer"]


class DocumentAttached(Event, frozen=True):
    """A document was attached; its name is sealed beside it, its bytes are a sealed payload."""

    document: str
    """Id within the order: its kind and a running number."""
    kind: str
    payload: str
    """Digest of the stored bytes, hex."""
    size: int
    """Bytes of the document itself."""
    person: str
    role: str
    command: str = ""


class DocumentDetached(Event, frozen=True):
    """A document does not count any more. Its bytes stay."""

    document: str
    person: str
    role: str
    command: str = ""


# --- refusals


class NoSuchApproval(DomainError):
    """There is no open approval of that name."""


class NotYourForm(DomainError):
    """The form is for another role."""


class FourEyes(DomainError):
    """Nobody approves what he asked for, and nobody counts twice."""


class AskedAnew(DomainError):
    """The order was changed, and the approval asked for anew, since the person looked."""


class DocumentsMissing(DomainError):
    """The form needs documents that are not attached."""


class AskedAlready(DomainError):
    """The approval is open."""


class AskedOtherwise(DomainError):
    """Asking again does not change what a form asks for."""


class BadForm(DomainError):
    """The request cannot be followed as it is."""


class NothingToApprove(DomainError):
    """Nothing of the order is still to be sent."""


class BytesGone(DomainError):
    """The document's bytes did not arrive."""


class TooManyDocuments(DomainError):
    """More documents than any order needs."""


class NoSuchDocument(DomainError):
    """No such document is attached."""


class DocumentCounts(DomainError):
    """Somebody approved the order by this document."""


# --- state


class Approval(msgspec.Struct, frozen=True, gc=False):
    """One form, as it was asked for last, and how it stands."""

    asked: ApprovalRequested
    verdict: Literal["open", "approved", "rejected", "withdrawn"] = "open"
    approvers: tuple[str, ...] = ()
    """Ids of the people who said yes."""
    escalated: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """Who may decide on it."""
        asked = self.asked
        return tuple(dict.fromkeys((asked.role, asked.escalate_to))) if self.escalated else (asked.role,)

    @property
    def blocks(self) -> bool:
        """Whether it keeps the order from shipping."""
        return self.verdict in ("open", "rejected")


class Attached(msgspec.Struct, frozen=True, gc=False):
    """A document that counts."""

    document: str
    kind: str
    payload: str


class Approvals(msgspec.Struct, frozen=True, gc=False):
    """All that was asked for on one order, and the documents attached to it."""

    asked: tuple[Approval, ...] = ()
    documents: tuple[Attached, ...] = ()
    attached: int = 0
    """How many documents were attached in all."""


_replace = msgspec.structs.replace


def _requested(state: Approvals, event: ApprovalRequested) -> Approvals:
    others = tuple(each for each in state.asked if each.asked.approval != event.approval)
    return _replace(state, asked=(*others, Approval(event)))


def _with(state: Approvals, approval: str, **changes: Any) -> Approvals:
    asked = tuple(_replace(each, **changes) if each.asked.approval == approval else each for each in state.asked)
    return _replace(state, asked=asked)


def _given(state: Approvals, event: ApprovalGiven) -> Approvals:
    approvers = next((each.approvers for each in state.asked if each.asked.approval == event.approval), ())
    verdict = "approved" if event.complete else "open"
    return _with(state, event.approval, approvers=(*approvers, event.person), verdict=verdict)


def _attached(state: Approvals, event: DocumentAttached) -> Approvals:
    documents = (*state.documents, Attached(event.document, event.kind, event.payload))
    return _replace(state, documents=documents, attached=state.attached + 1)


def _detached(state: Approvals, event: DocumentDetached) -> Approvals:
    return _replace(state, documents=tuple(each for each in state.documents if each.document != event.document))


EVOLVE: Mapping[type[Event], Any] = {
    ApprovalRequested: _requested,
    ApprovalGiven: _given,
    ApprovalRejected: lambda state, event: _with(state, event.approval, verdict="rejected"),
    ApprovalEscalated: lambda state, event: _with(state, event.approval, escalated=True),
    ApprovalWithdrawn: lambda state, event: _with(state, event.approval, verdict="withdrawn"),
    DocumentAttached: _attached,
    DocumentDetached: _detached,
}
"""Event → function of (state, event)."""


# --- questions


def blocking(state: Approvals) -> tuple[Approval, ...]:
    """Return what keeps the order from shipping: open and rejected approvals."""
    return tuple(each for each in state.asked if each.blocks)


def next_due(state: Approvals) -> int | None:
    """Return when the next approval is to be escalated, UTC ms; None where none is."""
    return min((each.asked.due_ms for each in state.asked if _escalates(each)), default=None)


def _escalates(approval: Approval) -> bool:
    asked = approval.asked
    return approval.verdict == "open" and bool(asked.due_ms and asked.escalate_to) and not approval.escalated


def subject_of(lines: Sequence[Line], amounts: Amounts) -> str:
    """Return what an approval is about: goods, units and the amount to be paid, and no more than that."""
    goods = sorted((line.id, line.item or line.sku, line.quantity) for line in lines if line.state != "cancelled")
    said = msgspec.json.encode((goods, amounts.payable, amounts.currency))
    return sha256(said).hexdigest()[:16]


# --- decisions of the order itself


def request_approvals(
    state: Approvals, forms: Sequence[Form], rules: int, subject: str, now_ms: int
) -> list[ApprovalRequested | ApprovalWithdrawn]:
    """Return what follows from the forms that the rule book asks of an order now.

    Asked for is what was not yet, and what was asked for other goods or another amount (by a person, too). What a rule
    asked for and no longer does is withdrawn, if it still blocks. A rejected form stays so until a person asks again.

    Args:
        state: what was asked for before.
        forms: everything that the rule book asks for now.
        rules: version of the rule book.
        subject: what is to be approved, see `subject_of`.
        now_ms: UTC ms.
    """
    events: list[ApprovalRequested | ApprovalWithdrawn] = []
    names = {each.asked.approval for each in state.asked}
    wanted = {(form.rule, form.form): form for form in forms}
    known = {(each.asked.rule, each.asked.form): each for each in state.asked}
    for key, form in wanted.items():
        before = known.get(key)
        if before is None:
            name = _free_name(form.form, names)
            names.add(name)
            events.append(_asked(name, form, rules, subject, now_ms, 1))
        elif before.verdict == "withdrawn" or (before.verdict != "rejected" and before.asked.subject != subject):
            asked = before.asked
            events.append(_asked(asked.approval, form, rules, subject, now_ms, asked.attempt + 1))
    for key, each in known.items():
        asked = each.asked
        if asked.rule and each.blocks and key not in wanted:
            events.append(ApprovalWithdrawn(asked.approval, asked.attempt, "no_longer"))
        elif not asked.rule and each.verdict in ("open", "approved") and asked.subject != subject:
            events.append(_again(asked, subject, now_ms))
    return events


def _asked(name: str, form: Form, rules: int, subject: str, now_ms: int, attempt: int) -> ApprovalRequested:
    return ApprovalRequested(
        name,
        form.form,
        form.role,
        attempt,
        form.fields,
        form.documents,
        form.people,
        _due(now_ms, form.due_within_ms),
        form.due_within_ms,
        form.escalate_to,
        form.rule,
        rules,
        "",
        subject,
    )


def _again(asked: ApprovalRequested, subject: str, now_ms: int) -> ApprovalRequested:
    due_ms = _due(now_ms, asked.due_within_ms)
    return _replace(asked, attempt=asked.attempt + 1, due_ms=due_ms, subject=subject, command="")


def _due(now_ms: int, within_ms: int) -> int:
    return now_ms + within_ms if within_ms else 0


def _free_name(form: str, names: set[str]) -> str:
    name, number = form, 1
    while name in names:
        number += 1
        name = f"{form}-{number}"
    return name


def escalate(state: Approvals, now_ms: int) -> list[ApprovalEscalated]:
    """Return what is due and goes to another role."""
    return [
        ApprovalEscalated(each.asked.approval, each.asked.attempt, each.asked.escalate_to, each.asked.due_ms)
        for each in state.asked
        if _escalates(each) and each.asked.due_ms <= now_ms
    ]


def withdraw(state: Approvals, reason: Literal["cancelled", "nothing_left"]) -> list[ApprovalWithdrawn]:
    """Withdraw everything that blocks: nothing is left to be blocked."""
    return [ApprovalWithdrawn(each.asked.approval, each.asked.attempt, reason) for each in blocking(state)]


# --- decisions on what people do


def request(act: RequestApproval, state: Approvals, subject: str, now_ms: int) -> Sequence[Event]:
    """Ask for an approval, or once more for one that was rejected, given or withdrawn."""
    person, _ = acting(act)
    check_words(act)
    before = _find(state, act.form)
    if before is None:
        _check_form(act)
        within_ms = act.due_within_ms
        asked = ApprovalRequested(
            act.form,
            act.form,
            act.role,
            1,
            act.fields,
            act.documents,
            act.people,
            _due(now_ms, within_ms),
            within_ms,
            act.escalate_to,
        )
    else:
        _check_again(act, before)
        asked = _again(before.asked, subject, now_ms)
    return (_replace(asked, asked_by=person, subject=subject, command=act.command_id),)


def _check_form(act: RequestApproval) -> None:
    word(act.form, "a form's name")
    known_role(act.role)
    for name in (*act.fields, *act.documents):
        word(name, "a field or a kind of document")
    if not 1 <= act.people <= PEOPLE_MAX:
        raise BadForm(f"from 1 to {PEOPLE_MAX} people can be asked for, not {act.people}")
    if not 0 <= act.due_within_ms <= DUE_MAX_MS:
        raise BadForm("it must be due within a year, or never (0)")
    if bool(act.escalate_to) is not bool(act.due_within_ms):
        raise BadForm("a due time and the role that it goes to then belong together: give both, or neither")
    if act.escalate_to:
        known_role(act.escalate_to)


def _check_again(act: RequestApproval, before: Approval) -> None:
    asked = before.asked
    if before.verdict == "open":
        raise AskedAlready(f"{asked.approval} is open already; {' or '.join(before.roles)} must decide on it")
    given = (act.role, act.fields, act.documents, act.people, act.due_within_ms, act.escalate_to)
    left_out = ("", (), (), 1, 0, "")
    same = (asked.role, asked.fields, asked.documents, asked.people, asked.due_within_ms, asked.escalate_to)
    if any(value not in (nothing, old) for value, nothing, old in zip(given, left_out, same, strict=True)):
        raise AskedOtherwise(
            f"{asked.approval} was asked of {asked.role} before, and asking again changes nothing of the form; "
            "leave the other options out, or ask for a form of another name"
        )


def approve(act: Approve, state: Approvals) -> Sequence[Event]:
    """Say yes, if the person may and the form is complete."""
    person, role = acting(act)
    approval = _open(state, act.approval)
    asked = approval.asked
    _check_role(approval, role)
    if act.attempt not in (0, asked.attempt):
        raise AskedAnew(f"{asked.approval} was asked for anew since: look at the order as it is now, then decide")
    if person == asked.asked_by:
        raise FourEyes(f"{person} asked for {asked.approval}; somebody else must approve it")
    if person in approval.approvers:
        raise FourEyes(f"{person} has approved {asked.approval} already; another person must")
    check_words(act, *asked.fields)
    missing = sorted(set(asked.documents) - {each.kind for each in state.documents})
    if missing:
        raise DocumentsMissing(f"{asked.approval} needs documents that are not attached: {', '.join(missing)}")
    yes = len(approval.approvers) + 1
    filled = tuple(sorted(act.told))
    complete = yes >= asked.people
    return (ApprovalGiven(asked.approval, asked.attempt, person, role, yes, complete, filled, act.command_id),)


def reject(act: Reject, state: Approvals) -> Sequence[Event]:
    """Say no."""
    person, role = acting(act)
    approval = _open(state, act.approval)
    _check_role(approval, role)
    check_words(act, "reason")
    asked = approval.asked
    return (ApprovalRejected(asked.approval, asked.attempt, person, role, act.command_id),)


def attach(act: AttachDocument, state: Approvals) -> Sequence[Event]:
    """Attach a document, once."""
    person, role = acting(act)
    kind = word(act.kind, "a kind of document")
    check_words(act, "name")
    if not act.payload:
        raise BytesGone("the document's bytes did not arrive, or not sealed for this order; attach it once more")
    if any((each.kind, each.payload) == (kind, act.payload) for each in state.documents):
        return ()
    if len(state.documents) >= DOCUMENTS_MAX:
        raise TooManyDocuments(f"{DOCUMENTS_MAX} documents are attached; detach what is not needed")
    document = f"{kind}-{state.attached + 1}"
    return (DocumentAttached(document, kind, act.payload, act.size, person, role, act.command_id),)


def detach(act: DetachDocument, state: Approvals) -> Sequence[Event]:
    """Detach a document that nobody has approved the order by."""
    person, role = acting(act)
    check_words(act)
    found = next((each for each in state.documents if each.document == act.document), None)
    if found is None:
        known = ", ".join(each.document for each in state.documents) or "none"
        raise NoSuchDocument(f"no document {act.document[:60]!r} is attached; attached are {known}")
    others = {each.kind for each in state.documents if each is not found}
    for each in state.asked:
        if each.approvers and found.kind in each.asked.documents and found.kind not in others:
            raise DocumentCounts(f"{each.asked.approval} was approved by it; attach another of its kind first")
    return (DocumentDetached(found.document, person, role, act.command_id),)


def _find(state: Approvals, name: str) -> Approval | None:
    return next((each for each in state.asked if each.asked.approval == name), None)


def _open(state: Approvals, name: str) -> Approval:
    found = _find(state, name)
    if found is None or found.verdict != "open":
        stands = f"it is {found.verdict}" if found else "nobody has asked for it"
        still = ", ".join(each.asked.approval for each in state.asked if each.verdict == "open") or "nothing"
        raise NoSuchApproval(f"{name[:60]!r} cannot be decided on: {stands}; open is {still}")
    return found


def _check_role(approval: Approval, role: str) -> None:
    if role not in approval.roles:
        raise NotYourForm(f"{approval.asked.approval} is for {' or '.join(approval.roles)}, not for {role}")
