"""A real nats-server on a directory of its own, connections to it, a real PostgreSQL, a log and its read models."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.connection import connect
from adapters.nats.server import EmbeddedServer
from adapters.storage.read_models import ReadModels
from adapters.storage.sqlite_log import SqliteEventLog
from runners.bootstrap import LOG_FILE, READ_MODELS_FILE
from tests.postgres import running_postgres


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A running server; `pid`, `stop` and `start` let a test maltreat it."""
    server = EmbeddedServer(tmp_path / "broker", max_store_bytes=256 * 1024**2)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def nats_address(nats_server: EmbeddedServer) -> Address:
    """Where the running server is."""
    return Address.read(nats_server.address_file)


@pytest.fixture
async def nc(nats_address: Address) -> AsyncIterator[Connection]:
    """A connection to the running server."""
    connection = await connect(nats_address, "test")
    yield connection
    await connection.close()


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL of one's own."""
    with running_postgres() as server:
        yield server.uri


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A cell's directory."""
    place = tmp_path / "data"
    place.mkdir()
    return place


@pytest.fixture
def log(data: Path) -> Iterator[SqliteEventLog]:
    """The log in it."""
    log = SqliteEventLog(data / LOG_FILE, generation="life")
    yield log
    log.close()


@pytest.fixture
def read_models(data: Path) -> Iterator[ReadModels]:
    """The read models in it."""
    read_models = ReadModels(f"sqlite:///{data / READ_MODELS_FILE}")
    yield read_models
    read_models.close()
