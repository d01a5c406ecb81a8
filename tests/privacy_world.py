"""A cell on real files without processes: its engine, its effects' runner, its projector; all of them can die."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from adapters.storage.sqlite_log import SqliteEventLog
from domain.catalogue import decode_event
from domain.decider import Event
from domain.envelope import By
from domain.ids import PRIVACY_KEY, intake_key, order_key
from domain.mail import AsideReport, Body, ChannelPayload, Mail, Reply, encode_mail
from domain.privacy import ForgetPerson
from runners.audited import scan_of
from runners.bootstrap import open_read_models, open_vault
from runners.effects import Effects
from runners.effects_erasure import Erasures
from runners.effects_kinds import Kinds
from runners.effects_store import Jobs
from runners.engine import Delivered, Engine
from runners.lock import DataLock
from runners.person import Person, find
from runners.projector import Projector
from runners.settings import Settings, load_settings
from runners.worker import build_engine

NAME, PHONE, DETAIL, CUSTOMER = "欧阳慕雪", "13812345678", "西湖区文三路 90 号 7 幢 501", "cust-778899"
MEMO = "请在周六送到门卫那里"
SECRETS = (NAME, PHONE, DETAIL, CUSTOMER, MEMO)
"""Each of them is in every order of the person and nowhere else."""
SERVICE = By("person", "li.wei", "service")
T0 = 1_794_326_700_000


def trade(number: str, status: str = "completed", *, person: bool = True, **fields: Any) -> bytes:
    """Return an order of the generic channel, of the person or of somebody else."""
    receiver = {"name": NAME, "phone": PHONE, "detail": DETAIL, "province": "浙江", "city": "杭州"}
    other = {"name": "赵一", "phone": "13900000001", "detail": "别处 1 号", "province": "浙江", "city": "宁波"}
    document = {
        "order_no": number,
        "status": status,
        "currency": "CNY",
        "ordered_at": "2026-11-11T00:05:00+08:00",
        "modified_at": "2026-11-11T00:05:20+08:00",
        "payable": "658.00",
        "lines": [{"id": "1", "sku": "DRL-01", "quantity": 2, "unit_price": "329.00"}],
        "customer_id": CUSTOMER if person else "cust-1",
        "receiver": receiver if person else other,
        "messages": {"buyer_message": MEMO if person else "-"},
        **fields,
    }
    return json.dumps(document, ensure_ascii=False).encode()


def key_of(number: str) -> str:
    return order_key("generic", "erp", number)


class Killed(BaseException):
    """Stands for the end of the process."""


class Cell:
    """The parts, opened; `again` closes and opens them as after a kill."""

    def __init__(self, data: Path) -> None:
        """Open or make it."""
        data.mkdir(parents=True, exist_ok=True)
        with DataLock(data):
            pass
        self.data = data
        self.settings: Settings = load_settings(data)
        self.sequence = 0
        self._open()

    def _open(self) -> None:
        self.engine: Engine
        self.engine, _ = build_engine(self.settings)
        tracked = self.engine.take_over()
        if not tracked.incarnation:
            self.engine.begin_life("life1", 0, None, T0)
        self.sequence = self.engine.tracked.position
        self.jobs = Jobs(self.data)
        kinds = Kinds(self.data, [Erasures(self.settings)])
        self.runner = Effects(self.engine.log, self.jobs, kinds, self)  # type: ignore[arg-type]
        self.away = False

    @property
    def log(self) -> SqliteEventLog:
        """Return the engine's log."""
        assert isinstance(self.engine.log, SqliteEventLog)
        return self.engine.log

    def close(self) -> None:
        """Let go of everything, as a kill would."""
        self.jobs.close()
        self.engine.log.close()
        self.engine._vault.close()  # the engine has no way to let go of it itself

    def again(self) -> None:
        """Die and come back."""
        self.close()
        self._open()

    def mail(self, to: str, body: Body, by: By = SERVICE, *, opened: bool = False) -> Reply:
        """Run one message to its commit."""
        self.sequence += 1
        delivered = [Delivered(self.sequence, T0 + self.sequence, self.bytes_of(to, body, by))]
        batch = self.engine.decide(self.engine.open(delivered) if opened else delivered)
        answers = self.engine.committed(batch, self.engine.commit(batch))
        return answers["me"].replies[0]

    def bytes_of(self, to: str, body: Body, by: By = SERVICE) -> bytes:
        return encode_mail(Mail(to, body, T0 + self.sequence, by, "test", reply_to="me"))

    def take(self, number: str, raw: bytes) -> Reply:
        """Take an order's bytes in."""
        by = By("channel", "generic")
        return self.mail(key_of(number), ChannelPayload("generic", "erp", number, raw), by)

    def aside(self, raw: bytes, kind: str = "quarantined", order_no: str = "") -> Reply:
        body = AsideReport("generic", "erp", kind, "not understood", raw, order_no=order_no)
        return self.mail(intake_key("generic", "erp"), body, By("channel", "generic"))

    async def send(self, mails: Sequence[Mail]) -> list[Any]:
        """Bring the effects' reports straight to the engine."""
        if self.away:
            raise Killed
        for each in mails:
            self.mail(each.to, each.body, each.by)
        return []

    async def effects(self) -> None:
        """Let the effects' runner do what the log asks for."""
        await self.runner.refresh()
        while self.runner.follow():
            pass
        self.runner.start_due()
        await self.runner.finish()

    def project(self) -> None:
        with closing(open_read_models(self.settings)) as views:
            Projector(self.engine.log, views).run()

    def person(self, text: str) -> Person:
        with closing(open_vault(self.settings)) as vault, closing(scan_of(self.settings)()) as scan:
            return find(self.engine.log, scan, vault, text)

    def ask(self, text: str = PHONE, own: str = "c-1", *, when_finished: bool = False) -> Reply:
        """Ask that the person be forgotten."""
        found = self.person(text)
        named = (tuple(found.orders), tuple(found.buyers), tuple(found.asides))
        asked = msgspec.structs.replace(forget(own, *named), when_finished=when_finished)
        return self.mail(PRIVACY_KEY, asked)

    def facts(self, stream: str) -> list[Event]:
        loaded = self.engine.log.select_many([stream], snapshots=False).get(stream)
        return [decode_event(each.tag, each.data) for each in loaded.events] if loaded else []

    def data_keys(self) -> dict[str, bytes]:
        """Return the raw keys as the vault's file has them."""
        with closing(open_vault(self.settings)) as vault:
            return dict(vault._db.execute("SELECT stream, key FROM keys WHERE key IS NOT NULL"))  # type: ignore[union-attr]


def forget(own: str, orders: tuple[str, ...], buyers: tuple[str, ...] = (), asides: tuple[str, ...] = ()) -> Any:
    return ForgetPerson(own, asked="customer", reason="asked by phone", orders=orders, buyers=buyers, asides=asides)


@contextmanager
def cell(data: Path) -> Iterator[Cell]:
    made = Cell(data)
    try:
        yield made
    finally:
        made.close()


def needles(keys: Sequence[bytes] = ()) -> list[bytes]:
    """Return every spelling in which the person's data, or his keys, could stand in a file."""
    found = list(keys)
    for text in SECRETS:
        found += [text.encode(), text.encode("gb18030"), text.encode("utf-16-le"), json.dumps(text).encode()[1:-1]]
    return found


def traces(folder: Path, wanted: Sequence[bytes], skipping: Sequence[str] = ()) -> list[str]:
    """Return the files below a folder in which any of these bytes stands, with which of them.

    What is running there replaces files: where one went while the others were read, all are read again.
    """
    for _ in range(20):
        with suppress(FileNotFoundError):
            return _traces(folder, wanted, skipping)
    raise AssertionError(f"the files of {folder} do not come to rest")


def _traces(folder: Path, wanted: Sequence[bytes], skipping: Sequence[str]) -> list[str]:
    found = []
    for root, directories, files in os.walk(folder):
        directories[:] = [each for each in directories if each not in skipping]
        for name in files:
            data = (Path(root) / name).read_bytes()
            found += [f"{Path(root) / name}: {needle!r}" for needle in wanted if needle in data]
    return found
