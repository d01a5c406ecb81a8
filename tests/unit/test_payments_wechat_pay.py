"""WeChat Pay's notices: which are genuine, which order they are about, and what they become."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payments import connect
from adapters.payments.settings import PaymentService, order_of
from adapters.payments.wechat_pay import DONE
from adapters.platforms.connection import MissingSecret
from adapters.simulators.wechat_pay import SERIAL, Notice, SimWechatPay, disordered
from domain.callbacks import Called, Told
from domain.ids import BadId, intake_key, order_key
from domain.mail import AsideReport
from domain.payments import RecordPayment
from domain.platforms import NotGenuine, PushRequest
from tests.platform_world import NOW_MS, MemoryKeys, pushed

API_KEY = "0123456789abcdef0123456789abcdef"
SHOP = "wx0123456789abcdef"
ORDER = order_key("miniprogram", SHOP, "M-1")


@pytest.fixture(scope="module")
def service() -> SimWechatPay:
    return SimWechatPay(API_KEY)


@pytest.fixture(scope="module")
def settings(service: SimWechatPay, tmp_path_factory: pytest.TempPathFactory) -> PaymentService:
    pem = tmp_path_factory.mktemp("keys") / "wxpay.pem"
    pem.write_bytes(service.public_key())
    return PaymentService("wxpay", "miniprogram", SHOP, mchid=service.mchid, keys={SERIAL: str(pem)})


@pytest.fixture(scope="module")
def receiver(settings: PaymentService) -> Called:
    return connect(settings, MemoryKeys(api_v3_key=API_KEY).secret)


def request(notice: Notice, now_ms: int = NOW_MS) -> PushRequest:
    return pushed(notice.body, notice.headers, now_ms=now_ms)


def only(told: Told) -> RecordPayment:
    ((to, command),) = told.mails
    assert to == ORDER
    assert told.answer == DONE
    assert isinstance(command, RecordPayment)
    return command


def test_a_payment_becomes_a_movement_of_its_order(service: SimWechatPay, receiver: Called) -> None:
    what = service.payment("M-1", 19_900, NOW_MS - 5_000)
    command = only(receiver.call(request(service.notice(what, NOW_MS)), ""))
    number = what["resource"]["transaction_id"]
    assert command == RecordPayment(
        f"payment/wxpay/{number}/paid/19900CNY", number, 19_900, "CNY", "paid", (NOW_MS - 5_000) // 1000 * 1000, "wxpay"
    )
    assert "oUpF8u" not in repr(command)


def test_a_refund_becomes_one_too_by_its_own_number(service: SimWechatPay, receiver: Called) -> None:
    what = service.refund("M-1", 500, NOW_MS)
    command = only(receiver.call(request(service.notice(what, NOW_MS)), ""))
    held = what["resource"]
    assert (command.kind, command.amount, command.currency) == ("refunded", 500, "CNY")
    assert (command.transaction, command.payment) == (held["refund_id"], held["transaction_id"])


@pytest.mark.parametrize("status", ["ABNORMAL", "CLOSED"])
def test_a_refund_that_was_not_made_is_dated_by_its_coming(
    service: SimWechatPay, receiver: Called, status: str
) -> None:
    command = only(receiver.call(request(service.notice(service.refund("M-1", 5, 0, status=status), NOW_MS)), ""))
    assert (command.kind, command.at_ms) == ("refund_failed", NOW_MS)


@pytest.mark.parametrize(("state", "kind"), [("PAYERROR", "failed"), ("REVOKED", "failed"), ("CLOSED", "timed_out")])
def test_a_payment_that_was_not_made_has_a_number_all_the_same(
    service: SimWechatPay, receiver: Called, state: str, kind: str
) -> None:
    what = service.payment("M-1", 5, NOW_MS, state=state)
    what["resource"]["transaction_id"] = ""
    command = only(receiver.call(request(service.notice(what, NOW_MS)), ""))
    assert (command.kind, command.transaction) == (kind, f"M-1/{kind}")


def test_the_same_notice_sent_again_is_the_same_act(service: SimWechatPay, receiver: Called) -> None:
    what = service.payment("M-1", 5, NOW_MS)
    again = [receiver.call(request(service.notice(what, NOW_MS + at), NOW_MS + at), "") for at in (0, 1_000)]
    assert only(again[0]) == only(again[1])


def test_a_notice_that_is_not_genuine_is_refused(
    service: SimWechatPay, receiver: Called, settings: PaymentService
) -> None:
    what = service.payment("M-1", 5, NOW_MS)
    good = service.notice(what, NOW_MS)
    stranger = SimWechatPay(API_KEY)
    other = service.payment("M-1", 5, NOW_MS)
    other["resource"]["mchid"] = "1"
    wrong = [
        service.notice(what, NOW_MS, forged=True),
        stranger.notice(what, NOW_MS),
        service.notice(other, NOW_MS),
        Notice(good.headers, good.body.replace(b"TRANSACTION", b"transaction")),
        *(Notice({**good.headers, name: "1"}, good.body) for name in good.headers if name.startswith("wechatpay")),
        *(
            Notice({key: value for key, value in good.headers.items() if key != name}, good.body)
            for name in good.headers
            if name.startswith("wechatpay")
        ),
    ]
    for notice in wrong:
        with pytest.raises(NotGenuine):
            receiver.call(request(notice), "")
    for now_ms in (NOW_MS + 301_000, NOW_MS - 301_000):
        with pytest.raises(NotGenuine):
            receiver.call(request(good, now_ms), "")
    with pytest.raises(NotGenuine):
        receiver.call(request(good), "more")
    with pytest.raises(NotGenuine, match="another merchant"):
        connect(settings, MemoryKeys(api_v3_key="f" * 32).secret).call(request(good), "")
    with pytest.raises(MissingSecret):
        connect(settings, MemoryKeys().secret).call(request(good), "")


@pytest.mark.parametrize(
    "change",
    [
        {"out_trade_no": " "},
        {"success_time": "yesterday"},
        {"success_time": "2026-01-01T00:00:00"},
        {"amount": {"total": "much"}},
        {"out_trade_no": 5},
    ],
)
def test_a_genuine_notice_that_cannot_be_read_is_kept_with_its_bytes(
    service: SimWechatPay, receiver: Called, change: dict[str, Any]
) -> None:
    what = service.payment("M-1", 5, NOW_MS)
    what["resource"].update(change)
    told = receiver.call(request(service.notice(what, NOW_MS)), "")
    ((to, report),) = told.mails
    assert to == intake_key("miniprogram", SHOP)
    assert isinstance(report, AsideReport)
    assert report.kind == "refused"
    assert json.loads(report.raw)["resource"] == what["resource"]
    assert told.answer == DONE


def test_an_event_of_another_kind_is_kept_beside_the_orders(service: SimWechatPay, receiver: Called) -> None:
    what = {"event_type": "PAYSCORE.USER_PAID", "resource": service.payment("M-1", 5, NOW_MS)["resource"]}
    ((_, report),) = receiver.call(request(service.notice(what, NOW_MS)), "").mails
    assert isinstance(report, AsideReport)
    assert report.kind == "ignored"


NAMES = ("out_trade_no", "transaction_id", "amount", "total", "mchid", "trade_state", "x")
ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
)


@given(ANYTHING)
def test_whatever_is_sealed_and_signed_is_taken_kept_or_refused(
    service: SimWechatPay, receiver: Called, content: Any
) -> None:
    sealed = {"event_type": "TRANSACTION.SUCCESS", "resource": content if isinstance(content, dict) else {"x": content}}
    notice = service.notice(sealed, NOW_MS)
    try:
        told = receiver.call(request(notice), "")
    except NotGenuine as error:
        assert "another merchant" in str(error)  # noqa: PT017  either answer is right
    else:
        assert len(told.mails) == 1


def test_a_failure_is_told_in_the_services_form(receiver: Called) -> None:
    answer = receiver.refusal(503, "not now")
    assert answer.status == 503
    assert json.loads(answer.body) == {"code": "FAIL", "message": "not now"}


@pytest.mark.parametrize(
    ("settings", "number", "order_no"),
    [
        ({}, "M-1", "M-1"),
        ({"order_no": "W{out_trade_no}"}, "WM-1", "M-1"),
        ({"order_no": "a.{out_trade_no}.b"}, "a.M-1.b", "M-1"),
        ({"suffix": "_"}, "M-1_2", "M-1"),
        ({"suffix": "_"}, "M-1", "M-1"),
    ],
)
def test_the_order_is_told_by_the_merchants_number(settings: dict[str, str], number: str, order_no: str) -> None:
    service = msgspec.structs.replace(PaymentService("w", "miniprogram", SHOP), **settings)
    assert order_of(service, number) == order_key("miniprogram", SHOP, order_no)


@pytest.mark.parametrize("number", ["M-1", "W", "", "axM-1.b"])
def test_a_number_that_is_written_otherwise_names_no_order(number: str) -> None:
    with pytest.raises(BadId):
        order_of(PaymentService("w", "miniprogram", SHOP, order_no="W{out_trade_no}"), number)


def test_a_bad_day_brings_all_of_them_at_least_once(service: SimWechatPay) -> None:
    notices = [service.notice(service.payment(f"M-{number}", 5, NOW_MS), NOW_MS) for number in range(5)]
    found = disordered(notices, random.Random(3))
    assert {notice.body for notice in found} == {notice.body for notice in notices}
    assert len(found) > len(notices)
