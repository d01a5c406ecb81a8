"""WeChat Pay, simulated: signs and seals notices of payments and refunds, honest ones and others.

Independent of the client that hears them. Amounts are in minor units (分 of CNY).
"""

import random
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.simulators import signatures
from adapters.simulators.exchange import encode
from adapters.simulators.numbers import token_of
from adapters.simulators.texts import iso

SERIAL: Final = "PUB_KEY_ID_0114232134912410000000000000"
_OK: Final = frozenset({200, 204})


class Notice(NamedTuple):
    """A notice, ready to be sent."""

    headers: dict[str, str]
    body: bytes


class SimWechatPay:
    """The service, for one merchant."""

    def __init__(self, api_v3_key: str, mchid: str = "1900000109") -> None:
        """Take the merchant's number and key; the service's own key is made here."""
        self.mchid = mchid
        self._api_v3_key = api_v3_key
        self._key = rsa.generate_private_key(65537, 2048)

    def public_key(self) -> bytes:
        """Return the service's public key, PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def payment(
        self,
        out_trade_no: str,
        total: int,
        at_ms: int,
        *,
        transaction_id: str = "",
        currency: str = "CNY",
        state: str = "SUCCESS",
    ) -> dict[str, Any]:
        """Return what a notice of a payment holds."""
        return {
            "event_type": "TRANSACTION.SUCCESS" if state == "SUCCESS" else f"TRANSACTION.{state}",
            "resource": {
                "appid": "wx0123456789abcdef",
                "mchid": self.mchid,
                "out_trade_no": out_trade_no,
                "transaction_id": transaction_id or f"4200{token_of('pay', out_trade_no, 24)}",
                "trade_type": "JSAPI",
                "trade_state": state,
                "success_time": iso(at_ms),
                "payer": {"openid": "oUpF8u" + token_of("openid", out_trade_no, 22)},
                "amount": {"total": total, "payer_total": total, "currency": currency, "payer_currency": currency},
            },
        }

    def refund(
        self, out_trade_no: str, refund: int, at_ms: int, *, refund_id: str = "", status: str = "SUCCESS"
    ) -> dict[str, Any]:
        """Return what a notice of a refund holds; one that was not made has no time."""
        number = refund_id or f"5030{token_of('refund', out_trade_no + str(refund), 24)}"
        found: dict[str, Any] = {
            "mchid": self.mchid,
            "out_trade_no": out_trade_no,
            "transaction_id": f"4200{token_of('pay', out_trade_no, 24)}",
            "out_refund_no": f"R{out_trade_no}",
            "refund_id": number,
            "refund_status": status,
            "user_received_account": "支付用户零钱",
            "amount": {"total": refund, "refund": refund, "payer_total": refund, "payer_refund": refund},
        }
        if status == "SUCCESS":
            found["success_time"] = iso(at_ms)
        return {"event_type": f"REFUND.{status}", "resource": found}

    def notice(self, what: dict[str, Any], now_ms: int, *, forged: bool = False) -> Notice:
        """Sign and seal a notice; a forged one is signed by another key."""
        name = f"{what['resource'].get('out_trade_no')}{what['event_type']}{now_ms}"
        nonce, kind = token_of("nonce", name, 12), what["event_type"].partition(".")[0].lower()
        plain = encode(what["resource"])
        body = encode(
            {
                "id": f"EV-{token_of('notice', name, 20)}",
                "create_time": iso(now_ms),
                "resource_type": "encrypt-resource",
                "event_type": what["event_type"],
                "summary": "",
                "resource": {
                    "original_type": kind,
                    "algorithm": "AEAD_AES_256_GCM",
                    "ciphertext": signatures.wxpay_encrypt(plain, self._api_v3_key, nonce, kind),
                    "associated_data": kind,
                    "nonce": nonce,
                },
            }
        )
        key = rsa.generate_private_key(65537, 2048) if forged else self._key
        timestamp = str(now_ms // 1000)
        headers = {
            "content-type": "application/json",
            "wechatpay-timestamp": timestamp,
            "wechatpay-nonce": nonce,
            "wechatpay-signature": signatures.wxpay_sign(timestamp, nonce, body, key),
            "wechatpay-serial": SERIAL,
        }
        return Notice(headers, body)

    async def send(self, client: httpx.AsyncClient, url: str, notice: Notice) -> bool:
        """Send a notice, and tell whether it was taken; one that was not comes again."""
        answer = await client.post(url, content=notice.body, headers=notice.headers)
        return answer.status_code in _OK


def disordered(notices: Iterable[Notice], chance: random.Random) -> list[Notice]:
    """Return notices as a bad day brings them: in any order, some of them twice or three times."""
    found = [notice for notice in notices for _ in range(chance.choice((1, 1, 2, 3)))]
    chance.shuffle(found)
    return found
