"""How fast everything is rebuilt from the log alone: states by the deciders, read models by the projections.

The log is made by the real engine on SQLite, with hashes and encryption; nothing else runs. States are folded with
every invariant checked at each event; read models are written to a database of their own, checkpoints included. Both as
`orderspine audit replay` does it.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from adapters.channels import load
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import SqliteVault
from benchmarks.rig import machine
from benchmarks.workload import mails
from domain.mail import encode_mail
from runners.cycles import look_rarely
from runners.engine import Delivered, Engine
from runners.preparing import Preparer
from runners.replay import replay_read_models, replay_states
from runners.settings import BATCH_MESSAGES


def build_log(directory: Path, orders: int, batch_messages: int) -> SqliteEventLog:
    """Let the real engine make the log of so many orders in a directory, and return it."""
    log = SqliteEventLog(directory / "log.db")
    vault = SqliteVault(directory / "keys.db")
    engine = Engine(log, vault, Preparer(load(), vault.digest_key()))
    engine.take_over()
    engine.begin_life("bench", 0, None, 0)
    delivered: list[Delivered] = []

    def commit() -> None:
        batch = engine.decide(delivered)
        engine.committed(batch, engine.commit(batch))
        delivered.clear()

    for seq, mail in enumerate(mails(orders), 1):
        delivered.append(Delivered(seq, mail.observed_at, encode_mail(mail)))
        if len(delivered) == batch_messages:
            commit()
    if delivered:
        commit()
    vault.close()
    return log


def measure(orders: int, batch_messages: int = BATCH_MESSAGES) -> dict[str, Any]:
    """Measure both replays on one log."""
    look_rarely()  # as the command does
    directory = Path(tempfile.mkdtemp(prefix="orderspine-replay-"))
    try:
        log = build_log(directory, orders, batch_messages)
        states = replay_states(log)
        models = replay_read_models(log, directory, hurry=True)
        log.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "orders": orders,
        "events": states.events,
        "problems": len(states.problems) + states.more,
        "states_events_per_s": states.events_per_s,
        "read_models_events_per_s": models.events_per_s,
        **machine(),
    }
