"""A merchant's own channel whose translation does what it should not, until `ORDERSPINE_TEST_REPAIRED` is set.

Raw bytes are `<deed>:<a Taobao trade>`.
"""

import os
import signal
import time
from typing import Any

import msgspec

from adapters.channels import taobao
from domain.canonical import Return, Translated
from domain.ports import Aside, Channel, Sliced


class PoisonChannel:
    """Translates as Taobao does, after the deed."""

    name = "poison"

    def __init__(self, inner: Channel) -> None:
        self._inner = inner

    def sniff(self, raw: bytes) -> bool:
        del raw
        return False

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        return [Sliced(shop, "1", raw)]

    def translate(self, raw: bytes, shop: str) -> Translated | Return:
        deed, _, trade = raw.partition(b":")
        translated: Any = self._inner.translate(trade, shop)
        translated = msgspec.structs.replace(
            translated, snapshot=msgspec.structs.replace(translated.snapshot, channel="poison")
        )
        if os.environ.get("ORDERSPINE_TEST_REPAIRED") or deed == b"good":
            return translated  # type: ignore[no-any-return]
        match deed:
            case b"kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case b"hang":
                time.sleep(3600)
            case b"raise":
                raise ZeroDivisionError("a bug")
            case b"surrogate":
                snapshot = msgspec.structs.replace(translated.snapshot, native_status="\ud800")
                return msgspec.structs.replace(translated, snapshot=snapshot)  # type: ignore[no-any-return]
        return 17  # type: ignore[return-value]


def channel(merchant_zone: str) -> Channel:
    """Make the channel."""
    return PoisonChannel(taobao.channel(merchant_zone))
