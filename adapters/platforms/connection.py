"""How one shop on one platform is connected: addresses, plain options, and where its secrets are found."""

import re
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import NamedTuple, Protocol

import msgspec

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PLACE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.*\S.*", re.DOTALL)


class Connection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One shop of one channel. Holds no secret, only where secrets are."""

    name: str
    """What people and files call it: letters, digits, `-`, `_`; unique in the cell."""
    channel: str
    """Name of the channel, one of `adapters.platforms.MODULES`."""
    shop: str
    """The shop's name in keys of orders."""
    base_url: str = ""
    """Of the platform's interface; "" = the platform's own."""
    token_url: str = ""
    """Where tokens are made and refreshed, where that is another address; "" = the platform's own."""
    socket_url: str = ""
    """Of its message socket; "" = the platform's own."""
    enabled: bool = True
    pull_every_s: int = 300
    """0 = no timed pull (a reconciliation still pulls)."""
    listen: bool = True
    """Whether its message socket is listened to, where it has one."""
    options: dict[str, str] = {}
    """The platform's plain settings (`app_key`, `api_version` …), and `carrier.CODE` = the platform's own code."""
    secrets: dict[str, str] = {}
    """Name of a secret (`app_secret` …) → `env:VARIABLE` or `file:PATH` (a file that only its owner can read)."""


class Wants(NamedTuple):
    """What a platform reads of a connection beside its addresses; what else is there is a slip of the pen."""

    options: frozenset[str]
    """Names; one that ends with a dot stands for all that begin so (`carrier.`)."""
    secrets: frozenset[str]
    """Names."""
    needed: frozenset[str]
    """Those secrets without which nothing of it works."""
    pulls: bool = True
    """Whether orders are fetched; else they are only pushed."""

    def knows_option(self, name: str) -> bool:
        """Tell whether an option means something."""
        return any(
            name.startswith(each) and name != each if each.endswith(".") else name == each for each in self.options
        )


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a platform lets us in with. Times are UTC ms, 0 = never ends."""

    access: str
    expires_ms: int = 0
    refresh: str = ""
    refresh_expires_ms: int = 0

    def __repr__(self) -> str:
        return f"Token(expires_ms={self.expires_ms}, refresh_expires_ms={self.refresh_expires_ms})"


class BadSettings(ValueError):
    """A file of settings, or an entry in it, cannot be used: where, what is wrong, what to do."""


def is_name(text: str) -> bool:
    """Tell whether people and addresses can call an entry so."""
    return _NAME.fullmatch(text) is not None


def is_place(text: str) -> bool:
    """Tell whether this says where a secret is found, `env:VARIABLE` or `file:PATH`; it may be the secret itself."""
    return _PLACE.fullmatch(text) is not None


class MissingSecret(Exception):
    """A secret is not where the connection says: which one, where it was looked for, what to do."""


class Keys(Protocol):
    """The secrets of one connection, read when they are needed, never logged."""

    def secret(self, name: str) -> str:
        """Return a secret that the connection names.

        Raises:
            MissingSecret: it is not there, or others may read its file.
        """
        ...

    def token(self) -> Token | None:
        """Return the token that was kept last, None before the first."""
        ...

    def keep(self, token: Token) -> None:
        """Keep a token, durably, before it is used: a refreshed one makes the one before useless."""
        ...


def alone(keys: Keys) -> AbstractAsyncContextManager[None]:
    """Hold other processes off while a token is refreshed; inside: read it again, refresh it if it is still old, keep.

    Several processes speak with one shop (pulls, ship notices, the command line), and many platforms end the refresh
    token that was used. Keys that no other process has need no such thing.
    """
    hold = getattr(keys, "alone", None)
    return nullcontext() if hold is None else hold()
