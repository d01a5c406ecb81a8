"""Read models as documents in the broker's key-value buckets: watchable, and made again from the rows after a wipe.

A bucket holds one document for each row, with its position and the log's generation, and a marker that says how far
they go. The marker is written last, so what it says is there; how many keys there were stands in it, so that a hole is
noticed. Each change is told on `changes.<cell>.<bucket>.<key>` as well. Nothing personal is ever among them.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import structlog

from adapters.nats.accounts import changes_subject
from adapters.nats.client import Connection
from adapters.nats.errors import BrokerError, BrokerUnavailable
from adapters.nats.kv import KvWriter
from adapters.nats.streams import HowStored, Stored, ensure_documents, get_stored, how_stored, kv_stream
from adapters.storage.read_models import Checkpoint, ReadModels
from domain.ids import encode_id
from projections.base import Projection, Public
from runners.relay import HEADROOM_BYTES
from runners.subscribers import EVERYTHING, Filter

MARKER = "_checkpoint"
"""Key of the marker. No document has it: their keys hold at least two parts, or begin with `check-`."""
PART = 900
"""Documents that are written together."""
PENDING_MAX = 10_000
"""Most documents that wait for the broker; the projector then waits too."""
WATCH_S = 5.0
"""How often an idle bucket is looked at, to notice that it was wiped, lost keys, or was written to by others."""

log = structlog.get_logger()


class Marker(msgspec.Struct, frozen=True):
    """How far the documents of a bucket go."""

    generation: str
    position: int
    form: str = ""
    """What they are made by: the read model's version, and the channels of which there are documents here, where those
    are not all. Documents of another form are made anew."""
    keys: int = 0
    """So many the bucket held when they were counted last, this one and deleted ones among them: none ever goes."""


_marker = msgspec.json.Decoder(Marker).decode
_encode = msgspec.json.Encoder().encode


def _read(stored: Stored | None) -> Marker | None:
    """Return what a marker says; None where there is none that can be read."""
    try:
        return _marker(stored.payload) if stored is not None else None
    except msgspec.DecodeError:
        return None


class Documents:
    """The bucket of one projection."""

    def __init__(
        self,
        nc: Connection,
        cell: str,
        projection: Projection[Any, Any],
        read_models: ReadModels,
        *,
        max_bytes: int = -1,
        only: Filter = EVERYTHING,
    ) -> None:
        """Name the bucket; nothing is written yet.

        It holds no more than `max_bytes` (-1 = there is no bound), and only documents that pass the filter.
        """
        self.bucket = f"{cell}_{projection.bucket}"
        self._stream = kv_stream(self.bucket)
        self._told_on = changes_subject(cell, projection.bucket)
        self._max_bytes = max_bytes
        self._only = only
        channels = sorted(only.channels) if projection.by_channel else ()
        self._form = " ".join((str(projection.version), *(encode_id(channel) for channel in channels)))
        self._nc = nc
        self._projection = projection
        self._read_models = read_models
        self._writer = KvWriter(nc, self.bucket)
        self._pending: dict[str, Public] = {}
        self._reached = Marker("", 0, self._form)
        """What `_pending` goes to."""
        self._marker: Marker | None = None
        """What the bucket says; None = in doubt."""
        self._end = 0
        """Sequence of the marker in the bucket's stream: nothing is behind it."""
        self._keys = 0
        """See `Marker.keys`."""
        self._flush: asyncio.Task[None] | None = None
        self._watched = 0.0

    async def follow(self, changed: dict[Any, Any], checkpoint: Checkpoint) -> None:
        """Take over what a batch changed, and begin to write it if nothing is being written.

        Where it changed nothing here, the marker waits for the next change, or for `settle`.
        """
        if self._marker is None:
            return
        if self._marker.generation != checkpoint.generation:
            await self.forget()  # `settle` takes away what only the other life had
            return
        for public in self._public(changed):
            self._pending[public.key] = public
        self._reached = self._marker_at(checkpoint)
        if not self._pending:
            return
        if len(self._pending) >= PENDING_MAX:
            await self._written()
        if self._flush is None or self._flush.done():
            await self._written()
            self._flush = asyncio.create_task(self._write())
            await asyncio.sleep(0)  # let the first frames leave before the next batch is folded

    async def settle(self, checkpoint: Checkpoint) -> None:
        """Write all that is pending; make good what is in doubt. Called when the rows are level with the log."""
        await self._written()
        now = asyncio.get_running_loop().time()
        try:
            if self._marker is not None and now - self._watched > WATCH_S:
                self._watched = now
                await self._watch(self._marker)
            if self._marker is None:
                await self._catch_up(checkpoint)
            await self._write_pending()
        except BrokerError as trouble:
            self._doubt(trouble)

    async def level(self, checkpoint: Checkpoint) -> bool:
        """Bring the bucket level with the rows, for one who does not fold them; tell whether it is now.

        The rows that changed since its marker are read again.
        """
        if self._marker != self._marker_at(checkpoint):
            self._marker = None
        await self.settle(checkpoint)
        return self._marker == self._marker_at(checkpoint)

    async def answers(self) -> bool:
        """Tell whether the broker answers for the bucket."""
        try:
            await self._stored_marker()
        except BrokerUnavailable:
            return False
        return True

    async def forget(self) -> None:
        """Finish what is being written and remember nothing: `settle` makes good from the rows what is missing."""
        await self._written()
        self._marker = None
        self._pending.clear()

    async def close(self) -> None:
        """Finish what is being written."""
        await self._written()
        with contextlib.suppress(BrokerError):
            await self._writer.close()

    async def _written(self) -> None:
        if self._flush is not None:
            flush, self._flush = self._flush, None
            await flush

    async def _write(self) -> None:
        try:
            await self._write_pending()
        except BrokerError as trouble:
            self._doubt(trouble)

    def _doubt(self, trouble: BrokerError) -> None:
        log.warning("documents.in_doubt", bucket=self.bucket, reason=str(trouble))
        self._marker = None
        self._pending.clear()

    async def _write_pending(self) -> None:
        reached = self._reached
        if self._marker is None or reached == self._marker:
            return
        pending, self._pending = self._pending, {}
        await self._put(list(pending.values()), reached)

    async def _put(self, documents: list[Public], reached: Marker | None) -> None:
        """Write documents and then, in the last batch, the marker."""
        generation = (reached or self._reached).generation
        lead = b'{"generation":%b,' % _encode(generation)
        for start in range(0, max(len(documents), 1), PART):
            part = {public.key: self._shown(public, lead) for public in documents[start : start + PART]}
            if reached is not None and start + PART >= len(documents):
                part[MARKER] = _encode(reached)
            if part:
                self._end = (await self._writer.put_many(part)).last_seq
        if reached is not None:
            self._marker = reached

    def _shown(self, public: Public, lead: bytes) -> bytes:
        """Return the document; of one too large for the broker only that it is, so that it holds up no other."""
        whole = lead + public.json[1:]
        if len(whole) <= self._nc.max_payload - HEADROOM_BYTES:
            return whole
        return lead + b'"position":%d,"too_large":%d}' % (public.position, len(whole))

    def _public(self, documents: Mapping[Any, Any]) -> list[Public]:
        made = self._projection.public(documents)
        if not self._only.channels:
            return made
        by_channel = self._projection.by_channel
        return [public for public in made if self._only.lets_document(public.key, by_channel=by_channel)]

    def _marker_at(self, checkpoint: Checkpoint) -> Marker:
        return Marker(checkpoint.generation, checkpoint.position, self._form, self._keys)

    async def _stored_marker(self) -> Stored | None:
        return await get_stored(self._nc, self._stream, last_on=f"$KV.{self.bucket}.{MARKER}")

    async def _how(self) -> HowStored:
        how = await how_stored(self._nc, self._stream)
        if how is None:
            raise BrokerUnavailable(f"there is no bucket {self.bucket}")
        return how

    async def _watch(self, marker: Marker) -> None:
        """See whether the bucket is as it was left; count its keys, that they can be missed."""
        there, how = _read(await self._stored_marker()), await self._how()
        if there != marker or how.last_seq != self._end or how.messages < marker.keys:
            log.warning("documents.lost", bucket=self.bucket)
            self._marker = None
        elif how.messages > marker.keys:
            self._keys = how.messages
            self._reached = msgspec.structs.replace(self._reached, keys=self._keys)
            await self._put([], msgspec.structs.replace(marker, keys=self._keys))

    async def _catch_up(self, checkpoint: Checkpoint) -> None:
        """Bring the bucket level with the rows: those changed since its marker, or all of them."""
        await ensure_documents(self._nc, self.bucket, max_bytes=self._max_bytes, told_on=self._told_on)
        stored = await self._stored_marker()
        there = _read(stored)
        after = 0
        reached = self._marker_at(checkpoint)
        if (
            stored is not None
            and there is not None
            and (there.generation, there.form) == (reached.generation, reached.form)
            and there.position <= reached.position
            and await self._is_whole(there, stored.seq)
        ):
            after = there.position
        else:
            await self._drop_others(checkpoint)
        self._pending.clear()
        self._reached = reached
        for documents in self._stored(after, checkpoint):
            await self._put(documents, None)
        self._keys = (await self._how()).messages
        self._reached = self._marker_at(checkpoint)
        await self._put([], self._reached)
        log.info("documents.level", bucket=self.bucket, after=after, position=checkpoint.position)

    async def _is_whole(self, there: Marker, seq: int) -> bool:
        """Tell whether all is there that the marker with this sequence speaks of, as far as can be seen."""
        how = await self._how()
        if missing := max(0, there.keys - how.messages):
            log.error("documents.hole", bucket=self.bucket, missing=missing, advice="it is made anew from the rows")
            return False
        if how.last_seq > seq:
            lead = b'{"generation":%b,' % _encode(there.generation)
            async for entry in self._writer.behind(seq):
                # A batch that was cut off before its marker are documents, whose rows are written again.
                if entry.gone or not entry.value.startswith(lead):
                    told = f"somebody else wrote to {entry.key}; it is made anew from the rows"
                    log.error("documents.not_ours", bucket=self.bucket, advice=told)
                    return False
        return True

    async def _drop_others(self, checkpoint: Checkpoint) -> None:
        """Delete what is no document of the rows, so that whoever watches is told; the marker first."""
        gone = await self._writer.keys()
        if not gone:
            return
        await self._writer.delete_many([MARKER])
        for documents in self._stored(0, checkpoint):
            gone.difference_update(public.key for public in documents)
        left = sorted(gone - {MARKER})
        for start in range(0, len(left), PART):
            await self._writer.delete_many(left[start : start + PART])

    def _stored(self, after: int, checkpoint: Checkpoint) -> Iterator[list[Public]]:
        """Make the documents of the rows that changed behind a position, in pages."""
        projection = self._projection
        for rows in self._read_models.pages(projection, after, checkpoint.position, PART):
            documents = projection.load({made.name: rows.get(made.name, ()) for made in projection.tables})
            projection.changes(documents)
            yield self._public(documents)
