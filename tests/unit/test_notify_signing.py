"""Signatures as their services publish them, and receivers as they must be written."""

from typing import Any

import msgspec
import pytest

from adapters.notify import acs, dingtalk, feishu, webhook
from adapters.notify.receivers import BadReceivers, check, parse


def test_alibaba_clouds_published_example_is_signed_as_it_says() -> None:
    params = {"ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd", "RegionId": "cn-shanghai"}
    action = acs.Action("ecs.cn-shanghai.aliyuncs.com", "RunInstances", "2014-05-26", params)
    at_ms = 1_698_315_752_000  # 2023-10-26T10:22:32Z
    headers = acs.signed_headers(
        action, "YourAccessKeyId", "YourAccessKeySecret", at_ms, "3156853299f313e23d1673dc12e1703d"
    )
    assert headers["authorization"] == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;"
        "x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


def test_parameters_are_encoded_by_rfc_3986() -> None:
    assert acs.query_of({"b": "a b*~/", "a": "中"}) == "a=%E4%B8%AD&b=a%20b%2A~%2F"


def test_the_standard_webhooks_vector_is_signed_as_it_says() -> None:
    key = webhook.key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = webhook.sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhooks_secret_that_is_no_base64_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="Base64") as raised:
        webhook.key_of("whsec_???")
    assert "???" not in str(raised.value)


def test_dingtalk_signs_time_and_secret_under_the_secret() -> None:
    # Made with `printf '1770000000000\nthis is secret' | openssl dgst -sha256 -hmac 'this is secret' -binary | base64`.
    assert dingtalk.sign(1_770_000_000_000, "this is secret") == "Kg2jizPecvDXdtyhZQ7lCuqsVEaPNjzMxp/2ChQ9ABw="


def test_feishu_signs_nothing_under_time_and_secret() -> None:
    # A public vector: HMAC-SHA256 of nothing under "1757900000\nlark-test-secret".
    assert feishu.sign(1_757_900_000, "lark-test-secret") == "rWW3ygiAdSmKEIysYTVjbdbv4Xnqjn35pAGLgGJZsNg="


ROBOT = {"name": "ops", "kind": "dingtalk", "secrets": {"url": "file:ops.url"}}
SMS = {
    "name": "customer", "kind": "sms", "options": {"access_key_id": "a", "sign_name": "s"},
    "templates": {"*": {"code": "SMS_1"}}, "secrets": {"access_key_secret": "env:S"},
}  # fmt: skip
MAIL = {
    "name": "ops", "kind": "email", "url": "smtp://mail.example", "addresses": ["a@b.example"],
    "options": {"from": "o@b.example"},
}  # fmt: skip


@pytest.mark.parametrize("good", [ROBOT, SMS, MAIL])
def test_a_receiver_that_can_work_is_read(good: dict[str, Any]) -> None:
    (found,) = parse(msgspec.json.encode([good]), "notify.json")
    check(found)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({**ROBOT, "url": "https://oapi.dingtalk.com/robot/send?access_token=KEY"}, "secret `url`"),
        ({**ROBOT, "secrets": {}}, "needs its secret url"),
        ({**ROBOT, "secrets": {"url": "https://oapi.dingtalk.com/robot/send?access_token=KEY"}}, "where it is found"),
        ({**ROBOT, "secrets": {"url": "file:a", "token": "file:b"}}, "reads no secret token"),
        ({**ROBOT, "numbers": ["KEY"]}, "number 1 is none"),
        ({**ROBOT, "kind": "wecom", "numbers": ["13800000000"], "format": "markdown"}, "in text only"),
        ({**ROBOT, "name": "a b"}, "letters, digits"),
        ({**ROBOT, "colour": 1}, "colour"),
        ({**ROBOT, "name": "customer"}, "own customer"),
        ({**SMS, "name": "keeper"}, "needs --number"),
        ({**SMS, "numbers": ["13800000000"]}, "own customer"),
        ({**SMS, "templates": {"*": {"code": "S", "params": {"a": "phone"}}}}, "no placeholder phone"),
        ({**SMS, "roles": ["operations"]}, "stands for no role"),
        ({**SMS, "templates": {}}, "approved template"),
        ({**MAIL, "url": "smtp://user:KEY@mail.example"}, "without user and password"),
        ({**MAIL, "url": "https://mail.example"}, "smtps://host"),
        ({**MAIL, "addresses": ["KEY"]}, "--address"),
        ({**MAIL, "options": {"from": "o@b.example", "user": "u"}}, "password"),
        (
            {**MAIL, "options": {"from": "o@b.example", "user": "u", "tls": "none"}, "secrets": {"password": "env:P"}},
            "not encrypted",
        ),
    ],
)
def test_a_receiver_that_cannot_work_says_why_and_quotes_no_secret(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(BadReceivers, match=says) as raised:
        parse(msgspec.json.encode([wrong]), "notify.json")
    assert "KEY" not in str(raised.value)


def test_two_receivers_of_one_name_are_refused() -> None:
    with pytest.raises(BadReceivers, match="two receivers named ops"):
        parse(msgspec.json.encode([ROBOT, ROBOT]), "notify.json")
