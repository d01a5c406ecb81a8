"""The receivers of a data directory: `notify.json`, read and written like `channels.json`.

Beside the list of receivers it may hold `link`, the address of an order's page with `{order}` in it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from adapters.notify.receivers import BadReceivers, Receiver, check, check_names, parse
from adapters.platforms.connection import Connection
from runners import settings_file
from runners.connection_keys import FileKeys

FILE = "notify.json"


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """What the file holds."""

    receivers: list[Receiver] = []
    link: str = ""
    """Address of an order's page, `{order}` in it stands for the order's name; "" = there is none."""


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    receivers: msgspec.Raw = msgspec.Raw(b"[]")
    link: str = ""


def load(data: Path) -> Told:
    """Return who can be told; nobody where there is no file.

    Raises:
        BadReceivers: the file, or a receiver in it, is not as it must be.
        OSError: it cannot be read.
    """
    file = data / FILE
    raw = settings_file.read(file, BadReceivers, "have themselves told")
    if raw is None:
        return Told()
    try:
        found = msgspec.json.decode(raw, type=_Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadReceivers(f'{file}: {error}; it must be {{"receivers": […], "link": "…"}}') from error
    _check_link(found.link)
    return Told(list(parse(bytes(found.receivers), str(file))), found.link)


@contextlib.contextmanager
def editing(data: Path) -> Iterator[Told]:
    """Hold the file while it is changed; it is checked and written whole at the end, for its owner only.

    Raises:
        BadReceivers: it cannot be used as it is, or would not be as it must be; nothing is written.
    """
    with settings_file.held(data / FILE):
        told = load(data)
        yield told
        for receiver in told.receivers:
            check(receiver)
        check_names(tuple(told.receivers))
        _check_link(told.link)
        settings_file.write(data / FILE, told)


def keys_of(data: Path, receiver: Receiver) -> FileKeys:
    """Return where a receiver's secrets are read."""
    return FileKeys(data, Connection(receiver.name, "notify", "", secrets=receiver.secrets), what="receiver")


def link_to(link: str, order: str) -> str:
    """Return the address of an order's page."""
    return link.replace("{order}", quote(order, safe=":"))


def _check_link(link: str) -> None:
    if link and ("{order}" not in link or not link.startswith(("http://", "https://"))):
        raise BadReceivers(f"{FILE}: link must be an address such as https://host/orders/{{order}}")
