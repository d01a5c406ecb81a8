"""The floor: the least that a durable, exactly-once pipeline must do, as a bare loop in one thread.

JetStream (fsync before every answer) → decode mail and payload → a decision of a few lines → one SQLite commit for each
batch with the mail position in it. The same mail, the same number of events, a SHA-256 over each, the payload stored
once, and the same look-up of unknown streams that the worker must do. No rules, no translation, no encryption, no
after-commit.
"""

import asyncio
import sqlite3
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from adapters.nats.reader import MailReader
from benchmarks.rig import CELL, Rig, rig
from benchmarks.workload import EVENTS_PER_ORDER, mails
from domain.mail import ChannelPayload, decode_mail
from runners.settings import BATCH_MESSAGES

SMALL = b'{"allocation":"order-taobao:hardware:2960318827700002345/1","warehouse":"A","lines":[["SKU-0001",2]]}'
ENVELOPE = (
    b'{"at":1794326400000,"observed_at":1794326400000,"by":{"kind":"channel","id":"taobao"},"message":"bench-%d",'
    b'"causation":"bench-1","correlation":"bench-1","source_tag":"taobao/bench#1"}'
)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(
        "CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT, version INTEGER, tag TEXT, envelope BLOB,"
        " data BLOB, leaf BLOB)"
    )
    db.execute("CREATE UNIQUE INDEX stream_version ON events (stream, version)")
    db.execute("CREATE TABLE tracking (position INTEGER)")
    db.execute("INSERT INTO tracking VALUES (0)")
    return db


async def _drain(made: Rig, batch_messages: int) -> float:
    db = _open(made.settings.path / "floor.db")
    known: dict[str, int] = {}
    position = 0
    started = time.perf_counter()
    async with MailReader(made.nc, CELL, 1, batch=batch_messages) as reader:
        while True:
            messages = await reader.next(batch_messages, 5)
            read = [decode_mail(message.payload) for message in messages]
            unknown = [mail.to for mail in read if mail.to not in known]
            marks = ",".join("?" * len(unknown))
            query = f"SELECT stream, max(version) FROM events WHERE stream IN ({marks}) GROUP BY 1"  # noqa: S608  marks only
            known.update(db.execute(query, unknown).fetchall())
            rows: list[tuple[Any, ...]] = []
            for message, mail in zip(messages, read, strict=True):
                version = known.get(mail.to, 0)
                envelope = ENVELOPE % message.seq
                if isinstance(mail.body, ChannelPayload):
                    order = msgspec.json.decode(mail.body.raw)
                    tags: tuple[str, ...] = ("received", "normalized", "paid", "stock", "reserved", "listed")
                    assert order["status"] == "WAIT_SELLER_SEND_GOODS"
                else:
                    tags = ("shipped", "picked") if message.seq > 1 else ()
                for tag in tags:
                    position += 1
                    version += 1
                    data = mail.body.raw if tag == "normalized" and isinstance(mail.body, ChannelPayload) else SMALL
                    leaf = sha256(b"%d|%s|%d" % (position, mail.to.encode(), version) + envelope + data).digest()
                    rows.append((position, mail.to, version, tag, envelope, data, leaf))
                known[mail.to] = version
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?)", rows)
            db.execute("UPDATE tracking SET position = ?", (messages[-1].seq,))
            db.execute("COMMIT")
            if messages[-1].seq >= made.last:
                break
    seconds = time.perf_counter() - started
    db.close()
    return seconds


async def _measure(orders: int, batch_messages: int) -> dict[str, Any]:
    async with rig(batch_messages=batch_messages) as made:
        await made.fill(mails(orders))
        seconds = await _drain(made, batch_messages)
    return {
        "orders": orders,
        "seconds": round(seconds, 3),
        "floor_orders_per_s": round(orders / seconds),
        "floor_events_per_s": round(orders * EVENTS_PER_ORDER / seconds),
        "sync": "FULL",
        "batch_messages": batch_messages,
    }


def measure(orders: int, batch_messages: int = BATCH_MESSAGES) -> dict[str, Any]:
    """Measure the floor."""
    return asyncio.run(_measure(orders, batch_messages))
