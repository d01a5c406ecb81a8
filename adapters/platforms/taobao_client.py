"""Calls to Taobao's open platform (TOP): signed forms, the token, and what its errors mean."""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from adapters.platforms.answers import ASK_FIRST, Members, answered, count, members, said, text
from adapters.platforms.connection import Connection, Keys, Token
from adapters.platforms.http import Answer, Http
from adapters.platforms.places import address, needed, rate, wall
from adapters.platforms.signing import hmac_md5, md5_between
from adapters.platforms.tokens import AUTHORISE, TokenExpired, TokenKeeper, lasting, secret
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.time_units import MINUTE_MS

PATH: Final = "/router/rest"
# [inferred] The host: public clients use gw.api.taobao.com as well.
BASE_URL: Final = "https://eco.taobao.com" + PATH
# [inferred] Where a person lets us in, and where tokens are made.
AUTHORISE_URL: Final = "https://oauth.taobao.com/authorize"
TOKEN_PATH: Final = "/token"  # noqa: S105
TOKEN_URL: Final = "https://oauth.taobao.com" + TOKEN_PATH
AHEAD_MS: Final = 30 * MINUTE_MS
# [inferred] Limits are a matter of contract.
CALLS_PER_S: Final = 15.0

# [inferred] What the numbers of `error_response.code` mean.
LIMITED: Final = frozenset({4, 5, 6, 7, 8})
DOWN: Final = frozenset({10})
REMOTE: Final = 15
SESSION: Final = frozenset({26, 27})
KEYS: Final = frozenset({11, 12, 13, 25, 28, 29})
# [inferred] A limit says in its text how long the ban lasts.
_BAN: Final = re.compile(r"last for (\d{1,5}) more second")
# [inferred] OAuth errors that a person must mend.
DEAD: Final = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "access_denied"})

FORM: Final = {"content-type": "application/x-www-form-urlencoded;charset=utf-8"}
_SIGNS: Final = {"md5": md5_between, "hmac": hmac_md5}
_OK: Final = 200


class TaobaoClient:
    """One shop's signed calls."""

    def __init__(self, connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet.

        Raises:
            ValueError: an option or address is missing or wrong.
        """
        self._app_key = needed(connection, "app_key", "the number of your app at open.taobao.com")
        self._keys = keys
        self._now_ms = now_ms
        method = connection.options.get("sign_method", "md5")
        if method not in _SIGNS:
            raise ValueError(f"connection {connection.name}: the option sign_method must be md5 or hmac")
        self._sign_method = method
        self._tokens = TokenKeeper(keys, now_ms, self._refresh, ahead_ms=AHEAD_MS)
        self._url = address(connection.base_url, BASE_URL, PATH)
        self._token_url = address(connection.token_url, TOKEN_URL, TOKEN_PATH)
        per_s, burst = rate(connection, CALLS_PER_S)
        self._http = Http(self._url, per_s=per_s, burst=burst)

    async def call(self, method: str, params: Mapping[str, str], *, repeatable: bool) -> bytes:
        """Call a method for the shop; return the whole answer, which is no error.

        Raises:
            PlatformError: see its kinds.
        """

        async def signed(access: str) -> bytes:
            form = self._form(method, params, access)
            answer = await self._http.call(
                "POST",
                self._url,
                headers=FORM,
                content=urlencode(form).encode(),
                repeatable=repeatable,
                judge=lambda answer: judge(answer, repeatable=repeatable),
            )
            return answer.body

        return await self._tokens.using(signed)

    async def token(self, grant: Mapping[str, str]) -> Token:
        """Ask for a token.

        Raises:
            NotAuthorised: the code or the refresh token is dead, or the keys are wrong.
            PlatformError: see its kinds.
        """
        form = {**grant, "client_id": self._app_key, "client_secret": secret(self._keys, "app_secret"), "view": "web"}
        answer = await self._http.call(
            "POST", self._token_url, headers=FORM, content=urlencode(form).encode(), repeatable=True
        )
        found = answered(answer.body, "Taobao")
        access = text(found, "access_token")
        if answer.status == _OK and access:
            now_ms = self._now_ms()
            return Token(
                access,
                lasting(now_ms, count(found, "expires_in")),
                text(found, "refresh_token"),
                lasting(now_ms, count(found, "re_expires_in")),
            )
        error = text(found, "error")
        reason = f"Taobao gave no token: {said(error or f'status {answer.status}', text(found, 'error_description'))}"
        if error in DEAD:
            raise NotAuthorised(reason, AUTHORISE)
        if (count(found, "error") or 0) in LIMITED | DOWN | {REMOTE}:
            raise PlatformBusy(reason)
        raise PlatformRefused(reason, code=error)

    async def close(self) -> None:
        """Release connections."""
        await self._tokens.close()
        await self._http.close()

    def _form(self, method: str, params: Mapping[str, str], access: str) -> dict[str, str]:
        form = {
            **params,
            "method": method,
            "app_key": self._app_key,
            "session": access,
            "timestamp": wall(self._now_ms()),
            "format": "json",
            "v": "2.0",
            "sign_method": self._sign_method,
        }
        form["sign"] = _SIGNS[self._sign_method](secret(self._keys, "app_secret"), form)
        return form

    async def _refresh(self, token: Token) -> Token:
        return await self.token({"grant_type": "refresh_token", "refresh_token": token.refresh})


def judge(answer: Answer, *, repeatable: bool) -> None:
    """Look for an error inside an answer.

    Raises:
        PlatformError: there is one; its kind says what to do.
    """
    found = answered(answer.body, "Taobao", repeatable=repeatable)
    if "error_response" in found:
        raise_error(members(found["error_response"]), repeatable=repeatable)
    if answer.status != _OK:
        raise PlatformRefused(f"Taobao answered with status {answer.status}", code=str(answer.status))


def raise_error(error: Members, *, repeatable: bool) -> None:
    """Raise what an `error_response` means."""
    code = count(error, "code") or 0
    sub_code = text(error, "sub_code")
    reason = f"Taobao: {said(sub_code or str(code), text(error, 'sub_msg'), text(error, 'msg'))}"
    if code in LIMITED or sub_code.startswith("accesscontrol."):
        ban = _BAN.search(text(error, "sub_msg"))
        raise PlatformBusy(reason, retry_after_s=float(ban[1]) if ban else None)
    if code in SESSION or sub_code in {"invalid-sessionkey", "session-expired"}:
        raise TokenExpired(reason, AUTHORISE)
    if code in KEYS:
        raise NotAuthorised(reason, "look at app_key, app_secret and the app's permissions")
    if code in DOWN:
        raise PlatformBusy(reason)
    if sub_code.startswith("isp."):
        if repeatable:
            raise PlatformBusy(reason)
        # A service behind the platform failed: how far it got, nobody says.
        raise OutcomeUnknown(reason, ASK_FIRST)
    raise PlatformRefused(reason, code=sub_code or str(code))


def response(body: bytes, name: str) -> Members:
    """Return the members of `<name>_response`."""
    found = answered(body, "Taobao")
    return members(found[name + "_response"]) if name + "_response" in found else {}
