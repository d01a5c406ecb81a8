"""The result file of an ingest: for every row of its source what became of it, as a table that spreadsheets open."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

COLUMNS = ("file", "row", "order", "outcome", "reason")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Answered(NamedTuple):
    """What became of some rows of one file: those of one receipt, one document."""

    file: str
    rows: tuple[int, ...]
    """() = the file as a whole."""
    order: str
    """`channel:shop:number`; "" = it is no order's."""
    outcome: str
    """For people."""
    reason: str


class ResultFile:
    """Written beside its place and put there at the end, with all that was answered until then."""

    def __init__(self, file: Path) -> None:
        """Begin it.

        Raises:
            FileExistsError: the file is there already.
            OSError: nothing can be written there.
        """
        if file.exists() or file.is_symlink():
            raise FileExistsError(file)
        self._file = file
        self._part = file.with_name(f".{file.name}.{os.getpid()}.part")
        self._stream = self._part.open("w", encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._stream)
        self._writer.writerow(COLUMNS)
        self._next = 0
        self._early: dict[int, Sequence[Answered]] = {}
        """Batches that were answered before one that was sent earlier."""
        self._last: list[Answered] = []
        self._any = False

    def add_last(self, answer: Answered) -> None:
        """Take in what stands below all batches."""
        self._last.append(answer)

    def add(self, batch: int, answers: Sequence[Answered]) -> None:
        """Take in the answers to a batch; batches are numbered from 0 and stand in the file in this order."""
        self._early[batch] = answers
        while self._next in self._early:
            self._write(self._early.pop(self._next))
            self._next += 1

    def finish(self) -> bool:
        """Put the file in its place; return whether anything stands in it. Without an answer there is none."""
        for batch in sorted(self._early):
            self._write(self._early[batch])
        self._early.clear()
        self._write(self._last)
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        if self._any:
            self._part.rename(self._file)
        else:
            self._part.unlink()
        return self._any

    def _write(self, answers: Sequence[Answered]) -> None:
        for answer in answers:
            self._any = True
            for row in answer.rows or ("",):
                texts = (answer.file, str(row), answer.order, answer.outcome, answer.reason)
                self._writer.writerow(map(harmless, texts))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish, however it ended."""
        self.finish()


def harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
