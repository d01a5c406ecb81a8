"""The gateway under pressure: it says no early and clearly, loses nothing that it said yes to, and ends cleanly."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import nats.errors
import pytest
import pytest_asyncio

from adapters.nats.client import Connection
from adapters.web import protocol
from adapters.web.tokens import add_token
from runners import desk
from runners.bootstrap import API_TOKENS_FILE, GATEWAY_FILE
from runners.gateway import Place, place_of
from runners.lock import DataLock
from tests.integration.gatewaying import (
    Gateway,
    decoded,
    order,
    running_gateway,
    signed,
    until_async,
)
from tests.integration.harness import ROOT, end, running_cell

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("gateway_limits")]

MIB = 1 << 20


class Raw(NamedTuple):
    """A connection without a client library, which would never be this rude."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self, seconds: float = 10.0) -> tuple[int, dict[str, str], bytes]:
        """Read one answer."""
        async with asyncio.timeout(seconds):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def closed(self, seconds: float = 10.0) -> bool:
        """Tell whether the other side closes."""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read(1) == b""
            return True


@contextlib.asynccontextmanager
async def raw(gateway: Gateway) -> AsyncIterator[Raw]:
    url = gateway.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def head(gateway: Gateway, length: int, path: str = "/api/v1/orders?channel=taobao&shop=s", more: str = "") -> bytes:
    token = gateway.client.headers["authorization"]
    return (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: {length}\r\n{more}\r\n"
    ).encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with running_gateway(
        tmp_path_factory.mktemp("limits") / "data", gateway_bytes_max=40 * MIB, gateway_requests_max=8
    ) as running:
        yield running


# --- size


async def test_a_webhook_larger_than_a_mebibyte_is_refused_before_it_is_read(gateway: Gateway) -> None:
    async with raw(gateway) as client:
        client.writer.write(head(gateway, MIB + 1, "/webhooks/shop-a"))
        status, _, body = await client.answer()
    assert status == 413
    assert json.loads(body)["advice"]


async def test_a_body_that_grows_beyond_the_limit_is_refused(gateway: Gateway) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 64 * 1024

    answer = await gateway.client.post("/webhooks/shop-a", content=chunks())
    assert answer.status_code == 413


async def test_a_client_that_sends_on_after_a_refusal_gets_to_read_it(gateway: Gateway) -> None:
    body = b"x" * (2 * MIB)
    answer = await gateway.client.post("/webhooks/shop-a", content=body, headers=signed(body))
    assert answer.status_code == 413
    assert (await gateway.client.get("/healthz")).status_code == 200


async def test_pushes_may_be_as_large_as_32_mebibytes_and_no_larger(gateway: Gateway) -> None:
    padding = b'","padding":"' + b"x" * (33 * MIB) + b'"}'
    answer = await gateway.push(order(1).removesuffix(b'"}') + padding)
    assert answer.status_code == 413
    async with raw(gateway) as client:
        client.writer.write(head(gateway, 32 * MIB))
        client.writer.write(b"x")
        await client.writer.drain()
        await asyncio.sleep(0.1)
    assert (await gateway.client.get("/healthz")).status_code == 200


async def test_bodies_together_may_hold_so_much_memory(gateway: Gateway) -> None:
    async with raw(gateway) as first, raw(gateway) as second:
        first.writer.write(head(gateway, 30 * MIB) + b"x" * (25 * MIB))
        await first.writer.drain()
        second.writer.write(head(gateway, 30 * MIB))
        assert (await gateway.push(order(2))).status_code == 200  # what is announced takes no room yet
        second.writer.write(b"x" * (25 * MIB))
        status, headers, _ = await second.answer()
        assert (status, "retry-after" in headers) == (503, True)
        assert (await gateway.push(order(2))).status_code == 200
    await asyncio.sleep(0.2)
    assert await gateway.figure("orderspine_http_body_bytes") == 0


async def test_compressed_bodies_are_refused(gateway: Gateway) -> None:
    answer = await gateway.push(b"\x1f\x8b", {"content-encoding": "gzip"})
    assert answer.status_code == 415
    assert decoded(answer)["where"] == "header Content-Encoding"


@pytest.mark.parametrize(
    "rude",
    [
        b"GET / HTTP/1.1\r\n" + b"x-long: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(200)) + b"\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"nonsense\r\n\r\n",
        b"POST /api/v1/orders HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /api/v1/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n",
    ],
)
async def test_what_is_no_honest_request_is_refused_and_cut_off(gateway: Gateway, rude: bytes) -> None:
    async with raw(gateway) as client:
        client.writer.write(rude)
        status, _, body = await client.answer()
        assert status == 400
        assert json.loads(body)["type"] == "urn:orderspine:problem:bad-request"
        assert await client.closed()


async def test_requests_sent_in_one_go_are_answered_in_their_order(gateway: Gateway) -> None:
    async with raw(gateway) as client:
        client.writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /nothing HTTP/1.1\r\nhost: x\r\n\r\n")
        assert [(await client.answer())[0], (await client.answer())[0]] == [200, 404]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_client_that_offers_another_protocol_is_served_as_it_asked(gateway: Gateway, at_once: bool) -> None:
    """Java's client offers HTTP/2 with each first request, `curl --http2` as well: the body stays the request's."""
    body = order(770 + at_once)
    offer = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"
    async with raw(gateway) as client:
        client.writer.write(head(gateway, len(body), more=offer))
        if not at_once:
            await asyncio.sleep(0.2)
        client.writer.write(body + b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + offer.encode() + b"\r\n")
        status, _, said = await client.answer()
        assert (status, json.loads(said)["orders"][0]["outcome"]) == (200, "accepted")
        assert (await client.answer())[0] == 200
        client.writer.write(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.answer())[0] == 404


async def test_a_client_that_offers_another_protocol_and_wants_one_answer_gets_it(gateway: Gateway) -> None:
    body = order(772)
    offer = "connection: Upgrade, close\r\nupgrade: h2c\r\n"
    async with raw(gateway) as client:
        client.writer.write(head(gateway, len(body), more=offer) + body)
        assert (await client.answer())[0] == 200
        assert await client.closed()
    async with raw(gateway) as client:
        client.writer.write(b"GET /healthz HTTP/1.0\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        assert (await client.answer())[0] == 200
        assert await client.closed()


@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HTTP/1.1\r\nx-long: ",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-long: ",
    ],
)
async def test_a_header_that_does_not_end_is_cut_off_before_it_fills_the_memory(gateway: Gateway, begun: bytes) -> None:
    async with raw(gateway) as client:
        client.writer.write(begun)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 64 * MIB:
                client.writer.write(b"x" * MIB)
                await asyncio.wait_for(client.writer.drain(), 5)
                sent += MIB
        assert sent < 32 * MIB


# --- time


async def test_who_takes_nothing_of_what_he_is_answered_is_cut_off(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed in good order, its connection would stand for as long as it likes; there are no more than a thousand."""
    monkeypatch.setattr(protocol, "TAKE_S", 0.3)
    async with raw(gateway) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(b"GET /schema/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 500)
        with contextlib.suppress(OSError):
            async with asyncio.timeout(10):
                while True:
                    client.writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                    await client.writer.drain()
                    await asyncio.sleep(0.1)


async def test_a_body_that_stalls_times_out(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_of(gateway), "_limits", app_of(gateway)._limits._replace(chunk_s=0.3))
    async with raw(gateway) as client:
        client.writer.write(head(gateway, 100) + b"half of")
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(body)["where"] == "body"
        assert await client.closed()


async def test_a_body_that_trickles_times_out(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_of(gateway), "_limits", app_of(gateway)._limits._replace(body_s=0.5))
    async with raw(gateway) as client:
        client.writer.write(head(gateway, 1_000))

        async def trickle() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client.writer.write(b"x")
                    await asyncio.sleep(0.05)

        task = asyncio.create_task(trickle())
        assert (await client.answer())[0] == 408
        task.cancel()


async def test_a_request_whose_head_never_ends_is_cut_off(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    async with raw(gateway) as client:
        client.writer.write(b"GET /healthz HTTP/1.1\r\nx-slow: ")
        assert (await client.answer())[0] == 408
        assert await client.closed()
    async with raw(gateway) as client:  # also where one was served before
        client.writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.answer())[0] == 200
        client.writer.write(b"GET /hea")
        assert (await client.answer())[0] == 408
        assert await client.closed()


async def test_a_connection_that_says_nothing_is_closed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    async with raw(gateway) as client:
        assert (await client.answer())[0] == 408
        assert await client.closed()


async def test_too_many_connections_are_turned_away(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await gateway.client.get("/healthz")
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 3)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(raw(gateway))
        await asyncio.sleep(0.1)
        client = await stack.enter_async_context(raw(gateway))
        status, headers, _ = await client.answer()
        assert (status, "retry-after" in headers) == (503, True)
        assert await client.closed()


async def test_too_many_requests_at_once_are_answered_busy_and_probes_are_served(gateway: Gateway) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            client = await stack.enter_async_context(raw(gateway))
            client.writer.write(head(gateway, 10))
        await asyncio.sleep(0.2)
        answer = await gateway.push(order(3))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert (await gateway.client.get("/healthz")).status_code == 200
    await asyncio.sleep(0.2)
    assert (await gateway.push(order(3))).status_code == 200


# --- room


async def test_with_a_full_disk_nothing_is_taken_in_and_looking_goes_on(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (await gateway.cell.info()).last_seq

    class Full:
        free = 10 * MIB

    monkeypatch.setattr("shutil.disk_usage", lambda _: Full)
    await until_async(lambda: app_of(gateway)._watch.standing.refusal, 5.0)
    answer = await gateway.push(order(4))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "disk" in decoded(answer)["detail"]
    assert (await gateway.webhook(order(4))).status_code == 503
    assert (await gateway.client.get("/readyz")).status_code == 503
    assert (await gateway.client.get("/api/v1/orders")).status_code == 200
    assert (await gateway.cell.info()).last_seq == before
    monkeypatch.undo()
    await until_async(lambda: not app_of(gateway)._watch.standing.refusal, 5.0)
    assert (await gateway.push(order(4))).status_code == 200


async def test_a_full_mail_answers_busy_before_it_is_full_and_what_was_taken_is_kept(tmp_path: Path) -> None:
    async with running_gateway(tmp_path / "data", worker=False, mail_bytes_max=256 * MIB) as running:
        # The mail of this cell is small: an eighth of it is spare.
        nc = await running.cell.nc()
        from adapters.nats.streams import ensure_mail  # noqa: PLC0415

        await ensure_mail(nc, "main", incarnation="first", first_seq=1, max_bytes=2 * MIB)
        filler = order(1).replace("周末送货，谢谢".encode(), b"x" * 100_000)
        taken = 0
        for _ in range(100):
            answer = await running.push(filler, wait="durable")
            if answer.status_code == 503:
                break
            taken += 1
            await asyncio.sleep(0.12)
        assert answer.status_code == 503
        assert "mail" in decoded(answer)["detail"]
        info = await running.cell.info()
        assert info.messages == taken
        assert info.max_bytes - info.bytes >= 0


# --- a worker that is away


async def test_a_commit_that_does_not_come_is_answered_busy_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "ANSWER_S", 0.7)
    monkeypatch.setattr(desk, "WEBHOOK_S", 0.7)
    async with running_gateway(tmp_path / "data", worker=False) as running:
        assert (await running.client.get("/readyz")).status_code == 503
        answer = await running.push(order(1))
        assert answer.status_code == 503
        assert "known already" in decoded(answer)["advice"]
        assert (await running.webhook(order(2), "n")).status_code == 503
        assert (await running.push(order(3), wait="durable")).status_code == 202
        running.cell.start()
        await running.cell.until()
        streams = {event.stream for event in running.cell.recorded() if event.tag == "order.received"}
        assert streams == {f"order-taobao:hardware:{number}" for number in (1, 2, 3)}
        again = await running.push(order(1))
        assert decoded(again)["orders"][0]["outcome"] == "repeated"
        assert (await running.webhook(order(2), "n")).status_code == 200


async def test_while_the_worker_is_killed_again_and_again_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    async with running_gateway(tmp_path / "data", worker=False) as running, running.cell.kept() as keeper:
        await until_async(lambda: running.cell.tracked() is not None and running.cell.tracked().epoch > 0)  # type: ignore[union-attr]
        successes: set[int] = set()
        number = 0

        async def post() -> None:
            nonlocal number
            while len(keeper.deaths) < 4:
                number += 1
                mine = number
                for _ in range(50):
                    answer = await running.push(order(mine))
                    if answer.status_code != 503:
                        assert answer.status_code == 200, answer.text
                        successes.add(mine)
                        break
                    await asyncio.sleep(0.1)

        async def kill() -> None:
            for death in range(1, 5):
                await asyncio.sleep(0.4)
                keeper.process.kill()
                await keeper.until_deaths(death)

        await asyncio.gather(kill(), *(post() for _ in range(6)))
        await running.cell.until()
        received = [event.stream for event in running.cell.recorded() if event.tag == "order.received"]
        assert len(received) == len(set(received))
        assert {f"order-taobao:hardware:{each}" for each in successes} <= set(received)
        assert len(successes) > 10


async def test_a_broker_that_is_killed_and_started_again_is_found_again(tmp_path: Path) -> None:
    async with running_gateway(tmp_path / "data") as running:
        assert (await running.push(order(1))).status_code == 200
        assert running.cell.server.pid is not None
        os.kill(running.cell.server.pid, signal.SIGKILL)
        during = asyncio.create_task(running.push(order(2)))
        await asyncio.sleep(0.5)
        await running.cell.server.start()
        assert (await during).status_code in {200, 503}
        for _ in range(100):
            answer = await running.push(order(2))
            if answer.status_code == 200:
                break
            await asyncio.sleep(0.1)
        assert decoded(answer)["orders"][0]["outcome"] in {"accepted", "repeated"}
        received = [event.stream for event in running.cell.recorded() if event.tag == "order.received"]
        assert received == ["order-taobao:hardware:1", "order-taobao:hardware:2"]


async def test_a_connection_to_the_broker_that_was_given_up_is_made_anew(tmp_path: Path) -> None:
    async with running_gateway(tmp_path / "data") as running:
        line = running.app._watch._line
        first = line.connection
        await first.close()
        await until_async(lambda: line.connection is not first, 5.0)
        assert (await running.push(order(1))).status_code == 200


async def test_a_broker_that_goes_away_while_it_is_connected_to_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_gateway(tmp_path / "data") as running:
        line = running.app._watch._line
        flush, flushed = Connection.flush, [0]

        async def gone(connection: Connection, **given: Any) -> None:
            flushed[0] += 1
            if flushed[0] <= 2:
                await connection.close()
                raise nats.errors.ConnectionClosedError
            await flush(connection, **given)

        monkeypatch.setattr(Connection, "flush", gone)
        first = line.connection
        await first.close()
        await until_async(lambda: line.connection is not first, 10.0)
        assert (await running.push(order(1))).status_code == 200


# --- as a process


def gateway_process(path: Path, **environment: str) -> "subprocess.Popen[bytes]":
    with (path / "gateway.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "runners.gateway", "--data", str(path)],
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=os.environ | environment,
        )


async def served(path: Path, process: "subprocess.Popen[bytes]") -> str:
    """Wait until a gateway process says where it is and that it is ready."""
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, (path / "gateway.log").read_text()
        place = place_of(path)
        if place is not None and place.pid == process.pid:
            with contextlib.suppress(httpx.TransportError):
                async with httpx.AsyncClient() as client:
                    if (await client.get(f"{place.url}/readyz")).json()["broker"]:
                        return place.url
        assert time.monotonic() < deadline, (path / "gateway.log").read_text()
        await asyncio.sleep(0.05)


async def test_a_signal_lets_requests_under_way_finish_and_the_next_one_takes_the_same_port(tmp_path: Path) -> None:
    path = tmp_path / "data"
    async with running_cell(path) as cell:
        with DataLock(path):
            headers = {"authorization": f"Bearer {add_token(path / API_TOKENS_FILE, 'tests', ('push', 'read'))}"}
            process = gateway_process(path)
            try:
                url = await served(path, process)
                async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30.0) as client:
                    address = "/api/v1/orders?channel=taobao&shop=hardware"
                    waiting = [asyncio.create_task(client.post(address, content=order(n))) for n in range(1, 6)]
                    await asyncio.sleep(0.5)
                    process.send_signal(signal.SIGTERM)
                    await asyncio.sleep(0.3)
                    assert process.poll() is None
                    with pytest.raises(httpx.TransportError):
                        async with httpx.AsyncClient() as late:
                            await late.get(f"{url}/healthz")
                    cell.start()
                    answers = await asyncio.gather(*waiting)
                assert [answer.status_code for answer in answers] == [200] * 5, (path / "gateway.log").read_text()
                assert await asyncio.to_thread(process.wait, 10) == 0
            finally:
                end(process)
            assert place_of(path) == Place(url, 0)
            said = (path / "gateway.log").read_text()
            assert "Traceback" not in said
            process = gateway_process(path)
            try:
                assert await served(path, process) == url
            finally:
                end(process)


async def test_what_was_answered_before_the_gateway_was_killed_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "data"
    async with running_cell(path) as cell:
        with DataLock(path):
            headers = {"authorization": f"Bearer {add_token(path / API_TOKENS_FILE, 'tests', ('push', 'read'))}"}
            cell.start()
            successes: set[int] = set()
            number = 0
            for _ in range(3):
                process = gateway_process(path)
                try:
                    url = await served(path, process)
                    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30.0) as client:

                        async def post(client: httpx.AsyncClient = client) -> None:
                            nonlocal number
                            while True:
                                number += 1
                                mine = number
                                for wait in ("durable", "commit"):
                                    asked = {"channel": "taobao", "shop": "hardware", "wait": wait}
                                    answer = await client.post("/api/v1/orders", params=asked, content=order(mine))
                                    assert answer.status_code in {200, 202}
                                    successes.add(mine)

                        posting = asyncio.gather(*(post() for _ in range(6)), return_exceptions=True)
                        await asyncio.sleep(0.7)
                        process.kill()
                        ends = await posting
                        assert all(isinstance(each, httpx.TransportError) for each in ends), ends
                finally:
                    end(process)
            await cell.until()
            received = [event.stream for event in cell.recorded() if event.tag == "order.received"]
            assert len(received) == len(set(received))
            assert {f"order-taobao:hardware:{each}" for each in successes} <= set(received)
            assert len(successes) > 10


async def test_pushes_of_a_real_connection_are_taken_by_the_process_and_secrets_stay_out_of_its_log(
    tmp_path: Path,
) -> None:
    """The generic contract, signed as its page says, through `channels.json` and a secret's file."""
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    path = tmp_path / "data"
    secret = secrets.token_hex(16)
    body = msgspec.json.encode(
        {
            "order_no": "SO-1",
            "status": "paid",
            "currency": "CNY",
            "ordered_at": "2026-03-01T10:03:04+08:00",
            "modified_at": "2026-03-01T10:03:04+08:00",
            "payable": "10.00",
            "lines": [{"id": "1", "sku": "SKU-1", "quantity": 1, "unit_price": "10.00"}],
            "receiver": {"name": "Zhang San", "phone": "13800001111"},
        }
    )

    def signed_now(nonce: str) -> dict[str, str]:
        stamp = str(int(time.time()))
        message = f"{stamp}.{nonce}.".encode() + body
        signature = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
        return {"X-Timestamp": stamp, "X-Nonce": nonce, "X-Signature": signature}

    async with running_cell(path) as cell:
        with DataLock(path):
            (path / "secret").write_text(secret)
            (path / "secret").chmod(0o600)
            cell.start()
            process = gateway_process(path)
            try:
                url = await served(path, process)
                # Added while it runs.
                from adapters.platforms.connection import Connection  # noqa: PLC0415
                from runners.connections import save  # noqa: PLC0415

                save(path, [Connection("my-erp", "generic", "main", secrets={"push_secret": "file:secret"})])
                await asyncio.sleep(1.5)
                async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:
                    first = await client.post("/webhooks/my-erp", content=body, headers=signed_now("n-1"))
                    again = await client.post("/webhooks/my-erp", content=body, headers=signed_now("n-1"))
                    altered = await client.post("/webhooks/my-erp", content=body + b" ", headers=signed_now("n-2"))
                assert (first.status_code, again.status_code, altered.status_code) == (200, 200, 401)
                assert first.content == again.content
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait, 20)
                end(process)
            await cell.until()
            streams = [event.stream for event in cell.recorded() if event.tag == "order.received"]
            assert streams == ["order-generic:main:SO-1"]
            said = (path / "gateway.log").read_text()
            for word in (secret, "13800001111", "Zhang San", "SO-1"):
                assert word not in said


async def test_a_port_that_is_taken_is_said_clearly(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    other = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with other:
        port = other.sockets[0].getsockname()[1]
        process = gateway_process(path, ORDERSPINE_GATEWAY_PORT=str(port))
        assert await asyncio.to_thread(process.wait, 20) == 2
    said = (path / "gateway.log").read_text()
    assert f"port {port}" in said
    assert "gateway_port" in said
    assert not (path / GATEWAY_FILE).exists()


def app_of(gateway: Gateway) -> Any:
    """Return the guard that the gateway's server runs."""
    return gateway.app
