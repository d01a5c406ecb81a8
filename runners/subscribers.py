"""The subscribers of a data directory, `subscribers.json`: who may read which feeds, and what of them.

The file holds the subscribers' passwords as hashes only, and in clear those of the outlet, which must show them.
"""

import contextlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import bcrypt
import msgspec

from adapters.nats.accounts import Member, accounts
from domain.catalogue import TYPES
from domain.cell import DECIDERS
from domain.ids import OF_CHANNELS, decode_id
from projections import PROJECTIONS
from runners import settings_file

FILE = "subscribers.json"
INSTALLED_FILE = "subscribers.installed"
"""Beside the embedded broker's configuration: the stamp of the file it has."""
EVENTS = "events"
MODELS = {each.bucket: each for each in PROJECTIONS if each.bucket}
"""Feeds of documents, by name."""
FEEDS = (EVENTS, *MODELS)
BUCKET_BYTES_MAX = 128 << 20
"""Of one bucket of one subscriber. The broker sets the room aside, so that no subscriber takes the mail's."""
BUCKETS_MAX = 32
"""Most buckets of all subscribers for which the embedded broker has room."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,48}")
_ROUNDS = 4
"""The fewest there are: a password of 192 random bits is not guessed, and each connection costs the broker one hash."""


class BadSubscribers(ValueError):
    """The file, or what it is to hold, cannot be used: what, where, what to do."""


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which events pass; an empty field lets all pass."""

    kinds: tuple[str, ...] = ()
    """Kinds of streams: order, warehouse …"""
    channels: tuple[str, ...] = ()
    """Streams that belong to no channel do not pass, nor do documents of other channels."""
    types: tuple[str, ...] = ()
    """Tags: order.paid …"""

    def lets(self, stream: str, tag: str) -> bool:
        """Tell whether an event passes."""
        if self.types and tag not in self.types:
            return False
        kind, _, parts = stream.partition("-")
        if self.kinds and kind not in self.kinds:
            return False
        return not self.channels or (kind in OF_CHANNELS and decode_id(parts.partition(":")[0]) in self.channels)

    def lets_document(self, key: str, *, by_channel: bool) -> bool:
        """Tell whether a document with this public key passes."""
        if not self.channels or not by_channel:
            return True
        return decode_id(decode_id(key).partition(":")[0]) in self.channels

    def faults(self) -> str:
        """Return what means nothing, "" where all does."""
        for what, given, known in (("kind", self.kinds, DECIDERS.keys()), ("type", self.types, TYPES.keys())):
            if strange := [each for each in given if each not in known]:
                return f"there is no {what} {strange[0][:80]!r}; known are {', '.join(sorted(known))}"
        return ""


EVERYTHING: Final = Filter()
"""Lets all pass."""


class Subscriber(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A service downstream."""

    name: str
    feeds: tuple[str, ...]
    password_hash: str
    outlet_password: str
    created: str
    """UTC, ISO 8601."""
    filter: Filter = EVERYTHING

    @property
    def member(self) -> Member:
        """As the broker knows it."""
        buckets = tuple(feed for feed in self.feeds if feed in MODELS)
        return Member(self.name, self.password_hash, self.outlet_password, self.feeds, buckets)


class Credentials(msgspec.Struct, frozen=True):
    """What a subscriber is given; shown once."""

    url: str
    user: str
    password: str
    cell: str
    feeds: tuple[str, ...]


_decoder = msgspec.json.Decoder(list[Subscriber])


def load(data: Path) -> tuple[Subscriber, ...]:
    """Return the subscribers; none where there is no file.

    Raises:
        BadSubscribers: the file or an entry is not as it must be.
        OSError: it cannot be read.
    """
    file = data / FILE
    raw = settings_file.read(file, BadSubscribers, "let themselves in")
    if raw is None:
        return ()
    try:
        found = tuple(_decoder.decode(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadSubscribers(f"{file}: {error} (`orderspine subscribers add` writes it)") from error
    check(found, str(file))
    return found


@contextlib.contextmanager
def editing(data: Path) -> Iterator[list[Subscriber]]:
    """Hold the file while its entries are changed; they are checked and written at the end.

    Raises:
        BadSubscribers: it is, or would not be, as it must be; nothing is written.
    """
    file = data / FILE
    with settings_file.held(file):
        entries = list(load(data))
        yield entries
        check(tuple(entries))
        settings_file.write(file, entries)


def new_password() -> tuple[str, str]:
    """Return a password and its hash."""
    password = secrets.token_urlsafe(24)
    return password, bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS, prefix=b"2a")).decode()


def broker_accounts(cell: str, subscribers: tuple[Subscriber, ...]) -> dict[str, Any]:
    """Return their accounts, as the broker's configuration has them."""
    return accounts(cell, [each.member for each in subscribers])


def stamp(data: Path) -> str:
    """Return what tells one state of the file from another."""
    return str(settings_file.stamp(data / FILE))


def check(entries: tuple[Subscriber, ...], place: str = FILE) -> None:
    """See that entries are as they must be.

    Raises:
        BadSubscribers: one is not.
    """
    names: set[str] = set()
    for each in entries:
        where = f"{place}, {each.name[:80]!r}"
        if not _NAME.fullmatch(each.name):
            raise BadSubscribers(f"{where}: a name has 1 to 48 letters, digits, - and _")
        if each.name in names:
            raise BadSubscribers(f"{where}: the name is there twice")
        names.add(each.name)
        if not each.feeds or (set(each.feeds) - set(FEEDS)) or len(set(each.feeds)) < len(each.feeds):
            raise BadSubscribers(f"{where}: feeds are one or more of {', '.join(FEEDS)}, each once")
        if wrong := each.filter.faults():
            raise BadSubscribers(f"{where}: {wrong}")
