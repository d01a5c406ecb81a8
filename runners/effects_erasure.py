"""Destroying the keys of a person who is to be forgotten: asked for by the log, done once in effect, never given up.

First the register, then the keys: a kill in between leaves a request that is begun anew, and doing it twice changes
nothing. That it is done goes into the stream of the requests, as mail.
"""

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar

import msgspec

from domain.privacy import EFFECT, ForgettingAsked
from runners.audited import checkpoints_of
from runners.bootstrap import open_vault
from runners.effects_kind import Happened, Kind, NotYet
from runners.effects_store import Job
from runners.erasures import Erasure, destroy, register, register_of

if TYPE_CHECKING:
    from runners.settings import Settings

FOR_EVER_MS = 1 << 62


class Erasures(Kind):
    """Destroys the keys that `privacy.forgetting_asked` names."""

    name = EFFECT
    urgent = True
    within_ms: ClassVar[int] = FOR_EVER_MS
    give_up_ms: ClassVar[int] = FOR_EVER_MS

    def __init__(self, settings: "Settings") -> None:
        """Nothing is opened yet."""
        self._settings = settings

    @property
    def tags(self) -> frozenset[str]:
        """Return that of a request."""
        return frozenset({"privacy.forgetting_asked"})

    async def refresh(self) -> None:
        """Read nothing: there are no files."""

    def asked_by(self, happened: Happened, now_ms: int) -> list[Job]:
        """Return the one act that a request asks for."""
        fact = happened.fact
        assert isinstance(fact, ForgettingAsked)
        at_ms = happened.envelope.at
        wanted = msgspec.json.encode(Erasure(fact, at_ms))
        return [Job(happened.key, self.name, "keys", happened.recorded.stream, wanted, at_ms, now_ms)]

    async def do(self, job: Job) -> str:
        """Destroy them; return the request's id.

        Raises:
            NotYet: a store could not be written; nothing is lost by waiting.
        """
        erasure = msgspec.json.decode(job.document, type=Erasure)
        try:
            await asyncio.to_thread(self._destroy, erasure)
        except Exception as error:  # whatever it is: a person's keys are never given up on
            raise NotYet(f"the keys could not be destroyed yet: {type(error).__name__}: {error}") from error
        return erasure.asked.request

    async def is_done(self, job: Job) -> bool:
        """Say that it is not: done twice it changes nothing, and its end must name the request."""
        del job
        return False

    def _destroy(self, erasure: Erasure) -> None:
        settings = self._settings
        register(register_of(checkpoints_of(settings), settings.cell), erasure)
        with closing(open_vault(settings)) as vault:
            destroy(vault, [erasure.asked])

    async def close(self) -> None:
        """Release nothing: all is closed after each act."""
