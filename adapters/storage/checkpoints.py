"""Signed checkpoints: what a log was at a position, kept apart from it, so that a changed past can be shown.

A folder holds one JSON file a checkpoint, the public keys, and beside them the leaves the newest checkpoint stands
for: the signed root tells *that* something changed, the leaves tell *what*. A checkpoint of a restored log names the
generation it was restored from; without one a log of a new generation is not believed.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.merkle import Frontier

LEAF_BYTES = 32
_PAGE_LEAVES = 8_192


class CheckpointError(Exception):
    """A key or a folder of checkpoints that cannot be used: which, why, what to do."""


class Checkpoint(msgspec.Struct, frozen=True):
    """A log's Merkle root at a position, signed."""

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
    key: str = ""
    """Fingerprint of the public key."""
    signature: str = ""
    """Ed25519 over `signed_bytes`, hex."""

    def signed_bytes(self) -> bytes:
        """Return what is signed: every field but the signature, under a name of its own."""
        return b"orderspine checkpoint 1\n" + msgspec.json.encode(msgspec.structs.astuple(self)[:-1])


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
        except (ValueError, TypeError) as error:
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
        _write_whole(path, pem, 0o600)
        return cls(private)

    def sign(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with this key's name and signature."""
        named = msgspec.structs.replace(checkpoint, key=self.fingerprint)
        return msgspec.structs.replace(named, signature=self._private.sign(named.signed_bytes()).hex())


def fingerprint(public: Ed25519PublicKey) -> str:
    """Return the name of a public key: 16 hex digits of its SHA-256."""
    return sha256(public.public_bytes_raw()).hexdigest()[:16]


class Kept(NamedTuple):
    """What a folder holds."""

    checkpoints: list[Checkpoint]
    """Those whose signature is valid, by position."""
    problems: list[str]
    """Files that are damaged, forged, or signed by a key that is not there."""


class CheckpointFolder:
    """The folder beside a data directory. Copies of it elsewhere are what an intruder cannot change."""

    def __init__(self, path: Path) -> None:
        """Name it; it is made with the first checkpoint."""
        self.path = path

    def load(self, cell: str) -> Kept:
        """Read and check every checkpoint."""
        checkpoints: list[Checkpoint] = []
        problems: list[str] = []
        keys = self._public_keys(problems)
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
        """Sign and keep a checkpoint, and its public key; return the file.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        public = self.path / f"{signer.fingerprint}.public.pem"
        if not public.exists():
            pem = signer.public.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            _write_whole(public, pem, 0o644)
        # The root is in the name, so that a second word on the same position never replaces the first.
        name = f"{checkpoint.position:012d}-{checkpoint.generation}-{checkpoint.root[:8]}.checkpoint.json"
        file = self.path / name
        _write_whole(file, msgspec.json.format(msgspec.json.encode(signer.sign(checkpoint)), indent=1) + b"\n", 0o644)
        return file

    def leaves(self, generation: str) -> "Leaves":
        """Return the leaves kept for one life of the log."""
        return Leaves(self.path / f"{generation}.leaves")

    def _public_keys(self, problems: list[str]) -> dict[str, Ed25519PublicKey]:
        keys: dict[str, Ed25519PublicKey] = {}
        for file in sorted(self.path.glob("*.public.pem")):
            try:
                public = serialization.load_pem_public_key(file.read_bytes())
            except (OSError, ValueError) as error:
                problems.append(f"{file.name} is damaged: {error}")
                continue
            if isinstance(public, Ed25519PublicKey):
                keys[fingerprint(public)] = public
            else:
                problems.append(f"{file.name} is no key of Ed25519")
        return keys


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

    def appending(self, after: int) -> "LeafAppender":
        """Begin to add leaves behind position `after`; what the file holds behind it is dropped on `commit`."""
        return LeafAppender(self.path, after)

    def _pages(self, position: int) -> Iterator[list[bytes]]:
        for after in range(0, position, _PAGE_LEAVES):
            page = self.read(after, min(after + _PAGE_LEAVES, position))
            yield [page[at : at + LEAF_BYTES] for at in range(0, len(page), LEAF_BYTES)]


class LeafAppender:
    """Leaves on their way into the file: kept beside it until `commit`, so that a failed check leaves no trace."""

    def __init__(self, path: Path, after: int) -> None:
        """Begin; nothing is written before the first `add`."""
        self._path = path
        self._after = after
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file: BinaryIO | None = None

    def add(self, leaves: bytes) -> None:
        """Take leaves, in order."""
        if not leaves:
            return
        if self._file is None:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
        self._file.write(leaves)

    def commit(self) -> None:
        """Put them at the end of the file, durably."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(descriptor, "r+b") as target, self._part.open("rb") as source:
            target.seek(self._after * LEAF_BYTES)
            target.truncate()
            while part := source.read(1 << 20):
                target.write(part)
            target.flush()
            os.fsync(target.fileno())
        self._part.unlink()

    def discard(self) -> None:
        """Forget them; harmless after `commit`."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(FileNotFoundError):
            self._part.unlink()


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            fresh.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
