"""A merchant's own mini-program: its backend pushes the orders (see `own_contract`), WeChat Pay tells of payments.

No platform keeps these orders, so nothing is pulled. Parcels are told to WeChat, which wants to know of them for
every order that was paid with WeChat Pay in a mini-program.

Options: for notices of WeChat Pay `wechatpay_key.SERIAL` = a PEM file with the platform's certificate or public key of
that serial number; for parcels `app_id`, `mchid` and, for SF, `consignor_contact` (the sender's telephone, all but its
last four digits masked: 189****1234); where wanted `calls_per_s`, `carrier.CODE`. Secrets: `push_secret`; for notices
`api_v3_key`; for parcels `app_secret`.
"""

from collections.abc import Callable
from typing import Final

from adapters.platforms.connection import Connection, Keys, Wants
from adapters.platforms.miniprogram_ship import MiniProgramSeller
from adapters.platforms.own_contract import OwnReceiver
from adapters.platforms.places import needed
from adapters.platforms.wechat_client import WechatClient
from adapters.platforms.wechat_pay import KEY_OPTION, WechatPayReceiver, load_keys
from domain.platforms import Platform, Pushed, PushRequest

OPTIONS: Final = frozenset({"app_id", "mchid", "consignor_contact", KEY_OPTION})
SECRETS: Final = frozenset({"push_secret", "api_v3_key", "app_secret"})


def connect(connection: Connection, keys: Keys, now_ms: Callable[[], int]) -> Platform:
    """Make a mini-program's connection; see `adapters.platforms.connect`. Without `app_id` no parcels are told."""
    receiver = MiniProgramReceiver(
        OwnReceiver(lambda: keys.secret("push_secret")),
        WechatPayReceiver(load_keys(connection.options), lambda: keys.secret("api_v3_key")),
    )
    if "app_id" not in connection.options:
        return Platform(receiver=receiver)
    merchant = needed(connection, "mchid", "the number of your merchant account at WeChat Pay")
    client = WechatClient(connection, keys, now_ms)
    return Platform(
        seller=MiniProgramSeller(client, merchant, connection.options, now_ms),
        receiver=receiver,
        close=client.close,
    )


def wants(connection: Connection) -> Wants:
    """Return what is read of a connection; see `adapters.platforms.wants`."""
    needed = {"push_secret"}
    if "app_id" in connection.options:
        needed.add("app_secret")
    if any(name.startswith(KEY_OPTION) for name in connection.options):
        needed.add("api_v3_key")
    return Wants(OPTIONS, SECRETS, frozenset(needed), pulls=False)


class MiniProgramReceiver:
    """Takes what the backend pushes, and notices of WeChat Pay, at one address."""

    def __init__(self, own: OwnReceiver, pay: WechatPayReceiver) -> None:
        self._own = own
        self._pay = pay

    def receive(self, request: PushRequest) -> Pushed:
        """Verify a push by the rules of whom it says it is from.

        Raises:
            NotGenuine: it is from neither.
        """
        if "wechatpay-signature" in request.headers:
            return self._pay.receive(request)
        return self._own.receive(request)
