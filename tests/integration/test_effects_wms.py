"""A warehouse of others is asked once in effect for what an order holds, whatever breaks on the way."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from adapters.simulators.exchange import Reply, Request
from adapters.simulators.wms import APP_KEY, CUSTOMER, OWNER, SECRET, SimWms, serving
from adapters.storage.sealing import seal
from adapters.storage.vault import SqliteVault
from adapters.wms.settings import FILE, WmsSettings
from domain.canonical import Status
from domain.catalogue import decode_event
from domain.cell import Taken
from domain.ids import RULEBOOK_KEY
from domain.mail import ChannelPayload, Mail
from domain.order import CancelLines, EffectFailed, EffectSucceeded, ResolveInterception, Ship, TakeSnapshot
from domain.payments import RecordPayment
from domain.rulebook import ChangeRules
from domain.stock import AdjustStock, ReceiveStock
from runners import wms_settings
from runners.effects import Effects
from runners.effects_kinds import Kinds, all_kinds
from runners.effects_store import Jobs
from runners.effects_wms import CANCEL, CREATE, WITHDRAWN
from runners.settings import load_settings
from runners.wms_orders import state_of
from tests.audit_log import Story, key_of, open_story, snapshot

MINUTE = 60_000
PERSONAL = {"name": "王小明", "phone": "13812345678", "province": "浙江省", "city": "杭州市", "detail": "文一路 88 号"}


class Mailroom:
    """Brings mail straight to the cell."""

    def __init__(self, story: Story) -> None:
        self._story = story

    async def send(self, mails: Sequence[Mail]) -> list[Any]:
        for mail in mails:
            self._story.send(mail.to, mail.body)
        return []


class Place:
    """A cell whose warehouse A is run by others, with an effects' runner that can die and come back."""

    def __init__(self, directory: Path, story: Story, sim: SimWms, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.story, self.sim = directory, story, sim
        self.late_ms = 0
        monkeypatch.setattr("runners.effects._now_ms", self.now)
        # Its own clock only: the event loop's goes on.
        monkeypatch.setattr("runners.effects.time", SimpleNamespace(monotonic=lambda: self.now() / 1000))
        # The client's own short waits are not what is tested here.
        monkeypatch.setattr("adapters.platforms.http._BACKOFF_S", 0.001)
        (directory / "secret").write_text(SECRET)
        (directory / "secret").chmod(0o600)
        self.settings = WmsSettings("north", url, APP_KEY, CUSTOMER, "file:secret", {"A": "HZ01"}, OWNER)
        wms_settings.save(directory, [self.settings])
        story.personal = msgspec.json.encode({"receiver": PERSONAL})
        self.start()

    def now(self) -> int:
        return self.story.now + self.late_ms

    def start(self) -> None:
        self.jobs = Jobs(self.directory)
        self.kinds = Kinds(self.directory, all_kinds(load_settings(self.directory), self.story.log, self.now))
        self.runner = Effects(self.story.log, self.jobs, self.kinds, Mailroom(self.story))  # type: ignore[arg-type]

    async def stop(self) -> None:
        await self.kinds.close()
        self.jobs.close()

    async def go(self, rounds: int = 1, *, step_ms: int = 10 * MINUTE) -> None:
        for _ in range(rounds):
            await self.runner.refresh()
            while self.runner.follow():
                pass
            self.runner.start_due()
            await self.runner.finish()
            self.late_ms += step_ms

    def ends(self, effect: str, number: int = 1) -> list[EffectSucceeded | EffectFailed]:
        facts = [decode_event(event.tag, event.data) for event in self.events(number)]
        found = [fact for fact in facts if isinstance(fact, EffectSucceeded | EffectFailed)]
        return [fact for fact in found if fact.effect == effect]

    def events(self, number: int = 1) -> Sequence[Any]:
        return self.story.log.select_many((key_of(number),))[key_of(number)].events


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    stories = open_story(tmp_path)
    story = next(stories)
    story.receive("opening")
    sim = SimWms(lambda: story.now, pick_after_s=3600.0)
    async with serving(sim) as url:
        place = Place(tmp_path, story, sim, url, monkeypatch)
        yield place
        await place.stop()
    assert next(stories, None) is None


def hold(
    place: Place, number: int, *holds: str, paid: int | None = None, status: Status = "paid", freight: int = 0
) -> None:
    """Let the platform hold an order, or hold it no longer; `paid` 0 = it is paid on delivery."""
    story, key = place.story, key_of(number)
    view = msgspec.structs.replace(snapshot(number, status, story.now), holds=holds)
    if paid is not None:
        payable = view.amounts.payable + freight
        amounts = msgspec.structs.replace(view.amounts, paid=paid, payable=payable, freight=freight)
        view = msgspec.structs.replace(view, amounts=amounts, paid_at=None)
    data_key = story.vault.keys((key,), create=True)[key]
    command = TakeSnapshot(view, f"digest-{story.now}", "address", "payload", seal(data_key, key, story.personal))
    story.send(key, ChannelPayload("taobao", "shop1", view.order_no), Taken(command))


def code_of_order(number: int, attempt: int = 1) -> str:
    return f"pick-{key_of(number)}/{attempt}"


async def test_a_pick_list_goes_to_the_warehouse_with_the_receiver_opened(place: Place) -> None:
    place.story.take(1, "paid")
    place.story.take(2, "awaiting_payment")
    await place.go(2)
    assert place.sim.created == [code_of_order(1)]
    delivery = place.sim.orders[code_of_order(1)]
    assert (delivery.lines, delivery.warehouse) == ({"SKU1": 2}, "HZ01")
    assert delivery.receiver == {
        "name": "王小明",
        "mobile": "13812345678",
        "province": "浙江省",
        "city": "杭州市",
        "detailAddress": "文一路 88 号",
    }
    (end,) = place.ends(CREATE)
    assert (type(end), end.reference) == (EffectSucceeded, delivery.number)
    assert place.jobs.waiting() == []


async def test_nothing_of_the_receiver_is_in_any_file_or_event_in_the_clear(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.sim.faults.plan(1, "500", "deliveryorder.create")
    place.story.take(1, "paid")
    await place.go(1)
    assert len(place.jobs.waiting()) == 1
    content = b"".join(file.read_bytes() for file in place.directory.rglob("*") if file.is_file())
    said = "".join(capsys.readouterr())
    for value in PERSONAL.values():
        if value not in ("浙江省", "杭州市"):
            assert value.encode() not in content
            assert value not in said
    assert b"deliveryorder" not in content


async def test_a_success_whose_answer_got_lost_is_one_delivery_order(place: Place) -> None:
    place.sim.faults.plan(1, "cut_after", "deliveryorder.create")
    place.story.take(1, "paid")
    await place.go(4)
    assert place.sim.created == [code_of_order(1)]
    assert [each.operation for each in place.sim.requests].count("deliveryorder.create") == 1
    assert isinstance(place.ends(CREATE)[-1], EffectSucceeded)


async def test_a_runner_that_lost_its_notes_asks_before_it_sends(place: Place) -> None:
    place.story.take(1, "paid")
    place.sim.faults.plan(1, "cut_after", "deliveryorder.create")
    await place.go(1, step_ms=1_000)
    await place.stop()
    for file in place.directory.glob("effects.db*"):
        file.unlink()
    place.start()
    await place.go(3)
    assert place.sim.created == [code_of_order(1)]
    assert [each.operation for each in place.sim.requests].count("deliveryorder.create") == 1


async def test_a_warehouse_that_is_down_is_waited_for(place: Place) -> None:
    place.sim.down = True
    for number in range(1, 6):
        place.story.take(number, "paid")
    await place.go(3)
    assert place.sim.created == []
    assert len(place.jobs.waiting()) == 5
    place.sim.down = False
    await place.go(8)
    assert sorted(place.sim.created) == [code_of_order(number) for number in range(1, 6)]
    assert place.jobs.waiting() == []


async def test_what_was_called_off_while_the_warehouse_was_down_is_never_sent(place: Place) -> None:
    place.sim.down = True
    place.story.take(1, "paid")
    await place.go(2)
    place.story.send(key_of(1), CancelLines("c-1", (), "changed their mind"))
    await place.go(2)
    place.sim.down = False
    await place.go(4)
    assert place.sim.created == []
    assert place.ends(CREATE)[-1].reference == WITHDRAWN
    assert place.ends(CANCEL)[-1].reference == "not there"


async def test_what_is_called_off_in_time_is_off(place: Place) -> None:
    place.story.take(1, "paid")
    await place.go(1)
    place.story.send(key_of(1), CancelLines("c-1", (), "changed their mind"))
    await place.go(2)
    assert place.sim.orders[code_of_order(1)].status == "CANCELED"
    assert place.ends(CANCEL)[-1].reference == "cancelled"


async def test_that_it_was_too_late_to_call_off_stands_in_the_order_for_good(place: Place) -> None:
    place.story.take(1, "paid")
    await place.go(1)
    place.sim.orders[code_of_order(1)].status = "PICKED"
    place.story.send(key_of(1), CancelLines("c-1", (), "changed their mind"))
    await place.go(3)
    (end,) = place.ends(CANCEL)
    assert isinstance(end, EffectFailed)
    assert end.final
    assert "too late" in end.reason


async def test_a_late_arrival_of_what_nobody_wants_any_more_is_called_off(place: Place) -> None:
    place.sim.faults.plan(1, "cut_after", "deliveryorder.create")
    place.story.take(1, "paid")
    await place.go(1, step_ms=100)
    place.story.send(key_of(1), CancelLines("c-1", (), "changed their mind"))
    await place.go(4)
    assert place.sim.orders[code_of_order(1)].status == "CANCELED"


async def test_a_smaller_order_takes_the_place_of_the_first(place: Place) -> None:
    place.story.take(1, "paid", quantity=5)
    await place.go(1)
    place.story.send(key_of(1), CancelLines("c-1", (("1-1", 2),), "two less"))
    await place.go(2)
    first, second = place.sim.created
    assert place.sim.orders[first].status == "CANCELED"
    assert (second.startswith(f"{first}."), place.sim.orders[second].lines) == (True, {"SKU1": 3})


@pytest.mark.parametrize("second", [CancelLines("c-2", (("1-1", 1),), "and one"), CancelLines("c-2", (), "nothing")])
async def test_an_order_that_shrinks_twice_at_once_leaves_no_first_one_behind(
    place: Place, second: CancelLines
) -> None:
    place.story.take(1, "paid", quantity=5)
    await place.go(1)
    place.story.send(key_of(1), CancelLines("c-1", (("1-1", 2),), "two less"))
    place.story.send(key_of(1), second)
    await place.go(3)
    active = [order.lines for order in place.sim.orders.values() if order.status != "CANCELED"]
    assert active == ([{"SKU1": 2}] if second.lines else [])


async def test_what_is_picked_keeps_all_later_ones_from_going_out(place: Place) -> None:
    place.story.take(1, "paid", quantity=5)
    await place.go(1)
    place.sim.orders[code_of_order(1)].status = "PICKED"
    for number in (1, 2):
        place.story.send(key_of(1), CancelLines(f"c-{number}", (("1-1", 1),), "one less"))
        await place.go(3)
        stopped = dict(state_of(place.events()).interceptions)
        place.story.send(key_of(1), ResolveInterception(f"r-{number}", next(iter(stopped)), "release"))
        await place.go(3)
    assert place.sim.created == [code_of_order(1)]


async def test_a_smaller_order_does_not_go_out_beside_one_that_is_picked(place: Place) -> None:
    place.story.take(1, "paid", quantity=5)
    await place.go(1)
    place.sim.orders[code_of_order(1)].status = "PICKED"
    place.story.send(key_of(1), CancelLines("c-1", (("1-1", 2),), "two less"))
    await place.go(3)
    assert place.sim.created == [code_of_order(1)]
    assert isinstance(place.ends(CREATE)[-1], EffectFailed)


async def test_an_order_that_is_held_waits_at_home(place: Place) -> None:
    place.sim.down = True
    place.story.take(1, "paid")
    await place.go(1)
    hold(place, 1, "risk")
    place.sim.down = False
    await place.go(3)
    assert place.sim.created == []
    assert not place.ends(CREATE)[-1].final  # type: ignore[union-attr]
    hold(place, 1)
    await place.go(3)
    assert place.sim.created == [code_of_order(1)]


async def test_an_order_without_an_address_is_refused_at_home_with_what_to_do(place: Place) -> None:
    place.story.personal = b'{"receiver":{"name":"Wang"}}'
    place.story.take(1, "paid")
    await place.go(2)
    (end,) = place.ends(CREATE)
    assert isinstance(end, EffectFailed)
    assert (end.final, place.sim.created) == (True, [])
    assert "no address" in end.reason


async def test_a_receiver_that_was_erased_goes_nowhere(place: Place) -> None:
    place.sim.down = True
    place.story.take(1, "paid")
    await place.go(1)
    vault = SqliteVault(place.directory / "keys.db")
    vault.destroy([key_of(1)])
    vault.close()
    place.sim.down = False
    await place.go(3)
    assert place.sim.created == []
    assert "erased" in place.ends(CREATE)[-1].reason  # type: ignore[union-attr]


async def test_a_warehouse_we_pick_ourselves_is_asked_of_nobody(place: Place) -> None:
    wms_settings.save(place.directory, [msgspec.structs.replace(place.settings, warehouses={"B": "HZ01"})])
    place.story.take(1, "paid")
    await place.go(2)
    assert (place.sim.requests, place.jobs.waiting()) == ([], [])


async def test_settings_that_others_can_write_stop_everything_until_they_are_mended(place: Place) -> None:
    (place.directory / FILE).chmod(0o666)
    await place.runner.refresh()
    assert not place.kinds.known


async def test_the_secret_is_read_at_each_call(place: Place) -> None:
    (place.directory / "secret").write_text("wrong")
    place.story.take(1, "paid")
    await place.go(1)
    assert place.sim.created == []
    (place.directory / "secret").write_text(SECRET)
    await place.go(2)
    assert place.sim.created == [code_of_order(1)]


@pytest.fixture
def bodies(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the warehouse is told."""
    bodies: list[bytes] = []
    handle = place.sim._handle

    def overheard(method: str, request: Request) -> Reply:
        bodies.append(request.body)
        return handle(method, request)

    monkeypatch.setattr(place.sim, "_handle", overheard)
    return bodies


def collected(bodies: list[bytes]) -> list[str]:
    created = [body.decode() for body in bodies if b"<deliveryOrder>" in body]
    return [body.partition("<arAmount>")[2].partition("<")[0] for body in created]


def split_among_two(place: Place) -> None:
    """Have one unit of the goods of order 2 in each of two warehouses; the other one is our own."""
    split = 'format = 1\n[[route]]\nid = "both"\nwarehouses = ["A", "B"]\nsplit = "units"\n'
    split += '[[warehouse]]\ncode = "A"\n[[warehouse]]\ncode = "B"\n'
    place.story.send(RULEBOOK_KEY, ChangeRules("r-1", split, "for the test"))
    level = place.story.states["warehouse-A"].state.levels["SKU2"]
    place.story.send("warehouse-A", AdjustStock("less", "SKU2", 1 - level.on_hand, "one is left"))
    place.story.send("warehouse-B", ReceiveStock("b", (("SKU2", 1),)))


async def test_parts_of_an_order_that_is_paid_on_delivery_collect_their_own_shares(
    place: Place, bodies: list[bytes]
) -> None:
    split_among_two(place)
    hold(place, 2, paid=0)
    await place.go(2)
    assert collected(bodies) == ["9.90"], "the other half is collected with the parcel of warehouse B"


async def test_freight_is_collected_with_the_first_part_also_where_another_one_leaves_before_it(
    place: Place, bodies: list[bytes]
) -> None:
    split_among_two(place)
    hold(place, 2, paid=0, freight=500)
    place.story.send(key_of(2), Ship("ship-b", "SF1", "SF", "B"))
    await place.go(2)
    assert collected(bodies) == ["14.90"]


async def test_what_was_cancelled_is_not_collected_on_delivery(place: Place, bodies: list[bytes]) -> None:
    hold(place, 2, "risk_review", paid=0)
    place.story.send(key_of(2), CancelLines("less", (("2-1", 1),), "one is enough"))
    hold(place, 2, paid=0)
    await place.go(2)
    assert collected(bodies) == ["9.90"]


async def test_goods_that_are_paid_on_delivery_say_what_to_collect(place: Place, bodies: list[bytes]) -> None:
    place.story.take(1, "paid")
    hold(place, 2, paid=0)
    await place.go(2)
    assert sorted(collected(bodies)) == ["", "19.80"]
    assert [code_of_order(2) in body.decode() for body in bodies if b"19.80" in body] == [True]


async def test_what_a_payment_service_told_of_is_not_collected_on_delivery(place: Place, bodies: list[bytes]) -> None:
    hold(place, 2, paid=0, status="awaiting_payment")
    place.story.send(key_of(2), RecordPayment("p-1", "T-1", 1980, "CNY", "paid", place.story.now, "wechat"))
    await place.go(2)
    assert code_of_order(2) in place.sim.created
    assert collected(bodies) == [""]
