"""Two ways to an ERP: files in a folder it reads, and requests to an address it answers at.

Both may be told the same twice: a file's name and a request's key name the telling for ever.
"""

import asyncio
import csv
import io
import os
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from adapters.erp.fields import FIELDS, ErpRecord, rows
from adapters.platforms.http import Answer, Http
from domain.platforms import NotAuthorised, PlatformBusy, PlatformRefused

WORDS = frozenset({"paid", "shipped", "completed", "cancelled", "refunded"})
"""What an ERP can be told of an order."""
_OK = range(200, 300)


class BadErp(ValueError):
    """The settings of the ERP mean nothing: which one, and what to do."""


class ErpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`erp.json` in the data directory."""

    kind: Literal["csv", "http"]
    folder: str = ""
    """csv: where files are put; relative ones begin at the data directory."""
    url: str = ""
    """http: where records are posted."""
    tells: tuple[str, ...] = ("paid", "shipped", "cancelled")
    """What it is told, of `WORDS`."""
    names: dict[str, str] = {}
    """Our field → the ERP's name of it."""
    limits: dict[str, int] = {}
    """Our field → the most characters the ERP keeps; what is longer is refused, never cut."""
    encoding: Literal["utf-8-sig", "utf-8", "gb18030"] = "utf-8-sig"
    """csv: of the file; spreadsheets of the usual kind want `utf-8-sig` or `gb18030`."""
    secrets: dict[str, str] = {}
    """http: `token` → `env:VARIABLE` or `file:PATH`; sent as `Authorization: Bearer`."""


def read_settings(raw: bytes, place: str) -> ErpSettings:
    """Read `erp.json`.

    Raises:
        BadErp: it means nothing.
    """
    try:
        settings = msgspec.json.decode(raw, type=ErpSettings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadErp(f"{place}: {error}") from error
    if settings.kind == "csv" and not settings.folder:
        raise BadErp(f"{place}: kind csv needs the folder the files are put into")
    if settings.kind == "http" and not settings.url.startswith(("http://", "https://")):
        raise BadErp(f"{place}: kind http needs an url that begins with http:// or https://")
    for what, given, known in (
        ("tells", set(settings.tells), WORDS),
        ("names", set(settings.names), set(FIELDS)),
        ("limits", set(settings.limits), set(FIELDS)),
    ):
        if strange := given - known:
            raise BadErp(f"{place}: {what} holds {', '.join(sorted(strange))}; known are {', '.join(sorted(known))}")
    columns = [settings.names.get(field, field) for field in FIELDS]
    if len(set(columns)) != len(columns):
        twice = sorted({name for name in columns if columns.count(name) > 1})
        raise BadErp(f"{place}: two fields are named {', '.join(twice)}; one would overwrite the other")
    return settings


class Outlet(Protocol):
    """A way to an ERP."""

    async def tell(self, record: ErpRecord) -> str:
        """Tell it; return its reference, "" where it gives none. Telling the same twice is harmless.

        Raises:
            PlatformError: see its kinds.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class CsvFolder:
    """A file for each telling, complete from the moment it has its name."""

    def __init__(self, folder: Path, settings: ErpSettings) -> None:
        """Nothing is written yet."""
        self._folder = folder
        self._settings = settings

    async def tell(self, record: ErpRecord) -> str:
        """Write the file; its name is the reference."""
        found = rows(record, self._settings.names, self._settings.limits)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [self._settings.names.get(field, field) for field in FIELDS])
        writer.writeheader()
        writer.writerows({name: harmless(value) for name, value in row.items()} for row in found)
        try:
            content = text.getvalue().encode(self._settings.encoding)
        except UnicodeEncodeError as error:
            raise PlatformRefused(
                f"{error.object[error.start : error.end]!r} cannot be written in {error.encoding}",
                "set the encoding in erp.json to utf-8-sig",
                code="encoding",
            ) from None
        name = f"{record.status}-{sha256(record.key.encode()).hexdigest()[:24]}.csv"
        try:
            await asyncio.to_thread(_write, self._folder, name, content)
        except OSError as error:
            raise PlatformBusy(f"the ERP's folder cannot be written to: {error.strerror or error}") from None
        return name

    async def close(self) -> None:
        """Do nothing."""


class HttpOutlet:
    """A request for each telling: `{"key": …, "rows": [{field: value, …}, …]}`, and the key as `Idempotency-Key`."""

    def __init__(self, settings: ErpSettings, token: str) -> None:
        """Nothing is sent yet; call it in a running event loop."""
        self._settings = settings
        self._http = Http(settings.url, per_s=20, burst=20)
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})

    async def tell(self, record: ErpRecord) -> str:
        """Post the record; the answer's `reference` is the reference, where there is one."""
        found = rows(record, self._settings.names, self._settings.limits)
        key = sha256(record.key.encode()).hexdigest()[:32]
        content = msgspec.json.encode({"key": key, "rows": found})
        answer = await self._http.call(
            "POST", "", headers={**self._headers, "idempotency-key": key}, content=content, repeatable=True
        )
        if answer.status in (401, 403):
            raise NotAuthorised(f"the ERP answered {answer.status}", "put a good token where erp.json says it is")
        if answer.status not in _OK:
            raise PlatformRefused(f"the ERP answered {answer.status}", "ask whoever runs it", code=str(answer.status))
        return _reference(answer)

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()


def _reference(answer: Answer) -> str:
    try:
        found = msgspec.json.decode(answer.body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return str(found.get("reference", ""))[:200]


def harmless(value: str) -> str:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(value) else value


def _is_number(value: str) -> bool:
    return value.removeprefix("-").replace(".", "", 1).isdigit()


def _write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{name}.part"
    with fresh.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(folder / name)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
