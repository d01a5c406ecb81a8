"""Chance, time and misfortune for tests, all from one seed: nothing here looks at a real clock or a real die."""

from collections import Counter, deque
from collections.abc import Collection, Mapping
from hashlib import sha256
from random import Random


class Trace:
    """Everything that happened in a run, as one hash; the last lines are kept for people."""

    def __init__(self, kept: int = 60) -> None:
        self._hash = sha256()
        self.lines: deque[str] = deque(maxlen=kept)
        self.count = 0

    def note(self, what: str, *facts: object) -> None:
        line = " ".join((what, *map(str, facts)))
        self._hash.update(line.encode() + b"\n")
        self.count += 1
        self.lines.append(f"{self.count:6} {line}")

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


class Faults:
    """Named points where a run may go wrong. Each seed leaves some of them out, so that others show their effect."""

    def __init__(self, chance: Random, rates: Mapping[str, float], trace: Trace) -> None:
        self._chance = chance
        self._trace = trace
        self._rates = {point: rate * chance.choice((0.0, 0.5, 1.0, 1.0, 2.0)) for point, rate in rates.items()}
        self.fired: Counter[str] = Counter()
        self.quiet = False
        """Set for the end of a run: nothing goes wrong any more."""

    def fires(self, point: str) -> bool:
        """Whether the misfortune happens here and now."""
        rate = self._rates[point]
        if self.quiet or self._chance.random() >= rate:
            return False
        self.saw(point)
        return True

    def saw(self, point: str) -> None:
        """Note something that is not drawn but must have come up."""
        self.fired[point] += 1
        self._trace.note("!", point)

    def missing(self, points: Collection[str]) -> list[str]:
        """Return the points that never came up."""
        return sorted(set(points) - set(self.fired))


class SkewedClock:
    """A clock that is wrong: it goes with true time, but jumps and steps back."""

    def __init__(self, offset_ms: int = 0) -> None:
        self.offset_ms = offset_ms

    def read(self, true_ms: int) -> int:
        return true_ms + self.offset_ms
