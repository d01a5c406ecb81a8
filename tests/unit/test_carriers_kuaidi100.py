"""Kuaidi100: what is asked of it, what its pushes become, and which of them are not its own."""

import asyncio
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.carriers.kuaidi100 import STATES, SUCCESS, Kuaidi100
from adapters.carriers.settings import TrackService
from adapters.simulators import kuaidi100 as simulated
from adapters.simulators.kuaidi100 import SimKuaidi100, Step
from adapters.simulators.server import served
from domain.callbacks import Subscription, Told
from domain.ids import intake_key
from domain.mail import AsideReport
from domain.platforms import NotAuthorised, NotGenuine, PlatformBusy, PlatformRefused
from domain.tracking import FAILURES, RecordTrack
from tests.platform_world import Asked, MemoryKeys, Reply, Served, pushed

ORDER = "order-taobao:shop1:o-1"
KEYS = MemoryKeys(key="the-key", salt="our own salt")
NINE = 1_772_326_800_000
"""2026-03-01 09:00:00 in UTC+8."""


def service(**more: Any) -> TrackService:
    return TrackService("kuaidi", "https://orders.example.com/", **more)


def made(**more: Any) -> Kuaidi100:
    return Kuaidi100(service(**more), KEYS.secret)


def salt_of(order: str = ORDER) -> str:
    return made()._salt(order)


def form(param: str, sign: str | None = None) -> bytes:
    own = hashlib.md5((param + salt_of()).encode()).hexdigest().upper()  # noqa: S324  the service's rule
    return urlencode({"sign": own if sign is None else sign, "param": param}).encode()


def push(*data: dict[str, Any], state: str = "0", com: str = "shunfeng", **more: Any) -> str:
    return json.dumps(
        {"status": "polling", "lastResult": {"nu": "SF1", "com": com, "state": state, "data": data, **more}}
    )


def noted(time: str = "2026-03-01 09:00:00", **more: Any) -> dict[str, Any]:
    return {
        "time": time,
        "ftime": time,
        "context": "【上海】张师傅13800001111 已揽收",
        "areaName": "上海,浦东新区",
        **more,
    }


def call(body: bytes, place: str = ORDER) -> Told:
    return made().call(pushed(body), place)


def told(param: str) -> RecordTrack:
    ((to, command),) = call(form(param)).mails
    assert to == ORDER
    assert isinstance(command, RecordTrack)
    return command


def test_a_push_becomes_what_befell_the_parcel_without_the_words_of_the_carrier() -> None:
    command = told(push(noted("2026-03-01 10:00:00", status="派件"), noted(statusCode="103")))
    assert (command.tracking, command.carrier) == ("SF1", "SF")
    assert [(scan.at_ms, scan.state, scan.where) for scan in command.scans] == [
        (NINE, "collected", "上海,浦东新区"),
        (NINE + 3_600_000, "delivering", "上海,浦东新区"),
    ]
    assert "138" not in repr(command)
    assert len(command.command_id) < 64
    assert call(form(push(noted()))).answer == SUCCESS
    assert json.loads(SUCCESS.body) == {"result": True, "returnCode": "200", "message": "成功"}


@pytest.mark.parametrize(
    ("data", "of_all", "state"),
    [
        ({"statusCode": "301"}, "0", "signed"),
        ({"statusCode": 3}, "0", "signed"),
        ({"statusCode": "1002"}, "3", "in_transit"),
        ({"statusCode": "101"}, "0", ""),
        ({"statusCode": "203"}, "2", "refused"),
        ({"statusCode": "206"}, "0", "problem"),
        ({"statusCode": "14"}, "0", "refused"),
        ({"statusCode": "99"}, "3", "signed"),
        ({"status": "退回"}, "0", "returning"),
        ({"status": "第九种"}, "5", "delivering"),
        ({}, "4", "returned"),
        ({}, "77", ""),
    ],
)
def test_a_state_is_told_by_number_by_word_or_by_the_whole(data: dict[str, Any], of_all: str, state: str) -> None:
    assert told(push(noted(**data), state=of_all)).scans[0].state == state


def test_only_the_newest_line_is_what_the_whole_says() -> None:
    command = told(push(noted("2026-03-01 10:00:00"), noted(), state="3"))
    assert [scan.state for scan in command.scans] == ["", "signed"]


def test_the_same_push_is_the_same_act_and_another_is_not() -> None:
    assert told(push(noted())) == told(push(noted()))
    assert told(push(noted())).command_id != told(push(noted(), state="5")).command_id


def test_digits_in_a_place_are_no_telephone_of_anybody() -> None:
    assert told(push(noted(areaName="张师傅13800001111"))).scans[0].where == "张师傅…"


@pytest.mark.parametrize(
    "param",
    ['{"status":"abort"}', '{"status":"x","lastResult":{"nu":"","data":[]}}', push(), push(noted("soon"))],
)
def test_a_push_that_tells_nothing_of_a_parcel_is_kept_beside_the_orders(param: str) -> None:
    ((to, report),) = call(form(param)).mails
    assert to == intake_key("taobao", "shop1")
    assert isinstance(report, AsideReport)
    assert (report.kind, report.raw) == ("ignored", param.encode())


def test_a_push_of_another_form_is_kept_with_its_bytes() -> None:
    ((_, report),) = call(form("[1]")).mails
    assert isinstance(report, AsideReport)
    assert (report.kind, report.raw) == ("refused", b"[1]")


def test_the_signature_is_md5_of_param_and_salt() -> None:
    # Digests by md5sum and by openssl.
    assert hashlib.md5(b'{"status":"polling"}0123456789abcdef0123456789abcdef').hexdigest() == VECTOR  # noqa: S324
    assert salt_of() == SALT_VECTOR


def test_a_push_that_is_not_genuine_is_refused() -> None:
    good = form(push(noted()))
    for body in (
        b"",
        b"not a form",
        b"\xff\xfe",
        form(push(noted()), ""),
        form(push(noted()), "0" * 32),
        good.replace(b"SF1", b"SF2"),
        good + b"&param=x",
        urlencode({"param": push(noted())}).encode(),
    ):
        with pytest.raises(NotGenuine):
            call(body)
    with pytest.raises(NotGenuine):
        made().call(pushed(good, method="GET"), ORDER)


@pytest.mark.parametrize(
    "place", ["", "warehouse-A", "order-taobao:shop1", "order-taobao:shop1:o-2", "../x", "order-a:b:c:d"]
)
def test_a_push_is_genuine_for_its_own_order_only(place: str) -> None:
    with pytest.raises(NotGenuine):
        call(form(push(noted())), place)


@given(st.binary(max_size=200), st.text(max_size=30))
def test_any_bytes_are_refused_and_never_a_fault(body: bytes, place: str) -> None:
    with pytest.raises(NotGenuine):
        call(body, place)


NAMES = ("status", "lastResult", "nu", "data", "state", "com", "time", "context", "x")
ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
)


@given(ANYTHING)
def test_any_signed_content_is_taken_or_kept(content: Any) -> None:
    found = call(form(json.dumps(content)))
    assert found.answer == SUCCESS
    assert len(found.mails) == 1


def test_a_refusal_lets_it_come_again() -> None:
    answer = made().refusal(503, "not now")
    assert answer.status == 503
    assert json.loads(answer.body)["result"] is False


# --- asking


async def test_a_parcel_is_asked_for_once_and_its_life_is_heard() -> None:
    simulator = SimKuaidi100("the-key")
    async with served(simulator) as url:
        client = made(base_url=url, sender_phone="02150001000")
        wanted = Subscription(ORDER, "SF", "SF1")
        assert await client.subscribe(wanted) == ""
        assert await client.subscribe(wanted) == ""
        known = simulator.subscribed["SF1"]
        assert known.callback_url == f"https://orders.example.com/tracks/kuaidi/{ORDER}"
        assert (known.company, known.salt, known.phone) == ("shunfeng", salt_of(), "02150001000")
        steps = [Step(state, NINE + number * 60_000, "上海") for number, state in enumerate(simulated.STATES)]
        for number, step in enumerate(steps, 1):
            ((_, command),) = client.call(pushed(simulator.form("SF1", steps[:number])), ORDER).mails
            assert isinstance(command, RecordTrack)
            assert (command.scans[-1].at_ms, command.scans[-1].state) == (step.at_ms, step.state)
            assert len(command.scans) == number
        with pytest.raises(NotGenuine):
            client.call(pushed(simulator.form("SF1", steps, salt="guessed")), ORDER)
        assert "knows the key" in await client.check()
        await client.close()
        await client.close()


@pytest.mark.parametrize("carrier", ["YTO", "yuantong", "圆通速递", "MINE"])
async def test_a_carrier_is_known_by_any_of_its_usual_names_and_by_the_merchants(carrier: str) -> None:
    simulator = SimKuaidi100("the-key")
    async with served(simulator) as url:
        client = made(base_url=url, codes={"MINE": "zhongtong"})
        assert client.knows(carrier)
        await client.subscribe(Subscription(ORDER, carrier, "N1"))
        assert simulator.subscribed["N1"].company == ("zhongtong" if carrier == "MINE" else "yuantong")
        await client.close()


async def test_what_it_does_not_follow_is_told_with_advice() -> None:
    simulator = SimKuaidi100("the-key")
    async with served(simulator) as url:
        client = made(base_url=url)
        assert not client.knows("PIGEON")
        with pytest.raises(PlatformRefused, match="--code PIGEON=THEIRS"):
            await client.subscribe(Subscription(ORDER, "PIGEON", "P1"))
        for number in ("", "9" * 33):
            with pytest.raises(PlatformRefused, match="characters"):
                await client.subscribe(Subscription(ORDER, "YTO", number))
        with pytest.raises(PlatformRefused, match="700"):
            await client.subscribe(Subscription(ORDER, "SF", "SF1"))
        assert simulator.subscribed == {}
        await client.close()
        stranger = Kuaidi100(service(base_url=url), MemoryKeys(key="wrong", salt="s").secret)
        with pytest.raises(NotAuthorised):
            await stranger.check()
        await stranger.close()


@pytest.mark.parametrize(("body", "wrong"), [({"returnCode": "500"}, PlatformBusy), ("<html>", PlatformBusy)])
async def test_a_service_in_trouble_is_asked_later(body: Any, wrong: type[Exception]) -> None:
    def answer(asked: Asked) -> Reply:
        assert parse_qs(asked.body.decode())["schema"] == ["json"]
        return Reply(body)

    async with Served(answer) as server:
        client = made(base_url=server.url)
        with pytest.raises(wrong):
            await client.subscribe(Subscription(ORDER, "YTO", "Y1"))
        await client.close()
    await asyncio.sleep(0)


def test_every_state_of_the_service_means_one_of_ours() -> None:
    assert set(FAILURES) <= set(STATES.values())


VECTOR = "d01bc43c78e758d463df284f980e40d5"
SALT_VECTOR = "a11d114ce44104fe823d990973cb1ce8"
