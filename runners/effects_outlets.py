"""Who can be told of what we do: the shops' platforms and the ERP, as the files of the data directory have them now."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from adapters.erp.fields import ErpRecord
from adapters.erp.outlets import BadErp, CsvFolder, ErpSettings, HttpOutlet, Outlet, read_settings
from adapters.platforms import connect
from adapters.platforms.connection import Connection, MissingSecret
from domain.platforms import NotAuthorised, Platform, Seller, ShipNotice
from runners import connections
from runners.connection_keys import FileKeys
from runners.effects_store import Job
from runners.effects_wanted import ERP, SHIP

ERP_FILE = "erp.json"
_OTHERS_WRITE = 0o022

log = structlog.get_logger(__name__)


class Gone(Exception):
    """There is nobody any more who could be told; what to do."""


class Outlets:
    """The connections with a seller's side, and the ERP; looked up again when their files change."""

    def __init__(self, data: Path, now_ms: Callable[[], int]) -> None:
        """Nothing is read yet."""
        self.known = False
        """Whether the files could be read once: before that nobody can say whom to tell."""
        self._data = data
        self._now_ms = now_ms
        self._stamp: object = ()
        self._connections: dict[str, Connection] = {}
        self._platforms: dict[str, Platform] = {}
        self._erp: ErpSettings | None = None
        self._outlet: Outlet | None = None

    async def refresh(self) -> bool:
        """Look whether the files have changed; return whether they had. One that cannot be used changes nothing."""
        stamp = (_stamp(self._data / connections.FILE), _stamp(self._data / ERP_FILE))
        if stamp == self._stamp:
            return False
        problem = ""
        try:
            found = {each.name: each for each in connections.load(self._data) if each.enabled}
            erp = self._read_erp()
        except (connections.BadConnections, BadErp, OSError) as error:
            problem = str(error)
        if problem:
            if self._stamp != (stamp, problem):
                log.error("outlets.unusable", reason=f"{problem}; until then everybody is told as before")
                self._stamp = (stamp, problem)
            return False
        for name in [name for name in self._platforms if found.get(name) != self._connections.get(name)]:
            await _close(self._platforms.pop(name))
        if erp != self._erp:
            await self._forget_erp()
        self._connections, self._erp, self._stamp = found, erp, stamp
        self.known = True
        return True

    def seller_of(self, channel: str, shop: str) -> str | None:
        """Return the name of the connection that tells this shop's platform what we did; None where there is none."""
        broken = None
        for name, connection in self._connections.items():
            if connection.channel == channel and connection.shop == shop:
                try:
                    # Of several connections of a shop (a file written by hand) one may only take pushes.
                    if self._platform(name).seller is not None:
                        return name
                except (ValueError, MissingSecret) as error:
                    # It is meant to be told: the notice waits until the connection is repaired.
                    log.warning("outlets.connection_unusable", connection=name, reason=str(error))
                    broken = broken or name
        return broken

    def erp_tells(self) -> frozenset[str]:
        """Return what the ERP is to be told; empty where there is none."""
        return frozenset(self._erp.tells) if self._erp is not None else frozenset()

    async def do(self, job: Job) -> str:
        """Do an act; return the outside's reference.

        Raises:
            PlatformError, MissingSecret, ValueError: see `Seller.ship`.
            Gone: there is nobody to tell.
        """
        if job.effect == ERP:
            try:
                return await self._to_erp().tell(msgspec.json.decode(job.document, type=ErpRecord))
            except NotAuthorised:
                # The next try reads the token again: somebody may have put a good one there.
                await self._forget_erp()
                raise
        return await self._seller(job).ship(msgspec.json.decode(job.document, type=ShipNotice))

    async def is_done(self, job: Job) -> bool:
        """Ask whether an act was done already. What may be done twice counts as not done.

        Raises:
            PlatformError, MissingSecret, ValueError: see `Seller.knows`.
            Gone: there is nobody to ask.
        """
        if job.effect != SHIP:
            return False
        return await self._seller(job).knows(msgspec.json.decode(job.document, type=ShipNotice))

    async def close(self) -> None:
        """Release all connections."""
        for platform in self._platforms.values():
            await _close(platform)
        self._platforms.clear()
        await self._forget_erp()

    async def _forget_erp(self) -> None:
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            await outlet.close()

    def _seller(self, job: Job) -> Seller:
        seller = self._platform(job.target).seller
        if seller is None:
            raise Gone(f"connection {job.target} cannot be told of shipments; connect the shop and retry")
        return seller

    def _platform(self, name: str) -> Platform:
        platform = self._platforms.get(name)
        if platform is None:
            connection = self._connections.get(name)
            if connection is None:
                raise Gone(f"there is no connection {name} any more; add it again, then retry")
            platform = connect(connection, FileKeys(self._data, connection), self._now_ms)
            self._platforms[name] = platform
        return platform

    def _to_erp(self) -> Outlet:
        if self._erp is None:
            raise Gone(f"there is no {ERP_FILE} any more; put it back, then retry")
        if self._outlet is None:
            self._outlet = self._made(self._erp)
        return self._outlet

    def _made(self, settings: ErpSettings) -> Outlet:
        if settings.kind == "csv":
            return CsvFolder(self._data / Path(settings.folder).expanduser(), settings)
        token = ""
        if "token" in settings.secrets:
            token = FileKeys(self._data, Connection(ERP, ERP, ERP, secrets=settings.secrets)).secret("token")
        return HttpOutlet(settings, token)

    def _read_erp(self) -> ErpSettings | None:
        file = self._data / ERP_FILE
        try:
            with file.open("rb") as stream:
                if os.fstat(stream.fileno()).st_mode & _OTHERS_WRITE:
                    raise BadErp(f"{file} can be written by others, who could turn away what is told: chmod 600 {file}")
                return read_settings(stream.read(), str(file))
        except FileNotFoundError:
            return None


def _stamp(file: Path) -> tuple[int, int, int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        found = file.stat()
        return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode
    return None


async def _close(platform: Platform) -> None:
    if platform.close is not None:
        await platform.close()
