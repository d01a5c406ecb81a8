"""What Qimen's calls have in common: the parameters of the address, the signature over them and the body, answers.

Facts: the parameters, `format=xml` and the signature (MD5, upper-case hex, over secret, names and values of all
parameters but `sign` in the order of their names, the body, secret) are in Taobao's documentation of Qimen, articles
104651 and 118404 (the digest in its example belongs to a body that is not shown there, so it proves nothing); public
clients do the same (github.com/yellbuy/go-ec-openapi, `qimen/client.go`). Methods are named `taobao.qimen.…` there and
are called without that prefix by the middleman. Times are of UTC+8.
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import md5
from typing import Final, NamedTuple

from adapters.platforms.places import CHINA, wall
from adapters.platforms.signing import base_of
from adapters.wms.settings import WmsSettings
from adapters.wms.xml import node, write
from domain.platforms import PushRequest
from domain.time_units import MINUTE_MS

PREFIX: Final = "taobao.qimen."
TEXT: Final = "text/xml;charset=utf-8"
FRESH_MS: Final = 10 * MINUTE_MS


class Failure(Exception):
    """A call that is answered with `failure`: the code, and for people what is wrong and what to do."""

    def __init__(self, code: str, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.code = code
        self.message = message


class Call(NamedTuple):
    """A genuine call."""

    method: str
    """Without the prefix."""
    body: bytes


def sign(secret: str, params: Mapping[str, str], body: bytes) -> str:
    """Return the signature of a call; `params` without `sign`."""
    base = secret.encode() + base_of(params).encode("utf-8", "replace") + body + secret.encode()
    return md5(base, usedforsecurity=False).hexdigest().upper()  # the protocol demands MD5


def signed(settings: WmsSettings, secret: str, method: str, body: bytes, now_ms: int) -> dict[str, str]:
    """Return the parameters of a call to a warehouse."""
    params = {
        "method": PREFIX + method,
        "timestamp": wall(now_ms),
        "format": "xml",
        "app_key": settings.app_key,
        "v": "2.0",
        "sign_method": "md5",
        "customerId": settings.customer_id,
    }
    return {**params, "sign": sign(secret, params, body)}


def verified(request: PushRequest, settings: WmsSettings, secret: str) -> Call:
    """Return a call that comes from the warehouse of these settings.

    Raises:
        Failure: it does not, or not lately.
    """
    given = dict(request.query)
    said = given.pop("sign", "")
    if given.get("sign_method", "md5").lower() != "md5":
        raise Failure("sign-check-failure", "sign_method must be md5")
    if not hmac.compare_digest(sign(secret, given, request.body).encode(), said.upper().encode("utf-8", "replace")):
        raise Failure("sign-check-failure", "the signature is not that of parameters and body under the agreed secret")
    if given.get("app_key", "") != settings.app_key:
        raise Failure("unknown-app-key", "this app_key is not the agreed one")
    if given.get("customerId", "") != settings.customer_id:
        raise Failure("unknown-customer", "this customerId is none of ours")
    if abs(_instant(given.get("timestamp", "")) - request.now_ms) > FRESH_MS:
        raise Failure("invalid-timestamp", "timestamp is more than ten minutes off (YYYY-MM-DD HH:MM:SS, UTC+8)")
    return Call(given.get("method", "").removeprefix(PREFIX), request.body)


def _instant(text: str) -> int:
    try:
        then = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) - CHINA
    except ValueError:
        raise Failure("invalid-timestamp", "timestamp must be YYYY-MM-DD HH:MM:SS, UTC+8") from None
    return round(then.timestamp()) * 1000


def success(message: str = "") -> bytes:
    """Return the answer that it is done."""
    return write(node("response", flag="success", code="0", message=message or "ok"))


def failure(code: str, message: str) -> bytes:
    """Return the answer that it is not done, and why."""
    return write(node("response", flag="failure", code=code, message=message))
