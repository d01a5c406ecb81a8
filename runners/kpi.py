"""Asking for KPIs: figures from the sums, the orders behind them, what waits now, and how far the read models are."""

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.storage.read_models import ReadModels
from domain.ports import EventLog
from projections.base import observed_at_of
from projections.kpi_behind import Behind, behind
from projections.kpi_figures import Figure, Filter, figures
from projections.kpi_list import WAITS_MS, By
from projections.kpis import hour_of, story_of

OLDEST = 5
"""Orders that wait too long, as many as a board shows."""


class Waiting(msgspec.Struct, frozen=True):
    """An order that is paid and has not left."""

    order: str
    channel: str
    warehouse: str
    since_ms: int
    """When it was paid, observed time, UTC ms."""
    waits_ms: int


class Pending(msgspec.Struct, frozen=True):
    """What waits for us now."""

    now_ms: int
    pending: int
    """Orders that are paid and have not left."""
    too_long: int
    """Those of them that have waited for more than two hours."""
    oldest: list[Waiting]
    """The first of these."""


class Lag(msgspec.Struct, frozen=True):
    """How far a read model is behind the log."""

    read_model: str
    version: int
    position: int
    events: int
    """Events that it has not seen."""
    ms: int
    """Between the last event it has seen and the last there is, observed time; 0 = it has seen all."""


def shown(views: ReadModels, names: Sequence[str], wanted: Filter, by: By, zone: str) -> list[Figure]:
    """Return the figures of these KPIs.

    Raises:
        KeyError: there is no KPI of that name.
    """
    hours = (hour_of(document) for document in views.kpi_hours(*wanted.window))
    return figures(hours, names, wanted, by, zone)


def explained(views: ReadModels, name: str, wanted: Filter, detail: str | None) -> tuple[list[Behind], list[Behind]]:
    """Return the events that the top of a figure counts, and those of its bottom.

    Raises:
        KeyError: there is no KPI of that name.
    """
    orders = ((key, channel, story_of(document)) for key, channel, document in views.kpi_orders(*wanted.window))
    return behind(name, orders, wanted, detail)


def pending(views: ReadModels, now_ms: int, channel: str | None = None, warehouse: str | None = None) -> Pending:
    """Return what waits at `now_ms`, UTC ms, as far as the read model goes."""
    found = [
        Waiting(key, its, story.warehouse, since_ms, now_ms - since_ms)
        for key, its, since_ms, document in views.kpi_waiting()
        if channel in (None, its) and warehouse in (None, (story := story_of(document)).warehouse)
    ]
    late = [each for each in found if each.waits_ms > WAITS_MS]
    return Pending(now_ms, len(found), len(late), late[:OLDEST])


def lags(log: EventLog, views: ReadModels) -> list[Lag]:
    """Return how far each read model that is shown is."""
    tracked = log.tracked()
    latest = _at(log, tracked.head)
    found: list[Lag] = []
    for row in views.positions():
        if not row["live"]:
            continue
        position: Any = row["position"] if row["generation"] == tracked.generation else 0
        missing = max(0, tracked.head - position)
        ms = max(0, latest - _at(log, position)) if missing and position else 0
        found.append(Lag(row["name"], row["version"], position, missing, ms))
    return found


def differences(views: ReadModels, first: str, last: str, channel: str | None = None) -> list[dict[str, Any]]:
    """Return how many differences finance has, by day of the trade, channel, reason and state.

    `first` and `last` are days (YYYY-MM-DD), both included; "" = no limit.
    """
    return [
        row
        for row in views.finance_counts()
        if first <= row["day"] and (not last or row["day"] <= last) and channel in (None, row["channel"])
    ]


def last_moment(log: EventLog) -> int:
    """Return when the last event happened, observed time, UTC ms; 0 where there is none."""
    return _at(log, log.tracked().head)


def _at(log: EventLog, position: int) -> int:
    read = log.read(position - 1, 1) if position else []
    return observed_at_of(read[0].envelope) if read else 0
