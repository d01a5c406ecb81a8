"""The line that shows how a run goes: live on a terminal, once in ten seconds elsewhere; remarks go above it."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.live import Live

    from runners.vitals import Vitals

LIVE_S = 1.0
PLAIN_S = 10.0


class StatusLine:
    """Shows remarks and how things stand, on stderr. A context manager.

    What stderr meets ends nothing: who listens may go (a closed terminal, `… 2>&1 | head`), its disk may be full.
    """

    def __init__(self) -> None:
        """Look whether there is a terminal."""
        self._live: Live | None = None
        self._terminal = sys.stderr.isatty()
        self.every_s = LIVE_S if self._terminal else PLAIN_S
        """How often `show` should be called."""

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._terminal:
            from rich.console import Console  # noqa: PLC0415
            from rich.live import Live  # noqa: PLC0415

            self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True)
            with _unheard():
                self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last line standing."""
        if self._live is not None:
            with _unheard():
                self._live.stop()

    def note(self, text: str) -> None:
        """Show a remark that stays."""
        with _unheard():
            if self._live is not None:
                self._live.console.print(text, markup=False)
            else:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()

    def show(self, vitals: "Vitals", events_per_s: float) -> None:
        """Show how things stand."""
        text = line_of(vitals, events_per_s)
        if self._live is not None:
            from rich.text import Text  # noqa: PLC0415

            with _unheard():
                self._live.update(Text(text), refresh=True)
        else:
            self.note(text)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Leave out what cannot be shown now; once nobody listens any more, let all of it go nowhere."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.EPIPE, errno.EIO}:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), sys.stderr.fileno())


def line_of(vitals: "Vitals", events_per_s: float) -> str:
    """Return the line."""
    pieces = [
        f"orders {vitals.orders:,}",
        f"events {vitals.head:,} ({events_per_s:,.0f}/s)",
        f"mail waiting {_or_unknown(vitals.backlog)}",
        f"read models {_behind(vitals.projector_lag)}",
        f"feed {_behind(vitals.relay_lag)}",
        f"held {vitals.held:,}",
        f"quarantined {vitals.quarantined:,}",
    ]
    if vitals.shops:
        trouble = f" ({vitals.shops_troubled:,} in trouble)" if vitals.shops_troubled else ""
        pieces.append(f"shops {vitals.shops:,}{trouble}")
    if vitals.failing_parts:
        pieces.append(f"NOT RUNNING: {', '.join(trouble.part for trouble in vitals.failing_parts)}")
    return " · ".join(pieces)


def _or_unknown(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _behind(lag: int | None) -> str:
    return "?" if lag is None else "level" if lag == 0 else f"{lag:,} behind"
