r"""DingTalk's custom group robot (钉钉自定义机器人).

`POST https://oapi.dingtalk.com/robot/send?access_token=…&timestamp=…&sign=…`; the signature is the Base64 of
HMAC-SHA256 over `timestamp\nsecret` under the secret, percent-encoded; the timestamp in milliseconds may be off by an
hour. Messages: `msgtype` `text` or `markdown`, `at.atMobiles`. At most 20 messages a minute for each robot, then
`errcode` 130101. Sources: open.dingtalk.com, "Custom robot access" and "Custom robot security settings"
(open.dingtalk.com/document/robots/custom-robot-access, …/customize-robot-security-settings).
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from adapters.notify.answers import TIMEOUT_S, Codes, fail, markdown, read, shortened
from adapters.notify.receivers import Receiver
from adapters.platforms.connection import Keys
from adapters.platforms.http import Http
from domain.notices import Note

_WHO: Final = "DingTalk"
_BYTES_MAX: Final = 18_000
"""Of a message; 20,000 are taken with everything around it."""
_SAFETY: Final = "310000"
"""One code for all three security settings: a keyword that is missing, a wrong signature, a foreign address."""
CODES: Final = Codes(
    busy=frozenset({"-1", "130101", "410100"}),
    keys=frozenset({"300001", "300005", "400013", "400101", "400102", "400106", _SAFETY}),
)
"""-1 system busy; 130101, 410100 too many; 300001, 300005, 400101 no such token; 400013 the group is dissolved; 400102
the robot is switched off; 400106 there is no such robot."""


def sign(timestamp_ms: int, secret: str) -> str:
    """Return the signature of a request, not percent-encoded yet."""
    digest = hmac.new(secret.encode(), f"{timestamp_ms}\n{secret}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


class DingTalk:
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
        url = self._url
        if self._sign:
            now = self._now_ms()
            mark = "&" if "?" in url else "?"
            url += f"{mark}timestamp={now}&sign={_encoded(sign(now, self._sign))}"
        answer = await self._http.call(
            "POST",
            url,
            headers={"content-type": "application/json; charset=utf-8"},
            content=msgspec.json.encode(self._message(note)),
            repeatable=False,
        )
        found = read(answer, _WHO)
        code, said = str(found.get("errcode", "")), str(found.get("errmsg", ""))
        if code == _SAFETY and "keyword" in said.lower():
            fail(_WHO, code, said, Codes(frozenset(), frozenset()), "let the rule's title hold one of the keywords")
        if code != "0":
            fail(_WHO, code, said, CODES)
        return ""

    async def knows(self, note: Note, tried_ms: int, numbers: Sequence[str] = ()) -> bool | None:
        """Return None: a robot cannot be asked."""
        del note, tried_ms, numbers
        return None

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    def _message(self, note: Note) -> dict[str, Any]:
        mentioned = self._receiver.numbers
        names = " ".join(f"@{number}" for number in mentioned)
        message: dict[str, Any] = {"at": {"atMobiles": list(mentioned), "isAtAll": False}}
        if self._receiver.format == "markdown":
            text = shortened(markdown(note.title, note.text), _BYTES_MAX) + (f"\n\n{names}" if names else "")
            return message | {"msgtype": "markdown", "markdown": {"title": shortened(note.title, 200), "text": text}}
        text = shortened(f"{note.title}\n{note.text}", _BYTES_MAX) + (f"\n{names}" if names else "")
        return message | {"msgtype": "text", "text": {"content": text}}


def _encoded(signature: str) -> str:
    return signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
