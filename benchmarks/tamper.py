"""Does `audit verify` find every change of a log, and name the order, with one older checkpoint in hand?

Three campaigns on copies of an honest log in memory. *Bits*: one random bit of one stored event. *File*: one random bit
of the database file, wherever it falls; what falls into space that nothing uses changes nothing. *Acts*: what somebody
with all rights would do, half of the time with all hashes, positions, versions and the head put right afterwards.
"""

import json
import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from adapters.storage.checkpoints import CheckpointFolder, Signer
from adapters.storage.scan import SqliteScan, Unreadable
from adapters.storage.sqlite import DAMAGE
from adapters.storage.vault import SqliteVault
from benchmarks.replay import build_log
from benchmarks.rig import machine
from domain.ports import LogDamaged
from domain.proof import leaf_hash
from runners.audit import Verified, verify
from runners.replay import replay_states

BROKEN = (sqlite3.Error, *DAMAGE)
"""What reading a damaged file raises."""
FIELDS = ("position", "stream", "version", "tag", "envelope", "data", "sealed", "leaf")
_NUMBERS = {"position", "version"}
_MEMORY = Path("/dev/shm")  # noqa: S108 - copies of a made-up log
IDLE = {"file nothing uses it", "file table definition"}
"""Where a bit changes no row: free space, and the text that a table was made by."""
_KEPT_EVENTS = 0.25
"""Least share of the log that a cut leaves."""


class Trial(NamedTuple):
    """One maltreatment, and what the audit said."""

    where: str
    found: bool
    named: bool
    """Whether every order (or other actor) whose events were touched is named."""
    text: str
    """What was done, for a look at what went unnoticed."""


class Bench:
    """An honest log in a directory, verified and signed once, and copies of it."""

    def __init__(self, directory: Path) -> None:
        """Take a directory made by `prepare`."""
        self.directory = directory
        self.honest = directory / "log.db"
        self.copy = directory / f"copy-{random.getrandbits(48):x}.db"
        self.size = self.honest.stat().st_size
        with closing(sqlite3.connect(self.honest)) as db:
            self.rows = db.execute(f"SELECT {', '.join(FIELDS)} FROM events ORDER BY position").fetchall()  # noqa: S608
            self.content = _content(db)
        self.streams = sorted({row[1] for row in self.rows})
        self._vault = SqliteVault(directory / "keys.db")
        self._folder = CheckpointFolder(directory / "checkpoints")

    def fresh(self) -> Path:
        """Return a copy to maltreat."""
        shutil.copyfile(self.honest, self.copy)
        return self.copy

    def open(self) -> sqlite3.Connection:
        """Open a fresh copy for writing; nothing waits for the disk."""
        db = sqlite3.connect(self.fresh())
        db.execute("PRAGMA synchronous = OFF")
        return db

    def verify(self, *, full: bool = False) -> Verified | None:
        """Audit the copy against the older checkpoint; None where nothing at all can be read."""
        opened = partial(SqliteScan, self.copy)
        try:
            return verify(opened, "main", folder=self._folder, signer=None, vault=self._vault, full=full)
        except (Unreadable, *BROKEN):
            return None


def prepare(directory: Path, orders: int) -> Bench:
    """Make an honest log, sign it once, and return it."""
    build_log(directory, orders, 200).close()
    bench = Bench(directory)
    verified = verify(
        partial(SqliteScan, bench.honest),
        "main",
        folder=CheckpointFolder(directory / "checkpoints"),
        signer=Signer.open(directory / "checkpoint_key.pem"),
    )
    if not verified.ok:
        raise AssertionError(f"the honest log has problems: {verified.problems[:3]}")
    return bench


def _names(found: Verified | None, streams: set[str]) -> bool:
    if found is None:
        return False
    said = " ".join(f"{problem.stream} {problem.text}" for problem in found.problems) + " "
    return all(any(stream + end in said for end in " :;,)(") for stream in streams)


# --- one bit of one event


def flip_event(bench: Bench, rng: random.Random) -> Trial:
    """Flip one bit of the stored events, each as likely as any other."""
    weights = _weights(bench)
    at = rng.randrange(weights[-1])
    index = next(place for place, end in enumerate(weights) if at < end)
    row = bench.rows[index]
    sizes = [_size(field, value) for field, value in zip(FIELDS, row, strict=True)]
    byte = rng.randrange(sum(sizes))
    place = 0
    while byte >= sizes[place]:
        byte -= sizes[place]
        place += 1
    field, value = FIELDS[place], row[place]
    bit = 1 << rng.randrange(8)
    flipped: Any
    if field in _NUMBERS:
        raw = bytearray(value.to_bytes(8, "big"))
        raw[byte] ^= bit
        flipped = int.from_bytes(raw, "big", signed=True)
    else:
        raw = bytearray(value.encode() if isinstance(value, str) else value)
        raw[byte] ^= bit
        flipped = bytes(raw)
    cast = f"CAST(:new AS {'TEXT' if isinstance(value, str) else 'BLOB' if isinstance(value, bytes) else 'INTEGER'})"
    with closing(bench.open()) as db:
        try:
            db.execute(f"UPDATE events SET {field} = {cast} WHERE position = :at", {"new": flipped, "at": row[0]})  # noqa: S608
            db.commit()
            stored = True
        except sqlite3.IntegrityError:  # it would be in another event's place, which SQL refuses: `flip_file` does it
            stored = False
    if not stored:
        return flip_event(bench, rng)
    found = bench.verify()
    what = f"bit {bit} of byte {byte} of {field} of event {row[0]} ({row[1]})"
    return Trial(f"event {field}", found is None or not found.ok, _names(found, {row[1]}), what)


def _weights(bench: Bench) -> list[int]:
    total, ends = 0, []
    for row in bench.rows:
        total += sum(_size(field, value) for field, value in zip(FIELDS, row, strict=True))
        ends.append(total)
    return ends


def _size(field: str, value: Any) -> int:
    if field in _NUMBERS:
        return 8
    return len(value.encode()) if isinstance(value, str) else len(value or b"")


def _swap(db: sqlite3.Connection, row: Any, field: str, number: int) -> None:
    same = "" if field == "position" else " AND stream = :stream"
    values = {"own": row[0] if field == "position" else row[2], "other": number, "stream": row[1]}
    for change in ("-7 WHERE {} = :own", ":own WHERE {} = :other", ":other WHERE {} = -7"):
        db.execute(f"UPDATE events SET {field} = {change.format(field)}{same}", values)  # noqa: S608


# --- one bit of the file


def flip_file(bench: Bench, rng: random.Random) -> Trial:
    """Flip one bit of the database file, wherever it falls."""
    at, bit = rng.randrange(bench.size), 1 << rng.randrange(8)
    with bench.fresh().open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes((byte ^ bit,)))
    found = bench.verify(full=True)
    where, touched = _effect(bench)
    detected = found is None or not found.ok
    if where == "file snapshot" and not detected:
        detected = _replay_sees(bench)
    return Trial(where, detected, found is None or _names(found, touched), f"bit {bit} of byte {at} of the file")


def _effect(bench: Bench) -> tuple[str, set[str]]:
    """Tell what the flip changed of what the database says, and whose events."""
    try:
        with closing(sqlite3.connect(bench.copy)) as db:
            now = _content(db)
            sound = db.execute("PRAGMA integrity_check(1)").fetchone()[0] == b"ok"
    except BROKEN:
        return "file unreadable page", _lost(bench)
    for table, rows in bench.content.items():
        if now[table] != rows:
            name = "table definition" if table == "sqlite_master" else table.removesuffix("s")
            return f"file {name}", _lost(bench) if table == "events" else set()
    return ("file nothing uses it", set()) if sound else ("file index or structure", set())


def _content(db: sqlite3.Connection) -> dict[str, Any]:
    db.text_factory = bytes
    tables = ("events", "payloads", "snapshots", "cell", "sqlite_master")
    return {table: db.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY 1, 2").fetchall() for table in tables}  # noqa: S608


def _lost(bench: Bench) -> set[str]:
    """Return the streams whose events are not all as they were; none where no event can be read."""
    lost: set[str] = set()
    there: set[Any] = set()
    select = f"SELECT {', '.join(FIELDS)} FROM events NOT INDEXED WHERE position = ?"  # noqa: S608
    with closing(sqlite3.connect(bench.copy)) as db:
        with suppress(*BROKEN):  # what a walk through the table still finds is not lost
            for row in db.execute(f"SELECT {', '.join(FIELDS)} FROM events NOT INDEXED"):  # noqa: S608
                there.add(row)
        for row in bench.rows:
            if row in there:
                continue
            try:
                if db.execute(select, (row[0],)).fetchone() != row:
                    lost.add(row[1])
            except BROKEN:
                lost.add(row[1])
    return lost if len(lost) < len(bench.streams) else set()


def _replay_sees(bench: Bench) -> bool:
    from adapters.storage.sqlite_log import SqliteEventLog  # noqa: PLC0415

    try:
        with closing(SqliteEventLog(bench.copy, read_only=True)) as log:
            return bool(replay_states(log).problems)
    except (LogDamaged, *BROKEN, ValueError):
        return True


# --- acts of somebody with all rights

Act = Callable[[sqlite3.Connection, Bench, random.Random], tuple[int, set[str]]]
"""Does it; returns the first position touched, and whose events were touched."""


def _any(bench: Bench, rng: random.Random) -> Any:
    return bench.rows[rng.randrange(len(bench.rows))]


def edit(db: sqlite3.Connection, bench: Bench, rng: random.Random) -> tuple[int, set[str]]:
    """Change one digit of an event's facts or envelope, or exchange or drop its sealed block."""
    row = _any(bench, rng)
    field = rng.choice(("data", "envelope", "sealed", "tag"))
    new: Any
    if field == "tag":
        new = rng.choice([tag for tag in ("order.paid", "order.shipped", "stock.adjusted") if tag != row[3]])
    elif field == "sealed":
        new = rng.choice((None, rng.randbytes(80))) if row[6] is not None else rng.randbytes(80)
    else:
        raw = bytearray(row[FIELDS.index(field)])
        digits = [at for at, byte in enumerate(raw) if chr(byte).isdigit()]
        if not digits:
            field, new = "envelope", bytes(row[4]) + b" "
        else:
            at = rng.choice(digits)
            raw[at] = ord(rng.choice([digit for digit in "123456789" if digit != chr(raw[at])]))
            new = bytes(raw)
    db.execute(f"UPDATE events SET {field} = ? WHERE position = ?", (new, row[0]))  # noqa: S608
    return row[0], {row[1]}


def move_to_another_order(db: sqlite3.Connection, bench: Bench, rng: random.Random) -> tuple[int, set[str]]:
    """Put an event into another stream, behind its last; close the gap it leaves."""
    row = _any(bench, rng)
    other = rng.choice([stream for stream in bench.streams if stream != row[1]])
    db.execute(
        """UPDATE events SET stream = :other, version = (SELECT max(version) + 1 FROM events WHERE stream = :other)
        WHERE position = :at""",
        {"other": other, "at": row[0]},
    )
    _close_versions(db, row[1])
    return row[0], {row[1]}


def rewrite_version(db: sqlite3.Connection, bench: Bench, rng: random.Random) -> tuple[int, set[str]]:
    """Give an event another version."""
    row = _any(bench, rng)
    last = max(each[2] for each in bench.rows if each[1] == row[1])
    db.execute("UPDATE events SET version = ? WHERE position = ?", (last + rng.randrange(1, 50), row[0]))
    return row[0], {row[1]}


def delete(db: sqlite3.Connection, bench: Bench, rng: random.Random) -> tuple[int, set[str]]:
    """Take an event out, and half of the time close versions and positions behind it."""
    row = _any(bench, rng)
    db.execute("DELETE FROM events WHERE position = ?", (row[0],))
    if rng.random() < 0.5:  # noqa: PLR2004 - a coin
        _close_versions(db, row[1])
        _shift(db, row[0], -1)
    return row[0], {row[1]}


def delete_order(db: sqlite3.Connection, bench: Bench, rng: random.Random) -> tuple[int, set[str]]:
    """Take a whole order out, its raw messages too, and close the positions."""
    stream = rng.choice([stream for stream in bench.streams if stream.startswith("order-")])
    positions = [row[0] for row in bench.rows if row[1] == stream]
    db.execute("DELETE FROM events WHERE stream = ?", (stream,))
    db.execute("DELETE FROM payloads WHERE stream = ?", (stream,))
    for position in reversed(positions):
        _shift(db, position, -1)
    return positions[0], {stream}


def insert(db: sqlite3.Connection, bench: Bench, rng: random.Random) -> tuple[int, set[str]]:
    """Put a further event of an order before another one."""
    row, at = _any(bench, rng), _any(bench, rng)[0]
    last = max(each[2] for each in bench.rows if each[1] == row[1])
    _shift(db, at, 1)
    db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (at, row[1], last + 1, *row[3:]))
    return at, {row[1]}


def reorder(db: sqlite3.Connection, bench: Bench, rng: random.Random) -> tuple[int, set[str]]:
    """Let two events change places in the log, or in their stream."""
    row = _any(bench, rng)
    others = [each for each in bench.rows if each[1] == row[1] and each[2] != row[2]]
    if others and rng.random() < 0.5:  # noqa: PLR2004 - a coin
        other = rng.choice(others)
        _swap(db, row, "version", other[2])
    else:
        other = rng.choice([each for each in bench.rows if each[0] != row[0]])
        _swap(db, row, "position", other[0])
    return min(row[0], other[0]), {row[1], other[1]}


def truncate(db: sqlite3.Connection, bench: Bench, rng: random.Random) -> tuple[int, set[str]]:
    """Cut the last events off, one or many, and the raw messages nobody names any more."""
    count = rng.choice((1, 2, rng.randrange(1, 60), rng.randrange(1, int(len(bench.rows) * (1 - _KEPT_EVENTS)))))
    left = len(bench.rows) - count
    db.execute("DELETE FROM events WHERE position > ?", (left,))
    db.execute("DELETE FROM payloads WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.stream = payloads.stream)")
    return left + 1, {row[1] for row in bench.rows[left:]}


ACTS: tuple[Act, ...] = (edit, move_to_another_order, rewrite_version, delete, delete_order, insert, reorder, truncate)


def act(bench: Bench, rng: random.Random) -> Trial:
    """Do one of the acts; half of the time put right afterwards what can be put right without the signing key."""
    done, clever = rng.choice(ACTS), rng.random() < 0.5  # noqa: PLR2004 - a coin
    with closing(bench.open()) as db:
        first, touched = done(db, bench, rng)
        if clever or done is truncate:
            db.execute("UPDATE cell SET head = (SELECT max(position) FROM events)")
        if clever:
            _mend(db, first)
        db.commit()
    found = bench.verify()
    where = f"{done.__name__}{', hashes mended' if clever else ''}"
    return Trial(where, found is None or not found.ok, _names(found, touched), f"{where} from event {first}: {touched}")


def _close_versions(db: sqlite3.Connection, stream: str) -> None:
    rows = db.execute("SELECT position FROM events WHERE stream = ? ORDER BY version", (stream,)).fetchall()
    for version, (position,) in enumerate(rows, 1):
        db.execute("UPDATE events SET version = ? WHERE position = ?", (version, position))


def _shift(db: sqlite3.Connection, after: int, by: int) -> None:
    """Move everything from a position on by one."""
    db.execute("UPDATE events SET position = -position WHERE position >= ?", (after,))
    db.execute("UPDATE events SET position = ? - position WHERE position < 0", (by,))


def _mend(db: sqlite3.Connection, first: int) -> None:
    """Compute all leaves anew."""
    rows = db.execute(f"SELECT {', '.join(FIELDS)} FROM events WHERE position >= ?", (first,)).fetchall()  # noqa: S608
    for position, stream, version, tag, envelope, data, sealed, _ in rows:
        leaf = leaf_hash(position, stream, version, tag, envelope, data, sealed or b"")
        db.execute("UPDATE events SET leaf = ? WHERE position = ?", (leaf, position))


# --- campaigns

CAMPAIGNS = {"bits": flip_event, "file": flip_file, "acts": act}


def campaign(bench: Bench, kind: str, seeds: range) -> Iterator[Trial]:
    """Yield one trial for each seed; the same seed does the same to the same log."""
    try:
        for seed in seeds:
            yield CAMPAIGNS[kind](bench, random.Random(f"{kind} {seed}"))
    finally:
        bench.copy.unlink(missing_ok=True)


def _in_process(directory: str, kind: str, first: int, last: int) -> list[Trial]:
    return list(campaign(Bench(Path(directory)), kind, range(first, last)))


def measure(orders: int, flips: int, edits: int, jobs: int = 2) -> dict[str, Any]:
    """Run all three campaigns: `flips` bits of events, a fifth as many of the file, `edits` acts."""
    base = _MEMORY if _MEMORY.is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix="orderspine-tamper-", dir=base))
    begun = time.monotonic()
    try:
        bench = prepare(directory, orders)
        wanted = {"bits": flips, "file": flips // 5, "acts": edits}
        trials: list[Trial] = []
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            parts = [
                pool.submit(_in_process, str(directory), kind, first, min(first + 100, count))
                for kind, count in wanted.items()
                for first in range(0, count, 100)
            ]
            for part in parts:
                trials += part.result()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "events": len(bench.rows),
        "orders": orders,
        **figures(trials),
        "seconds": round(time.monotonic() - begun, 1),
        **machine(),
    }


def figures(trials: list[Trial]) -> dict[str, Any]:
    """Count trials by what was touched: how many, found, and with every order named."""
    idle = [trial for trial in trials if trial.where in IDLE]
    real = [trial for trial in trials if trial.where not in IDLE]
    count, found = Counter(trial.where for trial in real), Counter(trial.where for trial in real if trial.found)
    named = Counter(trial.where for trial in real if trial.found and trial.named)
    missed = [trial.text for trial in real if not trial.found or not trial.named]
    return {
        **{where: f"{found[where]} of {count[where]} found, {named[where]} named" for where in sorted(count)},
        "trials": len(real),
        "found": sum(found.values()),
        "named": sum(named.values()),
        "file bits that change nothing stored": len(idle),
        "of these told as damage": sum(trial.found for trial in idle),
        "missed": json.dumps(missed[:10]) if missed else "none",
    }
