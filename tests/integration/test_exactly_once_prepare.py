"""The helper process that prepares payloads never gives one message's result to another."""

import asyncio
from pathlib import Path

from adapters.storage.vault import MemoryVault
from domain.cell import Taken
from domain.mapping import SHIPPED, InForce
from runners.beside import Beside
from runners.engine import Delivered, Opened
from runners.prepare import MODULE, Helper
from runners.preparing import Ready
from tests.integration.mixed_mail import snapshot, trade


def opened(first: int) -> Opened:
    mails = [
        snapshot(number, trade(number, "WAIT_SELLER_SEND_GOODS", 1_794_326_400_000, 1_794_326_400_000), 1)
        for number in range(first, first + 200)
    ]
    vault = MemoryVault(b"seed")
    delivered = [Delivered(at, 1, b"") for at in range(1, len(mails) + 1)]
    return Opened(delivered, mails, dict(vault.keys([mail.to for mail in mails], create=True)))


def made(directory: Path) -> Helper:
    return Helper(Beside(MODULE, str(directory)), b"k" * 32)


async def prepared(helper: Helper, batch: Opened, in_force: dict[str, InForce]) -> dict[int, Ready]:
    """Ask until the helper is there: while it starts it prepares nothing."""
    for _ in range(1500):
        if found := await helper.prepare(batch, in_force):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it never came up")


async def test_an_abandoned_question_is_never_answered_to_the_next_one(tmp_path: Path) -> None:
    helper, other = made(tmp_path), made(tmp_path)
    try:
        await prepared(helper, opened(1), {})
        for wait_s in (0.0, 0.001, 0.005, 0.02):
            abandoned = asyncio.create_task(helper.prepare(opened(1), {}))
            await asyncio.sleep(wait_s)
            abandoned.cancel()
            await asyncio.wait([abandoned])
        assert await prepared(helper, opened(1001), {}) == await prepared(other, opened(1001), {})
    finally:
        await helper.close()
        await other.close()


async def test_a_mapping_reaches_the_helper_with_the_first_frame_that_needs_it(tmp_path: Path) -> None:
    text = '[[field]]\nfrom = "buyer_message"\nto = "attributes.said"\npersonal = false\n'
    changed = InForce(3, "d3", text)
    helper = made(tmp_path)
    try:
        for in_force, said in (
            (SHIPPED, None),
            (changed, "周末送货，谢谢"),
            (changed, "周末送货，谢谢"),
            (SHIPPED, None),
        ):
            found = await prepared(helper, opened(1), {"taobao": in_force})
            assert len(found) == 200
            for ready in found.values():
                assert isinstance(ready.prepared, Taken)
                assert ready.in_force == in_force
                assert ready.prepared.command.mapping == in_force.version
                assert ready.prepared.command.snapshot.attributes.get("said") == said
    finally:
        await helper.close()


async def test_a_helper_that_died_is_started_again_and_told_anew(tmp_path: Path) -> None:
    changed = InForce(3, "d3", '[[field]]\nfrom = "buyer_message"\nto = "attributes.said"\npersonal = false\n')
    helper = made(tmp_path)
    try:
        before = await prepared(helper, opened(1), {"taobao": changed})
        helper._beside.kill()
        assert await prepared(helper, opened(1), {"taobao": changed}) == before
        assert helper._beside.lives == 2
    finally:
        await helper.close()
