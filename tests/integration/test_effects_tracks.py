"""Which parcels a track service is asked to follow: each once, those that left lately, corrected numbers too."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.carriers.settings import TrackService
from adapters.simulators.kuaidi100 import SimKuaidi100
from adapters.simulators.server import served
from adapters.storage.memory_log import MemoryEventLog
from domain import order
from domain.after_sale import ReplacementShipped
from domain.callbacks import Subscription
from domain.canonical import Parcel
from domain.decider import Event
from domain.ids import order_key
from domain.platforms import PlatformRefused
from domain.time_units import DAY_MS
from runners.effects_kind import Gone, Happened, Unusable
from runners.effects_store import Job
from runners.effects_tracks import TrackSubscriptions
from runners.services import CARRIERS
from tests.spec import T0
from tests.trade import Trade, view

KEY = order_key("taobao", "s1", "1")
NOW = T0 + DAY_MS
ONE, TWO = Parcel("SF", "T1"), Parcel("YTO", "T2")


class Watched:
    """A log, and what its events ask for."""

    def __init__(self, kind: TrackSubscriptions) -> None:
        self.log = MemoryEventLog()
        self.kind = kind
        self._trade = Trade(self.log)

    def given(self, *events: Event) -> "Watched":
        self._trade.append(KEY, *events)
        return self

    def jobs(self) -> list[Job]:
        found = []
        for event in self.log.read(0, 1_000):
            if event.tag in self.kind.tags:
                found += self.kind.asked_by(Happened(self.log, event), NOW)
        return found

    def numbers(self) -> list[str]:
        return [msgspec.json.decode(job.document, type=Subscription).tracking for job in self.jobs()]


def taken(*parcels: Parcel, status: Any = "shipped", **more: Any) -> tuple[Event, Event]:
    seen = msgspec.structs.replace(view("1", status=status), parcels=parcels, **more)
    return order.OrderReceived("taobao", "s1", "1", "p"), order.OrderNormalized(seen, "d", "a")


def amended(*parcels: Parcel, status: Any = "shipped") -> Event:
    seen = msgspec.structs.replace(view("1", status=status), parcels=parcels)
    return order.OrderAmended(seen, "d2", "a", (), "p2")


@pytest.fixture
async def kind(tmp_path: Path) -> TrackSubscriptions:
    with CARRIERS.editing(tmp_path) as services:
        services += [
            TrackService("off", "https://x", enabled=False, secrets={"key": "env:K", "salt": "env:S"}),
            TrackService("first", "https://x", secrets={"key": "env:K", "salt": "env:S"}),
            TrackService("second", "https://x", codes={"PIGEON": "p"}, secrets={"key": "env:K", "salt": "env:S"}),
        ]
    made = TrackSubscriptions(tmp_path)
    await made.refresh()
    return made


def shipped(*parcels: Parcel, at_ms: int = T0) -> Event:
    return order.OrderShipped(parcels, at_ms)


async def test_a_parcel_is_followed_once_whoever_sent_it(kind: TrackSubscriptions) -> None:
    watched = Watched(kind).given(
        *taken(ONE), order.PartiallyShipped((), (ONE,), T0), shipped(ONE, TWO), amended(ONE, TWO)
    )
    assert watched.numbers() == ["T1", "T2"]
    assert [job.key for job in watched.jobs()] == [f"{KEY}/T1", f"{KEY}/T2"]
    assert {job.target for job in watched.jobs()} == {"first"}


async def test_a_number_that_is_corrected_later_is_followed_too(kind: TrackSubscriptions) -> None:
    watched = Watched(kind).given(*taken(), amended(ONE), shipped(ONE), amended(TWO), amended(ONE, TWO))
    assert watched.numbers() == ["T1", "T2"]


async def test_the_service_is_the_first_that_knows_the_carrier(kind: TrackSubscriptions) -> None:
    pigeon = Watched(kind).given(*taken(), shipped(Parcel("PIGEON", "P1"), Parcel("NOBODY", "N1")))
    assert [job.target for job in pigeon.jobs()] == ["second", "first"]


async def test_goods_for_an_after_sale_are_followed_whatever_has_become_of_the_order(kind: TrackSubscriptions) -> None:
    again = ReplacementShipped(1, f"{KEY}/case-1-1", "A", TWO, NOW, "c-1")
    for events in (
        (*taken(ONE, status="completed"), shipped(ONE)),
        (*taken(kind="counter"), shipped()),
    ):
        assert Watched(kind).given(*events, again).numbers() == ["T2"], events


async def test_what_is_over_or_has_no_number_is_not_followed(kind: TrackSubscriptions) -> None:
    for events in (
        (*taken(ONE, status="completed"), shipped(ONE)),
        (*taken(kind="counter"), shipped(ONE)),
        (*taken(), shipped(Parcel("SF", ""))),
        (*taken(), shipped(ONE, at_ms=1)),
    ):
        assert Watched(kind).given(*events).numbers() == [], events


async def test_nobody_is_asked_where_no_service_is_used(tmp_path: Path, kind: TrackSubscriptions) -> None:
    with CARRIERS.editing(tmp_path) as services:
        services.clear()
    (job,) = Watched(kind).given(*taken(), shipped(ONE)).jobs()
    await kind.refresh()
    assert kind.tags == frozenset()
    with pytest.raises(Gone):
        await kind.do(job)
    (tmp_path / CARRIERS.file).write_text("{")
    with pytest.raises(Unusable):
        await kind.refresh()
    await kind.close()


async def test_it_is_asked_with_the_settings_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: TrackSubscriptions
) -> None:
    monkeypatch.setenv("K", "the-key")
    monkeypatch.setenv("S", "our own salt")
    simulator = SimKuaidi100("the-key")
    async with served(simulator) as url:
        with CARRIERS.editing(tmp_path) as services:
            services[:] = [msgspec.structs.replace(each, base_url=url) for each in services]
        await kind.refresh()
        jobs = Watched(kind).given(*taken(), shipped(TWO, Parcel("NOBODY", "N1"))).jobs()
        assert await kind.do(jobs[0]) == ""
        assert simulator.subscribed["T2"].callback_url == f"https://x/tracks/first/{KEY}"
        with pytest.raises(PlatformRefused):
            await kind.do(jobs[1])
        assert not await kind.is_done(jobs[0])
        with CARRIERS.editing(tmp_path) as services:
            services[:] = [msgspec.structs.replace(each, callback_url="https://y") for each in services]
        await kind.refresh()
        del simulator.subscribed["T2"]
        await kind.do(jobs[0])
        assert simulator.subscribed["T2"].callback_url.startswith("https://y/")
        await kind.close()
