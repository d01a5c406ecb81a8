"""How a cell does: positions and what waits, from log, read models and broker; what cannot be asked is None."""

import asyncio
import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING

import msgspec
import psycopg
import sqlalchemy.exc

from adapters.nats.client import Connection
from adapters.nats.errors import BrokerError
from adapters.nats.streams import events_stream, get_stored, mail_info
from domain.ports import LogDamaged
from projections import PROJECTIONS
from runners.bootstrap import open_log, open_read_models
from runners.lock import holder_of
from runners.part_troubles import Trouble, troubles_of
from runners.sealer_word import heard
from runners.settings import Settings
from runners.shops import gateway_url, troubled

if TYPE_CHECKING:
    from adapters.storage.read_models import ReadModels
    from domain.ports import EventLog

STORE_AWAY = (sqlite3.Error, psycopg.Error, sqlalchemy.exc.SQLAlchemyError, OSError, LogDamaged)
"""What may go wrong with a store for a while."""
_PAUSE_FACTOR = 50
"""A count that takes a second is made again after so many seconds: looking must not slow down what is looked at."""


class Vitals(msgspec.Struct, frozen=True):
    """How things stand."""

    head: int = 0
    """Position of the last event."""
    generation: str = ""
    incarnation: str = ""
    handled: int = 0
    """Sequence of the last mail that is committed."""
    backlog: int | None = None
    """Mail that waits for the worker."""
    read_to: int | None = None
    """Position up to which every read model shows what happened."""
    projector_lag: int | None = None
    """Events the read models are behind the log."""
    relayed: int | None = None
    """Position of the last event in the public feed."""
    relay_lag: int | None = None
    """Events the public feed is behind the log."""
    orders: int = 0
    held: int = 0
    """Orders that something stops from being shipped (interceptions, platform holds)."""
    quarantined: int = 0
    """Messages of orders, and bytes in intakes, that wait for a decision."""
    shops: int = 0
    """Connections to platforms that are on."""
    shops_troubled: int = 0
    """Of them: those that have a problem (`orderspine channels list` says which)."""
    failing_parts: tuple[Trouble, ...] = ()
    """Parts that die again and again, while OrderSpine runs."""
    gateway: str = ""
    """Address of the HTTP gateway; "" = none runs."""
    sealed: int | None = None
    """Position of the newest signed checkpoint; None = the sealer has said nothing yet."""
    seal_refused: str = ""
    """Why the sealer signs nothing; "" = it signs."""
    seal_refused_since_ms: int = 0
    witness_trouble: str = ""
    """Why the witness does not follow the checkpoints; "" = it does, or there is none."""


class Gauge:
    """Reads vitals, again and again."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; stores are opened when first read."""
        self._settings = settings
        self._log: EventLog | None = None
        self._views: ReadModels | None = None
        self._held = 0
        self._held_again = 0.0

    async def read(self, nc: Connection | None) -> Vitals:
        """Return how things stand; without a connection the broker's figures are None."""
        vitals = await asyncio.to_thread(self.stored)
        if nc is None or not nc.is_connected:
            return vitals
        cell = self._settings.cell
        with contextlib.suppress(BrokerError):
            info = await mail_info(nc, cell)
            if info is not None and info.incarnation == vitals.incarnation:
                vitals = msgspec.structs.replace(vitals, backlog=max(0, info.last_seq - vitals.handled))
            last = await get_stored(nc, events_stream(cell), last_on=f"events.{cell}.>", timeout_s=1.0)
            relayed = 0
            if last is not None and last.headers.get("ce-generation", vitals.generation) == vitals.generation:
                relayed = int(last.headers.get("ce-position", 0))
            vitals = msgspec.structs.replace(vitals, relayed=relayed, relay_lag=max(0, vitals.head - relayed))
        return vitals

    def stored(self) -> Vitals:
        """Return what log and read models say."""
        shops, in_trouble = troubled(self._settings.path, time.time_ns() // 1_000_000)
        word = heard(self._settings.path)
        vitals = Vitals(
            shops=shops,
            shops_troubled=in_trouble,
            failing_parts=troubles_of(self._settings.path) if holder_of(self._settings.path) else (),
            gateway=gateway_url(self._settings),
            sealed=word.position if word else None,
            seal_refused=word.refused if word else "",
            seal_refused_since_ms=word.refused_since_ms if word else 0,
            witness_trouble=word.witness if word else "",
        )
        with contextlib.suppress(*STORE_AWAY):
            if self._log is None:
                self._log = open_log(self._settings, read_only=True)
            tracked = self._log.tracked()
            vitals = msgspec.structs.replace(
                vitals,
                head=tracked.head,
                generation=tracked.generation,
                incarnation=tracked.incarnation,
                handled=tracked.position,
            )
        with contextlib.suppress(*STORE_AWAY):
            if self._views is None:
                self._views = open_read_models(self._settings)
            counts = self._views.intake()
            read_to = read_position(self._views, vitals.generation)
            vitals = msgspec.structs.replace(
                vitals,
                read_to=read_to,
                projector_lag=max(0, vitals.head - read_to),
                orders=sum(row["accepted"] for row in counts),
                quarantined=sum(row["quarantined_open"] for row in counts),
                held=self._held_orders(self._views),
            )
        return vitals

    def close(self) -> None:
        """Release the stores."""
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._views is not None:
            self._views.close()
            self._views = None

    def _held_orders(self, views: "ReadModels") -> int:
        began = time.monotonic()
        if began >= self._held_again:
            self._held = sum(views.count_orders(filters={"held": True}).values())
            self._held_again = began + (time.monotonic() - began) * _PAUSE_FACTOR
        return self._held


def read_position(views: "ReadModels", generation: str) -> int:
    """Return the position that every shown read model has reached in this life of the log; 0 before the first."""
    shown: dict[str, int] = {
        row["name"]: row["position"] for row in views.positions() if row["live"] and row["generation"] == generation
    }
    return min(shown.get(projection.name, 0) for projection in PROJECTIONS)
