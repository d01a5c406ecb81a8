"""Secrets and tokens of one connection, read from the environment and from files when they are needed.

Nothing of them is in a log, in an error's text or in what this object shows of itself.
"""

import asyncio
import contextlib
import fcntl
import os
import stat
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from adapters.platforms.connection import Connection, MissingSecret, Token
from adapters.storage.durable import make_folder, opened
from runners.settings_file import stamp, write_durably

TOKENS = "tokens"
"""Directory below the data directory, 0700."""
SECRET_BYTES_MAX = 64 * 1024
ALONE_S = 60.0
"""How long another process may hold a token before it is taken to hang."""
_OTHERS = 0o077
_LOOK_S = 0.05


class FileKeys:
    """The port `adapters.platforms.connection.Keys`: `env:VARIABLE`, `file:PATH`, and tokens in files of their own."""

    def __init__(
        self,
        data: Path,
        connection: Connection,
        environment: Mapping[str, str] = os.environ,
        *,
        what: str = "connection",
    ) -> None:
        """Nothing is read yet. Relative paths of secrets begin at the data directory; `what` is what people call it."""
        self._what = f"{what} {connection.name}"
        self._data = data
        self._connection = connection
        self._environment = environment

    def __repr__(self) -> str:
        return f"FileKeys({self._connection.name!r})"

    def secret(self, name: str) -> str:
        """Return a secret that the connection names; see `Keys.secret`."""
        place = self._connection.secrets.get(name)
        if place is None:
            raise MissingSecret(
                f"connection {self._connection.name} does not say where its secret {name} is found: add it, "
                f"for example with `orderspine channels add … --secret {name}=file:PATH --replace`"
            )
        kind, _, rest = place.partition(":")
        if kind == "env":
            value = self._environment.get(rest, "").strip()
            if not value:
                raise MissingSecret(
                    f"secret {name} of {self._what}: the variable {rest} is not set for this "
                    "process; set it where `orderspine up` is started, and start that again"
                )
            return value
        path = self._data / Path(rest).expanduser()
        return self._secret_in(path, f"secret {name} of {self._what}")

    def token(self) -> Token | None:
        """Return the token that was kept last; see `Keys.token`."""
        what = f"the token of connection {self._connection.name}"
        again = f"authorise the shop anew: `orderspine channels authorise {self._connection.name}`"
        try:
            raw = read_owned(self.token_file, what)
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(raw, type=Token)
        except (msgspec.DecodeError, UnicodeDecodeError):  # no cause: it may quote the token
            raise MissingSecret(f"{what} in {self.token_file} is damaged; {again}") from None

    def keep(self, token: Token) -> None:
        """Keep a token; it is on the disk when this returns."""
        make_folder(self.token_file.parent, 0o700)
        write_durably(self.token_file, msgspec.json.encode(token))

    def forget(self) -> None:
        """Drop the token. Harmless when done twice."""
        self.token_file.unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold every other process (and task) off while a token is refreshed: a refresh ends the token before it."""
        make_folder(self.token_file.parent, 0o700)
        descriptor = opened(self.token_file.with_suffix(".lock"), 0o600)
        try:
            deadline = time.monotonic() + ALONE_S
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if time.monotonic() > deadline:
                    raise MissingSecret(
                        f"another process holds the token of connection {self._connection.name} for "
                        f"{ALONE_S:g} s; look what it does, or stop it"
                    )
                await asyncio.sleep(_LOOK_S)
            yield
        finally:
            os.close(descriptor)

    @property
    def token_file(self) -> Path:
        """Where the token is kept."""
        return self._data / TOKENS / f"{self._connection.name}.json"

    def stamp(self) -> tuple[object, ...]:
        """Return something that changes when the token or a file with a secret does."""
        files = [self.token_file]
        for place in self._connection.secrets.values():
            kind, _, rest = place.partition(":")
            if kind == "file":
                files.append(self._data / Path(rest).expanduser())
        return tuple(stamp(file) for file in files)

    def _secret_in(self, path: Path, what: str) -> str:
        try:
            raw = read_owned(path, what)
        except FileNotFoundError:
            raise MissingSecret(f"{what}: there is no file {path}; write it there, with `chmod 600`") from None
        try:
            value = raw.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise MissingSecret(f"{what}: {path} is no UTF-8 text; write the secret there as plain text") from None
        if not value:
            raise MissingSecret(f"{what}: {path} is empty")
        return value


def read_owned(path: Path, what: str) -> bytes:
    """Return the content of a small file that nobody but its owner, who must be this user, can read or change.

    A link is followed, and what it leads to must be so as well.

    Raises:
        MissingSecret: it is not so; the text says what to do.
        FileNotFoundError: there is none.
    """
    try:
        # Not to wait for ever where it is a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise MissingSecret(f"{what}: {path} cannot be read ({error.strerror})") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise MissingSecret(f"{what}: {path} is no plain file")
        if found.st_uid != os.geteuid():
            raise MissingSecret(
                f"{what}: {path} belongs to another user; it must belong to the one who runs OrderSpine"
            )
        if found.st_mode & _OTHERS:
            raise MissingSecret(f"{what}: {path} can be read or changed by others: `chmod 600 {path}`")
        if found.st_size > SECRET_BYTES_MAX:
            raise MissingSecret(f"{what}: {path} has {found.st_size:,} bytes; that is no secret")
        return os.read(descriptor, SECRET_BYTES_MAX)
    finally:
        os.close(descriptor)
