"""Who may work on a cell: a key that expires unless its holder renews it.

The lease makes conflicts rare. What makes them harmless is the log's compare-and-set.
"""

import asyncio
import contextlib
import time

import msgspec
import structlog

from adapters.nats.client import Connection
from adapters.nats.errors import BrokerBusy, BrokerError, BrokerUnavailable, WrongLastSequence
from adapters.nats.kv import DELETE
from adapters.nats.publish import BatchPublisher
from adapters.nats.streams import ensure_kv, get_stored, kv_stream, last_seq
from adapters.nats.tasks import end_tasks

log = structlog.get_logger(__name__)

STORE_BYTES = 1024 * 1024


class LeaseHeld(BrokerError):
    """Somebody else holds the lease; `holder` says who."""

    def __init__(self, holder: str) -> None:
        """Keep the holder."""
        super().__init__(f"held by {holder}")
        self.holder = holder


class Lease:
    """The lease of one cell. The bucket holds one key, so the stream's last sequence is the key's revision."""

    def __init__(self, nc: Connection, cell: str, holder_id: str, ttl_s: float = 10.0) -> None:
        """Describe the lease.

        Args:
            nc: connection to the broker.
            cell: whose lease.
            holder_id: name of this process, unique in time.
            ttl_s: seconds after which a lease nobody renewed is free; renewed three times as often.
        """
        self.lost = asyncio.Event()
        """Set once the lease is not surely ours any more. Never set by `release`."""
        self._nc = nc
        self._holder = holder_id
        self._ttl_s = ttl_s
        self._cell = cell
        self._bucket = f"{cell}_lease"
        self._subject = f"$KV.{self._bucket}.holder"
        self._publisher = BatchPublisher(nc, timeout_s=ttl_s / 3)
        self._revision = 0
        self._until = 0.0
        self._renewing: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether the lease is surely ours now (by our own clock, which ends before the server's)."""
        return self._renewing is not None and not self.lost.is_set() and time.monotonic() < self._until

    async def acquire(self, wait_s: float | None = None) -> None:
        """Take the lease, waiting while another holds it, and keep it renewed.

        Raises:
            LeaseHeld: another still holds it after `wait_s` seconds (None waits for ever).
            BrokerUnavailable: no connection or no answer.
        """
        assert self._renewing is None, "the lease is ours already"
        await ensure_kv(self._nc, self._bucket, ttl_s=self._ttl_s, max_bytes=STORE_BYTES)
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while (holder := await self._try()) is not None:
            if deadline is not None and time.monotonic() >= deadline:
                raise LeaseHeld(holder)
            await asyncio.sleep(min(0.5, self._ttl_s / 10))
        self.lost.clear()
        self._renewing = asyncio.create_task(self._keep(), name=f"lease {self._bucket}")

    async def release(self) -> None:
        """Give the lease back, if it is still ours; harmless otherwise."""
        task, self._renewing = self._renewing, None
        if task is None:
            return
        await end_tasks((task,))
        with contextlib.suppress(BrokerError):  # it expires by itself
            if not self.lost.is_set():
                await self._write(b"", DELETE)
            await self._publisher.close()

    async def _try(self) -> str | None:
        """Try once; return the holder if there is another, None if the lease is ours now."""
        last = await last_seq(self._nc, kv_stream(self._bucket))
        if last is None:
            raise BrokerUnavailable(f"bucket {self._bucket} is gone")
        there = await get_stored(self._nc, kv_stream(self._bucket), seq=last) if last else None
        if there is not None and "KV-Operation" not in there.headers and there.payload != self._claim:
            return _holder(there.payload)
        self._revision = last
        try:
            await self._write(self._claim, None)
        except WrongLastSequence:  # somebody was faster, or renewed what we had just looked for
            return await holder_of_lease(self._nc, self._cell) or "another that was faster"
        return None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(min(self._ttl_s / 3, max(0.0, self._until - time.monotonic())))
            try:
                await self._write(self._claim, None)
            except WrongLastSequence:
                if not await self._mine_after_all():
                    break
            except (BrokerUnavailable, BrokerBusy) as error:
                log.warning("lease.not_renewed", bucket=self._bucket, error=str(error))
                await asyncio.sleep(self._ttl_s / 20)
            if time.monotonic() >= self._until:
                break
        log.error("lease.lost", bucket=self._bucket, holder=self._holder)
        self.lost.set()

    async def _write(self, value: bytes, headers: bytes | None) -> None:
        started = time.monotonic()
        ack = await self._publisher.publish_batch(
            [(self._subject, value, headers)], stream=kv_stream(self._bucket), expected_last=self._revision
        )
        self._revision, self._until = ack.last_seq, started + self._ttl_s

    async def _mine_after_all(self) -> bool:
        """Tell whether the last claim is ours: one whose acknowledgement was lost. Our time is not longer for it."""
        with contextlib.suppress(BrokerUnavailable):
            last = await last_seq(self._nc, kv_stream(self._bucket)) or 0
            there = await get_stored(self._nc, kv_stream(self._bucket), seq=last) if last else None
            if there is not None and there.payload == self._claim:
                self._revision = last
                return True
            return False
        return time.monotonic() < self._until

    @property
    def _claim(self) -> bytes:
        return msgspec.json.encode({"holder": self._holder})


async def holder_of_lease(nc: Connection, cell: str) -> str | None:
    """Return who holds a cell's lease, None if nobody does.

    Raises:
        BrokerUnavailable: no answer, or there was never a lease.
    """
    bucket = f"{cell}_lease"
    there = await get_stored(nc, kv_stream(bucket), last_on=f"$KV.{bucket}.holder")
    return None if there is None or "KV-Operation" in there.headers else _holder(there.payload)


def _holder(claim: bytes) -> str:
    return msgspec.json.decode(claim, type=dict[str, str]).get("holder", "?")
