"""The push API: orders of a merchant's own programs, or any channel's documents, one or many in a request."""

import re
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec
import structlog

from adapters.web.documents import BAD, NotTaken, Receipt, parts_of
from adapters.web.memory import UNKEPT, Answer, Memory
from adapters.web.metrics import Metrics
from adapters.web.ports import Handed, Intake, TooMany, UnknownChannel
from adapters.web.problems import MEDIA_TYPE, Refused, encode

log = structlog.get_logger(__name__)

JSON = "application/json"
REMEMBERED_BYTES_MAX = 256 * 1024
"""Longer answers are not kept under their idempotency key: the same orders again are answered `repeated`."""
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_JSON_TYPES = re.compile(r"application/(?:[a-z0-9.+-]*\+)?json|text/json")
_TABLE_TYPES = frozenset({"text/csv", "text/tab-separated-values", "application/csv"})
_ANY_TYPES = frozenset(
    # The last one is what command-line tools say of a body they were told nothing about.
    {"application/octet-stream", "text/plain", "application/x-ndjson", "application/x-www-form-urlencoded"}
)


class Push(NamedTuple):
    """A request to take orders in."""

    body: bytes
    content_type: str
    channel: str
    shop: str
    committed: bool
    idempotency_key: str | None
    holder: str
    correlation: str


class Given(NamedTuple):
    """An answer."""

    status: int
    media_type: str
    body: bytes
    replayed: bool = False


class Pushes:
    """Takes orders in."""

    def __init__(self, intake: Intake, memory: Memory, metrics: Metrics) -> None:
        """Connect the parts."""
        self._intake = intake
        self._memory = memory
        self._metrics = metrics
        self._under_way: set[tuple[str, str]] = set()

    async def push(self, push: Push) -> Given:
        """Return the answer, once the orders are committed or (not `committed`) durable.

        Raises:
            Refused: nothing was taken.
            Busy: sending it again is harmless.
        """
        key = push.idempotency_key
        if key is None:
            return await self._take(push)
        if not _KEY.fullmatch(key):
            raise Refused(
                400,
                "bad-request",
                "the idempotency key must have 1 to 200 visible ASCII characters",
                where="header Idempotency-Key",
            )
        content = sha256(
            b"\0".join((push.channel.encode(), push.shop.encode(), b"%d" % push.committed, push.body))
        ).digest()
        before = self._memory.answered(push.holder, key)
        if before is not None:
            if before.content != content:
                raise Refused(
                    422,
                    "key-used",
                    "this idempotency key was used for another request",
                    where="header Idempotency-Key",
                    advice="use a new key for new content",
                )
            return Given(before.status, _media_type(before.status), before.body, replayed=True)
        same = (push.holder, key)
        if same in self._under_way:
            raise Refused(
                409,
                "conflict",
                "a request with this idempotency key is being served",
                where="header Idempotency-Key",
                advice="wait for its answer, or try again",
                headers={"Retry-After": "1"},
            )
        self._under_way.add(same)
        try:
            given = await self._take(push)
            if len(given.body) > REMEMBERED_BYTES_MAX:
                return given
            try:
                await self._memory.remember_answer(push.holder, key, Answer(content, given.status, given.body))
            except UNKEPT as error:
                # Harmless: the same request once more would find every order known.
                log.warning("push.answer_not_remembered", correlation=push.correlation, error=type(error).__name__)
            return given
        finally:
            self._under_way.discard(same)

    async def _take(self, push: Push) -> Given:
        if not push.body:
            raise Refused(
                400, "bad-request", "the body is empty", where="body", advice="send one order, or an array of orders"
            )
        form = _form(push.content_type)
        handed = Handed(push.body, push.channel, push.shop, "push", push.holder, form)
        try:
            taken = await self._intake.take([handed], committed=push.committed, correlation=push.correlation)
        except UnknownChannel as error:
            raise Refused(
                400, "bad-request", str(error), where="query channel", advice="leave it out for the generic form"
            ) from error
        except TooMany as error:
            raise Refused(
                413, "too-large", str(error), where="body", advice="send the orders in several requests"
            ) from error
        parts = parts_of(taken)
        for part in parts:
            self._metrics.taken(push.channel, "push", part.outcome)
        bad = sum(part.outcome in BAD for part in parts)
        if bad == len(parts):
            problem = NotTaken(
                "urn:orderspine:problem:not-taken",
                "Nothing was taken in",
                422,
                parts[0].reason if parts else "there is no order in it",
                push.correlation,
                "body",
                "correct it at its source and send it again; the bytes are kept with the reasons in `orders`",
                tuple(parts),
            )
            return Given(422, MEDIA_TYPE, encode(problem))
        status = 202 if not push.committed else 207 if bad else 200
        return Given(status, JSON, msgspec.json.encode(Receipt(push.correlation, parts)))


def _media_type(status: int) -> str:
    return MEDIA_TYPE if status == 422 else JSON  # noqa: PLR2004


def _form(content_type: str) -> Literal["json", "table", ""]:
    kind = content_type.partition(";")[0].strip().lower()
    if not kind or _JSON_TYPES.fullmatch(kind):
        return "json"
    if kind in _TABLE_TYPES:
        return "table"
    if kind in _ANY_TYPES:
        return ""
    raise Refused(
        415,
        "unsupported-media-type",
        "bodies of this type are not taken",
        where="header Content-Type",
        advice="send application/json, or text/csv with ?channel=pos",
    )
