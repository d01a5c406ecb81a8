"""Track and payment services at the gateway: read again when a file changes, answered in their own form when busy."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.nats.errors import BrokerUnavailable
from adapters.payments.settings import PaymentService
from adapters.platforms.connection import MissingSecret
from adapters.simulators.wechat_pay import SERIAL, SimWechatPay
from adapters.web.callbacks import Callbacks
from adapters.web.metrics import Metrics
from adapters.web.ports import Busy, HookAway
from adapters.web.problems import Refused
from domain.callbacks import Told
from domain.mail import Mail, Reply
from domain.platforms import PushAnswer, PushRequest
from domain.tracking import RecordTrack, Scan
from runners.gateway_callbacks import ServiceDesk
from runners.services import CARRIERS, PAYMENTS
from tests.platform_world import NOW_MS, pushed

API_KEY = "0123456789abcdef0123456789abcdef"
ORDER = "order-generic:web:A-1"
MAILS = ((ORDER, RecordTrack("track/1", "T1", "SF", (Scan(NOW_MS, "signed"),))),)
DONE = PushAnswer(200, "application/json", b"{}")


class Sent:
    """The way to the broker."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.error: Exception | None = None

    async def __call__(self, mails: Sequence[Mail]) -> Sequence[Reply]:
        if self.error is not None:
            raise self.error
        self.mails += mails
        return [Reply(number, "accepted") for number, _ in enumerate(mails)]


class Service:
    """Answers as it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def call(self, request: PushRequest, place: str) -> Told:
        del request, place
        if self.error is not None:
            raise self.error
        return Told(MAILS, DONE)

    def refusal(self, status: int, reason: str) -> PushAnswer:
        return PushAnswer(status, "text/plain", reason.encode())


class Desk:
    """One service, and a way that may be shut."""

    def __init__(self, service: Service | None, busy: bool = False, away: bool = False) -> None:
        self.service, self.busy, self.away = service, busy, away
        self.delivered: list[Any] = []

    def find(self, *name: str) -> Any:
        del name
        if self.away:
            raise HookAway("no key")
        return self.service

    async def deliver(self, mails: Any, *rest: str) -> list[str]:
        del rest
        if self.busy:
            raise Busy("full")
        self.delivered += mails
        return ["accepted" for _ in mails]


async def called(desk: Desk) -> PushAnswer:
    return await Callbacks(desk, Metrics()).call("tracks", "kuaidi", ORDER, pushed(b"{}"), "c-1")


async def test_what_is_told_is_delivered_before_it_is_answered() -> None:
    desk = Desk(Service())
    assert await called(desk) == DONE
    assert desk.delivered == list(MAILS)


@pytest.mark.parametrize(
    ("desk", "status"),
    [
        (Desk(Service(), busy=True), 503),
        (Desk(Service(MissingSecret("which one"))), 503),
        (Desk(Service(ValueError("a secret of the body"))), 401),
    ],
)
async def test_what_was_not_taken_is_said_in_the_services_form_and_comes_again(desk: Desk, status: int) -> None:
    answer = await called(desk)
    assert (answer.status, answer.content_type) == (status, "text/plain")
    assert b"secret" not in answer.body
    assert desk.delivered == []


@pytest.mark.parametrize(("desk", "status"), [(Desk(None), 404), (Desk(None, away=True), 503)])
async def test_a_service_that_is_not_there_is_told_so(desk: Desk, status: int) -> None:
    with pytest.raises(Refused) as refused:
        await called(desk)
    assert refused.value.status == status


async def test_mail_says_who_told_it_and_a_broker_that_is_away_is_busy(tmp_path: Path) -> None:
    sent = Sent()
    desk = ServiceDesk(tmp_path, sent, lambda: NOW_MS)
    assert await desk.deliver(MAILS, "tracks", "kuaidi", "c-1") == ["accepted"]
    (mail,) = sent.mails
    assert (mail.to, mail.by.kind, mail.by.id, mail.correlation) == (ORDER, "system", "tracks:kuaidi", "c-1")
    for error in (BrokerUnavailable("down"), TimeoutError()):
        sent.error = error
        with pytest.raises((Busy, TimeoutError)):
            await desk.deliver(MAILS, "tracks", "kuaidi", "c-1")
    await desk.close()
    await asyncio.sleep(0)


async def test_files_that_change_are_read_again_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    desk = ServiceDesk(tmp_path, Sent(), lambda: NOW_MS)
    desk.refresh()
    assert desk.find("payments", "wxpay") is None
    pem = tmp_path / "key.pem"
    with PAYMENTS.editing(tmp_path) as entries:
        entries.append(
            PaymentService("wxpay", "generic", "web", keys={SERIAL: str(pem)}, secrets={"api_v3_key": "env:NONE"})
        )
    desk.refresh()
    with pytest.raises(HookAway, match="wxpay"):
        desk.find("payments", "wxpay")
    pem.write_bytes(SimWechatPay(API_KEY).public_key())
    desk.refresh()
    known = desk.find("payments", "wxpay")
    assert known is not None
    desk.refresh()
    assert desk.find("payments", "wxpay") is known
    (tmp_path / CARRIERS.file).write_text("{")
    desk.refresh()
    assert desk.find("payments", "wxpay") is known
    (tmp_path / CARRIERS.file).unlink()
    with PAYMENTS.editing(tmp_path) as entries:
        entries.clear()
    desk.refresh()
    assert desk.find("payments", "wxpay") is None
    await desk.close()
