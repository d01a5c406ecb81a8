"""The gateway's watch: room in mail and disk, broker, worker, read models, looked at each second."""

import asyncio
import contextlib
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

import structlog

from adapters.nats.client import Connection
from adapters.nats.errors import BrokerError
from adapters.nats.lease import holder_of_lease
from adapters.nats.streams import MailInfo, mail_info
from adapters.web.ports import Standing
from runners.bootstrap import open_log, open_read_models
from runners.gateway_line import Line
from runners.part_troubles import troubles_of
from runners.sealer_word import heard
from runners.settings import Settings
from runners.vitals import STORE_AWAY, read_position

if TYPE_CHECKING:
    from adapters.storage.read_models import ReadModels
    from domain.ports import EventLog, Tracked

log = structlog.get_logger(__name__)

LOOK_S = 1.0
AGAIN_S = 0.2
"""The same while there is no broker."""
ASK_S = 2.0
"""How long the broker may take to answer before it counts as silent."""
SILENT_S = 5.0
"""Requests wait for a silent broker that long; then they are answered busy at once."""
MAIL_SPARE_PART = 8
"""Of a small mail stream an eighth is spare, whatever the setting says."""


class _Stored(NamedTuple):
    tracked: "Tracked | None"
    read_to: int | None
    differing_orders: int | None


class CellWatch:
    """The port `adapters.web.ports.Watch`."""

    def __init__(self, settings: Settings, line: Line) -> None:
        """Prepare; `keep` looks."""
        self._settings = settings
        self._line = line
        self._log: EventLog | None = None
        self._views: ReadModels | None = None
        self._heard_at = time.monotonic()
        self._handled = -1
        self._moved_at = time.monotonic()
        self._standing = Standing(refusal="the gateway is starting", advice="try again in a moment")

    @property
    def standing(self) -> Standing:
        """What was seen last."""
        return self._standing

    async def keep(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S if self._standing.broker else AGAIN_S)

    async def look(self) -> None:
        """Look once."""
        stored, free = await asyncio.to_thread(self._look_at_stores)
        connection = self._line.connection
        mail, worker = await self._ask(connection) if connection is not None else (None, False)
        now = time.monotonic()
        if mail is not None:
            self._heard_at = now
        tracked = stored.tracked
        backlog = None
        if mail is not None and tracked is not None and mail.incarnation == tracked.incarnation:
            backlog = max(0, mail.last_seq - tracked.position)
            if not backlog or tracked.position != self._handled:
                self._handled, self._moved_at = tracked.position, now
        room = None if mail is None else mail.max_bytes - mail.bytes
        word = await asyncio.to_thread(heard, self._settings.path)
        refusal, advice = self._refusal(mail, room, free, now)
        if refusal != self._standing.refusal:
            log.warning("gateway.intake", taking=not refusal, reason=refusal)
        self._standing = Standing(
            broker=mail is not None,
            worker=worker,
            failing_parts=len(troubles_of(self._settings.path)),
            worker_lag_s=round(now - self._moved_at, 1) if backlog else 0.0,
            mail_backlog=backlog,
            mail_free_bytes=room,
            log_head=tracked.head if tracked else None,
            projection_lag=max(0, tracked.head - stored.read_to) if tracked and stored.read_to is not None else None,
            differing_orders=stored.differing_orders,
            disk_free_bytes=free,
            sealer_refusing=bool(word.refused) if word else None,
            unsealed=max(0, tracked.head - word.position) if tracked and word else None,
            witness_troubled=bool(word.witness) if word else None,
            refusal=refusal,
            advice=advice,
        )

    def close(self) -> None:
        """Release the stores."""
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._views is not None:
            self._views.close()
            self._views = None

    def _refusal(self, mail: MailInfo | None, room: int | None, free: int | None, now: float) -> tuple[str, str]:
        """Return why nothing can be taken in, and what to do about it."""
        spare = self._settings.disk_spare_bytes
        if free is not None and free < spare:
            return "the disk is nearly full", f"the merchant must free space ({free >> 20:,} of {spare >> 20:,} MiB)"
        if mail is not None and room is not None and mail.max_bytes > 0:
            spare = min(self._settings.mail_spare_bytes, mail.max_bytes // MAIL_SPARE_PART)
            if room < spare:
                return "the mail is nearly full: more came in than was handled", "send it again a little later"
        if mail is None and now - self._heard_at > SILENT_S:
            return "the broker does not answer", "send it again a little later"
        return "", ""

    async def _ask(self, connection: Connection) -> tuple[MailInfo | None, bool]:
        """Return what the broker says of the mail, and whether a worker holds the cell."""
        mail, holder = None, None
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(ASK_S):
                mail = await mail_info(connection, self._settings.cell)
                holder = await holder_of_lease(connection, self._settings.cell)
        return mail, holder is not None

    def _look_at_stores(self) -> tuple[_Stored, int | None]:
        tracked: Tracked | None = None
        read_to = differing_orders = free = None
        with contextlib.suppress(FileNotFoundError, *STORE_AWAY):
            if self._log is None:
                self._log = open_log(self._settings, read_only=True)
            tracked = self._log.tracked()
        with contextlib.suppress(*STORE_AWAY):
            if self._views is None:
                self._views = open_read_models(self._settings)
            if tracked is not None:
                read_to = read_position(self._views, tracked.generation)
            differing_orders = next((row["differing_orders"] for row in self._views.checks(1)), None)
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(self._settings.path).free
        return _Stored(tracked, read_to, differing_orders), free
