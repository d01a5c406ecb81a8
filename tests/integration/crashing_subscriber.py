"""A subscriber that is killed again and again. `crashing_subscriber.py CREDENTIALS DATABASE LIVES SEED`.

Each life is a process of its own that reads on behind its stored position and is killed with SIGKILL at a random
moment; the last one lives until the feed's end. How many lives got on is printed at the end. What an event does is one
more row: nothing but the stored position keeps it from being done twice.
"""

import asyncio
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path

from adapters.nats.feed import Event, Feed, FeedBroken, Inbox, credentials

LIFE_S = 0.25
"""The longest life before a kill: long enough to connect and to be in the middle of a page."""


def handle(db: sqlite3.Connection, event: Event) -> None:
    db.execute("INSERT INTO effects (position, stream) VALUES (?, ?)", (event.position, event.stream))


TABLE = "CREATE TABLE IF NOT EXISTS effects (number INTEGER PRIMARY KEY, position INTEGER, stream TEXT)"


async def live(known: dict[str, str], database: str, *, last: bool) -> None:
    db = sqlite3.connect(database)
    db.execute("PRAGMA synchronous = OFF")  # what a killed process wrote is there: only a power cut would take it
    inbox = Inbox(db)
    feed = await Feed.connect(known, "events")
    while True:
        with suppress(FeedBroken):
            page = await feed.ask(inbox.place(), wait_s=0.2, most=10)
            inbox.take(page, handle)
            if last and page.place.position == page.head and not page.events:
                return


def main(known: dict[str, str], database: str, lives: int, seed: int) -> None:
    chance = random.Random(seed)
    with sqlite3.connect(database) as db:
        db.execute(TABLE)
    killed = moved = before = 0
    while killed <= lives:
        last = killed == lives
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(live(known, database, last=last))
            except BaseException:  # noqa: BLE001  a child must never go on as the parent
                os._exit(1)
            os._exit(0)
        if not last:
            time.sleep(chance.random() * LIFE_S)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if last and status:
            sys.exit(f"the last life ended with {status}")
        if last or os.WIFSIGNALED(status):
            killed += 1
        with sqlite3.connect(database) as db:
            (count,) = db.execute("SELECT count(*) FROM effects").fetchone()
        moved, before = moved + (count > before), count
    sys.stdout.write(f"{moved}\n")


if __name__ == "__main__":
    main(credentials(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
