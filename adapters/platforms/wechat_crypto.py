"""WeChat's message encryption ("safe mode"): the signature of a push, and what is inside it.

Known from public clients are the signature's rule and the layout; that the padding's block is 32 bytes and that the
text ends with the app id is widely told but in none of our sources: `_BLOCK` and `opened` are the places to correct.
"""

import base64
import contextlib
import hashlib
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from adapters.platforms.genuine import check_same, read_base64
from domain.platforms import NotGenuine

_BLOCK: Final = 32
_RANDOM: Final = 16
_LENGTH: Final = 4
_AES_KEY_CHARACTERS: Final = 43


def message_signature(*parts: str) -> str:
    """Return the signature over token, timestamp, nonce and, for a message, its `Encrypt`."""
    # The platform's rule; not ours to choose.
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def aes_key(encoding_aes_key: str) -> bytes:
    """Return the key behind the 43 characters that the platform's console shows.

    Raises:
        ValueError: they are none.
    """
    with contextlib.suppress(ValueError):
        if len(encoding_aes_key) == _AES_KEY_CHARACTERS:
            return base64.b64decode(encoding_aes_key + "=", validate=True)
    raise ValueError("EncodingAESKey must be the 43 letters and digits that the platform's console shows")


def opened(encrypted: str, key: bytes, app_id: str) -> bytes:
    """Return the message inside, if it is for this app. Verify the signature first.

    Raises:
        NotGenuine: it is no such message, or another app's.
    """
    sealed = read_base64(encrypted, "Encrypt")
    if not sealed or len(sealed) % _BLOCK:
        raise NotGenuine("Encrypt has a wrong length")
    decryptor = Cipher(AES256(key), CBC(key[:16])).decryptor()
    plain = _unpadded(decryptor.update(sealed) + decryptor.finalize())
    start = _RANDOM + _LENGTH
    end = start + int.from_bytes(plain[_RANDOM:start], "big")
    if len(plain) < start or end > len(plain):
        raise NotGenuine("the message inside has a wrong length")
    check_same(plain[end:].decode("utf-8", "replace"), app_id, "the message is for another app")
    return plain[start:end]


def _unpadded(padded: bytes) -> bytes:
    count = padded[-1]
    if not 1 <= count <= _BLOCK or padded[-count:] != bytes([count]) * count:
        raise NotGenuine("the padding is wrong")
    return padded[:-count]
