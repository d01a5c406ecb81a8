"""The log as an object-centric event log, OCEL 2.0, in its SQLite and its JSON form.

Both forms as the public specification has them (https://www.ocel-standard.org, version 2.0). The SQLite form is written
while the log is read; the JSON form is a walk through a SQLite file beside it. So nothing but the pages in hand and the
orders last met is in memory.
"""

import sqlite3
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from domain.catalogue import decode_event
from domain.envelope import decode_envelope
from domain.ids import kind_of
from domain.ports import EventLog, Recorded
from projections.base import as_text, in_current_shape, observed_at_of
from projections.object_log import EVENTS, OBJECTS, Kind, Logged, Seen, Touch, Value, logged, seen_after, seen_first
from runners.exporting.reading import Progress, Span, Ticks, pages

ORDERS_KEPT = 1_000
"""Orders whose state is kept in memory; others are read from the log again."""
NAMES_KEPT = 20_000
"""Objects that are known to be in the file without asking it."""
CACHE_KIB = 8_192
"""What SQLite may keep of the file in memory."""
_COLUMNS: Mapping[Kind, str] = {"string": "TEXT", "integer": "INTEGER", "boolean": "BOOLEAN"}
_FIXED = """
CREATE TABLE event_map_type (ocel_type TEXT PRIMARY KEY, ocel_type_map TEXT);
CREATE TABLE object_map_type (ocel_type TEXT PRIMARY KEY, ocel_type_map TEXT);
CREATE TABLE event (
    ocel_id TEXT PRIMARY KEY, ocel_type TEXT, FOREIGN KEY (ocel_type) REFERENCES event_map_type (ocel_type)
);
CREATE TABLE object (
    ocel_id TEXT PRIMARY KEY, ocel_type TEXT, FOREIGN KEY (ocel_type) REFERENCES object_map_type (ocel_type)
);
CREATE TABLE event_object (
    ocel_event_id TEXT, ocel_object_id TEXT, ocel_qualifier TEXT,
    PRIMARY KEY (ocel_event_id, ocel_object_id, ocel_qualifier),
    FOREIGN KEY (ocel_event_id) REFERENCES event (ocel_id), FOREIGN KEY (ocel_object_id) REFERENCES object (ocel_id)
) WITHOUT ROWID;
CREATE TABLE object_object (
    ocel_source_id TEXT, ocel_target_id TEXT, ocel_qualifier TEXT,
    PRIMARY KEY (ocel_source_id, ocel_target_id, ocel_qualifier),
    FOREIGN KEY (ocel_source_id) REFERENCES object (ocel_id), FOREIGN KEY (ocel_target_id) REFERENCES object (ocel_id)
) WITHOUT ROWID;
"""


def write_ocel_sqlite(log: EventLog, file: Path, span: Span, progress: Progress) -> dict[str, Any]:
    """Write the events of a span with their objects, in the SQLite form, and return what was written."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        writer = _Writer(db)
        actors = _Actors(log)
        ticks = Ticks()
        generation = log.tracked().generation
        for page in pages(log, progress):
            wanted = [event for event in page if span.takes(event.stream)]
            actors.expect(event for event in wanted if span.covers(observed_at_of(event.envelope)))
            for event in wanted:
                time = ticks.of(ms := observed_at_of(event.envelope))
                if span.covers(ms):
                    facts, before, after = actors.step(event)
                    by = decode_envelope(event.envelope).by
                    found = logged(event.tag, event.stream, event.position, facts, by, before, after)
                    writer.write(f"{generation}:{event.position}", event, time, found)
                else:
                    actors.follow(event)
            writer.flush()
        return writer.finish()


def write_ocel_json(log: EventLog, file: Path, span: Span, progress: Progress) -> dict[str, Any]:
    """Write the same in the JSON form, and return what was written."""
    beside = file.with_name(f"{file.name}.db")
    beside.unlink(missing_ok=True)  # of a process of the same number that was killed: in a container each has it
    try:
        written = write_ocel_sqlite(log, beside, span, progress)
        with closing(sqlite3.connect(beside)) as db, file.open("wb") as out:
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            out.writelines(_json(db))
    finally:
        beside.unlink(missing_ok=True)
    return written


class _Actors:
    """Orders and warehouses as they stand at the event in hand."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._orders: OrderedDict[str, tuple[int, Seen]] = OrderedDict()
        """Order → (version, as it stands)."""
        self._warehouses: dict[str, tuple[int, Seen]] = {}

    def expect(self, events: Iterable[Recorded]) -> None:
        """Have the orders ready that these events are of."""
        while len(self._orders) > ORDERS_KEPT:
            self._orders.popitem(last=False)
        first: dict[str, int] = {}
        for event in events:
            if event.stream.startswith("order-"):
                first.setdefault(event.stream, event.version)
        absent = [stream for stream, version in first.items() if version > 1 and stream not in self._orders]
        for stream, loaded in (self._log.select_many(absent, snapshots=False) if absent else {}).items():
            earlier = loaded.events[: first[stream] - 1]
            seen = seen_first(stream)
            for event in in_current_shape(earlier):
                seen = seen_after(seen, stream, decode_event(event.tag, event.data))
            self._orders[stream] = len(earlier), seen

    def follow(self, event: Recorded) -> None:
        """Take in an event that is not wanted itself, where what it leads to may be."""
        known = self._orders.get(event.stream)
        if event.stream.startswith("warehouse-") or (known is not None and event.version > known[0]):
            self.step(event)

    def step(self, event: Recorded) -> tuple[Any, Seen, Seen]:
        """Return the facts of an event, and its actor before and after."""
        stream = event.stream
        facts = decode_event(event.tag, event.data)
        kind = kind_of(stream)
        kept: dict[str, tuple[int, Seen]] = self._orders if kind == "order" else self._warehouses
        version, before = kept.get(stream) or (0, seen_first(stream))
        after = seen_after(before, stream, facts)
        if kind in ("order", "warehouse"):
            assert event.version == version + 1, f"{stream} is at {version}, not before {event.version}"
            kept[stream] = event.version, after
        if kind == "order":
            self._orders.move_to_end(stream)
        return facts, before, after


class _Writer:
    """Writes the tables; a page at once, in one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        # The file counts only once it is whole, and is made durable then.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.executescript(_FIXED)
        db.execute("BEGIN")
        self._types: dict[str, str] = {}
        self._rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._known: set[str] = set()
        self._objects = self._events = self._changes = 0

    def write(self, name: str, event: Recorded, time: str, found: Logged) -> None:
        """Write an event and its objects."""
        self._events += 1
        self._rows["INSERT INTO event (rowid, ocel_id, ocel_type) VALUES (?, ?, ?)"].append(
            (event.position, name, event.tag)
        )
        insert = self._type("event", event.tag, EVENTS[event.tag])
        values = (_plain(found.attributes.get(attribute)) for attribute in EVENTS[event.tag])
        self._rows[insert].append((event.position, name, time, *values))
        for touch, qualifier in found.objects:
            self._touch(touch, time)
            self._rows["INSERT INTO event_object VALUES (?, ?, ?)"].append((name, touch.id, qualifier))
        for link in found.links:
            self._rows["INSERT OR IGNORE INTO object_object VALUES (?, ?, ?)"].append(link)

    def _touch(self, touch: Touch, time: str) -> None:
        attributes = OBJECTS[touch.type]
        insert = self._type("object", touch.type, attributes)
        if self._is_new(touch):
            for other in touch.beside:
                self._touch(other, time)
            for link in touch.links:
                self._rows["INSERT OR IGNORE INTO object_object VALUES (?, ?, ?)"].append(link)
            values = (_plain(touch.whole.get(attribute)) for attribute in attributes)
            self._rows[insert].append((touch.id, time, None, *values))
            return
        for changed, value in touch.changed.items():
            self._changes += 1
            values = (_plain(value) if attribute == changed else None for attribute in attributes)
            self._rows[insert].append((touch.id, time, changed, *values))

    def _is_new(self, touch: Touch) -> bool:
        if touch.id in self._known:
            return False
        if len(self._known) >= NAMES_KEPT:
            self._known.clear()
        self._known.add(touch.id)
        added = self._db.execute("INSERT OR IGNORE INTO object VALUES (?, ?)", (touch.id, touch.type)).rowcount
        self._objects += added
        return bool(added)

    def _type(self, what: str, name: str, attributes: Mapping[str, Kind]) -> str:
        """Return the statement that writes a type's rows; its table is made when the type is first met."""
        known = f"{what} {name}"
        insert = self._types.get(known)
        if insert is None:
            table = f"{what}_{_mapped(name)}"
            columns = "".join(f', "{attribute}" {_COLUMNS[kind]}' for attribute, kind in attributes.items())
            own = "ocel_id TEXT, ocel_time TIMESTAMP" + (", ocel_changed_field TEXT" if what == "object" else "")
            key = "PRIMARY KEY (ocel_id), " if what == "event" else ""
            key += f"FOREIGN KEY (ocel_id) REFERENCES {what} (ocel_id)"
            self._db.execute(f'CREATE TABLE "{table}" ({own}{columns}, {key})')
            self._db.execute(f"INSERT INTO {what}_map_type VALUES (?, ?)", (name, _mapped(name)))  # noqa: S608
            lead = "rowid, ocel_id, ocel_time" if what == "event" else "ocel_id, ocel_time, ocel_changed_field"
            named = "".join(f', "{attribute}"' for attribute in attributes)
            marks = ", ".join("?" * (3 + len(attributes)))
            insert = f'INSERT INTO "{table}" ({lead}{named}) VALUES ({marks})'  # noqa: S608
            self._types[known] = insert
        return insert

    def flush(self) -> None:
        """Write what was gathered."""
        for statement, rows in self._rows.items():
            self._db.executemany(statement, rows)
        self._rows.clear()

    def finish(self) -> dict[str, Any]:
        """End the file; return how much is in it."""
        self.flush()
        for known in self._types:
            what, _, name = known.partition(" ")
            if what == "object":
                table = f"object_{_mapped(name)}"
                self._db.execute(f'CREATE INDEX "{table}_id" ON "{table}" (ocel_id)')
        self._db.execute("COMMIT")
        return {"events": self._events, "objects": self._objects, "attribute_changes": self._changes}


def _mapped(name: str) -> str:
    """Return a type's name as it stands in the name of its table."""
    return name.replace(".", "_")


def _plain(value: Value | None) -> Value | None:
    return as_text(value) if isinstance(value, str) else value


_encode = msgspec.json.Encoder().encode


def _json(db: sqlite3.Connection) -> Iterator[bytes]:
    """Yield the JSON form piece by piece; types first, so that who reads in pieces knows the attributes' types."""
    yield b'{\n"eventTypes": [\n'
    yield from _joined(_type_rows(db, "event", EVENTS))
    yield b'\n],\n"objectTypes": [\n'
    yield from _joined(_type_rows(db, "object", OBJECTS))
    yield b'\n],\n"events": [\n'
    yield from _joined(_events(db))
    yield b'\n],\n"objects": [\n'
    yield from _joined(_objects(db))
    yield b"\n]\n}\n"


def _joined(items: Iterable[Any]) -> Iterator[bytes]:
    between = b""
    for item in items:
        yield between + _encode(item)
        between = b",\n"


def _type_rows(db: sqlite3.Connection, what: str, known: Mapping[str, Mapping[str, Kind]]) -> Iterator[dict[str, Any]]:
    for (name,) in db.execute(f"SELECT ocel_type FROM {what}_map_type ORDER BY ocel_type"):  # noqa: S608
        attributes = [{"name": attribute, "type": kind} for attribute, kind in known[name].items()]
        yield {"name": name, "attributes": attributes}


def _events(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    rows = {
        name: db.execute(f'SELECT * FROM "event_{_mapped(name)}" ORDER BY rowid')  # noqa: S608
        for (name,) in db.execute("SELECT ocel_type FROM event_map_type").fetchall()
    }
    related = "SELECT ocel_object_id, ocel_qualifier FROM event_object WHERE ocel_event_id = ?"
    ask = db.cursor()
    for name, tag in db.execute("SELECT ocel_id, ocel_type FROM event ORDER BY rowid"):
        _, time, *values = rows[tag].fetchone()
        attributes = [
            {"name": attribute, "value": _text(value, kind)}
            for (attribute, kind), value in zip(EVENTS[tag].items(), values, strict=True)
            if value is not None
        ]
        yield {
            "id": name,
            "type": tag,
            "time": time,
            "attributes": attributes,
            "relationships": _relationships(ask.execute(related, (name,))),
        }


def _objects(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    related = "SELECT ocel_target_id, ocel_qualifier FROM object_object WHERE ocel_source_id = ?"
    ask = db.cursor()
    for name, kind in db.execute("SELECT ocel_id, ocel_type FROM object ORDER BY rowid"):
        select = f'SELECT * FROM "object_{kind}" WHERE ocel_id = ? ORDER BY rowid'  # noqa: S608
        attributes = [
            {"name": attribute, "value": _text(value, of), "time": time}
            for _, time, _, *values in ask.execute(select, (name,))
            for (attribute, of), value in zip(OBJECTS[kind].items(), values, strict=True)
            if value is not None
        ]
        relationships = _relationships(ask.execute(related, (name,)))
        yield {"id": name, "type": kind, "attributes": attributes, "relationships": relationships}


def _relationships(rows: Iterable[Sequence[str]]) -> list[dict[str, str]]:
    return [{"objectId": name, "qualifier": qualifier} for name, qualifier in rows]


def _text(value: Value, kind: Kind) -> str:
    """Return a value as the JSON form has it: a text, whose type its attribute tells."""
    return str(bool(value)).lower() if kind == "boolean" else str(value)
