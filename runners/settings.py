"""Settings: one frozen Struct, read once at start, from `settings.json` in the data directory and the environment."""

import os
from codecs import BOM_UTF8
from pathlib import Path
from typing import Literal

import msgspec

from domain.timehub import zone_of

FILE = "settings.json"
PREFIX = "ORDERSPINE_"
PORT_MAX = 65_535
SNAPSHOT_EVERY_MIN = 100
BATCH_MESSAGES = 1_000
CELL_CHARS_MAX = 52
"""With what is put behind it, a cell's name is one of a bucket, of 64 characters at most, or of a schema."""


class BadSetting(ValueError):
    """A setting that cannot be: which one, what is wrong, what to do."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that may differ between two installations. Each field can be set as `ORDERSPINE_<NAME>`."""

    data: str
    """Data directory: log, keys, read models, broker. One cell lives in it."""
    cell: str = "main"
    """Name of the cell: letters, digits, `_`; 52 characters at most."""
    store: str = "sqlite"
    """`sqlite`, or a PostgreSQL address (`postgresql://…`): a schema each for log, keys and read models."""
    broker: str = "embedded"
    """`embedded`, or the address of a NATS server or cluster (`nats://user:password@host:port`)."""
    clock: Literal["real", "mail"] = "real"
    """What timers go by: the machine's clock, or the latest time seen in the mail (simulated and historic runs)."""
    zone: str = "Asia/Shanghai"
    """The merchant's zone, for times shown to people."""
    channels: tuple[str, ...] = ()
    """Modules of further channels, beside the built-in ones."""
    batch_messages: int = BATCH_MESSAGES
    """Most messages of one commit."""
    mail_bytes_max: int = 1 << 30
    """Size of the mail stream; intake answers busy when it is full."""
    mail_span_s: int = 86_400
    """How long handled mail is kept before it is purged. It holds personal data."""
    events_bytes_max: int = 4 << 30
    """Size of the EVENTS stream; the log replays what has left it."""
    actors_max: int = 20_000
    """Most idle actors kept in the worker's memory."""
    gateway_host: str = "127.0.0.1"
    """Where the HTTP gateway listens. It speaks plain HTTP: put what ends TLS before it, on the same machine."""
    gateway_port: int = 0
    """Its port; 0 = any free one, the same again after a restart where it can be had (`gateway.json` says which)."""
    gateway_requests_max: int = 256
    """Most requests served at once; more are answered busy."""
    gateway_bytes_max: int = 128 << 20
    """Most bytes of request bodies held at once."""
    mail_spare_bytes: int = 64 << 20
    """Intake over HTTP answers busy while the mail stream has less room left (or less than an eighth of it)."""
    disk_spare_bytes: int = 256 << 20
    """Intake over HTTP answers busy while the data directory's disk has less room left."""
    webhooks_private: bool = True
    """Whether webhooks may call addresses of this machine and of private networks. Off: public ones only."""
    webhooks_retry_ms: int = 5_000
    """First pause before a webhook's delivery is tried again; it doubles each time, up to six hours."""

    seal_every_s: int = 300
    """How often `up` signs a checkpoint of the log, where anything is new."""
    witness: str = ""
    """Folder outside of this machine's reach that checkpoints are copied to; "" = none."""
    snapshot_every: int = 50_000
    """Events between two snapshots of the read models that `up` makes for looks back; 0 = it makes none."""
    snapshot_bytes_max: int = 2 << 30
    """Most bytes of all these snapshots; older ones go first."""

    @property
    def path(self) -> Path:
        """The data directory."""
        return Path(self.data)

    @property
    def postgres(self) -> bool:
        """Whether the store is PostgreSQL."""
        return self.store.startswith(("postgresql://", "postgres://"))


def written_settings(file: Path) -> dict[str, object]:
    """Return what a file of settings says, as it stands there; nothing where there is none.

    Raises:
        BadSetting: it is not JSON, or no object.
    """
    try:
        # The mark that Windows editors put before UTF-8 is left out.
        return msgspec.json.decode(file.read_bytes().removeprefix(BOM_UTF8), type=dict[str, object])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{file} is not a JSON object in UTF-8: {error}") from error


def load_settings(data: Path | str, **overrides: str | int | None) -> Settings:
    """Read the settings of a data directory; environment and `overrides` go before its file.

    Raises:
        BadSetting: a value or a name in the file or the environment is not understood.
    """
    file = Path(data) / FILE
    values = written_settings(file)
    for field in Settings.__struct_fields__:
        text = os.environ.get(PREFIX + field.upper())
        if text is not None:
            values[field] = tuple(text.split(",")) if field == "channels" else text
    values.update({name: value for name, value in overrides.items() if value is not None})
    values["data"] = str(data)
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{file} or {PREFIX}…: {error}") from error
    if not settings.cell.replace("_", "").isalnum() or not settings.cell.isascii():
        raise BadSetting(f"cell {settings.cell!r}: use letters, digits and _ only")
    if len(settings.cell) > CELL_CHARS_MAX:
        raise BadSetting(f"cell {settings.cell!r}: {len(settings.cell)} characters; use {CELL_CHARS_MAX} at most")
    try:
        zone_of(settings.zone)
    except ValueError as error:
        raise BadSetting(f"zone: {error}") from error
    if not 0 <= settings.gateway_port <= PORT_MAX:
        raise BadSetting(f"gateway_port {settings.gateway_port}: a number from 0 (any free port) to {PORT_MAX}")
    if settings.gateway_requests_max < 1 or settings.gateway_bytes_max < 1:
        raise BadSetting("gateway_requests_max and gateway_bytes_max: numbers above 0 are needed")
    if settings.webhooks_retry_ms < 1:
        raise BadSetting("webhooks_retry_ms: a number of milliseconds above 0 is needed")
    if settings.seal_every_s < 1:
        raise BadSetting(f"seal_every_s {settings.seal_every_s}: a number above 0 is needed")
    if settings.snapshot_every != 0 and settings.snapshot_every < SNAPSHOT_EVERY_MIN:
        raise BadSetting(f"snapshot_every {settings.snapshot_every}: {SNAPSHOT_EVERY_MIN} or more, or 0 for none")
    if settings.snapshot_bytes_max < 1:
        raise BadSetting(f"snapshot_bytes_max {settings.snapshot_bytes_max}: a number above 0 is needed")
    if not (settings.store == "sqlite" or settings.postgres):
        raise BadSetting(f"store {settings.store!r}: say `sqlite` or give a postgresql:// address")
    return settings
