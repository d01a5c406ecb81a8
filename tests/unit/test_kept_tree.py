"""The kept tree gives the proofs of the whole tree, and reads hardly anything of it."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.checkpoints import CheckpointFolder, Leaves
from adapters.storage.kept_tree import BLOCK_LEAVES, KeptTree, Names, name_line
from domain.merkle import consistency_path, consistency_proof, inclusion_path, inclusion_proof, root_of
from domain.proof import flipped_bit, leaf_hash

SIZES = [1, 2, 255, 256, 257, 511, 512, 1000, 2048, 3333]
LEAVES = [sha256(number.to_bytes(4, "big")).digest() for number in range(max(SIZES))]


@pytest.fixture
def kept(tmp_path: Path) -> Leaves:
    leaves = CheckpointFolder(tmp_path).leaves("life")
    leaves.path.write_bytes(b"".join(LEAVES))
    KeptTree(leaves).grow(0)
    return leaves


@pytest.mark.parametrize("size", SIZES)
def test_its_proofs_are_those_of_the_whole_tree(kept: Leaves, size: int) -> None:
    tree = KeptTree(kept)
    assert tree.root(0, size) == root_of(LEAVES[:size])
    assert tree.frontier(size).root() == root_of(LEAVES[:size])
    for index in {0, size // 3, size // 2, size - 1}:
        assert inclusion_path(size, index, tree.root) == inclusion_proof(LEAVES[:size], index)
    for earlier in {1, (size + 1) // 2, size}:
        assert consistency_path(size, earlier, tree.root) == consistency_proof(LEAVES[:size], earlier)


def test_a_proof_reads_two_blocks_and_the_roots_of_the_others(kept: Leaves) -> None:
    tree, size = KeptTree(kept), 3333
    inclusion_path(size, 1234, tree.root)
    assert tree.leaves_read <= 2 * BLOCK_LEAVES + size // BLOCK_LEAVES


def test_blocks_grow_with_the_leaves_and_are_written_anew_where_leaves_changed(tmp_path: Path) -> None:
    leaves = CheckpointFolder(tmp_path).leaves("life")
    leaves.path.write_bytes(b"".join(LEAVES[:700]))
    KeptTree(leaves).grow(0)
    assert KeptTree(leaves).path.stat().st_size == 2 * 32
    changed = [*LEAVES[:600], *reversed(LEAVES[600:2000])]
    leaves.path.write_bytes(b"".join(changed))
    KeptTree(leaves).grow(600)
    assert KeptTree(leaves).root(0, 2000) == root_of(changed)


def test_too_few_leaves_are_no_tree(kept: Leaves) -> None:
    with pytest.raises(IndexError, match="holds 3333 leaves"):
        KeptTree(kept).root(0, 4000)


def test_names_tell_whose_event_a_position_was(tmp_path: Path) -> None:
    names = Names(CheckpointFolder(tmp_path).leaves("life"))
    assert (names.count, names.offset(0), list(names.of([range(1, 9)]))) == (0, 0, [])
    lines = [name_line(version, f"order-x:y:{version % 3}") for version in range(1, 10)]
    names.path.write_text("".join(lines))
    assert names.count == 9
    assert names.path.read_bytes()[names.offset(4) :].decode() == "".join(lines[4:])
    assert list(names.of([range(2, 3), range(8, 20)])) == [
        (2, 2, "order-x:y:2"),
        (8, 8, "order-x:y:2"),
        (9, 9, "order-x:y:0"),
    ]


EVENT = (7, "order-x:y:1", 2, "order.paid", b'{"at":1}', b'{"amount":990}', b"\1sealed")
LEAF = leaf_hash(*EVENT)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("position", 7 + (1 << 33)),
        ("stream", "order-x:y:3"),
        ("version", 3),
        ("tag", "order.p!id"),
        ("envelope", b'{"at":3}'),
        ("data", b'{"amount":991}'),
        ("sealed", b"\1seal\x25d"),
    ],
)
def test_a_single_flipped_bit_is_told_from_an_edit(field: str, changed: object) -> None:
    place = ("position", "stream", "version", "tag", "envelope", "data", "sealed").index(field)
    event: list[Any] = [*EVENT, LEAF]
    event[place] = changed
    found = flipped_bit(*event)
    assert found is not None
    assert (found.field, found.stream) == (field, EVENT[1])
    event[0] = 90
    assert flipped_bit(*event) is None


def test_a_flipped_bit_of_the_leaf_itself_is_told() -> None:
    broken = bytearray(LEAF)
    broken[30] ^= 4
    found = flipped_bit(*EVENT, bytes(broken))
    assert found is not None
    assert (found.field, found.offset) == ("leaf", 30)
