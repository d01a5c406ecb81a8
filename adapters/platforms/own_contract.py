"""The signature of our own push contract: what a merchant's shop, mini-program or ERP puts on what it sends us.

Three headers, on every request in either direction:

- `X-Timestamp`: seconds of the epoch; refused when further than five minutes from the receiver's clock;
- `X-Nonce`: 1 to 128 of `A-Z a-z 0-9 - _`, never used twice (a UUID, for example);
- `X-Signature`: `hex(hmac_sha256(secret, X-Timestamp + "." + X-Nonce + "." + body))`, in lower case. The body is the
  exact bytes sent, none for GET.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from adapters.platforms.genuine import check_fresh, check_same, one_of
from domain.platforms import NotGenuine, PushAnswer, Pushed, PushRequest

ACCEPTED: Final = PushAnswer(200, "application/json", b'{"code":0,"message":"success"}')
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def signature(secret: str, timestamp: str, nonce: str, body: bytes) -> str:
    """Return what `X-Signature` must be."""
    return hmac.new(secret.encode(), f"{timestamp}.{nonce}.".encode() + body, hashlib.sha256).hexdigest()


def verified_nonce(request: PushRequest, secret: str) -> str:
    """Verify a request and return its nonce.

    Raises:
        NotGenuine: it is not signed with the secret, too old, or from the future.
    """
    timestamp = one_of(request.headers, "x-timestamp")
    nonce = one_of(request.headers, "x-nonce")
    given = one_of(request.headers, "x-signature")
    # A full stop in it would let bytes of the body pass for bytes of the nonce under the same signature.
    if _NONCE.fullmatch(nonce) is None:
        raise NotGenuine("x-nonce has other characters than letters, digits, - and _, or too many")
    check_fresh(timestamp, request.now_ms)
    check_same(given, signature(secret, timestamp, nonce, request.body), "x-signature is wrong")
    return nonce


def signed_headers(secret: str, now_ms: int, body: bytes) -> Mapping[str, str]:
    """Return the headers of a request of ours."""
    timestamp, nonce = str(now_ms // 1_000), secrets.token_urlsafe(24)
    return {
        "X-Timestamp": timestamp,
        "X-Nonce": nonce,
        "X-Signature": signature(secret, timestamp, nonce, body),
    }


class OwnReceiver:
    """Verifies what a merchant's own program pushes."""

    def __init__(self, secret: Callable[[], str]) -> None:
        self._secret = secret

    def receive(self, request: PushRequest) -> Pushed:
        """Verify a push; one without a body (a check of the address) has nothing to take in.

        Raises:
            NotGenuine: it is not signed with the secret, too old, or from the future.
        """
        nonce = verified_nonce(request, self._secret())
        return Pushed((request.body,) if request.body else (), ACCEPTED, nonce)
