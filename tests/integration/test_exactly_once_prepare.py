"""The helper process that prepares payloads never gives one message's result to another."""

import asyncio
from pathlib import Path

from adapters.storage.vault import MemoryVault
from runners.engine import Delivered, Opened
from runners.prepare import Helper
from runners.settings import Settings
from tests.integration.mixed_mail import snapshot, trade


def opened(first: int) -> Opened:
    mails = [
        snapshot(number, trade(number, "WAIT_SELLER_SEND_GOODS", 1_794_326_400_000, 1_794_326_400_000), 1)
        for number in range(first, first + 200)
    ]
    vault = MemoryVault(b"seed")
    delivered = [Delivered(at, 1, b"") for at in range(1, len(mails) + 1)]
    return Opened(delivered, mails, dict(vault.keys([mail.to for mail in mails], create=True)))


async def test_an_abandoned_question_is_never_answered_to_the_next_one(tmp_path: Path) -> None:
    settings = Settings(str(tmp_path))
    helper, other = Helper(settings, b"k" * 32), Helper(settings, b"k" * 32)
    try:
        await helper.prepare(opened(1))
        for wait_s in (0.0, 0.001, 0.005, 0.02):
            abandoned = asyncio.create_task(helper.prepare(opened(1)))
            await asyncio.sleep(wait_s)
            abandoned.cancel()
            await asyncio.wait([abandoned])
        assert await helper.prepare(opened(1001)) == await other.prepare(opened(1001)) != {}
    finally:
        await helper.close()
        await other.close()
