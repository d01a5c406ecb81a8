"""A simulated shop's keys, and the tokens its platform gives out."""

import base64
import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

AES_KEY_CHARS: Final = 43
"""Length of WeChat's `EncodingAESKey`."""


class SimShop(msgspec.Struct, frozen=True):
    """A shop and the app that may speak for it. All of it is invented."""

    name: str
    app_key: str
    app_secret: str
    shop_id: int = 7_784_061
    push_token: str = "push-token"  # noqa: S105 - invented, of a simulated platform
    """WeChat's token for pushes."""
    aes_key: str = base64.b64encode(bytes(range(32))).decode()[:AES_KEY_CHARS]
    mchid: str = "1230000109"
    api_v3_key: str = "0123456789abcdef0123456789abcdef"
    """Of WeChat Pay; 32 characters."""
    per_page_max: int = 100
    """Most orders on a page; smaller makes many pages of few orders."""
    per_window_max: int = 0
    """The WeChat shop asks for a narrower window where one holds more orders; 0 = never."""
    odd_forms: bool = False
    """Taobao gives a list of one as the one, as answers do that were made from XML."""


class Granted(NamedTuple):
    """A pair of tokens."""

    access: str
    refresh: str
    expires_ms: int
    refresh_expires_ms: int


class Tokens:
    """What lets an app in. The tests let it end whenever they want."""

    def __init__(self, now_ms: Callable[[], int], access_s: int, refresh_s: int) -> None:
        self._now_ms = now_ms
        self.access_s = access_s
        self.refresh_s = refresh_s
        self._valid: dict[str, Granted] = {}
        self._by_refresh: dict[str, Granted] = {}
        self._expired: set[str] = set()
        self._codes: set[str] = set()
        self.current = self.grant()

    def code(self) -> str:
        """Return a new code, as a person who authorises the app would bring it back. It works once."""
        code = secrets.token_hex(16)
        self._codes.add(code)
        return code

    def exchange(self, code: str) -> Granted | None:
        """Return tokens for a code, None where it is wrong or used."""
        if code not in self._codes:
            return None
        self._codes.remove(code)
        return self.grant()

    def refreshed(self, refresh: str, *, keep_access: bool = False) -> Granted | None:
        """Return new tokens for a refresh token, None where it is unknown or ended; the old ones end.

        With `keep_access` the old access token lives on until its time.
        """
        old = self._by_refresh.pop(refresh, None)
        if old is None or old.refresh_expires_ms <= self._now_ms():
            return None
        if not keep_access:
            self._end(old.access)
        return self.grant()

    def grant(self) -> Granted:
        """Give out a new pair."""
        now = self._now_ms()
        made = Granted(
            secrets.token_hex(20), secrets.token_hex(20), now + self.access_s * 1000, now + self.refresh_s * 1000
        )
        self._valid[made.access] = made
        self._by_refresh[made.refresh] = made
        self.current = made
        return made

    def state(self, access: str) -> str:
        """Return `ok`, `expired` or `unknown`."""
        found = self._valid.get(access)
        if found is not None and found.expires_ms > self._now_ms():
            return "ok"
        return "expired" if found is not None or access in self._expired else "unknown"

    def expire(self, *, refresh: bool = False) -> None:
        """End every access token now; with `refresh` the refresh tokens too."""
        for access in list(self._valid):
            self._end(access)
        if refresh:
            self._by_refresh.clear()

    def _end(self, access: str) -> None:
        if self._valid.pop(access, None) is not None:
            self._expired.add(access)
