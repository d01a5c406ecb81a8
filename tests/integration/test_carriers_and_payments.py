"""A merchant whose orders are paid at WeChat Pay and followed by Kuaidi100: the real thing, both services simulated."""

import asyncio
import random
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from adapters.simulators.kuaidi100 import SimKuaidi100, Step
from adapters.simulators.server import served
from adapters.simulators.wechat_pay import SERIAL, Notice, SimWechatPay, disordered
from domain.cellular import Tick
from domain.envelope import By
from domain.ids import CELL_KEY, order_key
from domain.mail import Mail
from domain.time_units import DAY_MS
from runners.gateway import place_of
from runners.post import Postman
from runners.settings import load_settings
from tests.integration.running import Running, Said, orderspine, until

T = TypeVar("T")

pytestmark = pytest.mark.xdist_group("up")

API_KEY = "0123456789abcdef0123456789abcdef"
PAY = "/payments/wxpay"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Merchant:
    """A running order centre, and the two services in a loop of their own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.running = Running(data, "--clock", "mail")
        self.track = SimKuaidi100("the-key")
        self.pay = SimWechatPay(API_KEY)
        self.token = ""

    def on(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def say(self, *words: object) -> Said:
        said = orderspine(*words, "--data", self.data)
        assert said.code == 0, said.err + said.out
        return said

    @property
    def url(self) -> str:
        place = place_of(self.data)
        assert place is not None
        return place.url

    def push(self, number: str, status: str = "awaiting_payment", minute: int = 0, currency: str = "CNY") -> None:
        """Let the merchant's own shop push an order of 25.00."""
        order = {
            "order_no": number,
            "shop": "web",
            "status": status,
            "currency": currency,
            "ordered_at": "2026-01-10T10:00:00+08:00",
            "modified_at": f"2026-01-10T10:{minute:02}:00+08:00",
            "payable": "25.00",
            "lines": [{"id": "1", "sku": "SKU-1", "quantity": 2, "unit_price": "12.50"}],
        }
        answer = httpx.post(
            f"{self.url}/api/v1/orders", json=order, headers={"authorization": f"Bearer {self.token}"}, timeout=30
        )
        assert answer.status_code == 200, answer.text

    def notify(self, *notices: Notice, path: str = PAY) -> list[httpx.Response]:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            return [client.post(path, content=each.body, headers=each.headers) for each in notices]

    def order(self, number: str) -> dict[str, Any]:
        found: dict[str, Any] = orderspine("order", f"generic:web:{number}", "--data", self.data, "--json").json
        return found

    def stopped(self, number: str) -> dict[str, dict[str, Any]]:
        """Return an order's open interceptions by reason."""
        return {each["reason"]: each for each in self.order(number).get("interceptions", ())}

    def tags(self, number: str) -> list[str]:
        return [each["tag"] for each in self.order(number).get("timeline", ())]

    def sees(self, number: str, tag: str) -> None:
        until(lambda: tag in self.tags(number), 20.0)

    def pass_time(self, ms: int) -> None:
        """Let the simulated clock go on."""

        async def tick() -> None:
            async with Postman(load_settings(self.data)) as postman:
                await postman.send([Mail(CELL_KEY, Tick(), now_ms() + ms, By("system", "clock"))])

        self.on(tick())


@pytest.fixture(scope="module")
def merchant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Merchant]:
    directory = tmp_path_factory.mktemp("services")
    found = Merchant(directory / "cell")
    found.thread.start()
    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.run_coroutine_threadsafe(_future(), found.loop).result(10)

    async def serve() -> None:
        async with served(found.track) as url:
            started.set_result(url)
            await stop.wait()

    async def begun() -> str:
        return await started

    serving = asyncio.run_coroutine_threadsafe(serve(), found.loop)
    track_url = found.on(begun())
    for name, text in (("key", "the-key"), ("salt", "our own salt"), ("api", API_KEY)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
    (directory / "wxpay.pem").write_bytes(found.pay.public_key())
    with found.running:
        until(lambda: (place := place_of(found.data)) is not None and place.pid != 0, 20.0)
        found.token = found.say("api-token", "add", "shop", "--rights", "push,read", "--json").json["token"]
        found.say("stock", "receive", "SKU-1=100", "--document", "first")
        found.say(
            *("carriers", "add", "kuaidi", "--callback-url", found.url, "--base-url", track_url),
            *("--secret", f"key=file:{directory / 'key'}", "--secret", f"salt=file:{directory / 'salt'}"),
            *("--sender-phone", "02150001000"),
        )
        found.say(
            *("payments", "add", "wxpay", "--channel", "generic", "--shop", "web", "--mchid", found.pay.mchid),
            *("--key", f"{SERIAL}={directory / 'wxpay.pem'}", "--secret", f"api_v3_key=file:{directory / 'api'}"),
        )
        until(lambda: found.notify(Notice({}, b"{}"))[0].status_code == 401, 10.0)
        yield found
    found.loop.call_soon_threadsafe(stop.set)
    serving.result(10)
    found.loop.call_soon_threadsafe(found.loop.stop)
    found.thread.join(10)
    found.loop.close()


async def _future() -> "asyncio.Future[str]":
    return asyncio.get_running_loop().create_future()


def test_the_services_are_listed_and_the_key_is_tried(merchant: Merchant) -> None:
    assert merchant.say("carriers", "list", "--json").json[0]["name"] == "kuaidi"
    assert merchant.say("payments", "list", "--json").json[0]["keys"].keys() == {SERIAL}
    assert "knows the key" in merchant.say("carriers", "test", "kuaidi").out
    assert merchant.track.subscribed.keys() <= {"SF1001", "SF2001"}


def test_from_the_notice_of_payment_to_the_completion_by_rule(merchant: Merchant) -> None:
    merchant.push("A-1")
    what = merchant.pay.payment("A-1", 2500, now_ms())
    notice = merchant.pay.notice(what, now_ms())
    assert [each.status_code for each in merchant.notify(notice, notice)] == [204, 204]
    merchant.sees("A-1", "order.pick_list_issued")
    assert merchant.tags("A-1").count("order.paid") == 1
    merchant.push("A-1", "paid", 5)
    merchant.say("scan-out", "generic:web:A-1", "--tracking", "SF1001", "--carrier", "SF")
    until(lambda: "SF1001" in merchant.track.subscribed, 20.0)
    merchant.sees("A-1", "order.effect_succeeded")

    steps = [Step(state, now_ms() - 60_000 + at, "上海") for at, state in enumerate(("collected", "delivering"))]
    signed = [*steps, Step("signed", now_ms(), "苏州")]

    async def push(*lives: list[Step]) -> list[bool]:
        async with httpx.AsyncClient(timeout=30) as client:
            return [await merchant.track.push(client, "SF1001", life) for life in lives]

    assert merchant.on(push(signed[:1], signed[:2], signed[:2], signed[:1])) == [True] * 4
    assert merchant.on(push(signed, signed)) == [True] * 2
    merchant.sees("A-1", "order.delivered")
    shown = merchant.order("A-1")
    assert shown["fulfilment"] == "shipped"
    assert (shown["parcels"][0]["state"], shown["parcels"][0]["where"]) == ("signed", "苏州")
    assert merchant.tags("A-1").count("order.tracked") == 3
    assert "苏州" in merchant.say("track", "generic:web:A-1").out
    page = merchant.say("order", "generic:web:A-1").out
    assert "25.00 CNY" in page
    assert "签收" in page
    merchant.pass_time(6 * DAY_MS)
    assert "order.completed" not in merchant.tags("A-1")
    merchant.pass_time(8 * DAY_MS)
    merchant.sees("A-1", "order.completed")
    assert "1380000" not in Path(merchant.data / "log.db").read_bytes().decode("latin-1")


def test_a_bad_day_of_notices_ends_as_a_good_one(merchant: Merchant) -> None:
    numbers = [f"B-{number}" for number in range(8)]
    notices = []
    for number in numbers:
        merchant.push(number)
        notices.append(merchant.pay.notice(merchant.pay.payment(number, 2500, now_ms()), now_ms()))
        notices.append(merchant.pay.notice(merchant.pay.refund(number, 500, now_ms()), now_ms()))
    answers = merchant.notify(*disordered(notices, random.Random(7)))
    assert {each.status_code for each in answers} == {204}
    for number in numbers:
        merchant.sees(number, "order.pick_list_issued")
        shown = merchant.order(number)
        assert (shown["amount_paid"], shown["refunded"], shown.get("interceptions")) == (2500, 500, None)


def test_a_wrong_amount_is_stopped_for_finance_and_may_be_released(merchant: Merchant) -> None:
    merchant.push("C-1")
    merchant.notify(merchant.pay.notice(merchant.pay.payment("C-1", 2400, now_ms()), now_ms()))
    merchant.sees("C-1", "order.intercepted")
    until(lambda: "amount_mismatch" in merchant.stopped("C-1"), 20.0)
    stopped = merchant.stopped("C-1")["amount_mismatch"]
    assert stopped["role"] == "finance"
    assert "24.00 CNY of 25.00 CNY" in stopped["evidence"]
    merchant.say("record-payment", "generic:web:C-1", "--transaction", "CASH-1", "--amount", "1.00")
    merchant.sees("C-1", "order.pick_list_issued")
    assert not merchant.order("C-1").get("interceptions")
    again = orderspine(
        "record-payment", "generic:web:C-1", "--transaction", "CASH-1", "--amount", "2.00", "--data", merchant.data
    )
    assert again.code == 1
    assert "told before" in again.err + again.out


def test_what_finance_records_is_in_the_orders_currency_unless_it_says_otherwise(merchant: Merchant) -> None:
    merchant.push("C-2", currency="USD")
    until(lambda: merchant.order("C-2").get("amounts"), 20.0)
    merchant.say("record-payment", "generic:web:C-2", "--transaction", "BANK-9", "--amount", "25.00")
    merchant.sees("C-2", "order.paid")
    assert not merchant.order("C-2").get("interceptions")
    unknown = orderspine(
        *("record-payment", "generic:web:C-3", "--transaction", "BANK-10", "--amount", "25.00", "--early"),
        *("--data", merchant.data),
    )
    assert (unknown.code, "currency" in unknown.err) == (1, True)


def test_what_is_forged_old_or_for_nobody_leaves_no_trace(merchant: Merchant) -> None:
    merchant.push("D-1")
    what = merchant.pay.payment("D-1", 2500, now_ms())
    forged = merchant.pay.notice(what, now_ms(), forged=True)
    old = merchant.pay.notice(what, now_ms() - 400_000)
    answers = merchant.notify(forged, old)
    assert [each.status_code for each in answers] == [401, 401]
    assert answers[0].json() == {"code": "FAIL", "message": "not genuine"}
    assert merchant.notify(old, path="/payments/nobody")[0].status_code == 404
    assert merchant.notify(old, path="/payments/wxpay/more")[0].status_code in (404, 405)
    assert httpx.get(f"{merchant.url}/payments/wxpay").status_code == 405
    track = f"{merchant.url}/tracks/kuaidi/{order_key('generic', 'web', 'D-1')}"
    answer = httpx.post(track, content=b"param=%7B%7D&sign=0")
    assert (answer.status_code, answer.json()["result"]) == (401, False)
    assert "order.payment_recorded" not in merchant.tags("D-1")


def test_a_notice_that_names_no_order_is_kept(merchant: Merchant) -> None:
    what = merchant.pay.payment(" ", 2500, now_ms())
    assert merchant.notify(merchant.pay.notice(what, now_ms()))[0].status_code == 204
    until(lambda: merchant.say("intake", "--json").json != [], 10.0)
    rows = {(row["channel"], row["shop"]): row for row in merchant.say("intake", "--json").json}
    until(
        lambda: any(
            row["refused"] for row in merchant.say("intake", "--json").json if (row["channel"], row["shop"]) in rows
        ),
        10.0,
    )


def test_a_parcel_that_comes_back_is_told_to_service_and_people_may_record_what_they_hear(merchant: Merchant) -> None:
    merchant.push("E-1", "paid", 1)
    merchant.sees("E-1", "order.pick_list_issued")
    merchant.say("scan-out", "generic:web:E-1", "--tracking", "SF2001", "--carrier", "SF")
    merchant.say("record-track", "generic:web:E-1", "--tracking", "SF2001", "--state", "refused", "--where", "苏州")
    merchant.sees("E-1", "order.delivery_failed")
    assert merchant.stopped("E-1")["delivery_failed"]["role"] == "service"
    said = orderspine(
        *("record-track", "generic:web:E-1", "--tracking", "SF9", "--state", "signed", "--data", merchant.data)
    )
    assert said.code == 1
    assert "no parcel" in said.err + said.out
    for at in ("2026-03-01T10:00", "0001-01-01T00:00+08:00", "soon"):
        early = ("--tracking", "SF2001", "--state", "signed", "--at", at)
        said = orderspine("record-track", "generic:web:E-1", *early, "--data", merchant.data)
        assert (said.code, f"--at '{at}': write a time with its offset" in said.err) == (2, True)


def test_a_service_can_be_taken_away(merchant: Merchant) -> None:
    assert orderspine("carriers", "remove", "nobody", "--data", merchant.data).code == 1
    merchant.say("payments", "add", "wxpay", "--replace", "--no-enabled")
    until(lambda: merchant.notify(Notice({}, b"{}"))[0].status_code == 404, 10.0)
    merchant.say("payments", "remove", "wxpay")
    assert merchant.say("payments", "list", "--json").json == []
