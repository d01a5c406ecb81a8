"""Payment services: they tell of money that was paid, given back, or not."""

from collections.abc import Callable

from adapters.payments.settings import PaymentService
from adapters.payments.wechat_pay import WechatPay


def connect(service: PaymentService, secret: Callable[[str], str]) -> WechatPay:
    """Make a service's receiver; nothing is sent.

    Raises:
        ValueError: a key of the service cannot be read.
    """
    return WechatPay(service, secret)
