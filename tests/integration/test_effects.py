"""What we do outside is done once in effect, whatever breaks, and its end stands in the order."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.channels.pos_csv import PosCsv
from adapters.erp.fields import ErpRecord
from adapters.platforms.connection import MissingSecret
from domain.canonical import Translated
from domain.catalogue import decode_event
from domain.cell import Taken
from domain.delivery import ConfirmDelivery, Packed
from domain.ids import RULEBOOK_KEY, order_key, skus_key_of
from domain.mail import ChannelPayload, Mail
from domain.order import CancelLines, EffectFailed, EffectSucceeded, RecordEffect, ScanOut, TakeSnapshot
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused, ShipNotice
from domain.ports import Sliced
from domain.rulebook import ChangeRules
from domain.skus import SetSkus
from domain.stock import AdjustStock, ReceiveStock
from runners.cli import run
from runners.connections import FILE as CONNECTIONS_FILE
from runners.effects import Effects, backoff_s
from runners.effects_erp import ErpRows
from runners.effects_kind import Gone, Kind, NotYet, Unusable
from runners.effects_kinds import Kinds
from runners.effects_ship import ShipNotices
from runners.effects_store import Job, Jobs
from runners.effects_wanted import Looking
from runners.lock import DataLock
from runners.post import NoAnswer
from tests.audit_log import Story, key_of, open_story, snapshot

HOUR = 3_600_000


class Platform(ShipNotices):
    """An outside that remembers what it was told, and errs as it is told to."""

    def __init__(self) -> None:
        super().__init__(Path(), lambda: 0)
        self.told: list[str] = []
        """Keys of notices, in the order in which they took effect."""
        self.calls = 0
        self.script: list[Callable[[ShipNotice], None]] = []
        self.asked: list[Exception] = []
        """How it fails when it is asked."""
        self.notices: list[ShipNotice] = []
        self.sells = True
        self.unread = False
        """Whether nobody can say who is told."""

    async def refresh(self) -> None:
        if self.unread:
            raise Unusable("others can write it")

    def resting(self) -> frozenset[str]:
        return frozenset(() if self.sells or self.unread else {"flagship"})

    def seller_of(self, channel: str, shop: str) -> str | None:
        known = self.sells and not self.unread
        return "flagship" if known and (channel, shop) == ("taobao", "shop1") else None

    async def do(self, job: Job) -> str:
        self.calls += 1
        if not self.sells:
            raise Gone("switched off")
        notice = msgspec.json.decode(job.document, type=ShipNotice)
        if self.script:
            self.script.pop(0)(notice)
        self.took(notice)
        return f"R-{notice.tracking}"

    async def is_done(self, job: Job) -> bool:
        if self.asked:
            raise self.asked.pop(0)
        return msgspec.json.decode(job.document, type=ShipNotice).key in self.told

    def took(self, notice: ShipNotice) -> None:
        assert notice.key not in self.told, "told twice"
        self.told.append(notice.key)
        self.notices.append(notice)


class Mailroom:
    """Brings mail straight to the cell."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.away = 0

    async def send(self, mails: Sequence[Mail]) -> list[Any]:
        for mail in mails:
            if self.away:
                self.away -= 1
                raise NoAnswer("nobody answered")
            self._story.send(mail.to, mail.body)
        return []


class Place:
    """A cell with an effects' runner that can die and come back."""

    def __init__(self, directory: Path, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.story = directory, story
        self.platform, self.mailroom = Platform(), Mailroom(story)
        self.late_ms = 0
        monkeypatch.setattr("runners.effects._now_ms", lambda: story.now + self.late_ms)
        monkeypatch.setattr("runners.effects.time.monotonic", lambda: (story.now + self.late_ms) / 1000)
        self.restart()

    def restart(self, *others: Kind) -> None:
        self.jobs = Jobs(self.directory)
        kinds = Kinds(self.directory, [self.platform, *others])
        self.runner = Effects(self.story.log, self.jobs, kinds, self.mailroom)  # type: ignore[arg-type]

    def settings_change(self) -> None:
        (self.directory / CONNECTIONS_FILE).write_bytes(b"[]\n")

    def ship(self, number: int) -> None:
        self.story.take(number, "paid")
        self.story.send(key_of(number), ScanOut(f"scan-{number}", f"SF{number}", "SF"))

    async def go(self, rounds: int = 1, *, step_ms: int = HOUR) -> None:
        for _ in range(rounds):
            await self.runner.refresh()
            while self.runner.follow():
                pass
            self.runner.start_due()
            await self.runner.finish()
            self.late_ms += step_ms

    def ends(self, number: int) -> list[EffectSucceeded | EffectFailed]:
        events = self.story.log.select_many((key_of(number),))[key_of(number)].events
        facts = [decode_event(event.tag, event.data) for event in events]
        return [fact for fact in facts if isinstance(fact, EffectSucceeded | EffectFailed)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for story in open_story(tmp_path):
        story.receive("opening")
        place = Place(tmp_path, story, monkeypatch)
        yield place
        place.jobs.close()


def fail(error: Exception, *, after: bool = False, platform: Platform | None = None) -> Callable[[ShipNotice], None]:
    def do(notice: ShipNotice) -> None:
        if after:
            assert platform is not None
            platform.took(notice)
        raise error

    return do


async def test_a_parcel_we_sent_is_told_to_its_channel_once(place: Place) -> None:
    place.ship(1)
    place.ship(2)
    await place.go(3)
    assert [notice.order_no for notice in place.platform.notices] == ["10001", "10002"]
    notice = place.platform.notices[0]
    assert (notice.carrier, notice.tracking, notice.whole) == ("SF", "SF1", True)
    assert [(line.line, line.quantity, line.sku) for line in notice.lines] == [("1-1", 2, "SKU1")]
    ended = place.ends(1)
    assert [(type(end), end.reference, end.effect) for end in ended] == [(EffectSucceeded, "R-SF1", "ship_notice")]
    assert place.jobs.waiting() == []


async def test_each_parcel_of_a_split_order_is_told_and_the_last_one_as_the_last(place: Place) -> None:
    split = 'format = 1\n[[route]]\nid = "both"\nwarehouses = ["A", "B"]\nsplit = "units"\n'
    split += '[[warehouse]]\ncode = "A"\n[[warehouse]]\ncode = "B"\n'
    place.story.send(RULEBOOK_KEY, ChangeRules("r-1", split, "for the test"))
    level = place.story.states["warehouse-A"].state.levels["SKU1"]
    place.story.send("warehouse-A", AdjustStock("less", "SKU1", 1 - level.on_hand, "one is left"))
    place.story.send("warehouse-B", ReceiveStock("b", (("SKU1", 1),)))
    place.story.take(1, "paid")
    for number, code in enumerate(("A", "B")):
        place.story.send(key_of(1), ScanOut(f"scan-{code}", f"SF{number}", "SF", code))
    await place.go(3)
    told = [
        (notice.tracking, notice.whole, [line.quantity for line in notice.lines]) for notice in place.platform.notices
    ]
    assert told == [("SF0", False, [1]), ("SF1", True, [1])]


async def test_an_order_is_told_as_whole_when_the_channels_own_lines_have_left_and_gifts_are_not_told(
    place: Place,
) -> None:
    apart = 'format = 1\n[[route]]\nid = "gifts"\nlines = "gift"\nwarehouses = ["B"]\n[[promotion]]\nid = "give"\n'
    apart += 'every = 1\ngift = { sku = "G", units = 1 }\n[[warehouse]]\ncode = "A"\n[[warehouse]]\ncode = "B"\n'
    place.story.send(RULEBOOK_KEY, ChangeRules("r-1", apart, "for the test"))
    place.story.send("warehouse-B", ReceiveStock("b", (("G", 9),)))
    for number, codes in enumerate(("AB", "BA"), 1):
        place.story.take(number, "paid")
        for code in codes:
            place.story.send(key_of(number), ScanOut(f"scan-{number}{code}", f"{code}{number}", "SF", code))
    await place.go(3)
    assert [(notice.tracking, notice.whole) for notice in place.platform.notices] == [("A1", True), ("A2", True)]


async def test_units_that_we_cancelled_are_not_told_as_sent(place: Place) -> None:
    place.story.take(1, "paid")
    place.story.send(key_of(1), CancelLines("less", (("1-1", 1),), "one is enough"))
    place.story.send(key_of(1), ScanOut("scan-1", "SF1", "SF"))
    await place.go(2)
    (notice,) = place.platform.notices
    assert [(line.line, line.quantity) for line in notice.lines] == [("1-1", 1)]


def confirm_in_two_parcels(place: Place) -> None:
    """Let the warehouse say that the three units of order 1 left, one in SF1 and two in SF2."""
    (allocation,) = place.story.states[key_of(1)].state.allocations
    parcels = tuple(Packed("SF", f"SF{units}", (("SKU1", units),)) for units in (1, 2))
    done = ConfirmDelivery("w-1", f"pick-{allocation.id}", allocation.id, parcels, (("SKU1", 3),))
    place.story.send(key_of(1), done)


async def test_each_parcel_that_a_warehouse_packed_is_told_with_the_units_in_it(place: Place) -> None:
    place.story.take(1, "paid", quantity=3)
    confirm_in_two_parcels(place)
    await place.go(3)
    told = [
        (notice.tracking, notice.whole, [line.quantity for line in notice.lines]) for notice in place.platform.notices
    ]
    assert told == [("SF1", False, [1]), ("SF2", True, [2])]


async def test_the_units_in_a_parcel_are_told_also_of_a_line_whose_sku_people_entered(place: Place) -> None:
    key, seen = key_of(1), snapshot(1, "paid", place.story.now, 3)
    seen = msgspec.structs.replace(seen, lines=tuple(msgspec.structs.replace(line, sku="") for line in seen.lines))
    taken = Taken(TakeSnapshot(seen, "digest", "address", "payload", b""))
    place.story.send(key, ChannelPayload("taobao", "shop1", seen.order_no), taken)
    place.story.send(skus_key_of(key), SetSkus("s-1", (("item", "SKU1"),)))
    confirm_in_two_parcels(place)
    await place.go(3)
    assert [[line.quantity for line in notice.lines] for notice in place.platform.notices] == [[1], [2]]


async def test_a_parcel_is_not_told_before_one_that_left_earlier(place: Place) -> None:
    """Some platforms take none after the last: told first, it would keep the others from the customer."""
    place.story.take(1, "paid", quantity=3)
    confirm_in_two_parcels(place)
    place.ship(2)
    place.platform.script = [fail(OutcomeUnknown("no answer"))]
    await place.go(5)
    assert [notice.tracking for notice in place.platform.notices] == ["SF2", "SF1", "SF2"]
    assert [notice.order_no for notice in place.platform.notices] == ["10002", "10001", "10001"]


async def test_what_the_channel_said_itself_is_not_told_back(place: Place) -> None:
    place.story.take(1, "paid")
    place.story.take(1, "shipped")
    await place.go(2)
    assert place.platform.calls == 0


async def test_an_order_of_a_shop_nobody_is_connected_to_asks_for_nothing(place: Place) -> None:
    place.platform.sells = False
    place.ship(1)
    await place.go(2)
    assert place.jobs.waiting() == []
    assert place.ends(1) == []


async def test_a_shop_that_was_switched_off_hears_of_the_parcels_of_that_time_once_it_is_on(place: Place) -> None:
    """A restored copy has all shops switched off, and may have parcels of which nobody had been told yet."""
    place.ship(1)
    await place.go(2)
    place.platform.sells = False
    place.settings_change()
    await place.go(1)
    place.ship(2)
    await place.go(1)
    place.restart()
    await place.go(1)
    assert place.jobs.waiting() == []
    place.platform.sells = True
    (place.directory / CONNECTIONS_FILE).unlink()
    await place.go(2)
    assert [notice.order_no for notice in place.platform.notices] == ["10001", "10002"]
    assert [len(place.ends(number)) for number in (1, 2)] == [1, 1]


async def test_what_was_to_be_told_when_a_shop_was_switched_off_is_told_however_long_that_lasts(place: Place) -> None:
    place.platform.script = [fail(PlatformBusy("later"))] * 3
    place.ship(1)
    await place.go(1)
    place.platform.sells = False
    place.settings_change()
    await place.go(20, step_ms=12 * HOUR)
    assert (place.platform.calls, len(place.ends(1))) == (1, 1), "the first failure was told, and no end"
    place.platform.sells = True
    (place.directory / CONNECTIONS_FILE).unlink()
    await place.go(8)
    assert [notice.order_no for notice in place.platform.notices] == ["10001"]
    assert isinstance(place.ends(1)[-1], EffectSucceeded)


async def test_it_hears_of_them_also_where_the_settings_could_not_be_read_at_the_start(place: Place) -> None:
    place.platform.sells = False
    await place.go(1)
    place.ship(1)
    await place.go(1)
    place.platform.unread = True
    place.restart(ErpRows(place.directory))
    await place.runner.refresh()
    place.platform.unread, place.platform.sells = False, True
    place.settings_change()
    await place.go(2)
    assert [notice.order_no for notice in place.platform.notices] == ["10001"]


async def test_what_a_person_lets_be_told_again_stays_to_be_told_when_a_shop_is_switched_on(place: Place) -> None:
    place.platform.script = [fail(PlatformRefused("unknown carrier"))]
    place.ship(1)
    await place.go(2)
    (failed,) = place.jobs.given_up()
    again = Job(failed.key, failed.effect, "flagship", failed.stream, b"{}", place.story.now, 1 << 60)
    place.jobs.again(again)
    place.jobs.rest("ship_notice", ["flagship"], [], place.story.now)
    place.settings_change()
    await place.go(1)
    assert [job.key for job in place.jobs.waiting()] == [failed.key]


async def test_a_busy_platform_is_waited_for_and_told_once(place: Place) -> None:
    place.platform.script = [fail(PlatformBusy("later", retry_after_s=5))] * 3
    place.ship(1)
    await place.go(6)
    assert len(place.platform.told) == 1
    first, last = place.ends(1)
    assert isinstance(first, EffectFailed)
    assert not first.final
    assert isinstance(last, EffectSucceeded)


async def test_a_refusal_ends_it_and_stands_in_the_order(place: Place) -> None:
    place.platform.script = [fail(PlatformRefused("unknown carrier", "add the option carrier.SF"))]
    place.ship(1)
    await place.go(4)
    (end,) = place.ends(1)
    assert isinstance(end, EffectFailed)
    assert end.final
    assert "carrier.SF" in end.reason
    assert place.platform.calls == 1
    assert place.jobs.waiting() == []


async def test_a_success_whose_answer_got_lost_is_asked_about_not_repeated(place: Place) -> None:
    place.platform.script = [fail(OutcomeUnknown("cut off"), after=True, platform=place.platform)]
    place.ship(1)
    await place.go(4)
    assert len(place.platform.told) == 1
    assert place.platform.calls == 1
    assert isinstance(place.ends(1)[-1], EffectSucceeded)


@pytest.mark.parametrize(
    "trouble", [PlatformBusy("later"), NotAuthorised("expired"), MissingSecret("no key"), Gone("gone"), ValueError("?")]
)
async def test_a_doubt_outlasts_whatever_keeps_us_from_asking(place: Place, trouble: Exception) -> None:
    place.platform.script = [fail(OutcomeUnknown("cut off"), after=True, platform=place.platform)]
    place.platform.asked = [trouble]
    place.ship(1)
    await place.go(4)
    assert place.platform.asked == []
    assert place.platform.calls == 1, "it was told, and must not be told again"
    assert isinstance(place.ends(1)[-1], EffectSucceeded)


async def test_an_answer_that_breaks_an_adapter_is_asked_about(place: Place) -> None:
    place.platform.script = [fail(ValueError("no number"), after=True, platform=place.platform)]
    place.ship(1)
    await place.go(4)
    assert place.platform.calls == 1
    assert isinstance(place.ends(1)[-1], EffectSucceeded)


async def test_an_answer_that_cannot_be_read_keeps_out_no_other_act(place: Place) -> None:
    def unreadable(notice: ShipNotice) -> None:
        if notice.order_no == "10001":
            raise ValueError("no number")

    place.platform.script = [unreadable] * 100
    place.ship(1)
    await place.go(1, step_ms=1_000)
    place.ship(2)
    place.ship(3)
    await place.go(2, step_ms=1_000)
    assert [notice.order_no for notice in place.platform.notices] == ["10002", "10003"]
    assert place.platform.calls == 3, "the one that puzzles waits its five minutes"


async def test_a_wrong_option_shuts_its_target_with_the_second_act(place: Place) -> None:
    place.platform.script = [fail(ValueError("the option must be true or false"))] * 100
    place.ship(1)
    await place.go(1, step_ms=1_000)
    place.ship(2)
    await place.go(1, step_ms=1_000)
    place.ship(3)
    await place.go(5, step_ms=1_000)
    assert place.platform.calls == 2
    place.platform.script = []
    place.settings_change()
    await place.go(1, step_ms=1_000)
    assert [notice.order_no for notice in place.platform.notices] == ["10003"]


async def test_what_a_lost_file_had_under_way_is_asked_about(place: Place) -> None:
    place.platform.script = [fail(OutcomeUnknown("cut off"), after=True, platform=place.platform)]
    place.ship(1)
    await place.go(1, step_ms=1_000)
    place.jobs.close()
    for file in place.directory.glob("effects.db*"):
        file.unlink()
    place.restart()
    await place.go(3, step_ms=1_000)
    assert place.platform.calls == 1
    assert isinstance(place.ends(1)[-1], EffectSucceeded)


async def test_an_unknown_outcome_that_was_none_is_tried_again(place: Place) -> None:
    place.platform.script = [fail(OutcomeUnknown("cut off"))]
    place.ship(1)
    await place.go(4)
    assert len(place.platform.told) == 1
    assert place.platform.calls == 2


async def test_an_outcome_nobody_can_find_out_is_given_up_in_the_end(place: Place) -> None:
    place.platform.script = [fail(OutcomeUnknown("cut off"))] * 100
    place.ship(1)
    await place.go(40)
    end = place.ends(1)[-1]
    assert isinstance(end, EffectFailed)
    assert end.final
    assert "given up after 12 tries" in end.reason
    assert place.platform.calls == 12


def book(**says: str) -> ChangeRules:
    rows = "\n".join(f"{key} = {value}" for key, value in says.items())
    return ChangeRules("r-1", f'format = 1\n[[act]]\nid = "notices"\neffect = "ship_notice"\n{rows}\n', "for the test")


@pytest.mark.parametrize("trouble", [OutcomeUnknown("cut off"), PlatformBusy("later")])
async def test_the_rule_book_says_how_often_an_act_is_tried_and_what_its_failure_leads_to(
    place: Place, trouble: Exception
) -> None:
    place.story.send(RULEBOOK_KEY, book(tries="3", then='"intercept"'))
    place.platform.script = [fail(trouble)] * 100
    place.ship(1)
    await place.go(12)
    assert place.platform.calls == 3
    end = place.ends(1)[-1]
    assert isinstance(end, EffectFailed)
    assert "given up after 3 tries" in end.reason
    assert [reason for _, reason in place.story.states[key_of(1)].state.interceptions] == ["effect_failed"]


async def test_an_act_that_takes_longer_than_the_rule_book_leaves_it_is_asked_about(place: Place) -> None:
    place.platform.script = [fail(TimeoutError(), after=True, platform=place.platform)]
    place.ship(1)
    await place.go(4)
    assert place.platform.calls == 1, "it was done, and is not done again"
    assert isinstance(place.ends(1)[-1], EffectSucceeded)


def test_the_first_wait_is_the_rule_books_and_it_doubles() -> None:
    waits = [max(backoff_s(failures, 30.0) for _ in range(50)) for failures in (1, 2, 9)]
    assert 15 <= waits[0] <= 30 < waits[1] <= 60 < waits[2] <= 900


async def test_keys_that_do_not_fit_wait_for_new_ones_and_hold_up_nobody_for_good(place: Place) -> None:
    place.platform.script = [fail(NotAuthorised("expired", "authorise anew"))]
    place.ship(1)
    place.ship(2)
    await place.go(1, step_ms=1_000)
    calls = place.platform.calls
    await place.go(3, step_ms=1_000)
    assert place.platform.calls == calls, "shut until the settings change"
    place.settings_change()
    place.late_ms += 400_000
    await place.go(3, step_ms=400_000)
    assert len(place.platform.told) == 2


async def test_a_crash_between_the_act_and_its_record_does_not_repeat_it(place: Place) -> None:
    place.ship(1)
    place.mailroom.away = 1
    await place.go(1)
    assert len(place.platform.told) == 1
    assert place.ends(1) == []
    place.jobs.close()
    place.restart()
    await place.go(3)
    assert place.platform.calls == 1
    assert len(place.ends(1)) == 1


async def test_a_crash_in_the_middle_of_the_act_is_asked_about(place: Place) -> None:
    class Killed(BaseException):
        pass

    def die(notice: ShipNotice) -> None:
        place.platform.took(notice)
        raise Killed

    place.platform.script = [die]
    place.ship(1)
    with pytest.raises(Killed):
        await place.go(1)
    place.jobs.close()
    place.restart()
    await place.go(3)
    assert len(place.platform.told) == 1
    assert isinstance(place.ends(1)[-1], EffectSucceeded)


async def test_a_lost_file_is_made_again_from_the_log_and_nothing_is_told_twice(place: Place) -> None:
    for number in range(1, 5):
        place.ship(number)
    await place.go(2, step_ms=1_000)
    place.ship(5)
    place.jobs.close()
    for file in place.directory.glob("effects.db*"):
        file.unlink()
    place.restart()
    await place.go(3, step_ms=1_000)
    assert len(place.platform.told) == 5
    assert [len(place.ends(number)) for number in range(1, 6)] == [1] * 5


async def test_old_events_are_told_to_nobody(place: Place) -> None:
    place.ship(1)
    place.late_ms = 8 * 24 * HOUR
    await place.go(2)
    assert place.platform.calls == 0


async def test_what_is_learnt_of_after_days_is_waited_for_as_long_as_what_is_new(place: Place) -> None:
    place.ship(1)
    place.late_ms = 5 * 24 * HOUR
    place.platform.asked = [PlatformBusy("later")]
    place.platform.script = [fail(PlatformBusy("later"))]
    await place.go(3)
    assert [notice.order_no for notice in place.platform.notices] == ["10001"]


async def test_what_is_held_up_at_home_is_not_given_up_and_has_all_its_time_afterwards(place: Place) -> None:
    place.platform.script = [fail(NotYet("the order is held"))] * 5 + [fail(PlatformBusy("later"))]
    place.ship(1)
    await place.go(8, step_ms=24 * HOUR)
    assert [notice.order_no for notice in place.platform.notices] == ["10001"]
    assert [type(end) for end in place.ends(1)][-1] is EffectSucceeded


async def test_a_report_of_the_runner_is_the_orders_own_event(place: Place) -> None:
    place.ship(1)
    await place.go(1)
    report = RecordEffect("again", "ship_notice", f"{key_of(1)}@{_shipped(place)}", "succeeded", "R-other")
    place.story.send(key_of(1), report)
    assert len(place.ends(1)) == 1, "a repeat adds nothing"


def _shipped(place: Place) -> int:
    events = place.story.log.select_many((key_of(1),))[key_of(1)].events
    return next(event.version for event in events if event.tag == "order.shipped")


async def test_one_target_that_is_down_does_not_stop_the_log_from_being_followed(place: Place) -> None:
    place.platform.script = [fail(PlatformBusy("down"))] * 1_000
    for number in range(1, 6):
        place.ship(number)
    await place.go(3, step_ms=100)
    assert place.platform.calls <= 5, "a target that is down is tried with single acts"
    assert len(place.jobs.waiting()) == 5
    await asyncio.sleep(0)


class Erp(ErpRows):
    """An ERP of which only is known what it hears."""

    def __init__(self, hears: set[str]) -> None:
        super().__init__(Path())
        self._hears = frozenset(hears)

    def tells(self) -> frozenset[str]:
        return self._hears


def sold(place: Place, hears: set[str], *rows: str) -> Sequence[ErpRecord]:
    """A till's file comes in; what the ERP is to be told of it."""
    raw = "\n".join(("小票号,门店编号,销售时间,行号,货号,数量,金额,状态", *rows)).encode()
    (piece,) = TILL.identify(raw, "")
    assert isinstance(piece, Sliced)
    found = TILL.translate(piece.raw, piece.shop)
    assert isinstance(found, Translated)
    key = order_key("pos", piece.shop, piece.order_no)
    view = TakeSnapshot(found.snapshot, sha256(piece.raw).hexdigest(), "", "", b"")
    before = place.story.log.tracked().head
    place.story.send(key, ChannelPayload("pos", piece.shop, piece.order_no), Taken(view))
    return heard(place, hears, before)


def heard(place: Place, hears: set[str], after: int = 0) -> Sequence[ErpRecord]:
    """What the ERP is to be told of what happened after a position."""
    wanted = Looking(place.story.log, [Erp(hears)]).look(place.story.log.read(after, 100), place.story.now)
    return [msgspec.json.decode(job.document, type=ErpRecord) for job in wanted.begun]


TILL = PosCsv()
ROWS = ["7,S1,2026-02-02 10:00:00,1,A,1,10.00,", "7,S1,2026-02-02 10:00:00,2,B,1,20.00,"]


@pytest.mark.parametrize(
    ("hears", "first", "second"),
    [
        ({"completed", "cancelled"}, ["completed"], ["completed"]),
        ({"paid", "shipped", "cancelled"}, ["paid", "shipped"], ["shipped"]),
        ({"cancelled"}, [], []),
        (set(), [], []),
    ],
)
async def test_goods_that_a_later_export_adds_to_a_counter_sale_are_told_to_the_erp(
    place: Place, hears: set[str], first: list[str], second: list[str]
) -> None:
    assert [each.status for each in sold(place, hears, ROWS[0])] == first
    told = sold(place, hears, *ROWS)
    assert [each.status for each in told] == second
    assert all([line.amount for line in each.lines] == [1000, 2000] for each in told)
    assert sold(place, hears, *ROWS) == [], "the same again is no change"
    assert sold(place, hears, ROWS[0]) == [], "and a smaller view is an old one"


async def test_the_erp_is_not_told_that_cancelled_units_were_shipped(place: Place) -> None:
    place.story.take(1, "paid", quantity=3)
    place.story.send(key_of(1), CancelLines("less", (("1-1", 1),), "two are enough"))
    place.story.send(key_of(1), ScanOut("scan-1", "SF1", "SF"))
    told = [
        (each.status, line.quantity, line.amount) for each in heard(place, {"paid", "shipped"}) for line in each.lines
    ]
    assert told == [("paid", 3, 2_970), ("shipped", 2, 1_980)]


async def test_a_counter_sale_that_is_voided_is_told_as_cancelled_only(place: Place) -> None:
    hears = {"completed", "cancelled"}
    sold(place, hears, *ROWS)
    assert [each.status for each in sold(place, hears, *(row + "作废" for row in ROWS))] == ["cancelled"]


async def test_what_was_refused_is_told_again_when_a_person_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.platform.script = [fail(PlatformRefused("unknown carrier"))]
    place.ship(1)
    place.ship(2)
    await place.go(2)
    assert isinstance(place.ends(1)[-1], EffectFailed)
    monkeypatch.setattr("runners.effects_ship.ShipNotices.seller_of", lambda *_: "flagship")
    with DataLock(place.directory):  # says whose the directory is
        data = ["--data", str(place.directory), "--json"]
    assert await asyncio.to_thread(run, ["effects", "list", *data]) == 0
    listed = msgspec.json.decode(capsys.readouterr().out)
    assert [each["reason"] for each in listed["given_up"]] == ["unknown carrier"]
    assert listed["waiting"] == []
    assert await asyncio.to_thread(run, ["effects", "retry", "taobao:shop1:10001", *data]) == 0
    (asked,) = msgspec.json.decode(capsys.readouterr().out)
    assert (asked["effect"], asked["target"]) == ("ship_notice", "flagship")
    assert await asyncio.to_thread(run, ["effects", "retry", "taobao:shop1:10002", *data]) == 1, "it was told"
    place.late_ms = 400 * 24 * HOUR  # the command goes by the real clock
    await place.go(2)
    assert len(place.platform.told) == 2
    assert isinstance(place.ends(1)[-1], EffectSucceeded)
