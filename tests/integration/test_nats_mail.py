"""The mail of a cell on a real server: durable, in order, without gaps."""

from adapters.nats.client import Connection
from adapters.nats.publish import BatchAck, BatchPublisher
from adapters.nats.reader import MailReader, Msg
from adapters.nats.streams import ensure_mail

STREAM = "MAIL_c1"
Message = tuple[str, bytes, dict[str, str] | None]


def mails(count: int, size: int = 100, first: int = 0) -> list[Message]:
    return [(f"mail.c1.order.{n}", b"%d " % n + b"x" * size, None) for n in range(first, first + count)]


async def read(nc: Connection, start: int, count: int) -> list[Msg]:
    got: list[Msg] = []
    async with MailReader(nc, "c1", start) as reader:
        while len(got) < count:
            more = await reader.next(700, 5)
            assert more, f"only {len(got)} of {count} came"
            got += more
    return got


async def test_what_was_published_is_read_back_whole_and_in_order(nc: Connection) -> None:
    await ensure_mail(nc, "c1", incarnation="one", first_seq=1, max_bytes=64 * 1024**2)
    sent = mails(5000, 600)
    ack = await BatchPublisher(nc).publish_batch(sent, stream=STREAM)
    assert ack == BatchAck(last_seq=5000, count=5000)
    got = await read(nc, 1, 5000)
    assert [(m.subject, m.payload, m.headers) for m in got] == sent
    assert [m.seq for m in got] == list(range(1, 5001))
