"""Calls of carriers' track services and of payment services: verified, recorded, then answered as the service wants it.

A repeat needs no memory here: the order itself knows what it was told. Only a commit is good enough for a success.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import structlog

from adapters.platforms.connection import MissingSecret
from adapters.web.metrics import Metrics
from adapters.web.ports import Busy, HookAway
from adapters.web.problems import Refused
from adapters.web.webhooks import place_of
from domain.callbacks import Called
from domain.decider import Command
from domain.platforms import NotGenuine, PushAnswer, PushRequest

Kind = Literal["tracks", "payments"]

log = structlog.get_logger(__name__)


class CallbackDesk(Protocol):
    """The services by name, and the way to the orders."""

    def find(self, kind: Kind, name: str) -> Called | None:
        """Return a service; None where there is none of that name.

        Raises:
            HookAway: it cannot be used now.
        """
        ...

    async def deliver(self, mails: Sequence[tuple[str, Command]], kind: Kind, name: str, correlation: str) -> list[str]:
        """Return once all of it is committed, with what became of each.

        Raises:
            Busy: it may or may not have been taken; the same again is harmless.
        """
        ...


class Callbacks:
    """Takes calls."""

    def __init__(self, desk: CallbackDesk, metrics: Metrics) -> None:
        """Connect the parts."""
        self._desk = desk
        self._metrics = metrics

    async def call(self, kind: Kind, name: str, place: str, request: PushRequest, correlation: str) -> PushAnswer:
        """Return the answer, once what the call tells is committed.

        Raises:
            Refused: there is no service of that name, or none that could be used now.
        """
        try:
            service = self._desk.find(kind, name)
        except HookAway as error:
            log.error("callback.away", service=name, reason=str(error), correlation=correlation)  # noqa: TRY400
            raise Refused(503, "busy", "this service cannot be heard now", headers={"Retry-After": "30"}) from error
        if service is None:
            raise Refused(404, "not-found", "there is no service of this name", where="path")
        try:
            told = service.call(request, place)
        except NotGenuine as error:
            self._metrics.refused_push(name, str(error))
            return service.refusal(401, "not genuine")
        except MissingSecret as error:
            log.error("callback.away", service=name, reason=str(error), correlation=correlation)  # noqa: TRY400
            return service.refusal(503, "not now")
        except Exception as error:  # noqa: BLE001
            # What a receiver chokes on is not proved genuine. The message may quote the body: only the place is told.
            self._metrics.refused_push(name, "could not be judged")
            log.error("callback.not_judged", service=name, correlation=correlation, fault=place_of(error))  # noqa: TRY400
            return service.refusal(401, "not genuine")
        try:
            outcomes = await self._desk.deliver(told.mails, kind, name, correlation)
        except Busy as busy:
            log.warning("callback.busy", service=name, reason=busy.reason, correlation=correlation)
            return service.refusal(503, "not now")
        for outcome in outcomes:
            self._metrics.taken(kind, "webhook", outcome)
        return told.answer
