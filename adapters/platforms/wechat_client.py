"""Calls to WeChat's servers, for shops and mini-programs alike: the stable token, and what their errors mean."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from adapters.platforms.answers import answered, count, said, text
from adapters.platforms.connection import Connection, Keys, Token
from adapters.platforms.http import Answer, Http
from adapters.platforms.places import address, needed, rate
from adapters.platforms.self_run import SelfRunKeys
from adapters.platforms.tokens import TokenExpired, TokenKeeper, lasting, secret
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.time_units import MINUTE_MS

# [inferred] The host.
BASE_URL: Final = "https://api.weixin.qq.com"
TOKEN_PATH: Final = "/cgi-bin/stable_token"  # noqa: S105
AHEAD_MS: Final = 4 * MINUTE_MS
"""In the last five minutes of a token another one is to be had, and both hold."""
# [inferred] Limits are set for each method and account.
CALLS_PER_S: Final = 10.0

SYSTEM_BUSY: Final = -1
LIMITED: Final = frozenset({45009, 45011, 45047})
"""Limits of a day, of a minute, of a method."""
WORN: Final = frozenset({40001, 40014, 41001, 42001})
KEYS: Final = frozenset({40002, 40013, 40125, 41002, 41004, 45035, 48001, 48004, 50001, 50002, 61004, 61007})
"""A wrong app or secret, our address not on its list, no permission: a person must mend it."""

_SUCCESS: Final = frozenset({"errcode", "access_token"})
_OK: Final = 200
_JSON: Final = {"content-type": "application/json"}


class WechatClient:
    """One account's calls."""

    def __init__(self, connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet.

        Raises:
            ValueError: an option or address is missing or wrong.
        """
        self.app_id = needed(connection, "app_id", "the AppID that WeChat's console shows")
        self._keys = keys
        self._now_ms = now_ms
        self._tokens = TokenKeeper(SelfRunKeys(keys), now_ms, self._refresh, ahead_ms=AHEAD_MS)
        base = address(connection.base_url, BASE_URL, "")
        self._token_url = address(connection.token_url, base, TOKEN_PATH)
        per_s, burst = rate(connection, CALLS_PER_S)
        self._http = Http(base, per_s=per_s, burst=burst)

    async def call(self, path: str, asked: Mapping[str, Any], *, repeatable: bool) -> bytes:
        """Call a method; return the whole answer, which is no error.

        Raises:
            PlatformError: see its kinds.
        """

        async def with_token(access: str) -> bytes:
            answer = await self._http.call(
                "POST",
                path,
                params={"access_token": access},
                headers=_JSON,
                content=json.dumps(asked, ensure_ascii=False).encode(),
                repeatable=repeatable,
                judge=lambda answer: judge(answer, repeatable=repeatable),
            )
            return answer.body

        return await self._tokens.using(with_token)

    async def close(self) -> None:
        """Release connections."""
        await self._tokens.close()
        await self._http.close()

    async def _refresh(self, old: Token) -> Token:
        token = await self._stable_token(force=False)
        if token.access == old.access and self._now_ms() < old.expires_ms - AHEAD_MS:
            # Not at its end and yet refused: WeChat must be made to give another one, as may be done 20 times a day.
            return await self._stable_token(force=True)
        return token

    async def _stable_token(self, *, force: bool) -> Token:
        asked = {
            "grant_type": "client_credential",
            "appid": self.app_id,
            "secret": secret(self._keys, "app_secret"),
            "force_refresh": force,
        }
        content = json.dumps(asked).encode()
        answer = await self._http.call(
            "POST", self._token_url, headers=_JSON, content=content, repeatable=True, judge=_judge_token
        )
        found = answered(answer.body, "WeChat")
        access = text(found, "access_token")
        if not access:
            raise PlatformBusy("WeChat answered with success, and without a token")
        return Token(access, lasting(self._now_ms(), count(found, "expires_in")))


def judge(answer: Answer, *, repeatable: bool) -> None:
    """Look for an error inside an answer.

    Raises:
        PlatformError: there is one; its kind says what to do.
    """
    try:
        found = answered(answer.body, "WeChat")
    except PlatformBusy as error:
        raise _trouble(error.reason, repeatable=repeatable) from None
    code = _code(text(found, "errcode"))
    if not code and answer.status == _OK:
        if not _SUCCESS & found.keys():
            # It says neither: an empty answer is no empty window.
            raise _trouble("WeChat answered without saying whether it succeeded", repeatable=repeatable)
        return
    reason = f"WeChat: {said(str(code or f'status {answer.status}'), text(found, 'errmsg'))}"
    if code in WORN:
        raise TokenExpired(reason)
    if code in LIMITED:
        raise PlatformBusy(reason)
    if code in KEYS:
        raise NotAuthorised(reason, "look at app_id, app_secret, WeChat's list of addresses and the permissions")
    if code == SYSTEM_BUSY:
        raise _trouble(reason, repeatable=repeatable)
    raise PlatformRefused(reason, code=str(code or answer.status))


def _judge_token(answer: Answer) -> None:
    try:
        judge(answer, repeatable=True)
    except TokenExpired as error:
        # Here it is the secret that is wrong.
        raise NotAuthorised(error.reason, "look at app_id and app_secret") from None


def _code(said_code: str) -> int:
    """Return an error code, 0 where there is none: answers of success may leave it out."""
    digits = said_code.removeprefix("-")
    return int(said_code) if digits.isascii() and digits.isdigit() else 0


def _trouble(reason: str, *, repeatable: bool) -> PlatformBusy | OutcomeUnknown:
    if repeatable:
        return PlatformBusy(reason)
    return OutcomeUnknown(reason, "it may have been done: ask before telling it again")
