"""What the tests of pulling share: a mailroom that decides in this process, and a shop on a platform in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from adapters.platforms.connection import Connection
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.vault import MemoryVault
from domain.catalogue import decode_event
from domain.decider import Event
from domain.mail import Mail, encode_mail
from runners.bootstrap import channels, open_vault
from runners.engine import Delivered, Engine
from runners.post import NoAnswer
from runners.preparing import Preparer
from runners.pulling_line import Line, Shared
from runners.pulling_mail import Mailroom, Sent
from runners.pulling_store import Pulls
from runners.settings import Settings
from tests.fake_platform import FolderPlatform

NOW_MS = 1_794_400_000_000
SHOP = "hardware"
STREAM = "order-taobao:hardware:"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, ms: int = NOW_MS) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


class EngineRoom(Mailroom):
    """A mailroom without broker: what is sent is decided and committed here and now."""

    def __init__(self, settings: Settings, log: MemoryEventLog, clock: Clock) -> None:
        super().__init__(settings, "test")
        vault = MemoryVault()
        self.engine = Engine(log, vault, Preparer(channels(settings), vault.digest_key()))
        self.engine.take_over()
        self.engine.begin_life("life", 0, None, 0)
        self._clock = clock
        self.away = 0
        """How many sends fail from now on."""
        self.sent: list[Mail] = []

    async def send(self, mails: Sequence[Mail]) -> list[Sent]:
        if not mails:
            return []
        if self.away:
            self.away -= 1
            raise NoAnswer("nobody handles mail")
        self.sent += mails
        first = self.engine.tracked.position + 1
        delivered = [
            Delivered(seq, self._clock(), encode_mail(msgspec.structs.replace(mail, reply_to="here")))
            for seq, mail in enumerate(mails, first)
        ]
        batch = self.engine.decide(delivered)
        answers = self.engine.committed(batch, self.engine.commit(batch))
        return [Sent(mail, reply) for mail, reply in zip(mails, answers["here"].replies, strict=True)]


class Office:
    """A shop, its platform, a log, and what pulling needs. A context manager."""

    def __init__(self, path: Path, **options: str) -> None:
        self.settings = Settings(str(path))
        open_vault(self.settings, make=True).close()  # as the worker does
        self.platform = FolderPlatform(path / "platform")
        self.connection = Connection(
            "flagship", "taobao", SHOP, options={"folder": str(path / "platform"), "app_key": "1", **options}
        )
        self.clock = Clock()
        self.log = MemoryEventLog()
        self.pulls = Pulls(path)
        self.room = EngineRoom(self.settings, self.log, self.clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.room.__aexit__(None, None, None)
        self.pulls.close()

    @property
    def shared(self) -> Shared:
        return Shared(self.settings, self.pulls, self.room, self.log, self.clock)

    def line(self) -> Line:
        return Line(self.connection, self.shared)

    def orders(self) -> set[str]:
        """Return the numbers of the orders in the log."""
        return {
            event.stream.removeprefix(STREAM) for event in self.log.read(0, 10**6) if event.stream.startswith(STREAM)
        }

    def events(self, tag: str) -> list[Event]:
        return [decode_event(each.tag, each.data) for each in self.log.read(0, 10**6) if each.tag == tag]
