"""A subscriber in a few lines: each event exactly once in effect, in order. Needs nats-py; `subscriber.py CREDS DB`."""

import asyncio
import json
import sqlite3
import sys

import nats


async def main(creds: dict[str, str], db: sqlite3.Connection) -> None:
    """Note which orders were paid, for ever."""
    db.execute("CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY, generation TEXT, position INTEGER)")
    db.execute("CREATE TABLE IF NOT EXISTS paid (stream TEXT, position INTEGER)")
    nc = await nats.connect(creds["url"], user=creds["user"], password=creds["password"])
    while True:
        generation, position = db.execute("SELECT generation, position FROM place").fetchone() or ("", 0)
        question = {"after": position, "generation": generation, "wait_ms": 2000, "types": ["order.paid"]}
        answer = await nc.subscribe(inbox := nc.new_inbox())
        await nc.publish(f"read.{creds['cell']}.events", json.dumps(question).encode(), reply=inbox)
        while (message := await answer.next_msg(timeout=20)).headers is not None:
            with db:  # what the event does, and the place behind it, are one transaction
                at = int(message.headers["ce-position"])
                db.execute("INSERT INTO paid VALUES (?, ?)", (message.headers["ce-subject"], at))
                db.execute("INSERT OR REPLACE INTO place VALUES (1, ?, ?)", (message.headers["ce-generation"], at))
        await answer.unsubscribe()
        end = json.loads(message.data)
        if end.get("error"):
            sys.exit(f"{end['error']}: {end['text']}")
        with db:
            db.execute("INSERT OR REPLACE INTO place VALUES (1, ?, ?)", (end["generation"], end["position"]))
        print("level with", end["position"], flush=True)  # noqa: T201


if __name__ == "__main__":
    with open(sys.argv[1]) as file:  # noqa: PTH123
        asyncio.run(main(json.load(file), sqlite3.connect(sys.argv[2])))
