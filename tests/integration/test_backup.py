"""A backup taken while the log is written is whole, and comes back as a new life of the same history."""

import gzip
import lzma
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from errno import ENOSPC
from functools import partial
from pathlib import Path

import msgspec
import pytest

from adapters.platforms.connection import Connection, Token
from adapters.storage.checkpoints import CheckpointFolder, Signer
from adapters.storage.scan import SqliteScan
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import SqliteVault
from domain.ports import LogDamaged
from runners.audit import Verified, verify
from runners.backup import BackupError, Restored, make_backup, scrub_keys
from runners.backup import restore as bring_back
from runners.bootstrap import KEYS_FILE, LOG_FILE
from runners.cli import run
from runners.connection_keys import FileKeys
from runners.connections import load, save
from runners.history import ERASED, history
from runners.lock import DataLock
from runners.pulling_store import Pulls
from runners.sealer import seal_and_witness, sealing_of
from runners.settings import Settings, load_settings
from tests.audit_log import key_of, make_log, open_story


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_log(tmp_path / "data", 12)
    with DataLock(tmp_path / "data"):
        (tmp_path / "data" / "settings.json").write_text('{"cell": "main", "zone": "Asia/Shanghai"}')
    return tmp_path / "data"


def settings_for(data: Path) -> Settings:
    return load_settings(data)


def checked(data: Path) -> Verified:
    return verify(
        partial(SqliteScan, data / LOG_FILE),
        "main",
        folder=CheckpointFolder(data.with_name(data.name + ".checkpoints")),
        signer=Signer.open(data / "checkpoint_key.pem"),
    )


def restore(backup: Path, data: Path, keys: Path | None) -> Restored:
    return bring_back(backup, data, keys, data.with_name(data.name + ".checkpoints"))


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
def test_a_backup_comes_back_event_for_event(data: Path, tmp_path: Path, name: str) -> None:
    before = checked(data)
    manifest = make_backup(settings_for(data), tmp_path / name, tmp_path / "elsewhere" / "keys")
    assert (manifest.head, manifest.root) == (before.head, before.root)
    restored = restore(tmp_path / name, tmp_path / "again", tmp_path / "elsewhere" / "keys")
    assert ["no register of erasures" in note for note in restored.notes] == [True]
    assert restored.generation != manifest.generation
    after = checked(tmp_path / "again")
    assert after.ok
    assert (after.head, after.root, after.checkpoints) == (before.head, before.root, 1)
    with (
        closing(SqliteEventLog(data / LOG_FILE, read_only=True)) as old,
        closing(SqliteEventLog(tmp_path / "again" / LOG_FILE, read_only=True)) as new,
        closing(SqliteVault(data / KEYS_FILE)) as keys,
        closing(SqliteVault(tmp_path / "again" / KEYS_FILE)) as keys_again,
    ):
        assert new.read(0, 10_000) == old.read(0, 10_000)
        assert new.tracked().epoch > old.tracked().epoch
        assert keys_again.keys([key_of(3)], create=False) == keys.keys([key_of(3)], create=False)
        assert keys_again.digest_key() == keys.digest_key()
    assert load_settings(tmp_path / "again").zone == "Asia/Shanghai"
    for story in open_story(tmp_path / "again"):
        story.tell(3, first=500)
    assert checked(tmp_path / "again").ok


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
def test_connected_shops_come_back_with_how_far_they_were_pulled_and_without_a_token(
    data: Path, tmp_path: Path, name: str
) -> None:
    shop = Connection("flagship", "taobao", "flagship", secrets={"app_secret": "env:TAOBAO_SECRET"})
    save(data, [shop])
    FileKeys(data, shop).keep(Token("access", refresh="refresh"))
    (data / "erp.json").write_text('{"kind": "csv", "folder": "erp"}')
    (data / "notify.json").write_text('{"receivers": []}')
    (data / "wms.json").write_text("[]")
    for services in ("carriers.json", "payments.json"):
        (data / services).write_text("[]")
    with closing(Pulls(data)) as pulls:
        pulls.begin(shop, 1_770_000_000_000, 1_770_000_100_000)
    make_backup(settings_for(data), tmp_path / name, tmp_path / "keys")
    restored = restore(tmp_path / name, tmp_path / "again", tmp_path / "keys")
    again = tmp_path / "again"
    assert load(again) == (msgspec.structs.replace(shop, enabled=False),), "two copies must not act on one shop"
    assert "flagship" in restored.notes[0]
    assert run(["channels", "enable", "flagship", "--data", str(again), "--json"]) == 0
    assert load(again) == (shop,)
    with closing(Pulls(again)) as pulls:
        assert pulls.cursor(shop) == 1_770_000_000_000
    for services in ("carriers.json", "payments.json"):
        assert not (again / services).exists()
        assert (again / f"{services}.off").read_text() == "[]"
    assert (again / "erp.json.off").read_text() == '{"kind": "csv", "folder": "erp"}'
    assert (again / "notify.json.off").exists(), "two copies must not tell people twice"
    assert not (again / "notify.json").exists()
    assert ((again / "wms.json.off").exists(), (again / "wms.json").exists()) == (True, False)
    assert FileKeys(again, shop).token() is None
    for file in (again / "channels.json", again / "pulls.db"):
        assert file.stat().st_mode & 0o077 == 0


def test_a_backup_taken_while_events_are_written_is_one_moment_of_the_log(data: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    rounds = 0

    def write() -> None:
        nonlocal rounds
        for story in open_story(data):
            while not stop.is_set():
                rounds += 1
                story.tell(2, first=rounds * 1_000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        manifests = [
            make_backup(settings_for(data), tmp_path / f"copy{n}", tmp_path / f"copy{n}.keys") for n in range(5)
        ]
    finally:
        stop.set()
        writer.join()
    assert rounds > 1
    for number, manifest in enumerate(manifests):
        place = tmp_path / f"again{number}"
        restore(tmp_path / f"copy{number}", place, tmp_path / f"copy{number}.keys")
        found = verify(
            partial(SqliteScan, place / LOG_FILE),
            "main",
            folder=CheckpointFolder(place.with_name(f"{place.name}.checkpoints")),
            signer=None,
            vault=SqliteVault(place / KEYS_FILE),
            open_blocks=True,
        )
        assert found.ok
        assert (found.head, found.root, found.forgotten) == (manifest.head, manifest.root, 0)
    assert len({manifest.head for manifest in manifests}) > 1


def test_without_keys_the_log_comes_back_and_personal_data_is_missing(data: Path, tmp_path: Path) -> None:
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    restored = restore(tmp_path / "copy", tmp_path / "again", None)
    assert "personal data shows as missing" in restored.notes[0]
    assert not (tmp_path / "again" / KEYS_FILE).exists()
    assert checked(tmp_path / "again").ok
    with (
        closing(SqliteEventLog(tmp_path / "again" / LOG_FILE, read_only=True)) as log,
        closing(SqliteVault(tmp_path / "none.db")) as vault,
    ):
        shown = [entry.personal for entry in history(log, key_of(1), "Asia/Shanghai", vault=vault)]
    assert ERASED in shown


def test_keys_are_apart_and_for_their_owner_only(data: Path, tmp_path: Path) -> None:
    Signer.open(data / "checkpoint_key.pem")
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    assert {file.name for file in (tmp_path / "copy").iterdir()} == {LOG_FILE, "settings.json", "manifest.json"}
    assert (tmp_path / "copy.keys").stat().st_mode & 0o777 == 0o600
    with closing(SqliteVault(data / KEYS_FILE)) as vault:
        (key,) = vault.keys([key_of(1)], create=False).values()
    assert all(key not in file.read_bytes() for file in (tmp_path / "copy").iterdir())
    assert key in (tmp_path / "copy.keys").read_bytes()
    restore(tmp_path / "copy", tmp_path / "again", tmp_path / "copy.keys")
    again = (tmp_path / "again" / "checkpoint_key.pem").read_bytes()
    assert again == (data / "checkpoint_key.pem").read_bytes()


def test_a_restore_replaces_nothing_and_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    with pytest.raises(BackupError, match="not empty"):
        restore(tmp_path / "copy", data, tmp_path / "copy.keys")
    with pytest.raises(BackupError, match="exists already"):
        make_backup(settings_for(data), tmp_path / "copy", tmp_path / "more.keys")
    with pytest.raises(BackupError, match="inside the data directory"):
        make_backup(settings_for(data), data / "copy", tmp_path / "more.keys")
    with pytest.raises(BackupError, match="no backup"):
        restore(tmp_path / "nowhere", tmp_path / "again", None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "copy.keys", "data"]


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("copy.tar", "copy.tar"),
        ("copies/monday", "copies/monday"),
        ("copies/monday", "copies/friday/../monday"),
        ("copies/monday", "copies/monday/keys"),
        ("copies/monday", "copies"),
    ],
)
def test_keys_that_would_not_be_apart_are_refused_before_anything_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, keys: str
) -> None:
    assert run(["backup", str(tmp_path / name), "--keys", str(tmp_path / keys), "--data", str(data)]) == 2
    assert "keys must be kept apart" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_damaged_backup_is_refused(data: Path, tmp_path: Path) -> None:
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    file = tmp_path / "copy" / LOG_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    with pytest.raises(BackupError, match=r"log\.db is not the file"):
        restore(tmp_path / "copy", tmp_path / "again", None)
    file.unlink()
    with pytest.raises(BackupError, match=r"log\.db is missing"):
        restore(tmp_path / "copy", tmp_path / "again", None)
    assert not (tmp_path / "again").exists()


def test_what_is_no_backup_at_all_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a backup")
    with pytest.raises(BackupError) as told:
        restore(tmp_path / "notes.txt", tmp_path / "again", None)
    assert "notes.txt is no file that `orderspine backup` made, or damaged" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("packed", [gzip.compress, lzma.compress])
def test_half_of_a_compressed_backup_is_told_like_half_of_any_other(
    data: Path, tmp_path: Path, packed: Callable[[bytes], bytes]
) -> None:
    make_backup(settings_for(data), tmp_path / "copy.tar", tmp_path / "copy.keys")
    whole = packed((tmp_path / "copy.tar").read_bytes())
    (tmp_path / "whole").write_bytes(whole)
    restore(tmp_path / "whole", tmp_path / "first", None)
    for content in (whole[:100], whole[: len(whole) // 2]):
        (tmp_path / "half").write_bytes(content)
        with pytest.raises(BackupError, match="half is no file that `orderspine backup` made, or damaged"):
            restore(tmp_path / "half", tmp_path / "again", None)
        with pytest.raises(BackupError, match="or damaged"):
            scrub_keys(tmp_path / "half", [], rewrite=False)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
def test_a_backup_that_fails_leaves_no_keys_behind(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(path: Path) -> None:
        if path.name == LOG_FILE:
            raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("runners.backup.sync", full)
        with pytest.raises(OSError, match="No space"):
            make_backup(settings_for(data), tmp_path / name, tmp_path / "copy.keys")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    make_backup(settings_for(data), tmp_path / name, tmp_path / "copy.keys")


def test_what_a_killed_one_left_goes_with_the_next_of_the_same_place(data: Path, tmp_path: Path) -> None:
    make = f"""
import os, signal
from pathlib import Path
import runners.backup as backup
from runners.settings import load_settings
backup.sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
place = Path({str(tmp_path)!r})
backup.make_backup(load_settings(place / "data"), place / "copy", place / "k[e]ys")
"""
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", make], check=False).returncode == -signal.SIGKILL
        left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
        assert len(left) == 2, "of the copy and of the keys, and none of the time before"
        (tmp_path / "k[e]ys").unlink(missing_ok=True)
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "k[e]ys")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "data", "k[e]ys"]


def test_a_log_with_missing_events_is_not_backed_up(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / LOG_FILE)) as db:
        db.execute("DELETE FROM events WHERE position = 5")
        db.commit()
    with pytest.raises(LogDamaged, match="positions are missing"):
        make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "copy.keys").exists()


def test_the_checkpoints_of_the_old_life_still_hold_after_a_restore_on_the_spot(data: Path, tmp_path: Path) -> None:
    first = checked(data)
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    for story in open_story(data):
        story.tell(3, first=700)
    lost = checked(data)
    assert lost.head > first.head
    data.rename(tmp_path / "broken")
    restore(tmp_path / "copy", data, tmp_path / "copy.keys")
    found = checked(data)
    assert found.ok
    assert found.checkpoints == 2
    assert "behind the point this log was restored to" in found.notes[0]
    with closing(sqlite3.connect(data / LOG_FILE)) as db:
        db.execute("UPDATE cell SET generation = 'made-up'")
        db.commit()
    assert {problem.kind for problem in checked(data).problems} == {"generation"}


def test_a_restore_that_was_given_up_for_another_one_is_no_change_of_the_log(data: Path, tmp_path: Path) -> None:
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    data.rename(tmp_path / "broken")
    restore(tmp_path / "copy", data, None)
    data.rename(tmp_path / "without-keys")
    restore(tmp_path / "copy", data, tmp_path / "copy.keys")
    found = checked(data)
    assert found.problems == []
    assert found.notes == ["1 checkpoint(s) lie behind the point this log was restored to"]
    data.rename(tmp_path / "second")
    (tmp_path / "without-keys").rename(data)  # the log was set back to a life that had been given up
    assert {problem.kind for problem in checked(data).problems} == {"generation"}


def test_a_copy_that_is_tried_out_puts_nothing_into_the_witness(data: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    witness.mkdir()
    (data / "settings.json").write_text(f'{{"cell": "main", "witness": "{witness}", "seal_every_s": 60}}')
    seal_and_witness(sealing_of(settings_for(data)), settings_for(data))
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    restored = restore(tmp_path / "copy", tmp_path / "tried", tmp_path / "copy.keys")
    assert any(f"the witness {witness} does not follow from here" in note for note in restored.notes)
    tried = settings_for(tmp_path / "tried")
    assert (tried.witness, tried.seal_every_s) == ("", 60)
    for story in open_story(tmp_path / "tried"):
        story.tell(1, first=800)
    assert seal_and_witness(sealing_of(tried), tried) is not None
    found = verify(
        partial(SqliteScan, data / LOG_FILE), "main", folder=CheckpointFolder(witness), signer=None, vault=None
    )
    assert (found.problems, found.checkpoints) == ([], 1)


def test_a_copy_that_would_work_on_the_same_broker_says_so(data: Path, tmp_path: Path) -> None:
    (data / "settings.json").write_text('{"cell": "main", "broker": "nats://me:secret@mail.example"}')
    make_backup(settings_for(data), tmp_path / "copy", tmp_path / "copy.keys")
    restored = restore(tmp_path / "copy", tmp_path / "tried", tmp_path / "copy.keys")
    (note,) = (each for each in restored.notes if "broker of your own" in each)
    assert "secret" not in note


def test_postgresql_is_told_its_own_way(tmp_path: Path) -> None:
    settings = Settings(str(tmp_path), store="postgresql://localhost/none")
    with pytest.raises(BackupError, match="pg_dump"):
        make_backup(settings, tmp_path / "copy", tmp_path / "copy.keys")


def test_the_verbs_say_what_happened(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["backup", str(tmp_path / "copy.tar"), "--data", str(data)]) == 0
    assert "Move it to another place" in capsys.readouterr().err
    again = str(tmp_path / "again")
    assert run(["restore", str(tmp_path / "copy.tar"), "--data", again]) == 0
    assert "personal data shows as missing" in capsys.readouterr().err
    assert run(["restore", str(tmp_path / "copy.tar"), "--data", again]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert run(["audit", "verify", "--data", again]) == 0
