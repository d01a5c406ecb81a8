"""Verifying a log: is every event the one that was committed, in its place, and is none missing?

Four walls, one behind the other. Each event's leaf is computed again. Positions and versions have no gap. What was
written beside the events (payloads, snapshots, the tracked row, read models) must fit them. And the Merkle root must be
the one of every signed checkpoint at its position: that finds also a change that was made to look right all over.
Memory is bounded: events pass in chunks, the tree is kept as its frontier.
"""

import re
import struct
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adapters.storage.checkpoints import LEAF_BYTES, Appender, Checkpoint, CheckpointFolder, Kept, Leaves, Signer
from adapters.storage.kept_tree import KeptTree, Names, name_line
from adapters.storage.scan import Ends, Row, Scan, Unreadable
from adapters.storage.sealing import SealBroken, Sealer
from domain.catalogue import ELSEWHERE, TYPES, UnknownTag, decode_event, kind_of_tag
from domain.envelope import decode_envelope
from domain.ids import kind_of
from domain.merkle import Frontier
from domain.ports import Vault
from domain.privacy import ASIDE, ForgettingAsked, streams_of
from domain.proof import Flip, flipped_bit, leaf_hash
from domain.stream_ends import End, EndsMap, Leaf, key_of, leaf_of

PROBLEMS_MAX = 200
"""Most problems of a kind that are told one by one; the rest is counted."""
DIAGNOSED_MAX = 8
"""Most damaged events of a chunk that are searched for a single flipped bit."""
CHUNK_EVENTS = 4_096
ORPHANS_MAX = 1_000
PARALLEL_FROM = 200_000
"""Events from which a second process is worth its start."""
MAPS_SPARE = 50_000
"""Streams that are hashed in any case to compare maps of stream ends of earlier checkpoints …"""
MAPS_EVENTS = 8
"""… and beyond these one for so many events, so that the maps cost a small part of all."""
_PAYLOAD_ROWS = 2_000
_SEALED_BYTES_MIN = 49
"""Form, commitment, and the tag of the ciphertext."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_EVENT_KINDS = frozenset({"database", "form", "gap", "leaf", "version"})
"""Kinds of problems of single events; a map that does not fit follows from one."""
_NO_LEAF = bytes(LEAF_BYTES)
_NO_NAME = name_line("", "")
_LEADS_OF_TAG = {tag: tuple(f"{kind}-" for kind in (kind_of_tag(tag), *ELSEWHERE.get(tag, ()))) for tag in TYPES}
"""Tag → how the keys of the streams begin that it may stand in."""
TIMERS_STREAM = "cell-timers"
"""Snapshots under this name count positions of the whole log."""

Progress = Callable[[int, int], None]
"""Told (events checked, events to check)."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong."""

    kind: str
    """leaf, gap, version, form, sealed, payload, row, snapshot, checkpoint, map, generation, truncated, database, …"""
    text: str
    position: int = 0
    stream: str = ""


class Witness(NamedTuple):
    """Something outside the log that has seen it at a position: the log must reach at least there."""

    name: str
    generation: str
    position: int


class Verified(msgspec.Struct):
    """What a verification found."""

    cell: str
    generation: str = ""
    head: int = 0
    root: str = ""
    problems: list[Problem] = []
    more: int = 0
    """Problems beyond those listed."""
    kinds: dict[str, int] = {}
    """Kind → problems of it, listed or not."""
    notes: list[str] = []
    payloads: int = 0
    opened: int = 0
    """Sealed blocks that were opened."""
    forgotten: int = 0
    """Sealed blocks and payloads whose key is not there."""
    checkpoints: int = 0
    """Earlier checkpoints that were checked."""
    maps: int = 0
    """Those of them whose map of stream ends was made again and compared."""
    maps_passed: int = 0
    """Those whose map was not: `full` compares them too."""
    written: str = ""
    """File of the new checkpoint."""
    seconds: float = 0.0
    events_per_s: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, problems: Iterable[Problem]) -> None:
        """Take problems, up to `PROBLEMS_MAX` of each kind."""
        for problem in problems:
            count = self.kinds[problem.kind] = self.kinds.get(problem.kind, 0) + 1
            if count <= PROBLEMS_MAX:
                self.problems.append(problem)
            else:
                self.more += 1


def verify(
    open_scan: Callable[[], Scan],
    cell: str,
    *,
    folder: CheckpointFolder,
    signer: Signer | None,
    vault: Vault | None = None,
    open_blocks: bool = False,
    full: bool = False,
    witnesses: Sequence[Witness] = (),
    jobs: int = 1,
    progress: Progress = lambda _done, _all: None,
) -> Verified:
    """Check the whole log, and write a checkpoint where nothing is wrong.

    Args:
        open_scan: opens the log's tables; called in each process, so it must be picklable where `jobs` > 1.
        cell: name of the cell.
        folder: earlier checkpoints, and the place of the new one.
        signer: signs the new one; None = none is written.
        vault: tells destroyed keys from lost payloads, and opens blocks.
        open_blocks: open each sealed block whose key is there.
        full: check the database's indexes against its tables too, and the map of every checkpoint that has one.
        witnesses: what else has seen the log.
        jobs: processes.
        progress: is told how far it got.
    """
    begun = time.monotonic()
    result = Verified(cell)
    if signer is not None and not folder.writable:
        signer = None
        result.notes.append(f"{folder.path} cannot be written: it was compared with, and no checkpoint was added to it")
    kept = folder.load(cell)  # before the log: a checkpoint that is signed meanwhile may be ahead of what is read
    with closing(open_scan()) as scan:
        try:
            ends = scan.ends()
            _as_far_as_readable(lambda: result.add(_check_ends(scan, ends)), result)
            head = ends.last if ends.rows != 1 else max(min(ends.last, ends.head), 0)
            result.head, result.generation = head, str(ends.generation)
            opener = _Opener(vault) if open_blocks and vault is not None else None
            if jobs > 1 and head >= PARALLEL_FROM and opener is None:
                pieces = _in_processes(open_scan, head, jobs)
            else:
                pieces = _here(scan, head, opener)
            known = _Known(folder, kept, ends, result, all_maps=full, keeps=signer is not None)
            with ThreadPoolExecutor(1) as beside:
                # All of it is the database's own work, done without the interpreter: it costs no time beside the loop.
                whole = beside.submit(_check_whole, open_scan, head, full)
                absent, forgotten = _check_all(pieces, known, result, lambda done: progress(min(done, head), head))
                result.add(whole.result())
            for check in (
                lambda: _check_payloads(scan, opener, result),
                lambda: _check_absent(vault, absent, forgotten, result),
                lambda: result.add(_check_snapshots(scan)),
                lambda: result.add(_check_mail(scan, ends, head)),
                lambda: result.add(_check_witnesses(witnesses, result.generation, head)),
                lambda: known.judge(scan),
            ):
                _as_far_as_readable(check, result)
            if opener is not None:
                result.opened, result.forgotten = opener.opened, result.forgotten + opener.closed
                _note_lost_keys(opener.keyless - forgotten, result)
            if signer is not None and result.ok:
                result.written = known.write(signer)
            known.discard()
        except Unreadable as damage:
            result.add((Problem("database", f"{damage}; what lies behind it could not be checked"),))
    result.seconds = round(time.monotonic() - begun, 3)
    result.events_per_s = round(result.head / max(result.seconds, 1e-3))
    return result


def _as_far_as_readable(check: Callable[[], None], result: Verified) -> None:
    """Let a check end at a damaged page, and others go on."""
    try:
        check()
    except Unreadable as damage:
        result.add((Problem("database", f"{damage}; what lies behind it could not be checked"),))


def _check_all(
    pieces: Iterable["_Piece"], known: "_Known", result: Verified, progress: Callable[[int], None]
) -> tuple[list["_Absent"], set[str]]:
    absent: list[_Absent] = []
    forgotten: set[str] = set()
    for piece in pieces:
        result.add(piece.problems)
        absent += piece.absent
        forgotten.update(piece.forgotten)
        known.take(piece)
        progress(known.tree.size)
    result.root = known.tree.root().hex()
    return absent, forgotten


# --- events, chunk by chunk


class _Absent(NamedTuple):
    """A payload that an event refers to and that is not there."""

    digest: str
    position: int
    stream: str


class _Piece(NamedTuple):
    leaves: bytes
    """Stored leaves of the chunk's positions, zeros where an event is missing."""
    problems: list[Problem]
    absent: list[_Absent]
    names: list[str]
    """Whose events they are, as lines of the file of names."""
    ends: bytes
    """Of each stream in the chunk its key and its leaf in the map of stream ends, as its last event here makes it."""
    forgotten: list[str]
    """Streams whose keys are to be destroyed, as the chunk's events say."""


class _Opener:
    """Opens sealed blocks with the keys that are there."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.opened = self.closed = 0
        self.keyless: set[str] = set()
        """Streams that have blocks and no key."""

    def open(self, blocks: Sequence[tuple[str, bytes]]) -> Iterator[tuple[int, str]]:
        """Yield (index, what is wrong) of blocks that their key does not open."""
        keys = self._vault.keys({stream for stream, _ in blocks}, create=False)
        sealer = Sealer()
        for index, (stream, sealed) in enumerate(blocks):
            key = keys.get(stream)
            if key is None:
                self.closed += 1
                self.keyless.add(stream)
                continue
            try:
                sealer.open_sealed(key, stream, sealed)
                self.opened += 1
            except SealBroken as broken:
                yield index, str(broken)


def _here(scan: Scan, head: int, opener: _Opener | None) -> Iterator[_Piece]:
    for after in range(0, head, CHUNK_EVENTS):
        yield check_events(scan, after, min(after + CHUNK_EVENTS, head), opener)


_scan_of_process: list[Scan] = []


def _begin_process(open_scan: Callable[[], Scan]) -> None:
    _scan_of_process.append(open_scan())


def _check_in_process(after: int, upto: int) -> _Piece:
    return check_events(_scan_of_process[0], after, upto, None)


def _in_processes(open_scan: Callable[[], Scan], head: int, jobs: int) -> Iterator[_Piece]:
    """Let other processes check chunks; a bounded number is under way, and they come back in order."""
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_begin_process, initargs=(open_scan,)
    ) as pool:
        waiting: deque[Future[_Piece]] = deque()
        for after in range(0, head, CHUNK_EVENTS):
            waiting.append(pool.submit(_check_in_process, after, min(after + CHUNK_EVENTS, head)))
            if len(waiting) > jobs * 4:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def check_events(scan: Scan, after: int, upto: int, opener: _Opener | None) -> _Piece:
    """Check the events of positions `after` + 1 to `upto`, each by itself."""
    problems: list[Problem] = []
    leaves: list[bytes] = []
    names: list[str] = []
    last: dict[str, Row] = {}
    refers: dict[str, tuple[int, str]] = {}
    forgotten: list[str] = []
    blocks: list[tuple[str, bytes]] = []
    places: list[tuple[int, str]] = []
    expected = after + 1
    decoded = b""
    for row in _readable(scan, after, upto, problems):
        position, stream, version, tag, envelope, data, sealed, leaf = row
        if not isinstance(position, int) or not expected <= position <= upto:
            problems.append(Problem("form", f"{_named(row)}: stands where event {expected} should", expected))
            continue
        if position != expected:
            problems.append(_gap(expected, position - 1, row))
            leaves += [_NO_LEAF] * (position - expected)
            names += [_NO_NAME] * (position - expected)
        expected = position + 1
        names.append(name_line(version, stream))
        leaves.append(leaf if isinstance(leaf, bytes) and len(leaf) == LEAF_BYTES else _NO_LEAF)
        last[stream] = row
        try:
            computed = leaf_hash(position, stream, version, tag, envelope, data, sealed or b"")
            if computed != leaf:
                problems.append(_changed(row, diagnose=len(problems) < DIAGNOSED_MAX))
                continue
            if envelope != decoded:  # the events of one step share theirs
                decode_envelope(envelope)
                decoded = envelope
            fact = decode_event(tag, data)
            payload = getattr(fact, "payload", "")
            if isinstance(fact, ForgettingAsked):
                forgotten += streams_of(fact)
            if not stream.startswith(_LEADS_OF_TAG.get(tag, kind_of_tag(tag))):
                problems.append(Problem("form", f"{_named(row)}: a {tag} has no place in it", position, stream))
        except (
            AttributeError,
            KeyError,
            struct.error,
            TypeError,
            ValueError,
            UnknownTag,
            msgspec.MsgspecError,
        ) as error:
            flip = _flip_in(row) if len(problems) < DIAGNOSED_MAX else None
            name = flip.stream if flip is not None else stream
            text = f"{_named(row)}: cannot be read: {_printable(error)}{_flipped(flip)}"
            problems.append(Problem("form", text, position, _printable(name)))
            continue
        if sealed is not None:
            if len(sealed) < _SEALED_BYTES_MIN or sealed[:1] != b"\1":
                problems.append(Problem("sealed", f"{_named(row)}: its personal block is malformed", position, stream))
            elif opener is not None:
                blocks.append((stream, sealed))
                places.append((position, stream))
        if payload:
            refers[payload] = position, stream
    if expected <= upto:
        problems.append(_gap(expected, upto, None))
        leaves += [_NO_LEAF] * (upto + 1 - expected)
        names += [_NO_NAME] * (upto + 1 - expected)
    if opener is not None:
        problems += [Problem("sealed", text, *places[index]) for index, text in opener.open(blocks)]
    absent = _check_references(scan, refers, problems)
    ends = ((stream, End(row[0], row[2], row[7])) for stream, row in last.items())
    return _Piece(b"".join(leaves), problems, absent, names, b"".join(map(b"".join, map_leaves(ends))), forgotten)


def map_leaves(ends: Iterable[tuple[str, End]]) -> Iterator[Leaf]:
    """Yield what stands in the map of stream ends for these streams; one whose row is malformed is left out."""
    for stream, end in ends:
        with suppress(AttributeError, TypeError, struct.error):
            key = key_of(stream)
            yield key, leaf_of(key, end)


def _readable(scan: Scan, after: int, upto: int, problems: list[Problem]) -> list[Row]:
    """Return the events that can be read; where the file is damaged, all but those on the damaged pages."""
    try:
        return scan.rows(after, upto)
    except Unreadable as damage:
        if upto - after == 1:
            problems.append(Problem("database", f"event {upto} cannot be read: {damage}", upto))
            return []
        middle = (after + upto) // 2
        return _readable(scan, after, middle, problems) + _readable(scan, middle, upto, problems)


def _check_references(scan: Scan, refers: dict[str, tuple[int, str]], problems: list[Problem]) -> list[_Absent]:
    digests: dict[bytes, tuple[int, str]] = {}
    for text, place in refers.items():
        if _DIGEST.fullmatch(text):
            digests[bytes.fromhex(text)] = place
        elif kind_of(place[1]) == "order":  # elsewhere a message's id stands for bytes that were not kept
            problems.append(Problem("payload", f"{text[:80]!r} is no digest of a payload", *place))
    found = scan.payload_streams(digests)
    absent: list[_Absent] = []
    for digest, (position, stream) in digests.items():
        owner = found.get(digest)
        if owner is None:
            absent.append(_Absent(digest.hex(), position, stream))
        elif owner != stream and kind_of(stream) == "order":
            text = f"payload {digest.hex()} of event {position} ({stream}) is stored as {_printable(owner)}'s"
            problems.append(Problem("payload", text, position, stream))
    return absent


def _changed(row: Row, *, diagnose: bool) -> Problem:
    flip = _flip_in(row) if diagnose else None
    stream = flip.stream if flip is not None else row[1]
    return Problem("leaf", f"{_named(row)}: not the event that was committed{_flipped(flip)}", row[0], stream)


def _flip_in(row: Row) -> Flip | None:
    position, stream, version, tag, envelope, data, sealed, leaf = row
    try:
        return flipped_bit(position, stream, version, tag, envelope, data, sealed or b"", leaf)
    except (AttributeError, TypeError, ValueError, struct.error):
        return None  # not even of the right types


def _flipped(flip: Flip | None) -> str:
    if flip is None:
        return ""
    return f"; one bit has flipped, in byte {flip.offset} of its {flip.field} (event of {_printable(flip.stream)})"


def _gap(first: int, last: int, follower: Row | None) -> Problem:
    what = f"event {first} is missing" if first == last else f"events {first} to {last} are missing"
    return Problem("gap", what + (f", before {_named(follower)}" if follower is not None else ""), first)


def _named(row: Row) -> str:
    return f"event {row[0]} ({_printable(row[1])}, version {row[2]}, {_printable(row[3])})"


def _printable(text: Any) -> str:
    return str(text).encode("ascii", "backslashreplace").decode()[:300]


# --- what stands beside the events


def _check_whole(open_scan: Callable[[], Scan], head: int, full: bool) -> list[Problem]:
    """Check what needs no look at single events: the database's files, and the order of every stream."""
    with closing(open_scan()) as scan:
        problems = [Problem("database", text) for text in scan.damage(full=full)]
        try:
            problems += _check_versions(scan, head)
        except Unreadable as damage:
            problems.append(Problem("database", f"the order of streams could not be checked: {damage}"))
    return problems


def _check_versions(scan: Scan, head: int) -> Iterator[Problem]:
    for each in scan.misplaced(head, PROBLEMS_MAX):
        text = (
            f"{_printable(each.stream)} goes from version {each.version_before} (position {each.position_before}) to "
            f"{each.version} (position {each.position})"
        )
        yield Problem("version", text, each.position, _printable(each.stream))


def _check_ends(scan: Scan, ends: Ends) -> Iterator[Problem]:
    if ends.rows != 1:
        yield Problem("row", f"the table of the tracked row holds {ends.rows} rows instead of one")
        return
    if ends.head > ends.last:
        text = f"the log ends at event {ends.last}, its tracked row says {ends.head}: events were cut off"
        yield Problem("truncated", text, ends.last + 1)
    for position, stream, version in scan.outside(ends.head, PROBLEMS_MAX):
        text = f"event {position} ({_printable(stream)}, version {version}) is outside of the log's 1 to {ends.head}"
        yield Problem("row", text, position, _printable(stream))
    if ends.position < 0 or ends.epoch < 0 or len(ends.digest) not in (0, 32):
        yield Problem("row", f"the tracked row is malformed: {ends}")


def _check_mail(scan: Scan, ends: Ends, head: int) -> Iterator[Problem]:
    """Compare the mail position with the last event that came from the mail."""
    for row in reversed(_readable(scan, max(head - CHUNK_EVENTS, 0), head, [])):
        if str(row[1]).startswith("cell-"):
            continue  # written by the worker itself, under the position it stood at
        try:
            envelope = decode_envelope(row[4])
            incarnation, _, sequence = envelope.message.rpartition("-")
            last = int(sequence)
        except (TypeError, ValueError, msgspec.MsgspecError):
            return  # told already, or a message without a number: nothing to compare with
        if not ends.incarnation or incarnation != ends.incarnation:
            return
        if last > ends.position:
            text = (
                f"{_named(row)} came from mail {last}, but the tracked row says mail is handled up to {ends.position}"
            )
            yield Problem("row", text, row[0], row[1])
        elif last == ends.position and ends.at_ms not in (0, envelope.at):
            text = f"the tracked row dates mail {last} at {ends.at_ms}, {_named(row)} at {envelope.at}"
            yield Problem("row", text, row[0], row[1])
        return


def _check_snapshots(scan: Scan) -> Iterator[Problem]:
    snapshots = scan.snapshots()
    end = scan.ends().last  # read after them: the log may be growing
    for stream, version, last in snapshots:
        there = end if stream == TIMERS_STREAM else last
        if version > there:
            text = f"a snapshot of {_printable(stream)} has seen version {version}, its events end at {there}"
            yield Problem("snapshot", text, 0, _printable(stream))


def _check_witnesses(witnesses: Sequence[Witness], generation: str, head: int) -> Iterator[Problem]:
    for witness in witnesses:
        if witness.generation == generation and witness.position > head:
            text = f"{witness.name} has seen event {witness.position}, but the log ends at {head}"
            yield Problem("truncated", text, head + 1)


def _check_payloads(scan: Scan, opener: _Opener | None, result: Verified) -> None:
    row: Any = None
    while page := scan.payloads(row, _PAYLOAD_ROWS):
        row = page[-1].row
        result.payloads += len(page)
        wrong = [each for each in page if sha256(each.sealed).digest() != each.digest]
        result.add(
            Problem("payload", f"payload {each.digest.hex()} was changed", 0, _printable(each.stream)) for each in wrong
        )
        if opener is not None:
            right = [each for each in page if each not in wrong]
            result.add(
                Problem("payload", f"payload {right[index].digest.hex()}: {text}", 0, right[index].stream)
                for index, text in opener.open([(each.stream, each.sealed) for each in right])
            )


def _check_absent(vault: Vault | None, absent: Sequence[_Absent], forgotten: Collection[str], result: Verified) -> None:
    """Tell payloads that were lost from those that came in after their key was destroyed, and were never stored."""
    there: Collection[str] = (
        {each.stream for each in absent}
        if vault is None
        else vault.keys({each.stream for each in absent}, create=False)
    )
    for digest, position, stream in absent:
        if stream in there or kind_of(stream) == "intake":  # keys of asides have names of their own
            text = f"payload {digest} of event {position} ({stream}) is missing"
            result.add((Problem("payload", text, position, stream),))
        elif kind_of(stream) == "order" and stream not in forgotten:
            text = (
                f"payload {digest} of event {position} ({stream}) is missing, and so is its key, though the log does "
                "not say that anybody was forgotten there"
            )
            result.add((Problem("payload", text, position, stream),))
        else:
            result.forgotten += 1


def _note_lost_keys(streams: Collection[str], result: Verified) -> None:
    if streams:
        shown = ", ".join(_printable(each) for each in sorted(streams)[:5]) + (", …" if len(streams) > 5 else "")  # noqa: PLR2004
        result.notes.append(
            f"the keys of {len(streams):,} stream(s) are not there, though the log does not say that anybody was "
            f"forgotten in them: {shown}. What is sealed there cannot be read"
        )


# --- checkpoints


class _Count:
    """How many events of a stream, and the first one's position."""

    __slots__ = ("events", "first")

    def __init__(self, first: int) -> None:
        self.first = first
        self.events = 0


class _Known:
    """Everything earlier checkpoints say about this log, compared while its leaves pass."""

    def __init__(
        self, folder: CheckpointFolder, kept: Kept, ends: Ends, result: Verified, *, all_maps: bool, keeps: bool
    ) -> None:
        self._folder, self._ends, self._result = folder, ends, result
        self._keeps = keeps
        self.tree = Frontier()
        self._map = EndsMap()
        self._all_maps = all_maps
        self._false_maps: list[Checkpoint] = []
        result.add(Problem("checkpoint", text) for text in kept.problems)
        line = folder.line(kept.checkpoints, result.generation)
        self._line = line.checkpoints
        if line.superseded:
            result.notes.append(f"{line.superseded} checkpoint(s) lie behind the point this log was restored to")
        for other, count in line.strangers.items():
            text = (
                f"{count} checkpoint(s) are of log generation {other}; this log says it is "
                f"{result.generation!r}, and no signed checkpoint says that it was restored from that one"
            )
            result.add((Problem("generation", text),))
        result.checkpoints = len(self._line)
        self._next = 0
        self._failed: list[Checkpoint] = []
        self._good = 0
        self._known_to = max((each.position for each in self._line), default=0)
        self._newest_map = max((each.position for each in self._line if each.ends), default=0)
        self._own = folder.leaves(result.generation)
        self._leaves = self._own
        if not self._own.count and self._line:
            self._leaves = folder.leaves(self._line[-1].generation)
        self._compare_to = min(self._leaves.count, self._known_to)
        self._differ: list[range] = []
        kept_to = min(self._own.count, self._known_to)
        self._append_from = kept_to
        self._appender = self._own.appending(kept_to)
        self._names = Names(self._leaves)
        own_names = Names(self._own)
        self._names_from = min(own_names.count, kept_to)
        self._names_appender = Appender(own_names.path, own_names.offset(self._names_from))
        self._named = self._names.pages(self._names_from if self._leaves is self._own else 0)
        self._renamed: list[tuple[int, bytes]] = []

    def take(self, piece: _Piece) -> None:
        """Add leaves, and whose they are; stop at each checkpoint's position and compare the roots."""
        leaves, names = piece.leaves, piece.names
        tree, begun = self.tree, self.tree.size
        upto = begun + len(leaves) // LEAF_BYTES
        mapped = begun
        while self._next < len(self._line) and self._line[self._next].position <= upto:
            checkpoint = self._line[self._next]
            self._next += 1
            tree.extend(_split(leaves, tree.size - begun, checkpoint.position - begun))
            if tree.root().hex() != checkpoint.root:
                self._failed.append(checkpoint)
                continue
            self._good = checkpoint.position
            if checkpoint.ends and self._affordable(checkpoint.position):
                self._map.put(_ends_between(leaves, names, begun, mapped, checkpoint.position))
                mapped = checkpoint.position
                self._result.maps += 1
                if self._map.root().hex() != checkpoint.ends:
                    self._false_maps.append(checkpoint)
            elif checkpoint.ends:
                self._result.maps_passed += 1
        tree.extend(_split(leaves, tree.size - begun, upto - begun))
        ends = piece.ends
        self._map.put(
            (ends[at : at + LEAF_BYTES], ends[at + LEAF_BYTES : at + 2 * LEAF_BYTES])
            for at in range(0, len(ends), 2 * LEAF_BYTES)
        )
        if begun < self._compare_to:
            kept = self._leaves.read(begun, min(upto, self._compare_to))
            if kept != leaves[: len(kept)]:
                self._note_differences(begun, kept, leaves)
        if self._keeps and upto > self._append_from:
            self._appender.add(leaves[max(self._append_from - begun, 0) * LEAF_BYTES :])
        for position, (name, line) in enumerate(zip(names, self._named, strict=False), begun + 1):
            if name.encode("utf-8", "surrogateescape") != line and len(self._renamed) < PROBLEMS_MAX:
                self._renamed.append((position, line))
        if self._keeps and upto > self._names_from:
            fresh = "".join(names[max(self._names_from - begun, 0) :])
            self._names_appender.add(fresh.encode("utf-8", "surrogateescape"))

    def _affordable(self, position: int) -> bool:
        """Tell whether a checkpoint's map is compared: the newest one always, others while they cost little."""
        if self._all_maps or position == self._newest_map:
            return True
        return self._map.hashed + self._map.cost <= MAPS_SPARE + position // MAPS_EVENTS

    def discard(self) -> None:
        """Forget what was not written."""
        self._appender.discard()
        self._names_appender.discard()

    def _note_differences(self, begun: int, kept: bytes, leaves: bytes) -> None:
        for at in range(0, len(kept), LEAF_BYTES):
            if kept[at : at + LEAF_BYTES] != leaves[at : at + LEAF_BYTES]:
                position = begun + at // LEAF_BYTES + 1
                if self._differ and self._differ[-1].stop == position:
                    self._differ[-1] = range(self._differ[-1].start, position + 1)
                elif len(self._differ) < PROBLEMS_MAX:
                    self._differ.append(range(position, position + 1))

    def judge(self, scan: Scan) -> None:
        """Say what the checkpoints prove."""
        head = self.tree.size
        for missed in self._line[self._next :][:1]:
            last = self._line[-1]
            lost = [each for each in scan.orphans(ORPHANS_MAX) if not each.startswith(ASIDE)][:20]
            text = (
                f"the log ends at event {head}, but the checkpoint of {_when(last)} has seen {last.position}: events "
                f"{head + 1} to {last.position} were cut off"
            )
            if lost:
                text += f"; bytes without events are left of {', '.join(map(_printable, lost))}"
            self._result.add((Problem("truncated", text, min(head + 1, missed.position)),))
        for each in self._line:
            if each.epoch > self._ends.epoch or (
                each.incarnation == self._ends.incarnation and each.mail > self._ends.position
            ):
                stood = f"epoch {each.epoch}, mail {each.mail}"
                text = f"the tracked row fell behind the checkpoint of {_when(each)}, where it stood at {stood}"
                self._result.add((Problem("row", text),))
        if self._false_maps and not self._result.kinds.keys() & _EVENT_KINDS:
            for each in self._false_maps[:PROBLEMS_MAX]:
                text = (
                    f"the map of stream ends at position {each.position} is not the one that the checkpoint of "
                    f"{_when(each)} signs: its maker was wrong, or had the key and left something out"
                )
                self._result.add((Problem("map", text, each.position),))
        unreached = self._line[self._next :]
        if self._failed or unreached:
            self._name_damage(scan, [*self._failed, *unreached])
        elif self._differ:
            self._note_changed_file(self._leaves.path, self._differ[0].start)
        elif self._renamed and self._result.ok:
            self._note_changed_file(self._names.path, self._renamed[0][0])
        if not self._result.ok:
            self._name_renamed()
            self._name_places()

    def _note_changed_file(self, path: Path, position: int) -> None:
        text = (
            f"{path} differs from the log at position {position}, and every signed root fits the log: "
            "the file was changed. Delete it; the next verification writes it anew"
        )
        self._result.add((Problem("checkpoint", text, position),))

    def _name_damage(self, scan: Scan, failed: Sequence[Checkpoint]) -> None:
        """Tell which events are not those that were there, as exactly as the kept leaves allow."""
        trusted = _trusted(self._leaves, failed)
        parts = [part for part in self._differ if part.start <= trusted]
        if parts or self._failed:
            text = f"the root at position {failed[0].position} is not that of the checkpoint of {_when(failed[0])}"
            if not parts:
                text += f": something in events {self._good + 1} to {failed[0].position} was changed"
            self._result.add((Problem("checkpoint", text, parts[0].start if parts else self._good + 1),))
        for part in parts:
            rows = _readable(scan, part.start - 1, part.start, [])
            what = _named(rows[0]) if rows else f"event {part.start}, which is gone"
            also = f", and so on to event {part.stop - 1}" if len(part) > 1 else ""
            text = f"changed since the checkpoint: {what}{also}"
            self._result.add((Problem("changed", text, part.start, _printable(rows[0][1]) if rows else ""),))
        if trusted > self.tree.size:
            parts.append(range(self.tree.size + 1, trusted + 1))
        self._name_lost(scan, parts)

    def _name_lost(self, scan: Scan, parts: Sequence[range]) -> None:
        """Count whose events stood where something is not as it was, and whose stand there now."""
        then: dict[str, _Count] = {}
        now: dict[str, _Count] = {}
        for position, _, stream in self._names.of(parts):
            then.setdefault(stream, _Count(position)).events += 1
        for part in parts if then else ():
            for after in range(part.start - 1, min(part.stop - 1, self.tree.size), CHUNK_EVENTS):
                for row in _readable(scan, after, min(after + CHUNK_EVENTS, part.stop - 1), []):
                    now.setdefault(_printable(row[1]), _Count(row[0])).events += 1
        for here, there, kind in ((then, now, "missing"), (now, then, "added")):
            for stream, count in here.items():
                more = count.events - (there[stream].events if stream in there else 0)
                if more > 0:
                    text = f"{more} event(s) of {stream} {'are missing' if kind == 'missing' else 'are there beyond'}"
                    text += f": those that stood from event {count.first} on" if kind == "missing" else " those sealed"
                    self._result.add((Problem(kind, text, count.first, stream),))

    def _name_places(self) -> None:
        """Say whose event stood where something is wrong and nothing there says it any more."""
        problems = self._result.problems
        places = sorted({each.position for each in problems if each.position > 0 and not each.stream})
        known = {at: stream for at, _, stream in self._names.of([range(at, at + 1) for at in places])}
        for index, each in enumerate(problems):
            if not each.stream and each.position in known:
                problems[index] = msgspec.structs.replace(each, stream=known[each.position])

    def _name_renamed(self) -> None:
        """Say whose events were, where the log has another name and the leaf is still the one that was kept."""
        for position, line in self._renamed:
            if not any(position in part for part in self._differ):
                version, _, stream = line.decode("ascii", "backslashreplace").strip().partition(" ")
                text = f"event {position} was version {version} of {stream}"
                self._result.add((Problem("changed", text, position, stream),))

    def write(self, signer: Signer) -> str:
        """Keep the leaves and a signed checkpoint of the log as it is; return the file's name."""
        with self._folder.writing():
            unchanged = self._append_from if self._appender.commit() else self._own.count
            self._names_appender.commit()
            KeptTree(self._own).grow(unchanged)
        ends, position = self._ends, self.tree.size
        own = (each for each in self._line if each.generation == self._result.generation)
        if any(each.position == position and each.ends for each in own):
            return ""
        checkpoint = Checkpoint(
            self._result.cell,
            self._result.generation,
            position,
            self._result.root,
            time.time_ns() // 1_000_000,
            ends.epoch,
            ends.incarnation,
            ends.position,
            ends=self._map.root().hex(),
        )
        return str(self._folder.write(checkpoint, signer))


def _trusted(leaves: Leaves, failed: Sequence[Checkpoint]) -> int:
    """Return up to where the kept leaves are those that one of these checkpoints signed."""
    for checkpoint in reversed(failed):
        root = leaves.root(checkpoint.position)
        if root is not None and root.hex() == checkpoint.root:
            return checkpoint.position
    return 0


def _ends_between(leaves: bytes, names: Sequence[str], begun: int, after: int, upto: int) -> Iterator[Leaf]:
    """Yield what the events of a chunk that begins behind `begun`, of these positions, put into the map."""
    ends: dict[str, End] = {}
    for at in range(after - begun, upto - begun):
        version, _, stream = names[at].rstrip("\n").partition(" ")
        if version.isdecimal():
            ends[stream] = End(begun + at + 1, int(version), leaves[at * LEAF_BYTES : (at + 1) * LEAF_BYTES])
    return map_leaves(ends.items())


def _split(leaves: bytes, first: int, last: int) -> list[bytes]:
    return [leaves[at : at + LEAF_BYTES] for at in range(first * LEAF_BYTES, last * LEAF_BYTES, LEAF_BYTES)]


def _when(checkpoint: Checkpoint) -> str:
    moment = datetime.fromtimestamp(checkpoint.at_ms / 1000, UTC).isoformat(timespec="seconds")
    return f"{moment} (position {checkpoint.position})"
