"""The connection of what follows the log: it is made when it can be, and what it is made of may break at any step."""

from pathlib import Path

import nats.errors
import pytest

from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.errors import BrokerUnavailable
from adapters.nats.hint import Hints
from runners import background
from runners.background import Link
from runners.bootstrap import ADDRESS_FILE
from runners.settings import Settings


async def test_hints_of_a_broker_that_has_gone_are_none(nc: Connection) -> None:
    await nc.close()
    with pytest.raises(BrokerUnavailable, match="no hints"):
        await Hints(nc, "main").open()


async def test_a_broker_that_goes_while_it_is_connected_to_is_tried_again(
    data: Path, nats_address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    nats_address.write(data / ADDRESS_FILE)
    monkeypatch.setattr(background, "AGAIN_S", 0.0)
    flush = Connection.flush
    broken: list[Connection] = []

    async def breaking(self: Connection, timeout: int = 10) -> None:  # noqa: ASYNC109  the library's
        if not broken:
            broken.append(self)
            raise nats.errors.TimeoutError
        await flush(self, timeout)

    monkeypatch.setattr(Connection, "flush", breaking)
    link = Link(Settings(str(data)), "test")
    assert await link.up() is None
    assert broken[0].is_closed
    nc = await link.up()
    assert nc is not None
    assert nc.is_connected
    assert link.hints is not None
    await link.close()
