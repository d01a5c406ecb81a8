"""Calls to Shopify's Admin API (REST): the token, the leaky bucket, and what its statuses mean.

All of it is [inferred] from general knowledge: the public sources prove orders and webhooks, not these calls.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from adapters.platforms.answers import answered, count, members, text
from adapters.platforms.connection import Connection, Keys, Token
from adapters.platforms.http import Answer, Http
from adapters.platforms.places import address, needed, rate
from adapters.platforms.tokens import AUTHORISE, TokenExpired, TokenKeeper, lasting, secret
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.time_units import MINUTE_MS

API_VERSION: Final = "2026-07"
TOKEN_PATH: Final = "/admin/oauth/access_token"  # noqa: S105
AHEAD_MS: Final = 10 * MINUTE_MS
CALLS_PER_S: Final = 2.0
"""The bucket leaks two calls a second on the standard plan, and holds forty."""
BUCKET: Final = "x-shopify-shop-api-call-limit"
_LEAKS_IN_S: Final = 20
"""A full bucket is empty after so long, on every plan."""
_KEPT_FREE: Final = 8
"""One part in so many of the bucket is left to other programs with the same keys."""

_OK: Final = range(200, 300)
_ELSEWHERE: Final = range(300, 400)
_NOT_LET_IN: Final = 401
_FORBIDDEN: Final = frozenset({402, 403, 423})
"""The shop is frozen, the permission is missing, the shop is locked."""
_ERRORS: Final = frozenset({"errors", "error"})
_SHOWN_MAX: Final = 200
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_JSON: Final = {"content-type": "application/json"}


class ShopifyClient:
    """One shop's calls."""

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        now_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is sent yet.

        Raises:
            ValueError: an option or address is missing or wrong.
        """
        self.shop_domain = domain_of(connection)
        self._app_key = connection.options.get("app_key", "")
        self._api = f"/admin/api/{connection.options.get('api_version', '') or API_VERSION}"
        self._keys = keys
        self._now_ms = now_ms
        self._given = "access_token" in connection.secrets
        self._tokens = TokenKeeper(keys, now_ms, self._refresh, ahead_ms=AHEAD_MS)
        base = address(connection.base_url, f"https://{self.shop_domain}", "")
        self._token_url = address(connection.token_url, base, TOKEN_PATH)
        per_s, burst = rate(connection, CALLS_PER_S)
        self._http = Http(base, per_s=per_s, burst=burst)
        self._sleep = sleep
        self._wait_s = 0.0

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: Mapping[str, Any] | None = None,
        repeatable: bool,
    ) -> Answer:
        """Call below `/admin/api/<version>`; return an answer of success.

        Raises:
            PlatformError: see its kinds; status 404 is `PlatformRefused` with that code.
        """

        async def with_token(access: str) -> Answer:
            wait_s, self._wait_s = self._wait_s, 0.0
            if wait_s:
                await self._sleep(wait_s)
            answer = await self._http.call(
                method,
                f"{self._api}/{path}",
                params=params,
                headers={"x-shopify-access-token": access, "accept": "application/json", **(_JSON if content else {})},
                content=json.dumps(content, ensure_ascii=False).encode() if content else b"",
                repeatable=repeatable,
                judge=lambda answer: judge(answer, repeatable=repeatable),
            )
            self._wait_s = wait_after(answer.headers.get(BUCKET, ""))
            return answer

        if self._given:
            return await with_token(secret(self._keys, "access_token"))
        return await self._tokens.using(with_token)

    async def token(self, grant: Mapping[str, str]) -> Token:
        """Ask for a token.

        Raises:
            PlatformError: see its kinds.
        """
        asked = {**grant, "client_id": self._app_key, "client_secret": secret(self._keys, "app_secret")}
        answer = await self._http.call(
            "POST", self._token_url, headers=_JSON, content=json.dumps(asked).encode(), repeatable=True
        )
        found = answered(answer.body, "Shopify")
        access = text(found, "access_token")
        if answer.status not in _OK or not access:
            raise NotAuthorised(f"Shopify gave no token: status {answer.status} {_told(answer)}".rstrip(), AUTHORISE)
        now_ms = self._now_ms()
        return Token(
            access,
            lasting(now_ms, count(found, "expires_in")),
            text(found, "refresh_token"),
            lasting(now_ms, count(found, "refresh_token_expires_in")),
        )

    async def close(self) -> None:
        """Release connections."""
        await self._tokens.close()
        await self._http.close()

    async def _refresh(self, token: Token) -> Token:
        return await self.token({"grant_type": "refresh_token", "refresh_token": token.refresh})


def domain_of(connection: Connection) -> str:
    """Return the shop's own domain.

    Raises:
        ValueError: the option is missing or no domain.
    """
    domain = needed(connection, "shop_domain", "the shop's name.myshopify.com").lower()
    if _DOMAIN.fullmatch(domain) is None:
        raise ValueError(
            f"connection {connection.name}: the option shop_domain must be a domain only, as name.myshopify.com"
        )
    return domain


def judge(answer: Answer, *, repeatable: bool) -> None:
    """Look at the status of an answer, and for errors inside it.

    Raises:
        PlatformError: it is none of success; its kind says what to do.
    """
    status = answer.status
    found = members(answer.body)
    if status in _OK and found and not _ERRORS & found.keys():
        return
    reason = f"Shopify answered with status {status} {_told(answer)}".rstrip()
    if status in _OK:
        # Success, and yet errors or nothing that can be read.
        if repeatable:
            raise PlatformBusy(reason)
        raise OutcomeUnknown(reason, "it may have been done: ask before telling it again")
    if status == _NOT_LET_IN:
        raise TokenExpired(reason, AUTHORISE)
    if status in _FORBIDDEN:
        raise NotAuthorised(reason, "look at the app's permissions and at the shop's standing")
    if status in _ELSEWHERE:
        raise PlatformRefused(reason, "look at the option shop_domain", code=str(status))
    raise PlatformRefused(reason, code=str(status))


def wait_after(calls: str) -> float:
    """Return how long to wait after an answer whose bucket is this full ("32/40"), seconds."""
    used, _, limit = calls.partition("/")
    if not (used.isascii() and used.isdigit() and limit.isascii() and limit.isdigit() and int(limit)):
        return 0.0
    over = int(used) - (int(limit) - int(limit) / _KEPT_FREE)
    return max(0.0, over / int(limit) * _LEAKS_IN_S)


def _told(answer: Answer) -> str:
    """Return what an answer says is wrong: which fields, and why."""
    found = members(answer.body)
    errors = found.get("errors", found.get("error", b""))
    return bytes(errors).decode("utf-8", "replace")[:_SHOWN_MAX]
