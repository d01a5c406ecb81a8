"""Connect to a broker, and refuse one that cannot do what OrderSpine relies on."""

import asyncio
import contextlib
from typing import Any

import msgspec
import nats.errors
import structlog

from adapters.nats.address import Address
from adapters.nats.client import Connection
from adapters.nats.errors import ApiRefused, BrokerTooOld, BrokerUnauthorized, BrokerUnavailable

__all__ = ["Address", "Connection", "api", "connect"]

log = structlog.get_logger(__name__)

OLDEST = (2, 12)
"""First release with atomic batches."""
RECONNECT_WAIT_S = 0.25
PENDING_BYTES_MAX = 8 * 1024 * 1024
PING_S = 5

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


async def connect(address: Address, name: str, *, timeout_s: float = 10.0, reconnect_s: float = 60.0) -> Connection:
    """Connect under `name` (shown in the server's connection list).

    After a lost connection it is tried again every quarter of a second for about `reconnect_s`; then the connection is
    closed for good (`is_closed`) and whoever uses it gets `BrokerUnavailable`.

    Raises:
        BrokerUnauthorized: user or password refused.
        BrokerUnavailable: no server answers within `timeout_s`.
        BrokerTooOld: the server is older than 2.12.
    """
    connection = Connection()
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_error(error: Exception) -> None:
        if isinstance(error, nats.errors.AuthorizationError) or "authorization violation" in str(error).lower():
            if not refused.done():
                refused.set_result(None)
        elif isinstance(error, nats.errors.SlowConsumerError):
            log.error("broker.slow_consumer", connection=name, subject=error.subject)
        elif connection.breaks == 0 and not connection.is_connected:
            log.debug("broker.connect.failed", connection=name, error=repr(error))
        else:
            log.warning("broker.error", connection=name, error=repr(error))

    async def on_disconnect() -> None:
        connection.broken()
        if not connection.closing:
            log.warning("broker.disconnected", connection=name)

    async def on_reconnect() -> None:
        connection.settled()
        log.info("broker.reconnected", connection=name)

    async def on_close() -> None:
        connection.broken()
        connection.settled()
        if not connection.closing:
            log.error("broker.given_up", connection=name)

    attempt = asyncio.ensure_future(
        connection.connect(
            servers=address.url,
            user=address.user,
            password=address.password,
            name=name,
            tls=address.tls_context(),
            error_cb=on_error,
            disconnected_cb=on_disconnect,
            reconnected_cb=on_reconnect,
            closed_cb=on_close,
            # The library takes fractions of a second although it declares whole ones.
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type,unused-ignore]
            max_reconnect_attempts=max(1, round(reconnect_s / RECONNECT_WAIT_S)),
            ping_interval=PING_S,
            pending_size=PENDING_BYTES_MAX,
            flush_timeout=5.0,
        )
    )
    try:
        await asyncio.wait({attempt, refused}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        _judge(connection, address, attempt, refused=refused.done(), timeout_s=timeout_s)
        connection.settled()
    except BaseException:
        attempt.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError, nats.errors.Error):
            await attempt
        await connection.close()
        raise
    return connection


def _judge(
    connection: Connection, address: Address, attempt: asyncio.Future[None], *, refused: bool, timeout_s: float
) -> None:
    """Raise what is wrong with the connection, if anything."""
    if refused:
        raise BrokerUnauthorized(f"{address.url} refused user {address.user!r}")
    if not attempt.done():
        raise BrokerUnavailable(f"no broker answers at {address.url} within {timeout_s:g} s")
    try:
        attempt.result()
    except (OSError, nats.errors.Error) as error:
        raise BrokerUnavailable(f"cannot connect to {address.url}: {error!r}") from error
    version = connection.connected_server_version
    if (version.major, version.minor) < OLDEST:
        raise BrokerTooOld(
            f"{address.url} is nats-server {version.major}.{version.minor}.{version.patch}; "
            f"OrderSpine needs {OLDEST[0]}.{OLDEST[1]} or newer (atomic batches)"
        )


async def api(nc: Connection, subject: str, request: Any = None, *, timeout_s: float = 5.0) -> dict[str, Any]:
    """Ask the JetStream API (`subject` without its `$JS.API.`) and return the answer.

    Raises:
        ApiRefused: the server's own error.
        BrokerUnavailable: no answer; whether it was done is unknown.
    """
    payload = b"" if request is None else _encode(request)
    try:
        answer = await nc.request(f"$JS.API.{subject}", payload, timeout=timeout_s)
    except nats.errors.Error as error:
        raise BrokerUnavailable(f"no answer to {subject}: {error!r}") from error
    reply: dict[str, Any] = _decode(answer.data)
    refusal = reply.get("error")
    if refusal:
        raise ApiRefused(refusal.get("err_code", refusal.get("code", 0)), refusal.get("description", ""))
    return reply
