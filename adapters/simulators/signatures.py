"""The platforms' signatures and encryptions, from the side of the platform.

Written from the platforms' descriptions and never taken from the clients: two who made the same mistake would agree.
"""

import base64
import hmac
import secrets
import struct
from collections.abc import Collection, Mapping
from hashlib import md5, sha1
from typing import Final
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_BLOCK: Final = 32
"""WeChat pads to 32 bytes, not to the 16 of AES."""


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def joined(params: Mapping[str, str], without: Collection[str] = ("sign",)) -> str:
    """Return names and values of all parameters in the order of their names, nothing between them."""
    return "".join(name + params[name] for name in sorted(params) if name not in without)


def wrapped_md5(base: str, secret: str) -> str:
    """Return the signature of Taobao (`md5`), JD and Pinduoduo."""
    return _md5(secret + base + secret).upper()


def taobao(params: Mapping[str, str], secret: str) -> str:
    """Return the signature of a request to Taobao by its own `sign_method`."""
    base = joined(params)
    match params.get("sign_method"):
        case "hmac":
            return hmac.new(secret.encode(), base.encode(), "md5").hexdigest().upper()
        case "hmac-sha256":
            return hmac.new(secret.encode(), base.encode(), "sha256").hexdigest().upper()
    return wrapped_md5(base, secret)


def jd(params: Mapping[str, str], secret: str) -> str:
    """Return the signature of a request to JD."""
    return wrapped_md5(joined(params, ("sign", "format", "sign_method")), secret)


def pinduoduo(params: Mapping[str, str], secret: str) -> str:
    """Return the signature of a request to Pinduoduo."""
    return wrapped_md5(joined(params), secret)


def pinduoduo_socket(client_id: str, ts_ms: str, secret: str) -> str:
    """Return the last part of the path of Pinduoduo's message socket, percent-encoded."""
    digest = base64.b64encode(_md5(client_id + ts_ms + secret).encode()).decode()
    return quote(digest, safe="")


def douyin(method: str, params: Mapping[str, str], param_json: str, secret: str) -> str:
    """Return the signature of a request to Douyin."""
    app_key, timestamp = params.get("app_key", ""), params.get("timestamp", "")
    base = f"app_key{app_key}method{method}param_json{param_json}timestamp{timestamp}v2"
    text = (secret + base + secret).encode()
    if params.get("sign_method") == "md5":
        return md5(text, usedforsecurity=False).hexdigest()
    return hmac.new(secret.encode(), text, "sha256").hexdigest()


def douyin_event(app_key: str, body: bytes, secret: str) -> str:
    """Return the signature of a push of Douyin."""
    return md5(app_key.encode() + body + secret.encode(), usedforsecurity=False).hexdigest()


def shopify(body: bytes, secret: str) -> str:
    """Return the signature of a webhook of Shopify."""
    return base64.b64encode(hmac.new(secret.encode(), body, "sha256").digest()).decode()


def own(timestamp: str, nonce: str, body: bytes, secret: str) -> str:
    """Return the signature of the product's own push contract."""
    return hmac.new(secret.encode(), f"{timestamp}.{nonce}.".encode() + body, "sha256").hexdigest()


def wechat(*parts: str) -> str:
    """Return the signature of a push of WeChat: of token, time and nonce, and of the ciphertext where there is one."""
    return sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def wechat_encrypt(message: bytes, aes_key: str, appid: str) -> str:
    """Encrypt a message as WeChat does: random bytes, length, message, appid, padded to 32, AES-256-CBC."""
    key = base64.b64decode(aes_key + "=")
    plain = secrets.token_bytes(16) + struct.pack(">I", len(message)) + message + appid.encode()
    pad = _BLOCK - len(plain) % _BLOCK
    plain += bytes([pad]) * pad
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def wxpay_encrypt(plain: bytes, api_v3_key: str, nonce: str, associated: str) -> str:
    """Encrypt the resource of a WeChat Pay notice."""
    return base64.b64encode(AESGCM(api_v3_key.encode()).encrypt(nonce.encode(), plain, associated.encode())).decode()


def wxpay_sign(timestamp: str, nonce: str, body: bytes, key: rsa.RSAPrivateKey) -> str:
    """Sign a WeChat Pay notice with the platform's key."""
    text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
