"""The map of stream ends: one content, one root, and for each key one answer that can be proved."""

from contextlib import closing, nullcontext
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.storage.kept_ends import KeptEnds, Run, VersionMissing, gather
from domain.stream_ends import (
    BUCKET_BITS,
    HASH_BYTES,
    KEY_BITS,
    NOTHING,
    Buckets,
    End,
    EndsMap,
    Leaf,
    Proof,
    bucket_of,
    key_of,
    leads_to,
    leaf_of,
    part_of,
    root_of,
)
from runners.verify_export import map_leaf, root_by_key

LONGEST_COMMON = [0, 1, 3, BUCKET_BITS - 1, BUCKET_BITS, BUCKET_BITS + 1, 30, 254, 255]


def key(start: int, bits: int, rest: int) -> bytes:
    """Return a key that shares the first `bits` bits with others of the same start: streams' hashes hardly ever do."""
    tail = int.from_bytes(sha256(rest.to_bytes(2, "big")).digest(), "big") & ((1 << 256 - bits) - 1)
    head = int.from_bytes(sha256(start.to_bytes(2, "big")).digest(), "big") >> 256 - bits << 256 - bits if bits else 0
    return (head | tail).to_bytes(32, "big")


keys = st.builds(key, st.integers(0, 3), st.sampled_from(LONGEST_COMMON), st.integers(0, 60))
ends = st.builds(
    End,
    st.integers(1, 2**40),
    st.integers(1, 2**20),
    st.integers(0, 9).map(lambda number: sha256(bytes([number])).digest()),
)
contents = st.dictionaries(keys, ends, max_size=24)


def leaves_of(content: dict[bytes, End]) -> list[Leaf]:
    return [(each, leaf_of(each, end)) for each, end in content.items()]


def by_the_book(leaves: list[Leaf], depth: int = 0) -> bytes:
    """Root by the definition: no bucket, no order, nothing kept."""
    if not leaves:
        return bytes(HASH_BYTES)
    if len(leaves) == 1:
        return leaves[0][1]
    sides: tuple[list[Leaf], list[Leaf]] = ([], [])
    for each in leaves:
        sides[int.from_bytes(each[0], "big") >> 255 - depth & 1].append(each)
    return sha256(b"\4" + by_the_book(sides[0], depth + 1) + by_the_book(sides[1], depth + 1)).digest()


def bucketed(content: dict[bytes, End]) -> tuple[Buckets, dict[int, list[Leaf]]]:
    leaves: dict[int, list[Leaf]] = {}
    for each in sorted(leaves_of(content)):
        leaves.setdefault(bucket_of(each[0]), []).append(each)
    return Buckets({bucket: part_of(inside, BUCKET_BITS) for bucket, inside in leaves.items()}), leaves


def proof_of(content: dict[bytes, End], wanted: bytes) -> Proof:
    buckets, leaves = bucketed(content)
    return buckets.prove(wanted, lambda bucket: leaves.get(bucket, []))


def holds(root: bytes, wanted: bytes, proof: Proof, content: dict[bytes, End]) -> bool:
    """Check a proof as whoever has only the root and what stands at its end."""
    if proof.key is None:
        return leads_to(wanted, bytes(HASH_BYTES), proof.path) == root
    leaf = leaf_of(proof.key, content[proof.key])
    return leads_to(wanted, leaf, proof.path) == root


@given(contents, st.randoms(use_true_random=False))
def test_the_root_does_not_depend_on_the_order_of_insertion(content: dict[bytes, End], rng) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    leaves = leaves_of(content)
    expected = by_the_book(leaves)
    rng.shuffle(leaves)
    assert root_of(leaves) == expected
    one_by_one = EndsMap()
    for each in leaves:
        one_by_one.put([each])
        one_by_one.root()
    assert one_by_one.root() == expected
    assert bucketed(content)[0].root == expected


@given(st.lists(contents, max_size=5))
def test_growing_step_by_step_equals_making_it_at_once(steps: list[dict[bytes, End]]) -> None:
    growing, content = EndsMap(), dict[bytes, End]()
    for step in steps:
        growing.put(leaves_of(step))
        assert (growing.cost > 0) is bool(step), "what changed nothing costs nothing"
        content |= step
        assert growing.root() == by_the_book(leaves_of(content))


@given(contents, contents)
def test_other_contents_have_other_roots(one: dict[bytes, End], other: dict[bytes, End]) -> None:
    assert (root_of(leaves_of(one)) == root_of(leaves_of(other))) == (one == other)


@given(contents, keys)
def test_every_key_has_a_proof_and_it_says_what_stands_there(content: dict[bytes, End], wanted: bytes) -> None:
    root = root_of(leaves_of(content))
    for each in [*content, wanted]:
        proof = proof_of(content, each)
        assert holds(root, each, proof, content)
        assert (proof.key == each) == (each in content)


@given(contents.filter(bool), st.data())
def test_a_forged_proof_fails(content: dict[bytes, End], data: st.DataObject) -> None:
    root = root_of(leaves_of(content))
    own = data.draw(st.sampled_from(sorted(content)))
    proof, end = proof_of(content, own), content[own]
    forged_end = data.draw(ends.filter(lambda each: each != end))
    assert leads_to(own, leaf_of(own, forged_end), proof.path) != root, "another end under the same path"
    other = data.draw(keys.filter(lambda each: each != own))
    assert leads_to(own, leaf_of(other, end), proof.path) != root, "the end of another key"
    assert leads_to(own, bytes(HASH_BYTES), proof.path) != root, "nothing where something is"
    if proof.path:
        at = data.draw(st.integers(0, len(proof.path) - 1))
        shorter = [*proof.path[:at], *proof.path[at + 1 :]]
        changed = [*proof.path[:at], sha256(proof.path[at]).digest(), *proof.path[at + 1 :]]
        assert leads_to(own, leaf_of(own, end), shorter) != root
        assert leads_to(own, leaf_of(own, end), changed) != root
    if len(proof.path) < KEY_BITS:
        assert leads_to(own, leaf_of(own, end), [*proof.path, root]) != root
    absent = proof_of({each: end for each, end in content.items() if each != own}, own)
    assert not (absent.key is None and leads_to(own, bytes(HASH_BYTES), absent.path) == root), "hiding a stream"


@given(contents, keys)
def test_the_checker_that_stands_alone_comes_to_the_same_root(content: dict[bytes, End], wanted: bytes) -> None:
    proof = proof_of(content, wanted)
    leaf = bytes(HASH_BYTES)
    if proof.key is not None:
        position, version, event = content[proof.key]
        leaf = map_leaf(proof.key, {"position": position, "version": version, "leaf": event.hex()})
        assert leaf == leaf_of(proof.key, content[proof.key])
    assert root_by_key(wanted, leaf, proof.path) == root_of(leaves_of(content))


@given(contents.filter(bool), st.data())
def test_no_path_says_that_a_stream_is_absent_which_is_there(content: dict[bytes, End], data: st.DataObject) -> None:
    """Any leaf of the map, by its own path, must not pass as what stands at another key of it."""
    root = root_of(leaves_of(content))
    own = data.draw(st.sampled_from(sorted(content)))
    for other, end in content.items():
        assert (leads_to(own, leaf_of(other, end), proof_of(content, other).path) == root) == (own == other)


def test_a_path_has_at_most_as_many_steps_as_a_key_has_bits() -> None:
    with pytest.raises(ValueError, match="257 steps"):
        leads_to(key_of("order-a:b:1"), bytes(32), [bytes(32)] * 257)


def test_the_hashes_are_those_of_the_published_rule() -> None:
    """Written out once more from docs/audit.md, so that nobody changes the rule unnoticed."""
    name, leaf = "order-taobao:shop1:10001", sha256(b"event").digest()
    place = sha256(b"\x02" + name.encode()).digest()
    assert key_of(name) == place
    alone = sha256(b"\x03" + place + (77).to_bytes(8, "big") + (5).to_bytes(8, "big") + leaf).digest()
    assert root_of([(place, leaf_of(place, End(77, 5, leaf)))]) == alone
    assert root_of([]) == NOTHING.hash == bytes(32)
    low, high = bytes(32), bytes([0b0100_0000, *bytes(31)])
    pair = sha256(b"\x04" + b"L" * 32 + b"H" * 32).digest()
    assert root_of([(high, b"H" * 32), (low, b"L" * 32)]) == sha256(b"\x04" + pair + bytes(32)).digest()


histories = st.lists(st.integers(0, 8), min_size=1, max_size=60)
"""Whose event each position holds."""


def events_of(history: list[int]) -> list[tuple[int, str, int, bytes]]:
    versions: dict[int, int] = {}
    events = []
    for position, number in enumerate(history, 1):
        versions[number] = versions.get(number, 0) + 1
        leaf = sha256(position.to_bytes(4, "big")).digest()
        events.append((position, f"order-x:y:{number}", versions[number], leaf))
    return events


@given(histories, st.sets(st.integers(1, 60), max_size=6), st.booleans())
def test_the_kept_map_grown_in_any_portions_is_the_one_made_at_once(
    history: list[int], cuts: set[int], interrupted: bool
) -> None:
    events = events_of(history)
    last = {stream: End(position, version, leaf) for position, stream, version, leaf in events}
    stops = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "life.ends"
        for after, upto in pairwise(stops):
            for kept_now in (False, True) if interrupted else (True,):
                runs: dict[str, Run] = {}
                gather(runs, events[after:upto])
                with closing(KeptEnds(file, write=True)) as kept:
                    assert kept.position == after, "what was not committed is not there"
                    kept.put(runs, upto)
                    if kept_now:
                        kept.commit()
        with closing(KeptEnds(file, write=False)) as kept:
            assert kept.root == root_of((key_of(stream), leaf_of(key_of(stream), end)) for stream, end in last.items())
            for number in range(9):
                stream = f"order-x:y:{number}"
                proof, end = kept.prove(stream)
                assert (end if proof.key == key_of(stream) else None) == last.get(stream)
                at_end = bytes(HASH_BYTES) if end is None or proof.key is None else leaf_of(proof.key, end)
                assert leads_to(key_of(stream), at_end, proof.path) == kept.root


@given(histories, st.integers(0, 59), st.integers(0, 59))
def test_a_stream_with_a_gap_is_refused(history: list[int], lost: int, half: int) -> None:
    events = events_of(history)
    gone = events[lost % len(events)]
    left = [each for each in events if each != gone]
    followed = any(each[1] == gone[1] and each[2] > gone[2] for each in events)
    refused = pytest.raises(VersionMissing, match=gone[1]) if followed else nullcontext()
    with TemporaryDirectory() as scratch, closing(KeptEnds(Path(scratch) / "life.ends", write=True)) as kept, refused:
        for part in (left[:half], left[half:]):
            runs: dict[str, Run] = {}
            gather(runs, part)
            kept.put(runs, len(events))
