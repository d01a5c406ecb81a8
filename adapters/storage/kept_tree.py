"""The tree beside the checkpoints: any proof out of it reads a few hundred leaves, however long the log is.

Three files for each life of the log, written off the hot path, by sealing and by verifying. `.leaves` holds the leaves,
`.blocks` the roots of every 256 of them, `.names` whose event each leaf is, so that what was cut out or moved can
still be named. None is believed by itself: what is read here must lead to a signed root.
"""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from adapters.storage.checkpoints import LEAF_BYTES, Leaves
from adapters.storage.durable import opened
from domain.merkle import Frontier, frontier_nodes, node_hash, root_of

BLOCK_LEAVES = 256
"""Leaves under one kept node."""
_VERSION = re.compile("[0-9]{1,18}")


class KeptTree:
    """Roots of ranges of the kept leaves."""

    def __init__(self, leaves: Leaves) -> None:
        """Take the leaves; the file of blocks is beside them and need not be there."""
        self.leaves = leaves
        self.leaves_read = 0
        """Leaves that were read from the file so far; a block's root counts as one."""
        self._path = leaves.path.with_suffix(".blocks")
        self._blocks: bytes | None = None
        self._nodes: dict[tuple[int, int], bytes] = {}

    @property
    def path(self) -> Path:
        """The file of blocks."""
        return self._path

    def root(self, low: int, high: int) -> bytes:
        """Return the root over the leaves `low` to before `high`, which must be a subtree's range: RFC 6962, 2.1.

        Raises:
            IndexError: not as many leaves are kept.
        """
        size = high - low
        if size <= BLOCK_LEAVES:
            return self._small(low, high)
        node = self._nodes.get((low, high))
        if node is None:
            middle = low + (1 << ((size - 1).bit_length() - 1))
            node = self._nodes[low, high] = node_hash(self.root(low, middle), self.root(middle, high))
        return node

    def frontier(self, size: int) -> Frontier:
        """Return the tree of the first `size` leaves, ready to grow."""
        return Frontier(size, frontier_nodes(size, self.root))

    def grow(self, unchanged: int) -> None:
        """Write the roots of all full blocks; the first `unchanged` leaves are those the file was written from."""
        kept = min(unchanged // BLOCK_LEAVES, len(self._read()) // LEAF_BYTES)
        full = self.leaves.count // BLOCK_LEAVES
        with os.fdopen(opened(self._path, 0o644), "r+b") as file:
            file.truncate(kept * LEAF_BYTES)
            file.seek(kept * LEAF_BYTES)
            for block in range(kept, full):
                file.write(root_of(_parts(self.leaves.read(block * BLOCK_LEAVES, (block + 1) * BLOCK_LEAVES))))
        self._blocks = None
        self._nodes.clear()

    def _small(self, low: int, high: int) -> bytes:
        """Return the root over one block, or over a part of one."""
        key = low, high
        node = self._nodes.get(key)
        if node is None:
            if high - low == BLOCK_LEAVES and low % BLOCK_LEAVES == 0:
                at = low // BLOCK_LEAVES * LEAF_BYTES
                node = self._read()[at : at + LEAF_BYTES]
            if node is None or len(node) < LEAF_BYTES:
                leaves = _parts(self.leaves.read(low, high))
                self.leaves_read += len(leaves)
                if len(leaves) != high - low:
                    raise IndexError(f"{self.leaves.path} holds {self.leaves.count} leaves; leaf {high} was asked for")
                node = root_of(leaves)
            else:
                self.leaves_read += 1
            self._nodes[key] = node
        return node

    def _read(self) -> bytes:
        if self._blocks is None:
            try:
                self._blocks = self._path.read_bytes()
            except FileNotFoundError:
                self._blocks = b""
        return self._blocks


class Names:
    """Whose event each leaf is: a text file with a line `version stream` for each position, in order."""

    def __init__(self, leaves: Leaves) -> None:
        """Name the file; it need not be there."""
        self.path = leaves.path.with_suffix(".names")
        self._known = (0, 0)

    @property
    def count(self) -> int:
        """Number of whole lines. The file is counted once, and again when its size is another."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return 0
        if size != self._known[0]:
            with self.path.open("rb") as file:
                self._known = size, sum(page.count(b"\n") for page in iter(lambda: file.read(1 << 20), b""))
        return self._known[1]

    def offset(self, lines: int) -> int:
        """Return where line `lines` + 1 begins, in bytes."""
        if lines == self.count and self.path.exists():
            with self.path.open("rb") as file:
                size = self._known[0]
                file.seek(max(size - 1, 0))
                if size == 0 or file.read(1) == b"\n":
                    return size
        if not lines:
            return 0
        with self.path.open("rb") as file:
            return sum(len(line) for line in islice(file, lines))

    def pages(self, lines: int) -> Iterator[bytes]:
        """Yield the file line by line, as far as line `lines`."""
        try:
            with self.path.open("rb") as file:
                yield from islice(file, lines)
        except FileNotFoundError:
            return

    def of(self, ranges: Sequence[range]) -> Iterator[tuple[int, int, str]]:
        """Yield (position, version, stream) of the positions in `ranges`, which ascend, as far as they are known."""
        if not ranges:
            return
        wanted = iter(ranges)
        part = next(wanted)
        for position, line in enumerate(self.pages(ranges[-1].stop - 1), 1):
            while position >= part.stop:
                following = next(wanted, None)
                if following is None:
                    return
                part = following
            if position in part:
                version, _, stream = line.decode("utf-8", "backslashreplace").rstrip("\n").partition(" ")
                if _VERSION.fullmatch(version):
                    yield position, int(version), stream


def name_line(version: object, stream: object) -> str:
    """Return the line of one event in the file of names."""
    return f"{version} {stream}\n"


def _parts(leaves: bytes) -> list[bytes]:
    return [leaves[at : at + LEAF_BYTES] for at in range(0, len(leaves), LEAF_BYTES)]
