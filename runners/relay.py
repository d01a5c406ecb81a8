"""The relay: passes the log on to the EVENTS stream, for services downstream. `python -m runners.relay --data DIR`.

What was recorded, in order, without gaps and without anything personal, as CloudEvents in binary mode. Where to go on
is asked of the stream alone: behind the (generation, position) of its last message. Each batch names the sequence it
must follow, so of two relays one is refused whole.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial

import structlog

from adapters.nats.chain import DerivedPublisher
from adapters.nats.client import Connection
from adapters.nats.errors import BrokerBusy, BrokerError, WrongLastSequence
from adapters.nats.streams import ensure_events, events_stream, get_stored, how_stored, last_seq
from domain.ports import EventLog, LogDamaged, Told
from projections.cloud_event import CloudEvents
from runners.aio import run
from runners.background import POLL_S, Background, Link
from runners.contract_shown import show_contract
from runners.settings import Settings, load_settings

BATCH_EVENTS = 1_000
HEADROOM_BYTES = 2_048
"""Of the broker's largest message, kept free for what is added to a message on its way."""
WATCH_S = 5.0
"""How often an idle relay looks whether the stream still ends where it left it."""

log = structlog.get_logger()

Message = tuple[str, bytes, bytes]
"""Subject, payload, header lines."""


class Feed:
    """Turns recorded events of one generation into messages."""

    def __init__(self, cell: str, generation: str, bytes_max: int) -> None:
        """`bytes_max`: of the largest payload that may be sent, with its header lines: long keys stand there twice."""
        self._cell = cell
        self._bytes_max = bytes_max
        self._subject = cache(partial(subject_of, cell))
        self._headers = CloudEvents(cell, generation).headers

    def messages(self, events: Sequence[Told]) -> list[Message]:
        """Return the messages of these events."""
        subject, most = self._subject, self._bytes_max
        return [
            (subject(stream.partition(":")[0], tag), data, lines)
            if len(data) + len(lines) <= most
            # The feed stays gapless; who needs the facts reads them from the log.
            else (subject(stream.partition(":")[0], tag), b"", lines + self._reference(position))
            for (position, stream, _, tag, _, data), lines in zip(events, self._headers(events), strict=True)
        ]

    def _reference(self, position: int) -> bytes:
        return f"ce-dataref: /orderspine/{self._cell}/log/{position}\r\n".encode()


def subject_of(cell: str, stream: str, tag: str) -> str:
    """Return the subject of an event: `events.<cell>.<kind>.<scope>.<type>`; the scope is the key's first part."""
    kind, _, parts = stream.partition("-")
    return f"events.{cell}.{kind}.{parts.partition(':')[0]}.{tag.partition('.')[2]}"


Rest = Callable[[float], Awaitable[None]]


async def _on(_: float) -> None:
    """Go on at once."""


class Relay:
    """Keeps the EVENTS stream of a cell level with its log."""

    def __init__(self, event_log: EventLog, nc: Connection, settings: Settings, batch: int = BATCH_EVENTS) -> None:
        """Nothing is known of the stream yet."""
        self._log = event_log
        self._nc = nc
        self._settings = settings
        self._batch = batch
        self._stream = events_stream(settings.cell)
        self._publisher = DerivedPublisher(nc, self._stream)
        self._feed: Feed | None = None
        self._generation = ""
        self._last = 0
        """Sequence of the stream's last message."""
        self.position = 0
        """Position of the last event that is surely in the stream."""
        self.doubt = True
        """Whether the stream must be asked where to go on."""
        self._watched = 0.0

    async def run_once(self, more: Callable[[], bool] = lambda: True, rest: Rest = _on) -> int:
        """Pass on what there is, until the log's end or until `more` says no; return the number of events.

        Behind each batch, `rest` is told how long it took, and may take its time.

        Raises:
            WrongLastSequence: somebody else has published; the next call asks the stream again.
            BrokerError: the broker did not do as asked; the next call asks the stream again.
            LogDamaged: the stream holds events of this generation that the log does not have.
        """
        try:
            return await self._run(more, rest)
        except BaseException:
            self.doubt = True
            raise

    async def watch(self) -> None:
        """Now and then, see whether the stream still ends where it was left."""
        now = asyncio.get_running_loop().time()
        if now - self._watched < WATCH_S or self.doubt:
            return
        self._watched = now
        if await last_seq(self._nc, self._stream) != self._last:
            self.doubt = True

    async def close(self) -> None:
        """End the subscription for acknowledgements."""
        await self._publisher.close()

    async def _run(self, more: Callable[[], bool], rest: Rest) -> int:
        generation = self._log.tracked().generation
        if self.doubt or generation != self._generation:
            await self._find(generation)
        assert self._feed is not None
        total = 0
        events = self._log.told(self.position, self._batch)
        while events:
            began = time.monotonic()
            messages = self._feed.messages(events)
            sending = asyncio.create_task(self._publisher.publish(messages, expected_last=self._last))
            await asyncio.sleep(0)  # it has left before the next batch is read
            end = events[-1][0]
            try:
                following = self._log.told(end, self._batch) if more() else []
            finally:
                ack = await sending
            self._last = ack.last_seq
            self.position = end
            total += len(events)
            events = following
            await rest(time.monotonic() - began)
        return total

    async def _find(self, generation: str) -> None:
        """Ask the stream where to go on."""
        await ensure_events(self._nc, self._settings.cell, max_bytes=self._settings.events_bytes_max)
        how = await how_stored(self._nc, self._stream)
        sequence = how.last_seq if how is not None else 0
        stored = await get_stored(self._nc, self._stream, last_on=f"events.{self._settings.cell}.>")
        position = 0
        if stored is not None and stored.headers.get("ce-generation") == generation:
            sequence, position = stored.seq, int(stored.headers["ce-position"])
        head = self._log.tracked().head
        if position > head:
            raise LogDamaged(f"the stream holds event {position} of generation {generation}; the log ends at {head}")
        self._feed = Feed(self._settings.cell, generation, self._nc.max_payload - HEADROOM_BYTES)
        self._generation, self._last, self.position = generation, sequence, position
        self._watched = asyncio.get_running_loop().time()
        self.doubt = False
        log.info("relay.goes_on", position=position, sequence=sequence)
        if how is not None and how.missing:
            # What a broker has written without waiting (ADR 10) may go so when its machine loses power.
            advice = "subscribers that read the stream itself miss them: delete it, and it is filled again from the log"
            log.error("relay.hole", stream=self._stream, missing=how.missing, advice=advice)


async def relay(settings: Settings) -> None:
    """Pass the log on until SIGTERM or SIGINT."""
    background = Background()
    background.begin()
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    link = Link(settings, f"relay-{settings.cell}")

    async def rest(worked_s: float) -> None:
        await background.rest(worked_s, link.hints)

    passing: Relay | None = None
    used: Connection | None = None
    try:
        while not background.stopping.is_set():
            nc = await link.up()
            if nc is None:
                await background.pause(POLL_S)
                continue
            if passing is None or nc is not used:
                used, passing = nc, Relay(event_log, nc, settings)
            try:
                if passing.doubt:  # at the beginning, and where the broker may have lost what it had
                    await show_contract(nc, settings.cell)
                await passing.run_once(lambda: not background.stopping.is_set(), rest)
                await passing.watch()
            except BrokerError as trouble:
                level = log.error if isinstance(trouble, BrokerBusy) else log.warning
                level("relay.in_doubt", reason=str(trouble), taken=isinstance(trouble, WrongLastSequence))
                await background.pause(POLL_S)
                continue
            if not passing.doubt:
                await background.pause(POLL_S, link.hints)
    finally:
        await link.close()
        event_log.close()


def main() -> int:
    """Parse the arguments and pass on."""
    parser = argparse.ArgumentParser(prog="python -m runners.relay", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    run(relay(load_settings(parser.parse_args().data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
