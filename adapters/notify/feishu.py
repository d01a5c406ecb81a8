r"""Feishu's custom robot (飞书自定义机器人).

`POST https://open.feishu.cn/open-apis/bot/v2/hook/…`; with signature check on, the body holds `timestamp` (seconds, at
most an hour off) and `sign`: the Base64 of HMAC-SHA256 of nothing under the key `timestamp\nsecret` (the other way
round than DingTalk's). Messages go as rich text (`post`), whose plain elements hold no markup. At most 100 a minute and
5 a second, 20 KB each; busy is code 11232. Source: open.feishu.cn/document/client-docs/bot-v3/add-custom-bot; the rates
also in open.feishu.cn/document/server-docs/api-call-guide/frequency-control.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from adapters.notify.answers import TIMEOUT_S, Codes, fail, read, shortened
from adapters.notify.receivers import Receiver
from adapters.platforms.connection import Keys
from adapters.platforms.http import Http
from domain.notices import Note

_WHO: Final = "Feishu"
_BYTES_MAX: Final = 16_000
_KEYWORDS: Final = "19024"
CODES: Final = Codes(
    busy=frozenset({"11232", "99991400"}),
    keys=frozenset({"19001", "19021", "19022"}),
    pause_s=10.0,
)
"""11232, 99991400 too often; 19001 no such robot; 19021 wrong signature or clock; 19022 a foreign address."""


def sign(timestamp_s: int, secret: str) -> str:
    """Return the signature of a request."""
    return base64.b64encode(hmac.new(f"{timestamp_s}\n{secret}".encode(), b"", hashlib.sha256).digest()).decode()


class Feishu:
    """A robot of one group. The port `domain.notices.Notifier`."""

    def __init__(self, receiver: Receiver, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._receiver = receiver
        self._url = keys.secret("url")
        self._sign = keys.secret("sign") if "sign" in receiver.secrets else ""
        self._now_ms = now_ms
        self._http = Http(self._url, per_s=5, burst=5, timeout_s=TIMEOUT_S, tries=2)

    async def send(self, note: Note, numbers: Sequence[str] = ()) -> str:
        """Send; see `Notifier.send`. A robot gives no reference."""
        del numbers
        message = self._message(note)
        if self._sign:
            now_s = self._now_ms() // 1000
            message |= {"timestamp": str(now_s), "sign": sign(now_s, self._sign)}
        answer = await self._http.call(
            "POST",
            self._url,
            headers={"content-type": "application/json; charset=utf-8"},
            content=msgspec.json.encode(message),
            repeatable=False,
        )
        found = read(answer, _WHO)
        # Older answers have StatusCode alone.
        code = str(found.get("code", found.get("StatusCode", "")))
        if code != "0":
            advice = "let the rule's title hold one of the robot's keywords" if code == _KEYWORDS else ""
            fail(_WHO, code, str(found.get("msg", found.get("StatusMessage", ""))), CODES, advice)
        return ""

    async def knows(self, note: Note, tried_ms: int, numbers: Sequence[str] = ()) -> bool | None:
        """Return None: a robot cannot be asked."""
        del note, tried_ms, numbers
        return None

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    def _message(self, note: Note) -> dict[str, Any]:
        lines: list[list[dict[str, str]]] = [
            [{"tag": "text", "text": line}] for line in shortened(note.text, _BYTES_MAX).splitlines()
        ]
        if self._receiver.numbers:
            lines.append([{"tag": "at", "user_id": each} for each in self._receiver.numbers])
        post = {"zh_cn": {"title": shortened(note.title, 500), "content": lines}}
        return {"msg_type": "post", "content": {"post": post}}
