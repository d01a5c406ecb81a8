"""The proof of one order as one file: its events, why each is in the log, that they are all, and how that log grew.

Whoever has the file and a checkpoint, or the public key, from elsewhere can check it without us, without our program
and without seeing any other order. What it costs does not depend on the length of the log. docs/audit.md has the form.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from adapters.storage.checkpoints import Checkpoint, CheckpointFolder, Line, public_pem
from adapters.storage.kept_ends import EndsDamaged, KeptEnds, Proven, ends_path
from adapters.storage.kept_tree import KeptTree
from adapters.storage.sealing import SealBroken, open_sealed
from domain.catalogue import decode_event
from domain.merkle import consistency_path, consistent, included, inclusion_path
from domain.ports import Payload, Recorded, Vault
from domain.proof import leaf_hash
from domain.stream_ends import End, key_of

if TYPE_CHECKING:
    from runners.replay import ReplayLog

FORMAT = "orderspine order proof"
VERSION = 2
OLDER_MAX = 20
"""Latest older checkpoints that a file connects with by itself, beside the first one and those asked for."""


class NotProvable(Exception):
    """There is no proof to be given: why, and what to do."""


class Cost(msgspec.Struct):
    """What was read for a proof."""

    events: int = 0
    """Rows of the log: the order's own."""
    payloads: int = 0
    leaves: int = 0
    """Leaves and nodes of the tree, 32 bytes each, in the files beside the checkpoints."""
    uncovered: int = 0
    """Events behind the checkpoint: they are in the file, and nothing proves them."""
    map_rows: int = 0
    """Rows of the map of stream ends."""
    complete: bool = False
    """Whether the file proves where the stream ends."""


def prove(
    log: "ReplayLog",
    stream: str,
    *,
    cell: str,
    folder: CheckpointFolder,
    asked: Sequence[Checkpoint] = (),
    vault: Vault | None = None,
) -> tuple[dict[str, Any], Cost]:
    """Return the file's content, and what it cost.

    Args:
        log: the log.
        stream: the order, or any other actor; one that the log does not know is proved to be absent.
        cell: name of the cell.
        folder: signed checkpoints with the tree beside them.
        asked: older checkpoints to connect with, as an auditor holds them.
        vault: reveals: the order's key and what it opens are added; None = sealed blocks stay sealed.

    Raises:
        NotProvable: no checkpoint, no tree, or the log is not the one that was signed.
    """
    generation = log.tracked().generation
    leaves = folder.leaves(generation)
    cost = Cost()
    mapped = _mapped(ends_path(leaves.path), stream, cost)  # before the folder: its checkpoint is there then
    kept = folder.load(cell)
    line = folder.line(kept.checkpoints, generation)
    recorded = list(log.select(stream))
    top = _top(
        line, generation, mapped, [*(event.position for event in recorded[-1:]), *(each.position for each in asked)]
    )
    tree = KeptTree(leaves)
    events: list[dict[str, Any]] = []
    try:
        if tree.root(0, top.position).hex() != top.root:
            raise NotProvable(
                f"the tree beside {folder.path} is not the one that was signed at position {top.position}: run "
                "`orderspine audit verify`, which says what was changed"
            )
        for event in recorded:
            events.append(_event(event, top, tree))
            cost.uncovered += event.position > top.position
        before = _older(line, top, asked)
        older = [{"checkpoint": _plain(each), "consistency": _grown(each, top, tree)} for each in before]
    except IndexError as missing:
        raise NotProvable(f"{missing}: run `orderspine audit verify`, which writes the tree anew") from missing
    end = _end(mapped, top, stream, [event for event in recorded if event.position <= top.position])
    if end is None and not recorded:
        raise NotProvable(
            f"the log knows no {stream}, and there is no map of stream ends that proves it: seal the log first, which "
            "takes the signing key"
        )
    cost.complete = end is not None
    payloads = log.payloads({bytes.fromhex(text) for _, text in _references(recorded)})
    cost.events, cost.payloads, cost.leaves = len(recorded), len(payloads), tree.leaves_read
    keys = folder.public_keys([])
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "cell": cell,
        "stream": stream,
        "checkpoint": _plain(top),
        "keys": {
            name: public_pem(keys[name]).decode()
            for name in sorted({top.key, *(each.key for each in before)} & keys.keys())
        },
        "older": older,
        "events": events,
        "payloads": [_payload(event, text, payloads) for event, text in _references(recorded)],
        "end": end,
    }
    if vault is not None:
        document["revealed"] = _revealed(stream, recorded, payloads, vault)
    return document, cost


class _Mapped(NamedTuple):
    """What the map of stream ends says of a stream, and the checkpoint that it is about."""

    position: int
    root: str
    proven: Proven


def _mapped(path: Path, stream: str, cost: Cost) -> _Mapped | None:
    try:
        with closing(KeptEnds(path, write=False)) as kept:
            proven = kept.prove(stream)
            cost.map_rows = kept.rows_read
            return _Mapped(kept.position, kept.root.hex(), proven)
    except EndsDamaged:  # the next sealing makes it anew; it is not worth the proof of all else
        return None


def _top(line: Line, generation: str, mapped: _Mapped | None, wanted: Sequence[int]) -> Checkpoint:
    """Return the newest checkpoint; rather the one of the map, where it reaches the positions that are wanted too."""
    own = [each for each in line.checkpoints if each.generation == generation]
    if not own:
        raise NotProvable(
            "there is no signed checkpoint of this log yet: run `orderspine audit verify`, which makes one"
        )
    if mapped is not None and mapped.position >= max(wanted, default=0):
        for each in reversed(own):
            if (each.position, each.ends) == (mapped.position, mapped.root):
                return each
    return own[-1]


def _end(mapped: _Mapped | None, top: Checkpoint, stream: str, covered: Sequence[Recorded]) -> dict[str, Any] | None:
    """Return the proof that a stream's last event under the checkpoint is its last one, or that there is none."""
    if mapped is None or (mapped.position, mapped.root) != (top.position, top.ends):
        return None
    (path, key), end = mapped.proven
    there = None
    if key is not None and end is not None:
        there = {"key": key.hex(), "position": end.position, "version": end.version, "leaf": end.leaf.hex()}
    last = End(covered[-1].position, covered[-1].version, covered[-1].leaf) if covered else None
    if (end if key == key_of(stream) else None) != last:
        raise NotProvable(
            f"{stream} does not end where the signed map of stream ends says: run `orderspine audit verify`, which "
            "says what was changed"
        )
    return {"there": there, "path": [node.hex() for node in path]}


def _older(line: Line, top: Checkpoint, asked: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return those to connect with: the first, the latest, where a restore began a new generation, and those asked."""
    before = [each for each in line.checkpoints if each != top and each.position <= top.position]
    wanted = [*before[:1], *before[-OLDER_MAX:], *(each for each in before if each.restored_from)]
    for each in asked:
        if each == top:
            continue
        if each not in line.checkpoints and not 0 < each.position <= top.position:
            raise NotProvable(
                f"the checkpoint asked for is of position {each.position}, the newest one here of {top.position}"
            )
        wanted.append(each)
    unique = {(each.position, each.generation, each.root, each.ends): each for each in wanted if each.position}
    return [unique[key] for key in sorted(unique)]


def _grown(earlier: Checkpoint, top: Checkpoint, tree: KeptTree) -> list[str]:
    path = consistency_path(top.position, earlier.position, tree.root)
    if not consistent(earlier.position, bytes.fromhex(earlier.root), top.position, bytes.fromhex(top.root), path):
        raise NotProvable(
            f"the log did not grow out of the checkpoint of position {earlier.position} ({earlier.root[:16]}…): "
            "run `orderspine audit verify`, which says what was changed"
        )
    return [node.hex() for node in path]


def _event(event: Recorded, top: Checkpoint, tree: KeptTree) -> dict[str, Any]:
    position, stream, version, tag, envelope, data, sealed, leaf = event
    path: list[bytes] = []
    if position <= top.position:
        path = inclusion_path(top.position, position - 1, tree.root)
    fits = leaf_hash(position, stream, version, tag, envelope, data, sealed or b"") == leaf
    root = bytes.fromhex(top.root)
    if not fits or (position <= top.position and not included(leaf, position - 1, top.position, path, root)):
        raise NotProvable(
            f"event {position} ({stream}, version {version}) is not the one that was committed: run "
            "`orderspine audit verify`, which says what was changed"
        )
    return {
        "position": position,
        "version": version,
        "tag": tag,
        "envelope": envelope.decode(),
        "data": data.decode(),
        "sealed": None if sealed is None else b64encode(sealed).decode(),
        "leaf": leaf.hex(),
        "inclusion": [node.hex() for node in path] if position <= top.position else None,
    }


def _references(events: Sequence[Recorded]) -> Iterator[tuple[Recorded, str]]:
    """Yield each event that names a payload, with the digest."""
    for event in events:
        text = getattr(decode_event(event.tag, event.data), "payload", "")
        if len(text) == 64:  # noqa: PLR2004 - hex of SHA-256; elsewhere a message's id
            yield event, text


def _payload(event: Recorded, text: str, payloads: dict[bytes, Payload]) -> dict[str, Any]:
    found = payloads.get(bytes.fromhex(text))
    return {
        "version": event.version,
        "digest": text,
        "sealed": None if found is None else b64encode(found.sealed).decode(),
    }


def _revealed(
    stream: str, events: Sequence[Recorded], payloads: dict[bytes, Payload], vault: Vault
) -> dict[str, Any] | None:
    """Return the order's key, which proves it, and in plain text what it opens."""
    key = vault.keys((stream,), create=False).get(stream)
    if key is None:
        return None
    shown: dict[str, Any] = {"key": key.hex(), "events": {}, "payloads": {}}
    try:
        for event in events:
            if event.sealed is not None:
                shown["events"][str(event.version)] = open_sealed(key, stream, event.sealed).decode()
        for digest, payload in payloads.items():
            if payload.stream == stream:
                raw = open_sealed(key, stream, payload.sealed)
                shown["payloads"][digest.hex()] = raw.decode("utf-8", "backslashreplace")
    except SealBroken as broken:
        raise NotProvable(f"{broken}: run `orderspine audit verify --open`") from broken
    return shown


def _plain(checkpoint: Checkpoint) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(checkpoint)
    return plain
