"""Access tokens: one valid at any time, refreshed ahead of its end, once for all who ask, kept before it is used."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from adapters.platforms.connection import Keys, MissingSecret, Token, alone
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformError
from domain.time_units import MINUTE_MS, SECOND_MS

T = TypeVar("T")

AUTHORISE: Final = "authorise the shop anew"
_AGAIN_MS: Final = MINUTE_MS
"""After a refresh ahead of time failed, the token that still holds is used this long before the next one."""
_AHEAD_PART: Final = 4
"""Never more than this part of a token's life ahead: short-lived tokens would be refreshed at every call."""


class TokenExpired(NotAuthorised):
    """The platform says that the access token is worn out. Raised for `TokenKeeper.using`, which refreshes it."""


def secret(keys: Keys, name: str) -> str:
    """Return a secret.

    Raises:
        NotAuthorised: it is not where the connection says.
    """
    try:
        return keys.secret(name)
    except MissingSecret as error:
        raise NotAuthorised(str(error)) from None


class TokenKeeper:
    """Keeps one shop's token fresh. Safe beside other processes that keep the same one (`connection.alone`)."""

    def __init__(
        self,
        keys: Keys,
        now_ms: Callable[[], int],
        refresh: Callable[[Token], Awaitable[Token]],
        *,
        ahead_ms: int,
    ) -> None:
        """Nothing is read yet.

        Args:
            keys: where the token is kept.
            now_ms: the clock, UTC ms.
            refresh: asks the platform for the next token; raises `NotAuthorised` where the refresh token is dead.
            ahead_ms: how long before its end a token is refreshed, at most a quarter of its life where that is known.
        """
        self._keys = keys
        self._now_ms = now_ms
        self._refresh = refresh
        self._ahead_ms = ahead_ms
        self._token: Token | None = None
        self._refreshing: asyncio.Task[Token] | None = None
        self._unkept: Token | None = None
        self._try_after_ms = 0

    async def access(self) -> str:
        """Return an access token that holds now.

        Raises:
            NotAuthorised: there is none, and none can be had without a person.
            PlatformBusy: it has ended and the platform cannot be asked for the next one now.
        """
        token = self._token
        if token is None or self._old(token):
            # Another process may have refreshed it, or a person authorised the shop anew.
            token = self._token = self._kept()
        if not self._old(token):
            return token.access
        if self._ended(token):
            return (await self._renewed(token)).access
        if self._now_ms() < self._try_after_ms:
            return token.access
        try:
            return (await self._renewed(token)).access
        except PlatformError:
            # It was ahead of time: what we have still holds, and the end will tell whoever is to act.
            self._try_after_ms = self._now_ms() + _AGAIN_MS
            return token.access

    async def using(self, call: Callable[[str], Awaitable[T]]) -> T:
        """Make a call with an access token; where the platform calls it worn out, refresh it once and call again.

        Raises:
            NotAuthorised: the fresh one is refused too, or there is none.
        """
        access = await self.access()
        try:
            return await call(access)
        except TokenExpired:
            access = await self._after(access)
        try:
            return await call(access)
        except TokenExpired as error:
            raise NotAuthorised(f"the platform refuses a fresh token as well: {error.reason}", AUTHORISE) from None

    async def close(self) -> None:
        """Wait for a refresh that is under way: its answer is the only copy of the next token."""
        if self._refreshing is not None:
            await asyncio.wait({self._refreshing})

    async def _after(self, worn: str) -> str:
        """Return an access token other than a worn-out one."""
        token = self._kept()
        if token.access == worn:
            token = await self._renewed(token)
        self._token = token
        return token.access

    async def _renewed(self, old: Token) -> Token:
        """Refresh, once for all who ask at the same time; a caller that goes away does not stop it."""
        task = self._refreshing
        if task is None:
            task = self._refreshing = asyncio.create_task(self._renew(old))
            task.add_done_callback(self._settled)
        token = await asyncio.shield(task)
        if token.access == old.access:
            raise NotAuthorised("the platform gave the worn-out token again", AUTHORISE)
        return token

    def _settled(self, task: asyncio.Task[Token]) -> None:
        self._refreshing = None
        if not task.cancelled():
            # Seen: whoever asked may be gone.
            task.exception()

    async def _renew(self, old: Token) -> Token:
        try:
            async with alone(self._keys):
                kept = self._kept()
                if kept.access != old.access:
                    self._token = kept
                    self._unkept = None
                    return kept
                return await self._next(kept)
        except MissingSecret as error:
            raise NotAuthorised(str(error)) from None

    async def _next(self, old: Token) -> Token:
        now_ms = self._now_ms()
        if not old.refresh:
            raise NotAuthorised("the access token has ended, and there is none to refresh it with", AUTHORISE)
        if old.refresh_expires_ms and old.refresh_expires_ms <= now_ms:
            raise NotAuthorised("the token to refresh the access with has ended", AUTHORISE)
        token = self._unkept or await self._asked(old)
        # The platform has ended the one before: until this one is on the disk, it must not be lost here either.
        self._unkept = token
        try:
            self._keys.keep(token)
        except OSError as error:
            raise PlatformBusy(
                f"the fresh token could not be kept: {error.strerror}", "make room on the disk"
            ) from None
        self._unkept = None
        self._token = token
        if token.expires_ms:
            self._ahead_ms = min(self._ahead_ms, max(0, token.expires_ms - now_ms) // _AHEAD_PART)
        return token

    async def _asked(self, old: Token) -> Token:
        try:
            token = await self._refresh(old)
        except OutcomeUnknown as error:
            raise PlatformBusy(f"the token was not refreshed: {error.reason}") from None
        except NotAuthorised as error:
            raise NotAuthorised(f"the token cannot be refreshed: {error.reason}", error.advice or AUTHORISE) from None
        if not token.refresh:
            token = msgspec.structs.replace(
                token, refresh=old.refresh, refresh_expires_ms=token.refresh_expires_ms or old.refresh_expires_ms
            )
        return token

    def _kept(self) -> Token:
        try:
            token = self._keys.token()
        except MissingSecret as error:
            raise NotAuthorised(str(error)) from None
        if token is None or not token.access:
            raise NotAuthorised("the shop has not let us in yet: there is no token", AUTHORISE)
        return token

    def _old(self, token: Token) -> bool:
        return bool(token.expires_ms) and self._now_ms() >= token.expires_ms - self._ahead_ms

    def _ended(self, token: Token) -> bool:
        return bool(token.expires_ms) and self._now_ms() >= token.expires_ms


def lasting(now_ms: int, expires_in_s: object, *, expires_at_s: object = None) -> int:
    """Return when a token ends, UTC ms, from "in so many seconds" or "at that Unix second"; 0 where neither is told."""
    at = _seconds(expires_at_s)
    if at:
        return at * SECOND_MS
    span = _seconds(expires_in_s)
    return now_ms + span * SECOND_MS if span else 0


def _seconds(value: object) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    return int(value) if isinstance(value, int | float) and value > 0 else 0
