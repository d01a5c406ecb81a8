"""The platforms' HTTP client: keeps to rates, repeats only what may be repeated, and tells no secret."""

import asyncio
import contextlib
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from adapters.platforms import http as kit
from adapters.platforms.http import Answer, Http, retry_after_s
from domain.platforms import OutcomeUnknown, PlatformBusy, PlatformError, PlatformRefused
from tests.platform_world import Asked, Reply, Served

SECRET = "s3cr3t-value"


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.now_s

    async def sleep(self, for_s: float) -> None:
        self.slept.append(for_s)
        self.now_s += for_s
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def connect(clock: Clock) -> AsyncIterator[Callable[..., Http]]:
    made: list[Http] = []

    def connect(url: str, *, per_s: float = 1_000.0, burst: int = 100, timeout_s: float = 2.0) -> Http:
        made.append(Http(url, per_s=per_s, burst=burst, timeout_s=timeout_s, tries=4, now=clock.now, sleep=clock.sleep))
        return made[-1]

    yield connect
    for client in made:
        await client.close()


def answering(*replies: Reply) -> Callable[[Asked], Reply]:
    """Answer with these in turn, the last one for ever."""
    left = list(replies)

    def answer(_: Asked) -> Reply:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


async def test_an_answer_comes_back_as_it_is(connect: Callable[..., Http]) -> None:
    def answer(asked: Asked) -> Reply:
        assert (asked.method, asked.path, asked.query) == ("POST", "/base/orders/1", {"sign": "a b+中"})
        assert (asked.headers["x-shop"], asked.body) == ("7", b"\x00body")
        return Reply(b"\xffexact", 404, (("X-Request-Id", "Abc"),))

    async with Served(answer) as served:
        client = connect(served.url + "/base")
        got = await client.call(
            "POST",
            "orders/1",
            params={"sign": "a b+中"},
            headers={"x-shop": "7"},
            content=b"\x00body",
            repeatable=True,
        )
    assert (got.status, got.body, got.headers["x-request-id"]) == (404, b"\xffexact", "Abc")


async def test_a_repeatable_call_outlives_errors_of_the_server(connect: Callable[..., Http], clock: Clock) -> None:
    async with Served(answering(Reply(status=500), Reply(cut=True), Reply(status=503), Reply(b"fine"))) as served:
        got = await connect(served.url).call("GET", "/", repeatable=True)
        assert (got.body, len(served.asked)) == (b"fine", 4)
    assert len(clock.slept) == 3
    assert 0.25 <= clock.slept[0] <= 0.5
    assert 1.0 <= clock.slept[2] <= 2.0, "each wait is longer"


async def test_it_gives_up_after_four_tries(connect: Callable[..., Http]) -> None:
    async with Served(answering(Reply(status=502))) as served:
        with pytest.raises(PlatformBusy, match="answered with status 502"):
            await connect(served.url).call("GET", "/", repeatable=True)
        assert len(served.asked) == 4


async def test_it_waits_as_long_as_the_platform_asks(connect: Callable[..., Http], clock: Clock) -> None:
    limited = Reply(status=429, headers=(("Retry-After", "7"),))
    async with Served(answering(limited, Reply(b"fine"))) as served:
        assert (await connect(served.url).call("GET", "/", repeatable=True)).body == b"fine"
    assert 7.0 <= sum(clock.slept) <= 7.5


async def test_a_long_wait_is_the_callers(connect: Callable[..., Http], clock: Clock) -> None:
    async with Served(answering(Reply(status=429, headers=(("Retry-After", "3600"),)))) as served:
        with pytest.raises(PlatformBusy) as caught:
            await connect(served.url).call("GET", "/", repeatable=True)
        assert len(served.asked) == 1
    assert caught.value.retry_after_s == 3600.0
    assert clock.slept == []


async def test_one_who_is_asked_to_wait_holds_the_others_too(connect: Callable[..., Http], clock: Clock) -> None:
    limited = Reply(status=429, headers=(("Retry-After", "5"),))
    async with Served(answering(limited, Reply(b"fine"))) as served:
        client = connect(served.url)
        with pytest.raises(PlatformBusy):
            await client.call("POST", "/", repeatable=False)
        began = clock.now_s
        await client.call("GET", "/", repeatable=True)
    assert clock.now_s - began == pytest.approx(5.0)


@pytest.mark.parametrize("reply", [Reply(cut=True), Reply(status=500), Reply(status=504)])
async def test_what_must_not_be_repeated_and_got_no_answer_is_unknown(
    connect: Callable[..., Http], reply: Reply
) -> None:
    async with Served(answering(reply)) as served:
        with pytest.raises(OutcomeUnknown):
            await connect(served.url).call("POST", "/", content=b"ship", repeatable=False)
        assert len(served.asked) == 1, "sent once"


@contextlib.asynccontextmanager
async def speaking(
    speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve connections by hand; each is left until the client goes away."""
    left: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.Event()
        left.append(gone)
        with contextlib.suppress(ConnectionError):
            await speak(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for gone in left:
            await gone.wait()


async def test_a_call_that_times_out_is_unknown_or_busy(connect: Callable[..., Http]) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with speaking(silent) as url:
        client = connect(url, timeout_s=0.05)
        with pytest.raises(OutcomeUnknown, match="no answer from"):
            await client.call("POST", "/", repeatable=False)
        with pytest.raises(PlatformBusy, match="no answer from"):
            await client.call("GET", "/", repeatable=True)


async def test_a_server_that_gives_a_byte_now_and_then_is_left(connect: Callable[..., Http]) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with speaking(slow) as url:
        with pytest.raises(OutcomeUnknown, match="TimeoutError"):
            await connect(url, timeout_s=0.5).call("POST", "/", repeatable=False)


async def test_where_nothing_was_sent_nothing_is_unknown(connect: Callable[..., Http], clock: Clock) -> None:
    async with Served(answering(Reply())) as served:
        url = served.url
    with pytest.raises(PlatformBusy, match=r"cannot reach 127\.0\.0\.1") as caught:
        await connect(url).call("POST", "/", repeatable=False)
    assert type(caught.value) is PlatformBusy
    assert len(clock.slept) == 3, "and so it is tried again"


async def test_calls_keep_to_the_rate(connect: Callable[..., Http], clock: Clock) -> None:
    async with Served(answering(Reply())) as served:
        client = connect(served.url, per_s=2.0, burst=3)
        for _ in range(7):
            await client.call("GET", "/", repeatable=True)
    assert clock.now_s - 1_000.0 == pytest.approx(2.0), "three at once, then two a second"


async def test_calls_at_the_same_time_keep_to_the_rate_as_well() -> None:
    async with Served(answering(Reply())) as served:
        client = Http(served.url, per_s=50.0, burst=1)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(client.call("GET", "/", repeatable=True) for _ in range(6)))
        assert asyncio.get_running_loop().time() - began >= 0.099
        await client.close()


async def test_a_busy_answer_inside_a_success_is_repeated(connect: Callable[..., Http], clock: Clock) -> None:
    def judge(answer: Answer) -> None:
        if answer.body == b"limited":
            raise PlatformBusy("too often", retry_after_s=2.0)

    async with Served(answering(Reply(b"limited"), Reply(b"fine"))) as served:
        got = await connect(served.url).call("GET", "/", repeatable=True, judge=judge)
    assert got.body == b"fine"
    assert 2.0 <= sum(clock.slept) <= 2.5


async def test_another_error_inside_a_success_ends_the_call(connect: Callable[..., Http]) -> None:
    def judge(_: Answer) -> None:
        raise PlatformRefused("no", code="7")

    async with Served(answering(Reply(b"no"))) as served:
        with pytest.raises(PlatformRefused, match="no"):
            await connect(served.url).call("GET", "/", repeatable=True, judge=judge)
        assert len(served.asked) == 1


async def test_redirects_are_not_followed(connect: Callable[..., Http]) -> None:
    async with Served(answering(Reply(status=302, headers=(("Location", "/elsewhere"),)))) as served:
        assert (await connect(served.url).call("GET", "/", repeatable=True)).status == 302
        assert served.paths() == ["/"]


async def test_an_answer_that_is_too_large_is_refused(
    connect: Callable[..., Http], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit, "ANSWER_BYTES_MAX", 1_000)
    async with Served(answering(Reply(b"x" * 1_000), Reply(b"x" * 1_001))) as served:
        client = connect(served.url)
        assert len((await client.call("GET", "/", repeatable=True)).body) == 1_000
        with pytest.raises(PlatformRefused, match="larger than"):
            await client.call("GET", "/", repeatable=True)


async def test_an_answer_that_is_packed_twice_is_refused_before_it_is_unpacked(connect: Callable[..., Http]) -> None:
    packed = gzip.compress(gzip.compress(b"x"))
    for headers in ((("Content-Encoding", "gzip, gzip"),), (("Content-Encoding", "gzip"),) * 2):
        async with Served(answering(Reply(packed, headers=headers))) as served:
            with pytest.raises(PlatformRefused, match="packed"):
                await connect(served.url).call("GET", "/", repeatable=True)
    async with Served(answering(Reply(gzip.compress(b"x"), headers=(("Content-Encoding", "gzip"),)))) as served:
        assert (await connect(served.url).call("GET", "/", repeatable=True)).body == b"x"


@pytest.mark.parametrize("reply", [Reply(status=500), Reply(cut=True), Reply(b"fine")])
async def test_no_secret_is_told(connect: Callable[..., Http], reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = ""
    async with Served(answering(reply)) as served:
        client = connect(served.url)
        for repeatable in (True, False):
            try:
                got = await client.call(
                    "POST",
                    f"/{SECRET}",
                    params={"token": SECRET},
                    headers={"authorization": SECRET},
                    content=SECRET.encode(),
                    repeatable=repeatable,
                )
                told += repr(got)
            except PlatformError as error:
                told += f"{error} {error!r} {error.__cause__!r}"
        told += repr(client)
    assert SECRET not in told + caplog.text
    assert served.asked[0].query == {"token": SECRET}, "it was sent"


async def test_the_surroundings_send_nothing_elsewhere(
    connect: Callable[..., Http], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with Served(answering(Reply(b"direct"))) as served:
        assert (await connect(served.url).call("GET", "/", repeatable=True)).body == b"direct"


@pytest.mark.parametrize("url", ["", "shop", "ftp://host/", "https://", "file:///etc/passwd", "http://[::1"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Http(url, per_s=1, burst=1)


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    date = {"date": "Wed, 11 Nov 2026 00:00:00 GMT", "retry-after": "Wed, 11 Nov 2026 00:01:30 GMT"}
    assert retry_after_s({"retry-after": "12"}) == 12.0
    assert retry_after_s({"retry-after": "1.5"}) == 1.5
    assert retry_after_s(date) == 90.0
    assert retry_after_s({**date, "retry-after": "Tue, 10 Nov 2026 00:00:00 GMT"}) == 0.0
    assert retry_after_s({}) is None
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({"retry-after": "²"}) is None


@pytest.mark.parametrize("asked", ["86400000", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_nobody_is_left_alone_for_longer_than_an_hour_because_he_asks_for_it(asked: str) -> None:
    assert retry_after_s({"retry-after": asked}) == 3600.0


async def test_a_closed_client_can_be_closed_again() -> None:
    client = Http("http://127.0.0.1:9", per_s=1, burst=1)
    await client.close()
    await client.close()
    with pytest.raises(RuntimeError):
        await client.call("GET", "/", repeatable=True)
    assert isinstance(client._client, httpx.AsyncClient)
