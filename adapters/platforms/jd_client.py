"""Calls to JD's open platform (JOS): business parameters as one signed JSON text, results that fail inside."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from adapters.platforms.answers import ASK_FIRST, Members, answered, count, members, said, text, value, within
from adapters.platforms.connection import Connection, Keys, Token
from adapters.platforms.http import Answer, Http
from adapters.platforms.places import address, needed, rate, wall
from adapters.platforms.signing import md5_between
from adapters.platforms.tokens import AUTHORISE, TokenExpired, TokenKeeper, lasting, secret
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.time_units import HOUR_MS

PATH: Final = "/routerjson"
BASE_URL: Final = "https://api.jd.com" + PATH
TOKEN_PATH: Final = "/oauth2"  # noqa: S105
TOKEN_URL: Final = "https://open-oauth.jd.com" + TOKEN_PATH
AUTHORISE_URL: Final = TOKEN_URL + "/to_login"
AHEAD_MS: Final = 12 * HOUR_MS
"""JD refreshes within the last 24 hours only, and not after the end."""
# [inferred] Limits depend on the app's level; one in test state may call 500 times a day.
CALLS_PER_S: Final = 5.0
BUSINESS: Final = "360buy_param_json"
UNSIGNED: Final = frozenset({"sign", "format", "sign_method"})
ZONE: Final = "+0800"

# [inferred] What the numbers of `error_response.code` mean; where a number is not here, its words decide.
LIMITED: Final = frozenset({4, 5, 6, 7, 8, 66})
DOWN: Final = frozenset({1, 65, 67})
SESSION: Final = frozenset({19})
KEYS: Final = frozenset({22, 28})
# [inferred] Words in an error's text.
LIMITED_WORDS: Final = ("频繁", "超限", "limited", "too many")
DOWN_WORDS: Final = ("系统繁忙", "服务不可用", "not available", "超时", "timeout")
SESSION_WORDS: Final = ("token已过期", "access_token", "重新授权")
KEYS_WORDS: Final = ("签名", "signature", "app_key", "appkey", "权限")
# [inferred] `code` of the token address where it is well.
TOKEN_OK: Final = frozenset({None, 0})

FORM: Final = {"content-type": "application/x-www-form-urlencoded;charset=utf-8"}
_OK: Final = 200


class JdClient:
    """One shop's signed calls."""

    def __init__(self, connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet.

        Raises:
            ValueError: an option or address is missing or wrong.
        """
        self._app_key = needed(connection, "app_key", "the key of your app at open.jd.com")
        self._keys = keys
        self._now_ms = now_ms
        self._tokens = TokenKeeper(keys, now_ms, self._refresh, ahead_ms=AHEAD_MS)
        self._url = address(connection.base_url, BASE_URL, PATH)
        self._token_url = address(connection.token_url, TOKEN_URL, TOKEN_PATH)
        per_s, burst = rate(connection, CALLS_PER_S)
        self._http = Http(self._url, per_s=per_s, burst=burst)

    async def call(self, method: str, business: Mapping[str, Any], *, repeatable: bool) -> bytes:
        """Call a method for the shop; return the whole answer, which is no error, neither outside nor inside.

        Raises:
            PlatformError: see its kinds.
        """

        async def signed(access: str) -> bytes:
            form = self._form(method, business, access)
            answer = await self._http.call(
                "POST",
                self._url,
                headers=FORM,
                content=urlencode(form).encode(),
                repeatable=repeatable,
                judge=lambda answer: judge(answer, method, repeatable=repeatable),
            )
            return answer.body

        return await self._tokens.using(signed)

    async def token(self, kind: str, grant: Mapping[str, str]) -> Token:
        """Ask for a token; `kind` is the last part of the address.

        Raises:
            NotAuthorised: the code or the refresh token is dead, or the keys are wrong.
            PlatformError: see its kinds.
        """
        form = {**grant, "app_key": self._app_key, "app_secret": secret(self._keys, "app_secret")}
        content = urlencode(form).encode()
        answer = await self._http.call(
            "POST", f"{self._token_url}/{kind}", headers=FORM, content=content, repeatable=True
        )
        found = answered(answer.body, "JD")
        access = text(found, "access_token")
        if answer.status == _OK and access and count(found, "code") in TOKEN_OK:
            now_ms = self._now_ms()
            ends_ms = lasting(now_ms, count(found, "expires_in"))
            # The refresh token is of no use after the access has ended.
            return Token(access, ends_ms, text(found, "refresh_token"), ends_ms)
        code = text(found, "code") or f"status {answer.status}"
        reason = f"JD gave no token: {said(code, text(found, 'msg', 'zh_desc'))}"
        if (count(found, "code") or 0) in LIMITED | DOWN:
            raise PlatformBusy(reason)
        raise NotAuthorised(reason, AUTHORISE)

    async def close(self) -> None:
        """Release connections."""
        await self._tokens.close()
        await self._http.close()

    def _form(self, method: str, business: Mapping[str, Any], access: str) -> dict[str, str]:
        form = {
            "method": method,
            "app_key": self._app_key,
            "access_token": access,
            "timestamp": wall(self._now_ms(), fraction=True) + ZONE,
            "v": "2.0",
            BUSINESS: msgspec.json.encode(business, order="sorted").decode(),
        }
        form["sign"] = sign(secret(self._keys, "app_secret"), form)
        return form

    async def _refresh(self, token: Token) -> Token:
        return await self.token("refresh_token", {"grant_type": "refresh_token", "refresh_token": token.refresh})


def sign(app_secret: str, form: Mapping[str, str]) -> str:
    """Return the signature of a form: over all but `sign`, `format` and `sign_method`."""
    return md5_between(app_secret, {name: text for name, text in form.items() if name not in UNSIGNED})


def response(body: bytes, method: str) -> Members:
    """Return the members of the answer to a method. The misspelling of the name is JD's."""
    return within(answered(body, "JD"), method.replace(".", "_") + "_responce")


def judge(answer: Answer, method: str, *, repeatable: bool) -> None:
    """Look for an error inside an answer: beside it, in its code, or in one of its results.

    Raises:
        PlatformError: there is one; its kind says what to do.
    """
    found = answered(answer.body, "JD", repeatable=repeatable)
    if "error_response" in found:
        error = members(found["error_response"])
        raise_error(text(error, "code"), text(error, "zh_desc"), text(error, "en_desc"), repeatable=repeatable)
    if answer.status != _OK:
        raise PlatformRefused(f"JD answered with status {answer.status}", code=str(answer.status))
    inner = response(answer.body, method)
    if not inner:
        _down("JD answered without a result", repeatable=repeatable)
    code = text(inner, "code")
    if code != "0":
        raise_error(code or "?", text(inner, "zh_desc"), text(inner, "en_desc"), repeatable=repeatable)
    for result in inner.values():
        held = members(result)
        for place in (members(held["apiResult"]) if "apiResult" in held else {}, held):
            if value(place, "success") is False:
                number = text(place, "numberCode", "errorCode", "resultCode") or "?"
                words = (text(place, "chineseErrCode", "msg", "message"), text(place, "englishErrCode"))
                # These numbers are the method's own: they must not be taken for those of the platform.
                raise_words(f"inner {number}", *words, repeatable=repeatable)


def raise_error(code: str, chinese: str, english: str, *, repeatable: bool) -> None:
    """Raise what an error of the platform means."""
    number = int(code) if code.isascii() and code.isdigit() else -1
    reason = f"JD: {said(code, chinese, english)}"
    if number in LIMITED:
        raise PlatformBusy(reason)
    if number in SESSION:
        raise TokenExpired(reason, AUTHORISE)
    if number in KEYS:
        raise NotAuthorised(reason, "look at app_key, app_secret and the app's permissions")
    if number in DOWN:
        _down(reason, repeatable=repeatable)
    raise_words(code, chinese, english, repeatable=repeatable)


def raise_words(code: str, chinese: str, english: str, *, repeatable: bool) -> None:
    """Raise what the words of an error mean."""
    reason = f"JD: {said(code, chinese, english)}"
    words = f"{chinese} {english}".lower()
    if any(word in words for word in LIMITED_WORDS):
        raise PlatformBusy(reason)
    if any(word in words for word in SESSION_WORDS):
        raise TokenExpired(reason, AUTHORISE)
    if any(word in words for word in KEYS_WORDS):
        raise NotAuthorised(reason, "look at app_key, app_secret and the app's permissions")
    if any(word in words for word in DOWN_WORDS):
        _down(reason, repeatable=repeatable)
    raise PlatformRefused(reason, code=code)


def _down(reason: str, *, repeatable: bool) -> None:
    if repeatable:
        raise PlatformBusy(reason)
    raise OutcomeUnknown(reason, ASK_FIRST)
