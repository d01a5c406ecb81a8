"""What all acts of people on an order have in common: who acts, and what was written.

Who acts is the sender of the mail, whatever a body says: the turn fills it in. What people write may name a customer,
so it is sealed under the order's own key where it is written, before it travels: no mail, event, queue or log has a
place for it in clear. Beside the sealed words stand the names of what was filled in, for decisions to go by.
"""

import re
from collections.abc import Mapping
from unicodedata import normalize

from domain.decider import Command, DomainError
from domain.envelope import By

ROLES: Mapping[str, str] = {
    "sales": "销售",
    "warehouse": "仓储",
    "finance": "财务",
    "service": "客服",
    "operations": "运营",
    "keeper": "仓管员",
    "auditor": "审计",
    "engineer": "工程师",
}
"""The usual roles → the merchant's word for each. A rule book may name others (a workshop); any one word is a role."""
SEALED_BYTES_MAX = 64 * 1024
"""Most bytes of sealed words with one act: some twenty thousand Chinese characters."""
CUSTOMER = "customer"
"""Role of whoever asks or complains for himself."""
NOBODY = By("system")
_WORD = re.compile(r"\w{1,40}")
_LINK = re.compile(r"[^\s\x00-\x1f]{1,200}")
LINKS_MAX = 20


class Act(Command, frozen=True):
    """Base of what people do on an order."""

    command_id: str
    who: By = NOBODY
    """Who sent the mail: filled in by the turn, never taken from the body."""
    told: tuple[str, ...] = ()
    """Names of what stands in `sealed`: `text`, `note`, `reason`, or a form's field."""
    sealed: bytes = b""
    """What was written, JSON of name → text, sealed under the order's key."""


class NobodyActs(DomainError):
    """Only a person can do it, and the message is not from one."""


class UnknownRole(DomainError):
    """The person's role, or the one that is to act, is missing or no single word."""


class WordsMissing(DomainError):
    """Something must be written with it, or what was written did not arrive sealed."""


class WordsTooLong(DomainError):
    """More was written than one act takes."""


class NotAWord(DomainError):
    """A name that stands in clear must be one word; free text belongs into the sealed note."""


def person_id(who: By) -> str:
    """Return a person's id in one spelling: case and width of letters make nobody another person."""
    return normalize("NFKC", who.id).strip().casefold()


def acting(act: Act) -> tuple[str, str]:
    """Return (id, role) of the person who acts.

    Raises:
        NobodyActs: no person sent the mail.
        UnknownRole: it is not said as what.
    """
    person = person_id(act.who)
    if act.who.kind != "person" or not person:
        raise NobodyActs(f"{type(act).__name__} needs a person's name, and the message is from {act.who.kind!r}")
    return person, known_role(act.who.role)


def known_role(role: str) -> str:
    """Return a role.

    Raises:
        UnknownRole: it is no single word.
    """
    if not _WORD.fullmatch(role):
        raise UnknownRole(f"{role[:40]!r} is no role; a role is one word, usually {', '.join(ROLES)}")
    return role


def check_words(act: Act, *needed: str) -> None:
    """See to it that what was written came sealed, and that nothing needed was left out.

    Raises:
        WordsMissing: something is missing.
        WordsTooLong: it is more than one act takes.
    """
    if bool(act.told) is not bool(act.sealed):
        raise WordsMissing("what was written did not arrive sealed; write it once more")
    if len(act.sealed) > SEALED_BYTES_MAX:
        raise WordsTooLong(f"{len(act.sealed):,} bytes were written; at most {SEALED_BYTES_MAX:,} are taken")
    left_out = [name for name in needed if name not in act.told]
    if left_out:
        raise WordsMissing(f"not filled in: {', '.join(left_out)}")


def word(text: str, what: str) -> str:
    """Return a name that stands in clear.

    Raises:
        NotAWord: it is no single word.
    """
    if not _WORD.fullmatch(text):
        raise NotAWord(f"{what} must be one word of at most 40 letters, digits and _, without blanks")
    return text


def checked_links(links: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids of what an act is about.

    Raises:
        NotAWord: one of them is no id, or there are too many.
    """
    if len(links) > LINKS_MAX or not all(_LINK.fullmatch(link) for link in links):
        raise NotAWord(f"a link is an id without blanks, of at most 200 characters; at most {LINKS_MAX} are taken")
    return tuple(dict.fromkeys(links))
