"""The map of stream ends: one hash that stands for where every stream of a log ends (a Merkle map).

The tree over the log (`domain.merkle`) shows what is there; that nothing further is there it cannot show. The map can:
each stream has one place in it, and what stands there is the stream's last event. One content has one root, in
whatever order it was put in.

A stream's place is its *key*, SHA-256(0x02 ‖ name). A map of one stream is that stream's *leaf*, SHA-256(0x03 ‖ key ‖
position ‖ version ‖ leaf of the event), numbers in 8 bytes, big-endian. A greater one is SHA-256(0x04 ‖ left ‖ right)
over the map of the keys whose first bit is 0 and that of the others, which are split by the second bit, and so on; an
empty one is 32 zero bytes. So from the root down the bits of a key lead to one place: to its own leaf, to that of
another key, which alone begins with those bits, or to nothing. What stands there proves where the stream ends, or that
there is no such stream.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

HASH_BYTES = 32
KEY_BITS = 256
BUCKET_BITS = 14
"""Keys that share so many first bits are hashed together; it decides what a change costs, not what the root is."""

_PLACE = Struct(">QQ")
_SHIFT = KEY_BITS - BUCKET_BITS


class End(NamedTuple):
    """The last event of a stream."""

    position: int
    version: int
    """Its place in the stream, which is also how many events the stream has: versions count 1, 2, 3 …"""
    leaf: bytes
    """Of the event, as in the tree over the log."""


class Part(NamedTuple):
    """The map over the keys that begin alike."""

    streams: int
    """0, 1, or 2 for more."""
    hash: bytes


NOTHING = Part(0, bytes(HASH_BYTES))
"""No stream."""

Leaf = tuple[bytes, bytes]
"""Key, and the leaf of the map that stands there."""


class Proof(NamedTuple):
    """Where the bits of a key lead."""

    path: list[bytes]
    """The other side at each step, the lowest first."""
    key: bytes | None
    """Whose leaf is there; None = nothing is there."""


def key_of(stream: str) -> bytes:
    """Return a stream's place in the map."""
    return sha256(b"\2" + stream.encode("utf-8", "surrogateescape")).digest()


def leaf_of(key: bytes, end: End) -> bytes:
    """Return the leaf of the map that says where a stream ends."""
    return sha256(b"\3" + key + _PLACE.pack(end.position, end.version) + end.leaf).digest()


def joined(left: Part, right: Part) -> Part:
    """Return the map over two sides; one stream alone stays the leaf that it is."""
    if left.streams + right.streams <= 1:
        return left if left.streams else right
    return Part(2, sha256(b"\4" + left.hash + right.hash).digest())


def part_of(leaves: Sequence[Leaf], depth: int = 0) -> Part:
    """Return the map over leaves that ascend by key and whose keys begin with the same `depth` bits."""
    if len(leaves) < 2:  # noqa: PLR2004 - one, or none
        return Part(1, leaves[0][1]) if leaves else NOTHING
    middle = _middle(leaves, depth)
    return joined(part_of(leaves[:middle], depth + 1), part_of(leaves[middle:], depth + 1))


def root_of(leaves: Iterable[Leaf]) -> bytes:
    """Return the root of the map of these leaves, each of another key."""
    return part_of(sorted(leaves)).hash


def bucket_of(key: bytes) -> int:
    """Return the number of the bucket that a key falls into."""
    return int.from_bytes(key[:2], "big") >> 16 - BUCKET_BITS


def keys_of(bucket: int) -> tuple[bytes, bytes]:
    """Return the least and the greatest key of a bucket."""
    return (bucket << _SHIFT).to_bytes(HASH_BYTES, "big"), (((bucket + 1) << _SHIFT) - 1).to_bytes(HASH_BYTES, "big")


class Buckets:
    """The map above its buckets: what leads from the root to each of them."""

    def __init__(self, parts: Mapping[int, Part]) -> None:
        """Take what each bucket holds; those that are not there hold nothing."""
        self._levels: list[dict[int, Part]] = [{} for _ in range(BUCKET_BITS + 1)]
        self.put(parts)

    @property
    def root(self) -> bytes:
        """Return the root of the map."""
        return self._levels[0].get(0, NOTHING).hash

    def part(self, bucket: int) -> Part:
        """Return what a bucket holds."""
        return self._levels[BUCKET_BITS].get(bucket, NOTHING)

    def put(self, parts: Mapping[int, Part]) -> None:
        """Change buckets, and what leads to them."""
        below, changed = self._levels[BUCKET_BITS], set(parts)
        below.update(parts)
        for level in reversed(self._levels[:BUCKET_BITS]):
            changed = {number >> 1 for number in changed}
            for number in changed:
                level[number] = joined(below.get(number << 1, NOTHING), below.get(number << 1 | 1, NOTHING))
            below = level

    def prove(self, key: bytes, leaves_of: Callable[[int], Sequence[Leaf]]) -> Proof:
        """Return where the bits of `key` lead; `leaves_of` gives the leaves of a bucket, ascending."""
        path: list[bytes] = []
        number = 0
        for depth, level in enumerate(self._levels):
            here = level.get(number, NOTHING)
            if here.streams == 0:
                return Proof(path[::-1], None)
            if here.streams == 1:
                return Proof(path[::-1], leaves_of(self._alone(depth, number))[0][0])
            if depth < BUCKET_BITS:
                number = number << 1 | _bit(key, depth)
                path.append(self._levels[depth + 1].get(number ^ 1, NOTHING).hash)
        leaves, depth = leaves_of(number), BUCKET_BITS
        while len(leaves) > 1:
            middle = _middle(leaves, depth)
            zeros, ones = leaves[:middle], leaves[middle:]
            leaves, other = (ones, zeros) if _bit(key, depth) else (zeros, ones)
            depth += 1
            path.append(part_of(other, depth).hash)
        return Proof(path[::-1], leaves[0][0] if leaves else None)

    def _alone(self, depth: int, number: int) -> int:
        """Return the bucket of the only stream below a place."""
        for level in self._levels[depth + 1 :]:
            number <<= 1
            number |= not level.get(number, NOTHING).streams
        return number


def leads_to(key: bytes, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """Return the root that a leaf (or 32 zero bytes) at the end of a path has, where the bits of `key` lead there.

    Raises:
        ValueError: the path is longer than a key.
    """
    if len(path) > KEY_BITS:
        raise ValueError(f"a path of {len(path)} steps; a key has {KEY_BITS} bits")
    node = leaf
    for depth, side in zip(range(len(path) - 1, -1, -1), path, strict=True):
        pair = side + node if _bit(key, depth) else node + side
        node = sha256(b"\4" + pair).digest()
    return node


class EndsMap:
    """A map in memory, of which only what was changed is hashed again."""

    def __init__(self) -> None:
        """Begin empty."""
        self._leaves: dict[int, dict[bytes, bytes]] = {}
        self._buckets = Buckets({})
        self._fresh: dict[bytes, bytes] = {}
        self._streams = 0
        self.hashed = 0
        """Leaves that were hashed with their bucket so far."""

    @property
    def cost(self) -> int:
        """About as many leaves as `root` would hash now."""
        return len(self._fresh) + min(self._streams, len(self._fresh) * self._streams >> BUCKET_BITS)

    def put(self, leaves: Iterable[Leaf]) -> None:
        """Put leaves in; of one key the last one stays."""
        self._fresh.update(leaves)

    def root(self) -> bytes:
        """Return the root of the map as it is."""
        changed = set()
        for key, leaf in self._fresh.items():
            bucket = bucket_of(key)
            leaves = self._leaves.setdefault(bucket, {})
            self._streams += key not in leaves
            leaves[key] = leaf
            changed.add(bucket)
        self._fresh.clear()
        self.hashed += sum(len(self._leaves[bucket]) for bucket in changed)
        self._buckets.put({bucket: part_of(sorted(self._leaves[bucket].items()), BUCKET_BITS) for bucket in changed})
        return self._buckets.root


def _bit(key: bytes, depth: int) -> int:
    return key[depth >> 3] >> (7 - (depth & 7)) & 1


def _middle(leaves: Sequence[Leaf], depth: int) -> int:
    """Return where, in leaves that ascend and begin alike, those begin whose bit at `depth` is 1."""
    byte, mask = depth >> 3, 128 >> (depth & 7)
    return bisect_left(leaves, True, key=lambda leaf: bool(leaf[0][byte] & mask))
