"""Seals the log while it grows: a signed checkpoint every few minutes, and at the end, without a word to the worker.

It reads what was committed since the last checkpoint, hashes each event again, and lets the kept tree grow; how long
the log is does not matter. A log that does not fit its last checkpoint is not signed: that is told again and again,
and `orderspine audit verify` says what happened.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import structlog

from adapters.storage.checkpoints import (
    LEAF_BYTES,
    Appender,
    Checkpoint,
    CheckpointError,
    CheckpointFolder,
    Signer,
)
from adapters.storage.kept_ends import EndsDamaged, KeptEnds, Run, VersionMissing, ends_path, forget, gather
from adapters.storage.kept_tree import KeptTree, Names, name_line
from adapters.storage.scan import Ends, Row, Scan, Unreadable
from adapters.storage.thinning import thin
from adapters.storage.witness import follow, held
from domain.merkle import Frontier
from domain.proof import leaf_hash
from runners.aio import run
from runners.audited import SIGNING_KEY_FILE, checkpoints_of, scan_of
from runners.background import Background
from runners.sealer_word import SealerWord, tell
from runners.settings import Settings, load_settings

CHUNK_EVENTS = 4_096
THIN_EVERY_S = 86_400.0
RUNS_MAX = 250_000
"""Streams whose new events are held in memory at most before they go into the map."""

log = structlog.get_logger()


class SealRefused(Exception):
    """The log is not the one of its last checkpoint, or is damaged: it is not signed. The message says where."""


class Sealing:
    """Signs one log, again and again."""

    def __init__(self, open_scan: Callable[[], Scan], cell: str, folder: CheckpointFolder, signer: Signer) -> None:
        """Read nothing yet."""
        self._open_scan = open_scan
        self._cell = cell
        self._folder = folder
        self._signer = signer
        self._last: Checkpoint | None = None
        self._names: Names | None = None
        self.rows_read = 0
        """Events that were read so far."""
        self.map_rows_read = self.map_rows_written = 0
        """Rows of the map of stream ends, the last time."""

    @property
    def position(self) -> int:
        """Of the newest checkpoint, as far as it is known; 0 = none is."""
        return self._last.position if self._last is not None else 0

    def seal(self) -> Checkpoint | None:
        """Sign the log as it is; None where nothing is new, or nothing is there yet.

        A last checkpoint of the first form is followed by one of the second at once, new events or not.

        Raises:
            SealRefused: it does not fit the last checkpoint, or an event is not the one that was committed.
            Unreadable: the log cannot be read.
            OSError: the folder cannot be written.
        """
        with closing(self._open_scan()) as scan, self._folder.writing():
            ends = scan.ends()
            generation, head = str(ends.generation), int(ends.head or 0)
            last = self._last
            if last is None or last.generation != generation:
                last = self._last = self._newest(generation)
            if head == 0 and last is None:
                return None
            path = ends_path(self._folder.leaves(generation).path)
            try:
                return self._seal(scan, ends, path)
            except (EndsDamaged, VersionMissing) as damage:
                log.info("sealer.map_made_anew", reason=str(damage))
                forget(path)
            try:
                return self._seal(scan, ends, path)
            except EndsDamaged as damage:
                raise OSError(str(damage)) from damage
            except VersionMissing as missing:
                raise SealRefused(str(missing)) from missing

    def renew_map(self) -> None:
        """Make the map of stream ends anew from the log: a part of it that no new event touches was found damaged.

        Raises:
            SealRefused, Unreadable, OSError: see `seal`.
        """
        if self._last is not None:
            with self._folder.writing():
                forget(ends_path(self._folder.leaves(self._last.generation).path))
        self.seal()

    def _seal(self, scan: Scan, ends: Ends, path: Path) -> Checkpoint | None:
        generation, head = str(ends.generation), int(ends.head or 0)
        with closing(KeptEnds(path, write=True)) as kept:
            last = self._last
            if last is not None and kept.position > last.position:  # another process has sealed meanwhile
                last = self._last = self._newest(generation)
            known = last.position if last is not None else 0
            if head < known:
                raise SealRefused(f"the log ends at event {head}, and event {known} is sealed: events were cut off")
            _believe(kept, last)
            if last is not None and last.ends and kept.position == head:
                return None
            root = self._grow(scan, generation, head, last, kept)
            made = None
            if last is None or not last.ends or last.position < head:
                made = Checkpoint(
                    self._cell,
                    generation,
                    head,
                    root.hex(),
                    time.time_ns() // 1_000_000,
                    int(ends.epoch),
                    str(ends.incarnation),
                    int(ends.position),
                    ends=kept.root.hex(),
                )
                self._folder.write(made, self._signer)
                self._last = made
            kept.commit()  # behind the checkpoint: a map that is ahead of what is signed would be believed by nobody
            self.map_rows_read, self.map_rows_written = kept.rows_read, kept.rows_written
        return made

    def _newest(self, generation: str) -> Checkpoint | None:
        kept = self._folder.load(self._cell)
        line = self._folder.line(kept.checkpoints, generation)
        if line.strangers and not line.checkpoints:
            raise SealRefused(
                f"the checkpoints are of log generation {', '.join(sorted(line.strangers))}, and nothing signed says "
                f"that {generation} was restored from it"
            )
        return line.checkpoints[-1] if line.checkpoints else None

    def _grow(self, scan: Scan, generation: str, head: int, last: Checkpoint | None, kept: KeptEnds) -> bytes:
        """Add what is new to the kept files and the map; return the root over all."""
        leaves = self._folder.leaves(generation)
        if self._names is None or self._names.path.stem != generation:
            self._names = Names(leaves)
        names, tree = self._names, KeptTree(leaves)
        known = last.position if last is not None else 0
        begin = min(leaves.count, names.count, known, kept.position)
        frontier = _frontier(tree, begin)
        if begin == known:
            _compare(frontier, last)
        leaf_file = Appender(leaves.path, begin * LEAF_BYTES)
        name_file = Appender(names.path, names.offset(begin))
        runs: dict[str, Run] = {}
        map_from = kept.position
        try:
            for after, upto in _chunks(begin, known, head):
                rows = self._read(scan, after, upto)
                fresh = [row[7] for row in rows]
                frontier.extend(fresh)
                leaf_file.add(b"".join(fresh))
                name_file.add("".join(name_line(row[2], row[1]) for row in rows).encode())
                _gather(runs, rows, kept.position)
                if runs and (upto in (known, head) or len(runs) > RUNS_MAX):
                    kept.put(runs, upto)
                    runs.clear()
                if upto == known:
                    _compare(frontier, last)
                    _compare_map(kept, last, map_from)
            name_file.commit()
            leaf_file.commit()
            tree.grow(begin)
        finally:
            leaf_file.discard()
            name_file.discard()
        return frontier.root()

    def _read(self, scan: Scan, after: int, upto: int) -> list[Row]:
        rows = scan.rows(after, upto)
        self.rows_read += len(rows)
        for expected, row in zip(range(after + 1, upto + 1), rows, strict=False):
            position, stream, version, tag, envelope, data, sealed, leaf = row
            try:
                fits = leaf_hash(position, stream, version, tag, envelope, data, sealed or b"") == leaf
            except (TypeError, ValueError, AttributeError):
                fits = False
            if position != expected or not fits:
                raise SealRefused(f"event {expected} is missing, or is not the one that was committed")
        if len(rows) != upto - after:
            raise SealRefused(f"event {after + len(rows) + 1} is missing")
        return rows


def _chunks(begin: int, known: int, head: int) -> Iterator[tuple[int, int]]:
    """Yield (after, upto) of what is read at once; one of them ends at `known`, where it is behind `begin`."""
    while begin < head:
        upto = min(begin + CHUNK_EVENTS, known if begin < known else head)
        yield begin, upto
        begin = upto


def _gather(runs: dict[str, Run], rows: Sequence[Row], after: int) -> None:
    """Add the events behind a position to the runs of their streams."""
    try:
        gather(runs, ((row[0], row[1], row[2], row[7]) for row in rows if row[0] > after))
    except VersionMissing as missing:
        raise SealRefused(str(missing)) from missing


def _believe(kept: KeptEnds, last: Checkpoint | None) -> None:
    """Refuse a kept map that cannot lead to the last signed one."""
    if kept.position == 0:
        return
    if last is None or not last.ends or kept.position > last.position:
        raise EndsDamaged(f"{kept.path} is of position {kept.position}, and no signed root says what it was there")
    if kept.position == last.position and kept.root.hex() != last.ends:
        raise EndsDamaged(f"{kept.path} does not lead to the root that was signed at position {last.position}")


def _compare_map(kept: KeptEnds, last: Checkpoint | None, begun: int) -> None:
    if last is None or not last.ends or kept.root.hex() == last.ends:
        return
    if begun:
        raise EndsDamaged(f"{kept.path} does not lead to the root that was signed at position {last.position}")
    raise SealRefused(f"the map of stream ends at position {last.position} is not the one that was signed")


def _frontier(tree: KeptTree, size: int) -> Frontier:
    try:
        return tree.frontier(size)
    except IndexError as error:  # the file was cut while it was read
        raise SealRefused(str(error)) from error


def _compare(frontier: Frontier, last: Checkpoint | None) -> None:
    if last is not None and frontier.root().hex() != last.root:
        raise SealRefused(
            f"the root at position {last.position} is not the one that was signed: the log was changed, or the files "
            "beside the checkpoints were (delete *.leaves, *.blocks and *.names there; they are written anew)"
        )


def sealing_of(settings: Settings) -> Sealing:
    """Return the sealing of a data directory's log.

    Raises:
        CheckpointError: the signing key cannot be used.
        OSError: it cannot be read or made.
    """
    signer = Signer.open(settings.path / SIGNING_KEY_FILE)
    return Sealing(scan_of(settings), settings.cell, CheckpointFolder(checkpoints_of(settings)), signer)


def seal_and_witness(sealing: Sealing, settings: Settings) -> Checkpoint | None:
    """Seal once, and let the witness follow; what stands in the way is logged, told (`tell`), and tried again."""
    made: Checkpoint | None = None
    refused = behind = ""
    try:
        made = sealing.seal()
        if made is not None:
            log.info("sealer.sealed", position=made.position, root=made.root, ends=made.ends)
    except (SealRefused, Unreadable, FileNotFoundError) as trouble:
        refused = f"{trouble}; `orderspine audit verify` says what was changed"
        log.error("sealer.refused", reason=refused)  # noqa: TRY400 - it is the log's trouble
    except OSError as trouble:
        refused = str(trouble)
        log.warning("sealer.not_written", reason=refused)
    if settings.witness:
        try:
            follow(checkpoints_of(settings), Path(settings.witness))
        except CheckpointError as trouble:
            behind = str(trouble)
            log.error("sealer.witness_differs", reason=behind, advice="audit verify --checkpoints")  # noqa: TRY400 - as above
        except OSError as trouble:
            behind = str(trouble)
            log.warning("sealer.witness_away", reason=behind)
    try:
        tell(settings.path, SealerWord(time.time_ns() // 1_000_000, sealing.position, refused, 0, behind))
    except OSError as trouble:
        log.warning("sealer.not_told", reason=str(trouble))
    return made


def thin_out(settings: Settings) -> None:
    """Remove old checkpoints by the rule of `adapters.storage.thinning`; none while the witness cannot be asked."""
    try:
        held_outside = held(Path(settings.witness)) if settings.witness else set()
        gone = thin(CheckpointFolder(checkpoints_of(settings)), settings.cell, held_outside)
    except OSError as trouble:
        log.warning("sealer.not_thinned", reason=str(trouble))
        return
    if gone:
        log.info("sealer.thinned", files=gone)


async def keep_sealing(settings: Settings) -> None:
    """Seal until SIGTERM or SIGINT, and once more then; thin out once a day."""
    background = Background()
    background.begin()
    event_log = await background.log_of(settings)
    if event_log is None:
        return
    event_log.close()
    sealing = sealing_of(settings)
    work = partial(seal_and_witness, sealing, settings)
    thin_at = 0.0
    while not background.stopping.is_set():
        await asyncio.to_thread(work)
        if time.monotonic() >= thin_at:
            await asyncio.to_thread(thin_out, settings)
            thin_at = time.monotonic() + THIN_EVERY_S
        await background.pause(settings.seal_every_s)
    await asyncio.to_thread(work)


def main() -> int:
    """Parse the arguments and seal."""
    parser = argparse.ArgumentParser(prog="python -m runners.sealer", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    parser.add_argument("--witness", default="", help="folder that checkpoints are copied to")
    arguments = parser.parse_args()
    run(keep_sealing(load_settings(arguments.data, witness=arguments.witness or None)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
