"""Which order a delivery order's code belongs to, for whoever must answer a warehouse: `wms.db`, made from the log.

Losing the file loses nothing: it follows the log from its beginning again. It is brought up to the log's end before
each answer, so that what was committed a moment ago is known.
"""

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from adapters.storage.sqlite import opened, transaction
from domain.catalogue import decode_event
from domain.order import PickListIssued
from domain.wms import base_of, code_of

if TYPE_CHECKING:
    from domain.ports import EventLog

FILE = "wms.db"
BATCH_EVENTS = 4_000
_TAG = "order.pick_list_issued"
_TABLES = (
    """CREATE TABLE followed (
        one INTEGER PRIMARY KEY CHECK (one = 1), generation TEXT NOT NULL, position INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE deliveries (
        code TEXT PRIMARY KEY, stream TEXT NOT NULL, pick_list TEXT NOT NULL, allocation TEXT NOT NULL,
        warehouse TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "INSERT INTO followed VALUES (1, '', 0)",
)


class Whose(NamedTuple):
    """What a code belongs to."""

    stream: str
    """The order."""
    pick_list: str
    allocation: str
    warehouse: str
    """Our code of it."""


class DeliveryIndex:
    """The file. Any thread may use it; one process does."""

    def __init__(self, data: Path, event_log: "EventLog") -> None:
        """Open it, or make it where there is none.

        Raises:
            LogDamaged: the file is something else.
        """
        self._log = event_log
        self._lock = Lock()
        self._db = opened(data / FILE, "followed", _TABLES)

    def find(self, code: str) -> Whose | None:
        """Return whose delivery order it is, whatever its revision; None where no pick list was ever issued for it."""
        with self._lock:
            self._follow()
            row = self._db.execute(
                "SELECT stream, pick_list, allocation, warehouse FROM deliveries WHERE code = ?", (base_of(code),)
            ).fetchone()
        return Whose(*row) if row is not None else None

    def follow(self) -> None:
        """Bring it up to the end of the log."""
        with self._lock:
            self._follow()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    def _follow(self) -> None:
        known, position = self._db.execute("SELECT generation, position FROM followed").fetchone()
        generation = self._log.tracked().generation
        if generation != known:
            position = 0
        while events := self._log.read(position, BATCH_EVENTS):
            rows = []
            for event in events:
                if event.tag == _TAG:
                    fact = decode_event(event.tag, event.data)
                    assert isinstance(fact, PickListIssued)
                    rows.append(
                        (code_of(fact.pick_list), event.stream, fact.pick_list, fact.allocation, fact.warehouse)
                    )
            position = events[-1].position
            with transaction(self._db):
                if generation != known:
                    self._db.execute("DELETE FROM deliveries")
                    known = generation
                self._db.executemany("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?)", rows)
                self._db.execute("UPDATE followed SET generation = ?, position = ?", (generation, position))
