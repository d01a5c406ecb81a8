"""The load of `intake`: a process of its own that posts as fast as it is answered, a request at a time a connection.

`python -m benchmarks.intake_load` reads a `Load` as JSON from stdin and writes a `Measured` to stdout. It speaks raw
HTTP/1.1 over sockets of its own, because every client library would take more of the processor than the gateway does.
"""

import asyncio
import hashlib
import hmac
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from runners.aio import run

ORDER = (
    '{"order_no":"SO-2026-%09d","status":"paid","currency":"CNY","ordered_at":"2026-11-11T10:%02d:%02d+08:00",'
    '"modified_at":"2026-11-11T10:%02d:%02d+08:00","payable":"329.00","paid":"329.00","customer_id":"C-%07d",'
    '"lines":[{"id":"1","sku":"SKU-%04d","item":"650012345%03d","name":"充电电钻 18V 锂电双速","spec":"规格:标准",'
    '"quantity":1,"unit_price":"359.00","discount":"30.00","amount":"329.00"}],"receiver":{"name":"王**",'
    '"phone":"*******%04d","province":"浙江省","city":"杭州市","district":"西湖区","town":"转塘街道",'
    '"detail":"转塘街道**路**号","address_id":"A-%06d"},"messages":{"buyer_message":"周末送货，谢谢"},'
    '"invoice_type":"electronic","attributes":{"source":"app","campaign":"double-eleven"}}'
)
"""An order in the generic form, 0.8 KB, paid, of one line."""
WARM_UP_S = 1.0
ANSWER_S = 30.0


class Load(msgspec.Struct, frozen=True):
    """What to post, where, and for how long."""

    url: str
    path: str
    seconds: float
    connections: int
    orders: int
    """In one request."""
    first: int
    """Number of the first order: every run has its own."""
    token: str = ""
    secret: str = ""
    """Signs pushes by our own contract, where it is given."""


class Measured(msgspec.Struct, frozen=True):
    """What came of it."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: dict[str, int]
    """Answers other than success, by status."""
    orders: int
    """Orders posted in all, warm-up included."""


class Posting(asyncio.Protocol):
    """One connection: posts, waits for the answer, posts again."""

    def __init__(self, following: Callable[[], bytes | None], answered: Callable[[float, bytes], None]) -> None:
        """Ask `following` for each request, tell `answered` its seconds and status."""
        self._following = following
        self._answered = answered
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Post the first one."""
        self._transport = transport
        self._post()

    def data_received(self, data: bytes) -> None:
        """Take an answer, which has a Content-Length."""
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        self._answered(time.perf_counter() - self._sent_at, head[9:12])
        self._post()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        if not self.done.done():
            self.done.set_result(None)

    def _post(self) -> None:
        request = self._following()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


def order(number: int) -> bytes:
    """Return the n-th order."""
    minute, second = number // 60 % 60, number % 60
    values = (number, minute, second, minute, second, number, number % 200, number % 1000, number % 10_000, number)
    return (ORDER % values).encode()


async def post_all(load: Load) -> Measured:
    """Post until the time is over."""
    parts = urlsplit(load.url)
    number = load.first
    began = time.perf_counter()
    counted_from, ends = began + WARM_UP_S, began + WARM_UP_S + load.seconds
    times: list[float] = []
    refused: dict[str, int] = {}
    head = f"POST {load.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    if load.token:
        head += f"authorization: Bearer {load.token}\r\n"

    def following() -> bytes | None:
        nonlocal number
        if time.perf_counter() >= ends:
            return None
        bodies = [order(each) for each in range(number, number + load.orders)]
        number += load.orders
        body = bodies[0] if load.orders == 1 else b"[" + b",".join(bodies) + b"]"
        signed = _signed(load.secret, body, number) if load.secret else ""
        return f"{head}{signed}content-length: {len(body)}\r\n\r\n".encode() + body

    def answered(seconds: float, status: bytes) -> None:
        if not status.startswith(b"2") or status == b"207":
            refused[status.decode()] = refused.get(status.decode(), 0) + 1
        elif counted_from <= time.perf_counter() < ends:
            times.append(seconds)

    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Posting(following, answered), parts.hostname or "", parts.port or 80)
        for _ in range(load.connections)
    ]
    async with asyncio.timeout(WARM_UP_S + load.seconds + ANSWER_S):
        await asyncio.gather(*(posting.done for _, posting in made))
    times.sort()
    return Measured(
        len(times),
        load.seconds,
        _part(times, 0.5),
        _part(times, 0.99),
        refused,
        number - load.first,
    )


def _part(times: list[float], part: float) -> float:
    return round(times[min(len(times) - 1, int(len(times) * part))] * 1000, 2) if times else 0.0


def _signed(secret: str, body: bytes, number: int) -> str:
    stamp, nonce = str(int(time.time())), f"n{number}"
    signature = hmac.new(secret.encode(), f"{stamp}.{nonce}.".encode() + body, hashlib.sha256).hexdigest()
    return f"x-timestamp: {stamp}\r\nx-nonce: {nonce}\r\nx-signature: {signature}\r\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run(post_all(msgspec.json.decode(sys.stdin.buffer.read(), type=Load)))))
