"""The talk about an order: comments, whom they call, and how often the word goes from one role to another.

A text is sealed; its speaker, his role and those it calls stand in clear. A *round* begins with each message that
changes the speaking role, the first one included: one question and one answer are two rounds.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from domain.acts import ROLES, Act, acting, check_words
from domain.decider import DomainError, Event

MENTIONS_MAX = 20
"""Most roles and people that one comment may call."""
_CALLED = re.compile(rf"(?<![A-Za-z0-9._%+-])[@＠](?:({'|'.join(ROLES.values())})|([A-Za-z][A-Za-z0-9._-]{{0,63}}))")
_ADDRESS = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_NUMBER = re.compile(r"[0-9]{7,}")
_BY_WORD = {word: role for role, word in ROLES.items()}


class Comment(Act, frozen=True, kw_only=True):
    """A person says something about the order; `text` is among the sealed words."""

    mentions: tuple[str, ...] = ()
    """Roles and ids of people that the text calls, as `mentions_of` finds them."""


class ReadMentions(Act, frozen=True, kw_only=True):
    """A person has read where the order's talk calls his role or himself."""

    upto: int
    """Number of the last message that was shown to him."""


class OrderCommented(Event, frozen=True):
    """Somebody said something; the text is sealed beside it."""

    message: int
    """Its number in the order's talk, from 1."""
    round: int
    """Which round of communication it belongs to, from 1."""
    person: str
    role: str
    """The speaking role."""
    mentions: tuple[str, ...] = ()
    """Roles and ids of people that it calls."""
    command: str = ""


class MentionsRead(Event, frozen=True):
    """Messages that call a person, or his role, were read by him."""

    messages: tuple[int, ...]
    person: str
    role: str
    command: str = ""


class BadMention(DomainError):
    """What stands in clear as a mention is none, or there are too many."""


class Talk(msgspec.Struct, frozen=True, gc=False):
    """How the talk stands."""

    messages: int = 0
    rounds: int = 0
    role: str = ""
    """Who spoke last."""
    unread: tuple[tuple[int, str], ...] = ()
    """(message, whom it calls) of what was not read yet."""


_replace = msgspec.structs.replace


def _commented(state: Talk, event: OrderCommented) -> Talk:
    unread = (*state.unread, *((event.message, each) for each in event.mentions))
    return Talk(event.message, event.round, event.role, unread)


def _read(state: Talk, event: MentionsRead) -> Talk:
    mine = (event.person, event.role)
    left = tuple(each for each in state.unread if each[0] not in event.messages or each[1] not in mine)
    return _replace(state, unread=left)


EVOLVE: Mapping[type[Event], Any] = {OrderCommented: _commented, MentionsRead: _read}
"""Event → function of (state, event)."""


def mentions_of(text: str) -> tuple[str, ...]:
    """Return whom a text calls: roles in either language (`@finance`, `@财务`) and ids of people (`@li.wei`).

    They stand in clear in the record. So what is no call of a colleague is left alone: an e-mail address, and whatever
    holds seven digits in a row, which may be somebody's telephone.
    """
    found: dict[str, None] = {}
    for chinese, name in _CALLED.findall(text):
        address = _BY_WORD.get(chinese) or name.lower().rstrip("._-")
        if not _NUMBER.search(address):
            found[address] = None
    return tuple(found)


def comment(act: Comment, state: Talk) -> Sequence[Event]:
    """Take a message."""
    person, role = acting(act)
    check_words(act, "text")
    if len(act.mentions) > MENTIONS_MAX or not all(_is_address(each) for each in act.mentions):
        raise BadMention(f"a comment calls at most {MENTIONS_MAX} roles or people, each by a role's name or an id")
    rounds = state.rounds + (role != state.role)
    mentions = tuple(dict.fromkeys(act.mentions))
    return (OrderCommented(state.messages + 1, rounds, person, role, mentions, act.command_id),)


def read(act: ReadMentions, state: Talk) -> Sequence[Event]:
    """Note what was read: nothing where nothing was unread."""
    mine = acting(act)
    check_words(act)
    messages = tuple(dict.fromkeys(number for number, to in state.unread if number <= act.upto and to in mine))
    return (MentionsRead(messages, *mine, act.command_id),) if messages else ()


def _is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None and not _NUMBER.search(text)
