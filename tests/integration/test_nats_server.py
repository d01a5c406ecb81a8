"""The server that comes along: only ours, only on loopback, never two on one directory, and it dies with us."""

import asyncio
import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from adapters.nats import address as address_module
from adapters.nats import server as server_module
from adapters.nats.accounts import Member, accounts
from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.connection import connect
from adapters.nats.errors import BrokerError, BrokerStartFailed, BrokerTooOld, BrokerUnauthorized, BrokerUnavailable
from adapters.nats.server import SYSTEM_USER, EmbeddedServer
from adapters.nats.streams import ensure_mail, mail_info

PARENT = """
import asyncio, sys, threading
from pathlib import Path
from adapters.nats.server import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]), watchdog=sys.argv[2] == "watchdog")
    await server.start()
    print(server.pid, flush=True)
    return server

if sys.argv[3] == "thread":
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    print("thread ended", flush=True)
    threading.Event().wait()
else:
    async def forever():
        server = await main()
        await asyncio.Event().wait()
    asyncio.run(forever())
"""


def start_parent(directory: Path, mode: str, where: str) -> tuple[subprocess.Popen[str], int]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory), mode, where], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    lines = iter(parent.stdout.readline, "")
    return parent, int(next(line for line in lines if line.strip().isdigit()))


def gone(pid: int, within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("mode", ["kernel", "watchdog"])
def test_the_server_dies_with_a_killed_parent(tmp_path: Path, mode: str) -> None:
    parent, server = start_parent(tmp_path, mode, "loop")
    try:
        assert psutil.Process(server).name().startswith("nats-server")
        os.kill(parent.pid, signal.SIGKILL)
        assert gone(server)
    finally:
        parent.kill()
        parent.communicate()
    assert gone(server)


@pytest.mark.parametrize("mode", ["kernel", "watchdog"])
def test_the_server_outlives_the_thread_that_started_it(tmp_path: Path, mode: str) -> None:
    parent, server = start_parent(tmp_path, mode, "thread")
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "thread ended\n"
        assert not gone(server, within_s=0.5)
    finally:
        parent.kill()
        parent.communicate()
    assert gone(server)


async def test_the_watchdog_ends_with_its_server(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, watchdog=True)
    await server.start()
    assert server.pid is not None
    (watchdog,) = psutil.Process(server.pid).children()
    await server.stop()
    assert gone(watchdog.pid)


async def test_ctrl_c_at_the_terminal_does_not_reach_the_server(nats_server: EmbeddedServer) -> None:
    assert nats_server.pid is not None
    assert os.getpgid(nats_server.pid) == nats_server.pid != os.getpgid(0)


async def test_the_server_is_of_our_session_so_that_priorities_count_between_it_and_the_parts(
    nats_server: EmbeddedServer,
) -> None:
    assert nats_server.pid is not None
    assert os.getsid(nats_server.pid) == os.getsid(0)


@pytest.mark.parametrize("name", ["一号店", 'tool\'s "shop" \\ $x', os.fsdecode(b"\xca\xd0")])
async def test_the_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    server = EmbeddedServer(tmp_path / name)
    try:
        await server.start()
        await server.reload({})
    finally:
        await server.stop()
    assert (tmp_path / name / "store").is_dir()


@pytest.mark.parametrize("name", ["nats-server.conf", "broker.json"])
async def test_a_full_disk_keeps_it_from_starting_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    server = EmbeddedServer(tmp_path)
    with monkeypatch.context() as full:
        write = address_module.write_secret

        def write_secret(path: Path, content: bytes) -> None:
            if path.name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(path, content)

        full.setattr(address_module, "write_secret", write_secret)
        full.setattr(server_module, "write_secret", write_secret)
        with pytest.raises(BrokerStartFailed, match="cannot be used: No space left on device"):
            await server.start()
    assert server.pid is None
    await server.start()
    await server.stop()


async def test_a_second_server_never_shares_a_directory(nats_server: EmbeddedServer, nc: Connection) -> None:
    second = EmbeddedServer(nats_server.directory)
    with pytest.raises(BrokerStartFailed):
        await second.start(timeout_s=1)
    assert second.pid is None
    assert nats_server.pid is not None
    assert await mail_info(nc, "c1") is None, "the first one still answers"


async def test_a_restarted_server_keeps_port_passwords_and_mail(nats_server: EmbeddedServer) -> None:
    before = Address.read(nats_server.address_file)
    nc = await connect(before, "test")
    await ensure_mail(nc, "c1", incarnation="one", first_seq=1, max_bytes=1024**2)
    await nc.close()
    first_pid = nats_server.pid
    await nats_server.stop()
    assert nats_server.pid is None
    assert await nats_server.start() == before
    assert nats_server.pid != first_pid
    again = EmbeddedServer(nats_server.directory)
    await nats_server.stop()
    assert (await again.start()).password == before.password
    nc = await connect(Address.read(again.address_file), "test")
    assert await mail_info(nc, "c1") is not None
    await nc.close()
    await again.stop()


async def test_wait_tells_when_and_how_the_server_ended(nats_server: EmbeddedServer) -> None:
    waiting = asyncio.create_task(nats_server.wait())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert nats_server.pid is not None
    os.kill(nats_server.pid, signal.SIGKILL)
    assert await waiting == -signal.SIGKILL
    await nats_server.stop()


async def test_secrets_are_readable_by_their_owner_only(nats_server: EmbeddedServer) -> None:
    for name in ("broker.json", "credentials.json", "nats-server.conf"):
        assert stat.S_IMODE((nats_server.directory / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(nats_server.directory.stat().st_mode) == 0o700
    address = Address.read(nats_server.address_file)
    assert address.password not in repr(address)


async def test_who_has_no_password_is_refused(nats_address: Address) -> None:
    port = nats_address.url.rsplit(":", 1)[1]
    for wrong in (
        msgspec.structs.replace(nats_address, password="wrong"),
        msgspec.structs.replace(nats_address, user="", password=""),
        msgspec.structs.replace(nats_address, url=f"nats://localhost:{port}", user="other", password="x"),
    ):
        with pytest.raises(BrokerUnauthorized):
            await connect(wrong, "stranger", timeout_s=5)


async def test_the_server_listens_on_loopback_only(nats_server: EmbeddedServer) -> None:
    listening = [c for c in psutil.Process(nats_server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert [(c.laddr.ip, c.laddr.port) for c in listening] == [("127.0.0.1", nats_server.port)]


async def test_every_message_is_on_disk_before_it_is_acknowledged(nats_server: EmbeddedServer) -> None:
    passwords = msgspec.json.decode((nats_server.directory / "credentials.json").read_bytes())
    address = Address.read(nats_server.address_file)
    system = msgspec.structs.replace(address, user=SYSTEM_USER, password=passwords[SYSTEM_USER])
    nc = await connect(system, "test")
    answer = await nc.request("$SYS.REQ.SERVER.PING.JSZ", b"", timeout=5)
    config = msgspec.json.decode(answer.data)["data"]["config"]
    await nc.close()
    assert config["sync_always"] is True
    assert config["max_storage"] == 256 * 1024**2


async def test_accounts_that_the_server_refuses_leave_it_as_it_was(nats_server: EmbeddedServer, nc: Connection) -> None:
    await nats_server.reload(accounts("c1", [Member("good", "$2a$04$", "outlet", ("events",), ())]))
    with pytest.raises(BrokerError, match="reload"):
        await nats_server.reload({"BAD": {"imports": [{"stream": {"account": "NOBODY", "subject": "mail.>"}}]}})
    assert nc.breaks == 0
    assert "NOBODY" not in (nats_server.directory / "nats-server.conf").read_text()
    await nats_server.stop()
    address = await nats_server.start()
    outlet = await connect(msgspec.structs.replace(address, user="outlet-good", password="outlet"), "outlet")
    await outlet.close()


async def test_a_new_server_on_the_same_directory_is_found_where_the_last_one_was(tmp_path: Path) -> None:
    ports = []
    for _ in range(2):
        server = EmbeddedServer(tmp_path)
        ports.append((await server.start()).url)
        await server.stop()
    assert ports[0] == ports[1]


async def test_a_server_that_cannot_start_says_why(tmp_path: Path, nats_server: EmbeddedServer) -> None:
    with pytest.raises(BrokerStartFailed, match="address already in use"):
        await EmbeddedServer(tmp_path / "other", port=nats_server.port).start(timeout_s=5)


async def test_an_old_server_is_refused_by_its_version(nats_address: Address) -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b'{"server_id":"old","version":"2.11.9","proto":1,"headers":true,"max_payload":1048576}'
        writer.write(b"INFO " + info + b"\r\n")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    listener = await asyncio.start_server(old, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(BrokerTooOld, match=r"2\.11\.9.*2\.12"):
        await connect(msgspec.structs.replace(nats_address, url=f"nats://127.0.0.1:{port}"), "test")
    listener.close()
    await listener.wait_closed()


async def test_where_no_server_is_connecting_ends(nats_server: EmbeddedServer) -> None:
    address = Address.read(nats_server.address_file)
    await nats_server.stop()
    start = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        await connect(address, "test", timeout_s=0.6)
    assert time.monotonic() - start < 3
