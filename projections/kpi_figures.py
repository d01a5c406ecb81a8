"""How sums of hours become figures of days, channels and warehouses; days are those of the merchant's zone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from ddsketch import DDSketch
from ddsketch.mapping import LogarithmicMapping

from domain.timehub import zone_of
from projections.kpi_list import DETAILS, KPIS, SAME, By, Kpi, Part
from projections.kpis import ACCURACY, ZERO, Cell, Hour


class Times(msgspec.Struct, frozen=True):
    """How long something took, in the KPI's unit; percentiles are right to 1 %."""

    mean: float
    p50: float
    p95: float
    p99: float
    most: float


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A KPI of one group of a window."""

    kpi: str
    group: str
    """Day, channel, warehouse or detail; "" where nothing was split, and for what has none."""
    top: int
    """Facts that are counted."""
    bottom: int | None = None
    """Facts that it is divided by."""
    value: float | None = None
    """Share, ratio or mean; None = there is nothing to divide by."""
    unit: str = ""
    times: Times | None = None
    goal: str = ""
    met: bool | None = None
    """Whether the goal is met; None = there is none, or nothing to compare."""


class Window(NamedTuple):
    """Hours [first, last), since 1970 in UTC."""

    first: int
    last: int


EVER: Final = Window(0, 1 << 40)


def window_of(first: date | None, last: date | None, zone: str) -> Window:
    """Return the hours of days of a zone, both included; None = no limit.

    In a zone that is off UTC by a part of an hour, a day begins with the hour in which it begins.
    """
    here = zone_of(zone)

    def begin(day: date) -> int:
        return int(datetime(day.year, day.month, day.day, tzinfo=here).timestamp()) // 3600

    return Window(
        EVER.first if first is None else begin(first), EVER.last if last is None else begin(last + timedelta(days=1))
    )


def day_of(hour: int, zone: str) -> str:
    """Return the day of a zone that an hour is of, YYYY-MM-DD: where a day begins within it, that one."""
    return datetime.fromtimestamp(hour * 3600 + 3599, UTC).astimezone(zone_of(zone)).date().isoformat()


class Filter(NamedTuple):
    """What is asked for."""

    window: Window = EVER
    channel: str | None = None
    warehouse: str | None = None
    """`""` = of none."""


ALL: Final = Filter()
Sums = Mapping[str, Cell]
"""Name of the facts → their sum."""


def summed(hours: Iterable[Hour], wanted: Filter, by: By = "", zone: str = "UTC") -> dict[str, dict[str, Cell]]:
    """Return the sums of each group; of the one group "" where they are not split by where or when."""
    found: dict[str, dict[str, Cell]] = {}
    days: dict[int, str] = {}
    for each in hours:
        if not wanted.window.first <= each.hour < wanted.window.last or wanted.channel not in (None, each.channel):
            continue
        for warehouse, cells in each.cells.items():
            if wanted.warehouse not in (None, warehouse):
                continue
            if by == "day":
                group = days.get(each.hour) or days.setdefault(each.hour, day_of(each.hour, zone))
            else:
                group = {"channel": each.channel, "warehouse": warehouse}.get(by, "")
            into = found.setdefault(group, {})
            for name, cell in cells.items():
                _merge(into.setdefault(name, Cell()), cell)
    return found


def _merge(into: Cell, cell: Cell) -> None:
    into.count += cell.count
    into.hits += cell.hits
    into.total += cell.total
    into.most = max(into.most, cell.most)
    for where, count in cell.bins.items():
        into.bins[where] = into.bins.get(where, 0) + count


def figures(
    hours: Iterable[Hour], names: Iterable[str], wanted: Filter = ALL, by: By = "", zone: str = "UTC"
) -> list[Figure]:
    """Return the figures of these KPIs, by group; only of groups that have any, and of KPIs that have such a detail.

    Raises:
        KeyError: there is no KPI of that name.
    """
    groups = summed(hours, wanted, by, zone)
    found = []
    for name in names:
        kpi = KPIS[name]
        if by in DETAILS:
            if kpi.by == by:
                sums = groups.get("", {})
                found += [_figure(kpi, sums, detail, detail) for detail in _details(kpi, sums)]
        elif by:
            split = [_figure(kpi, groups[group], group) for group in sorted(groups)]
            found += [each for each in split if each.top or each.bottom]
        else:
            found.append(_figure(kpi, groups.get("", {}), ""))
    return found


def _details(kpi: Kpi, sums: Sums) -> list[str]:
    kinds = {kpi.top.kind} | ({kpi.bottom.kind} & SAME if kpi.bottom else set())
    details = {detail for name in sums for kind, _, detail in [name.partition("/")] if kind in kinds}
    if kpi.by == "stage":
        return [stage for stage in _STAGE_ORDER if stage in details]
    return sorted(details, key=lambda detail: (-_number(kpi.top, sums, detail), detail))


_STAGE_ORDER = ("placed", "paid", "allocated", "shipped", "signed_for", "cancelled")


def _figure(kpi: Kpi, sums: Sums, group: str, detail: str | None = None) -> Figure:
    top = _number(kpi.top, sums, detail)
    bottom = exact = times = None
    if kpi.unit_ms:
        whole = _whole(_cells(kpi.top, sums, detail))
        times = _times(whole, kpi.unit_ms)
        exact = whole.total / whole.count / kpi.unit_ms if whole.count else None
    elif kpi.bottom is not None:
        # What is of orders has the details of its facts on one side only.
        own = detail if kpi.bottom.kind in SAME else None
        bottom = _number(kpi.bottom, sums, own)
        exact = kpi.per * top / bottom if bottom else None
    goal = f"{kpi.goal[0]} {kpi.goal[1]:g}" if kpi.goal else ""
    met = None
    if kpi.goal and exact is not None:
        met = exact >= kpi.goal[1] if kpi.goal[0] == "≥" else exact <= kpi.goal[1]
    value = None if exact is None else round(exact, 3)
    return Figure(kpi.name, group, top, bottom, value, kpi.unit, times, goal, met)


def _cells(part: Part, sums: Sums, detail: str | None) -> list[Cell]:
    only = part.detail if detail is None else detail
    lead = f"{part.kind}/"
    if only is not None:
        return [sums[lead + only]] if lead + only in sums else []
    return [cell for name, cell in sums.items() if name.startswith(lead)]


def _number(part: Part, sums: Sums, detail: str | None) -> int:
    cells = _cells(part, sums, detail)
    match part.what:
        case "count":
            number = sum(cell.count for cell in cells)
        case "hits":
            number = sum(cell.hits for cell in cells)
        case "misses":
            number = sum(cell.count - cell.hits for cell in cells)
    if part.less:
        number -= _number(Part(part.less), sums, detail)
    return number


def _whole(cells: Sequence[Cell]) -> Cell:
    whole = Cell()
    for cell in cells:
        _merge(whole, cell)
    return whole


def _times(whole: Cell, unit_ms: float) -> Times | None:
    if not whole.count:
        return None
    quantile = quantiles(whole)

    def shown(ms: float) -> float:
        return round(ms / unit_ms, 3)

    mean, most = whole.total / whole.count, whole.most
    p50, p95, p99 = (shown(min(quantile(share), most)) for share in (0.5, 0.95, 0.99))
    return Times(shown(mean), p50, p95, p99, shown(most))


def quantiles(cell: Cell) -> Callable[[float], float]:
    """Return what gives the duration (ms) that a share of all was not longer than; right to `ACCURACY`."""
    sketch, mapping = DDSketch(ACCURACY), LogarithmicMapping(ACCURACY)
    for where, count in sorted(cell.bins.items()):
        sketch.add(0.0 if where == ZERO else mapping.value(int(where)), count)
    return lambda share: sketch.get_quantile_value(share) or 0.0
