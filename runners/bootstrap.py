"""Builds the object graph from the settings. No other file does."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from adapters.channels import load
from adapters.nats.address import Address
from adapters.storage.spool import Spool
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import KeysMissing, SqliteVault
from domain.ports import Channel
from runners.settings import Settings

if TYPE_CHECKING:
    from adapters.storage.postgres_log import PostgresEventLog
    from adapters.storage.postgres_vault import PostgresVault
    from adapters.storage.read_models import ReadModels

# What not every process needs (PostgreSQL's driver, SQLAlchemy) is imported where it is used: start-up stays quick.

LOG_FILE = "log.db"
KEYS_FILE = "keys.db"
READ_MODELS_FILE = "read_models.db"
SPOOL_FILE = "spool.db"
BROKER_DIRECTORY = "broker"
ADDRESS_FILE = "broker.json"
API_TOKENS_FILE = "api_tokens.json"
GATEWAY_FILE = "gateway.json"
GATEWAY_MEMORY_FILE = "gateway.db"


def open_log(settings: Settings, *, read_only: bool = False) -> "SqliteEventLog | PostgresEventLog":
    """Open the cell's event log, made on first use."""
    if settings.postgres:
        from adapters.storage.postgres_log import PostgresEventLog  # noqa: PLC0415

        return PostgresEventLog(settings.store, f"{settings.cell}_log")
    return SqliteEventLog(settings.path / LOG_FILE, read_only=read_only)


def open_vault(settings: Settings, *, make: bool = False) -> "SqliteVault | PostgresVault":
    """Open the store of data keys; with `make`, make it where there is none.

    Raises:
        KeysMissing: there is none, and none is to be made.
    """
    if settings.postgres:
        from adapters.storage.postgres_vault import PostgresVault  # noqa: PLC0415

        return PostgresVault(settings.store, f"{settings.cell}_keys", make=make)
    return SqliteVault(settings.path / KEYS_FILE, make=make)


def existing_vault(settings: Settings) -> "SqliteVault | PostgresVault | None":
    """Return the store of data keys for a look at what it opens; None where there is none."""
    try:
        return open_vault(settings)
    except KeysMissing:
        return None


def open_read_models(settings: Settings) -> "ReadModels":
    """Open the database of the read models."""
    from adapters.storage.read_models import ReadModels  # noqa: PLC0415

    if settings.postgres:
        return ReadModels(settings.store, schema=f"{settings.cell}_read")
    return ReadModels(f"sqlite:///{(settings.path / READ_MODELS_FILE).resolve()}")


def open_spool(settings: Settings, vault: "SqliteVault | PostgresVault") -> Spool:
    """Open the store for input that is too big for the broker."""
    return Spool(settings.path / SPOOL_FILE, vault)


def channels(settings: Settings) -> dict[str, Channel]:
    """Return the channels by name: built-in ones and those the settings name."""
    return load(settings.channels, merchant_zone=settings.zone)


def broker_address(settings: Settings) -> Address:
    """Return where the broker of a running cell is.

    Raises:
        FileNotFoundError: the embedded broker of this data directory has never been started.
    """
    if settings.broker != "embedded":
        # User and password are told apart from the place, so that no log or error shows them.
        parts = urlsplit(settings.broker)
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return Address(place, unquote(parts.username or ""), unquote(parts.password or ""))
    return Address.read(Path(settings.data) / ADDRESS_FILE)
