"""Where an audit finds what it reads: the log's tables as they are, and the checkpoints beside them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from adapters.storage.scan import Scan, SqliteScan
from runners.bootstrap import LOG_FILE
from runners.settings import Settings

SIGNING_KEY_FILE = "checkpoint_key.pem"
"""In the data directory, 0600: signs checkpoints."""


def checkpoints_of(settings: Settings) -> Path:
    """Return where a data directory's checkpoints are kept by default: beside it."""
    path = settings.path.resolve()
    return path.with_name(path.name + ".checkpoints")


def scan_of(settings: Settings) -> Callable[[], Scan]:
    """Return what opens the log's tables, in any process."""
    if settings.postgres:
        from adapters.storage.postgres_scan import PostgresScan  # noqa: PLC0415

        return partial(PostgresScan, settings.store, f"{settings.cell}_log")
    return partial(SqliteScan, settings.path / LOG_FILE)
