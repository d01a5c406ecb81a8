"""Keys are made once, survive, are the same for all who ask, and once destroyed are never made again."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from adapters.storage.postgres_vault import PostgresVault
from adapters.storage.sealing import (
    SealBroken,
    Sealer,
    commitment,
    open_sealed,
    payload_digest,
    seal,
)
from adapters.storage.spool import BYTES_MAX, Spool
from adapters.storage.sqlite import assert_durable
from adapters.storage.vault import DestroyingVault, KeysHeld, KeysMissing, MemoryVault, SqliteVault
from domain.ports import LogDamaged
from runners.webhooks_secrets import end_secrets, key_of, new_secret

Open = Callable[..., DestroyingVault]


class VaultContract:
    """Subclasses give `open_vault`: opens the same, at first empty, vault each time."""

    def test_a_key_is_64_bytes_and_of_one_stream_only(self, open_vault: Open) -> None:
        keys = open_vault().keys([f"order-{at}" for at in range(300)], create=True)
        assert len(set(keys.values())) == 300
        assert {len(key) for key in keys.values()} == {64}

    def test_a_key_that_exists_is_used_again(self, open_vault: Open) -> None:
        first = dict(open_vault().keys(["a", "b", "a"], create=True))
        again = open_vault().keys(["b", "c", "a"], create=True)
        assert {name: again[name] for name in "ab"} == first
        assert set(again) == {"a", "b", "c"}

    def test_without_create_nothing_is_made(self, open_vault: Open) -> None:
        vault = open_vault()
        assert vault.keys(["a"], create=False) == {}
        made = vault.keys(["a"], create=True)
        assert vault.keys(["a", "b"], create=False) == made
        assert vault.keys([], create=True) == {}

    def test_a_destroyed_key_is_gone_for_ever(self, open_vault: Open) -> None:
        vault = open_vault()
        kept = vault.keys(["a", "b"], create=True)["b"]
        assert vault.destroy(["a", "never"]) == 1
        for asked in (vault, open_vault()):
            assert asked.keys(["a", "b", "never"], create=True) == {"b": kept}
            assert asked.keys(["a"], create=False) == {}
        assert vault.destroy(["a"]) == 0
        assert vault.destroy([]) == 0

    def test_the_digest_key_stays(self, open_vault: Open) -> None:
        assert open_vault().digest_key() == open_vault().digest_key()
        assert len(open_vault().digest_key()) == 32


class SharedVaultContract(VaultContract):
    """What vaults promise that several processes share."""

    def test_looking_makes_no_vault(self, open_vault: Open) -> None:
        for _ in range(2):
            with pytest.raises(KeysMissing):
                open_vault(make=False)
        made = open_vault().keys(["a"], create=True)
        assert open_vault(make=False).keys(["a"], create=False) == made

    def test_two_writers_agree_on_every_key(self, open_vault: Open) -> None:
        vaults = [open_vault(), open_vault()]
        names = [f"order-{at}" for at in range(200)]
        answers: list[dict[str, bytes]] = []
        start = Barrier(2)

        def ask(vault: DestroyingVault, mine: list[str]) -> None:
            start.wait()
            answers.append(dict(vault.keys(mine, create=True)))

        threads = [
            Thread(target=ask, args=(vault, mine)) for vault, mine in zip(vaults, (names, names[::-1]), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 2
        assert answers[0] == answers[1]

    def test_a_key_destroyed_by_another_process_is_not_kept_at_hand(self, open_vault: Open) -> None:
        mine, other = open_vault(), open_vault()
        mine.keys(["a"], create=True)
        other.destroy(["a"])
        assert mine.keys(["a"], create=True) == {}

    def test_a_cache_smaller_than_a_batch_changes_no_answer(self, open_vault: Open) -> None:
        vault = open_vault(cached_keys=3)
        names = [f"order-{at}" for at in range(10)]
        first = dict(vault.keys(names, create=True))
        assert vault.keys(names, create=False) == first
        assert vault.keys(names[::-1], create=True) == first
        assert len(vault._cache) == 3  # type: ignore[attr-defined]


class TestMemoryVault(VaultContract):
    @pytest.fixture
    def open_vault(self) -> Open:
        vault = MemoryVault(b"seed")
        return lambda: vault

    def test_a_seed_gives_the_same_keys_in_every_run(self) -> None:
        one, two, other = MemoryVault(b"1"), MemoryVault(b"1"), MemoryVault(b"2")
        assert one.keys(["a", "b"], create=True) == two.keys(["b", "a"], create=True)
        assert one.keys(["a"], create=True) != other.keys(["a"], create=True)
        assert one.digest_key() == two.digest_key() != other.digest_key()
        assert MemoryVault().digest_key() != MemoryVault().digest_key()


class TestSqliteVault(SharedVaultContract):
    @pytest.fixture
    def open_vault(self, tmp_path: Path) -> Iterator[Open]:
        opened: list[SqliteVault] = []

        def open_(**settings: Any) -> SqliteVault:
            opened.append(SqliteVault(tmp_path / "vault.sqlite", **settings))
            return opened[-1]

        yield open_
        for vault in opened:
            vault.close()

    def test_nothing_of_a_destroyed_key_stays_in_the_files(self, tmp_path: Path, open_vault: Open) -> None:
        vault = open_vault()
        keys = vault.keys([f"order-{at}" for at in range(50)], create=True)
        assert any(keys["order-7"] in path.read_bytes() for path in tmp_path.iterdir())
        vault.destroy(["order-7"])
        assert not any(keys["order-7"] in path.read_bytes() for path in tmp_path.iterdir())
        assert any(keys["order-8"] in path.read_bytes() for path in tmp_path.iterdir())

    def test_keys_are_durable_and_for_the_owner_only(self, tmp_path: Path, open_vault: Open) -> None:
        vault = open_vault()
        assert_durable(vault._db, tmp_path)  # type: ignore[attr-defined]
        assert vault._db.execute("PRAGMA secure_delete").fetchone() == (1,)  # type: ignore[attr-defined]
        assert (tmp_path / "vault.sqlite").stat().st_mode & 0o077 == 0

    def test_a_vault_of_a_newer_build_is_refused(self, tmp_path: Path, open_vault: Open) -> None:
        open_vault()._db.execute("UPDATE vault SET schema = 99")  # type: ignore[attr-defined]
        with pytest.raises(LogDamaged, match="newer build"):
            SqliteVault(tmp_path / "vault.sqlite")


class TestPostgresVault(SharedVaultContract):
    @pytest.fixture
    def open_vault(self, postgres_dsn: str, postgres_schema: str) -> Iterator[Open]:
        opened: list[PostgresVault] = []

        def open_(**settings: Any) -> PostgresVault:
            opened.append(PostgresVault(postgres_dsn, f"{postgres_schema}_vault", **settings))
            return opened[-1]

        yield open_
        for vault in opened:
            vault.close()

    def test_no_byte_of_a_destroyed_key_is_left_in_the_server_s_tables(
        self, open_vault: Open, postgres_dsn: str, postgres_schema: str
    ) -> None:
        vault = open_vault()
        keys = vault.keys([f"order-a:b:{number}" for number in range(2_000)], create=True)
        gone = {stream: keys[stream] for stream in list(keys)[::3]}
        with psycopg.connect(postgres_dsn, autocommit=True) as db:
            ((place,),) = db.execute("SHOW data_directory").fetchall()
            db.execute(f"ANALYZE {postgres_schema}_vault.keys".encode())  # as the server does by itself
            db.execute("CHECKPOINT")
            assert all(in_tables(place, gone.values())), "they are found there before, so that the look means something"
            assert vault.destroy(gone) == len(gone)
            db.execute("CHECKPOINT")
        assert not any(in_tables(place, gone.values()))
        assert all(in_tables(place, [key for stream, key in keys.items() if stream not in gone]))
        assert vault.keys(keys, create=True) == {name: key for name, key in keys.items() if name not in gone}

    def test_a_large_table_is_written_anew_when_nobody_serves(
        self, open_vault: Open, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("adapters.storage.postgres_vault.REWRITTEN_MAX", 1000)
        vault = open_vault()
        keys = vault.keys([f"order-a:b:{number}" for number in range(500)], create=True)
        gone = list(keys)[:400]
        vault.destroy(gone)
        with psycopg.connect(postgres_dsn, autocommit=True) as db:
            ((place,),) = db.execute("SHOW data_directory").fetchall()
            open_vault().wipe()
            db.execute("CHECKPOINT")
        assert not any(in_tables(place, [keys[stream] for stream in gone]))

    def test_who_holds_old_rows_is_told_and_destroying_again_ends_it(
        self, open_vault: Open, postgres_dsn: str, postgres_schema: str
    ) -> None:
        vault = open_vault()
        keys = vault.keys(["order-1", "order-2"], create=True)
        with psycopg.connect(postgres_dsn, options=f"-c search_path={postgres_schema}_vault") as older:
            older.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            older.execute("SELECT 1")  # it may still ask for what was there by now
            with pytest.raises(KeysHeld, match="old rows"):
                vault.destroy(["order-1"])
            assert vault.keys(keys, create=True) == {"order-2": keys["order-2"]}, "nobody gets it any more"
            older.execute("SELECT * FROM keys")
            with pytest.raises(KeysHeld, match="locked"):
                vault.destroy(["order-1"])
        assert vault.destroy(["order-1"]) == 0

    def test_a_vault_of_an_earlier_build_is_taken_over(
        self, open_vault: Open, postgres_dsn: str, postgres_schema: str
    ) -> None:
        keys = open_vault().keys(["order-1", "order-2"], create=True)
        with psycopg.connect(postgres_dsn, options=f"-c search_path={postgres_schema}_vault", autocommit=True) as db:
            db.execute("ALTER TABLE vault DROP COLUMN wiped")
            db.execute("ALTER TABLE keys ALTER COLUMN key SET STATISTICS DEFAULT")
            db.execute("ANALYZE keys")
            samples = "SELECT count(*) FROM pg_stats WHERE tablename = 'keys' AND attname = 'key' AND schemaname = %s"
            sampled = db.execute(samples, (f"{postgres_schema}_vault",)).fetchall()
            assert sampled == [(1,)], "the server has taken some of the keys for its statistics"
            vault = open_vault()
            db.execute("ANALYZE keys")
            assert db.execute(samples, (f"{postgres_schema}_vault",)).fetchall() == [(0,)]
            assert vault.keys(keys, create=False) == keys
            assert vault.destroy(["order-1"]) == 1
            assert db.execute("SELECT destroyed, wiped FROM vault").fetchall() == [(1, 1)]


def in_tables(place: str, keys: Iterable[bytes]) -> list[bool]:
    """Tell of each key whether it stands in a file of the server's tables; its WAL has a life of its own."""
    data = b"".join(file.read_bytes() for file in (Path(place) / "base").rglob("*") if file.is_file())
    return [key in data for key in keys]


KEY, OTHER = bytes(range(64)), bytes(range(1, 65))


@given(st.binary(min_size=64, max_size=64), st.text(max_size=20), st.binary(max_size=300))
def test_what_is_sealed_opens_again_and_is_sealed_alike(key: bytes, stream: str, plain: bytes) -> None:
    stream = stream.encode(errors="ignore").decode()
    sealed = seal(key, stream, plain)
    assert open_sealed(key, stream, sealed) == plain
    sealer = Sealer()
    assert sealer.seal(key, stream, plain) == sealer.seal(key, stream, plain) == sealed
    assert len(sealed) == 1 + 32 + 16 + len(plain)
    assert sealed[:33] == b"\x01" + commitment(key)


@given(st.integers(0, 8 * (49 + 9) - 1))
def test_every_flipped_bit_is_noticed(bit: int) -> None:
    sealed = bytearray(seal(KEY, "order-1", b"wang xiao"))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        open_sealed(KEY, "order-1", bytes(sealed))


@pytest.mark.parametrize(
    ("key", "stream", "cut"), [(OTHER, "order-1", None), (KEY, "order-2", None), (KEY, "order-1", 40), (KEY, "a", 0)]
)
def test_another_key_another_stream_or_less_bytes_do_not_open(key: bytes, stream: str, cut: int | None) -> None:
    with pytest.raises(SealBroken):
        open_sealed(key, stream, seal(KEY, "order-1", b"plain")[:cut])


def test_the_commitment_is_hkdf_as_the_rfc_writes_it() -> None:
    assert commitment(KEY) == HKDF(SHA256(), 32, None, b"orderspine data key commitment").derive(KEY)
    assert commitment(KEY) != commitment(OTHER)


def test_a_payload_is_named_by_its_sealed_bytes() -> None:
    assert payload_digest(b"sealed") == sha256(b"sealed").digest()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    vault = SqliteVault(tmp_path / "vault.sqlite")
    spool = Spool(tmp_path / "spool.sqlite", vault)
    yield spool
    spool.close()
    vault.close()


def test_large_input_travels_by_reference_and_is_never_plain_on_disk(tmp_path: Path, spool: Spool) -> None:
    raw = "王小明,13800000000\n".encode() * 100_000
    ref = spool.put(raw)
    assert len(ref) < 64
    other = SqliteVault(tmp_path / "vault.sqlite")
    worker = Spool(tmp_path / "spool.sqlite", other)
    assert worker.get(ref) == raw
    worker.close()
    other.close()
    assert not any(b"13800000000" in path.read_bytes() for path in tmp_path.iterdir())


def test_what_is_dropped_is_gone_with_its_key(tmp_path: Path, spool: Spool) -> None:
    ref, kept = spool.put(b"one"), spool.put(b"two")
    spool.drop(ref)
    spool.drop(ref)
    with pytest.raises(KeyError):
        spool.get(ref)
    with pytest.raises(KeyError):
        spool.get("spool-unknown")
    assert spool.get(kept) == b"two"
    vault = SqliteVault(tmp_path / "vault.sqlite")
    assert vault.keys([ref], create=False) == {}
    vault.close()


@contextmanager
def reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody who looks at a file of keys and takes his time."""
    monkeypatch.setattr("adapters.storage.sqlite.BUSY_MS", 50)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM keys").fetchone()
        yield


def test_who_reads_old_pages_is_told_and_wiping_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vault.sqlite"
    SqliteVault(path).close()
    with reading(path, monkeypatch), closing(SqliteVault(path)) as vault:
        key = vault.keys(["order-1"], create=True)["order-1"]
        with pytest.raises(KeysHeld, match="a reader keeps old pages"):
            vault.destroy(["order-1"])
        assert vault.keys(["order-1"], create=True) == {}, "nobody gets it any more"
        with pytest.raises(KeysHeld):
            vault.wipe()
    with closing(SqliteVault(path)) as vault:
        vault.wipe()
        assert not any(key in file.read_bytes() for file in tmp_path.iterdir())


def test_what_is_dropped_while_somebody_reads_the_keys_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vault.sqlite"
    SqliteVault(path).close()
    with reading(path, monkeypatch), closing(SqliteVault(path)) as vault:
        spool = Spool(tmp_path / "spool.sqlite", vault)
        first, second = spool.put(b"one"), spool.put(b"two")
        spool.drop(first)
        assert spool.drop_before(1 << 62) == 1
        assert vault.keys([first, second], create=False) == {}
        spool.close()
        secret = new_secret(vault)
        end_secrets(vault, secret)
        assert key_of(vault, secret) is None


def test_what_is_put_again_is_kept_once_and_by_whoever_puts_it(tmp_path: Path, spool: Spool) -> None:
    ref = spool.put(b"one")
    vault = SqliteVault(tmp_path / "vault.sqlite")
    other = Spool(tmp_path / "spool.sqlite", vault)
    assert other.put(b"one") == spool.put(b"one") == ref
    assert spool.put(b"two") != ref
    other.drop(ref)
    again = other.put(b"one")
    assert again != ref
    assert spool.get(again) == b"one"
    other.close()
    vault.close()


def test_what_was_put_last_before_a_time_goes_and_what_was_put_again_since_stays(tmp_path: Path) -> None:
    now = 1_000
    vault = SqliteVault(tmp_path / "vault.sqlite")
    spool = Spool(tmp_path / "spool.sqlite", vault, now_ms=lambda: now)
    old, again = spool.put(b"old"), spool.put(b"again")
    now = 2_000
    assert spool.put(b"again") == again
    now = 500  # a clock that went back takes nothing of its life from an entry
    assert spool.put(b"again") == again
    assert spool.drop_before(2_000) == 1
    assert spool.get(again) == b"again"
    with pytest.raises(KeyError):
        spool.get(old)
    assert list(vault.keys([old, again], create=False)) == [again]
    assert spool.drop_before(2_000) == 0
    spool.close()
    vault.close()


def test_the_largest_input_is_taken_and_one_byte_more_is_refused(spool: Spool) -> None:
    assert len(spool.get(spool.put(bytes(BYTES_MAX)))) == 32 << 20
    with pytest.raises(ValueError, match="32 MB"):
        spool.put(bytes(BYTES_MAX + 1))
