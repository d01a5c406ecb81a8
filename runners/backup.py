"""Backup and restore of a data directory: the log with its payloads in one place, the keys in another.

A backup is taken while everything runs. Read models, feeds and documents are not in it: they are made again from the
log. A restored log begins a new generation, so that whoever followed the old one begins anew, and a signed checkpoint
says where it came from.
"""

import fcntl
import os
import shutil
import sqlite3
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from glob import escape
from gzip import BadGzipFile
from hashlib import file_digest
from lzma import LZMAError
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from adapters.carriers.settings import FILE as CARRIERS_FILE
from adapters.payments.settings import FILE as PAYMENTS_FILE
from adapters.storage.checkpoints import Checkpoint, CheckpointFolder, Signer
from adapters.storage.durable import sync
from adapters.storage.schema import running_build
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import SqliteVault
from adapters.wms.settings import FILE as WMS_FILE
from domain.merkle import Frontier
from domain.ports import LogDamaged
from domain.privacy import ForgettingAsked, streams_of
from runners import settings_file
from runners.audited import SIGNING_KEY_FILE
from runners.bootstrap import KEYS_FILE, LOG_FILE
from runners.connections import FILE as CONNECTIONS_FILE
from runners.connections import BadConnections, editing
from runners.effects_erp import ERP_FILE
from runners.erasures import destroy, destroy_again, register_of, repeat_all
from runners.lock import DataLock
from runners.pulling_store import FILE as PULLS_FILE
from runners.receivers import FILE as RECEIVERS_FILE
from runners.settings import FILE as SETTINGS_FILE
from runners.settings import BadSetting, Settings, written_settings
from runners.webhooks_store import FILE as WEBHOOKS_FILE

MANIFEST_FILE = "manifest.json"
FORMAT = 1
_LEAVES_PAGE = 20_000
_UNFINISHED = ".unfinished"
"""How the names of directories end in which something is made."""
_COPIED = (
    SETTINGS_FILE,
    CONNECTIONS_FILE,
    ERP_FILE,
    RECEIVERS_FILE,
    WMS_FILE,
    CARRIERS_FILE,
    PAYMENTS_FILE,
)
"""Plain files that are part of a backup where they are there. They hold no secret, only where secrets are."""
_LOOSE = {LOG_FILE, PULLS_FILE, WEBHOOKS_FILE, MANIFEST_FILE, *_COPIED}
_KEYS = {KEYS_FILE, SIGNING_KEY_FILE}


class BackupError(Exception):
    """A backup that cannot be made or used: why, and what to do."""


class NoPlace(BackupError):
    """A place was named that is none: something is there already, nothing is there, or it may not be used."""


class FileOf(msgspec.Struct, frozen=True):
    """One file of a backup."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """What a backup is, and how to know that it is whole."""

    format: int
    build: str
    """Version of the program that made it."""
    cell: str
    generation: str
    head: int
    """Position of the last event."""
    root: str
    """Merkle root over the leaves, hex."""
    at_ms: int
    """When it was made, UTC ms."""
    files: dict[str, FileOf]
    keys: FileOf | None
    """The keys file made with it, which is kept elsewhere; None where there were no keys."""


class Restored(msgspec.Struct, frozen=True):
    """What a restore made."""

    manifest: Manifest
    generation: str
    """New life of the log."""
    checkpoint: str
    """File that says so, signed."""
    keys: bool
    notes: list[str]


def make_backup(settings: Settings, target: Path, keys: Path) -> Manifest:
    """Copy the log into `target` (a new directory, or a new file where the name ends in `.tar`), the keys into `keys`.

    Raises:
        BackupError: something is in the way, or the store is not SQLite.
        LogDamaged: the log does not hold what its row says.
    """
    if settings.postgres:
        raise BackupError(
            "the log is in PostgreSQL: use its own tools, the keys apart from the rest. "
            f"`pg_dump --format=custom --schema={settings.cell}_log --file=log.dump DATABASE`, then "
            f"`pg_dump --format=custom --schema={settings.cell}_keys --file=keys.dump DATABASE` kept elsewhere; "
            "docs/operations.md has the way back"
        )
    at, keys_at = target.resolve(), keys.resolve()
    if at.is_relative_to(keys_at) or keys_at.is_relative_to(at):
        raise NoPlace(
            f"keys must be kept apart from the backup, and {keys} is the same place as {target}, or one is inside the "
            "other. Name another place for the keys"
        )
    for path in (target, keys):
        if path.exists() and not (path is target and path.is_dir() and not any(path.iterdir())):
            raise NoPlace(f"{path} exists already; a backup never replaces anything. Name another place")
        if path.resolve().is_relative_to(settings.path.resolve()):
            raise NoPlace(f"{path} is inside the data directory; a copy there is lost with it")
    target.parent.mkdir(parents=True, exist_ok=True)
    keys.parent.mkdir(parents=True, exist_ok=True)
    with _workplace(target) as work, ExitStack() as undone:
        # Before the log: what the cursors and positions promise must be in it.
        for name in (PULLS_FILE, WEBHOOKS_FILE):
            _copy_database(settings.path / name, work / name)
        copy = work / LOG_FILE
        with closing(SqliteEventLog(settings.path / LOG_FILE, read_only=True)) as log:
            log.backup_to(copy)
        for name in _COPIED:
            if (settings.path / name).exists():
                shutil.copyfile(settings.path / name, work / name)
        generation, head, root = _summary(copy)
        # After the log: keys are durable before the events that need them, so none can be missing.
        kept = _copy_keys(settings.path, keys)
        undone.callback(keys.unlink, missing_ok=True)  # keys of no backup: nobody would know that they are there
        files = {file.name: _file_of(file) for file in sorted(work.iterdir())}
        now_ms = time.time_ns() // 1_000_000
        manifest = Manifest(FORMAT, running_build(), settings.cell, generation, head, root, now_ms, files, kept)
        (work / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        for file in work.iterdir():
            sync(file)
        if target.suffix == ".tar":
            _pack(work, sorted(work.iterdir(), key=lambda file: file.name != MANIFEST_FILE), target, 0o600)
        else:
            if target.exists():
                target.rmdir()
            work.rename(target)
            sync(target.parent)
        undone.pop_all()
    return manifest


def restore(backup: Path, data: Path, keys: Path | None, checkpoints: Path, erasures: Path | None = None) -> Restored:
    """Bring a backup back into a new data directory, as a new generation of the log.

    Before anybody can serve it, whoever was forgotten is forgotten here too: by the log, and by the register
    `erasures` (by default the one in `checkpoints`), which also knows of requests that came after the backup. The
    register in `checkpoints` tells of all of them afterwards.

    Raises:
        BackupError: the directory is not empty, or the backup is not whole.
        LogDamaged: the log in it is not the one its manifest names.
        DataUnreadable: the place cannot be written.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise NoPlace(f"{data} is not empty; restore into a new directory, then move it where you want it")
    data.parent.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    with _workplace(data) as work:
        manifest = _unpacked(backup, work)
        _check_whole(work, manifest)
        for file in work.iterdir():
            file.chmod(0o600)
        if keys is not None:
            _bring_keys(keys, work, manifest, notes)
        elif manifest.keys is not None:
            notes.append(
                "the keys were not given: personal data shows as missing. To have it, restore again with --keys before "
                "anything new is taken in: `up` makes new keys where it finds none"
            )
        if off := _switched_off(work):
            notes.append(
                f"the shops ({', '.join(off)}) are switched off here, so that two copies do not act on them: "
                "`orderspine channels enable NAME` when this is the copy to go on with"
            )
        _keep_apart(work / SETTINGS_FILE, notes)
        for name, who in (
            (ERP_FILE, "the ERP is not told"),
            (RECEIVERS_FILE, "receivers of notes are not told"),
            (WMS_FILE, "warehouses of others are not told"),
            (CARRIERS_FILE, "track services are neither asked nor heard"),
            (PAYMENTS_FILE, "payment services are not heard"),
        ):
            if (work / name).exists():
                (work / name).rename(work / f"{name}.off")
                notes.append(f"{who} from here: rename {name}.off to {name} in the copy to go on with")
        if (work / WEBHOOKS_FILE).exists():
            # The new generation does it: see `runners.webhooks`.
            notes.append(
                "subscribers of webhooks are paused here: `orderspine webhooks resume NAME` in the copy to go on with"
            )
        with DataLock(work):  # writes which build the directory is of
            signer = Signer.open(work / SIGNING_KEY_FILE)
            with closing(SqliteEventLog(work / LOG_FILE)) as log:
                tracked = log.begin_generation()
                _forget_again(log, work, erasures, register_of(checkpoints, manifest.cell), notes)
        checkpoint = CheckpointFolder(checkpoints).write(
            Checkpoint(
                manifest.cell,
                tracked.generation,
                manifest.head,
                manifest.root,
                time.time_ns() // 1_000_000,
                tracked.epoch,
                tracked.incarnation,
                tracked.position,
                manifest.generation,
            ),
            signer,
        )
        if data.exists():
            data.rmdir()
        work.rename(data)
        sync(data.parent)
    return Restored(manifest, tracked.generation, str(checkpoint), keys is not None, notes)


def _forget_again(log: SqliteEventLog, work: Path, given: Path | None, own: Path, notes: list[str]) -> None:
    """Record who was forgotten after the backup, here and in the register, and destroy the keys of all forgotten."""
    file = given or own
    if not file.exists():
        notes.append(
            f"there is no register of erasures at {file}: whoever was forgotten after this backup was made is not "
            "forgotten here. If there is a copy of it, restore again with --erasures before you serve this one"
        )
    fresh = repeat_all(log, file, own)
    if fresh:
        notes.append(f"{fresh} person(s) who were forgotten after this backup was made are forgotten here too")
    if (work / KEYS_FILE).exists():
        with closing(SqliteVault(work / KEYS_FILE)) as vault:
            destroyed = destroy_again(log, vault)
        if destroyed:
            notes.append(f"{destroyed} key(s) of forgotten persons came back with the keys and were destroyed again")


def _summary(log_file: Path) -> tuple[str, int, str]:
    """Return generation, head and root of a log."""
    frontier = Frontier()
    with closing(sqlite3.connect(log_file)) as db:
        generation, head = db.execute("SELECT generation, head FROM cell").fetchone()
        leaves = db.execute("SELECT position, leaf FROM events ORDER BY position")
        while page := leaves.fetchmany(_LEAVES_PAGE):
            if page[-1][0] != frontier.size + len(page):
                raise LogDamaged(f"positions are missing before {page[-1][0]}; run `orderspine audit verify`")
            frontier.extend(leaf for _, leaf in page)
    if frontier.size != head:
        raise LogDamaged(f"the log ends at event {frontier.size}, but should end at {head}")
    return generation, head, frontier.root().hex()


def _switched_off(work: Path) -> list[str]:
    """Switch all connections of a restored directory off; return their names."""
    if not (work / CONNECTIONS_FILE).exists():
        return []
    try:
        with editing(work) as connections:
            connections[:] = [msgspec.structs.replace(each, enabled=False) for each in connections]
            return [each.name for each in connections]
    except BadConnections as error:
        raise BackupError(f"the connected shops in it cannot be used: {error}") from error


def _keep_apart(file: Path, notes: list[str]) -> None:
    """Take out of a restored directory's settings what only one log may use, or say so."""
    try:
        settings = written_settings(file)
    except BadSetting:  # `up` says what is wrong with them
        return
    if witness := settings.pop("witness", ""):
        settings_file.write(file, settings)
        notes.append(
            f"the witness {witness} does not follow from here, so that no second log stands in it: name it again "
            "(`witness` in settings.json, or `up --witness`) in the copy to go on with"
        )
    if settings.get("broker", "embedded") != "embedded":
        notes.append(
            "the settings name a broker of your own: started here, `up` takes over the mail of whoever works on this "
            "cell there as soon as he ends. To try the copy out, change `broker` in its settings.json first"
        )


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database while others use it, as it stands at one moment; nothing where there is none."""
    if source.exists():
        with closing(sqlite3.connect(source, timeout=5)) as found, closing(sqlite3.connect(target)) as copy:
            found.backup(copy)


def _copy_keys(data: Path, target: Path) -> FileOf | None:
    if not (data / KEYS_FILE).exists():
        return None
    with _workplace(target) as work:
        work.chmod(0o700)
        _copy_database(data / KEYS_FILE, work / KEYS_FILE)
        if (data / SIGNING_KEY_FILE).exists():
            shutil.copyfile(data / SIGNING_KEY_FILE, work / SIGNING_KEY_FILE)
        _pack(work, sorted(work.iterdir()), target, 0o600)
    return _file_of(target)


def scrub_keys(keys: Path, asked: Sequence[ForgettingAsked], *, rewrite: bool) -> int:
    """Return how many keys of forgotten persons a copy of the keys holds; with `rewrite` it is replaced by one without.

    Raises:
        BackupError: it is no file of keys.
    """
    if not keys.is_file():
        raise NoPlace(f"{keys} is no file of keys")
    with _workplace(keys) as work:
        work.chmod(0o700)
        _unpack(keys, work, _KEYS)
        if not (work / KEYS_FILE).exists():
            raise BackupError(f"{keys} holds no keys")
        with closing(SqliteVault(work / KEYS_FILE)) as vault:
            there = sum(len(vault.keys(streams_of(each), create=False)) for each in asked)
            if there and rewrite:
                destroy(vault, asked)
        if there and rewrite:
            for name in _KEYS:
                if (work / name).exists():
                    (work / name).chmod(0o600)
            _pack(work, sorted(file for file in work.iterdir() if file.name in _KEYS), keys, 0o600)
    return there


def _bring_keys(keys: Path, work: Path, manifest: Manifest, notes: list[str]) -> None:
    if not keys.is_file():
        raise NoPlace(f"{keys} is no file of keys")
    if manifest.keys is not None and _file_of(keys) != manifest.keys:
        notes.append("these are other keys than those made with this backup: what they do not open shows as missing")
    _unpack(keys, work, _KEYS)
    if not (work / KEYS_FILE).exists():
        raise BackupError(f"{keys} holds no keys")
    SqliteVault(work / KEYS_FILE).close()
    for name in _KEYS:
        if (work / name).exists():
            (work / name).chmod(0o600)


def _unpacked(backup: Path, work: Path) -> Manifest:
    if backup.is_dir():
        for name in _LOOSE:
            if (backup / name).is_file():
                shutil.copyfile(backup / name, work / name)
    elif backup.is_file():
        _unpack(backup, work, _LOOSE)
    else:
        raise NoPlace(f"there is no backup at {backup}")
    manifest_file = work / MANIFEST_FILE
    try:
        manifest = msgspec.json.decode(manifest_file.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise BackupError(f"{backup} has no {MANIFEST_FILE}: it is no backup, or only a part of one") from error
    except msgspec.DecodeError as error:
        raise BackupError(f"the {MANIFEST_FILE} of {backup} is damaged: {error}") from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"{backup} has format {manifest.format} (made by {manifest.build}); this program ({running_build()}) reads "
            f"format {FORMAT}"
        )
    manifest_file.unlink()
    return manifest


def _check_whole(work: Path, manifest: Manifest) -> None:
    if LOG_FILE not in manifest.files:
        raise BackupError("the manifest names no log")
    for name, wanted in manifest.files.items():
        file = work / name
        if name not in _LOOSE or not file.is_file():
            raise BackupError(f"{name} is missing in the backup")
        if _file_of(file) != wanted:
            raise BackupError(f"{name} is not the file the backup was made with: it is damaged or was changed")
    found = _summary(work / LOG_FILE)
    if found != (manifest.generation, manifest.head, manifest.root):
        raise LogDamaged(f"the log in the backup is {found}, its manifest says {manifest.head} and {manifest.root}")


def _file_of(path: Path) -> FileOf:
    with path.open("rb") as file:
        return FileOf(file_digest(file, "sha256").hexdigest(), path.stat().st_size)


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Give a directory beside `target`, on its file system; what is left of it at the end is removed.

    So is what one for the same place left that was killed: copies of keys may be in it.
    """
    for left in target.parent.glob(f".{escape(target.name)}.*{_UNFINISHED}"):
        with _held(left) as ours:
            if ours:
                shutil.rmtree(left, ignore_errors=True)
    work = Path(mkdtemp(prefix=f".{target.name}.", suffix=_UNFINISHED, dir=target.parent))
    with _held(work):
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _held(place: Path) -> Iterator[bool]:
    """Hold a directory while it is worked in; False = somebody else does."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _pack(work: Path, files: list[Path], target: Path, mode: int) -> None:
    fresh = work / "packed"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as out:
        with tarfile.open(fileobj=out, mode="w") as tar:
            for file in files:
                tar.add(file, arcname=file.name)
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(target)
    sync(target.parent)


def _unpack(archive: Path, work: Path, names: set[str]) -> None:
    """Take the files of these names out of an archive, compressed or not; whatever else is in it stays there."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isfile() and member.name in names else None
                if source is not None:
                    with source, (work / member.name).open("wb") as out:
                        shutil.copyfileobj(source, out)
    except (tarfile.TarError, EOFError, zlib.error, BadGzipFile, LZMAError) as error:
        reason = str(error).partition(":")[0]  # behind it stands, a line for each, which forms it has not
        raise BackupError(f"{archive} is no file that `orderspine backup` made, or damaged: {reason}") from error
