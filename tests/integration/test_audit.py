"""The audit finds every change of a log, and says where."""
# ruff: noqa: S608 - the tests name their own columns

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.storage.checkpoints import Checkpoint, CheckpointError, CheckpointFolder, Signer
from adapters.storage.scan import SqliteScan, Unreadable
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import SqliteVault
from domain.privacy import ForgettingAsked
from domain.proof import leaf_hash
from runners.audit import Verified, Witness, verify
from runners.erasures import Erasure, repeat
from runners.lock import DataLock
from runners.verify_export import Unusable, read_key
from tests.audit_log import key_of, make_log, open_story
from tests.integration.running import orderspine

ORDERS = 30


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a verified log, and its checkpoints beside it."""
    data = tmp_path_factory.mktemp("honest") / "data"
    make_log(data, ORDERS)
    verified = check(data)
    assert verified.ok
    assert Path(verified.written).exists()
    return data


@pytest.fixture
def data(honest: Path, tmp_path: Path) -> Path:
    """A copy to maltreat."""
    shutil.copytree(honest, tmp_path / "data")
    shutil.copytree(honest.with_name("data.checkpoints"), tmp_path / "data.checkpoints")
    return tmp_path / "data"


def folder_of(data: Path) -> CheckpointFolder:
    return CheckpointFolder(data.with_name(data.name + ".checkpoints"))


def check(data: Path, *, sign: bool = True, open_blocks: bool = False, witnesses: tuple[Witness, ...] = ()) -> Verified:
    vault = SqliteVault(data / "keys.db")
    try:
        return verify(
            partial(SqliteScan, data / "log.db"),
            "main",
            folder=folder_of(data),
            signer=Signer.open(data / "checkpoint_key.pem") if sign else None,
            vault=vault,
            open_blocks=open_blocks,
            witnesses=witnesses,
        )
    finally:
        vault.close()


def change(data: Path, *statements: str, **values: object) -> None:
    """Change the log with SQL, as an intruder would."""
    with closing(sqlite3.connect(data / "log.db")) as db:
        for statement in statements:
            assert db.execute(statement, values).rowcount != 0, statement
        db.commit()


def mend_leaves(data: Path, first: int = 1) -> None:
    """Compute leaves anew, as an intruder who knows how would."""
    with closing(sqlite3.connect(data / "log.db")) as db:
        rows = db.execute("SELECT position, stream, version, tag, envelope, data, sealed FROM events").fetchall()
        for position, stream, version, tag, envelope, data_, sealed in rows:
            if position >= first:
                leaf = leaf_hash(position, stream, version, tag, envelope, data_, sealed or b"")
                db.execute("UPDATE events SET leaf = ? WHERE position = ?", (leaf, position))
        db.commit()


def put_head_right(data: Path) -> None:
    change(data, "UPDATE cell SET head = (SELECT max(position) FROM events)")


def kinds(verified: Verified) -> set[str]:
    return {problem.kind for problem in verified.problems}


def stream_at(data: Path, position: int) -> str:
    with closing(sqlite3.connect(data / "log.db")) as db:
        return str(db.execute("SELECT stream FROM events WHERE position = ?", (position,)).fetchone()[0])


def head_of(data: Path) -> int:
    with closing(sqlite3.connect(data / "log.db")) as db:
        return int(db.execute("SELECT max(position) FROM events").fetchone()[0])


def position_of(data: Path, stream: str, version: int) -> int:
    with closing(sqlite3.connect(data / "log.db")) as db:
        found = db.execute("SELECT position FROM events WHERE stream = ? AND version = ?", (stream, version))
        return int(found.fetchone()[0])


def test_an_honest_log_passes_again_and_again(data: Path) -> None:
    again = check(data)
    assert again.ok
    assert (again.checkpoints, again.written) == (1, "")
    for story in open_story(data):
        story.tell(5, first=100)
    later = check(data, open_blocks=True)
    assert later.ok
    assert later.written
    assert later.head > again.head
    assert later.opened > 0
    assert check(data).checkpoints == 2
    leaves = folder_of(data).leaves(later.generation)
    assert leaves.count == later.head
    root = leaves.root(later.head)
    assert root is not None
    assert root.hex() == later.root


EDITS = [
    "UPDATE events SET data = CAST(replace(CAST(data AS TEXT), '990', '991') AS BLOB) WHERE position = :at",
    """UPDATE events SET envelope = CAST(replace(CAST(envelope AS TEXT), '"at":1', '"at":2') AS BLOB)
    WHERE position = :at""",
    "UPDATE events SET tag = 'order.amended' WHERE position = :at",
    "UPDATE events SET stream = stream || '0' WHERE position = :at",
    "UPDATE events SET version = version + 1000 WHERE position = :at",
    "UPDATE events SET sealed = NULL WHERE position = :at",
    "UPDATE events SET sealed = zeroblob(60) WHERE position = :at",
    "UPDATE events SET leaf = zeroblob(32) WHERE position = :at",
    "UPDATE events SET leaf = x'00' WHERE position = :at",
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_event_is_found_and_named(data: Path, edit: str) -> None:
    position = position_of(data, key_of(8), 2)
    change(data, edit, at=position)
    found = check(data)
    assert any(problem.position == position for problem in found.problems)
    assert any(key_of(8) in problem.stream for problem in found.problems)
    assert found.written == ""


@pytest.mark.parametrize("edit", [EDITS[i] for i in (0, 1, 2, 5, 6)])
def test_an_edit_with_a_mended_leaf_is_found_by_the_checkpoint_and_named(data: Path, edit: str) -> None:
    position = position_of(data, key_of(8), 2)
    change(data, edit, at=position)
    mend_leaves(data, position)
    found = check(data)
    assert "checkpoint" in kinds(found)
    assert [(problem.position, problem.stream) for problem in found.problems if problem.kind == "changed"] == [
        (position, key_of(8))
    ]


def test_a_deleted_event_is_found(data: Path) -> None:
    position = position_of(data, key_of(8), 2)
    change(data, "DELETE FROM events WHERE position = :at", at=position)
    found = check(data)
    assert any(problem.kind == "gap" and problem.position == position for problem in found.problems)
    assert any(problem.kind == "version" and problem.stream == key_of(8) for problem in found.problems)


def test_a_deleted_event_with_everything_behind_it_moved_up_is_found(data: Path) -> None:
    position = position_of(data, key_of(8), 4)
    change(
        data,
        "DELETE FROM events WHERE position = :at",
        "UPDATE events SET position = -position WHERE position > :at",
        "UPDATE events SET position = -position - 1 WHERE position < 0",
        at=position,
    )
    put_head_right(data)
    mend_leaves(data, position)
    found = check(data)
    assert {"checkpoint", "truncated"} <= kinds(found)
    assert min(problem.position for problem in found.problems if problem.kind == "changed") == position


def test_an_inserted_event_is_found(data: Path) -> None:
    position = position_of(data, key_of(8), 2)
    change(
        data,
        "UPDATE events SET position = -position WHERE position >= :at",
        "UPDATE events SET position = 1 - position WHERE position < 0",
        """INSERT INTO events SELECT :at, 'order-taobao:shop1:1', 1, tag, envelope, data, sealed, leaf
        FROM events WHERE position = :at + 1""",
        at=position,
    )
    put_head_right(data)
    mend_leaves(data, position)
    found = check(data)
    assert "checkpoint" in kinds(found)
    assert min(problem.position for problem in found.problems if problem.kind == "changed") == position


def test_an_event_written_behind_the_head_is_found(data: Path) -> None:
    head = head_of(data)
    change(
        data,
        """INSERT INTO events SELECT position + 1, 'order-taobao:shop1:1', 1, tag, envelope, data, sealed, leaf
        FROM events WHERE position = :head""",
        head=head,
    )
    mend_leaves(data, head + 1)
    found = check(data)
    assert [(problem.kind, problem.position) for problem in found.problems] == [("row", head + 1)]


@pytest.mark.parametrize("mended", [False, True])
def test_swapped_events_are_found(data: Path, mended: bool) -> None:
    first, second = position_of(data, key_of(7), 1), position_of(data, key_of(8), 1)
    change(
        data,
        "UPDATE events SET position = -1 WHERE position = :first",
        "UPDATE events SET position = :first WHERE position = :second",
        "UPDATE events SET position = :second WHERE position = -1",
        first=first,
        second=second,
    )
    if mended:
        mend_leaves(data)
    found = check(data)
    wanted = "changed" if mended else "leaf"
    assert {first, second} <= {problem.position for problem in found.problems if problem.kind == wanted}


def test_swapped_events_of_one_stream_break_its_order(data: Path) -> None:
    change(
        data,
        "UPDATE events SET version = -1 WHERE stream = :stream AND version = 1",
        "UPDATE events SET version = 1 WHERE stream = :stream AND version = 2",
        "UPDATE events SET version = 2 WHERE stream = :stream AND version = -1",
        stream=key_of(8),
    )
    assert "version" in kinds(check(data))


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_cut_off_last_events_are_found_though_the_head_was_put_right(data: Path, cut: int) -> None:
    head = head_of(data)
    lost = stream_at(data, head)
    change(data, "DELETE FROM events WHERE position > :left", left=head - cut)
    put_head_right(data)
    found = check(data)
    (problem,) = [problem for problem in found.problems if problem.kind == "truncated"]
    assert problem.position == head - cut + 1
    assert f"{head - cut + 1} to {head} were cut off" in problem.text
    assert lost


def test_orders_cut_off_whole_are_named_by_the_bytes_they_left(data: Path) -> None:
    first = position_of(data, key_of(ORDERS), 1)
    change(data, "DELETE FROM events WHERE position >= :first", first=first)
    put_head_right(data)
    (problem,) = [problem for problem in check(data).problems if problem.kind == "truncated"]
    assert key_of(ORDERS) in problem.text


def test_a_log_without_checkpoints_is_held_against_what_else_has_seen_it(data: Path) -> None:
    shutil.rmtree(folder_of(data).path)
    head = head_of(data)
    change(data, "DELETE FROM events WHERE position > :left", left=head - 3)
    put_head_right(data)
    generation = check(data, sign=False).generation
    found = check(data, witnesses=(Witness("read model orders", generation, head),))
    assert [(problem.kind, problem.position) for problem in found.problems] == [("truncated", head - 2)]


ROWS = [
    "head = head + 1",
    "head = head - 1",
    "generation = 'other'",
    "position = position - 1",
    "position = 0",
    "at_ms = at_ms + 1",
    "digest = x'00'",
    "epoch = 0",
]


@pytest.mark.parametrize("setting", ROWS)
def test_a_changed_tracked_row_is_found(data: Path, setting: str) -> None:
    change(data, f"UPDATE cell SET {setting}")
    assert kinds(check(data)) & {"row", "truncated", "generation"}


def test_a_changed_or_missing_payload_is_found_with_its_order(data: Path) -> None:
    change(data, "UPDATE payloads SET sealed = zeroblob(50) WHERE stream = :stream", stream=key_of(4))
    change(data, "DELETE FROM payloads WHERE stream = :stream", stream=key_of(5))
    change(data, "UPDATE payloads SET stream = 'order-x:y:z' WHERE stream = :stream", stream=key_of(6))
    found = check(data)
    assert {problem.stream for problem in found.problems if problem.kind == "payload"} >= {
        key_of(4),
        key_of(5),
        key_of(6),
    }


def forget(data: Path, number: int, *, recorded: bool) -> None:
    """Destroy an order's key, as a request on record does, or as somebody with all rights can."""
    if recorded:
        log = SqliteEventLog(data / "log.db")
        asked = ForgettingAsked("ask-1", "customer", "asked by phone", "li.wei", "service", (key_of(number),))
        with closing(log):
            repeat(log, [Erasure(asked, 1)], 1)
    with closing(SqliteVault(data / "keys.db")) as vault:
        vault.destroy([key_of(number)])


def test_a_payload_of_somebody_who_was_forgotten_may_be_missing(data: Path) -> None:
    forget(data, 5, recorded=True)
    change(data, "DELETE FROM payloads WHERE stream = :stream", stream=key_of(5))
    found = check(data, open_blocks=True)
    assert found.ok
    assert found.forgotten > 1
    assert not found.notes


def test_keys_that_are_gone_without_a_request_hide_no_missing_payload(data: Path) -> None:
    forget(data, 5, recorded=False)
    found = check(data, open_blocks=True)
    assert found.ok
    assert f"in them: {key_of(5)}." in found.notes[0]
    change(data, "DELETE FROM payloads WHERE stream = :stream", stream=key_of(5))
    found = check(data)
    assert {(problem.kind, problem.stream) for problem in found.problems} == {("payload", key_of(5))}
    assert "does not say that anybody was forgotten" in found.problems[0].text


def test_opening_finds_a_block_sealed_for_another(data: Path) -> None:
    shutil.rmtree(folder_of(data).path)
    one, other = position_of(data, key_of(8), 2), position_of(data, key_of(7), 2)
    change(
        data,
        "UPDATE events SET sealed = (SELECT sealed FROM events WHERE position = :other) WHERE position = :one",
        one=one,
        other=other,
    )
    mend_leaves(data, one)
    assert check(data, sign=False).ok
    (problem,) = check(data, sign=False, open_blocks=True).problems
    assert (problem.kind, problem.position, problem.stream) == ("sealed", one, key_of(8))


def test_a_forged_or_damaged_checkpoint_is_found(data: Path) -> None:
    (file,) = folder_of(data).path.glob("*.checkpoint.json")
    checkpoint = msgspec.json.decode(file.read_bytes(), type=Checkpoint)
    forged = msgspec.structs.replace(checkpoint, position=checkpoint.position - 1)
    file.write_bytes(msgspec.json.encode(forged))
    (problem,) = check(data, sign=False).problems
    assert "wrong signature" in problem.text
    file.write_bytes(b"{")
    (problem,) = check(data, sign=False).problems
    assert "damaged" in problem.text


def test_a_key_of_a_kind_that_nobody_knows_is_told_like_a_damaged_one(data: Path) -> None:
    key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAVUDQgAE" + "A" * 86 + "=="  # a curve that there is not
    pem = f"-----BEGIN PUBLIC KEY-----\n{key[:64]}\n{key[64:]}\n-----END PUBLIC KEY-----\n"
    (folder_of(data).path / "other.public.pem").write_text(pem)
    (problem,) = check(data).problems
    assert (problem.kind, "other.public.pem is damaged" in problem.text) == ("checkpoint", True)
    with pytest.raises(Unusable, match="cannot be read"):
        read_key(folder_of(data).path / "other.public.pem")
    (data / "checkpoint_key.pem").write_text(pem)
    with pytest.raises(CheckpointError, match="holds no readable key"):
        Signer.open(data / "checkpoint_key.pem")


@pytest.mark.parametrize("sign", [True, False])
def test_a_folder_that_cannot_be_written_is_compared_with_and_left_as_it_is(
    data: Path, monkeypatch: pytest.MonkeyPatch, sign: bool
) -> None:
    folder = folder_of(data)
    for file in folder.path.glob("*.[ln]*es"):  # an auditor took no leaves and no names along
        file.unlink()
    before = sorted(folder.path.iterdir())
    monkeypatch.setattr("os.access", lambda place, _: place != folder.path)
    monkeypatch.setattr(Path, "open", read_only(folder.path, Path.open))
    change(data, "UPDATE events SET data = CAST(data || ' ' AS BLOB) WHERE position = 7")
    mend_leaves(data, 7)
    assert "checkpoint" in kinds(check(data, sign=sign))
    change(data, "UPDATE events SET data = CAST(rtrim(data) AS BLOB) WHERE position = 7")
    mend_leaves(data, 7)
    found = check(data, sign=sign)
    assert (found.ok, found.checkpoints, found.written) == (True, 1, "")
    assert [note for note in found.notes if "cannot be written" in note] == found.notes
    assert len(found.notes) == sign
    assert sorted(folder.path.iterdir()) == before


def read_only(folder: Path, opens: Callable[..., Any]) -> Callable[..., Any]:
    def opened(file: Path, mode: str = "r", **more: Any) -> Any:
        if mode != "rb" and file.parent == folder:
            raise PermissionError(file)
        return opens(file, mode, **more)

    return opened


def test_a_mistyped_folder_of_checkpoints_is_refused_and_not_made(data: Path) -> None:
    with DataLock(data):  # writes which build the directory is of
        pass
    mistyped = data.with_name("mistyped")
    said = orderspine("audit", "verify", "--data", data, "--checkpoints", mistyped)
    assert (said.code, f"there is no folder {mistyped}" in said.err, mistyped.exists()) == (2, True, False)


def test_changed_kept_leaves_are_not_believed(data: Path) -> None:
    (leaves,) = folder_of(data).path.glob("*.leaves")
    content = bytearray(leaves.read_bytes())
    content[32 * 9] ^= 1
    leaves.write_bytes(content)
    (problem,) = check(data).problems
    assert (problem.kind, problem.position) == ("checkpoint", 10)
    assert "every signed root fits the log" in problem.text


def test_a_page_of_zeros_in_the_file_is_found(data: Path) -> None:
    file = data / "log.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = bytearray(file.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    file.write_bytes(content)
    found = check(data)
    assert "database" in kinds(found)
    assert found.written == ""


def test_a_file_that_is_no_database_is_said_to_be_none(data: Path) -> None:
    (data / "log.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Unreadable, match="not a database"):
        check(data)


def test_read_models_that_are_no_database_are_no_witness_and_break_no_proof(data: Path) -> None:
    with DataLock(data):  # writes which build the directory is of
        (data / "read_models.db").write_bytes(b"not a database" * 1000)
    said = orderspine("audit", "verify", "--data", data, "--json")
    assert said.code == 0
    assert said.json["ok"]
    (note,) = said.json["notes"]
    assert "read models are unreadable (file is not a database)" in note
    assert f"note: {note}\n" in orderspine("audit", "verify", "--data", data).err
    replayed = orderspine("audit", "replay", "--data", data)
    assert replayed.code == 4
    assert "delete read_models.db" in replayed.err


COLUMNS = {"position": int, "stream": str, "version": int, "tag": str, "envelope": bytes, "data": bytes, "leaf": bytes}


def flips(data: Path, number: int) -> Iterator[tuple[int, str, str, object]]:
    """Yield (position, stream, column, value with one bit flipped)."""
    chance = random.Random(7)
    with closing(sqlite3.connect(data / "log.db")) as db:
        head = head_of(data)
        for _ in range(number):
            position = chance.randint(1, head)
            column = chance.choice([*COLUMNS, "sealed"])
            stream, value = db.execute(
                f"SELECT stream, {column} FROM events WHERE position = ?", (position,)
            ).fetchone()
            if value is None:
                continue
            if isinstance(value, int):
                yield position, stream, column, value ^ (1 << chance.randrange(60))
                continue
            raw = bytearray(value.encode() if isinstance(value, str) else value)
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            yield position, stream, column, bytes(raw)


def test_every_flipped_bit_is_found_and_its_place_named(data: Path) -> None:
    found = 0
    folder = CheckpointFolder(data / "none")
    open_scan: Callable[[], SqliteScan] = partial(SqliteScan, data / "log.db")
    with closing(sqlite3.connect(data / "log.db", isolation_level=None)) as db:
        for position, stream, column, value in flips(data, 150):
            text = isinstance(value, bytes) and column in ("stream", "tag")
            db.execute("BEGIN IMMEDIATE")
            before = db.execute(f"SELECT CAST({column} AS BLOB), {column} FROM events WHERE position = ?", (position,))
            (_, old) = before.fetchone()
            new = "CAST(:value AS TEXT)" if text else ":value"
            try:
                db.execute(f"UPDATE events SET {column} = {new} WHERE position = :at", {"value": value, "at": position})
            except sqlite3.IntegrityError:
                db.execute("ROLLBACK")  # the table itself refuses it
                continue
            db.execute("COMMIT")
            verified = verify(open_scan, "main", folder=folder, signer=None)
            at = value if column == "position" else position
            named = [problem for problem in verified.problems if problem.position in (at, position)]
            assert named, f"{column} of event {position} was changed unseen"
            if column != "stream":
                assert any(stream in (problem.stream, problem.text) or stream in problem.text for problem in named)
            found += 1
            db.execute(f"UPDATE events SET {column} = :old WHERE position = :at", {"old": old, "at": at})
    assert found > 100
    assert check(data).ok
