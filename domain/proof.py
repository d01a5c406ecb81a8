"""Leaf hashes: the proof that a stored event is the one that was committed.

A leaf is SHA-256(0x00 ‖ position ‖ version ‖ five lengths ‖ stream ‖ tag ‖ envelope ‖ data ‖ sealed); numbers and the
lengths of the five byte strings are 8 bytes, big-endian. The leading 0x00 tells leaves from the inner nodes of the
Merkle tree over them (RFC 6962). `sealed` begins with the commitment to its key, so the commitment is covered too.
"""

from hashlib import sha256
from struct import Struct
from typing import NamedTuple

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


class Flip(NamedTuple):
    """One bit that makes the difference between an event and the leaf it was committed with."""

    field: str
    """position, stream, version, tag, envelope, data, sealed, or leaf."""
    offset: int
    """Byte of the field, from 0; of numbers, of their eight bytes."""
    stream: str
    """The stream as it was committed."""


def flipped_bit(
    position: int, stream: str, version: int, tag: str, envelope: bytes, data: bytes, sealed: bytes, leaf: bytes
) -> Flip | None:
    """Tell which single bit was flipped since the leaf was made; None where it was more than one.

    A bit that flipped by itself is a matter of the disk, an event that was edited is one of people. It costs one hash
    over the event for each of its bits, so it is asked of single events only.
    """
    name, kind = stream.encode("utf-8", "surrogateescape"), tag.encode("utf-8", "surrogateescape")
    lengths = tuple(map(len, (name, kind, envelope, data, sealed)))
    whole = bytearray(_HEAD.pack(b"\0", position, version, *lengths) + b"".join((name, kind, envelope, data, sealed)))
    committed = int.from_bytes(leaf, "big")
    difference = int.from_bytes(sha256(whole).digest(), "big") ^ committed
    if difference.bit_count() == 1:
        return Flip("leaf", len(leaf) - 1 - (difference.bit_length() - 1) // 8, stream)
    places = [("position", 1, 8), ("version", 9, 8)]
    start = _HEAD.size
    for field, length in zip(("stream", "tag", "envelope", "data", "sealed"), lengths, strict=True):
        places.append((field, start, length))
        start += length
    for field, begin, length in places:
        for at in range(begin, begin + length):
            for bit in range(8):
                whole[at] ^= 1 << bit
                found = sha256(whole).digest() == leaf
                if found:
                    held = bytes(whole[_HEAD.size : _HEAD.size + len(name)])
                    return Flip(field, at - begin, held.decode("utf-8", "surrogateescape"))
                whole[at] ^= 1 << bit
    return None
