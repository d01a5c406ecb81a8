"""Proofs over trees of every shape: the honest one convinces, any other does not."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from domain.merkle import Frontier, consistency_proof, consistent, included, inclusion_proof, node_hash, root_of

LEAVES = [sha256(b"\0" + number.to_bytes(2, "big")).digest() for number in range(70)]

sizes = st.integers(1, len(LEAVES))


def by_the_book(leaves: list[bytes]) -> bytes:
    """Root by the definition, without a frontier."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(by_the_book(leaves[:half]), by_the_book(leaves[half:]))


@given(sizes, st.data())
def test_appending_in_any_portions_gives_the_root_of_the_definition(size: int, data: st.DataObject) -> None:
    frontier = Frontier()
    while frontier.size < size:
        upto = data.draw(st.integers(frontier.size + 1, size))
        frontier.extend(LEAVES[frontier.size : upto])
        assert len(frontier.nodes) == upto.bit_count()
    assert frontier.root() == by_the_book(LEAVES[:size])


@given(sizes, st.data())
def test_an_inclusion_proof_convinces_for_its_own_leaf_only(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = LEAVES[:size]
    proof, root = inclusion_proof(leaves, index), root_of(leaves)
    assert included(leaves[index], index, size, proof, root)
    assert not included(sha256(b"other").digest(), index, size, proof, root)
    assert not included(leaves[index], index, size, [*proof, root], root)
    other = data.draw(st.integers(0, size).filter(lambda number: number != index))
    assert not included(leaves[index], other, size, proof, root)


@given(sizes, st.data())
def test_a_consistency_proof_convinces_unless_the_past_was_changed(size: int, data: st.DataObject) -> None:
    earlier = data.draw(st.integers(1, size))
    proof = consistency_proof(LEAVES[:size], earlier)
    before, after = root_of(LEAVES[:earlier]), root_of(LEAVES[:size])
    assert consistent(earlier, before, size, after, proof)
    changed = list(LEAVES[:size])
    changed[data.draw(st.integers(0, earlier - 1))] = sha256(b"changed").digest()
    forged = consistency_proof(changed, earlier)
    assert not consistent(earlier, before, size, root_of(changed), forged)
    assert not consistent(earlier, before, size, after, [*proof, before])
