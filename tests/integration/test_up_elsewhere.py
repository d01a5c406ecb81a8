"""`orderspine up` on a PostgreSQL database and on a broker that others run, chosen by one setting each."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.nats.address import Address
from adapters.nats.connection import connect
from adapters.nats.errors import BrokerError, BrokerTooOld
from adapters.nats.server import find_binary
from runners.settings import Settings
from runners.upstart import BrokerUnfit, check_broker
from tests.integration.running import PARTS, Running, Said, orderspine, until
from tests.integration.test_ingest import trade
from tests.postgres import running_postgres

pytestmark = pytest.mark.xdist_group("elsewhere")


# --- PostgreSQL


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with running_postgres() as server:
        yield server.uri


def good(said: Said) -> Said:
    assert said.code == 0, said
    return said


def test_everything_works_on_postgresql_by_one_setting(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    lines = [json.dumps(trade(str(number))) for number in range(100, 120)]
    file.write_text("\n".join([*lines, '{"tid": ']))
    with Running(tmp_path / "data", "--store", dsn) as up:
        assert "PostgreSQL" in up.said
        good(up.run("stock", "receive", "SKU-1=5", "--document", "D"))
        said = up.run("ingest", file, "--shop", "s", "--channel", "taobao", "--json")
        assert (said.code, said.json["outcomes"]) == (1, {"accepted": 20, "quarantined": 1})
        until(lambda: up.run("status", "--json").json["projector_lag"] == 0, 30.0)
        assert len(up.run("orders", "--state", "allocating", "--json").json) == 5
        assert up.run("order", "100", "--reveal", "--json").json["personal"]["receiver"] == {
            "name": "李四",
            "phone": "13800138001",
            "detail": "转塘街道 2 号",
        }
        assert good(up.run("audit", "verify", "--json")).json["ok"]
        assert good(up.run("audit", "replay", "--json")).json["ok"]
        (item,) = up.run("quarantine", "list", "--json").json
        assert up.run("quarantine", "show", item["id"], "--raw").raw == b'{"tid": '
        good(up.run("quarantine", "discard", item["id"], "--reason", "a test"))
        os.kill(up.parts()["worker"], signal.SIGKILL)
        assert up.run("ingest", file, "--shop", "s", "--json").json["outcomes"]["repeated"] == 20
    left = sorted(path.name for path in (tmp_path / "data").glob("*.db"))
    # How far each shop is pulled and each subscriber told, and what the gateway must not take twice, stay beside it.
    beside = {"spool.db", "pulls.db", "effects.db", "gateway.db", "webhooks.db"}
    assert set(left) <= beside, "the log and the keys are in the database"
    assert len(orderspine("orders", "--data", tmp_path / "data", "--json").json) == 20


# --- a broker of somebody else


PASSWORD = "p%3Aw%40d"


class Broker:
    """A nats-server with one user, started by hand."""

    def __init__(self, place: Path, *more: str) -> None:
        place.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._words = [
            *(str(find_binary()), "-a", "127.0.0.1", "-p", str(self.port), "--user", "shop", "--pass", "p:w@d"),
            *more,
        ]
        self._log = place / "log"
        self.start()

    def url(self, password: str = PASSWORD) -> str:
        return f"nats://shop:{password}@127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log)
        until(self._answers)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(5.0)

    def _answers(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "nats", "-js", "-sd", str(tmp_path / "nats" / "store"))
    yield made
    made.stop()


def test_it_runs_on_a_broker_by_its_address_and_outlives_its_restart(broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(json.dumps(trade(str(number))) for number in range(50_000, 53_000)))
    with Running(tmp_path / "data", "--broker", broker.url()) as up:
        until(lambda: set(up.parts()) == set(PARTS) - {"broker"}, 20.0)
        words = ["ingest", str(file), "--shop", "s", "--json", "--data", str(up.data)]
        with subprocess.Popen([sys.executable, "-m", "runners.cli", *words], stdout=subprocess.PIPE) as ingesting:
            until(lambda: up.run("status", "--json").json["head"] > 0)
            broker.stop()
            broker.start()
            said = json.loads(ingesting.communicate(timeout=80.0)[0])
        assert ingesting.returncode == 0
        assert said["messages"] == 3_000
        assert set(said["outcomes"]) <= {"accepted", "repeated"}
        until(lambda: up.run("status", "--json").json["projector_lag"] == 0, 30.0)
        rows = {(row["channel"], row["shop"]): row for row in up.run("intake", "--json").json}
        assert rows["taobao", "s"]["accepted"] == 3_000
        _second_waits(tmp_path / "second", broker)
    assert "p:w@d" not in up.said
    assert "p%3Aw" not in up.said


def _second_waits(data: Path, broker: Broker) -> None:
    """A second one on the same cell of the same broker says that it waits, and for whom."""
    err = data.with_name("second.err")
    with err.open("w") as stream:
        words = [sys.executable, "-m", "runners.cli", "up", "--data", str(data), "--broker", broker.url()]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stream)
    try:
        until(lambda: "another OrderSpine (holder " in err.read_text(), 30.0)
        assert " runs on " not in err.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20.0)


def test_a_wrong_password_is_said_without_showing_it_and_is_not_kept(broker: Broker, tmp_path: Path) -> None:
    said = orderspine("up", "--data", tmp_path / "data", "--broker", broker.url("wrong"))
    assert said.code == 4
    assert f"nats://127.0.0.1:{broker.port} refused user 'shop'" in said.err
    assert "wrong" not in said.err
    assert not (tmp_path / "data" / "settings.json").exists()


def test_a_broker_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.upstart.BROKER_ANSWERS_S", 1.0)
    said = orderspine("up", "--data", tmp_path / "data", "--broker", "nats://127.0.0.1:1")
    assert said.code == 4
    assert "no broker answers at nats://127.0.0.1:1" in said.err
    assert "Traceback" not in said.err


async def test_a_broker_without_what_is_needed_is_refused_with_what_to_do(tmp_path: Path) -> None:
    bare = Broker(tmp_path / "bare")
    try:
        with pytest.raises(BrokerUnfit, match="no JetStream"):
            await check_broker(Settings(str(tmp_path), broker=bare.url()))
    finally:
        bare.stop()
    config = tmp_path / "small.conf"
    config.write_text("max_payload: 65536\n")
    small = Broker(tmp_path / "small", "-c", str(config))
    try:
        with pytest.raises(BrokerUnfit, match="at most 65,536 bytes: set its max_payload"):
            await check_broker(Settings(str(tmp_path), broker=small.url()))
    finally:
        small.stop()


async def test_a_broker_too_old_is_refused_by_its_version() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.10.9", "max_payload": 1 << 20, "headers": True, "proto": 1}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(BrokerTooOld, match=r"is nats-server 2\.10\.9; OrderSpine needs 2\.12"):
        await connect(Address(f"nats://127.0.0.1:{port}"), "test")
    assert issubclass(BrokerTooOld, BrokerError)
    server.close()
