"""One PostgreSQL server for all contract tests of a test process; each test takes a schema of its own."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.postgres import running_postgres

_schemas = count(1)


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    with running_postgres() as server:
        yield server.uri


@pytest.fixture
def postgres_schema() -> str:
    return f"cell_{next(_schemas)}"
