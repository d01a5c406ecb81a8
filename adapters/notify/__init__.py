"""Ways to tell people of what happened: chat robots, SMS, e-mail, webhooks. One file for each protocol."""

from collections.abc import Callable

from adapters.notify.dingtalk import DingTalk
from adapters.notify.email import Mailer
from adapters.notify.feishu import Feishu
from adapters.notify.receivers import Receiver
from adapters.notify.sms import AliyunSms
from adapters.notify.webhook import Webhook
from adapters.notify.wecom import WeCom
from adapters.platforms.connection import Keys
from domain.notices import Notifier

_MAKERS: dict[str, Callable[[Receiver, Keys, Callable[[], int]], Notifier]] = {
    "dingtalk": DingTalk,
    "wecom": WeCom,
    "feishu": Feishu,
    "webhook": Webhook,
    "email": Mailer,
    "sms": AliyunSms,
}


def notifier(receiver: Receiver, keys: Keys, now_ms: Callable[[], int]) -> Notifier:
    """Return the way to a receiver; call it in a running event loop.

    Raises:
        MissingSecret: a secret is not where the receiver says.
        ValueError: an address is none; nothing of it is in the text.
    """
    return _MAKERS[receiver.kind](receiver, keys, now_ms)
