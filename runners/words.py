"""What people write: sealed where it is written, checked where it is decided, opened for who may read it.

The mail has no place for it in clear. The worker opens it once, so that what stands beside it (which fields were filled
in, whom a comment calls) is what the text says and not what its sender claims; what does not open is not kept.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from adapters.storage.sealing import SealBroken, open_sealed, payload_digest, seal
from domain.acts import Act
from domain.approvals import AttachDocument
from domain.ports import Payload
from domain.talk import Comment, mentions_of

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(dict[str, str]).decode
_replace = msgspec.structs.replace


def seal_words(key: bytes, stream: str, words: Mapping[str, str]) -> tuple[tuple[str, ...], bytes]:
    """Return the names of what was written and the sealed bytes of it; what is blank is left out.

    Args:
        key: the order's data key.
        stream: the order's key in the log.
        words: name → text.
    """
    written = {name: text for name, text in words.items() if text.strip()}
    return (tuple(sorted(written)), seal(key, stream, _encode(written))) if written else ((), b"")


def open_words(key: bytes, stream: str, sealed: bytes) -> dict[str, str]:
    """Return what was written, by name.

    Raises:
        SealBroken: it was not sealed for this order, or is no such text.
    """
    try:
        return _decode(open_sealed(key, stream, sealed))
    except msgspec.MsgspecError as error:
        raise SealBroken(f"a sealed text of {stream} cannot be read") from error


def checked(
    act: Act, stream: str, key: bytes | None, fetch: Callable[[str], bytes | None]
) -> tuple[Any, Payload | None]:
    """Return the act as its sealed words say it is, and the document that came with it, to be stored.

    Args:
        act: what was mailed.
        stream: key of the order.
        key: its data key; None where it was destroyed, or never made.
        fetch: returns sealed bytes that an edge has put aside, or None.
    """
    if act.sealed or act.told:
        words = _opened(key, stream, act.sealed)
        told = tuple(sorted(name for name, text in words.items() if text.strip()))
        # Names without words are refused by the order itself: it says so to who sent them.
        act = _replace(act, told=told or act.told, sealed=act.sealed if told else b"")
        if isinstance(act, Comment):
            act = _replace(act, mentions=mentions_of(words.get("text", "")))
    if not isinstance(act, AttachDocument):
        return act, None
    sealed = act.raw or (fetch(act.ref) if act.ref else None) or b""
    size = _size(key, stream, sealed)
    payload = Payload(payload_digest(sealed), stream, sealed) if size is not None else None
    digest = payload.digest.hex() if payload else ""
    return _replace(act, raw=b"", ref="", size=size or 0, payload=digest), payload


def _opened(key: bytes | None, stream: str, sealed: bytes) -> dict[str, str]:
    if key is None:
        return {}
    try:
        return open_words(key, stream, sealed)
    except SealBroken:
        return {}


def _size(key: bytes | None, stream: str, sealed: bytes) -> int | None:
    """Return how many bytes a sealed document has; None where it does not open."""
    if key is None:
        return None
    try:
        return len(open_sealed(key, stream, sealed))
    except SealBroken:
        return None
