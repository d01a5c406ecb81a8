"""All kinds of acts outside there are, and the way from a job to its kind."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from runners.effects_erasure import Erasures
from runners.effects_erp import ErpRows
from runners.effects_kind import Gone, Kind, Unusable
from runners.effects_notes import Notes
from runners.effects_ship import ShipNotices
from runners.effects_store import Job
from runners.effects_tracks import TrackSubscriptions
from runners.effects_wms import Warehouses, WmsCancels, WmsCreates
from runners.settings_file import stamp

if TYPE_CHECKING:
    from domain.ports import EventLog
    from runners.settings import Settings

log = structlog.get_logger(__name__)


def all_kinds(settings: "Settings", event_log: "EventLog", now_ms: Callable[[], int]) -> tuple[Kind, ...]:
    """Return one of each kind: to add a kind, write its file and its line here."""
    warehouses = Warehouses(settings, now_ms)
    return (
        ShipNotices(settings.path, now_ms),
        ErpRows(settings.path),
        Notes(settings, event_log, now_ms),
        WmsCreates(warehouses),
        WmsCancels(warehouses),
        TrackSubscriptions(settings.path),
        Erasures(settings),
    )


class Kinds:
    """The kinds of a data directory; what they read is looked up again when its files change."""

    def __init__(self, data: Path, kinds: Sequence[Kind]) -> None:
        """Nothing is read yet."""
        self.all = tuple(kinds)
        self.known = False
        """Whether all files could be read once: before that nobody can say whom to tell."""
        self._data = data
        self._by_name = {kind.name: kind for kind in kinds}
        assert len(self._by_name) == len(self.all), "two kinds have one name"
        self._stamps: dict[str, object] = {}
        self._read: set[str] = set()

    async def refresh(self) -> bool:
        """Look whether files have changed; return whether any had. One that cannot be used changes nothing."""
        changed = False
        for kind in self.all:
            now: object = tuple(stamp(self._data / file) for file in kind.files)
            before = self._stamps.get(kind.name)
            if before == now:
                continue
            problem = ""
            try:
                await kind.refresh()
            except (Unusable, OSError) as error:
                problem = str(error)
            if problem:
                if before != (now, problem):
                    log.error("effects.unusable", reason=f"{problem}; until then everybody is told as before")
                    self._stamps[kind.name] = (now, problem)
                continue
            self._stamps[kind.name] = now
            self._read.add(kind.name)
            changed = True
        self.known = len(self._read) == len(self.all)
        return changed

    def of(self, job: Job) -> Kind:
        """Return the kind of an act.

        Raises:
            Gone: this build has no such kind.
        """
        kind = self._by_name.get(job.effect)
        if kind is None:
            raise Gone(f"this build knows no act {job.effect}; a newer one has noted it")
        return kind

    async def do(self, job: Job) -> str:
        """Do an act; see `Kind.do`."""
        return await self.of(job).do(job)

    async def is_done(self, job: Job) -> bool:
        """Ask whether it was done; see `Kind.is_done`."""
        return await self.of(job).is_done(job)

    async def close(self) -> None:
        """Release all connections."""
        for kind in self.all:
            await kind.close()
