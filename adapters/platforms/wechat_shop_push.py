"""Pushes of WeChat shops: the check of the address (GET) and encrypted messages (POST, JSON or XML). All are hints.

Only the safe mode is accepted: in the plain mode the signature does not cover the message. A message that comes again
asks for the same order once more, which is harmless.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from adapters.channels.json_fields import decode
from adapters.platforms.connection import MissingSecret
from adapters.platforms.genuine import check_fresh, check_posted, check_same, one_of
from adapters.platforms.wechat_crypto import aes_key, message_signature, opened
from adapters.platforms.wechat_xml import BadXml, read_xml
from domain.canonical import TranslationError
from domain.platforms import NotGenuine, PushAnswer, Pushed, PushRequest

SUCCESS: Final = PushAnswer(200, "text/plain; charset=utf-8", b"success")
_ECHO_MAX: Final = 1_000


class WechatShopReceiver:
    """Verifies and decrypts pushes."""

    def __init__(self, app_id: str, token: Callable[[], str], encoding_aes_key: Callable[[], str]) -> None:
        self._app_id = app_id
        self._token = token
        self._encoding_aes_key = encoding_aes_key

    def receive(self, request: PushRequest) -> Pushed:
        """Answer the check of the address, or verify and open a message.

        Raises:
            NotGenuine: it is not WeChat's, not for this shop, too old, or not encrypted.
            MissingSecret: the token or the key is not there, or none.
        """
        timestamp = one_of(request.query, "timestamp")
        nonce = one_of(request.query, "nonce")
        if request.method.upper() == "GET":
            given, echo = one_of(request.query, "signature"), one_of(request.query, "echostr")
            check_same(given, message_signature(self._token(), timestamp, nonce), "signature is wrong")
            check_fresh(timestamp, request.now_ms)
            if len(echo) > _ECHO_MAX:
                raise NotGenuine("echostr is too long")
            return Pushed((), PushAnswer(200, "text/plain; charset=utf-8", echo.encode()))
        check_posted(request)
        given = one_of(request.query, "msg_signature")
        envelope = _members(request.body, "the body")
        encrypted = envelope.get("Encrypt")
        if not isinstance(encrypted, str) or not encrypted:
            raise NotGenuine("no Encrypt in the body")
        check_same(given, message_signature(self._token(), timestamp, nonce, encrypted), "msg_signature is wrong")
        check_fresh(timestamp, request.now_ms)
        try:
            key = aes_key(self._encoding_aes_key())
        except ValueError as error:
            raise MissingSecret(f"the secret encoding_aes_key: {error}") from None
        message = opened(encrypted, key, self._app_id)
        return Pushed((_as_json(message),), SUCCESS)


def _members(raw: bytes, what: str) -> dict[str, Any]:
    try:
        members = read_xml(raw) if raw.lstrip()[:1] == b"<" else decode(raw)
    except (BadXml, TranslationError):
        members = None
    if not isinstance(members, dict):
        raise NotGenuine(f"{what} is neither JSON nor XML")
    return members


def _as_json(message: bytes) -> bytes:
    """Return a message as it is, or as the same in JSON where it is XML; what is neither is for the channel to tell."""
    if message.lstrip()[:1] != b"<":
        return message
    try:
        return msgspec.json.encode(read_xml(message))
    except BadXml:
        return message
