"""What goes wrong on purpose: on the way to a platform, inside it, and on the way back."""

from collections import deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, get_args

How = Literal[
    "500",
    "502",
    "503",
    "429",
    "limited",
    "inner_error",
    "html",
    "cut_before",
    "timeout",
    "cut_after",
    "timeout_after",
    "500_after",
    "wrong_json",
]
"""Without effect: a status (`500` … `429`), the platform's own "too often" (`limited`), its own system error in an
answer of status 200 (`inner_error`), a page for people (`html`), a cut connection, no answer at all. With effect, but
the answer is lost: `cut_after`, `timeout_after`, `500_after`; `wrong_json` breaks off in the middle of the answer."""

HOWS: Final[tuple[How, ...]] = get_args(How)
BEFORE: Final = frozenset(HOWS[:9])
"""Those that take no effect."""


class _Planned(NamedTuple):
    how: How
    operation: str


class Faults:
    """What is planned to go wrong, and how often the platform may be asked."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._planned: deque[_Planned] = deque()
        self._now_s = now_s
        self._per_s = 0.0
        self._left = 0.0
        self._at = 0.0

    def plan(self, count: int, how: How, operation: str = "") -> None:
        """Let the next `count` requests fail; with `operation` only those whose name holds it.

        Raises:
            ValueError: nothing goes wrong that way.
        """
        if how not in HOWS:
            raise ValueError(f"nothing goes wrong as {how!r}: {', '.join(HOWS)}")
        self._planned.extend(_Planned(how, operation) for _ in range(count))

    def take(self, operation: str) -> How | None:
        """Return what goes wrong with this request, and forget it."""
        for planned in self._planned:
            if planned.operation in operation:
                self._planned.remove(planned)
                return planned.how
        return None

    def clear(self) -> None:
        """Let nothing more go wrong."""
        self._planned.clear()

    def limit(self, per_s: float) -> None:
        """Answer at most so many requests a second, the same number at once after a rest; 0 = any number."""
        self._per_s = self._left = per_s
        self._at = self._now_s()

    def too_often(self) -> bool:
        """Count a request; tell whether it is one too many."""
        if not self._per_s:
            return False
        now = self._now_s()
        self._left = min(max(self._per_s, 1.0), self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return True
        self._left -= 1.0
        return False
