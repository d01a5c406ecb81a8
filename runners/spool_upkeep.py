"""Drops what lies in the spool once no mail can name it any more."""

import time

from adapters.nats.client import Connection
from adapters.nats.streams import get_stored, mail_info, mail_stream
from runners.bootstrap import open_spool, open_vault
from runners.settings import Settings

SENT_WITHIN_S = 3_600
"""Mail is sent within this time after its bytes were put aside; broker and edge may have different clocks besides."""
EVERY_S = 600.0


async def droppable_before(nc: Connection, settings: Settings, now_ms: int) -> int | None:
    """Return before which time (UTC ms) an entry was put that no mail names any more; None where nobody can tell.

    Mail that is kept may be read again, handled or not, and an older copy of the broker's store may be put back: so an
    entry outlives the oldest mail that is there, and the span besides.

    Raises:
        BrokerError: no answer.
    """
    info = await mail_info(nc, settings.cell)
    if info is None:
        return None
    oldest_ms = now_ms
    if info.messages:
        stored = await get_stored(nc, mail_stream(settings.cell), seq=info.first_seq)
        if stored is None:  # purged since it was asked for
            return None
        oldest_ms = stored.time_ms
    return min(oldest_ms, now_ms - settings.mail_span_s * 1000) - SENT_WITHIN_S * 1000


def drop_before(settings: Settings, put_ms: int) -> int:
    """Drop entries of the spool; return how many."""
    vault = open_vault(settings)
    try:
        spool = open_spool(settings, vault)
        try:
            return spool.drop_before(put_ms)
        finally:
            spool.close()
    finally:
        vault.close()


def now_ms() -> int:
    """Return the time, UTC ms."""
    return time.time_ns() // 1_000_000
