"""Pages from the last one back, orders a few at a time, signatures of sorted parameters, JSON exactly as it came."""

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.platforms.answers import answered, count, elements, members, text, within
from adapters.platforms.connection import Connection
from adapters.platforms.fetching import AT_ONCE, Page, chunks, fetched, from_last, windows_of
from adapters.platforms.jd_client import sign
from adapters.platforms.pinduoduo_socket import path
from adapters.platforms.places import address, rate, wall
from adapters.platforms.signing import base_of, hmac_md5, md5_between
from domain.platforms import OutcomeUnknown, PlatformBusy, Window

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples"


class Feed:
    """A feed, newest first; an order that changes leaves the window."""

    def __init__(self, orders: int, per_page: int) -> None:
        self.orders = [str(number) for number in range(orders)]
        self.per_page = per_page
        self.asked: list[int] = []
        self.before: Callable[[], None] = lambda: None

    async def ask(self, number: int) -> Page:
        self.before()
        self.asked.append(number)
        page = self.orders[(number - 1) * self.per_page : number * self.per_page]
        return Page(len(self.orders), len(page), json.dumps(page).encode())

    async def read(self, size: int) -> list[str]:
        return [one async for body in from_last(self.ask, size) for one in json.loads(body)]


async def test_pages_are_read_from_the_last_one_back() -> None:
    feed = Feed(25, 10)
    assert set(await feed.read(10)) == set(map(str, range(25)))
    assert feed.asked == [1, 3, 2, 1], "the first one tells how many there are"


async def test_one_page_is_read_once_and_an_empty_one_is_well() -> None:
    for orders in (0, 1, 10):
        feed = Feed(orders, 10)
        assert len(await feed.read(10)) == orders
        assert feed.asked == [1]


@given(st.integers(1, 40), st.data())
async def test_orders_that_leave_while_pages_are_read_hide_no_other(orders: int, data: st.DataObject) -> None:
    feed = Feed(orders, 4)
    left: set[str] = set()

    def leave() -> None:
        for _ in range(data.draw(st.integers(0, 3))):
            if feed.orders:
                left.add(feed.orders.pop(data.draw(st.integers(0, len(feed.orders) - 1))))

    feed.before = leave
    assert set(await feed.read(4)) | left == set(map(str, range(orders)))


async def test_a_platform_that_gives_less_on_a_page_than_asked_hides_nothing() -> None:
    assert set(await Feed(95, 20).read(50)) == set(map(str, range(95)))


async def test_orders_that_are_counted_and_not_listed_are_an_error() -> None:
    async def ask(_: int) -> Page:
        return Page(3, 0, b"[]")

    with pytest.raises(PlatformBusy, match="counts 3 orders in a window and lists none"):
        async for _ in from_last(ask, 50):
            pass


async def test_a_count_that_cannot_be_is_an_error() -> None:
    async def ask(_: int) -> Page:
        return Page(10**12, 50, b"[]")

    with pytest.raises(PlatformBusy, match="which cannot be"):
        async for _ in from_last(ask, 50):
            pass


async def test_a_few_are_fetched_at_the_same_time_and_come_in_their_order() -> None:
    running = most = 0

    async def fetch(name: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (int(name) % 3))
        running -= 1
        return name

    names = [str(number) for number in range(40)]
    assert await fetched(names, fetch) == names
    assert most == AT_ONCE


async def test_the_first_error_ends_the_others() -> None:
    begun: list[str] = []

    async def fetch(name: str) -> str:
        begun.append(name)
        await asyncio.sleep(0)
        raise PlatformBusy(name)

    with pytest.raises(PlatformBusy):
        await fetched([str(number) for number in range(100)], fetch)
    await asyncio.sleep(0.01)
    assert len(begun) <= 2 * AT_ONCE


def test_windows_are_cut_without_a_gap() -> None:
    parts = [Window(0, 10_000), Window(10_000, 20_000), Window(20_000, 25_000)]
    assert list(windows_of(Window(0, 25_000), 10_000)) == parts
    assert list(windows_of(Window(999, 24_001), 10_000)) == parts, "in whole seconds, and nothing is left out"
    assert list(windows_of(Window(5_000, 5_000), 10_000)) == []


def test_ids_come_in_lists_each_once() -> None:
    assert list(chunks(["1", "2", "1", "3"], 2)) == [["1", "2"], ["3"]]


PARAMS = {
    "method": "taobao.trade.fullinfo.get",
    "app_key": "12345678",
    "session": "test-session",
    "timestamp": "2026-11-11 00:10:00",
    "format": "json",
    "v": "2.0",
    "fields": "tid,status,orders",
    "tid": "2960318827740212345",
}


def test_taobaos_signatures_are_the_known_ones() -> None:
    by_md5 = md5_between("helloworld", {**PARAMS, "sign_method": "md5"})
    assert by_md5 == "612AA6EE8E99D04D9F81D3022CC8FB57"
    by_hmac = hmac_md5("helloworld", {**PARAMS, "sign_method": "hmac"})
    assert by_hmac == "606BFC71398A0565AC877517122D84C6"


JD_BUSINESS = (
    '{"end_date":null,"optional_fields":null,"order_state":"WAIT_SELLER_STOCK_OUT",'
    '"page":"1","page_size":"200","start_date":null}'
)
JD = {
    "360buy_param_json": JD_BUSINESS,
    "access_token": "yourtoken",
    "app_key": "yourappkey",
    "method": "jingdong.pop.order.search",
    "timestamp": "2021-05-07 09:20:39.683+0800",
    "v": "2.0",
}


def test_jds_signature_is_the_known_one_and_leaves_the_format_out() -> None:
    known = "D70825340F4084360B9362B60DFD7930"
    assert sign("yourappSecret", JD) == known
    assert sign("yourappSecret", {**JD, "format": "json", "sign_method": "md5", "sign": "x"}) == known


PDD = {
    "access_token": "asd78172s8ds9a921j9qqwda12312w1w21211",
    "client_id": "1",
    "data_type": "XML",
    "order_status": "1",
    "page": "1",
    "page_size": "10",
    "timestamp": "1480411125",
    "type": "pdd.order.number.list.get",
}


def test_pinduoduos_signature_is_the_known_one() -> None:
    assert md5_between("testSecret", PDD) == "E4DE3ED21002510DED352819E7AE6775"


def test_pinduoduos_socket_path_is_the_known_one() -> None:
    known = "/message/app/1700000000000/OTgxODMwNDI2NWZiN2NiNzA2NzIxOTI0ZjJlMDMxMjE%3D"
    assert path("app", "secret", 1_700_000_000_000) == known


@pytest.mark.parametrize("params", [PARAMS, JD, PDD])
def test_a_changed_byte_changes_the_signature(params: dict[str, str]) -> None:
    signs = {md5_between("s", params), md5_between("t", params)}
    for name, value in params.items():
        signs.add(md5_between("s", {**params, name: value[:-1] + chr(ord(value[-1]) ^ 1)}))
        signs.add(md5_between("s", {**params, name: value + "x"}))
    assert len(signs) == 2 + 2 * len(params)


@pytest.mark.parametrize("channel", ["taobao", "jd", "pinduoduo"])
def test_every_vector_of_the_reference_is_met(channel: str) -> None:
    file = SAMPLES / channel / "signature_vectors.json"
    if not file.exists():
        pytest.skip("the reference is not here")
    vectors = json.loads(file.read_bytes())
    for case in vectors["cases"]:
        if "params" in case:
            assert base_of(case["params"]) == case["base"]
        signer = hmac_md5 if "hmac" in case["rule"] else md5_between
        # One parameter whose name and value are the known base: the rule itself.
        assert signer(vectors["secret"], {case["base"]: ""}) == case["sign"]


def test_ids_stay_exact_text() -> None:
    raw = b'{"tid": 2960318827740212345, "big": 9007199254740993, "text": "007", "half": 1.5}'
    found = members(raw)
    assert text(found, "nothing", "tid") == "2960318827740212345"
    assert text(found, "big") == "9007199254740993"
    assert text(found, "text") == "007"
    assert text(found, "half") == "", "a fraction is no id"
    assert bytes(found["tid"]) == b"2960318827740212345"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"[1, 2]", [b"1", b"2"]),
        (b"[]", []),
        (b"null", []),
        (b'""', []),
        (b"{}", []),
        (b'{"tid": 1}', [b'{"tid": 1}']),
    ],
)
def test_a_list_may_be_one_element_or_absent(raw: bytes, expected: list[bytes]) -> None:
    assert [bytes(element) for element in elements(msgspec.Raw(raw))] == expected
    assert elements(None) == []


def test_what_is_not_there_is_empty() -> None:
    found = members(b'{"a": {"b": {"c": "7"}}, "n": null}')
    assert count(within(found, "a", "b"), "c") == 7
    assert within(found, "a", "x", "c") == {}
    assert within(found, "n", "b") == {}
    assert count(found, "a") is None
    assert members(b"[1]") == {}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b'{"a":', b"[" * 100_000])
def test_what_is_no_json_object_is_busy_or_unknown(body: bytes) -> None:
    with pytest.raises(PlatformBusy, match="no JSON object"):
        answered(body, "Taobao")
    with pytest.raises(OutcomeUnknown, match="no JSON object"):
        answered(body, "Taobao", repeatable=False)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_json_can_be_looked_into(value: Any) -> None:
    raw = msgspec.Raw(json.dumps(value).encode())
    for element in elements(raw):
        text(members(element), "tid")
        count(members(element), "total")


def test_times_are_those_of_china() -> None:
    assert wall(1_794_326_730_000) == "2026-11-11 00:05:30"
    assert wall(1_794_326_730_001) == "2026-11-11 00:05:30"
    assert wall(1_794_326_730_001, up=True) == "2026-11-11 00:05:31"
    assert wall(1_794_326_730_000, up=True) == "2026-11-11 00:05:30"
    assert wall(1_794_326_730_007, fraction=True) == "2026-11-11 00:05:30.007"


def test_an_address_may_be_given_with_and_without_its_path() -> None:
    assert address("", "https://usual.example/p", "/p") == "https://usual.example/p"
    assert address("http://127.0.0.1:9", "https://usual.example/p", "/p") == "http://127.0.0.1:9/p"
    assert address("http://127.0.0.1:9/p/", "https://usual.example/p", "/p") == "http://127.0.0.1:9/p"
    assert address("ws://127.0.0.1:9", "wss://usual.example", "") == "ws://127.0.0.1:9"
    with pytest.raises(ValueError, match="not an address"):
        address("usual.example", "https://usual.example/p", "/p")


@pytest.mark.parametrize("given_rate", ["0", "-1", "nan", "inf", "many"])
def test_a_rate_must_be_a_positive_number(given_rate: str) -> None:
    shop = Connection("n", "taobao", "s", options={"calls_per_s": given_rate})
    with pytest.raises(ValueError, match="calls_per_s must be a positive number"):
        rate(shop, 5.0)


def test_a_rate_may_be_given() -> None:
    assert rate(Connection("n", "taobao", "s"), 5.0) == (5.0, 5)
    assert rate(Connection("n", "taobao", "s", options={"calls_per_s": "0.2"}), 5.0) == (0.2, 1)
