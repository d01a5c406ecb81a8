"""Signed checkpoints: what a log was at a position, kept apart from it, so that a changed past can be shown.

A folder holds one JSON file a checkpoint, the public keys, and beside them the leaves the newest checkpoint stands
for: the signed root tells *that* something changed, the leaves tell *what*. A checkpoint of a restored log names the
generation it was restored from; without one a log of a new generation is not believed.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from adapters.storage.durable import opened, write_whole
from domain.merkle import Frontier

LEAF_BYTES = 32
_PAGE_LEAVES = 8_192


class CheckpointError(Exception):
    """A key or a folder of checkpoints that cannot be used: which, why, what to do."""


class Checkpoint(msgspec.Struct, frozen=True):
    """A log's Merkle root at a position, signed; since the second form, the root of the map of its streams' ends too.

    Checkpoints of the first form stay valid. What they cannot prove is that a stream had no further event.
    """

    cell: str
    generation: str
    """Life of the log."""
    position: int
    """Number of events the root stands for."""
    root: str
    """Merkle root over their leaves, hex."""
    at_ms: int
    """When it was made, UTC ms, by the maker's clock."""
    epoch: int = 0
    """Of the tracked row: it never falls."""
    incarnation: str = ""
    mail: int = 0
    """Of the tracked row: position in that life of the mail, which never falls."""
    restored_from: str = ""
    """Generation the log was restored from, where this is the first word on a restored log."""
    ends: str = ""
    """Root of the map of stream ends (`domain.stream_ends`), hex; "" = a checkpoint of the first form."""
    key: str = ""
    """Fingerprint of the public key."""
    signature: str = ""
    """Ed25519 over `signed_bytes`, hex."""

    def signed_bytes(self) -> bytes:
        """Return what is signed: every field but the signature, under the name of the form."""
        *fields, ends, key, _ = msgspec.structs.astuple(self)
        if not ends:
            return b"orderspine checkpoint 1\n" + msgspec.json.encode([*fields, key])
        return b"orderspine checkpoint 2\n" + msgspec.json.encode([*fields, ends, key])


class Signer:
    """Holds the signing key of a data directory."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        """Take the key."""
        self._private = private
        self.public = private.public_key()
        self.fingerprint = fingerprint(self.public)

    @classmethod
    def open(cls, path: Path) -> "Signer":
        """Read the key from a file (0600), which is made where there is none.

        Raises:
            CheckpointError: the file holds no Ed25519 key.
            OSError: it cannot be read or made.
        """
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            return cls._make(path)
        try:
            private = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CheckpointError(f"{path} holds no readable key: {error}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise CheckpointError(f"{path} holds a key, but not one of Ed25519")
        return cls(private)

    @classmethod
    def _make(cls, path: Path) -> "Signer":
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, pem, 0o600)
        return cls(private)

    def sign(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint with this key's name and signature."""
        named = msgspec.structs.replace(checkpoint, key=self.fingerprint)
        return msgspec.structs.replace(named, signature=self._private.sign(named.signed_bytes()).hex())


def public_pem(public: Ed25519PublicKey) -> bytes:
    """Return a public key as a PEM file holds it."""
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(public: Ed25519PublicKey) -> str:
    """Return the name of a public key: 16 hex digits of its SHA-256."""
    return sha256(public.public_bytes_raw()).hexdigest()[:16]


def file_name(checkpoint: Checkpoint) -> str:
    """Return the name of a checkpoint's file. The roots are in it: a second word on a position replaces no first."""
    roots = f"{checkpoint.root[:8]}-{checkpoint.ends[:8]}".rstrip("-")
    return f"{checkpoint.position:012d}-{checkpoint.generation}-{roots}.checkpoint.json"


class Kept(NamedTuple):
    """What a folder holds."""

    checkpoints: list[Checkpoint]
    """Those whose signature is valid, by position."""
    problems: list[str]
    """Files that are damaged, forged, or signed by a key that is not there."""


class Line(NamedTuple):
    """The checkpoints of one log among those of a folder."""

    checkpoints: list[Checkpoint]
    """Those it must fit, by position."""
    superseded: int
    """Those behind the point it was restored to."""
    strangers: dict[str, int]
    """Generation → checkpoints of it that nothing signed connects with this log."""


class CheckpointFolder:
    """The folder beside a data directory. Copies of it elsewhere are what an intruder cannot change."""

    def __init__(self, path: Path) -> None:
        """Name it; it is made with the first checkpoint."""
        self.path = path

    @property
    def writable(self) -> bool:
        """Whether files can be put there, as far as that can be told without trying."""
        nearest = next(each for each in (self.path.absolute(), *self.path.absolute().parents) if each.exists())
        return os.access(nearest, os.W_OK | os.X_OK)

    def load(self, cell: str) -> Kept:
        """Read and check every checkpoint."""
        checkpoints: list[Checkpoint] = []
        problems: list[str] = []
        keys = self.public_keys(problems)
        for file in sorted(self.path.glob("*.checkpoint.json")):
            try:
                checkpoint = msgspec.json.decode(file.read_bytes(), type=Checkpoint)
                signature = bytes.fromhex(checkpoint.signature)
            except (OSError, msgspec.DecodeError, ValueError) as error:
                problems.append(f"{file.name} is damaged: {error}")
                continue
            public = keys.get(checkpoint.key)
            if public is None:
                problems.append(f"{file.name} is signed by key {checkpoint.key[:32]!r}, which is not in {self.path}")
                continue
            try:
                public.verify(signature, checkpoint.signed_bytes())
            except InvalidSignature:
                problems.append(
                    f"{file.name} has a wrong signature: it was changed, or never made by key {checkpoint.key}"
                )
                continue
            if checkpoint.cell != cell:
                problems.append(f"{file.name} is of cell {checkpoint.cell!r}, not of {cell!r}")
                continue
            checkpoints.append(checkpoint)
        checkpoints.sort(key=lambda each: (each.position, each.at_ms))
        return Kept(checkpoints, problems)

    def write(self, checkpoint: Checkpoint, signer: Signer) -> Path:
        """Sign and keep a checkpoint, and its public key; return the file. The first word on its roots stands.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        public = self.path / f"{signer.fingerprint}.public.pem"
        if not public.exists():
            write_whole(public, public_pem(signer.public), 0o644)
        file = self.path / file_name(checkpoint)
        if not file.exists():
            signed = signer.sign(checkpoint)
            write_whole(file, msgspec.json.format(msgspec.json.encode(signed), indent=1) + b"\n", 0o644)
        return file

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder while its files are written: sealing and verifying take turns.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with os.fdopen(opened(self.path / ".lock", 0o644), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def line(self, checkpoints: Sequence[Checkpoint], generation: str) -> "Line":
        """Tell which checkpoints a log of this generation must fit: its own, and those of what it was restored from.

        A life that was given up for another restore of the same log is behind that point, too, and no stranger.
        """
        by_generation: dict[str, list[Checkpoint]] = {}
        for each in checkpoints:
            by_generation.setdefault(each.generation, []).append(each)
        fitting: list[Checkpoint] = []
        superseded, limit = 0, 1 << 63
        ended: dict[str, int] = {}  # former lives of this log, and when they were left for a restored one, UTC ms
        while generation:
            own = by_generation.pop(generation, [])
            generation = ""
            within = [each for each in own if each.position <= limit]
            superseded += len(own) - len(within)
            fitting = [*within, *fitting]  # of two at a position the later generation's comes last
            for each in within:
                if each.restored_from:
                    generation, begun = each.restored_from, each
            if generation:
                limit = begun.position
                ended[generation] = begun.at_ms
        fitting.sort(key=lambda each: each.position)
        while abandoned := [name for name, others in by_generation.items() if _abandoned(others, ended)]:
            for name in abandoned:
                others = by_generation.pop(name)
                superseded += len(others)
                ended[name] = max(ended[each.restored_from] for each in others if each.restored_from in ended)
        return Line(fitting, superseded, {name: len(others) for name, others in by_generation.items()})

    def leaves(self, generation: str) -> "Leaves":
        """Return the leaves kept for one life of the log."""
        return Leaves(self.path / f"{generation}.leaves")

    def public_keys(self, problems: list[str]) -> dict[str, Ed25519PublicKey]:
        """Return the keys in the folder by fingerprint; what is wrong with others is added to `problems`."""
        keys: dict[str, Ed25519PublicKey] = {}
        for file in sorted(self.path.glob("*.public.pem")):
            try:
                public = serialization.load_pem_public_key(file.read_bytes())
            except (OSError, ValueError, UnsupportedAlgorithm) as error:
                problems.append(f"{file.name} is damaged: {error}")
                continue
            if isinstance(public, Ed25519PublicKey):
                keys[fingerprint(public)] = public
            else:
                problems.append(f"{file.name} is no key of Ed25519")
        return keys


def _abandoned(checkpoints: Sequence[Checkpoint], ended: Mapping[str, int]) -> bool:
    """Tell whether a life was restored from one of these, and had its last word before that one was restored again."""
    last_ms = max(each.at_ms for each in checkpoints)
    return any(last_ms <= ended.get(each.restored_from, -1) for each in checkpoints)


class Leaves:
    """A file of leaves, 32 bytes each, in order of position. Not believed by itself: its root must be a signed one."""

    def __init__(self, path: Path) -> None:
        """Name the file; it need not be there."""
        self.path = path

    @property
    def count(self) -> int:
        """Number of whole leaves in the file."""
        try:
            return self.path.stat().st_size // LEAF_BYTES
        except FileNotFoundError:
            return 0

    def read(self, after: int, upto: int) -> bytes:
        """Return the leaves of positions `after` + 1 to `upto`, as far as there are any."""
        try:
            with self.path.open("rb") as file:
                file.seek(after * LEAF_BYTES)
                return file.read((upto - after) * LEAF_BYTES)
        except FileNotFoundError:
            return b""

    def root(self, position: int) -> bytes | None:
        """Return the root over the first `position` leaves, None where there are fewer."""
        if self.count < position:
            return None
        frontier = Frontier()
        for page in self._pages(position):
            frontier.extend(page)
        return frontier.root()

    def appending(self, after: int) -> "Appender":
        """Begin to add leaves behind position `after`; what the file holds behind it is dropped on `commit`."""
        return Appender(self.path, after * LEAF_BYTES)

    def _pages(self, position: int) -> Iterator[list[bytes]]:
        for after in range(0, position, _PAGE_LEAVES):
            page = self.read(after, min(after + _PAGE_LEAVES, position))
            yield [page[at : at + LEAF_BYTES] for at in range(0, len(page), LEAF_BYTES)]


class Appender:
    """Bytes on their way into a file: kept beside it until `commit`, so that a failed check leaves no trace."""

    def __init__(self, path: Path, offset: int) -> None:
        """Begin behind byte `offset`; nothing is written before the first `add`."""
        self._path = path
        self._offset = offset
        self._begun = _size(path)
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file: BinaryIO | None = None

    def add(self, content: bytes) -> None:
        """Take what comes next."""
        if not content:
            return
        if self._file is None:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
        self._file.write(content)

    def commit(self) -> bool:
        """Put it at the end of the file, durably, and tell so; a file that somebody else wrote meanwhile is left.

        Two that write the same file hold `CheckpointFolder.writing` while they commit.
        """
        if self._file is None:
            return False
        if _size(self._path) != self._begun:
            self.discard()
            return False
        self._file.close()
        self._file = None
        with os.fdopen(opened(self._path, 0o644), "r+b") as target, self._part.open("rb") as source:
            target.seek(self._offset)
            target.truncate()
            while part := source.read(1 << 20):
                target.write(part)
            target.flush()
            os.fsync(target.fileno())
        self._part.unlink()
        return True

    def discard(self) -> None:
        """Forget it; harmless after `commit`."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(FileNotFoundError):
            self._part.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
