"""One shop's HTTP client: keeps to the platform's rate, repeats what may be repeated, and tells what went wrong.

What it is given and gets back holds secrets and personal data: no address, parameter, header or body of a call ends in
a log or in an error's text. Only the host's name does.
"""

import asyncio
import contextlib
import functools
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple, Never

import httpx

from domain.platforms import OutcomeUnknown, PlatformBusy, PlatformRefused

ANSWER_BYTES_MAX: Final = 32 << 20
WAIT_S_MAX: Final = 30.0
"""A wait that the platform asks for is waited here up to this long; a longer one is the caller's (`PlatformBusy`)."""
ASKED_S_MAX: Final = 3_600.0
"""No longer wait is believed: one in milliseconds, or by a clock that is wrong, would last for years."""
_BACKOFF_S: Final = 0.5
_WHOLE_CALL: Final = 4
"""One attempt may take this many times the timeout in all: a peer that sends a byte now and then must end too."""
_CONNECTIONS_MAX: Final = 16
_IDLE_S_MAX: Final = 2.0
"""How long a connection is kept that nothing is sent over. Many servers close theirs after 5 s: a message sent at that
moment may be lost, and nobody knows whether it was taken."""
_BUSY: Final = frozenset({408, 425, 429})
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500

# Both tell every address they call, with its parameters, and these are signed.
for _talkative in ("httpx", "httpcore"):
    logging.getLogger(_talkative).setLevel(logging.WARNING)

_jitter: Final = random.SystemRandom()

Params = Mapping[str, str] | Sequence[tuple[str, str]]


class Answer(NamedTuple):
    """What a platform answered, exactly."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


class Http:
    """One shop's client. Close it; make it in a running event loop."""

    def __init__(
        self,
        base_url: str,
        *,
        per_s: float,
        burst: int,
        timeout_s: float = 15.0,
        tries: int = 4,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is sent yet.

        Args:
            base_url: of the platform's interface, http or https.
            per_s: calls a second that the platform allows in the long run.
            burst: calls that may be made at once after a rest.
            timeout_s: for connecting, and for each wait for bytes.
            tries: how often a repeatable call is tried in all.
            now: seconds of a clock that never goes back.
            sleep: waits.

        Raises:
            ValueError: the address is none.
        """
        self._base = base_url.rstrip("/")
        self._host = host_of(base_url)
        self._bucket = _Bucket(per_s, burst, now, sleep)
        self._timeout_s = timeout_s
        self._tries = tries
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            limits=httpx.Limits(
                max_connections=_CONNECTIONS_MAX,
                max_keepalive_connections=_CONNECTIONS_MAX,
                keepalive_expiry=_IDLE_S_MAX,
            ),
            follow_redirects=False,
            verify=_tls(),
            # No proxy and above all no password file from the surroundings: what is sent is what the caller says.
            trust_env=False,
            headers={"user-agent": "OrderSpine"},
        )

    def __repr__(self) -> str:
        return f"Http({self._host})"

    async def call(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        repeatable: bool,
        judge: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Call and return the answer whatever its status, except those below.

        Args:
            method: of HTTP.
            url: a path below the base address, "" for the base address itself, or a whole address.
            params: of the query; percent-encoded here.
            headers: names and values.
            content: the body.
            repeatable: whether doing it twice is the same as doing it once.
            judge: looks at an answer; raises `PlatformBusy` where the platform says "not now" inside it, which is
                then repeated like status 429, or any other error, which ends the call.

        Raises:
            PlatformBusy: no connection, or status 408, 425, 429 or 5xx, to the last try.
            OutcomeUnknown: it is not repeatable, left, and no answer or status 5xx came.
            PlatformRefused: the answer is larger than 32 MB, or packed several times over.
        """
        target = self._target(url)
        where = host_of(target)
        for attempt in range(1, self._tries + 1):
            await self._bucket.take()
            try:
                answer = await self._once(method, target, params, headers, content, repeatable=repeatable, where=where)
                if judge is not None:
                    judge(answer)
            except PlatformBusy as busy:
                wait_s = self._backoff_s(attempt, busy.retry_after_s)
                # A busy answer to what must not be repeated is the caller's: it may have to ask first.
                sent = not isinstance(busy, _NotSent)
                if busy.retry_after_s is not None:
                    self._bucket.rest(busy.retry_after_s)
                if attempt == self._tries or wait_s > WAIT_S_MAX + 1.0 or (sent and not repeatable):
                    raise PlatformBusy(busy.reason, busy.advice, retry_after_s=busy.retry_after_s) from None
                await self._sleep(wait_s)
            else:
                return answer
        raise AssertionError("every try returns or raises")

    async def close(self) -> None:
        """Release connections. Harmless when done twice."""
        await self._client.aclose()

    def _target(self, url: str) -> str:
        if url.startswith(("http://", "https://")):
            return url
        return f"{self._base}/{url.lstrip('/')}" if url else self._base

    async def _once(
        self,
        method: str,
        target: str,
        params: Params | None,
        headers: Mapping[str, str] | None,
        content: bytes,
        *,
        repeatable: bool,
        where: str,
    ) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s * _WHOLE_CALL):
                answer = await self._exchange(method, target, params, headers, content, where)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            # Only these say for sure that nothing was sent. `from None`: the library's errors carry the request.
            raise _NotSent(f"cannot reach {where}: {str(error)[:200] or type(error).__name__}") from None
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
            reason = f"no answer from {where}: {type(error).__name__}"
            self._no_answer(reason, repeatable=repeatable)
        if answer.status in _BUSY or answer.status >= _SERVER_ERROR:
            reason = f"{where} answered with status {answer.status}"
            if answer.status >= _SERVER_ERROR and not repeatable:
                self._no_answer(reason, repeatable=False)
            advice = "too many calls; other programs may be using the same keys" if answer.status == _TOO_MANY else ""
            raise PlatformBusy(reason, advice, retry_after_s=retry_after_s(answer.headers))
        return answer

    def _no_answer(self, reason: str, *, repeatable: bool) -> Never:
        if repeatable:
            raise PlatformBusy(reason) from None
        raise OutcomeUnknown(reason, "it may have been done: ask before telling it again") from None

    async def _exchange(
        self,
        method: str,
        target: str,
        params: Params | None,
        headers: Mapping[str, str] | None,
        content: bytes,
        where: str,
    ) -> Answer:
        query = httpx.QueryParams(list(params.items() if isinstance(params, Mapping) else params)) if params else None
        request = self._client.stream(method, target, params=query, headers=dict(headers or {}), content=content)
        async with request as response:
            if "," in response.headers.get("content-encoding", ""):
                # Each packing can swell what it holds a thousand times, all of it before a byte can be counted here.
                raise PlatformRefused(f"the answer of {where} is packed several times over", "look at what sends it")
            body = await _limited(response.aiter_bytes(), where)
            return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)

    def _backoff_s(self, attempt: int, asked_s: float | None) -> float:
        """Return how long to wait: what the platform asks for, else longer each time; never all clients at once."""
        if asked_s is not None:
            return asked_s + _jitter.uniform(0, 0.25)
        return min(WAIT_S_MAX, _BACKOFF_S * 2.0 ** (attempt - 1)) * _jitter.uniform(0.5, 1.0)


def host_of(url: str) -> str:
    """Return the host (and port) of an address, the only part of it that people may see.

    Raises:
        ValueError: it is no address of http or https.
    """
    with contextlib.suppress(httpx.InvalidURL):
        parts = httpx.URL(url)
        if parts.scheme in {"http", "https"} and parts.host:
            return parts.netloc.decode("ascii")
    raise ValueError("not an address of the form https://host/path")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait (seconds or a date), an hour at most; None where it does not."""
    asked = headers.get("retry-after", "").strip()
    if asked.replace(".", "", 1).isdecimal() and asked.isascii():
        return min(float(asked), ASKED_S_MAX)
    with contextlib.suppress(ValueError, TypeError):
        then = parsedate_to_datetime(asked)
        # Against the platform's own clock where it tells it: ours may be wrong.
        said = headers.get("date", "")
        now = parsedate_to_datetime(said) if said else datetime.now(UTC)
        return min(max(0.0, (then - now).total_seconds()), ASKED_S_MAX)
    return None


class _NotSent(PlatformBusy):
    """No connection came about: nothing was done, whatever it was."""


class _Bucket:
    """A token bucket: whoever comes takes a place in the queue and waits for it."""

    def __init__(
        self, per_s: float, burst: int, now: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        assert per_s > 0
        assert burst >= 1
        self._per_s = per_s
        self._burst = burst
        self._now = now
        self._sleep = sleep
        self._left = float(burst)
        self._at = now()
        self._rest_until = self._at

    async def take(self) -> None:
        """Wait for a slot."""
        now = self._now()
        self._left = min(float(self._burst), self._left + (now - self._at) * self._per_s) - 1.0
        self._at = now
        if self._left < 0:
            await self._sleep(-self._left / self._per_s)
        rest_s = self._rest_until - self._now()
        if rest_s > 0:
            await self._sleep(rest_s)

    def rest(self, for_s: float) -> None:
        """Give out nothing for a while: the platform asked one of the callers to wait, and means all."""
        self._rest_until = max(self._rest_until, self._now() + min(for_s, WAIT_S_MAX))


async def _limited(chunks: AsyncIterator[bytes], where: str) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise PlatformRefused(
                f"the answer of {where} is larger than {ANSWER_BYTES_MAX >> 20} MB", "ask for less at once"
            )
    return bytes(body)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one set of trusted roots: reading it takes longer than most calls."""
    return httpx.create_ssl_context()
