"""The Merkle tree over the leaves of a log (RFC 6962): one hash that stands for every event up to a position.

Leaves come ready made (`domain.proof.leaf_hash`, which begins with 0x00); an inner node is SHA-256(0x01 ‖ left ‖
right). A tree of n leaves splits at the greatest power of two below n, so that a tree that grows keeps its full
subtrees: the roots of those, at most one for each bit of n, are its *frontier*, and all that appending needs.

A proof is a list of nodes. *Inclusion* shows that a leaf is in the tree of a root, *consistency* that the tree of a
later root is the earlier one with leaves added behind.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
"""Root of a tree without leaves."""

RangeRoot = Callable[[int, int], bytes]
"""Gives the root over the leaves from the first number (from 0) to before the second."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the inner node over two nodes."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """A tree as far as appending and its root need it: the roots of its full subtrees, greatest first."""

    __slots__ = ("_nodes", "size")

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        """Begin empty, or where an earlier frontier (`size`, `nodes`) stood.

        Raises:
            ValueError: `nodes` are not as many as a tree of `size` leaves has full subtrees.
        """
        self.size = size
        """Number of leaves."""
        self._nodes = list(nodes)
        if len(self._nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} full subtrees, not {len(self._nodes)}")

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """Roots of the full subtrees, greatest first."""
        return tuple(self._nodes)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves, in order."""
        nodes, size = self._nodes, self.size
        for leaf in leaves:
            node, full = leaf, size
            while full & 1:
                node = sha256(b"\1" + nodes.pop() + node).digest()
                full >>= 1
            nodes.append(node)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """Return the root of the tree as it is."""
        if not self._nodes:
            return EMPTY_ROOT
        node = self._nodes[-1]
        for left in reversed(self._nodes[:-1]):
            node = node_hash(left, node)
        return node


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over these leaves."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def frontier_nodes(size: int, root: RangeRoot) -> list[bytes]:
    """Return the roots of the full subtrees of a tree of `size` leaves, greatest first, as `Frontier` takes them."""
    nodes: list[bytes] = []
    low = 0
    for bit in range(size.bit_length() - 1, -1, -1):
        if size >> bit & 1:
            nodes.append(root(low, low + (1 << bit)))
            low += 1 << bit
    return nodes


def _split(size: int) -> int:
    """Return the greatest power of two below `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_path(size: int, index: int, root: RangeRoot) -> list[bytes]:
    """Return the proof that leaf `index` (from 0) is in the tree of `size` leaves, lowest node first.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise IndexError(f"no leaf {index} in a tree of {size}")
    proof: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(root(middle, high))
            high = middle
        else:
            proof.append(root(low, middle))
            low = middle
    proof.reverse()
    return proof


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return `inclusion_path` of a tree whose leaves are all at hand."""
    return inclusion_path(len(leaves), index, lambda low, high: root_of(leaves[low:high]))


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether `proof` shows that `leaf` is number `index` (from 0) of the `size` leaves under `root`."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(other, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, other)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def consistency_path(size: int, earlier: int, root: RangeRoot) -> list[bytes]:
    """Return the proof that the tree of the first `earlier` leaves grew into that of `size` leaves.

    Raises:
        ValueError: `earlier` is not between 1 and `size`.
    """
    if not 0 < earlier <= size:
        raise ValueError(f"no tree of {earlier} leaves is the beginning of one of {size}")
    proof: list[bytes] = []
    low, high, known = 0, size, True
    while earlier != high:
        middle = low + _split(high - low)
        if earlier <= middle:
            proof.append(root(middle, high))
            high = middle
        else:
            proof.append(root(low, middle))
            low, known = middle, False
    if not known:
        proof.append(root(low, high))
    proof.reverse()
    return proof


def consistency_proof(leaves: Sequence[bytes], earlier: int) -> list[bytes]:
    """Return `consistency_path` of a tree whose leaves are all at hand."""
    return consistency_path(len(leaves), earlier, lambda low, high: root_of(leaves[low:high]))


def consistent(earlier: int, earlier_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether `proof` shows that the tree of `root` (`size` leaves) begins with that of `earlier_root`."""
    if not 0 < earlier <= size:
        return False
    if earlier == size:
        return not proof and earlier_root == root
    nodes = [earlier_root, *proof] if earlier.bit_count() == 1 else list(proof)
    if not nodes:
        return False
    at, last = earlier - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node_hash(after, node)
        at, last = at >> 1, last >> 1
    return last == 0 and before == earlier_root and after == root
