"""WeCom's group robot (企业微信群机器人).

`POST https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…`; `msgtype` `text` (2,048 bytes, with
`mentioned_mobile_list`) or `markdown` (4,096 bytes, which mentions nobody by phone). At most 20 messages a minute for
each robot, then `errcode` 45009. There is no signature: the key in the address is all. Source:
developer.work.weixin.qq.com/document/path/91770 (configuration of group robots) and …/path/90313 (global codes).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from adapters.notify.answers import TIMEOUT_S, Codes, fail, markdown, read, shortened
from adapters.notify.receivers import Receiver
from adapters.platforms.connection import Keys
from adapters.platforms.http import Http
from domain.notices import Note

_WHO: Final = "WeCom"
_TEXT_BYTES_MAX: Final = 2_048
_MARKDOWN_BYTES_MAX: Final = 4_096
CODES: Final = Codes(busy=frozenset({"-1", "45009", "45033"}), keys=frozenset({"93000"}))
"""-1 system busy; 45009 too many calls; 45033 too many at once; 93000 the robot's address is none (any more)."""


class WeCom:
    """A robot of one group. The port `domain.notices.Notifier`."""

    def __init__(self, receiver: Receiver, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        del now_ms
        self._receiver = receiver
        self._url = keys.secret("url")
        self._http = Http(self._url, per_s=5, burst=5, timeout_s=TIMEOUT_S, tries=2)

    async def send(self, note: Note, numbers: Sequence[str] = ()) -> str:
        """Send; see `Notifier.send`. A robot gives no reference."""
        del numbers
        answer = await self._http.call(
            "POST",
            self._url,
            headers={"content-type": "application/json"},
            content=msgspec.json.encode(self._message(note)),
            repeatable=False,
        )
        found = read(answer, _WHO)
        code = str(found.get("errcode", ""))
        if code != "0":
            fail(_WHO, code, str(found.get("errmsg", "")), CODES)
        return ""

    async def knows(self, note: Note, tried_ms: int, numbers: Sequence[str] = ()) -> bool | None:
        """Return None: a robot cannot be asked."""
        del note, tried_ms, numbers
        return None

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    def _message(self, note: Note) -> dict[str, Any]:
        if self._receiver.format == "markdown":
            content = shortened(markdown(note.title, note.text), _MARKDOWN_BYTES_MAX)
            return {"msgtype": "markdown", "markdown": {"content": content}}
        text: dict[str, Any] = {"content": shortened(f"{note.title}\n{note.text}", _TEXT_BYTES_MAX)}
        if self._receiver.numbers:
            text["mentioned_mobile_list"] = list(self._receiver.numbers)
        return {"msgtype": "text", "text": text}
