"""Parts of webhooks: which addresses are called, which events are wanted, and how long is waited."""

import asyncio
import contextlib
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from adapters.notify import delivery
from adapters.notify.delivery import Deliverer, Failed, NotAllowed, check_url
from adapters.storage.vault import SqliteVault
from domain.ports import Recorded
from runners.settings import BadSetting, load_settings
from runners.webhooks import backoff_ms
from runners.webhooks_secrets import end_secrets, key_of, new_secret, shown
from runners.webhooks_store import (
    BACKOFF_MS_MAX,
    LOG_KEPT_MS,
    Delivery,
    Result,
    Subscriber,
    Try,
    Wants,
    Webhooks,
    unknown_types,
)


@pytest.mark.parametrize(
    "url", ["https://erp.example/orders?a=1", "http://127.0.0.1:8080/x", "http://[::1]/", "http://10.0.0.1"]
)
def test_addresses_that_are_called(url: str) -> None:
    assert check_url(url, private=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://erp.example/",
        "file:///etc/passwd",
        "erp.example/x",
        "",
        "http://",
        "http:///x",
        "https://user:secret@erp.example/",
        "https://@erp.example/",
        "https://erp.example/#x",
        "http://erp.example:0/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://[::ffff:169.254.169.254]/",
        "http://exa mple/",
    ],
)
def test_addresses_that_are_never_called(url: str) -> None:
    with pytest.raises(NotAllowed):
        check_url(url, private=True)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "[::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "100.64.0.1"],
)
def test_private_addresses_are_called_only_where_that_is_allowed(host: str) -> None:
    assert check_url(f"http://{host}/", private=True)
    with pytest.raises(NotAllowed, match="webhooks_private"):
        check_url(f"http://{host}/", private=False)
    assert check_url("http://8.8.8.8/", private=False)


async def test_a_name_is_judged_by_what_it_points_to_at_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    pointed = ["8.8.8.8", "169.254.169.254"]

    async def looked_up(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in pointed]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)
    one = Deliverer("http://erp.example/", private=True, at_once=1)
    with pytest.raises(NotAllowed, match="link-local"):
        await one.post("i", 1, b"{}", [b"k"])
    await one.close()


async def test_who_takes_the_connection_and_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ANSWER_S", 0.2)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    one = Deliverer(f"http://127.0.0.1:{port}/", private=True, at_once=1)
    with pytest.raises(Failed) as failed:
        await one.post("i", 1, b"{}", [b"k"])
    assert failed.value.away
    assert str(port) not in failed.value.reason
    await one.close()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.15)  # the other side ends, too


@pytest.mark.parametrize(
    "rest", [b"\r\n", b"content-length: 9\r\n\r\nx", b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n"]
)
async def test_an_answer_counts_although_what_follows_it_does_not_end(
    monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    """A receiver that says 200, gives no length and keeps the connection open has it all the same."""
    monkeypatch.setattr(delivery, "REST_S", 0.2)
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\n" + rest)
        await writer.drain()
        await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    one = Deliverer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", private=True, at_once=1)
    assert (await one.post("i", 1, b"{}", [b"k"])).status == 200
    await asyncio.wait_for(ended.wait(), 5)
    await one.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("rest", [b"content-length: 1000\r\n\r\nshort", b"transfer-encoding: chunked\r\n\r\nzz\r\n"])
async def test_an_answer_counts_although_what_follows_it_breaks_off(rest: bytes) -> None:
    """A receiver that says 200 has it; to send it again for days because its answer's length is wrong helps nobody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\n" + rest)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    one = Deliverer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", private=True, at_once=1)
    assert (await one.post("i", 1, b"{}", [b"k"])).status == 200
    assert (await one.post("j", 1, b"{}", [b"k"])).status == 200, "the next one has a connection of its own"
    await one.close()
    server.close()
    await server.wait_closed()


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, place = await served_with_tls(tmp_path)
    port = server.sockets[0].getsockname()[1]
    url = f"https://localhost:{port}/x"
    stranger = Deliverer(url, private=True, at_once=1)
    with pytest.raises(Failed, match="cannot be reached"):
        await stranger.post("i", 1, b"{}", [b"k"])
    await stranger.close()
    monkeypatch.setattr(delivery, "_tls", lambda: ssl.create_default_context(cafile=str(place)))
    known = Deliverer(url, private=True, at_once=1)
    assert (await known.post("i", 1, b"{}", [b"k"])).status == 204
    await known.close()
    other = Deliverer(f"https://127.0.0.1:{port}/x", private=True, at_once=1)  # the certificate is of another name
    with pytest.raises(Failed):
        await other.post("i", 1, b"{}", [b"k"])
    await other.close()
    server.close()
    await server.wait_closed()


async def served_with_tls(folder: Path) -> tuple[asyncio.Server, Path]:
    """Serve one answer, under a certificate for `localhost` that is signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    place, secret = folder / "certificate.pem", folder / "key.pem"
    place.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(place, secret)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context), place


async def test_who_is_not_there_is_away() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = Deliverer(f"http://127.0.0.1:{port}/", private=True, at_once=1)
    with pytest.raises(Failed) as failed:
        await one.post("i", 1, b"{}", [b"k"])
    assert failed.value.away
    await one.close()


def event(stream: str, tag: str) -> Recorded:
    return Recorded(1, stream, 1, tag, b"", b"", None, b"")


def test_a_subscriber_gets_what_it_wants() -> None:
    paid, arrived = event("order-taobao:s:1", "order.paid"), event("warehouse-A", "stock.received")
    assert Wants().take(paid)
    assert Wants(types=("order.*",)).take(paid)
    assert Wants(types=("order.paid",)).take(event("order-taobao:s:1", "order.paid.v2"))
    assert not Wants(types=("order.shipped", "orders.*", "ord.*")).take(paid)
    assert Wants(kinds=("warehouse",)).take(arrived)
    assert not Wants(kinds=("warehouse",)).take(paid)
    assert Wants(channels=("taobao",)).take(paid)
    assert not Wants(channels=("jd",)).take(paid)
    assert not Wants(channels=("A",)).take(arrived)  # a warehouse is no channel
    for stream in ("intake-taobao:s", "mapping-taobao", "skus-taobao:s", "trail-taobao:x", "finance-taobao:s"):
        assert Wants(channels=("taobao",)).take(event(stream, "order.paid")), stream
        assert not Wants(channels=("jd",)).take(event(stream, "order.paid")), stream
    assert unknown_types(["order.paid", "order.*", "order.teleported", "x.*"]) == ["order.teleported", "x.*"]


@given(tries=st.integers(1, 10_000), first=st.integers(1, 3_600_000))
def test_pauses_grow_to_a_bound(tries: int, first: int) -> None:
    longest = min(BACKOFF_MS_MAX, first * 2 ** (tries - 1)) if tries < 60 else BACKOFF_MS_MAX
    assert longest // 2 - 1 <= backoff_ms(tries, first) <= longest


def test_a_secret_can_be_shown_again_until_it_is_ended(tmp_path: Path) -> None:
    vault = SqliteVault(tmp_path / "keys.db", make=True)
    one, other = new_secret(vault), new_secret(vault)
    key = key_of(vault, one)
    assert key is not None
    assert len(key) == 32
    assert shown(key).startswith("whsec_")
    assert key_of(vault, one) == key != key_of(vault, other)
    end_secrets(vault, one, "")
    assert key_of(vault, one) is None
    assert key_of(vault, other) is not None
    vault.close()


def test_a_bad_pause_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="webhooks_retry_ms"):
        load_settings(tmp_path, webhooks_retry_ms=0)


def subscriber(name: str) -> Subscriber:
    return Subscriber(name, "http://x/", Wants(("order.*",)), "active", "", "life", 0, "s1", "", 0, 1_000, 1)


def tried(position: int, at_ms: int) -> Try:
    return Try("a", f"life:{position}", position, "order.paid", at_ms, 200, 1, 1)


def test_old_tries_are_forgotten_and_changes_meanwhile_win(tmp_path: Path) -> None:
    store = Webhooks(tmp_path)
    assert store.add(subscriber("a"))
    assert not store.add(subscriber("a"))
    (known,) = store.subscribers()
    assert known == subscriber("a")
    now = time.time_ns() // 1_000_000
    first, second = Delivery("a", 1, "order-x:1", "order.paid", 0), Delivery("a", 2, "order-x:1", "order.paid", 0)
    assert store.follow(known, 2, [first, second])
    assert store.due("a", now, 10) == [first]
    store.settle([Result(tried(1, now - LOG_KEPT_MS - 1), None, known)])
    assert store.due("a", now, 10) == [second]
    store.settle([Result(tried(2, now), second._replace(due_ms=now + 10_000), known)])
    assert store.due("a", now, 10) == []
    store.tidy(now)
    assert [each.position for each in store.tries("a", 10)] == [2]
    assert not store.follow(known, 3, [])  # its position is another by now
    (known,) = store.subscribers()
    store.pause("a", "by hand")
    assert not store.follow(known, 3, [])
    store.remove("a")
    store.settle([Result(tried(2, now), None, known)])
    assert store.tries("a", 10) == []
    store.close()


def test_what_was_put_off_by_a_clock_that_was_wrong_is_due(tmp_path: Path) -> None:
    store = Webhooks(tmp_path)
    store.add(subscriber("a"))
    now = time.time_ns() // 1_000_000
    wanted = [Delivery("a", place, f"order-x:{place}", "order.paid", 0) for place in (1, 2)]
    store.follow(store.subscribers()[0], 2, wanted)
    store.settle([Result(tried(1, now), wanted[0]._replace(due_ms=now + BACKOFF_MS_MAX - 1, tries=1), subscriber("a"))])
    store.settle([Result(tried(2, now), wanted[1]._replace(due_ms=now + 400 * 86_400_000, tries=1), subscriber("a"))])
    assert [each.position for each in store.due("a", now, 10)] == [2]
    store.close()


def test_a_rewind_lets_dead_letters_wait_again_but_not_past_one_that_stays(tmp_path: Path) -> None:
    store = Webhooks(tmp_path)
    store.add(subscriber("a"))
    wanted = [Delivery("a", place, f"order-{'xy'[place % 2]}:1", "order.paid", 0) for place in range(1, 7)]
    store.follow(store.subscribers()[0], 6, wanted)
    for each in wanted[:1], wanted[3:4]:  # the first of y, and (as if the one before had arrived) one of x
        store.settle([Result(tried(each[0].position, 1), each[0]._replace(dead=1, tries=1), subscriber("a"))])
    assert [each.position for each in store.deliveries("a", 9, dead=True)] == [1, 3, 4, 5, 6]
    store.rewind("a", "life", 3)
    assert [each.position for each in store.deliveries("a", 9, dead=True)] == [1, 3, 5]
    assert store.subscribers()[0].position == 3
    store.rewind("a", "life", 0)
    assert store.deliveries("a", 9, dead=True) == []
    store.close()
