"""One POST to a subscriber's address: signed as the Standard Webhooks specification says, bounded in every way.

No redirect is followed, no proxy asked, no more than a little of the answer read and nothing of it kept. A host is
looked up once for each connection, and the connection goes to the very address that was judged: a name that points
elsewhere a moment later leads nowhere. Source of the signature: see `adapters.notify.webhook`.
"""

import asyncio
import contextlib
import functools
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpcore
import httpx

from adapters.notify.webhook import sign
from adapters.platforms.http import retry_after_s

ANSWER_BYTES_MAX: Final = 64 << 10
CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
"""Until the status has come, whatever the other side does with its bytes."""
REST_S: Final = 2.0
"""For what follows the status; the connection is given up then."""
IDLE_S: Final = 2.0
CONTENT_TYPE: Final = "application/cloudevents+json"
_LATE: Final = (TimeoutError, httpcore.TimeoutException)
_USER: Final = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*@")


class NotAllowed(ValueError):
    """An address that is not called: what is wrong with it, and what to do."""


class Failed(Exception):
    """No answer came; `reason` names no address. `away` = the other side cannot be reached, whoever calls."""

    def __init__(self, reason: str, *, away: bool) -> None:
        """Keep both."""
        super().__init__(reason)
        self.reason = reason
        self.away = away


class Answered(NamedTuple):
    """What came back."""

    status: int
    ms: int
    retry_after_s: float | None


def check_url(url: str, *, private: bool) -> str:
    """Return an address that may be called, as it is written.

    A name is judged again, with what it points to, at each connection; here only an address in numbers can be.

    Raises:
        NotAllowed: it is none of http or https, holds a user or a fragment, or names a forbidden address.
    """
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise NotAllowed("this is no address; write https://host/path") from error
    if any(char.isspace() or not char.isprintable() for char in url):
        raise NotAllowed("an address has no spaces and no control characters")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise NotAllowed("only addresses of the form https://host/path or http://host/path are called")
    if parts.userinfo or _USER.match(url):
        raise NotAllowed("an address holds no user or password: deliveries are signed; leave them out")
    if parts.fragment:
        raise NotAllowed("an address with # is not what a server sees; leave that part out")
    if parts.port == 0:
        raise NotAllowed("port 0 is none")
    try:
        address = ipaddress.ip_address(parts.host)
    except ValueError:
        return url
    _judge(address, private=private)
    return url


def _judge(address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, private: bool) -> None:
    """Refuse an address: never called are those that are no single host's or lead to a machine's own keeper.

    Raises:
        NotAllowed: it is not called.
    """
    inner = getattr(address, "ipv4_mapped", None)
    address = inner or address
    strange = address.is_multicast or address.is_link_local or address.is_unspecified or address.is_reserved
    if strange and not address.is_loopback:  # `::1` counts as reserved, too
        raise NotAllowed("link-local, multicast and reserved addresses are never called")
    if not private and not address.is_global:
        raise NotAllowed("the setting webhooks_private is off, and this is an address of a private network")


class _Judged(httpcore.AsyncNetworkBackend):
    """Connects to nothing but addresses that were judged."""

    def __init__(self, *, private: bool) -> None:
        self._plain = httpcore.AnyIOBackend()
        self._private = private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Look the host up, judge all it points to, and connect to the first that answers."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError("its host is not known") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            _judge(ipaddress.ip_address(address.partition("%")[0]), private=self._private)
        trouble: Exception = httpcore.ConnectError("its host has no address")
        for address in addresses:
            try:
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
        raise trouble

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._plain.sleep(seconds)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one set of trusted roots: it takes a while to read."""
    return httpx.create_ssl_context()


class Deliverer:
    """Calls one subscriber's address. Make it in a running event loop, and close it."""

    def __init__(self, url: str, *, private: bool, at_once: int) -> None:
        """Nothing is sent yet.

        Raises:
            NotAllowed: the address is not called.
        """
        self.url = check_url(url, private=private)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(),
            max_connections=at_once,
            keepalive_expiry=IDLE_S,
            network_backend=_Judged(private=private),
        )

    async def post(self, webhook_id: str, timestamp_s: int, body: bytes, keys: Sequence[bytes]) -> Answered:
        """Send a body, signed with each of `keys`, and return what came back, whatever its status.

        Raises:
            Failed: nothing came back in time.
            NotAllowed: its host points to an address that is not called; nothing was sent.
        """
        headers = {
            "Host": httpx.URL(self.url).netloc.decode("ascii"),
            "User-Agent": "OrderSpine",
            "Content-Type": CONTENT_TYPE,
            "Content-Length": str(len(body)),
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join(sign(key, webhook_id, timestamp_s, body) for key in keys),
        }
        began = time.monotonic()
        try:
            status, told = await self._exchange(headers, body)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise Failed(f"cannot be reached ({type(error).__name__})", away=True) from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, TimeoutError) as error:
            raise Failed(f"no answer ({type(error).__name__})", away=isinstance(error, _LATE)) from None
        return Answered(status, round((time.monotonic() - began) * 1000), retry_after_s(told))

    async def _exchange(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        waits = {"connect": CONNECT_S, "read": ANSWER_S, "write": ANSWER_S, "pool": ANSWER_S}
        url = str(httpx.URL(self.url))
        stream = self._pool.stream(
            "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": waits}
        )
        async with asyncio.timeout(ANSWER_S) as answering, stream as response:
            answering.reschedule(None)
            taken = 0
            # The status is the answer: that what follows it breaks off, is badly written or does not end takes nothing
            # of it back.
            with contextlib.suppress(*_LATE, httpcore.NetworkError, httpcore.ProtocolError):
                async with asyncio.timeout(REST_S):
                    async for chunk in response.aiter_stream():
                        taken += len(chunk)
                        if taken > ANSWER_BYTES_MAX:
                            break  # whatever else it says does not matter; the connection is given up
            told = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in response.headers}
            return response.status, told

    async def close(self) -> None:
        """Release connections."""
        await self._pool.aclose()
