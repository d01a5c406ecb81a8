"""Calls to Pinduoduo's open platform: signed forms, the token, and what its errors mean."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from adapters.platforms.answers import ASK_FIRST, Members, answered, count, members, said, text, within
from adapters.platforms.connection import Connection, Keys, Token
from adapters.platforms.http import Answer, Http
from adapters.platforms.places import address, needed, rate
from adapters.platforms.signing import md5_between
from adapters.platforms.tokens import AUTHORISE, TokenExpired, TokenKeeper, lasting, secret
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.time_units import MINUTE_MS, SECOND_MS

PATH: Final = "/api/router"
BASE_URL: Final = "https://gw-api.pinduoduo.com" + PATH
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105
TOKEN_URL: Final = "https://open-api.pinduoduo.com" + TOKEN_PATH
# [inferred] Where a merchant lets us in.
AUTHORISE_URL: Final = "https://fuwu.pinduoduo.com/service-market/auth"
AHEAD_MS: Final = 30 * MINUTE_MS
CALLS_PER_S: Final = 20.0
"""The feed allows 3,000 calls a minute for each app, and an app may serve several shops."""

# [inferred] What the numbers of `error_response.error_code` mean; where a number is not here, its words decide.
LIMITED: Final = frozenset({52101, 52102, 52103, 70031, 70032, 70033, 70034, 70035, 70036})
DOWN: Final = frozenset({50000, 52001, 52002})
SESSION: Final = frozenset({10018, 10019})
KEYS: Final = frozenset({10016, 10017, 20004, 20005, 20031, 20032})
LIMITED_WORDS: Final = ("频繁", "限流", "too many", "frequency")
SESSION_WORDS: Final = ("access_token已过期", "access_token过期", "access_token expired")
KEYS_WORDS: Final = ("client_id", "签名")
# [inferred] Names around the token where a method of the interface gives it instead of the token address.
TOKEN_WRAPS: Final = ("pop_auth_token_create_response", "pop_auth_token_refresh_response")

FORM: Final = {"content-type": "application/x-www-form-urlencoded;charset=utf-8"}
JSON: Final = {"content-type": "application/json"}
_OK: Final = 200


class PinduoduoClient:
    """One shop's signed calls."""

    def __init__(self, connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet.

        Raises:
            ValueError: an option or address is missing or wrong.
        """
        self._client_id = needed(connection, "client_id", "the number of your app at open.pinduoduo.com")
        self._keys = keys
        self._now_ms = now_ms
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
            answer = await self._http.call(
                "POST",
                self._url,
                headers=FORM,
                content=urlencode(self._form(method, params, access)).encode(),
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
        asked = {**grant, "client_id": self._client_id, "client_secret": secret(self._keys, "client_secret")}
        answer = await self._http.call(
            "POST", self._token_url, headers=JSON, content=msgspec.json.encode(asked), repeatable=True
        )
        found = answered(answer.body, "Pinduoduo")
        found = next((within(found, wrap) for wrap in TOKEN_WRAPS if wrap in found), found)
        access = text(found, "access_token")
        if answer.status == _OK and access:
            now_ms = self._now_ms()
            return Token(
                access,
                lasting(now_ms, count(found, "expires_in"), expires_at_s=count(found, "expires_at")),
                text(found, "refresh_token"),
                lasting(
                    now_ms,
                    count(found, "refresh_token_expires_in"),
                    expires_at_s=count(found, "refresh_token_expires_at"),
                ),
            )
        error = members(found["error_response"]) if "error_response" in found else found
        if count(error, "error_code") in LIMITED | DOWN:
            raise_error(error, repeatable=True)
        code = text(error, "error_code") or f"status {answer.status}"
        reason = f"Pinduoduo gave no token: {said(code, text(error, 'sub_msg', 'error_msg'))}"
        raise NotAuthorised(reason, AUTHORISE)

    async def close(self) -> None:
        """Release connections."""
        await self._tokens.close()
        await self._http.close()

    def _form(self, method: str, params: Mapping[str, str], access: str) -> dict[str, str]:
        form = {
            **params,
            "type": method,
            "client_id": self._client_id,
            "access_token": access,
            "timestamp": str(self._now_ms() // SECOND_MS),
            "data_type": "JSON",
        }
        form["sign"] = md5_between(secret(self._keys, "client_secret"), form)
        return form

    async def _refresh(self, token: Token) -> Token:
        return await self.token({"grant_type": "refresh_token", "refresh_token": token.refresh})


def judge(answer: Answer, *, repeatable: bool) -> None:
    """Look for an error inside an answer.

    Raises:
        PlatformError: there is one; its kind says what to do.
    """
    found = answered(answer.body, "Pinduoduo", repeatable=repeatable)
    if "error_response" in found:
        raise_error(members(found["error_response"]), repeatable=repeatable)
    if answer.status != _OK:
        raise PlatformRefused(f"Pinduoduo answered with status {answer.status}", code=str(answer.status))


def raise_error(error: Members, *, repeatable: bool) -> None:
    """Raise what an `error_response` means."""
    number = count(error, "error_code") or 0
    sub_code = text(error, "sub_code")
    # One says what kind of trouble it is, the other which; either may be the one we know.
    codes = {number, int(sub_code) if sub_code.isascii() and sub_code.isdigit() else 0}
    words = (text(error, "sub_msg"), text(error, "error_msg"))
    reason = f"Pinduoduo: {said(sub_code or str(number), *words)}"
    known = " ".join(words).lower()
    if codes & LIMITED or any(word in known for word in LIMITED_WORDS):
        raise PlatformBusy(reason)
    if codes & SESSION or any(word in known for word in SESSION_WORDS):
        raise TokenExpired(reason, AUTHORISE)
    if codes & KEYS or any(word in known for word in KEYS_WORDS):
        raise NotAuthorised(reason, "look at client_id, client_secret and the app's permissions")
    if codes & DOWN:
        if repeatable:
            raise PlatformBusy(reason)
        raise OutcomeUnknown(reason, ASK_FIRST)
    raise PlatformRefused(reason, code=sub_code or str(number))


def response(body: bytes, name: str) -> Members:
    """Return the members of the answer's one object."""
    return within(answered(body, "Pinduoduo"), name)
