"""A file that is there whole or not at all."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.storage.durable import sync


class NoPlainFile(Exception):
    """In the file's place is something that nothing may take the place of."""


class WholeFile:
    """Written beside its place, made durable, and put there at the end; where anything goes wrong, nothing is there."""

    def __init__(self, file: Path, *, force: bool = False) -> None:
        """Choose the place.

        Args:
            file: where it shall be.
            force: whether it may take the place of a file that is there.

        Raises:
            FileExistsError: the file is there already, and `force` is not given.
            NoPlainFile: what is there is a directory, a link or a device.
        """
        self.file, self._force = file, force
        self._refuse()
        self.part = file.with_name(f".{file.name}.{os.getpid()}.part")
        """What is to be written."""

    def _refuse(self) -> None:
        if self.file.is_symlink() or (self.file.exists() and not self.file.is_file()):
            raise NoPlainFile(self.file)
        if self.file.exists() and not self._force:
            raise FileExistsError(self.file)

    def __enter__(self) -> Self:
        """Begin with an empty file.

        Raises:
            OSError: nothing can be written there.
        """
        os.close(os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put it in its place, or leave nothing behind."""
        try:
            if error is None:
                self._put()
        finally:
            self.part.unlink(missing_ok=True)

    def _put(self) -> None:
        sync(self.part)
        self._refuse()
        self.part.replace(self.file)
        sync(self.file.parent)
