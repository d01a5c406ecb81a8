"""WeChat's pushes: the check of an address, encrypted messages of a shop, notices of WeChat Pay; no others get in."""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from adapters.channels.miniprogram import channel as miniprogram
from adapters.channels.wechat_shop import channel
from adapters.platforms.connection import MissingSecret
from adapters.platforms.wechat_crypto import aes_key, message_signature
from adapters.platforms.wechat_pay import WechatPayReceiver, load_keys
from adapters.platforms.wechat_shop_push import WechatShopReceiver
from adapters.platforms.wechat_xml import BadXml, read_xml
from domain.platforms import NotGenuine, PushRequest
from tests.platform_world import NOW_MS, NOW_S, pushed

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/wechat_miniprogram"
APP, TOKEN = "wx0123456789abcdef", "a token of ours"
ENCODED = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
KEY = base64.b64decode(ENCODED + "=")
MESSAGE = b'{"ToUserName":"gh_1","Event":"channels_ec_order_pay","order_info":{"order_id":3737550999277696002}}'
RECEIVER = WechatShopReceiver(APP, lambda: TOKEN, lambda: ENCODED)


def sha1_of_sorted(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 # the platform's rule


def padded(plain: bytes, block: int = 32) -> bytes:
    short = block - len(plain) % block
    return plain + bytes([short]) * short


def sealed(plain: bytes, key: bytes = KEY) -> str:
    encryptor = Cipher(AES256(key), CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def envelope(message: bytes = MESSAGE, app: str = APP) -> bytes:
    return b"0123456789abcdef" + len(message).to_bytes(4, "big") + message + app.encode()


def query(encrypted: str, *, at_s: int = NOW_S, token: str = TOKEN) -> dict[str, str]:
    sign = sha1_of_sorted(token, str(at_s), "n7", encrypted)
    return {"timestamp": str(at_s), "nonce": "n7", "encrypt_type": "aes", "msg_signature": sign, "openid": "o1"}


def as_json(encrypted: str) -> bytes:
    return json.dumps({"ToUserName": "gh_1", "Encrypt": encrypted}).encode()


def as_xml(encrypted: str) -> bytes:
    return f"<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()


def push(
    plain: bytes | None = None, wrap: Callable[[str], bytes] = as_json, at_s: int = NOW_S, token: str = TOKEN
) -> PushRequest:
    encrypted = sealed(padded(envelope() if plain is None else plain))
    return pushed(wrap(encrypted), query=query(encrypted, at_s=at_s, token=token))


@pytest.mark.skipif(not SAMPLES.exists(), reason="the reference material is not here")
def test_signatures_are_those_of_the_reference() -> None:
    found = json.loads((SAMPLES / "signature_vectors.json").read_text(encoding="utf-8"))
    case, plain = found["msg_signature"], found["signature"]
    assert message_signature(case["token"], case["timestamp"], case["nonce"], case["encrypt"]) == case["sign"]
    assert message_signature(plain["token"], plain["timestamp"], plain["nonce"]) == plain["sign"]


def test_the_signature_of_a_published_case_is_known() -> None:
    assert (
        message_signature("token", "1714112445", "415670741", "EncryptValue")
        == "03de89c50e642c93033dd7f4ef86a8356e80e345"
    )


@pytest.mark.parametrize("wrap", [as_json, as_xml])
def test_an_encrypted_message_is_handed_on_as_it_was_before_encryption(wrap: Callable[[str], bytes]) -> None:
    taken = RECEIVER.receive(push(wrap=wrap))
    assert taken.documents == (MESSAGE,)
    assert taken.answer.body == b"success"
    assert taken.nonce == ""


@given(message=st.binary(max_size=300))
def test_any_message_survives_encryption_whatever_its_length(message: bytes) -> None:
    if message.lstrip()[:1] != b"<":
        assert RECEIVER.receive(push(envelope(message))).documents == (message,)


def test_a_message_in_xml_reaches_the_channel_as_the_same_in_json() -> None:
    inside = (
        b"<xml><ToUserName>gh_1</ToUserName><CreateTime>1794326721</CreateTime><MsgType>event</MsgType>"
        b"<Event><![CDATA[channels_ec_order_pay]]></Event>"
        b"<order_info><order_id>3737550999277696002</order_id></order_info></xml>"
    )
    (document,) = RECEIVER.receive(push(envelope(inside), as_xml)).documents
    (found,) = channel("Asia/Shanghai").identify(document, "shop1")
    assert (found.kind, found.order_no) == ("hint", "3737550999277696002")  # type: ignore[union-attr] # told by kind


def test_the_check_of_the_address_is_answered_with_its_echo_and_takes_nothing_in() -> None:
    asked = {"timestamp": str(NOW_S), "nonce": "n7", "echostr": "7301902"}
    asked["signature"] = sha1_of_sorted(TOKEN, str(NOW_S), "n7")
    taken = RECEIVER.receive(pushed(query=asked, method="GET"))
    assert (taken.documents, taken.answer.body, taken.answer.content_type[:10]) == ((), b"7301902", "text/plain")
    for name in asked:
        with pytest.raises(NotGenuine):
            RECEIVER.receive(pushed(query={**asked, name: ""}, method="GET"))
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(query={**asked, "signature": "0" * 40}, method="GET"))
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(query=asked, method="GET", now_ms=NOW_MS + 301_000))


def test_a_message_that_is_not_encrypted_is_refused_for_its_signature_does_not_cover_it() -> None:
    plain = {"timestamp": str(NOW_S), "nonce": "n7", "signature": sha1_of_sorted(TOKEN, str(NOW_S), "n7")}
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(MESSAGE, query=plain))


@pytest.mark.parametrize("apart_s", [-301, 301])
def test_a_message_out_of_its_time_is_refused(apart_s: int) -> None:
    with pytest.raises(NotGenuine, match="timestamp"):
        RECEIVER.receive(push(at_s=NOW_S + apart_s))


def test_a_message_for_another_app_is_refused() -> None:
    with pytest.raises(NotGenuine, match="another app"):
        RECEIVER.receive(push(envelope(app="wxffffffffffffffff")))
    with pytest.raises(NotGenuine, match="another app"):
        RECEIVER.receive(push(envelope(app="")))


@pytest.mark.parametrize("name", ["timestamp", "nonce", "msg_signature"])
def test_a_missing_part_of_the_query_is_refused(name: str) -> None:
    request = push()
    with pytest.raises(NotGenuine):
        RECEIVER.receive(request._replace(query={k: v for k, v in request.query.items() if k != name}))
    with pytest.raises(NotGenuine):
        RECEIVER.receive(request._replace(query={**request.query, name: "ü"}))


@pytest.mark.parametrize(
    "plain",
    [
        b"x" * 31 + b"\x00",
        b"x" * 31 + b"\x21",
        b"x" * 30 + b"\x03\x02",
        b"\x20" * 32,
        padded(b"x" * 19),
        padded(b"0123456789abcdef" + (2**32 - 1).to_bytes(4, "big") + MESSAGE + APP.encode()),
        padded(b"0123456789abcdef" + (len(MESSAGE) + len(APP) + 1).to_bytes(4, "big") + MESSAGE + APP.encode()),
    ],
)
def test_wrong_padding_and_wrong_lengths_are_refused(plain: bytes) -> None:
    encrypted = sealed(plain)
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(as_json(encrypted), query=query(encrypted)))


@pytest.mark.parametrize("encrypted", ["", "%%%", "QQ==", "QQ", base64.b64encode(b"x" * 16).decode()])
def test_what_is_signed_but_no_message_is_refused(encrypted: str) -> None:
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(as_json(encrypted), query=query(encrypted)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"Encrypt":1}',
        b'{"Encrypt":null}',
        b"<xml>",
        b"<xml/>",
        b"<xml><Encrypt/></xml>",
        b"\xff",
    ],
)
def test_a_body_that_is_no_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(body, query=query("")))


@given(at=st.integers(min_value=0), change=st.integers(min_value=1, max_value=255))
def test_any_changed_byte_of_what_is_encrypted_is_refused(at: int, change: int) -> None:
    encrypted = sealed(padded(envelope()))
    body = bytearray(as_json(encrypted))
    first = body.index(encrypted.encode())
    body[first + at % len(encrypted)] ^= change
    with pytest.raises(NotGenuine):
        RECEIVER.receive(pushed(bytes(body), query=query(encrypted)))


@given(at=st.integers(min_value=0, max_value=39), change=st.integers(min_value=1, max_value=127))
def test_any_changed_character_of_the_signature_is_refused(at: int, change: int) -> None:
    request = push()
    sign = request.query["msg_signature"]
    wrong = sign[:at] + chr(ord(sign[at]) ^ change) + sign[at + 1 :]
    with pytest.raises(NotGenuine):
        RECEIVER.receive(request._replace(query={**request.query, "msg_signature": wrong}))


def test_another_token_does_not_open() -> None:
    with pytest.raises(NotGenuine):
        RECEIVER.receive(push(token="another"))


def test_a_key_that_is_none_is_told_as_one() -> None:
    with pytest.raises(MissingSecret, match="encoding_aes_key"):
        WechatShopReceiver(APP, lambda: TOKEN, lambda: "short").receive(push())
    assert len(aes_key(ENCODED)) == 32
    for wrong in ("", ENCODED[1:], ENCODED + "=", "é" * 43):
        with pytest.raises(ValueError, match="EncodingAESKey"):
            aes_key(wrong)


@pytest.mark.parametrize(
    "xml",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><xml><Encrypt>&b;</Encrypt></xml>',
        b'<!DOCTYPE x SYSTEM "file:///etc/hostname"><xml><Encrypt>x</Encrypt></xml>',
        b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><Encrypt>&f;</Encrypt></xml>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x []><xml><Encrypt>x</Encrypt></xml>'.encode("utf-16"),
        b"<xml><Encrypt a='1'>x</Encrypt></xml>",
        b"<a>" * 50 + b"</a>" * 50,
        b"<xml>" + b"<a/>" * 3_000 + b"</xml>",
        b'<?xml version="1.0" encoding="none-such"?><xml/>',
        b"<xml>&unknown;</xml>",
    ],
)
def test_xml_has_no_document_type_no_entities_and_no_great_size(xml: bytes) -> None:
    with pytest.raises(BadXml):
        read_xml(xml)


def test_xml_is_read_as_objects_lists_and_text() -> None:
    xml = "<xml><a>1</a><b><c>刻字 &amp; 包装</c><c>2</c><c/></b></xml>".encode()
    assert read_xml(xml) == {"a": "1", "b": {"c": ["刻字 & 包装", "2", ""]}}


# --- WeChat Pay ---

PLATFORM_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
API_KEY = "0123456789abcdef0123456789abcdef"
PAY = WechatPayReceiver({"5157F09EFDC096DE": PLATFORM_KEY.public_key()}, lambda: API_KEY)
TRANSACTION = '{"out_trade_no":"MP202611110001","transaction_id":"42","attach":"推荐"}'.encode()


def notice(resource: object = None, key: str = API_KEY) -> bytes:
    if resource is None:
        ciphertext = AESGCM(key.encode()).encrypt(b"fdasflkja484", TRANSACTION, b"transaction")
        resource = {
            "original_type": "transaction",
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": base64.b64encode(ciphertext).decode(),
            "associated_data": "transaction",
            "nonce": "fdasflkja484",
        }
    return json.dumps({"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": resource}).encode()


def noticed(body: bytes, *, at_s: int = NOW_S, serial: str = "5157F09EFDC096DE") -> PushRequest:
    text = f"{at_s}\nabcNONCE\n".encode() + body + b"\n"
    sign = base64.b64encode(PLATFORM_KEY.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
    names = ("Timestamp", "Nonce", "Signature", "Serial")
    given_headers = zip(names, (str(at_s), "abcNONCE", sign, serial), strict=True)
    return pushed(body, {f"Wechatpay-{name}": value for name, value in given_headers})


def test_a_notice_is_verified_opened_and_answered() -> None:
    taken = PAY.receive(noticed(notice()))
    (document,) = taken.documents
    assert json.loads(document) == {**json.loads(notice()), "resource": json.loads(TRANSACTION)}
    assert TRANSACTION in document
    (found,) = miniprogram("Asia/Shanghai").identify(document, "shop1")
    assert (found.kind, found.order_no) == ("hint", "MP202611110001")  # type: ignore[union-attr] # told by kind
    assert (taken.answer.status, json.loads(taken.answer.body)["code"], taken.nonce) == (200, "SUCCESS", "abcNONCE")


@pytest.mark.parametrize("name", ["Timestamp", "Nonce", "Signature", "Serial"])
def test_a_missing_or_odd_header_of_a_notice_is_refused(name: str) -> None:
    request = noticed(notice())
    for value in ("", "ü", "x", "0"):
        with pytest.raises(NotGenuine):
            PAY.receive(request._replace(headers={**request.headers, f"wechatpay-{name.lower()}": value}))


@pytest.mark.parametrize("apart_s", [-301, 301])
def test_a_notice_out_of_its_time_is_refused(apart_s: int) -> None:
    with pytest.raises(NotGenuine, match="timestamp"):
        PAY.receive(noticed(notice(), at_s=NOW_S + apart_s))


def test_the_platforms_own_probe_with_a_wrong_signature_is_refused() -> None:
    request = noticed(notice())
    probe = "WECHATPAY/SIGNTEST/" + request.headers["wechatpay-signature"]
    with pytest.raises(NotGenuine):
        PAY.receive(request._replace(headers={**request.headers, "wechatpay-signature": probe}))


@given(at=st.integers(min_value=0), change=st.integers(min_value=1, max_value=255), where=st.sampled_from("bs"))
def test_any_changed_byte_of_notice_or_signature_is_refused(at: int, change: int, where: str) -> None:
    request = noticed(notice())
    if where == "b":
        body = bytearray(request.body)
        body[at % len(body)] ^= change
        request = request._replace(body=bytes(body))
    else:
        sign = request.headers["wechatpay-signature"]
        at %= len(sign)
        wrong = sign[:at] + chr(ord(sign[at]) ^ change) + sign[at + 1 :]
        request = request._replace(headers={**request.headers, "wechatpay-signature": wrong})
    with pytest.raises(NotGenuine):
        PAY.receive(request)


@pytest.mark.parametrize(
    "resource",
    [
        1,
        [],
        {},
        {"algorithm": "AEAD_AES_256_GCM"},
        {"algorithm": "AEAD_AES_256_GCM", "nonce": 1, "ciphertext": "QQ=="},
        {"algorithm": "AEAD_AES_256_GCM", "nonce": "", "ciphertext": "QQ=="},
        {"algorithm": "AEAD_AES_256_GCM", "nonce": "123456789012", "ciphertext": ["x"]},
        {"algorithm": "AEAD_AES_256_GCM", "nonce": "123456789012", "ciphertext": "%"},
        {"algorithm": "AEAD_AES_256_GCM", "nonce": "123456789012", "ciphertext": "QQ==", "associated_data": 1},
        {"algorithm": "AEAD_AES_256_GCM", "nonce": "123456789012", "ciphertext": "QQ=="},
        {"algorithm": "SM4", "nonce": "123456789012", "ciphertext": "QQ=="},
    ],
)
def test_a_signed_notice_without_a_readable_resource_is_refused(resource: object) -> None:
    with pytest.raises(NotGenuine):
        PAY.receive(noticed(notice(resource)))
    for body in (b"", b"x", b"[]", b"1"):
        with pytest.raises(NotGenuine):
            PAY.receive(noticed(body))


def test_a_notice_for_another_merchant_is_refused() -> None:
    with pytest.raises(NotGenuine, match="another merchant"):
        PAY.receive(noticed(notice(key=API_KEY[::-1])))


def test_a_merchants_key_of_a_wrong_length_is_told_as_what_it_is() -> None:
    wrong = WechatPayReceiver({"5157F09EFDC096DE": PLATFORM_KEY.public_key()}, lambda: "short")
    with pytest.raises(MissingSecret, match="api_v3_key"):
        wrong.receive(noticed(notice()))


def test_keys_are_read_from_certificates_and_from_public_keys(tmp_path: Path) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "platform")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, PLATFORM_KEY.public_key(), 7, now, now + timedelta(days=1))
    certificate = builder.sign(PLATFORM_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = PLATFORM_KEY.public_key().public_bytes(serialization.Encoding.PEM, form)
    (tmp_path / "a.pem").write_bytes(certificate)
    (tmp_path / "b.pem").write_bytes(public)
    options = {"wechatpay_key.A": str(tmp_path / "a.pem"), "wechatpay_key.B": str(tmp_path / "b.pem"), "other": "x"}
    keys = load_keys(options)
    assert sorted(keys) == ["A", "B"]
    for serial in keys:
        assert WechatPayReceiver(keys, lambda: API_KEY).receive(noticed(notice(), serial=serial)).documents


def test_a_file_without_a_key_is_told_with_its_option(tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "ec.pem").write_bytes(curve.public_bytes(serialization.Encoding.PEM, form))
    (tmp_path / "no.pem").write_bytes(b"no key")
    for file in ("none.pem", "no.pem", "ec.pem"):
        with pytest.raises(ValueError, match=r"option wechatpay_key\.A"):
            load_keys({"wechatpay_key.A": str(tmp_path / file)})
    with pytest.raises(ValueError, match="whole path"):
        load_keys({"wechatpay_key.A": "a.pem"})
