"""The tree is the one of RFC 6962, known by the published hashes of its test tree."""

from hashlib import sha256

import pytest

from domain.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    consistent,
    included,
    inclusion_proof,
    node_hash,
    root_of,
)

ENTRIES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES = [sha256(b"\0" + entry).digest() for entry in (*ENTRIES, bytes(range(0x60, 0x70)))]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_rfc(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_a_frontier_goes_on_where_it_was_kept() -> None:
    kept = Frontier()
    kept.extend(LEAVES[:5])
    again = Frontier(kept.size, kept.nodes)
    again.extend(LEAVES[5:])
    assert again.root().hex() == ROOTS[7]


def test_a_frontier_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a tree of 5 leaves has 2 full subtrees, not 1"):
        Frontier(5, LEAVES[:1])


def test_a_proof_is_the_path_of_siblings() -> None:
    assert inclusion_proof(LEAVES[:3], 0) == [LEAVES[1], LEAVES[2]]
    assert inclusion_proof(LEAVES[:3], 2) == [node_hash(LEAVES[0], LEAVES[1])]
    with pytest.raises(IndexError):
        inclusion_proof(LEAVES[:3], 3)


A, B, C, D, E, F, J = LEAVES[:7]
"""The leaves and nodes of the example tree of RFC 6962, section 2.1.3, by their letters there."""
G, H, I_ = node_hash(A, B), node_hash(C, D), node_hash(E, F)
K, L = node_hash(G, H), node_hash(I_, J)


@pytest.mark.parametrize(("index", "path"), [(0, [B, H, L]), (3, [C, G, L]), (4, [F, J, K]), (6, [I_, K])])
def test_paths_are_those_of_the_rfc_and_convince_of_their_leaf_alone(index: int, path: list[bytes]) -> None:
    root = node_hash(K, L)
    assert inclusion_proof(LEAVES[:7], index) == path
    assert included(LEAVES[index], index, 7, path, root)
    for leaf, at, proof in [
        (LEAVES[7], index, path),
        (LEAVES[index], index, path[:-1]),
        (LEAVES[index], index, [*path, root]),
        *((LEAVES[index], other, path) for other in range(-1, 9) if other != index),
    ]:
        assert not included(leaf, at, 7, proof, root), (at, len(proof))


def test_a_path_longer_than_its_tree_is_high_shows_nothing_whatever_root_it_leads_to() -> None:
    assert included(B, 1, 2, [A], G)
    assert not included(B, 0, 1, [A], G), "a tree of one leaf is that leaf"
    before, after = node_hash(G, C), node_hash(G, H)
    assert consistent(3, before, 4, after, [C, D, G])
    assert not consistent(3, node_hash(L, before), 4, node_hash(L, after), [C, D, G, L])


@pytest.mark.parametrize(
    ("earlier", "size", "nodes"), [(3, 7, [C, D, G, L]), (4, 7, [L]), (6, 7, [I_, J, K]), (5, 6, [E, F, K])]
)
def test_growth_is_shown_by_the_nodes_of_the_rfc(earlier: int, size: int, nodes: list[bytes]) -> None:
    before, after = root_of(LEAVES[:earlier]), root_of(LEAVES[:size])
    assert consistency_proof(LEAVES[:size], earlier) == nodes
    assert consistent(earlier, before, size, after, nodes)
    for root, proof in [(LEAVES[0], nodes), (before, nodes[:-1]), (before, [*nodes, L]), (before, [*nodes[:-1], A])]:
        assert not consistent(earlier, root, size, after, proof)
    assert not consistent(earlier, before, size, LEAVES[0], nodes)


def test_a_tree_that_did_not_grow_needs_no_proof_and_takes_none() -> None:
    root = root_of(LEAVES[:5])
    assert consistency_proof(LEAVES[:5], 5) == []
    assert consistent(5, root, 5, root, [])
    assert not consistent(5, root, 5, root, [root])
    assert not consistent(5, root, 5, root_of(LEAVES[:4]), [])


@pytest.mark.parametrize("earlier", [0, -1, 9])
def test_nothing_and_what_is_greater_is_no_beginning_of_a_tree(earlier: int) -> None:
    with pytest.raises(ValueError, match=f"no tree of {earlier} leaves is the beginning of one of 8"):
        consistency_proof(LEAVES, earlier)
    assert not consistent(earlier, EMPTY_ROOT, 8, root_of(LEAVES), [])


@pytest.mark.parametrize("earlier", range(1, 8))
def test_without_a_proof_no_tree_is_the_beginning_of_a_greater_one(earlier: int) -> None:
    assert not consistent(earlier, root_of(LEAVES[:earlier]), 8, root_of(LEAVES), [])


@pytest.mark.parametrize("earlier", [-1, 0, 4, 5, 8])
def test_no_tree_begins_with_nothing_or_with_more_than_it_has(earlier: int) -> None:
    root = root_of(LEAVES[:3])
    for proof in ([], [root], [root, root], consistency_proof(LEAVES[:4], 3)):
        assert not consistent(earlier, root, 3, root, proof)
