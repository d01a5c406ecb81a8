"""A webhook of the merchant's own: JSON, signed as the Standard Webhooks specification says.

Headers `webhook-id` (the same for each delivery of one note: the receiver knows repeats by it), `webhook-timestamp`
(seconds) and `webhook-signature`: `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`. A secret of the form
`whsec_…` is Base64; any other is taken as it is. Source: github.com/standard-webhooks/standard-webhooks, spec 1.0.0.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from adapters.notify.answers import OK
from adapters.notify.receivers import Receiver
from adapters.platforms.connection import Keys
from adapters.platforms.http import Http
from domain.notices import Note
from domain.platforms import NotAuthorised, PlatformRefused

_PREFIX: Final = "whsec_"
_GONE: Final = 410


def sign(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the signature of a delivery."""
    digest = hmac.new(key, f"{webhook_id}.{timestamp_s}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for.

    Raises:
        ValueError: it begins with `whsec_` and is no Base64; nothing of it is in the text.
    """
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"the secret sign begins with {_PREFIX}, and what follows is no Base64") from None


class Webhook:
    """An address of the merchant's own. The port `domain.notices.Notifier`."""

    def __init__(self, receiver: Receiver, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._url = receiver.url
        self._key = key_of(keys.secret("sign"))
        self._now_ms = now_ms
        self._http = Http(self._url, per_s=50, burst=50, timeout_s=10.0, tries=1)

    async def send(self, note: Note, numbers: Sequence[str] = ()) -> str:
        """Send; see `Notifier.send`. The delivery's id is the reference; one without an answer counts as not sent."""
        del numbers
        when = datetime.fromtimestamp(note.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        body = msgspec.json.encode(
            {
                "type": f"notice.{note.rule}",
                "timestamp": when,
                # A field of the same name must not hide which event it is.
                "data": {**note.fields, "event": note.event, "title": note.title, "text": note.text},
            }
        )
        now_s = self._now_ms() // 1000
        headers = {
            "content-type": "application/json",
            "webhook-id": note.key,
            "webhook-timestamp": str(now_s),
            "webhook-signature": sign(self._key, note.key, now_s, body),
        }
        answer = await self._http.call("POST", self._url, headers=headers, content=body, repeatable=True)
        if answer.status in (401, 403, _GONE):
            raise NotAuthorised(f"the webhook answered {answer.status}", "look at its address and at the secret sign")
        if answer.status not in OK:
            raise PlatformRefused(
                f"the webhook answered {answer.status}", "ask whoever runs it", code=str(answer.status)
            )
        return note.key

    async def knows(self, note: Note, tried_ms: int, numbers: Sequence[str] = ()) -> bool | None:
        """Return False: whoever gets a delivery twice knows it by its id, so that it may be sent again."""
        del note, tried_ms, numbers
        return False

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()
