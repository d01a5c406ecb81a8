"""The warehouses of a data directory: `wms.json` read, checked, changed; and their clients."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from adapters.platforms.connection import Connection
from adapters.wms.client import QimenWms
from adapters.wms.settings import FILE, SECRET, BadWms, WmsSettings, check, parse
from runners import settings_file
from runners.connection_keys import FileKeys


def load(data: Path) -> tuple[WmsSettings, ...]:
    """Return the warehouses of a data directory; none where there is no file.

    Raises:
        BadWms: the file is not as it must be.
        OSError: it cannot be read.
    """
    raw = settings_file.read(data / FILE, BadWms, "have goods sent to them")
    return () if raw is None else parse(raw, str(data / FILE))


@contextlib.contextmanager
def editing(data: Path) -> Iterator[list[WmsSettings]]:
    """Hold the file while it is changed; it is checked and written at the end.

    Raises:
        BadWms: it cannot be used as it is, or would not be as it must be; nothing is written.
    """
    with settings_file.held(data / FILE):
        found = list(load(data))
        yield found
        save(data, found)


def save(data: Path, found: list[WmsSettings]) -> None:
    """Write the file whole, or not at all; only its owner can read it.

    Raises:
        BadWms: a warehouse is not as it must be; nothing is written.
    """
    check(found, str(data / FILE))
    settings_file.write(data / FILE, found)


def secret_of(data: Path, settings: WmsSettings) -> str:
    """Return the secret of signatures.

    Raises:
        MissingSecret: it is not where the settings say.
    """
    keys = FileKeys(data, Connection(settings.name, "wms", settings.name, secrets={SECRET: settings.secret}))
    return keys.secret(SECRET)


def client_of(data: Path, settings: WmsSettings, now_ms: Callable[[], int], *, timeout_s: float = 15.0) -> QimenWms:
    """Return a client. Close it."""
    return QimenWms(settings, lambda: secret_of(data, settings), now_ms, timeout_s=timeout_s)
