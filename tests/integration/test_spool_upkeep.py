"""What lies in the spool lives as long as mail that may name it, and no longer."""

from pathlib import Path

import pytest

from adapters.nats.client import Connection
from adapters.nats.streams import ensure_mail, get_stored, mail_stream, purge_mail
from runners.bootstrap import open_spool, open_vault
from runners.settings import Settings
from runners.spool_upkeep import SENT_WITHIN_S, drop_before, droppable_before

SPAN_MS = 86_400_000
HOUR_MS = SENT_WITHIN_S * 1000


async def test_an_entry_outlives_the_mail_that_may_name_it(nc: Connection, tmp_path: Path) -> None:
    settings = Settings(str(tmp_path))
    assert await droppable_before(nc, settings, 10**12) is None, "without a mail stream nobody can tell"
    await ensure_mail(nc, "main", incarnation="one", first_seq=1, max_bytes=1 << 20)
    now = 4 * 10**12  # long after the broker's clock: the mail below is old
    assert await droppable_before(nc, settings, now) == now - SPAN_MS - HOUR_MS, "no mail: the span counts"
    for number in range(2):
        await nc.request("mail.main.order.1", b"mail %d" % number)  # the reply is the stream's acknowledgement
    first = await get_stored(nc, mail_stream("main"), seq=1)
    assert first is not None
    assert await droppable_before(nc, settings, now) == first.time_ms - HOUR_MS, "mail that waits keeps its bytes"
    soon = first.time_ms + 1_000
    assert await droppable_before(nc, settings, soon) == soon - SPAN_MS - HOUR_MS, "an older copy may be put back"
    await purge_mail(nc, "main", 2)
    assert await droppable_before(nc, settings, now) == now - SPAN_MS - HOUR_MS


def test_what_is_dropped_takes_its_key_along(tmp_path: Path) -> None:
    settings = Settings(str(tmp_path))
    vault = open_vault(settings, make=True)
    spool = open_spool(settings, vault)
    ref = spool.put(b"large")
    assert drop_before(settings, 0) == 0
    assert spool.get(ref) == b"large"
    assert drop_before(settings, 1 << 62) == 1
    with pytest.raises(KeyError):
        spool.get(ref)
    assert vault.keys([ref], create=False) == {}
    spool.close()
    vault.close()
