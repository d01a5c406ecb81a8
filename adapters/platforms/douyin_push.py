"""Pushed messages of Douyin shops: an array of `{tag, msg_id, data}`, signed as a whole. All of them are hints.

Messages carry no time that is signed and come again until they are answered; a repeat asks for the same order once
more, which is harmless.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from adapters.channels.json_fields import split_list, split_object
from adapters.platforms.genuine import check_posted, check_same, one_of
from domain.platforms import PushAnswer, Pushed, PushRequest

SUCCESS: Final = PushAnswer(200, "application/json", b'{"code":0,"msg":"success"}')
_PROBE: Final = (b"0", b'"0"')


def push_signature(app_key: str, raw: bytes, app_secret: str) -> str:
    """Return what `event-sign` must be."""
    # The platform's rule; not ours to choose.
    return hashlib.md5(app_key.encode() + raw + app_secret.encode(), usedforsecurity=False).hexdigest()


class DouyinReceiver:
    """Verifies pushed messages."""

    def __init__(self, app_key: str, app_secret: Callable[[], str]) -> None:
        self._app_key = app_key
        self._app_secret = app_secret

    def receive(self, request: PushRequest) -> Pushed:
        """Verify a push; a probe (tag 0) has nothing to take in.

        Raises:
            NotGenuine: it is not Douyin's.
        """
        check_posted(request)
        given = one_of(request.headers, "event-sign")
        check_same(given, push_signature(self._app_key, request.body, self._app_secret()), "event-sign is wrong")
        return Pushed(() if _only_probes(request.body) else (request.body,), SUCCESS)


def _only_probes(body: bytes) -> bool:
    messages = split_list(body) or [msgspec.Raw(body)]
    for message in messages:
        members = split_object(message)
        if members is None or bytes(members.get("tag", b"")) not in _PROBE:
            return False
    return True
