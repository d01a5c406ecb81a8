"""Where the broker is and how to get in; kept in a file for the other processes of the same data directory."""

import os
import ssl
from pathlib import Path

import msgspec


class Address(msgspec.Struct, frozen=True, omit_defaults=True):
    """A broker's address. The file it is kept in holds a password and is readable by its owner only."""

    url: str
    """`nats://host:port`, or `tls://host:port`."""
    user: str = ""
    password: str = ""
    tls_ca: str = ""
    """Path of the certificate authority's file for `tls://`; "" = the system's."""

    def __repr__(self) -> str:
        return f"Address(url={self.url!r}, user={self.user!r})"

    def tls_context(self) -> ssl.SSLContext | None:
        """Return what TLS needs, or None for a plain connection."""
        if not self.url.startswith("tls://"):
            return None
        return ssl.create_default_context(cafile=self.tls_ca or None)

    def write(self, path: Path) -> None:
        """Write the file (0600), whole or not at all."""
        write_secret(path, msgspec.json.format(msgspec.json.encode(self), indent=2))

    @classmethod
    def read(cls, path: Path) -> "Address":
        """Read the file.

        Raises:
            FileNotFoundError: no broker has been started for this directory.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)


def write_secret(path: Path, content: bytes) -> None:
    """Write `content` to a file only its owner can read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
