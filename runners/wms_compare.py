"""Compares what a warehouse of others says it has with our ledger of it, and records what differs.

Nothing is put right by it: people look at the difference, and a count or the warehouse's own report puts it right.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import structlog

from adapters.platforms.connection import MissingSecret
from adapters.wms.settings import BadWms, WmsSettings
from domain.catalogue import decode_event
from domain.decider import fold
from domain.envelope import By
from domain.ids import intake_key, warehouse_key
from domain.intake import RecordStockCompared
from domain.mail import Mail
from domain.platforms import PlatformError
from domain.stock import SNAPSHOT_TAG, Ledger, from_snapshot
from domain.warehouse import warehouse as ledger
from runners.gateway_wms import CHANNEL
from runners.pulling_mail import AWAY, Mailroom
from runners.vitals import STORE_AWAY
from runners.wms_settings import client_of, load

if TYPE_CHECKING:
    from domain.ports import EventLog
    from domain.wms import Wms
    from runners.settings import Settings

LOOK_S = 5.0
FIRST_S = 60.0
"""How long after its start a runner compares for the first time, at the latest."""

log = structlog.get_logger(__name__)


class Compared(NamedTuple):
    """One warehouse, compared."""

    warehouse: str
    """Our code of it."""
    skus: int
    """How many were looked at."""
    differ: tuple[tuple[str, int, int], ...]
    """(SKU, units here, units there)."""


async def compare(settings: WmsSettings, wms: "Wms", event_log: "EventLog") -> list[Compared]:
    """Compare all warehouses of a WMS. A SKU that it does not know counts as none there.

    Raises:
        PlatformError: it cannot be asked.
    """
    found = []
    for warehouse in settings.warehouses:
        levels = (await asyncio.to_thread(_ledger, event_log, warehouse)).levels
        here = {sku: level.on_hand for sku, level in sorted(levels.items())}
        there = {each.sku: each.units for each in await wms.stock(warehouse, list(here))}
        differ = tuple((sku, units, there.get(sku, 0)) for sku, units in here.items() if units != there.get(sku, 0))
        found.append(Compared(warehouse, len(here), differ))
    return found


def record_of(settings: WmsSettings, compared: Compared, now_ms: int, by: By) -> Mail:
    """Return the mail that records a comparison."""
    command_id = f"wms-stock/{settings.name}/{compared.warehouse}/{now_ms}"
    body = RecordStockCompared(command_id, compared.warehouse, compared.skus, compared.differ)
    return Mail(intake_key(CHANNEL, settings.name), body, now_ms, by, f"wms/{settings.name}")


async def keep_comparing(
    settings: "Settings", event_log: "EventLog", mailroom: Mailroom, now_ms: Callable[[], int]
) -> None:
    """Compare each WMS as often as its settings say, until cancelled. What goes wrong has to wait for its next time."""
    due: dict[str, float] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            found = [each for each in load(settings.path) if each.enabled and each.compare_every_s]
        except (BadWms, OSError):
            continue  # whoever sends delivery orders says so
        now = time.monotonic()
        for each in found:
            if now < due.setdefault(each.name, now + min(FIRST_S, each.compare_every_s)):
                continue
            due[each.name] = now + each.compare_every_s
            wms = client_of(settings.path, each, now_ms)
            try:
                compared = await compare(each, wms, event_log)
                by = By("system", f"wms/{each.name}")
                await mailroom.send([record_of(each, one, now_ms(), by) for one in compared])
            except (PlatformError, MissingSecret, ValueError, *AWAY, *STORE_AWAY) as error:
                log.warning("wms.not_compared", wms=each.name, reason=str(error))
            finally:
                await wms.close()


def _ledger(event_log: "EventLog", warehouse: str) -> Ledger:
    stream = warehouse_key(warehouse)
    loaded = event_log.select_many([stream]).get(stream)
    if loaded is None:
        return Ledger()
    snapshot = loaded.snapshot
    before = from_snapshot(snapshot.data) if snapshot is not None and snapshot.tag == SNAPSHOT_TAG else Ledger()
    state: Ledger = fold(ledger, [decode_event(event.tag, event.data) for event in loaded.events], before)
    return state
