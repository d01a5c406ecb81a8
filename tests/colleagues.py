"""Who works on orders in tests, and what they write: sealed by a stand-in, as an edge does."""

from typing import Any

from domain import approvals, care, talk
from domain.envelope import By
from domain.talk import mentions_of

WU = By("person", "wu", "sales")
LI = By("person", "li.wei", "finance")
ZHAO = By("person", "zhao", "finance")
QIAN = By("person", "qian", "operations")
CHEN = By("person", "chen", "service")
SHOP = By("channel", "miniprogram")


def words(text: str, name: str = "text") -> tuple[tuple[str, ...], bytes]:
    """Return what an act carries of a text: its name in clear, and bytes that nobody can read."""
    return (name,), b"\x01" + bytes(byte ^ 0xFF for byte in text.encode())


def comment(command: str, who: By, text: str) -> talk.Comment:
    told, sealed = words(text)
    return talk.Comment(command, who, told, sealed, mentions=mentions_of(text))


def approve(command: str, who: By, approval: str = "credit", *fields: str) -> approvals.Approve:
    return approvals.Approve(command, who, fields, b"sealed" if fields else b"", approval=approval)


def reject(command: str, who: By, approval: str = "credit") -> approvals.Reject:
    return approvals.Reject(command, who, *words("too much", "reason"), approval=approval)


def ask(command: str, who: By = WU, form: str = "credit", role: str = "finance", **more: Any) -> Any:
    return approvals.RequestApproval(command, who, form=form, role=role, **more)


def attach(command: str, who: By = WU, kind: str = "invoice", payload: str = "00f7") -> approvals.AttachDocument:
    return approvals.AttachDocument(command, who, *words("scan.pdf", "name"), kind=kind, size=9, payload=payload)


def complain(command: str, who: By = CHEN, cause: str = "late", **more: Any) -> care.Complain:
    return care.Complain(command, who, cause=cause, channel="phone", **more)


def enquire(command: str, who: By = CHEN, topic: str = "logistics", **more: Any) -> care.Enquire:
    return care.Enquire(command, who, topic=topic, channel="phone", **more)
