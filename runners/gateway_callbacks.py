"""The gateway's track and payment services, as their files say now, and the way from their calls to the orders."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from adapters import carriers, payments
from adapters.nats.errors import BrokerError
from adapters.payments.settings import PaymentService
from adapters.web.callbacks import Kind
from adapters.web.ports import Busy, HookAway
from domain.callbacks import Called
from domain.decider import Command
from domain.envelope import By
from domain.mail import Body, Mail, Reply
from runners.desk import WEBHOOK_S, Gathering
from runners.post import MailFull, NoAnswer
from runners.services import CARRIERS, PAYMENTS, BadServices, secrets_of
from runners.settings_file import stamp

log = structlog.get_logger(__name__)

LANES = 1
Send = Callable[[Sequence[Mail]], Awaitable[Sequence[Reply]]]


class ServiceDesk:
    """The port `adapters.web.callbacks.CallbackDesk`. Use it in one event loop."""

    def __init__(self, data: Path, send: Send, now_ms: Callable[[], int]) -> None:
        """Prepare; `refresh` reads."""
        self._data = data
        self._now_ms = now_ms
        self._committed: Gathering[Reply] = Gathering(send, LANES)
        self._seen: object = None
        self._key_files: tuple[Path, ...] = ()
        self._services: dict[tuple[Kind, str], Called | str] = {}
        """A text says why a service cannot be used."""

    def find(self, kind: Kind, name: str) -> Called | None:
        """Return a service; see `CallbackDesk.find`."""
        found = self._services.get((kind, name))
        if isinstance(found, str):
            raise HookAway(found)
        return found

    async def deliver(self, mails: Sequence[tuple[str, Command]], kind: Kind, name: str, correlation: str) -> list[str]:
        """Mail what was told; see `CallbackDesk.deliver`."""
        by, now_ms = By("system", f"{kind}:{name}"), self._now_ms()
        made = [Mail(to, _body(body), now_ms, by, f"{kind}/{name}", correlation) for to, body in mails]
        try:
            async with asyncio.timeout(WEBHOOK_S):
                return [reply.outcome for reply in await self._committed.send(made)]
        except (TimeoutError, MailFull, NoAnswer, BrokerError) as error:
            raise Busy(str(error) or "nobody has handled it in time") from error

    def refresh(self) -> None:
        """Read the files again where they have changed; one that cannot be used changes nothing."""
        # Stamped before they are read: what changes meanwhile is read again.
        books = tuple(stamp(self._data / book.file) for book in (CARRIERS, PAYMENTS))
        seen = (books, {file: stamp(file) for file in self._key_files})
        if seen == self._seen:
            return
        self._seen = seen
        found: dict[tuple[Kind, str], Called | str] = {}
        key_files: dict[Path, object] = {}
        try:
            for track in CARRIERS.load(self._data):
                if track.enabled:
                    found["tracks", track.name] = carriers.connect(track, secrets_of(self._data, track))
            for account in PAYMENTS.load(self._data):
                if account.enabled:
                    key_files |= {file: stamp(file) for file in map(Path, account.keys.values())}
                    found["payments", account.name] = self._account(account)
        except (BadServices, OSError) as error:
            log.error("gateway.services_not_usable", reason=str(error))  # noqa: TRY400  not a crash
            return
        self._services, self._key_files = found, tuple(key_files)
        self._seen = (books, key_files)
        log.info("gateway.services", names=sorted(f"{kind}/{name}" for kind, name in found))

    def _account(self, account: PaymentService) -> Called | str:
        try:
            return payments.connect(account, secrets_of(self._data, account))
        except ValueError as error:
            return f"payment service {account.name}: {error}"

    async def close(self) -> None:
        """See through what waits."""
        await self._committed.close()


def _body(command: Command) -> Body:
    # Services make none but such as may be mailed.
    return command  # type: ignore[return-value]
