"""Bearer tokens of the API. The file holds only digests: whoever reads it cannot use what is in it."""

import contextlib
import fcntl
import hmac
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

import msgspec
import structlog

from adapters.storage.durable import opened, write_whole

log = structlog.get_logger(__name__)

Right = Literal["push", "read"]
RIGHTS: tuple[Right, ...] = get_args(Right)
PREFIX = "osp_"
"""Begins every token, so that scanners for leaked secrets can know them."""
RELOAD_S = 1.0


class ApiToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token that somebody has; it has 256 random bits, so its plain digest gives nothing away."""

    name: str
    sha256: str
    """Hex, of the whole token."""
    rights: tuple[Right, ...]
    created: str
    """UTC, ISO 8601."""


class BadTokenFile(Exception):
    """The file cannot be used: others may read it, or it is damaged. The text says which, and what to do."""


class TokenBook:
    """The tokens of a cell. A changed file is read again within about a second."""

    def __init__(self, path: Path) -> None:
        """Name the file; it need not be there yet."""
        self._path = path
        self._tokens: Sequence[ApiToken] = ()
        self._seen: tuple[int, int, int, int] | None = None
        self._look_again = 0.0
        self.trouble = ""
        """Why the file's tokens are not accepted; "" = they are."""

    def holder(self, token: str) -> ApiToken | None:
        """Return whose token this is. Takes the same time wherever a wrong one differs."""
        self._refresh()
        digest = sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for known in self._tokens:
            if hmac.compare_digest(known.sha256, digest):
                found = known
        return found

    def _refresh(self) -> None:
        if (now := time.monotonic()) < self._look_again:
            return
        self._look_again = now + RELOAD_S
        try:
            status = self._path.stat()
        except OSError:
            self._tokens, self._seen, self.trouble = (), None, ""
            return
        seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._tokens, self.trouble = read_tokens(self._path), ""
        except BadTokenFile as error:
            self._tokens, self.trouble = (), str(error)
            log.error("api_tokens.not_usable", reason=str(error))  # noqa: TRY400  not a crash


def read_tokens(path: Path) -> list[ApiToken]:
    """Read the file; no file, no tokens.

    Raises:
        BadTokenFile: see there.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadTokenFile(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise BadTokenFile(f"{path} is open to others (mode {mode:o}): chmod 600 {path}")
        try:
            return msgspec.json.decode(file.read(), type=list[ApiToken])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadTokenFile(f"{path} is damaged: {error}; correct it, or remove it and make new tokens") from error


def add_token(path: Path, name: str, rights: Sequence[Right]) -> str:
    """Make a token, keep its digest, and return it: it is never to be had again. One of the same name is replaced.

    Raises:
        BadTokenFile: see there.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with _alone(path):
        kept = [known for known in read_tokens(path) if known.name != name]
        kept.append(ApiToken(name, sha256(token.encode()).hexdigest(), tuple(rights), created))
        _write(path, kept)
    return token


def remove_token(path: Path, name: str) -> bool:
    """Forget the token of that name; False where there is none.

    Raises:
        BadTokenFile: see there.
    """
    with _alone(path):
        known = read_tokens(path)
        kept = [each for each in known if each.name != name]
        if len(kept) == len(known):
            return False
        _write(path, kept)
    return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one at a time change the file."""
    descriptor = opened(path.with_name(f".{path.name}.lock"), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, tokens: Sequence[ApiToken]) -> None:
    content = msgspec.json.format(msgspec.json.encode(tokens), indent=2) + b"\n"
    write_whole(path, content, 0o600, handed_over=True)
