"""Calls of warehouses that others run: judged, turned into mail of orders and ledgers, committed, then answered.

Nothing that a genuine call tells is lost: what cannot be followed (nobody knows the delivery order, the body cannot be
read) is kept, sealed, in the intake of that warehouse, and answered as a failure.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

import structlog

from adapters.nats.errors import BrokerError
from adapters.platforms.connection import MissingSecret
from adapters.web.ports import Busy
from adapters.wms.incoming import BAD_REQUEST, BAD_XML, Change, changes, confirmation
from adapters.wms.protocol import Call, Failure, failure, success, verified
from adapters.wms.settings import FILE, BadWms, WmsSettings
from domain.delivery import ConfirmDelivery
from domain.envelope import By
from domain.ids import intake_key, warehouse_key
from domain.mail import AsideReport, Mail, Reply
from domain.platforms import PushRequest
from domain.stock import AdjustStock, ReceiveStock
from runners.bootstrap import open_log
from runners.desk import COMMIT_LANES, Gathering
from runners.post import MailFull, NoAnswer
from runners.settings_file import stamp
from runners.vitals import STORE_AWAY
from runners.wms_index import DeliveryIndex
from runners.wms_settings import load, secret_of

if TYPE_CHECKING:
    from adapters.web.metrics import Metrics
    from domain.mail import Body
    from domain.ports import EventLog
    from runners.settings import Settings

ANSWER_S = 4.5
"""Longest wait for a commit: callers hang up soon, and come again."""
CONFIRM = "deliveryorder.confirm"
CHANGED = "stockchange.report"
CHANNEL = "wms"
"""Stands for a channel in the keys of intakes."""
_INBOUND = frozenset({"CGRK", "SCRK", "LYRK", "QTRK", "XTRK", "HHRK", "DBRK", "B2BRK", "CCRK"})
"""Qimen's words for documents by which goods come in (bought, made, returned, moved …)."""
UNKNOWN_ORDER = "unknown-delivery-order"
UNKNOWN_WAREHOUSE = "unknown-warehouse"
_KEPT = frozenset({BAD_XML, BAD_REQUEST, UNKNOWN_ORDER, UNKNOWN_WAREHOUSE})
"""Codes of failures after which the body is kept."""
REASON_MAX = 500
"""Characters that are kept of why stock changed."""

log = structlog.get_logger(__name__)


class WarehouseCalls:
    """The port `adapters.web.wms.WmsCalls`. Use it in one event loop."""

    def __init__(
        self,
        settings: "Settings",
        send: Callable[[Sequence[Mail]], Awaitable[Sequence[Reply]]],
        metrics: "Metrics",
        now_ms: Callable[[], int],
    ) -> None:
        """Nothing is read yet; `send` waits for the commit."""
        self._settings = settings
        self._committed: Gathering[Reply] = Gathering(send, COMMIT_LANES)
        self._metrics = metrics
        self._now_ms = now_ms
        self._stamp: object = ("never",)
        self._found: dict[str, WmsSettings] = {}
        self._log: EventLog | None = None
        self._index: DeliveryIndex | None = None
        self._opening = Lock()

    async def call(self, name: str, request: PushRequest, correlation: str) -> bytes | None:
        """Take a call; see `WmsCalls.call`."""
        self._refresh()
        settings = self._found.get(name)
        if settings is None:
            return None
        try:
            call = verified(request, settings, secret_of(self._settings.path, settings))
        except MissingSecret as error:
            log.error("wms.away", wms=name, reason=str(error), correlation=correlation)  # noqa: TRY400
            return failure("not-ready", "we cannot judge calls now; call again later")
        except Failure as refused:
            self._metrics.refused_push(f"wms:{name}", refused.code)
            return failure(refused.code, refused.message)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._answered(settings, call, correlation)
        except TimeoutError:
            raise Busy("nobody has handled it yet; it may be safe already") from None
        except MailFull as error:
            raise Busy(str(error)) from error
        except (NoAnswer, BrokerError) as error:
            log.warning("wms.not_delivered", wms=name, error=str(error), correlation=correlation)
            raise Busy("nothing is taken in now") from error
        except STORE_AWAY as error:
            log.warning("wms.log_away", wms=name, error=type(error).__name__, correlation=correlation)
            raise Busy("the log cannot be read now") from error

    def failure(self, code: str, message: str) -> bytes:
        """Return an answer that it was not taken in."""
        return failure(code, message)

    async def keep(self) -> None:
        """Follow the log, so that nobody waits for it when a warehouse calls, until cancelled."""
        while True:
            self._refresh()
            if self._found:
                with contextlib.suppress(FileNotFoundError, *STORE_AWAY):
                    await asyncio.to_thread(self._deliveries().follow)
            await asyncio.sleep(1.0)

    async def close(self) -> None:
        """See through what waits, and release the files."""
        await self._committed.close()
        if self._index is not None:
            self._index.close()
        if self._log is not None:
            self._log.close()

    def _refresh(self) -> None:
        now = stamp(self._settings.path / FILE)
        if now == self._stamp:
            return
        self._stamp = now
        try:
            self._found = {each.name: each for each in load(self._settings.path) if each.enabled}
        except (BadWms, OSError) as error:
            log.error("wms.unusable", reason=f"{error}; until then it is as before")  # noqa: TRY400  not a crash

    def _deliveries(self) -> DeliveryIndex:
        with self._opening:  # of several threads
            if self._index is None:
                self._log = self._log or open_log(self._settings, read_only=True)
                self._index = DeliveryIndex(self._settings.path, self._log)
            return self._index

    async def _answered(self, settings: WmsSettings, call: Call, correlation: str) -> bytes:
        try:
            await self._take(settings, call, correlation)
        except Failure as failed:
            if failed.code in _KEPT:
                reason = f"{call.method}: {failed.message}"
                aside = AsideReport(CHANNEL, settings.name, "refused", reason, call.body)
                await self._mail(settings, [(intake_key(CHANNEL, settings.name), aside)], correlation)
            return failure(failed.code, failed.message)
        return success()

    async def _take(self, settings: WmsSettings, call: Call, correlation: str) -> None:
        match call.method:
            case "deliveryorder.confirm":
                await self._confirmed(settings, call, correlation)
            case "stockchange.report":
                await self._changed(settings, call, correlation)
            case _:
                known = f"{CONFIRM}, {CHANGED}"
                raise Failure("unknown-method", f"there is no method {call.method[:60]!r} here; known are {known}")

    async def _confirmed(self, settings: WmsSettings, call: Call, correlation: str) -> None:
        said = confirmation(call.body, settings.carriers)
        try:
            whose = await asyncio.to_thread(lambda: self._deliveries().find(said.code))
        except FileNotFoundError:
            raise Busy("there is no log yet") from None
        ours = settings.ours(said.warehouse) if said.warehouse else None
        if whose is None or whose.warehouse not in settings.warehouses or (ours and ours != whose.warehouse):
            raise Failure(UNKNOWN_ORDER, f"we know no delivery order {said.code[:60]!r} of that warehouse")
        # The code with its revision: a delivery order that took the place of another has confirmations of its own.
        command_id = f"wms/{settings.name}/{said.code}/{said.identity}"
        body = ConfirmDelivery(
            command_id, whose.pick_list, whose.allocation, said.parcels, said.packed, said.final, said.reference
        )
        await self._sent(settings, [(whose.stream, body)], correlation)

    async def _changed(self, settings: WmsSettings, call: Call, correlation: str) -> None:
        found = changes(call.body)
        for change in found:
            if settings.ours(change.warehouse) is None:
                raise Failure(UNKNOWN_WAREHOUSE, f"we know no warehouse {change.warehouse[:60]!r} of yours")
        try:
            counted = await asyncio.to_thread(self._counted, found)
        except FileNotFoundError:
            raise Busy("there is no log yet") from None
        bodies: list[tuple[str, Body]] = []
        for (warehouse, document, sku), parts in counted.items():
            ours = settings.ours(warehouse)
            assert ours is not None, "it was looked up before"
            number = f"wms/{settings.name}/{document}/{sku}"
            units = sum(part.units for part in parts)
            if units > 0 and all(part.kind in _INBOUND for part in parts):
                bodies.append((warehouse_key(ours), ReceiveStock(number, ((sku, units),))))
            elif units:
                words = dict.fromkeys(f"{part.kind} {part.order}".strip() for part in parts)
                reason = f"{settings.name}: {', '.join(words)}"[:REASON_MAX]
                bodies.append((warehouse_key(ours), AdjustStock(number, sku, units, reason)))
        if bodies:
            await self._sent(settings, bodies, correlation)

    def _counted(self, found: Sequence[Change]) -> dict[tuple[str, str, str], list[Change]]:
        """Return changes by (warehouse, document, SKU): of goods we count, by documents that are not ours."""
        index = self._deliveries()
        counted: defaultdict[tuple[str, str, str], list[Change]] = defaultdict(list)
        for change in found:
            # What left for a delivery order is deducted when that is confirmed.
            if change.sellable and not (change.order and index.find(change.order)):
                counted[change.warehouse, change.document, change.sku].append(change)
        return counted

    async def _sent(self, settings: WmsSettings, bodies: "Sequence[tuple[str, Body]]", correlation: str) -> None:
        """Have acts committed.

        Raises:
            Failure: one was refused; the others are done, and doing all of them again is harmless.
        """
        replies = await self._mail(settings, bodies, correlation)
        refused = [reply.reason for reply in replies if reply.outcome == "refused"]
        if refused:
            raise Failure("refused", "; ".join(refused)[:500])

    async def _mail(
        self, settings: WmsSettings, bodies: "Sequence[tuple[str, Body]]", correlation: str
    ) -> Sequence[Reply]:
        by, now_ms = By("system", f"wms/{settings.name}"), self._now_ms()
        return await self._committed.send(
            [Mail(to, body, now_ms, by, f"wms/{settings.name}", correlation) for to, body in bodies]
        )
