"""What stands before every request: an id, the right to ask, limits of number, size and time, figures, a line of log.

A request that would take something in is refused here, with 503 and before a byte of its body is read, while mail or
disk run full. Bodies are read whole, within a budget for all of them together; no handler waits for a client.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from adapters.web.metrics import Metrics
from adapters.web.ports import Busy, Watch
from adapters.web.problems import MEDIA_TYPE, Refused, busy, encode
from adapters.web.tokens import Right, TokenBook
from adapters.web.webhooks import place_of

log = structlog.get_logger(__name__)

MIB = 1 << 20
WEBHOOK_BYTES_MAX = MIB
PUSH_BYTES_MAX = 32 * MIB
WMS_BYTES_MAX = MIB // 2
"""A warehouse's call fits into one message of the mail, so that it can be kept whole."""
OTHER_BYTES_MAX = 64 * 1024
CHUNK_S = 10.0
"""Longest wait for the next part of a body."""
BODY_S = 30.0
"""Longest time for a body, and a second more for each of `BODY_BYTES_PER_S`."""
BODY_BYTES_PER_S = 256 * 1024
BUSY_RETRY_S = 5
CORRELATION = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_BEARER = re.compile(rb"[Bb]earer +([\x21-\x7e]+) *")

Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Any], Any]


class Limits(NamedTuple):
    """How much at once."""

    requests_max: int = 256
    body_bytes_max: int = 128 * MIB
    """Of all bodies held at one time."""
    webhook_bytes_max: int = WEBHOOK_BYTES_MAX
    push_bytes_max: int = PUSH_BYTES_MAX
    chunk_s: float = CHUNK_S
    body_s: float = BODY_S

    @property
    def strangers_max(self) -> int:
        """How many of the requests may come from whom no token has named."""
        return self.requests_max - self.requests_max // 4

    @property
    def strange_bytes_max(self) -> int:
        """How many of the bytes of all bodies may be theirs."""
        return self.body_bytes_max - self.body_bytes_max // 4


class Kind(NamedTuple):
    """What a request is, as far as the guard treats it apart."""

    route: str
    """Template of its path: the label in figures and logs."""
    bytes_max: int = OTHER_BYTES_MAX
    right: Right | None = None
    """Right that its token must have."""
    takes_in: bool = False
    """Whether it brings something to keep."""
    known: bool = True
    """Whether there is anything at such a path."""
    vital: bool = False
    """Whether it is served however busy the gateway is."""


class Passed(NamedTuple):
    """What the guard found out; in the request's `state` as `passed`."""

    correlation: str
    holder: str
    """Name of the token; "" where none is asked for."""
    body: bytes


class Guard:
    """An ASGI application before another one."""

    def __init__(self, app: Any, tokens: TokenBook, watch: Watch, metrics: Metrics, limits: Limits) -> None:
        """Stand before `app`."""
        self._app = app
        self._tokens = tokens
        self._watch = watch
        self._metrics = metrics
        self._limits = limits
        self._under_way = 0
        """Requests being served, probes apart."""
        self._strangers = 0
        """Of them, those that showed no token and bring a body; who they are is told by the body only."""
        self._held_bytes = 0
        self._strange_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        # Routers forgive doubled and trailing slashes. What is judged here and what is routed must be the same path.
        scope["path"] = _one_spelling(scope["path"])
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, value)
        correlation = _correlation(headers.get(b"x-correlation-id", b""))
        kind = self._kind(scope["path"], scope["method"])
        answer = _Answer(send, correlation)
        share = _Share()
        # Probes take nobody's place: they are served to strangers, too, and without a limit.
        self._under_way += not kind.vital
        try:
            holder = self._admit(kind, headers)
            share.strange = not holder
            self._strangers += share.strange and not kind.vital
            body = await self._body(kind, receive, self._declared(kind, headers), share)
            scope.setdefault("state", {})["passed"] = Passed(correlation, holder, body)
            if scope["method"] == "HEAD":  # the server leaves the body away
                scope = {**scope, "method": "GET"}
            await self._app(scope, _replay(body, receive), answer)
        except Refused as refused:
            # What comes of the body after a refusal is read and dropped for a while: cut off at once, many a client
            # would see a broken connection and no answer. One that waits for `100 Continue` sends none.
            await answer.refuse(refused, close=refused.status == 408 or b"expect" in headers)  # noqa: PLR2004
        except _Gone:
            answer.status = 499
        except Exception as error:  # noqa: BLE001
            # The last resort: whoever asked hears of it with the id under which the log tells where it was. Not what
            # it said: that may quote the request.
            log.error("http.fault", route=kind.route, correlation=correlation, fault=place_of(error))  # noqa: TRY400
            fault = Refused(500, "internal", "this should not happen", advice="tell us the correlation id")
            await answer.refuse(fault, close=True)
        finally:
            self._under_way -= not kind.vital
            self._strangers -= share.strange and not kind.vital
            self._held_bytes -= share.bytes
            self._strange_bytes -= share.bytes * share.strange
            seconds = time.perf_counter() - began
            self._metrics.answered(kind.route, scope["method"], answer.status, seconds)
            self._metrics.load(self._under_way, self._held_bytes)
            # What has no right to ask leaves no trace but a count.
            if answer.status != 401 and not kind.vital:  # noqa: PLR2004
                log.info(
                    "http.request",
                    route=kind.route,
                    method=scope["method"],
                    status=answer.status,
                    ms=round(seconds * 1000, 2),
                    bytes=share.bytes,
                    correlation=correlation,
                )

    def _kind(self, path: str, method: str) -> Kind:
        limits = self._limits
        if path.startswith("/webhooks/"):
            return Kind("/webhooks/{connection}", limits.webhook_bytes_max, takes_in=method == "POST")
        if path.startswith("/wms/"):
            return Kind("/wms/{name}", min(WMS_BYTES_MAX, limits.webhook_bytes_max), takes_in=method == "POST")
        if path.startswith(("/tracks/", "/payments/")):
            return Kind(f"/{path.split('/')[1]}/{{service}}", limits.webhook_bytes_max, takes_in=method == "POST")
        if path == "/api/v1/orders":
            if method == "POST":
                return Kind(path, limits.push_bytes_max, "push", takes_in=True)
            return Kind(path, right="read")
        if path.startswith("/api/v1/orders/"):
            return Kind("/api/v1/orders/{key}", right="read")
        if path.startswith("/api/"):
            return Kind("/api/…", right="read")
        if path in {"/healthz", "/readyz", "/metrics"}:
            return Kind(path, vital=True)
        if path == "/schema" or path.startswith("/schema/"):
            return Kind("/schema")
        return Kind("other", known=False)

    def _admit(self, kind: Kind, headers: dict[bytes, bytes]) -> str:
        """Return whose token it is, or refuse."""
        if not kind.known:
            # Not handed on to be found out: whatever is served has a kind, and with it the right it takes.
            raise Refused(404, "not-found", "there is nothing at this address", advice="see /schema/openapi.json")
        holder = self._authorised(kind.right, headers) if kind.right else ""
        if self._under_way > self._limits.requests_max and not kind.vital:
            raise busy(
                f"{self._limits.requests_max} requests are being served already", 1, "send fewer at once, and try again"
            )
        if not holder and not kind.vital and self._strangers >= self._limits.strangers_max:
            # Whoever sends bodies slowly, and many at once, keeps nobody out who has a token.
            raise busy("too many pushes are being taken in", 1, "send it again a little later")
        if kind.takes_in and (refusal := self._watch.standing.refusal):
            raise busy(refusal, BUSY_RETRY_S, self._watch.standing.advice)
        return holder

    def _authorised(self, right: Right, headers: dict[bytes, bytes]) -> str:
        given = _BEARER.fullmatch(headers.get(b"authorization", b""))
        if given is None:
            self._metrics.refused_api("no token")
            raise Refused(
                401,
                "not-authorised",
                "a bearer token is needed",
                where="header Authorization",
                advice="send `Authorization: Bearer TOKEN`; `orderspine api-token add NAME` makes one",
                headers={"WWW-Authenticate": "Bearer"},
            )
        token = self._tokens.holder(given[1].decode("ascii"))
        if token is None:
            self._metrics.refused_api("unknown token")
            raise Refused(
                401,
                "not-authorised",
                "this token is not known",
                where="header Authorization",
                advice="look whether it is whole, and of this installation",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        if right not in token.rights:
            self._metrics.refused_api(f"no right to {right}")
            raise Refused(
                403,
                "forbidden",
                f"this token has no right to {right}",
                where="header Authorization",
                advice=f"make one with `orderspine api-token add NAME --rights {right}`",
            )
        return token.name

    def _declared(self, kind: Kind, headers: dict[bytes, bytes]) -> int:
        """Return the size the body claims to have; 0 = it does not say."""
        if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"identity", b""}:
            raise Refused(
                415,
                "unsupported-media-type",
                "bodies are taken as they are, not compressed",
                where="header Content-Encoding",
                advice="send it without Content-Encoding",
            )
        text = headers.get(b"content-length", b"0")
        size = int(text) if text.isdigit() else 0
        if size > kind.bytes_max:
            raise _too_large(kind.bytes_max)
        return size

    def _hold(self, share: "_Share", size: int) -> None:
        """Take room for so many more bytes of a body."""
        crowded = self._held_bytes + size > self._limits.body_bytes_max
        if crowded or (share.strange and self._strange_bytes + size > self._limits.strange_bytes_max):
            raise busy("too many large bodies are being taken in", 1, "send it again a little later")
        share.bytes += size
        self._held_bytes += size
        self._strange_bytes += size * share.strange

    async def _body(self, kind: Kind, receive: Receive, size: int, share: "_Share") -> bytes:
        """Read the body.

        Raises:
            Refused: it is too large or too slow, or there is no room.
            _Gone: the client went away before it was whole.
        """
        # Room is taken for what has come, not for what is announced: whoever announces much and sends nothing keeps
        # nobody out.
        parts: list[bytes] = []
        read = 0
        deadline = time.monotonic() + self._limits.body_s + size / BODY_BYTES_PER_S
        while True:
            try:
                async with asyncio.timeout(min(self._limits.chunk_s, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise Refused(
                    408, "too-slow", "the body did not come in time", where="body", advice="send it again"
                ) from None
            if message["type"] == "http.disconnect":
                raise _Gone
            part: bytes = message.get("body", b"")
            read += len(part)
            if read > kind.bytes_max:
                raise _too_large(kind.bytes_max)
            self._hold(share, len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)


class _Share:
    """One request's share of the room there is."""

    bytes = 0
    strange = False


class _Gone(Exception):
    """The client is not there any more."""


class _Answer:
    """The way back: adds the id and what browsers must know, notes the status."""

    def __init__(self, send: Send, correlation: str) -> None:
        self._send = send
        self._headers = (
            (b"x-correlation-id", correlation.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        )
        self._correlation = correlation
        self.status = 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        await self._send(message)

    async def refuse(self, refused: Refused, *, close: bool) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.status:
            return
        body = encode(refused.problem(self._correlation))
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
        if close:
            headers.append((b"connection", b"close"))
        await self({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self({"type": "http.response.body", "body": body, "more_body": False})


def _one_spelling(path: str) -> str:
    """Return the path without empty parts."""
    return "/" + "/".join(part for part in path.split("/") if part)


def _correlation(given: bytes) -> str:
    text = given.decode("latin-1")
    return text if CORRELATION.fullmatch(text) else secrets.token_hex(8)


def _too_large(bytes_max: int) -> Refused:
    return Refused(
        413,
        "too-large",
        f"the body has more than {bytes_max:,} bytes",
        where="body",
        advice="send the orders in several requests",
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the whole body at once, then what comes after it."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def as_refused(error: Busy) -> Refused:
    """Return the answer to somebody who came at a bad time."""
    return busy(error.reason, error.retry_after_s, error.advice)
