"""What happened is told to people once for each event and receiver, whatever breaks, and its end is recorded."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from adapters.notify.receivers import Receiver
from adapters.storage.sealing import payload_digest, seal
from adapters.storage.vault import SqliteVault
from domain import order
from domain.catalogue import decode_event
from domain.cell import Taken, Untranslatable
from domain.cellular import CellEffectFailed, CellEffectSucceeded, NoteMailLost
from domain.ids import CELL_KEY, RULEBOOK_KEY
from domain.mail import ChannelPayload
from domain.notices import DEFAULT_RULES, Note, NoticeRule
from domain.order import EffectFailed, EffectSucceeded, ScanOut
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused
from domain.ports import Payload
from domain.rulebook import ChangeRules
from runners.effects import Effects
from runners.effects_kinds import Kinds
from runners.effects_notes import Notes
from runners.effects_rules import BookRules
from runners.effects_store import Jobs
from runners.receivers import editing
from runners.settings import load_settings
from tests.audit_log import Story, key_of, open_story, snapshot
from tests.integration.test_effects import Mailroom

MINUTE = 60_000
SHORT = 6
"""Number of an order whose goods were never received."""
ROBOT = Receiver("operations", "dingtalk", secrets={"url": "env:UNUSED"})
KEEPER = Receiver("keeper", "webhook", url="http://127.0.0.1:9/", secrets={"sign": "env:UNUSED"})
SMS = {"options": {"access_key_id": "a", "sign_name": "s"}, "secrets": {"access_key_secret": "env:UNUSED"}}
CUSTOMER = msgspec.convert({"name": "customer", "kind": "sms", "templates": {"*": {"code": "SMS_1"}}, **SMS}, Receiver)
SHIPPED = NoticeRule("shipped", frozenset({"order.shipped"}), ("customer",), "已发货 {order_no}", "{tracking}")


class Way:
    """A receiver that remembers what arrived, and errs as it is told to."""

    def __init__(self) -> None:
        self.arrived: list[tuple[Note, tuple[str, ...]]] = []
        self.script: list[Callable[[Note], None]] = []
        self.calls = 0
        self.can_say = True
        """Whether it can be asked what arrived; a robot cannot."""

    async def send(self, note: Note, numbers: Sequence[str] = ()) -> str:
        self.calls += 1
        if self.script:
            self.script.pop(0)(note)
        self.arrived.append((note, tuple(numbers)))
        return "r-1"

    async def knows(self, note: Note, tried_ms: int, numbers: Sequence[str] = ()) -> bool | None:
        del tried_ms, numbers
        return note.key in {each.key for each, _ in self.arrived} if self.can_say else None

    async def close(self) -> None:
        pass

    def lose(self, note: Note) -> None:
        """Take it, and let no answer come."""
        self.arrived.append((note, ()))
        raise OutcomeUnknown("no answer from the robot")

    @property
    def rules(self) -> list[str]:
        return [note.rule for note, _ in self.arrived]


class Place:
    """A cell whose events are told, by a runner that can die and come back."""

    def __init__(self, directory: Path, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.story = directory, story
        self.ways: dict[str, Way] = {}
        self.rules: tuple[NoticeRule, ...] = DEFAULT_RULES
        self.mailroom = Mailroom(story)
        self.late_ms = 0
        monkeypatch.setattr("runners.effects._now_ms", lambda: story.now + self.late_ms)
        monkeypatch.setattr("runners.effects.time.monotonic", lambda: (story.now + self.late_ms) / 1000)
        monkeypatch.setattr("runners.effects_notes.notifier", lambda receiver, *_: self.way(receiver.name))
        self.restart()

    def way(self, name: str) -> Way:
        way = self.ways.setdefault(name, Way())
        way.can_say = name in ("customer", "keeper")
        return way

    def know(self, *receivers: Receiver) -> None:
        with editing(self.directory) as told:
            told.receivers = list(receivers)

    def restart(self) -> None:
        self.jobs = Jobs(self.directory)
        settings = load_settings(self.directory)
        notes = Notes(settings, self.story.log, lambda: self.story.now + self.late_ms, self if self.rules else None)
        kinds = Kinds(self.directory, [notes])
        self.runner = Effects(self.story.log, self.jobs, kinds, self.mailroom)  # type: ignore[arg-type]

    def tags(self) -> frozenset[str]:
        return frozenset[str]().union(*(rule.on for rule in self.rules))

    def at(self, position: int) -> Sequence[NoticeRule]:
        assert position
        return self.rules

    async def go(self, rounds: int = 1, *, step_ms: int = 10 * MINUTE) -> None:
        for _ in range(rounds):
            await self.runner.refresh()
            while self.runner.follow():
                pass
            self.runner.start_due()
            await self.runner.finish()
            self.late_ms += step_ms

    def ends(self, stream: str) -> list[Any]:
        facts = [decode_event(each.tag, each.data) for each in self.story.log.select_many((stream,))[stream].events]
        return [fact for fact in facts if isinstance(fact, EffectSucceeded | EffectFailed)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for story in open_story(tmp_path):
        story.receive("opening")
        place = Place(tmp_path, story, monkeypatch)
        place.know(ROBOT)
        yield place
        place.jobs.close()


def fail(error: Exception) -> Callable[[Note], None]:
    def do(note: Note) -> None:
        del note
        raise error

    return do


async def test_a_stopped_order_is_told_once_to_the_role_that_must_act_with_advice(place: Place) -> None:
    place.story.take(SHORT, "paid")
    await place.go(3)
    ((note, numbers),) = place.way("operations").arrived
    assert numbers == ()
    assert "10006" in note.title
    assert "stock_short" in note.title
    assert "advice: receive or move stock" in note.text
    (end,) = place.ends(key_of(SHORT))
    assert isinstance(end, EffectSucceeded)
    assert (end.effect, end.reference) == ("notify", "r-1")
    assert end.key.endswith("/operations")
    assert place.jobs.waiting() == []


async def test_the_rule_book_says_who_is_told_from_its_place_in_the_log_on(place: Place) -> None:
    place.rules = ()
    place.restart()
    place.know(ROBOT, KEEPER)
    text = (
        'format = 1\n[[notify]]\nid = "intercepted"\non = ["order.intercepted"]\nwhen = "payable >= CNY(10)"\n'
        'to = ["keeper"]\n'
        'title = "{order_no} {label}"\ntext = "{payable} {currency} {advice}"\n'
    )
    place.story.take(SHORT, "paid")
    place.story.send(RULEBOOK_KEY, ChangeRules("c-1", text, "the keeper asked for it"))
    place.story.take(SHORT + 7, "paid")
    await place.go(2)
    assert [note.title for note, _ in place.way("operations").arrived] == [
        "订单拦截 Order stopped: 10006 (stock_short)"
    ]
    ((note, _),) = place.way("keeper").arrived
    assert note.title.startswith("10013 ")
    assert note.text.startswith("19.80 CNY receive or move stock")


async def test_the_rule_book_is_read_once_for_many_events(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """All the books there ever were are read: for each event that would be a little longer with each change."""
    for number in range(1, 6):
        place.story.take(number, "paid")
    rules = BookRules(place.story.log)
    looks = Mock(wraps=place.story.log.select_many)
    monkeypatch.setattr(place.story.log, "select_many", looks)
    assert rules.tags()
    for position in range(1, place.story.log.tracked().head + 1):
        assert rules.at(position)
    assert looks.call_count == 1
    place.story.send(RULEBOOK_KEY, ChangeRules("c-1", "format = 1\n", "nothing of its own"))
    looks.reset_mock()
    assert rules.at(place.story.log.tracked().head)
    assert looks.call_count == 1


async def test_the_keeper_hears_of_a_pick_list(place: Place) -> None:
    place.know(ROBOT, KEEPER)
    place.story.take(1, "paid")
    await place.go(2)
    ((note, _),) = place.way("keeper").arrived
    assert note.rule == "pick-list"
    assert "SKU1×2" in note.text
    assert place.way("operations").arrived == []


async def test_without_receivers_nothing_is_asked_for_and_nothing_is_caught_up(place: Place) -> None:
    place.know()
    place.story.take(SHORT, "paid")
    await place.go(2)
    place.know(ROBOT)
    await place.go(2)
    assert place.way("operations").arrived == []
    assert place.ends(key_of(SHORT)) == []


async def test_a_receiver_may_stand_for_a_role(place: Place) -> None:
    place.know(msgspec.structs.replace(ROBOT, name="everybody", roles=("operations", "service")))
    place.story.take(SHORT, "paid")
    await place.go(2)
    assert place.way("everybody").rules == ["intercepted"]


async def test_other_rules_do_not_tell_an_event_anew(place: Place) -> None:
    place.story.take(SHORT, "paid")
    await place.go(1, step_ms=1_000)
    place.rules = (NoticeRule("other", frozenset({"order.intercepted"}), ("operations",), "x", ""),)
    place.jobs.close()
    for file in place.directory.glob("effects.db*"):
        file.unlink()
    place.restart()
    await place.go(3, step_ms=1_000)
    assert place.way("operations").rules == ["intercepted"]


async def test_a_robots_unknown_outcome_is_not_sent_twice_but_told_as_unknown(place: Place) -> None:
    place.way("operations").script = [place.way("operations").lose]
    place.story.take(SHORT, "paid")
    await place.go(5)
    first, *_ = place.ends(key_of(SHORT))
    assert isinstance(first, EffectFailed)
    assert first.final
    assert "may have arrived" in first.reason
    assert place.way("operations").rules == ["intercepted", "effect-failed"], "and people are told that it is unknown"


async def test_a_note_about_a_note_that_fails_leads_to_no_further_one(place: Place) -> None:
    way = place.way("operations")
    way.script = [fail(PlatformRefused("no"))] * 50
    place.story.take(SHORT, "paid")
    await place.go(10)
    assert way.calls == 2
    assert [given.key.partition("@")[0] for given in place.jobs.given_up()] == [key_of(SHORT)] * 2


async def test_a_crash_while_a_robot_is_told_does_not_tell_it_twice(place: Place) -> None:
    class Killed(BaseException):
        pass

    def die(note: Note) -> None:
        place.way("operations").arrived.append((note, ()))
        raise Killed

    place.way("operations").script = [die]
    place.story.take(SHORT, "paid")
    with pytest.raises(Killed):
        await place.go(1)
    place.jobs.close()
    place.restart()
    await place.go(3)
    assert place.way("operations").rules.count("intercepted") == 1
    assert isinstance(place.ends(key_of(SHORT))[0], EffectFailed)


async def test_a_crash_between_sending_and_recording_does_not_tell_twice(place: Place) -> None:
    place.mailroom.away = 1
    place.story.take(SHORT, "paid")
    await place.go(1)
    assert place.ends(key_of(SHORT)) == []
    place.jobs.close()
    place.restart()
    await place.go(3)
    assert place.way("operations").rules == ["intercepted"]
    assert [type(end) for end in place.ends(key_of(SHORT))] == [EffectSucceeded]


async def test_an_sms_whose_answer_got_lost_is_asked_about_later_and_sent_once(place: Place) -> None:
    place.know(CUSTOMER)
    place.rules = (SHIPPED,)
    way = place.way("customer")
    way.script = [way.lose]
    ship(place, 1, b'{"receiver":{"phone":"138 0000 0001"}}')
    await place.go(1, step_ms=0)
    place.late_ms += 60_000
    await place.go(1, step_ms=0)
    assert [type(end) for end in place.ends(key_of(1))] == [EffectFailed], "not asked yet: it would not be listed"
    await place.go(3)
    assert way.calls == 1
    assert isinstance(place.ends(key_of(1))[-1], EffectSucceeded)


async def test_a_customers_number_is_opened_when_it_is_needed_and_kept_nowhere(place: Place) -> None:
    place.know(CUSTOMER)
    place.rules = (SHIPPED,)
    ship(place, 1, b'{"receiver":{"name":"Wang","phone":"138-0000-0001"}}')
    await place.go(1)
    ((note, numbers),) = place.way("customer").arrived
    assert numbers == ("13800000001",)
    assert "SF1" in note.text
    place.mailroom.away = 0
    for file in place.directory.glob("effects.db*"):
        assert b"13800000001" not in file.read_bytes()
    assert all(b"13800000001" not in each.data for each in place.story.log.read(0, 1_000))


@pytest.mark.parametrize(
    ("half", "says"),
    [
        (b'{"receiver":{"phone":"138****0001"}}', "no whole phone number"),
        (b'{"receiver":{"name":"Wang"}}', "no whole phone number"),
    ],
)
async def test_a_number_that_a_channel_masks_ends_the_note_with_its_reason(
    place: Place, half: bytes, says: str
) -> None:
    place.know(CUSTOMER)
    place.rules = (SHIPPED,)
    ship(place, 1, half)
    await place.go(2)
    (end,) = place.ends(key_of(1))
    assert isinstance(end, EffectFailed)
    assert says in end.reason
    assert "138" not in end.reason
    assert place.way("customer").calls == 0


async def test_a_person_who_was_forgotten_gets_no_sms(place: Place) -> None:
    place.know(CUSTOMER)
    place.rules = (SHIPPED,)
    ship(place, 1, b'{"receiver":{"phone":"13800000001"}}')
    vault = place.story.vault
    assert isinstance(vault, SqliteVault)
    vault.destroy([key_of(1)])
    await place.go(2)
    (end,) = place.ends(key_of(1))
    assert isinstance(end, EffectFailed)
    assert "erased" in end.reason
    assert place.way("customer").calls == 0


async def test_an_order_of_which_nothing_could_be_read_is_told_of(place: Place) -> None:
    key = key_of(1)
    failed = Untranslatable("no such status", "status", "correct the mapping", "00ff")
    place.story.send(key, ChannelPayload("taobao", "shop1", "10001"), failed)
    await place.go(2)
    ((note, _),) = place.way("operations").arrived
    assert note.rule == "quarantined"
    assert "advice: correct the mapping" in note.text
    assert isinstance(place.ends(key)[-1], EffectSucceeded)


async def test_what_befell_the_cell_is_told_and_recorded_in_the_cell(place: Place) -> None:
    place.story.send(CELL_KEY, NoteMailLost(5, 9))  # type: ignore[arg-type]
    place.way("operations").script = [fail(PlatformBusy("later"))]
    await place.go(3)
    ((note, _),) = place.way("operations").arrived
    assert "5 to 9" in note.text
    assert "reconcile" in note.text
    assert [type(end) for end in place.ends(CELL_KEY)] == [CellEffectFailed, CellEffectSucceeded]
    place.jobs.close()
    for file in place.directory.glob("effects.db*"):
        file.unlink()
    place.restart()
    await place.go(2, step_ms=1)
    assert len(place.way("operations").arrived) == 1


async def test_keys_that_do_not_fit_are_waited_for_and_old_news_is_given_up(place: Place) -> None:
    place.way("operations").script = [fail(NotAuthorised("no such robot"))] * 1_000
    place.story.take(SHORT, "paid")
    await place.go(30, step_ms=60 * MINUTE)
    first, *_, last = [end for end in place.ends(key_of(SHORT)) if isinstance(end, EffectFailed)]
    assert not first.final
    assert last.final
    assert place.way("operations").arrived == []


async def test_a_robot_is_told_no_more_often_than_its_platform_allows(place: Place) -> None:
    for number in range(SHORT, SHORT + 7 * 30, 7):
        place.story.take(number, "paid")
    for _ in range(30):
        await place.go(1, step_ms=0)
    assert len(place.way("operations").arrived) == 20
    assert len(place.jobs.waiting()) == 10


async def test_a_long_list_of_one_receiver_does_not_hide_another(place: Place) -> None:
    last = SHORT + 7 * 200  # whose key comes last, too
    place.know(msgspec.structs.replace(ROBOT, name="service"), KEEPER, ROBOT)
    place.rules = (
        NoticeRule("all", frozenset({"order.received"}), ("service",), "x", ""),
        *DEFAULT_RULES,
    )
    for number in range(7, 7 + 7 * 100, 7):
        place.story.take(number, "awaiting_payment")
    place.story.take(last, "paid")
    await place.go(1)
    assert place.way("operations").rules == ["intercepted"]


async def test_old_events_are_told_to_nobody(place: Place) -> None:
    place.story.take(SHORT, "paid")
    place.late_ms = 25 * 60 * MINUTE
    await place.go(2)
    assert place.way("operations").calls == 0


async def test_a_runner_that_was_away_for_an_hour_tells_what_happened_meanwhile(place: Place) -> None:
    await place.go(1)
    place.story.take(SHORT, "paid")
    place.late_ms += 60 * MINUTE
    await place.go(2)
    assert place.way("operations").rules == ["intercepted"]


def ship(place: Place, number: int, half: bytes) -> None:
    """Let an order of a customer with this personal half come in and leave."""
    key, story = key_of(number), place.story
    data_key = story.vault.keys((key,), create=True)[key]
    raw = b"{}" + str(number).encode()
    payload = Payload(payload_digest(seal(data_key, key, raw)), key, seal(data_key, key, raw))
    seen = snapshot(number, "paid", story.now)
    sealed = seal(data_key, key, half)
    view = order.TakeSnapshot(seen, sha256(raw).hexdigest(), "address", payload.digest.hex(), sealed)
    story.send(key, ChannelPayload("taobao", "shop1", seen.order_no), Taken(view), (payload,))
    story.send(key, ScanOut(f"scan-{number}", f"SF{number}", "SF"))
