"""Whom the effects' runner tells: read from files that only their owner changes, and never guessed."""

import json
from pathlib import Path

import msgspec
import pytest

from adapters.erp.fields import ErpLine, ErpRecord
from adapters.erp.outlets import BadErp, read_settings
from adapters.platforms.connection import Connection
from domain.platforms import NotAuthorised
from runners.connections import FILE, save
from runners.effects_erp import ERP_FILE, ErpRows
from runners.effects_kinds import Kinds
from runners.effects_ship import ShipNotices
from runners.effects_store import Job
from tests.platform_world import Asked, Reply, Served

RECORD = ErpRecord(
    "order-generic:own:1@3", "paid", "1", "generic", "own", "2026-11-11T10:00:00+08:00", "c", "CNY", "",
    (ErpLine("SKU1", "Cup", 2, 1990, 3980),),
)  # fmt: skip


@pytest.mark.parametrize("name", [FILE, ERP_FILE])
async def test_nobody_is_known_while_a_file_can_be_written_by_others(tmp_path: Path, name: str) -> None:
    save(tmp_path, [Connection("own", "generic", "own")])
    (tmp_path / ERP_FILE).write_text('{"kind": "csv", "folder": "erp"}')
    (tmp_path / ERP_FILE).chmod(0o600)
    (tmp_path / name).chmod(0o666)
    erp = ErpRows(tmp_path)
    kinds = Kinds(tmp_path, [ShipNotices(tmp_path, lambda: 0), erp])
    await kinds.refresh()
    assert not kinds.known
    (tmp_path / name).chmod(0o600)
    assert await kinds.refresh()
    assert kinds.known
    assert "paid" in erp.tells()
    await kinds.close()


async def test_a_shops_parcels_are_told_whichever_of_its_connections_comes_first(tmp_path: Path) -> None:
    pushes = Connection("pushes", "generic", "own")
    tells = Connection("tells", "generic", "own", base_url="http://127.0.0.1:9")
    broken = Connection("broken", "generic", "own", base_url="http://127.0.0.1:9", options={"calls_per_s": "many"})
    for number, (connections, found) in enumerate((
        ((pushes, tells), "tells"),
        ((tells, pushes), "tells"),
        ((broken, pushes, tells), "tells"),
        ((broken, pushes), "broken"),
        ((pushes,), None),
    )):  # fmt: skip
        place = tmp_path / str(number)
        place.mkdir()
        save(place, connections)
        notices = ShipNotices(place, lambda: 0)
        await notices.refresh()
        assert notices.seller_of("generic", "own") == found
        await notices.close()


async def test_shops_that_are_switched_off_rest(tmp_path: Path) -> None:
    save(tmp_path, [Connection("own", "generic", "own", enabled=False), Connection("other", "generic", "other")])
    notices = ShipNotices(tmp_path, lambda: 0)
    await notices.refresh()
    assert (notices.resting(), notices.seller_of("generic", "own")) == (frozenset({"own"}), None)
    await notices.close()


def test_two_fields_of_an_erp_cannot_share_a_name() -> None:
    with pytest.raises(BadErp, match="NO"):
        read_settings(b'{"kind": "csv", "folder": "erp", "names": {"order_no": "NO", "tracking": "NO"}}', "erp.json")


async def test_a_good_token_put_where_a_bad_one_was_is_used_at_the_next_try(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply({"reference": "E-1"}) if asked.headers["authorization"] == "Bearer good" else Reply(status=401)

    async with Served(answer) as erp:
        settings = {"kind": "http", "url": erp.url, "secrets": {"token": "file:erp-token"}}
        for name, text in ((ERP_FILE, json.dumps(settings)), ("erp-token", "bad")):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o600)
        rows = ErpRows(tmp_path)
        await rows.refresh()
        job = Job("order-generic:own:1@3", "erp", "erp", "order-generic:own:1", msgspec.json.encode(RECORD), 0, 0)
        with pytest.raises(NotAuthorised):
            await rows.do(job)
        (tmp_path / "erp-token").write_text("good")
        assert await rows.do(job) == "E-1"
        await rows.close()
