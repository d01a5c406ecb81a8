"""One message that nobody can handle: a clear reason, its bytes kept, nothing lost, the rest goes on."""

from pathlib import Path

import pytest

from adapters.storage.sealing import open_sealed
from domain.ids import order_key, warehouse_key
from domain.intake import IntakeQuarantined
from domain.mail import ChannelPayload, Mail, encode_mail
from domain.order import (
    OrderQuarantined,
    OrderReceived,
    OrderShipped,
    QueuedBehind,
    QueueReleased,
    ResendQuarantined,
    ScanOut,
)
from domain.stock import ReceiveStock
from runners.bootstrap import open_log, open_vault
from runners.suspect import TRIES_ALONE
from tests.integration.harness import CRASHING, KILLED, Cell, running_cell
from tests.integration.mixed_mail import CHANNEL, KEEPER, trade

pytestmark = pytest.mark.timeout(300)

MODULE = "tests.integration.poison_channel"
NOW = 1_794_326_400_000
SICK = 13


def mail(number: int, deed: str = "good", **more: str) -> Mail:
    raw = deed.encode() + b":" + trade(number, "WAIT_SELLER_SEND_GOODS", NOW, NOW, **more)
    return Mail(key(number), ChannelPayload("poison", "s", str(number), raw), NOW, CHANNEL, "poison")


def key(number: int) -> str:
    return order_key("poison", "s", str(number))


def day(deed: str, **more: str) -> list[Mail]:
    """Return healthy orders around a sick one, and what follows for the sick one's order."""
    sick = mail(SICK, deed, **more)
    return [
        Mail(warehouse_key("A"), ReceiveStock("opening", tuple((f"SKU-{n}", 1000) for n in range(7))), NOW, KEEPER),
        *(mail(number) for number in range(1, SICK)),
        sick,
        Mail(key(SICK), ScanOut("scan-sick", "SF1", "SF"), NOW, KEEPER),
        *(mail(number) for number in range(SICK + 1, 40)),
        *(Mail(key(number), ScanOut(f"scan-{number}", f"SF{number}", "SF"), NOW, KEEPER) for number in range(1, 13)),
    ]


def of(cell: Cell, number: int) -> list[object]:
    return [event for stream, event in cell.events() if stream == key(number)]


def assert_only_the_sick_one_waits(cell: Cell, raw: bytes) -> OrderQuarantined:
    """Return how it was quarantined, after looking that nothing else was, and that its bytes are there."""
    events = cell.events()
    assert {stream for stream, event in events if isinstance(event, OrderQuarantined | QueuedBehind)} == {key(SICK)}
    quarantined, queued = of(cell, SICK)
    assert isinstance(quarantined, OrderQuarantined)
    assert isinstance(queued, QueuedBehind)
    assert quarantined.item == f"first-{SICK + 1}"
    log, vault = open_log(cell.settings, read_only=True), open_vault(cell.settings)
    digest = bytes.fromhex(quarantined.payload)
    stored = log.payloads([digest])[digest]
    assert open_sealed(vault.keys([key(SICK)], create=False)[key(SICK)], key(SICK), stored.sealed) == raw
    log.close()
    vault.close()
    healthy = [number for number in range(1, 40) if number != SICK]
    assert {stream for stream, event in events if isinstance(event, OrderReceived)} == {key(n) for n in healthy}
    assert {stream for stream, event in events if isinstance(event, OrderShipped)} == {key(n) for n in range(1, 13)}
    return quarantined


async def resend(cell: Cell, item: str) -> None:
    """Repair the channel and send it again: everything of the order then runs, in its order."""
    async with cell.kept(ORDERSPINE_TEST_REPAIRED="1") as keeper:
        await cell.publish([Mail(key(SICK), ResendQuarantined("resend-1", item), NOW, KEEPER)])
        await cell.until()
        assert keeper.deaths == []
    kinds = [type(event) for event in of(cell, SICK)]
    assert kinds[:4] == [OrderQuarantined, QueuedBehind, QueueReleased, OrderReceived]
    assert OrderShipped in kinds


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("raise", "translation broke: ZeroDivisionError"),
        ("nonsense", "translation broke"),
        ("surrogate", "translation broke"),
    ],
)
async def test_a_broken_translation_is_that_messages_trouble_alone(tmp_path: Path, deed: str, reason: str) -> None:
    async with running_cell(tmp_path, channel=MODULE) as cell:
        mails = day(deed)
        async with cell.kept() as keeper:
            await cell.publish(mails)
            await cell.until()
            assert keeper.deaths == []
        sick = mails[SICK].body
        assert isinstance(sick, ChannelPayload)
        quarantined = assert_only_the_sick_one_waits(cell, sick.raw)
        assert reason in quarantined.reason
        await resend(cell, quarantined.item)


@pytest.mark.parametrize(("deed", "batch"), [("kill", 16), ("hang", 2)])
async def test_a_message_that_ends_the_process_is_found_and_quarantined(tmp_path: Path, deed: str, batch: int) -> None:
    async with running_cell(tmp_path, channel=MODULE, batch_messages=batch) as cell:
        mails = day(deed)
        await cell.publish(mails)
        async with cell.kept(CRASHING, ORDERSPINE_TEST_HANG_S="0.7") as keeper:
            await cell.until(timeout_s=120)
            assert len(keeper.deaths) <= 2 * batch.bit_length() + TRIES_ALONE
            assert deed != "kill" or set(keeper.deaths) == {KILLED}
        sick = mails[SICK].body
        assert isinstance(sick, ChannelPayload)
        quarantined = assert_only_the_sick_one_waits(cell, sick.raw)
        assert quarantined.reason == "the process died each time it handled this message"
        await resend(cell, quarantined.item)


async def test_a_message_that_cannot_be_committed_ends_the_same_way(tmp_path: Path) -> None:
    async with running_cell(tmp_path, channel=MODULE, batch_messages=4) as cell:
        mails = day("good", type="UNSTORABLE")
        await cell.publish(mails)
        async with cell.kept(CRASHING, ORDERSPINE_TEST_REFUSES="UNSTORABLE"):
            await cell.until(timeout_s=120)
        sick = mails[SICK].body
        assert isinstance(sick, ChannelPayload)
        quarantined = assert_only_the_sick_one_waits(cell, sick.raw)
        assert "string or blob too big" in cell.worker_log()
        await resend(cell, quarantined.item)


async def test_what_is_no_mail_of_ours_is_kept_and_stops_nobody(tmp_path: Path) -> None:
    odd = ["order-", "order-a\0b", "order-a b", "order-" + "x" * 5000, "dragon-1", "", "warehouse-A B"]
    async with running_cell(tmp_path) as cell, cell.kept() as keeper:
        await cell.publish_raw(
            [b"", b"\xff" * 10, b"\x97\x01", *(encode_mail(Mail(to, ScanOut("s"), NOW, KEEPER)) for to in odd)]
        )
        await cell.until()
        assert keeper.deaths == []
        kept = [(stream, event) for stream, event in cell.events() if isinstance(event, IntakeQuarantined)]
        assert len(kept) == 3 + len(odd)
        assert {stream for stream, _ in kept} == {"intake-cell:mail"}
