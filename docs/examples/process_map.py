"""Draw a process map from an OCEL export, with waits and rework on its edges. The standard library is enough.

    orderspine export ocel --out day.json
    python docs/examples/process_map.py day.json > map.svg

Activities stand below each other, by where they usually come in the life of an order. An edge says that one event of
an order directly followed another: how often, and how long it waited (the median). Red edges, on the left, are rework:
they lead to what the same order had had before. `↻` counts how often an activity directly followed itself.
"""

import argparse
import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

ROW, WIDTH, LEFT, RIGHT, TOP, LINE = 46, 210, 190, 310, 50, 10
"""Pixels: from row to row, of a box, on its left and right, from the top to the first one, from label to label."""
BESIDE = ("stock.", "trail.", "order.timer_", "order.effect_", "order.repeated", "order.outdated")
"""How the names of activities begin that are noted beside the work, and not drawn: the ledger's, timers, repeats …"""
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def stories(log: Mapping[str, Any], kind: str) -> dict[str, list[tuple[datetime, str]]]:
    """Return (time, activity) of all events of each object of a type, in their order."""
    of_kind = {each["id"] for each in log["objects"] if each["type"] == kind}
    found: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for event in log["events"]:
        if event["type"].startswith(BESIDE):
            continue
        time = datetime.fromisoformat(event["time"])
        for name in {each["objectId"] for each in event.get("relationships", ())} & of_kind:
            found[name].append((time, event["type"]))
    for story in found.values():
        story.sort(key=lambda step: step[0])
    return dict(found)


class Map:
    """What follows what, how often and after how long."""

    def __init__(self, told: Iterable[Sequence[tuple[datetime, str]]], least: float) -> None:
        """Count; an activity is shown where at least this share of the objects has it."""
        all_of_them = [list(story) for story in told]
        having = Counter(name for story in all_of_them for name in {activity for _, activity in story})
        shown = {name for name, many in having.items() if many >= least * len(all_of_them)}
        self.objects = len(all_of_them)
        self.events: Counter[str] = Counter()
        self.again: Counter[str] = Counter()
        """Activity → how often it followed itself."""
        self.waits: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
        """(activity, the one that followed, whether that had been there before) → seconds between them."""
        places: dict[str, list[int]] = defaultdict(list)
        for story in all_of_them:
            steps = [step for step in story if step[1] in shown]
            for place, (time, name) in enumerate(steps):
                self.events[name] += 1
                places[name].append(place)
                if place:
                    before, earlier = steps[place - 1]
                    if earlier == name:
                        self.again[name] += 1
                    else:
                        rework = any(name == one for _, one in steps[:place])
                        self.waits[earlier, name, rework].append((time - before).total_seconds())
        self.order = sorted(self.events, key=lambda name: (statistics.mean(places[name]), name))
        """Activities by where they usually come."""

    def edges(self, most: int) -> list[tuple[str, str, bool, int, float]]:
        """Return (from, to, whether again, how often, median seconds) of so many edges, the most frequent ones."""
        often = sorted(self.waits.items(), key=lambda edge: (-len(edge[1]), edge[0]))[:most]
        return [(one, other, again, len(waits), statistics.median(waits)) for (one, other, again), waits in often]


def spelled(seconds: float) -> str:
    """Return a wait for people."""
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return "at once"


def draw(found: Map, title: str, most: int) -> str:
    """Return the picture, as SVG."""
    row = {name: number for number, name in enumerate(found.order)}
    edges = found.edges(most)
    height = TOP + ROW * len(row) + 10
    strongest = max((edge[3] for edge in edges), default=1)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
            'font-family="sans-serif" font-size="11">'
        ),
        (
            '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
            'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker></defs>'
        ),
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="10" y="20" font-size="14">{escape(title)}</text>',
    ]
    labels = _Labels()
    for one, other, again, many, wait in sorted(edges, key=lambda edge: -abs(row[edge[0]] - row[edge[1]])):
        down = row[other] - row[one]
        colour = "#b3382c" if again else "#38638c"
        begin, end = _middle(row[one]), _middle(row[other])
        text = f"{many:,} · {spelled(wait)}"
        if down == 1 and not again:
            x, y = LEFT + WIDTH / 2, (begin + end) / 2
            path = f"M{x} {begin + 14}L{x} {end - 14}"
            labels.add(x + 6, y + 4, text, colour, "start")
        else:
            side = -1 if again else 1
            x = LEFT + WIDTH if side > 0 else LEFT
            reach = min(24 * abs(down) ** 0.9, (RIGHT if side > 0 else LEFT) - 90)
            path = f"M{x} {begin + 5}C{x + side * reach:.0f} {begin} {x + side * reach:.0f} {end} {x} {end - 5}"
            labels.add(
                x + side * (reach * 0.76 + 4), (begin + end) / 2 + 4, text, colour, "start" if side > 0 else "end"
            )
        width = 0.8 + 3.2 * many / strongest
        lines.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:.1f}" stroke-opacity="0.75" '
            'marker-end="url(#to)"/>'
        )
    for name, number in row.items():
        twice = f" ↻ {found.again[name]:,}" if found.again[name] else ""
        y = _middle(number)
        lines.append(
            f'<rect x="{LEFT}" y="{y - 14}" width="{WIDTH}" height="28" rx="6" fill="#eef3f8" stroke="#38638c"/>'
            f'<text x="{LEFT + WIDTH / 2}" y="{y + 4}" text-anchor="middle">'
            f"{escape(name)} · {found.events[name]:,}{twice}</text>"
        )
    return "\n".join([*lines, *labels.lines, "</svg>", ""])


def _middle(number: int) -> int:
    return TOP + ROW * number + 14


class _Labels:
    """Texts at edges; one that would stand on another moves down."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._taken: list[tuple[float, float, float]] = []

    def add(self, x: float, y: float, text: str, colour: str, anchor: str) -> None:
        length = 5 * len(text)
        begin = x if anchor == "start" else x - length
        end = begin + length
        while any(abs(y - other) < LINE and begin < last and first < end for first, last, other in self._taken):
            y += LINE
        self._taken.append((begin, end, y))
        self.lines.append(
            f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="9" fill="{colour}" '
            f'stroke="#fff" stroke-width="3" paint-order="stroke">{escape(text)}</text>'
        )


def main() -> None:
    """Read an export and write the picture to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", help="OCEL 2.0 in its JSON form")
    parser.add_argument("--type", default="order", help="type of object whose lives are drawn (default: order)")
    parser.add_argument(
        "--least", type=float, default=0.05, help="share of objects that have an activity (default 0.05)"
    )
    parser.add_argument("--edges", type=int, default=30, help="most edges (default 30)")
    arguments = parser.parse_args()
    with open(arguments.export, encoding="utf-8") as file:  # noqa: PTH123 - a plain script
        found = Map(stories(json.load(file), arguments.type).values(), arguments.least)
    sys.stdout.write(draw(found, f"{found.objects:,} × {arguments.type}", arguments.edges))


if __name__ == "__main__":
    main()
