"""Our own contract: what is signed with the secret, fresh and whole gets in; orders are pulled, parcels told once."""

import json
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.platforms import connect, generic
from adapters.platforms.connection import Connection
from adapters.platforms.own_contract import signature, signed_headers, verified_nonce
from domain.platforms import NotAuthorised, NotGenuine, PlatformBusy, PlatformRefused, Puller, Seller, Window
from tests.platform_world import (
    NOW_MS,
    NOW_S,
    Asked,
    MemoryKeys,
    Reply,
    Served,
    connected,
    gathered,
    notice,
    pushed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "the shop's own secret"
BODY = '{"event_id":"01J","order":{"order_no":"MP-1","buyer_message":"刻字：老王"}}'.encode()


def headers(body: bytes = BODY, *, at_s: int = NOW_S, nonce: str = "n-1", secret: str = SECRET) -> dict[str, str]:
    return {"X-Timestamp": str(at_s), "X-Nonce": nonce, "X-Signature": signature(secret, str(at_s), nonce, body)}


def test_the_signature_is_the_one_the_contract_describes() -> None:
    # printf '1794326730.n-1.{"a":1}' | openssl dgst -sha256 -hmac secret
    assert (
        signature("secret", "1794326730", "n-1", b'{"a":1}')
        == "5d357274eb674b1c90c9816a9e899ce1143c855628007266b5a79b5a70292317"
    )


def test_a_request_signed_with_the_secret_is_genuine_and_gives_its_nonce() -> None:
    assert verified_nonce(pushed(BODY, headers()), SECRET) == "n-1"


def test_what_we_sign_ourselves_is_genuine_and_never_has_the_same_nonce_twice() -> None:
    first, second = (signed_headers(SECRET, NOW_MS, BODY) for _ in range(2))
    assert verified_nonce(pushed(BODY, first), SECRET) != verified_nonce(pushed(BODY, second), SECRET)


@pytest.mark.parametrize("apart_s", [-300, 300])
def test_five_minutes_either_way_are_fresh(apart_s: int) -> None:
    verified_nonce(pushed(BODY, headers(at_s=NOW_S + apart_s)), SECRET)


@pytest.mark.parametrize("apart_s", [-301, 301, -NOW_S])
def test_a_second_more_is_not(apart_s: int) -> None:
    with pytest.raises(NotGenuine, match="timestamp"):
        verified_nonce(pushed(BODY, headers(at_s=NOW_S + apart_s)), SECRET)


@pytest.mark.parametrize("name", ["X-Timestamp", "X-Nonce", "X-Signature"])
def test_a_missing_or_odd_header_is_refused(name: str) -> None:
    for value in ("", " ", "é", "名", "a, a", "x" * 200, "1.5", "-1", "１７９４", "\x00"):
        with pytest.raises(NotGenuine):
            verified_nonce(pushed(BODY, {**headers(), name: value}), SECRET)
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(BODY, {k: v for k, v in headers().items() if k != name}), SECRET)


@given(at=st.integers(min_value=0, max_value=len(BODY) - 1), change=st.integers(min_value=1, max_value=255))
def test_any_changed_byte_of_the_body_is_refused(at: int, change: int) -> None:
    body = bytearray(BODY)
    body[at] ^= change
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(bytes(body), headers()), SECRET)


@given(at=st.integers(min_value=0, max_value=63), change=st.integers(min_value=1, max_value=127))
def test_any_changed_character_of_the_signature_is_refused(at: int, change: int) -> None:
    given_headers = headers()
    sign = given_headers["X-Signature"]
    given_headers["X-Signature"] = sign[:at] + chr(ord(sign[at]) ^ change) + sign[at + 1 :]
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(BODY, given_headers), SECRET)


def test_bytes_cannot_move_between_nonce_and_body_under_the_same_signature() -> None:
    body = b"1.5"
    sign = headers(body, nonce="n")["X-Signature"]
    moved = {"X-Timestamp": str(NOW_S), "X-Nonce": "n.1", "X-Signature": sign}
    assert signature(SECRET, str(NOW_S), "n.1", b"5") == sign
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(b"5", moved), SECRET)


def test_another_secret_does_not_open() -> None:
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(BODY, headers(secret="the shop's own secreT")), SECRET)


# --- The merchant's own program on loopback ---

WINDOW = Window(NOW_MS - 3_600_500, NOW_MS - 1)


class Program:
    """What a merchant's own program answers by the contract; it remembers every nonce."""

    def __init__(self, orders: int = 0, *, size: int = 10) -> None:
        self.orders = [{"order_no": f"我的/{number}", "big": 2**60 + number} for number in range(orders)]
        self.size = size
        self.shipments: dict[str, Any] = {}
        self.nonces: set[str] = set()
        self.before: Callable[[Asked], Reply | None] = lambda _: None

    def answer(self, asked: Asked) -> Reply:
        right = signature(SECRET, asked.headers["x-timestamp"], asked.headers["x-nonce"], asked.body)
        if asked.headers["x-signature"] != right or asked.headers["x-nonce"] in self.nonces:
            return Reply({"error": "not signed, or seen before"}, 401)
        self.nonces.add(asked.headers["x-nonce"])
        early = self.before(asked)
        if early is not None:
            return early
        path = unquote(asked.path.removeprefix("/erp"))
        if asked.method == "POST":
            known = asked.json["shipment_id"] in self.shipments
            assert asked.headers["idempotency-key"] == asked.json["shipment_id"]
            self.shipments[asked.json["shipment_id"]] = asked.json
            return Reply({}, 409) if known else Reply({"reference": "S-1"}, 201)
        if path == "/orders":
            start = int(asked.query.get("cursor", "0"))
            end = start + self.size
            cursor = str(end) if end < len(self.orders) else ""
            return Reply({"orders": self.orders[start:end], "next_cursor": cursor})
        if path.startswith("/shipments/"):
            known = path.removeprefix("/shipments/") in self.shipments
            return Reply({}, 200 if known else 404)
        found = [order for order in self.orders if path == f"/orders/{order['order_no']}"]
        return Reply(found[0]) if found else Reply({"error": "no such order"}, 404)


def at(program: Program, **options: str) -> AbstractAsyncContextManager[tuple[Puller, Seller, Served]]:
    chosen = {"calls_per_s": "1000", **options}
    keys = MemoryKeys(None, push_secret=SECRET)
    return connected(program.answer, lambda url: Connection("o", "generic", "s", url + "/erp/", options=chosen), keys)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generic, "_BACKOFF_S", 0.001)


def numbers(documents: list[bytes]) -> list[str]:
    return [json.loads(document)["order_no"] for document in documents]


async def test_without_an_address_it_takes_pushes_only() -> None:
    platform = connect(Connection("o", "generic", "s"), MemoryKeys(None, push_secret=SECRET), lambda: NOW_MS)
    assert (platform.puller, platform.seller, platform.close) == (None, None, None)
    assert platform.receiver is not None
    taken = platform.receiver.receive(pushed(BODY, headers()))
    assert (taken.documents, taken.nonce, taken.answer.status) == ((BODY,), "n-1", 200)
    check = pushed(b"", headers(b""), method="GET")
    assert platform.receiver.receive(check).documents == ()


@pytest.mark.parametrize("orders", [0, 1, 10, 11, 57])
async def test_all_orders_of_a_window_come_whatever_the_pages(orders: int) -> None:
    async with at(Program(orders)) as (puller, _, served):
        found = await gathered(puller.changed(WINDOW))
    assert numbers(found) == [f"我的/{number}" for number in range(orders)]
    assert [json.loads(document)["big"] for document in found] == [2**60 + number for number in range(orders)]
    assert served.asked[0].path == "/erp/orders"
    assert served.asked[0].query["updated_from"] == "2026-11-10T15:05:29.500Z"
    assert served.asked[0].query["updated_to"] == "2026-11-10T16:05:29.999Z"


async def test_a_cursor_that_comes_again_is_told_as_busy() -> None:
    program = Program()
    program.before = lambda _: Reply({"orders": [], "next_cursor": "x"})
    async with at(program) as (puller, _, _served):
        with pytest.raises(PlatformBusy, match="goes on"):
            await gathered(puller.changed(WINDOW))


async def test_one_order_is_fetched_by_its_number_whatever_it_is_made_of() -> None:
    async with at(Program(2)) as (puller, _, _served):
        body = await puller.order("我的/1")
        assert body is not None
        assert numbers([body]) == ["我的/1"]
        assert await puller.order("../shipments") is None
        assert "2 orders" in await puller.check()


async def test_a_parcel_is_told_once_however_often_it_is_told() -> None:
    program = Program()
    async with at(program, **{"carrier.SF": "shunfeng"}) as (_, seller, _served):
        assert not await seller.knows(notice())
        assert await seller.ship(notice()) == "S-1"
        assert await seller.ship(notice()) == ""
        assert await seller.knows(notice())
    (told,) = program.shipments.values()
    assert told == {
        "shipment_id": notice().key,
        "order_no": notice().order_no,
        "carrier": "shunfeng",
        "carrier_name": "顺丰速运",
        "tracking_number": "SF1400000000006",
        "shipped_at": "2026-11-10T16:05:30.000Z",
        "complete": False,
        "lines": [
            {
                "line_id": "6937476692437472003",
                "quantity": 2,
                "item": "1001/2001",
                "sku": "DRL-18V-01",
                "name": "充电电钻 18V",
            },
            {"line_id": "6937476692437472004", "quantity": 1, "item": "", "sku": "", "name": ""},
        ],
    }


async def test_a_notice_whose_answer_is_lost_is_told_again_with_the_same_key_and_another_nonce() -> None:
    program, left = Program(), 2

    def cut(_: Asked) -> Reply | None:
        nonlocal left
        left -= 1
        return Reply(cut=True) if left >= 0 else None

    program.before = cut
    async with at(program) as (_, seller, served):
        await seller.ship(notice())
    assert len({asked.headers["idempotency-key"] for asked in served.asked}) == 1
    assert len({asked.headers["x-nonce"] for asked in served.asked}) == 3


@pytest.mark.parametrize("trouble", [Reply(b"", 503, (("retry-after", "0"),)), Reply(b"", 500), Reply(cut=True)])
async def test_trouble_that_passes_is_outlived_and_lasting_trouble_is_told_as_busy(trouble: Reply) -> None:
    program, left = Program(3), 2

    def fail(_: Asked) -> Reply | None:
        nonlocal left
        left -= 1
        return trouble if left >= 0 else None

    program.before = fail
    async with at(program) as (puller, _, _served):
        assert len(await gathered(puller.changed(WINDOW))) == 3
        left = 1_000
        with pytest.raises(PlatformBusy):
            await gathered(puller.changed(WINDOW))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, NotAuthorised), (403, NotAuthorised), (404, PlatformRefused), (422, PlatformRefused)]
)
async def test_refusals_are_told_by_kind_with_the_programs_own_words(status: int, kind: type[Exception]) -> None:
    program = Program()
    program.before = lambda _: Reply({"error": "the ERP says no"}, status)
    async with at(program) as (puller, seller, _served):
        with pytest.raises(kind, match="the ERP says no"):
            await gathered(puller.changed(WINDOW))
        with pytest.raises(kind, match="the ERP says no") as caught:
            await seller.ship(notice())
        assert SECRET not in f"{caught.value!r}{puller!r}{seller!r}"


@pytest.mark.parametrize("answer", [b"[]", b"<html>", b"{}"])
async def test_an_answer_without_orders_is_never_taken_for_an_empty_window(answer: bytes) -> None:
    program = Program()
    program.before = lambda _: Reply(answer)
    async with at(program) as (puller, _, _served):
        with pytest.raises(PlatformBusy):
            await gathered(puller.changed(WINDOW))
