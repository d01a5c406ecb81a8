"""Key-value documents, many at once: written as their bucket takes them, read in one request."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

import msgspec
import structlog

from adapters.nats.chain import DerivedPublisher
from adapters.nats.client import Connection
from adapters.nats.connection import api
from adapters.nats.errors import BatchRefused, BrokerBusy, BrokerUnavailable, WrongLastSequence
from adapters.nats.publish import BatchAck, Message
from adapters.nats.streams import kv_stream

log = structlog.get_logger(__name__)

DELETE = b"KV-Operation: DEL\r\n"
TRIES_MAX = 3
RETRY_WAIT_S = 0.2
_KEYS_PER_REQUEST = 500
"""The server returns at most 1,024 messages per request; 500 long keys stay far below its largest message."""
_BYTES_PER_REQUEST = 16 * 1024 * 1024
_KEY = re.compile(r"[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*")


class Entry(NamedTuple):
    """The latest that was written of a key."""

    key: str
    value: bytes
    gone: bool
    """Whether it was deleted."""
    seq: int
    """In the bucket's stream."""


class KvWriter:
    """The only writer of a bucket. Only the latest value counts, so a retry may write the same again."""

    def __init__(self, nc: Connection, bucket: str, *, timeout_s: float = 10.0) -> None:
        """Name a bucket that `ensure_kv` or `ensure_documents` has made."""
        self._nc = nc
        self._bucket = bucket
        self._stream = kv_stream(bucket)
        self._timeout_s = timeout_s
        self._publisher = DerivedPublisher(nc, self._stream, timeout_s=timeout_s)

    async def put_many(self, documents: Mapping[str, bytes], deletes: Iterable[str] = ()) -> BatchAck:
        """Write documents and delete keys, in this order; up to 1,000 all or none where the bucket is atomic.

        Raises:
            BrokerBusy: the bucket is full.
            WrongLastSequence: the bucket does not end where this writer left it, or something amid them was refused.
                What was acknowledged before need not be there any more: read what it holds.
            BatchRefused: refused for another reason.
            BrokerUnavailable: no connection or no answer, several times.
            ValueError: a key NATS does not take (encode ids first).
        """
        messages: list[Message] = [(self._subject(key), value, None) for key, value in documents.items()]
        messages += [(self._subject(key), b"", DELETE) for key in deletes]
        tries = 1
        while True:
            try:
                return await self._publisher.publish(messages)
            except (BrokerBusy, WrongLastSequence):
                raise
            except (BatchRefused, BrokerUnavailable) as error:
                if tries == TRIES_MAX:
                    raise
                log.warning("kv.retry", bucket=self._bucket, tries=tries, error=str(error))
            await asyncio.sleep(RETRY_WAIT_S * tries)
            tries += 1

    async def delete_many(self, keys: Iterable[str]) -> BatchAck:
        """Delete keys; watchers see the deletion."""
        return await self.put_many({}, keys)

    async def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the documents of these keys; absent and deleted ones are left out.

        Raises:
            BrokerUnavailable: no answer.
        """
        wanted = list(dict.fromkeys(keys))
        found: dict[str, bytes] = {}
        for start in range(0, len(wanted), _KEYS_PER_REQUEST):
            found |= await self._get(wanted[start : start + _KEYS_PER_REQUEST])
        return found

    async def keys(self) -> set[str]:
        """Return the keys of all documents, those that were deleted as well.

        Raises:
            ApiRefused: the server's own error.
            BrokerUnavailable: no answer.
        """
        lead = f"$KV.{self._bucket}."
        found: set[str] = set()
        while True:
            request = {"subjects_filter": f"{lead}>", "offset": len(found)}
            answer = await api(self._nc, f"STREAM.INFO.{self._stream}", request)
            page = answer["state"].get("subjects")
            if not page:
                return found
            found.update(subject[len(lead) :] for subject in page)

    async def behind(self, seq: int) -> AsyncIterator[Entry]:
        """Walk what was written behind a sequence of the bucket's stream and is the latest of its key, in order.

        Raises:
            BrokerUnavailable: no answer.
        """
        every = f"$KV.{self._bucket}.>"
        more = True
        while more:
            request = {"seq": seq + 1, "next_by_subj": every, "batch": _KEYS_PER_REQUEST}
            entries, more = await self._ask(request)
            for entry in entries:
                yield entry
            more = more and bool(entries)
            seq = entries[-1].seq if entries else seq

    async def close(self) -> None:
        """End the subscription of the writer."""
        await self._publisher.close()

    async def _get(self, keys: list[str]) -> dict[str, bytes]:
        entries, more = await self._ask({"multi_last": [self._subject(key) for key in keys], "batch": len(keys)})
        found = {entry.key: entry.value for entry in entries if not entry.gone}
        seen = {entry.key for entry in entries}
        rest = [key for key in keys if key not in seen]
        if seen and rest and more:
            found |= await self._get(rest)  # the server ends an answer that gets too big
        return found

    async def _ask(self, request: dict[str, object]) -> tuple[list[Entry], bool]:
        """One request, many answers, then a message without payload and a status that ends them; whether more wait."""
        entries: list[Entry] = []
        lead = len(f"$KV.{self._bucket}.")
        ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def take(_subject: bytes, _reply: bytes, payload: bytes, headers: bytes | None) -> None:
            block = headers or b""
            if block.startswith(b"NATS/1.0 "):
                if not ended.done():
                    ended.set_result(block)
                return
            key = _header(block, b"Nats-Subject").decode()[lead:]
            gone = bool(_header(block, b"KV-Operation"))
            entries.append(Entry(key, payload, gone, int(_header(block, b"Nats-Sequence"))))

        def fail() -> None:
            if not ended.done():
                ended.set_exception(BrokerUnavailable("the connection broke while documents were read"))

        inbox = self._nc.new_inbox()
        listening = await self._nc.listen(inbox, take)
        self._nc.on_break(fail)
        try:
            subject = f"$JS.API.DIRECT.GET.{self._stream}"
            await self._nc.publish(
                subject, msgspec.json.encode(request | {"max_bytes": _BYTES_PER_REQUEST}), reply=inbox
            )
            async with asyncio.timeout(self._timeout_s):
                status = await ended
        except TimeoutError:
            raise BrokerUnavailable(f"no answer from bucket {self._bucket}") from None
        finally:
            self._nc.off_break(fail)
            await self._nc.unlisten(listening)
        code = status[9:12]
        if code == b"404":
            return [], False
        if code != b"204":
            raise BrokerUnavailable(f"bucket {self._bucket}: {status[9:].decode(errors='replace').strip()}")
        return entries, _header(status, b"Nats-Num-Pending") not in {b"", b"0"}

    def _subject(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} cannot be a key")
        return f"$KV.{self._bucket}.{key}"


def _header(block: bytes, name: bytes) -> bytes:
    """Return the value of a header in a raw block; b"" if it is not there."""
    _, found, rest = block.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else b""
