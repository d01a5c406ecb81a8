"""The HTTP gateway of a cell: `python -m runners.gateway --data DIR [--host H] [--port N]`.

Pushes in, orders out, health and figures. It serves on the loopback address unless told otherwise, says where in
`gateway.json`, and ends on SIGTERM after the requests it is serving.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import structlog
import uvicorn

from adapters.channels import ChannelSetupError
from adapters.nats.tasks import end_tasks
from adapters.web.app import make_app
from adapters.web.guard import PUSH_BYTES_MAX, WEBHOOK_BYTES_MAX, Guard, Limits
from adapters.web.memory import Memory
from adapters.web.metrics import Metrics
from adapters.web.protocol import IDLE_S, PatientProtocol
from adapters.web.schemas import Published
from adapters.web.tokens import TokenBook
from runners.aio import run
from runners.bootstrap import API_TOKENS_FILE, GATEWAY_FILE, GATEWAY_MEMORY_FILE, channels, open_spool, open_vault
from runners.child import set_up_log
from runners.contract import listed, released
from runners.desk import Desk
from runners.gateway_callbacks import ServiceDesk
from runners.gateway_hooks import ConnectedHooks
from runners.gateway_line import Line
from runners.gateway_records import StoredRecords
from runners.gateway_watch import CellWatch
from runners.gateway_wms import WarehouseCalls
from runners.lock import build_version
from runners.settings import BadSetting, Settings, load_settings
from runners.templates import cutting

DRAIN_S = 20
"""How long requests under way may take after a signal."""
HOOKS_S = 1.0
BACKLOG = 1_024

log = structlog.get_logger(__name__)


class Place(msgspec.Struct, frozen=True):
    """Where a running gateway is."""

    url: str
    pid: int


class Server(uvicorn.Server):
    """uvicorn, told when to end by this process and not by signals of its own."""

    ended: asyncio.Task[None]

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self.url = url
        self.serving = asyncio.Event()

    def end(self) -> None:
        """Take no further connection, finish the requests under way, then end."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.serving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way.

    Raises:
        BadSetting: host or port cannot be used.
    """
    async with serving(settings) as server:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.end)
        await server.ended


@contextlib.asynccontextmanager
async def serving(settings: Settings, hooks: ConnectedHooks | None = None) -> AsyncIterator[Server]:
    """Serve while the context lasts; see `serve`. `hooks` = other connections than those of `channels.json`."""
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings))
        app = await stack.enter_async_context(gateway(settings, hooks))
        config = uvicorn.Config(
            app,
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_S - 1,
            timeout_graceful_shutdown=DRAIN_S,
            backlog=BACKLOG,
        )
        server = Server(config, _url(listener))
        server.ended = asyncio.create_task(server.serve([listener]))
        begun = asyncio.create_task(server.serving.wait())
        place = settings.path / GATEWAY_FILE
        try:
            await asyncio.wait({server.ended, begun}, return_when=asyncio.FIRST_COMPLETED)
            begun.cancel()
            _say_where(place, Place(server.url, os.getpid()))
            log.info("gateway.serves", url=server.url)
            yield server
        finally:
            server.end()
            await server.ended
            _say_nothing(place)


@contextlib.asynccontextmanager
async def gateway(settings: Settings, hooks: ConnectedHooks | None = None) -> AsyncIterator[Guard]:
    """Build the application on the cell of these settings, and keep it informed."""
    async with contextlib.AsyncExitStack() as stack:
        vault = open_vault(settings)
        stack.callback(vault.close)
        spool = open_spool(settings, vault)
        stack.callback(spool.close)
        memory = Memory(settings.path / GATEWAY_MEMORY_FILE)
        stack.push_async_callback(memory.close)
        records = StoredRecords(settings)
        stack.callback(records.close)
        line = Line(settings)
        stack.push_async_callback(line.close)
        watch = CellWatch(settings, line)
        stack.callback(watch.close)
        hooks = hooks or ConnectedHooks(settings.path, _now_ms)
        stack.push_async_callback(hooks.close)
        desk = Desk(
            channels(settings), spool, line.send, line.hand_over, _now_ms, lambda channel: cutting(settings, channel)
        )
        stack.push_async_callback(desk.close)
        metrics = Metrics()
        wms = WarehouseCalls(settings, line.send, metrics, _now_ms)
        stack.push_async_callback(wms.close)
        services = ServiceDesk(settings.path, line.send, _now_ms)
        stack.push_async_callback(services.close)
        await hooks.refresh()
        services.refresh()
        keeping = (line.keep(), watch.keep(), _keep_hooks(hooks, services), wms.keep())
        tasks = [asyncio.create_task(each) for each in keeping]
        stack.push_async_callback(end_tasks, tasks)
        yield make_app(
            intake=desk,
            hooks=hooks,
            records=records,
            callbacks=services,
            watch=watch,
            tokens=TokenBook(settings.path / API_TOKENS_FILE),
            memory=memory,
            metrics=metrics,
            limits=Limits(
                requests_max=settings.gateway_requests_max,
                body_bytes_max=settings.gateway_bytes_max,
                webhook_bytes_max=min(WEBHOOK_BYTES_MAX, settings.gateway_bytes_max),
                push_bytes_max=min(PUSH_BYTES_MAX, settings.gateway_bytes_max),
            ),
            now_ms=_now_ms,
            version=build_version(),
            wms=wms,
            schemas=_published(),
        )


def _published() -> dict[str, Published]:
    contract = released()
    return {
        each.name: Published(
            each.about,
            {number: msgspec.json.encode(contract.shapes[each.name][str(number)]) for number in each.versions},
        )
        for each in listed(contract)
    }


async def _keep_hooks(hooks: ConnectedHooks, services: ServiceDesk) -> None:
    while True:
        await asyncio.sleep(HOOKS_S)
        await hooks.refresh()
        services.refresh()


def listen(settings: Settings) -> socket.socket:
    """Return a listening socket: on the port of the settings, or the last one's where any will do, or any.

    Raises:
        BadSetting: it cannot be had.
    """
    ports = [settings.gateway_port]
    if not settings.gateway_port and (before := place_of(settings.path)) is not None:
        ports.insert(0, int(before.url.rpartition(":")[2]))
    for port in ports:
        family = socket.AF_INET6 if ":" in settings.gateway_host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((settings.gateway_host, port))
            made.listen(BACKLOG)
        except OSError as error:
            made.close()
            if port == ports[-1]:
                raise BadSetting(
                    f"the gateway cannot listen on {settings.gateway_host} port {port} ({error.strerror}): set "
                    "gateway_host and gateway_port to what is free on this machine (port 0 takes any)"
                ) from error
        else:
            return made
    raise AssertionError("there is always a last port")


def place_of(data: Path) -> Place | None:
    """Return where the gateway of a data directory is, or was last; None where there was none."""
    try:
        return msgspec.json.decode((data / GATEWAY_FILE).read_bytes(), type=Place)
    except (OSError, msgspec.MsgspecError):
        return None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say_where(file: Path, place: Place) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(place) + b"\n")
    fresh.replace(file)


def _say_nothing(file: Path) -> None:
    """Keep the address for the next one (process 0 = nobody is there now)."""
    with contextlib.suppress(OSError):
        place = place_of(file.parent)
        if place is not None:
            _say_where(file, Place(place.url, 0))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    """Parse the arguments and serve; 2 where the settings cannot be."""
    parser = argparse.ArgumentParser(prog="python -m runners.gateway", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    parser.add_argument("--host", default=None, help="address to listen on (default: the setting gateway_host)")
    parser.add_argument("--port", type=int, default=None, help="port (default: the setting gateway_port; 0 = any)")
    arguments = parser.parse_args()
    if not structlog.is_configured():  # not under the supervisor, which does it for all its parts
        set_up_log("gateway")
    # uvicorn's own words: what matters of them is logged here, the rest is what clients did.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    try:
        settings = load_settings(arguments.data, gateway_host=arguments.host, gateway_port=arguments.port)
        run(serve(settings))
    except (BadSetting, ChannelSetupError) as error:
        log.critical("gateway.not_started", reason=str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
