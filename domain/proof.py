"""Leaf hashes: the proof that a stored event is the one that was committed.

A leaf is SHA-256(0x00 ‖ position ‖ version ‖ five lengths ‖ stream ‖ tag ‖ envelope ‖ data ‖ sealed); numbers and the
lengths of the five byte strings are 8 bytes, big-endian. The leading 0x00 tells leaves from the inner nodes of the
Merkle tree over them (RFC 6962). `sealed` begins with the commitment to its key, so the commitment is covered too.
"""

from hashlib import sha256
from struct import Struct

_HEAD = Struct(">cQQQQQQQ")


def leaf_hash(position: int, stream: str, version: int, tag: str, envelope: bytes, data: bytes, sealed: bytes) -> bytes:
    """Return the 32-byte leaf of one event; `sealed` is b"" where there is none."""
    name, kind = stream.encode(), tag.encode()
    return sha256(
        b"".join(
            (
                _HEAD.pack(b"\0", position, version, len(name), len(kind), len(envelope), len(data), len(sealed)),
                name,
                kind,
                envelope,
                data,
                sealed,
            )
        )
    ).digest()
