"""What a worker tells those beside it of the mail that it has not committed."""

from pathlib import Path

from adapters.nats.hint import Hints
from domain.envelope import By
from domain.ids import warehouse_key
from domain.mail import Mail
from domain.stock import ReceiveStock
from tests.integration.harness import running_cell

MAILS, BATCH = 430, 100
KEEPER = By("person", "k-1", "keeper")


async def test_the_cell_is_behind_until_less_than_a_batch_of_its_mail_is_not_committed(tmp_path: Path) -> None:
    """Messages that were read, and whose commit is under way, wait as well: who makes way for them must not begin."""
    told: list[tuple[int, bool]] = []
    async with running_cell(tmp_path, batch_messages=BATCH) as cell:
        await cell.publish(
            Mail(warehouse_key("A"), ReceiveStock(f"d-{number}", (("SKU-1", 1),)), number, KEEPER)
            for number in range(MAILS)
        )
        nc = await cell.nc()
        async with Hints(nc, cell.settings.cell) as hints:
            await nc.listen(f"hint.{cell.settings.cell}", lambda _s, _r, payload, _h: told.append(_read(payload)))
            async with cell.kept():
                await cell.until()
                while not told or told[-1][0] < MAILS:
                    assert await hints.wait(5) is not None
    assert [position for position, _ in told] == sorted({position for position, _ in told})
    assert told == [(position, MAILS - position >= BATCH) for position, _ in told]
    assert {behind for _, behind in told} == {False, True}


def _read(payload: bytes) -> tuple[int, bool]:
    return int(payload.removesuffix(b"+")), payload.endswith(b"+")
