"""A subscriber of webhooks, and a cell without a worker whose log a test writes: what webhooks need, and no more."""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import structlog

from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import SqliteVault
from runners.bootstrap import KEYS_FILE, LOG_FILE, open_log, open_vault
from runners.lock import DataLock
from runners.settings import FILE, load_settings
from runners.webhooks import Sender
from runners.webhooks_store import Webhooks
from tests.integration.running import orderspine
from tests.trade import Trade


class Got(NamedTuple):
    """A request that came, and how it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def signed_with(self, secret: str) -> bool:
        """Whether one of its signatures is of this secret; worked out from the specification, not by our code."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        right = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return right in self.headers["webhook-signature"].split(" ")


Answer = Callable[["Receiver", Any], int]
"""Looks at an event and says with which status it is answered; may take its time."""


class Receiver:
    """An HTTP server whose paths answer as a test says; it keeps all that came."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: dict[str, Answer] = defaultdict(lambda: lambda _, __: 200)
        self.headers: dict[str, dict[str, str]] = {}
        self.bodies: dict[str, bytes] = {}
        self.at_once: dict[str, int] = defaultdict(int)
        self.most_at_once: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                path = self.path
                with receiver._lock:
                    receiver.at_once[path] += 1
                    receiver.most_at_once[path] = max(receiver.most_at_once[path], receiver.at_once[path])
                status = receiver.answers[path](receiver, json.loads(body))
                with receiver._lock:
                    receiver.at_once[path] -= 1
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    receiver.got.append(Got(path, headers, body, status))
                if not status:  # it dies without a word
                    self.close_connection = True
                    return
                answer = receiver.bodies.get(path, b"")
                self.send_response(status)
                for name, value in receiver.headers.get(path, {}).items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None:
                """Who was killed in the middle of a request is no news here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def taken(self, path: str) -> list[Got]:
        """Return what arrived and was taken."""
        with self._lock:
            return [each for each in self.got if each.path == path and 200 <= each.status < 300]

    def of(self, path: str) -> list[Got]:
        """Return all that came."""
        with self._lock:
            return [each for each in self.got if each.path == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


class Place:
    """A data directory with a log and a vault."""

    def __init__(self, path: Path, **settings: Any) -> None:
        path.mkdir()
        self.path = path
        with DataLock(path):
            pass
        (path / FILE).write_bytes(msgspec.json.encode({"webhooks_retry_ms": 30, **settings}))
        SqliteVault(path / KEYS_FILE, make=True).close()
        self.log = SqliteEventLog(path / LOG_FILE, generation="life")
        self.trade = Trade(self.log)

    def say(self, *words: object, code: int = 0) -> Any:
        """Run `orderspine webhooks`, and return what it says as JSON."""
        said = orderspine("webhooks", *words, "--data", self.path, "--json")
        assert said.code == code, said.err
        return said.json

    def until(self, true: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"did not happen within {seconds:g} s"
            time.sleep(0.03)

    def show(self, name: str) -> Any:
        return self.say("show", name)


class Sending:
    """The sender in a thread of its own, where nothing is to be killed: a process takes a second to begin."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    async def _run(self) -> None:
        settings = load_settings(self._path)
        with (
            closing(open_log(settings, read_only=True)) as log,
            closing(Webhooks(self._path)) as store,
            closing(open_vault(settings)) as vault,
        ):
            sender = Sender(log, store, vault, settings)
            while not self._ended.is_set():
                if not await sender.step():
                    await sender.wait(0.02)
            await sender.close()


@contextmanager
def sending(path: Path) -> Iterator[Sending]:
    made = Sending(path)
    # What it logs must not end among what a command of this process says.
    with patch("runners.webhooks.log", structlog.wrap_logger(structlog.PrintLogger(io.StringIO()))):
        try:
            yield made
        finally:
            made.close()


def positions(got: list[Got]) -> list[int]:
    return [int(each.event["position"]) for each in got]
