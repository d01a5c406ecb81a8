"""Calls to Douyin's open platform: signed methods, the token, and what its errors mean."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from adapters.platforms.answers import Members, answered, count, said, text, within
from adapters.platforms.connection import Connection, Keys, Token
from adapters.platforms.http import Answer, Http
from adapters.platforms.places import address, needed, rate
from adapters.platforms.self_run import SelfRunKeys
from adapters.platforms.tokens import AUTHORISE, TokenExpired, TokenKeeper, lasting, secret
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.time_units import DAY_MS, MINUTE_MS, SECOND_MS

# [inferred] The host; the methods' paths are in the published clients.
BASE_URL: Final = "https://openapi-fxg.jinritemai.com"
CREATE: Final = "token.create"
REFRESH: Final = "token.refresh"
REFRESH_LASTS_MS: Final = 14 * DAY_MS
AHEAD_MS: Final = 30 * MINUTE_MS
"""A self-run app gets another token only within the last hour of the one before."""
# [inferred] Limits are set for each method and app.
CALLS_PER_S: Final = 10.0

SUCCESS: Final = 10000
LIMITED: Final = 60000
FORBIDDEN: Final = frozenset({30001, 30002})
"""No permission; this address of ours is not allowed."""
TROUBLE: Final = frozenset({10001, 20000, 20001, 50000, 90000})
"""Done in part, down, timed out within, broken, anything else."""
WORN: Final = frozenset({"isv.access-token-expired", "isv.access-token-no-existed"})
KEYS: Final = (
    "isv.signature-",
    "isv.app-id-",
    "isv.access-token-",
    "isv.authorization-",
    "dop.authorization-",
    "dop.app-forbidden",
    "dop.token-generate-failed",
)
"""Beginnings of sub codes that only a person can mend."""
FAULTS: Final = ("isp.service-error", "dop.service-error", "isp.unknown-error", "dop.unknown-error")
# [inferred] The sub code of a number that the shop does not have is not published; its text is.
UNKNOWN_ORDER: Final = "订单不存在"

_OK: Final = 200
_HEADERS: Final = {
    "content-type": "application/json;charset=utf-8",
    # Otherwise old error codes come back, with other meanings.
    "x-open-no-old-err-code": "1",
}


def request_signature(app_key: str, method: str, param_json: str, timestamp: str, app_secret: str) -> str:
    """Return the signature of a request; `param_json` is the exact text sent."""
    params = f"app_key{app_key}method{method}param_json{param_json}timestamp{timestamp}v2"
    return hmac.new(app_secret.encode(), f"{app_secret}{params}{app_secret}".encode(), hashlib.sha256).hexdigest()


class DouyinClient:
    """One shop's signed calls."""

    def __init__(self, connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet.

        Raises:
            ValueError: an option or address is missing or wrong.
        """
        self._app_key = needed(connection, "app_key", "the number of your app at op.jinritemai.com")
        self._shop_id = connection.options.get("shop_id", "")
        if self._shop_id and not (self._shop_id.isascii() and self._shop_id.isdigit()):
            raise ValueError(f"connection {connection.name}: the option shop_id must be the shop's number")
        self._keys = keys
        self._now_ms = now_ms
        self._tokens = TokenKeeper(
            SelfRunKeys(keys) if self._shop_id else keys, now_ms, self._refresh, ahead_ms=AHEAD_MS
        )
        self._base = address(connection.base_url, BASE_URL, "")
        self._token_base = address(connection.token_url, self._base, "")
        per_s, burst = rate(connection, CALLS_PER_S)
        self._http = Http(self._base, per_s=per_s, burst=burst)

    async def call(self, method: str, params: Mapping[str, Any], *, repeatable: bool) -> bytes:
        """Call a method for the shop; return the whole answer, which is no error.

        Raises:
            PlatformError: see its kinds.
        """
        return await self._tokens.using(
            lambda access: self._signed(self._base, method, params, access, repeatable=repeatable)
        )

    async def token(self, code: str) -> Token:
        """Ask for the first token, with the code of an authorisation ("" = an app of the shop's own).

        Raises:
            PlatformError: see its kinds.
        """
        if code:
            return await self._token(CREATE, {"grant_type": "authorization_code", "code": code})
        return await self._token(
            CREATE, {"grant_type": "authorization_self", "code": "", "shop_id": int(self._shop_id or 0)}
        )

    async def close(self) -> None:
        """Release connections."""
        await self._tokens.close()
        await self._http.close()

    async def _signed(
        self, base: str, method: str, params: Mapping[str, Any], access: str, *, repeatable: bool
    ) -> bytes:
        # Sorted keys, no escapes, and sent byte for byte: the platform signs the text that it gets.
        param_json = json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        timestamp = str(self._now_ms() // SECOND_MS)
        app_secret = secret(self._keys, "app_secret")
        query = {
            "method": method,
            "app_key": self._app_key,
            "timestamp": timestamp,
            "v": "2",
            "sign_method": "hmac-sha256",
            "sign": request_signature(self._app_key, method, param_json, timestamp, app_secret),
        }
        if access:
            query["access_token"] = access
        answer = await self._http.call(
            "POST",
            f"{base}/{method.replace('.', '/')}",
            params=query,
            headers=_HEADERS,
            content=param_json.encode(),
            repeatable=repeatable,
            judge=lambda answer: judge(answer, repeatable=repeatable),
        )
        return answer.body

    async def _refresh(self, token: Token) -> Token:
        if self._shop_id:
            return await self.token("")
        return await self._token(REFRESH, {"grant_type": "refresh_token", "refresh_token": token.refresh})

    async def _token(self, method: str, params: Mapping[str, Any]) -> Token:
        body = await self._signed(self._token_base, method, params, "", repeatable=True)
        found = data_of(body)
        access = text(found, "access_token")
        if not access:
            raise PlatformBusy("Douyin answered with success, and without a token")
        now_ms = self._now_ms()
        refresh = text(found, "refresh_token")
        return Token(
            access, lasting(now_ms, count(found, "expires_in")), refresh, now_ms + REFRESH_LASTS_MS if refresh else 0
        )


def data_of(body: bytes) -> Members:
    """Return the members of an answer's `data`."""
    return within(answered(body, "Douyin"), "data")


def judge(answer: Answer, *, repeatable: bool) -> None:
    """Look for an error inside an answer.

    Raises:
        PlatformError: there is one; its kind says what to do.
    """
    try:
        found = answered(answer.body, "Douyin")
    except PlatformBusy as error:
        raise _trouble(error.reason, repeatable=repeatable) from None
    code, sub_code = count(found, "code"), text(found, "sub_code")
    if code == SUCCESS and answer.status == _OK:
        return
    reason = f"Douyin: {said(sub_code or str(code), text(found, 'sub_msg'), text(found, 'msg'))}"
    if sub_code in WORN:
        raise TokenExpired(reason, AUTHORISE)
    if code == LIMITED:
        raise PlatformBusy(reason)
    if code in FORBIDDEN or sub_code.startswith(KEYS):
        raise NotAuthorised(reason, "look at app_key, app_secret, the app's permissions and the shop's authorisation")
    if code is None or code in TROUBLE or sub_code.startswith(FAULTS):
        raise _trouble(reason, repeatable=repeatable)
    raise PlatformRefused(reason, code=sub_code or str(code))


def _trouble(reason: str, *, repeatable: bool) -> PlatformBusy | OutcomeUnknown:
    if repeatable:
        return PlatformBusy(reason)
    return OutcomeUnknown(reason, "it may have been done: ask before telling it again")
