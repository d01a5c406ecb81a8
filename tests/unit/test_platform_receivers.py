"""Whatever comes to a webhook: what is not genuine is refused as such, and nothing breaks a receiver."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from adapters.platforms.douyin_push import DouyinReceiver, push_signature
from adapters.platforms.miniprogram import MiniProgramReceiver
from adapters.platforms.own_contract import OwnReceiver, signed_headers
from adapters.platforms.shopify_push import ShopifyReceiver, webhook_signature
from adapters.platforms.wechat_pay import WechatPayReceiver
from adapters.platforms.wechat_shop_push import WechatShopReceiver
from domain.platforms import NotGenuine, PushRequest, Receiver
from tests.platform_world import NOW_MS, NOW_S, pushed

AES_KEY = base64.b64encode(bytes(range(32))).decode()[:43]
PAY = WechatPayReceiver(
    {"S": rsa.generate_private_key(public_exponent=65_537, key_size=2_048).public_key()}, lambda: "k" * 32
)
RECEIVERS: dict[str, Receiver] = {
    "douyin": DouyinReceiver("key", lambda: "secret"),
    "wechat_shop": WechatShopReceiver("wx1", lambda: "token", lambda: AES_KEY),
    "shopify": ShopifyReceiver("s.myshopify.com", lambda: "secret"),
    "miniprogram": MiniProgramReceiver(OwnReceiver(lambda: "secret"), PAY),
    "generic": OwnReceiver(lambda: "secret"),
}
NAMES = (
    "event-sign",
    "x-timestamp",
    "x-nonce",
    "x-signature",
    "x-shopify-hmac-sha256",
    "shopify-hmac-sha256",
    "x-shopify-shop-domain",
    "x-shopify-webhook-id",
    "wechatpay-timestamp",
    "wechatpay-nonce",
    "wechatpay-signature",
    "wechatpay-serial",
)
VALUES = st.one_of(
    st.text(max_size=80), st.sampled_from([str(NOW_S), "s.myshopify.com", "S", "n", "QQ==", "0" * 32, "0" * 64])
)
QUERY = ("timestamp", "nonce", "signature", "msg_signature", "encrypt_type", "echostr")
BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"", b"[]", b'{"Encrypt":"QQ=="}', b"<xml><Encrypt>QQ==</Encrypt></xml>", b'{"resource":{}}', b"[" * 5_000]
    ),
)
REQUESTS = st.builds(
    PushRequest,
    st.sampled_from(["GET", "POST", "PUT", "get", ""]),
    st.dictionaries(st.sampled_from(QUERY), VALUES),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    BODIES,
    st.just(NOW_MS),
)


@pytest.mark.parametrize("channel", RECEIVERS)
@given(request=REQUESTS)
def test_a_strangers_request_is_refused_as_not_genuine_whatever_it_is(channel: str, request: PushRequest) -> None:
    with pytest.raises(NotGenuine):
        RECEIVERS[channel].receive(request)


@given(body=st.binary(min_size=1, max_size=200))
def test_whatever_is_genuine_is_handed_on_byte_for_byte(body: bytes) -> None:
    own = pushed(body, signed_headers("secret", NOW_MS, body))
    assert RECEIVERS["generic"].receive(own).documents == (body,)
    assert RECEIVERS["miniprogram"].receive(own).documents == (body,)
    shop = {"X-Shopify-Shop-Domain": "s.myshopify.com", "X-Shopify-Webhook-Id": "1"}
    sign = {"X-Shopify-Hmac-Sha256": webhook_signature("secret", body)}
    assert RECEIVERS["shopify"].receive(pushed(body, {**shop, **sign})).documents == (body,)
    signed = pushed(body, {"event-sign": push_signature("key", body, "secret")})
    assert RECEIVERS["douyin"].receive(signed).documents == (body,)


@pytest.mark.parametrize("channel", RECEIVERS)
def test_the_reasons_tell_nothing_of_what_was_sent(channel: str) -> None:
    secret_words = "words-of-a-stranger"
    query, headers = dict.fromkeys(QUERY, secret_words), dict.fromkeys(NAMES, secret_words)
    for method in ("GET", "POST"):
        with pytest.raises(NotGenuine) as caught:
            RECEIVERS[channel].receive(pushed(secret_words.encode(), headers, query=query, method=method))
        assert secret_words not in repr(caught.value)
