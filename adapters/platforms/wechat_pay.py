"""Notices of WeChat Pay (API v3): signed by the platform with RSA, their content encrypted with the merchant's key.

From public clients we know the headers, the envelope and the decrypted content; the rule of the signature and the
answer are widely told but in none of our sources: `_signed` and `SUCCESS` are the places to correct.
"""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from adapters.platforms.connection import MissingSecret
from adapters.platforms.genuine import check_fresh, check_posted, one_of, read_base64
from domain.platforms import NotGenuine, PushAnswer, Pushed, PushRequest

SUCCESS: Final = PushAnswer(200, "application/json", '{"code":"SUCCESS","message":"成功"}'.encode())
KEY_OPTION: Final = "wechatpay_key."
_ALGORITHM: Final = "AEAD_AES_256_GCM"
_API_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = range(8, 129)


class WechatPayReceiver:
    """Verifies and opens notices of payments and refunds."""

    def __init__(self, keys: Mapping[str, RSAPublicKey], api_v3_key: Callable[[], str]) -> None:
        """`keys` are the platform's public keys by serial number."""
        self._keys = keys
        self._api_v3_key = api_v3_key

    def receive(self, request: PushRequest) -> Pushed:
        """Verify a notice and open it: the document is the notice with its resource (a payment or a refund) decrypted.

        Raises:
            NotGenuine: it is not the platform's, too old, from the future, or not for this merchant.
            MissingSecret: the merchant's key is not there, or none.
        """
        nonce = self._verified(request)
        return Pushed((self._opened(request.body),), SUCCESS, nonce)

    def opened(self, request: PushRequest) -> bytes:
        """Verify a notice and return it with its resource decrypted.

        Raises:
            NotGenuine, MissingSecret: see `receive`.
        """
        self._verified(request)
        return self._opened(request.body)

    def _verified(self, request: PushRequest) -> str:
        check_posted(request)
        timestamp = one_of(request.headers, "wechatpay-timestamp")
        nonce = one_of(request.headers, "wechatpay-nonce")
        given = one_of(request.headers, "wechatpay-signature")
        key = self._keys.get(one_of(request.headers, "wechatpay-serial"))
        if key is None:
            raise NotGenuine("wechatpay-serial is not known")
        check_fresh(timestamp, request.now_ms)
        raw = read_base64(given, "wechatpay-signature")
        try:
            key.verify(raw, _signed(timestamp, nonce, request.body), PKCS1v15(), SHA256())
        except InvalidSignature:
            raise NotGenuine("wechatpay-signature is wrong") from None
        return nonce

    def _opened(self, body: bytes) -> bytes:
        api_key = self._api_v3_key().encode()
        if len(api_key) != _API_KEY_BYTES:
            raise MissingSecret("the secret api_v3_key must have 32 characters: the merchant's APIv3 key")
        try:
            notice = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            resource = msgspec.json.decode(notice["resource"], type=_Resource)
            sealed = base64.b64decode(resource.ciphertext, validate=True)
            if resource.algorithm != _ALGORITHM or len(resource.nonce) not in _NONCE_BYTES:
                raise NotGenuine("the notice is encrypted in another way")
            plain = AESGCM(api_key).decrypt(resource.nonce.encode(), sealed, (resource.associated_data or "").encode())
            # Nothing of it is read here: what the bytes mean is the channel's.
            return msgspec.json.encode({**notice, "resource": msgspec.Raw(plain)})
        except (KeyError, ValueError, RecursionError):
            raise NotGenuine("the notice has no resource to decrypt") from None
        except InvalidTag:
            raise NotGenuine("the notice is for another merchant, or altered") from None


class _Resource(msgspec.Struct):
    """What is encrypted, and how."""

    algorithm: str
    ciphertext: str
    nonce: str
    associated_data: str | None = None


def _signed(timestamp: str, nonce: str, body: bytes) -> bytes:
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def load_keys(options: Mapping[str, str]) -> dict[str, RSAPublicKey]:
    """Read the platform's public keys: option `wechatpay_key.SERIAL` = a PEM file with a certificate or public key.

    Raises:
        ValueError: a file is not readable or holds none; the text says which option.
    """
    found = {}
    for name, path in options.items():
        if name.startswith(KEY_OPTION):
            if not Path(path).is_absolute():
                raise ValueError(f"option {name}: give the whole path of the file, from the root on")
            try:
                found[name.removeprefix(KEY_OPTION)] = _public_key(Path(path).read_bytes())
            except (OSError, ValueError):
                reason = f"option {name}: no certificate or RSA public key (PEM) can be read from the file it names"
                raise ValueError(reason) from None
    return found


def _public_key(pem: bytes) -> RSAPublicKey:
    certificate = b"BEGIN CERTIFICATE" in pem
    key = x509.load_pem_x509_certificate(pem).public_key() if certificate else load_pem_public_key(pem)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not RSA")  # noqa: TRY004 # the caller's text is the one that is read
    return key
