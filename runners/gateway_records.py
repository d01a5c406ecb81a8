"""The gateway's look at the read models. Nothing is decided from them."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from adapters.web.ports import Busy, Page, Question
from domain.envelope import decode_envelope
from runners.bootstrap import open_log, open_read_models
from runners.settings import Settings
from runners.vitals import STORE_AWAY, read_position

if TYPE_CHECKING:
    from adapters.storage.read_models import ReadModels
    from domain.ports import EventLog

log = structlog.get_logger(__name__)

T = TypeVar("T")

READS_AT_ONCE = 4


class StoredRecords:
    """The port `adapters.web.ports.Records`."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; stores are opened when first read."""
        self._settings = settings
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._opening = threading.Lock()
        self._views: ReadModels | None = None
        self._log: EventLog | None = None
        self._log_turn = threading.Lock()
        """The log's connection serves one thread at a time."""

    async def orders(self, question: Question) -> Page:
        """Return the orders that fit; see `Records.orders`."""
        return await self._read(lambda: self._orders(question))

    async def order(self, key: str) -> dict[str, Any] | None:
        """Return one order; see `Records.order`."""
        return await self._read(lambda: self._open()[0].order(key))

    def close(self) -> None:
        """Release the stores."""
        if self._views is not None:
            self._views.close()
        if self._log is not None:
            self._log.close()

    async def _read(self, ask: Callable[[], T]) -> T:
        async with self._reads:
            try:
                return await asyncio.to_thread(ask)
            except (FileNotFoundError, *STORE_AWAY) as error:
                log.warning("gateway.not_readable", error=type(error).__name__)
                raise Busy("the read models cannot be read now", advice="try again a little later") from error

    def _open(self) -> "tuple[ReadModels, EventLog]":
        with self._opening:
            if self._views is None:
                self._views = open_read_models(self._settings)
            if self._log is None:
                self._log = open_log(self._settings, read_only=True)
            return self._views, self._log

    def _orders(self, question: Question) -> Page:
        views, events = self._open()
        with self._log_turn:
            generation = events.tracked().generation
            after = 0 if question.since_ms is None else _last_before(events, question.since_ms)
        asked = {"state": question.state, "channel": question.channel, "shop": question.shop}
        filters: dict[str, str | int] = {name: value for name, value in asked.items() if value}
        if after:
            filters["after"] = after
        if question.before is not None:
            filters["before"] = question.before
        position = read_position(views, generation)
        if not question.text:
            return Page(views.orders(filters, question.limit), position)
        found = {
            row["key"]: row
            for name in ("order_no", "tracking")
            for row in views.orders({**filters, name: question.text}, question.limit)
        }
        rows = sorted(found.values(), key=lambda row: -int(row["position"]))
        return Page(rows[: question.limit], position)


def _last_before(events: "EventLog", moment_ms: int) -> int:
    """Return the position of the last event before a time; 0 = none. Positions and times rise together."""
    low, high = 0, events.tracked().head
    while low < high:
        middle = (low + high + 1) // 2
        event = events.read(middle - 1, 1)
        if event and decode_envelope(event[0].envelope).at < moment_ms:
            low = middle
        else:
            high = middle - 1
    return low
