"""A merchant's own mini-program: its backend pushes orders, WeChat Pay confirms payments, WeChat takes ship notices."""

import functools
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.simulators import own_contract, signatures, wire_miniprogram
from adapters.simulators.carriers import neutral
from adapters.simulators.exchange import Refused, Reply, Request, encode, reply
from adapters.simulators.numbers import token_of
from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import Push, SimPlatform
from adapters.simulators.store import Kind
from adapters.simulators.texts import iso, seconds

SERIAL: Final = "5157F09EFDC096DE15EBE81A47057A72"
"""Serial number of the simulated WeChat Pay's key."""
_DESCRIPTION_MAX: Final = 120
_PARCELS_MAX: Final = 10


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    """Return the key of the simulated WeChat Pay; making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class MiniProgram(SimPlatform):
    """`/cgi-bin/stable_token` and `/wxa/sec/order/…` of WeChat; pushes of the backend and of WeChat Pay."""

    channel = "miniprogram"
    access_s = 7_200
    refresh_s = 7_200

    def operation(self, request: Request) -> str:
        """Return the path."""
        return request.path

    def handle(self, request: Request) -> Reply:
        """Answer a call."""
        if request.path == "/cgi-bin/stable_token":
            return reply(self._token(request.json()))
        state = self.tokens.state(request.query.get("access_token", ""))
        if state != "ok":
            raise Refused(42001, "access_token expired") if state == "expired" else Refused(40001, "invalid credential")
        act = self._methods().get(request.path)
        if act is None:
            raise Refused(-1, "not found", status=404)
        return reply({"errcode": 0, "errmsg": "ok", **act(request.json())})

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return `errcode` and `errmsg`."""
        del request
        return reply({"errcode": refused.code, "errmsg": refused.text}, refused.status)

    def wrong_parameter(self, text: str) -> Refused:
        """Return code 47001."""
        return Refused(47001, f"data format error: {text}")

    def limited(self) -> Refused:
        """Return code 45011."""
        return Refused(45011, "api minute-quota reach limit, must slower, retry next minute")

    def system_error(self) -> Refused:
        """Return code -1."""
        return Refused(-1, "system error")

    def _token(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("appid") != self.shop.app_key:
            raise Refused(40013, "invalid appid")
        if asked.get("secret") != self.shop.app_secret:
            raise Refused(40125, "invalid appsecret")
        if asked.get("grant_type") != "client_credential":
            raise Refused(40002, "invalid grant_type")
        current = self.tokens.current
        if asked.get("force_refresh") or self.tokens.state(current.access) != "ok":
            current = self.tokens.grant()
        return {"access_token": current.access, "expires_in": max(1, (current.expires_ms - self.now_ms()) // 1000)}

    def _methods(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "/wxa/sec/order/upload_shipping_info": self._ship,
            "/wxa/sec/order/get_order": self._one,
            "/wxa/sec/order/is_trade_managed": lambda _: {"is_trade_managed": True},
        }

    def _find(self, asked: dict[str, Any]) -> SimOrder:
        """Return the order that a transaction or the merchant's own number names."""
        number, transaction = asked.get("out_trade_no") or asked.get("merchant_trade_no"), asked.get("transaction_id")
        for order in self.store.all():
            by_own = (
                number is not None
                and order.order_no == number
                and asked.get("mchid", asked.get("merchant_id")) == self.shop.mchid
            )
            if by_own or (transaction is not None and wire_miniprogram.transaction_id(order) == transaction):
                if not order.paid_ms:
                    break
                return order
        raise Refused(10060001, "支付单不存在")

    def _one(self, asked: dict[str, Any]) -> dict[str, Any]:
        order = self._find(asked)
        state = {"paid": 1, "allocating": 1, "shipped": 2, "completed": 3, "cancelled": 5}[order.status]
        shipping = {
            "delivery_mode": 1,
            "logistics_type": 1,
            "finish_shipping": order.status in ("shipped", "completed"),
            "shipping_list": [
                {
                    "tracking_no": parcel.tracking,
                    "express_company": parcel.carrier,
                    "upload_time": seconds(parcel.at_ms),
                }
                for parcel in order.parcels
            ],
        }
        return {
            "order": {
                "transaction_id": wire_miniprogram.transaction_id(order),
                "merchant_id": self.shop.mchid,
                "merchant_trade_no": order.order_no,
                "paid_amount": order.payable_fen,
                "openid": "oUpF8u" + token_of("openid", order.buyer.id, 22),
                "trade_create_time": seconds(order.ordered_ms),
                "pay_time": seconds(order.paid_ms),
                "order_state": state,
                "in_complaint": False,
                "shipping": shipping,
            }
        }

    def _ship(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = asked["order_key"]
        if key.get("order_number_type") not in (1, 2):
            raise Refused(10060012, "order_number_type 不正确")
        order = self._find(key)
        if asked["payer"]["openid"] != "oUpF8u" + token_of("openid", order.buyer.id, 22):
            raise Refused(10060004, "支付者 openid 不正确")
        parcels = asked["shipping_list"]
        if not 1 <= len(parcels) <= _PARCELS_MAX or asked.get("delivery_mode") not in (1, 2):
            raise Refused(10060014, "shipping_list 或 delivery_mode 不正确")
        if asked["delivery_mode"] == 2 and not isinstance(asked.get("is_all_delivered"), bool):  # noqa: PLR2004 - split
            raise Refused(10060014, "分拆发货模式下必须填写 is_all_delivered")
        if not asked.get("upload_time"):
            raise Refused(10060014, "upload_time 不能为空")
        for parcel in parcels:
            self._check(parcel)
        known = {parcel.tracking for parcel in order.parcels}
        if all(parcel["tracking_no"] in known for parcel in parcels):
            raise Refused(10060023, "发货信息未更新")
        if order.status not in ("paid", "allocating"):
            raise Refused(10060002, "支付单已完成发货，无法继续发货")
        done = asked["delivery_mode"] == 1 or asked.get("is_all_delivered")
        here = [at for at, line in enumerate(order.lines) if not line.shipped]
        for parcel in parcels:
            self.store.ship(
                order.order_no, parcel["express_company"], parcel["tracking_no"], here if done else here[:1]
            )
        return {}

    @staticmethod
    def _check(parcel: dict[str, Any]) -> None:
        if neutral("wechat_shop", str(parcel.get("express_company", ""))) is None:
            raise Refused(10060014, "express_company 不正确")
        if not parcel.get("tracking_no") or not 0 < len(str(parcel.get("item_desc", ""))) <= _DESCRIPTION_MAX:
            raise Refused(10060014, "tracking_no 或 item_desc 不正确")
        if parcel["express_company"] == "SF" and not (parcel.get("contact") or {}):
            raise Refused(10060014, "顺丰快递必须填写 contact")

    def push(self, order: SimOrder, kind: Kind, event_id: str = "") -> Push:
        """Return the backend's push of the whole order."""
        event_id = event_id or token_of("event", f"{order.order_no}{order.modified_ms}{kind}", 26).upper()
        return self.signed(encode(wire_miniprogram.push(order, kind, event_id)), order.order_no)

    def signed(self, body: bytes, number: str = "", nonce: str = "") -> Push:
        """Return any body as a signed push."""
        return Push("POST", {}, own_contract.headers(self.now_ms(), body, self.shop.app_secret, nonce), body, number)

    def payment_notice(self, order: SimOrder) -> Push:
        """Return WeChat Pay's notice that the order was paid."""
        plain = encode(wire_miniprogram.transaction(order, self.shop.app_key, self.shop.mchid))
        nonce, associated = token_of("nonce", order.order_no, 12), "transaction"
        body = encode(
            {
                "id": f"EV-{token_of('notice', order.order_no, 20)}",
                "create_time": iso(order.paid_ms),
                "resource_type": "encrypt-resource",
                "event_type": "TRANSACTION.SUCCESS",
                "summary": "支付成功",
                "resource": {
                    "original_type": "transaction",
                    "algorithm": "AEAD_AES_256_GCM",
                    "ciphertext": signatures.wxpay_encrypt(plain, self.shop.api_v3_key, nonce, associated),
                    "associated_data": associated,
                    "nonce": nonce,
                },
            }
        )
        timestamp = str(seconds(self.now_ms()))
        headers = {
            "content-type": "application/json",
            "wechatpay-timestamp": timestamp,
            "wechatpay-nonce": nonce,
            "wechatpay-signature": signatures.wxpay_sign(timestamp, nonce, body, _key()),
            "wechatpay-serial": SERIAL,
        }
        return Push("POST", {}, headers, body, order.order_no)

    @staticmethod
    def public_key() -> bytes:
        """Return the public key of the simulated WeChat Pay, PEM."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return _key().public_key().public_bytes(serialization.Encoding.PEM, kind)

    def push_accepted(self, status: int, body: bytes) -> bool:
        """Tell whether the status says success."""
        del body
        return 200 <= status < 300  # noqa: PLR2004 - HTTP
