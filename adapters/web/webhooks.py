"""Pushes of platforms: judged by the platform's own rules, made durable, then answered as the platform wants it."""

import asyncio
import traceback
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import structlog

from adapters.platforms.connection import MissingSecret
from adapters.web.memory import UNKEPT, Memory
from adapters.web.metrics import Metrics
from adapters.web.ports import Handed, Hook, HookAway, Hooks, Intake
from adapters.web.problems import Refused, busy
from domain.platforms import NotGenuine, PushAnswer, Pushed, PushRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = structlog.get_logger(__name__)

RETRY_S = 30


class Webhooks:
    """Takes pushes in."""

    def __init__(
        self, hooks: Hooks, intake: Intake, memory: Memory, metrics: Metrics, now_ms: "Callable[[], int]"
    ) -> None:
        """Connect the parts."""
        self._hooks = hooks
        self._intake = intake
        self._memory = memory
        self._metrics = metrics
        self._now_ms = now_ms
        self._under_way: dict[tuple[str, str, bytes], asyncio.Task[None]] = {}

    async def push(self, name: str, request: PushRequest, correlation: str) -> PushAnswer:
        """Return the platform's answer, once what it sent is durable.

        Raises:
            Refused: 401 not genuine, 404 no such connection, 503 not now.
            Busy: not now.
        """
        hook = self._find(name, correlation)
        pushed = self._judge(hook, request, correlation)
        if not pushed.nonce:
            await self._take(hook, pushed, correlation)
            return pushed.answer
        if self._memory.pushed(hook.name, pushed.nonce, request.body):
            self._metrics.replayed(hook.name)
            return pushed.answer
        same = (hook.name, pushed.nonce, request.body)
        taking = self._under_way.get(same)
        if taking is None:
            taking = asyncio.create_task(self._take_once(hook, pushed, request.body, correlation))
            self._under_way[same] = taking
            taking.add_done_callback(lambda task: self._done(same, task))
        else:
            self._metrics.replayed(hook.name)
        # The platform may hang up; what it sent is taken in all the same.
        await asyncio.shield(taking)
        return pushed.answer

    def request(self, method: str, query: bytes, headers: "Iterable[tuple[bytes, bytes]]", body: bytes) -> PushRequest:
        """Return a request as receivers get it. Values of a name that is there twice are joined, as HTTP says."""
        named: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            named[name] = f"{named[name]}, {value}" if name in named else value
        asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace"))
        return PushRequest(method, asked, named, body, self._now_ms())

    def _find(self, name: str, correlation: str) -> Hook:
        try:
            hook = self._hooks.find(name)
        except HookAway as error:
            log.error("webhook.away", connection=name, reason=str(error), correlation=correlation)  # noqa: TRY400
            raise _away() from error
        if hook is None:
            raise Refused(
                404,
                "not-found",
                "there is no connection of this name that takes pushes",
                where="path",
                advice="`orderspine channels list` names the connections",
            )
        return hook

    def _judge(self, hook: Hook, request: PushRequest, correlation: str) -> Pushed:
        try:
            return hook.receiver.receive(request)
        except NotGenuine as error:
            self._metrics.refused_push(hook.name, str(error))
        except MissingSecret as error:
            log.error("webhook.away", connection=hook.name, reason=str(error), correlation=correlation)  # noqa: TRY400
            raise _away() from error
        except Exception as error:  # noqa: BLE001
            # What a receiver chokes on is not proved genuine. The message may quote the body: only the place is told.
            self._metrics.refused_push(hook.name, "could not be judged")
            log.error(  # noqa: TRY400
                "webhook.not_judged", connection=hook.name, correlation=correlation, fault=place_of(error)
            )
        raise Refused(401, "not-authorised", "this is no genuine push of the platform")

    async def _take_once(self, hook: Hook, pushed: Pushed, body: bytes, correlation: str) -> None:
        await self._take(hook, pushed, correlation)
        try:
            await self._memory.remember_push(hook.name, pushed.nonce, body)
        except UNKEPT as error:
            # It is safe all the same; the same push once more would be recognised by its order.
            log.warning("webhook.not_remembered", connection=hook.name, error=type(error).__name__)

    async def _take(self, hook: Hook, pushed: Pushed, correlation: str) -> None:
        if not pushed.documents:
            return
        handed = [Handed(raw, hook.channel, hook.shop, "webhook", hook.name) for raw in pushed.documents]
        taken = await self._intake.take(handed, committed=hook.committed, correlation=correlation)
        for each in taken:
            self._metrics.taken(hook.channel, "webhook", each.outcome)

    def _done(self, same: tuple[str, str, bytes], task: "asyncio.Task[None]") -> None:
        del self._under_way[same]
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may be left


def _away() -> Refused:
    return busy("this connection cannot take pushes now", RETRY_S, "the merchant must look at the gateway's log")


def place_of(error: BaseException) -> str:
    """Return what went wrong and where in the program, without the message: it may quote what came in."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return f"{type(error).__name__} at " + " > ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
