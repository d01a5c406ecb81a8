"""WeChat Pay (API v3): notices of payments and refunds become commands of the orders they are about.

How a notice is signed and sealed: see `adapters.platforms.wechat_pay`. What it holds once it is opened
(https://pay.weixin.qq.com/doc/global/v3/en/4013989758 and its neighbours): `event_type` TRANSACTION.SUCCESS with
out_trade_no, transaction_id, trade_state, success_time and amount (total, currency); REFUND.SUCCESS, REFUND.ABNORMAL
and REFUND.CLOSED with out_trade_no, transaction_id, refund_id, refund_status, success_time and amount (refund, total).
Answered with 204, and failures with a status that lets it come again and `{"code":"FAIL","message":…}`. Inferred: that
a refund's amount is of CNY where no currency is named (the mainland's notices name none).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

import msgspec

from adapters.payments.settings import PaymentService, order_of
from adapters.platforms.wechat_pay import WechatPayReceiver, load_keys
from domain.callbacks import Told, aside
from domain.ids import BadId
from domain.payments import Kind, RecordPayment
from domain.platforms import NotGenuine, PushAnswer, PushRequest

DONE: Final = PushAnswer(204, "application/json", b"")
REFUNDS: Final[dict[str, Kind]] = {
    "REFUND.SUCCESS": "refunded",
    "REFUND.ABNORMAL": "refund_failed",
    "REFUND.CLOSED": "refund_failed",
}
PAYMENTS: Final[dict[str, Kind]] = {
    "SUCCESS": "paid",
    "REFUND": "paid",
    "PAYERROR": "failed",
    "REVOKED": "failed",
    "CLOSED": "timed_out",
}
"""`trade_state` → what it means; a payment of which something was refunded since was made."""


class WechatPay:
    """One merchant account; is called only."""

    def __init__(self, service: PaymentService, secret: Callable[[str], str]) -> None:
        """Read the service's keys.

        Raises:
            ValueError: one of them cannot be read.
        """
        keys = load_keys({f"wechatpay_key.{serial}": path for serial, path in service.keys.items()})
        self._receiver = WechatPayReceiver(keys, lambda: secret("api_v3_key"))
        self._service = service

    def call(self, request: PushRequest, place: str) -> Told:
        """Verify and understand a notice; see `Called.call`."""
        if place:
            raise NotGenuine("the address is longer than it should be")
        opened = self._receiver.opened(request)
        try:
            notice = msgspec.json.decode(opened, type=_Notice)
            if self._service.mchid and notice.resource.mchid != self._service.mchid:
                raise NotGenuine("the notice is for another merchant")
            return self._understood(notice, opened, request.now_ms)
        except (msgspec.MsgspecError, RecursionError, BadId, _NotUnderstood) as error:
            return self._aside("refused", f"cannot be read: {error}", opened)

    def refusal(self, status: int, reason: str) -> PushAnswer:
        """Return what lets the service come again."""
        return PushAnswer(status, "application/json", msgspec.json.encode({"code": "FAIL", "message": reason}))

    def _aside(self, kind: Literal["ignored", "refused"], reason: str, opened: bytes) -> Told:
        said = f"notice of {self._service.name}: {reason}"
        return Told(aside(self._service.channel, self._service.shop, kind, said, opened), DONE)

    def _understood(self, notice: "_Notice", opened: bytes, now_ms: int) -> Told:
        what, event = notice.resource, notice.event_type
        kind = REFUNDS.get(event)
        if kind is None and event.startswith("TRANSACTION."):
            kind = PAYMENTS.get(what.trade_state)
        if kind is None:
            return self._aside("ignored", f"event {event[:40]} means nothing for an order", opened)
        order = order_of(self._service, what.out_trade_no)
        at_ms = _utc_ms(what.success_time) if what.success_time else now_ms
        currency, name = what.amount.currency, self._service.name
        number, amount, payment = what.transaction_id, what.amount.total, ""
        if event in REFUNDS:
            number, amount, payment = what.refund_id, what.amount.refund, what.transaction_id
        # A payment that was not made may have no number of the service's.
        number = number or f"{what.out_trade_no}/{kind}"
        command = f"payment/{name}/{number}/{kind}/{amount}{currency}"
        return Told(
            ((order, RecordPayment(command, number, amount, currency, kind, at_ms, name, payment)),),
            DONE,
        )


class _NotUnderstood(ValueError):
    """A genuine notice of which no command can be made."""


class _Amount(msgspec.Struct, frozen=True):
    """Money, in the currency's minor units."""

    total: int = 0
    refund: int = 0
    currency: str = "CNY"


class _Resource(msgspec.Struct):
    """A payment or a refund, as far as it is looked at. Who paid is not."""

    out_trade_no: str
    transaction_id: str = ""
    refund_id: str = ""
    mchid: str = ""
    trade_state: str = ""
    success_time: str = ""
    amount: _Amount = _Amount()


class _Notice(msgspec.Struct):
    """An opened notice."""

    event_type: str
    resource: _Resource


def _utc_ms(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _NotUnderstood(f"success_time {text[:40]!r} is no time") from None
    if at.tzinfo is None:
        raise _NotUnderstood(f"success_time {text[:40]!r} has no zone")
    return round(at.timestamp() * 1000)
