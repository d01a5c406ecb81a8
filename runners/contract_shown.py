"""The published schemas in the cell's bucket `<cell>_schemas`: `<name>.<version>` → JSON Schema."""

import structlog

from adapters.nats.client import Connection
from adapters.nats.kv import KvWriter
from adapters.nats.streams import ensure_kv
from runners.contract import documents_of, released

log = structlog.get_logger(__name__)


async def show_contract(nc: Connection, cell: str) -> int:
    """Write what is missing or differs, and return how much that was. Whatever else is there stays: it was published.

    Raises:
        BrokerError: the broker did not take it.
    """
    bucket = f"{cell}_schemas"
    await ensure_kv(nc, bucket)
    writer = KvWriter(nc, bucket)
    try:
        documents = documents_of(released())
        there = await writer.get_many(documents)
        fresh = {key: document for key, document in documents.items() if there.get(key) != document}
        if fresh:
            await writer.put_many(fresh)
            log.info("contract.shown", bucket=bucket, schemas=len(fresh))
        return len(fresh)
    finally:
        await writer.close()
