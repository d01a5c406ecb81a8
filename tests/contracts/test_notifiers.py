"""Every way to tell somebody keeps the same promises: told once, refusals told apart, secrets and numbers kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from adapters.notify import notifier
from adapters.notify.email import Mailer
from adapters.notify.receivers import Template
from adapters.simulators.sms import BLOCKED
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformError, PlatformRefused
from tests.notify_world import KINDS, NOTE, ROBOTS, SECRET, SIMS, Told, keys_with, told_on

pytestmark = pytest.mark.asyncio


@pytest.fixture(params=KINDS)
async def told(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Told]:
    async with told_on(request.param, tmp_path) as found:
        yield found


async def test_a_note_arrives_once_with_its_words(told: Told) -> None:
    reference = await told.way.send(NOTE)
    (taken,) = told.taken
    if told.kind == "sms":
        assert taken.extra == {"title": NOTE.title[:35]}
        assert reference == "biz-1"
    else:
        assert "10001" in taken.title
        assert "advice: receive or move stock" in taken.text
        assert "<the> order *now*" in taken.text, "plain text is told as it is"


async def test_people_are_named_where_the_receiver_says(told: Told) -> None:
    await told.way.send(NOTE)
    people = told.receiver.addresses or told.receiver.numbers
    assert told.taken[0].to == people


async def test_a_receiver_that_is_busy_took_nothing(told: Told) -> None:
    told.fail("busy")
    with pytest.raises(PlatformBusy):
        await told.way.send(NOTE)
    assert told.taken == []
    await told.way.send(NOTE)
    assert len(told.taken) == 1


async def test_what_was_taken_without_an_answer_has_an_unknown_outcome(told: Told) -> None:
    if told.kind == "webhook":
        pytest.skip("it is sent again: its id makes that harmless")
    told.fail("cut_after")
    with pytest.raises(OutcomeUnknown):
        await told.way.send(NOTE)
    assert len(told.taken) == 1


async def test_after_an_unknown_outcome_it_says_what_can_be_known(told: Told) -> None:
    await told.way.send(NOTE)
    known = await told.way.knows(NOTE, NOTE.at_ms)
    assert known is (None if told.kind in ROBOTS else told.kind == "sms")
    other = msgspec.structs.replace(NOTE, key="f" * 32)
    assert await told.way.knows(other, NOTE.at_ms) is (None if told.kind in ROBOTS else False)


async def test_a_note_sent_twice_says_that_it_is_one(told: Told) -> None:
    if told.kind in ROBOTS:
        pytest.skip("a robot's message carries no id: nothing tells it from another")
    await told.way.send(NOTE)
    await told.way.send(NOTE)
    ids = [taken.id for taken in told.taken]
    assert len(set(ids)) == 1
    assert NOTE.key in ids[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_wrong_keys_need_a_person_and_tell_nothing(kind: str, tmp_path: Path) -> None:
    async with told_on(kind, tmp_path, secret="SEC-another") as told:
        with pytest.raises(NotAuthorised) as raised:
            await told.way.send(NOTE)
        assert told.taken == []
        assert_quiet(raised.value, told)


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_there_is_busy(kind: str, tmp_path: Path) -> None:
    async with told_on(kind, tmp_path) as told:
        nobody = {"url": "http://127.0.0.1:9/send?key=robot-key"}
        url = told.receiver.url and ("smtp://127.0.0.1:9" if kind == "email" else "http://127.0.0.1:9/")
        receiver = msgspec.structs.replace(told.receiver, url=url)
        way = notifier(receiver, keys_with({**told.secrets, **(nobody if kind in ROBOTS else {})}), lambda: NOTE.at_ms)
        with pytest.raises(PlatformBusy) as raised:
            await way.send(NOTE)
        assert_quiet(raised.value, told)
        await way.close()


async def test_no_error_tells_a_secret_a_number_or_the_words(told: Told) -> None:
    for how in ("busy", "cut_after", *(("html", "500", "wrong_json") if told.kind in SIMS else ("refuse",))):
        told.fail(how)
        try:
            await told.way.send(NOTE)
        except PlatformError as error:
            assert_quiet(error, told)
    assert SECRET not in repr(told.way)


def assert_quiet(error: PlatformError, told: Told) -> None:
    said = f"{error} {error!r} {error.__cause__!r}"
    hidden = [*told.secrets.values(), *told.receiver.numbers, *told.receiver.addresses, NOTE.title, "robot-key"]
    for text in hidden:
        assert text not in said


@pytest.mark.parametrize("kind", ROBOTS)
@pytest.mark.parametrize("form", ["text", "markdown"])
async def test_a_long_note_is_made_to_fit(kind: str, form: str, tmp_path: Path) -> None:
    if kind == "feishu" and form == "markdown":
        pytest.skip("Feishu has one form")
    numbers: tuple[str, ...] = () if kind == "wecom" else ("ou_abc",) if kind == "feishu" else ("13800000000",)
    async with told_on(kind, tmp_path, format=form, numbers=numbers) as told:
        await told.way.send(msgspec.structs.replace(NOTE, text="建议 " * 10_000))
        assert "…" in told.taken[0].text
        assert told.taken[0].to == numbers


@pytest.mark.parametrize("kind", ["dingtalk", "wecom"])
async def test_nothing_in_a_note_is_taken_for_markup(kind: str, tmp_path: Path) -> None:
    evil = msgspec.structs.replace(NOTE, text="[pay here](http://evil.example) <@all> <font color='red'>**x**")
    async with told_on(kind, tmp_path, format="markdown", numbers=()) as told:
        await told.way.send(evil)
        (taken,) = told.taken
        assert taken.extra == "markdown"
        assert not set("<>[]*") & set(taken.text)


async def test_a_robots_keyword_that_is_missing_is_a_refusal_with_advice(tmp_path: Path) -> None:
    async with told_on("dingtalk", tmp_path) as told:
        told.sim.keyword = "监控"
        with pytest.raises(PlatformRefused, match="keywords"):
            await told.way.send(NOTE)


async def test_a_customers_own_number_takes_the_place_of_the_receivers(tmp_path: Path) -> None:
    async with told_on("sms", tmp_path, name="customer", numbers=()) as told:
        await told.way.send(msgspec.structs.replace(NOTE, rule="shipped", fields={"order_no": "7"}), ("13711112222",))
        (taken,) = told.taken
        assert (taken.to, taken.title) == (("13711112222",), "SMS_200")


async def test_one_number_with_too_many_texts_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with told_on("sms", tmp_path, numbers=(BLOCKED,)) as told:
        with pytest.raises(PlatformRefused) as raised:
            await told.way.send(NOTE)
        assert BLOCKED not in str(raised.value)


async def test_a_rule_without_an_approved_template_is_a_refusal(tmp_path: Path) -> None:
    async with told_on("sms", tmp_path, templates={"other": Template("SMS_100")}) as told:
        with pytest.raises(PlatformRefused, match="template"):
            await told.way.send(NOTE)
        assert told.sim.requests == []


async def test_a_webhook_is_delivered_again_and_taken_once(tmp_path: Path) -> None:
    async with told_on("webhook", tmp_path) as told:
        told.fail("cut_after")
        with pytest.raises(PlatformBusy):
            await told.way.send(NOTE)
        assert await told.way.send(NOTE) == NOTE.key
        assert len(told.taken) == 1
        assert [seen.outcome for seen in told.sim.requests] == ["fault cut_after", "ok"]


async def test_a_webhook_says_which_event_whatever_fields_there_are(tmp_path: Path) -> None:
    fields = {**NOTE.fields, "event": "order.intercepted", "title": "another", "text": "another"}
    async with told_on("webhook", tmp_path) as told:
        await told.way.send(msgspec.structs.replace(NOTE, fields=fields))
        (message,) = told.taken
        assert message.extra["event"] == NOTE.event
        assert (message.title, message.text) == (NOTE.title, NOTE.text)


async def test_mail_is_not_sent_over_a_line_that_anybody_reads(tmp_path: Path) -> None:
    async with told_on("email", tmp_path) as told:
        await told.way.send(NOTE)
        assert told.sim.encrypted == [True]
        mail = told.taken[0].extra
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["From"] == "orders@shop.example"
        # The same server, to somebody who does not trust its certificate.
        options = {name: value for name, value in told.receiver.options.items() if name != "ca"}
        wary = Mailer(
            msgspec.structs.replace(told.receiver, options=options), keys_with(told.secrets), lambda: NOTE.at_ms
        )
        with pytest.raises(NotAuthorised, match="certificate"):
            await wary.send(NOTE)
        assert len(told.taken) == 1


async def test_an_address_that_is_refused_is_a_refusal_that_does_not_name_it(tmp_path: Path) -> None:
    async with told_on("email", tmp_path) as told:
        told.fail("refuse")
        with pytest.raises(PlatformRefused, match="address 1"):
            await told.way.send(NOTE)
        told.fail("no_sender")
        with pytest.raises(PlatformRefused):
            await told.way.send(NOTE)
        told.fail("cut_before")
        with pytest.raises(PlatformError):
            await told.way.send(NOTE)
        assert told.taken == []
