"""Webhooks between processes: every event arrives, each order in its order, whatever dies, hangs or refuses."""

import itertools
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema_rs
import pytest

from runners.contract import named, released
from runners.webhooks import AT_ONCE
from runners.webhooks_store import WAITING_MAX, Delivery, Webhooks
from tests.integration.following import Follower, follower
from tests.integration.running import orderspine
from tests.integration.webhooking import Got, Place, Receiver, Sending, positions, receiving, sending
from tests.trade import SECRET, trade_day, view


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "data")
    yield made
    made.log.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def sender(place: Place) -> Iterator[Sending]:
    with sending(place.path) as made:
        yield made


@pytest.fixture
def process(place: Place) -> Iterator[Follower]:
    with follower("webhooks", place.path) as made:
        yield made


def in_order(got: list[Got]) -> None:
    """Each stream came in its order; what came twice has the id and the content it had."""
    seen: dict[str, Got] = {}
    last: dict[str, int] = defaultdict(int)
    for each in got:
        event = each.event
        assert each.id == event["id"] == f"{event['generation']}:{event['position']}"
        if each.id in seen:
            assert seen[each.id].body == each.body
            continue
        seen[each.id] = each
        assert int(event["version"]) > last[event["subject"]], "an order's events came in another order"
        last[event["subject"]] = int(event["version"])


def test_all_arrives_signed_and_in_order_whoever_is_killed_and_whoever_hangs(
    place: Place, receiver: Receiver, process: Follower
) -> None:
    chance = random.Random(11)

    def shaky(_: Receiver, __: Any) -> int:
        time.sleep(0.002)
        return chance.choice((200, 200, 204, 500, 0))

    released_at_last = threading.Event()

    def hangs(_: Receiver, __: Any) -> int:
        released_at_last.wait()
        return 200

    receiver.answers |= {"/shaky": shaky, "/hangs": hangs, "/dead": lambda _, __: 0}
    secrets = {
        name: place.say("add", name, receiver.url(f"/{name}"), "--from", 1)["secret"]
        for name in ("good", "shaky", "hangs", "dead")
    }
    for seed in range(3):
        process.start()
        trade_day(place.trade, seed, 15)
        before = len(receiver.of("/good"))
        place.until(lambda before=before: len(receiver.of("/good")) > before + 5)  # type: ignore[misc]
        process.kill()
    process.start()
    head = place.log.tracked().head
    everything = set(range(1, head + 1))
    for path in ("/good", "/shaky"):
        place.until(lambda path=path: set(positions(receiver.taken(path))) == everything)  # type: ignore[misc]
        in_order(receiver.taken(path))
    # Those of the senders that were killed still hang there.
    assert 0 < receiver.most_at_once["/hangs"] <= 4 * AT_ONCE
    assert not receiver.taken("/hangs")
    released_at_last.set()
    assert not receiver.taken("/dead")
    for each in list(receiver.got):
        assert each.signed_with(secrets[each.path[1:]])
        assert not each.signed_with(secrets["good" if each.path != "/good" else "dead"])
        assert each.headers["content-type"] == "application/cloudevents+json"
        assert SECRET not in each.body
    body = jsonschema_rs.validator_for(released().shapes["webhook-body"]["1"])
    for each in receiver.taken("/good"):
        body.validate(each.event)
        name, version = named(each.event["type"])
        jsonschema_rs.validator_for(released().shapes[name][str(version)]).validate(each.event["data"])
    place.until(lambda: place.show("good")["waiting"] == place.show("shaky")["waiting"] == 0)
    told = {row["name"]: row for row in place.say("list")}
    assert told["good"]["dead"] == told["shaky"]["dead"] == 0
    assert told["dead"]["waiting"] > 0
    assert told["dead"]["state"] == "active"


def test_who_says_it_is_gone_is_paused_and_goes_on_when_told_to(
    place: Place, receiver: Receiver, process: Follower
) -> None:
    gone = [True]
    receiver.answers["/gone"] = lambda _, __: 410 if gone[0] else 200
    place.say("add", "gone", receiver.url("/gone"))
    process.start()
    place.trade.take(view("1"))
    place.until(lambda: place.show("gone")["state"] == "paused")
    assert "410" in place.show("gone")["why"]
    time.sleep(0.3)  # what was on its way to it has come
    calls = len(receiver.of("/gone"))
    place.trade.take(view("2"))
    time.sleep(0.3)
    assert len(receiver.of("/gone")) == calls
    gone[0] = False
    place.say("resume", "gone")
    place.until(lambda: set(positions(receiver.taken("/gone"))) == set(range(1, place.log.tracked().head + 1)))
    in_order(receiver.taken("/gone"))


@pytest.mark.parametrize("paused", [True, False])
def test_who_asked_for_an_hour_and_is_resumed_is_tried_at_once(
    place: Place, receiver: Receiver, sender: Sending, paused: bool
) -> None:
    away = [True]
    receiver.answers["/away"] = lambda _, __: 503 if away[0] else 200
    receiver.headers["/away"] = {"retry-after": "3600"}
    place.say("add", "away", receiver.url("/away"))
    sender.start()
    place.trade.receive()
    place.until(lambda: receiver.of("/away"))
    place.until(lambda: place.say("deliveries", "away"))
    time.sleep(0.3)
    assert len(receiver.of("/away")) == 1, "it is left alone"
    away[0] = False
    if paused:
        place.say("pause", "away")
        time.sleep(0.3)  # it is seen
    place.say("resume", "away")
    place.until(lambda: len(receiver.taken("/away")) == place.log.tracked().head)


def test_who_is_away_for_a_moment_is_not_left_alone_for_minutes(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    """Eight deliveries that fail together are one failure: the pauses of a row of eight would be minutes."""
    together = threading.Barrier(AT_ONCE)
    refused = itertools.count()

    def answer(*_: Any) -> int:
        if next(refused) >= AT_ONCE:
            return 200
        together.wait(20)
        return 503

    receiver.answers["/away"] = answer
    place.say("add", "away", receiver.url("/away"), "--kinds", "order")
    for number in range(AT_ONCE):
        place.trade.take(view(str(number)))
    with patch("runners.webhooks.backoff_ms", lambda tries, _: 30_000 if tries > 1 else 30):
        sender.start()
        place.until(lambda: place.show("away")["waiting"] == 0 and receiver.taken("/away"), 10)


def test_who_takes_the_name_of_one_that_was_removed_is_told_what_that_one_took(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    """What is under way to one that was removed is no delivery of the next one's, though both have the same id."""
    moved = threading.Event()
    receiver.answers["/old"] = lambda *_: 200 if moved.wait(20) else 500
    place.trade.take(view("1"))
    place.say("add", "erp", receiver.url("/old"), "--kinds", "order", "--from", "1")
    sender.start()
    place.until(lambda: receiver.at_once["/old"])
    place.say("remove", "erp")
    place.say("add", "erp", receiver.url("/new"), "--kinds", "order", "--from", "1")
    place.until(lambda: place.show("erp")["waiting"])
    moved.set()
    place.until(lambda: place.show("erp")["waiting"] == 0)
    assert positions(receiver.taken("/new"))[0] == positions(receiver.taken("/old"))[0]


def test_who_hangs_at_the_end_is_not_waited_for_and_what_arrives_meanwhile_is_kept(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    ended = threading.Event()
    receiver.answers["/stuck"] = lambda *_: 200 if ended.wait(20) else 500
    receiver.answers["/slow"] = lambda *_: 500 if ended.wait(0.3) else 200
    place.trade.take(view("1"))
    for name in ("stuck", "slow"):
        place.say("add", name, receiver.url(f"/{name}"), "--kinds", "order", "--from", "1")
    with patch("runners.webhooks.CLOSE_S", 1.0):
        sender.start()
        place.until(lambda: receiver.at_once["/stuck"] and receiver.at_once["/slow"])
        began = time.monotonic()
        sender.close()
    assert time.monotonic() - began < 5
    ended.set()
    waits = [each["position"] for each in place.say("deliveries", "slow", "--waiting")]
    assert set(positions(receiver.taken("/slow"))).isdisjoint(waits)
    assert place.say("deliveries", "stuck", "--waiting")[0]["tries"] == 0


def test_a_delivery_of_an_event_that_the_log_has_no_more_is_not_sent(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    """After a restore another event may stand at its position, one that was never asked for."""
    place.trade.receive()
    place.say("add", "erp", receiver.url("/erp"), "--kinds", "order")
    head = place.log.tracked().head
    with closing(Webhooks(place.path)) as store:
        store.again("erp", Delivery("erp", head, "order-taobao:s1:9", "order.paid", 0))
        store.again("erp", Delivery("erp", head + 5, "order-taobao:s1:9", "order.paid", 0))
    sender.start()
    place.until(lambda: len(place.say("deliveries", "erp")) == 2)
    assert {row["status"] for row in place.say("deliveries", "erp")} == {0}
    assert "restored" in place.say("deliveries", "erp")[0]["reason"]
    assert place.show("erp")["waiting"] == 0
    assert not receiver.of("/erp")


def test_an_order_that_is_refused_becomes_a_dead_letter_and_holds_up_only_itself(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    bad = [True]
    receiver.answers["/picky"] = lambda _, event: 422 if bad[0] and event["subject"].endswith(":bad") else 200
    place.say("add", "picky", receiver.url("/picky"), "--give-up-days", 0.4 / 86_400)
    place.trade.receive()
    for number in ("1", "bad", "2"):
        place.trade.take(view(number))
    sender.start()
    of_bad = [event.position for event in place.log.read(0, 10_000) if event.stream.endswith(":bad")]
    assert len(of_bad) > 1
    place.until(lambda: place.show("picky")["dead"] == len(of_bad))
    place.until(lambda: place.show("picky")["waiting"] == 0)
    others = set(range(1, place.log.tracked().head + 1)) - set(of_bad)
    assert set(positions(receiver.taken("/picky"))) == others
    assert {int(each.event["position"]) for each in receiver.of("/picky")} == others | {of_bad[0]}
    first, *behind = place.say("deliveries", "picky", "--dead")
    assert first["tries"] > 1
    assert {each["reason"] for each in behind} == {"waits behind a dead letter"}
    place.trade.take(view("bad", "completed", modified=9))  # more of it waits behind, too
    place.until(lambda: place.show("picky")["behind"] == 0)
    bad[0] = False
    letters = place.show("picky")["dead"]
    assert place.say("replay", "picky", "--dead")["again"] == letters > len(of_bad)
    place.until(lambda: place.show("picky")["waiting"] == 0)
    assert set(positions(receiver.taken("/picky"))) == set(range(1, place.log.tracked().head + 1))
    in_order(receiver.taken("/picky"))
    ids = {each.id for each in receiver.of("/picky") if each.event["position"] == str(of_bad[0])}
    assert ids == {f"life:{of_bad[0]}"}, "a delivery keeps its id over all its tries"
    tries = [each for each in place.say("deliveries", "picky", "--limit", 1000) if each["position"] == of_bad[0]]
    assert [each["number"] for each in tries][-1] == 1
    assert {each["status"] for each in tries} == {422, 200}


def test_a_dead_letter_that_is_dropped_lets_the_rest_of_its_order_go(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    receiver.answers["/p"] = lambda _, event: 400 if event["position"] == "1" else 200
    place.say("add", "p", receiver.url("/p"), "--give-up-days", 0.2 / 86_400)
    place.trade.take(view("1"))
    sender.start()
    first, *behind = [event.position for event in place.log.read(0, 1_000) if event.stream.startswith("order-")]
    assert first == 1
    assert behind
    place.until(lambda: place.show("p")["dead"] == 1 + len(behind))
    assert place.say("discard", "p", "--delivery", "life:1")["discarded"] == 1
    place.until(lambda: set(positions(receiver.taken("/p"))) >= set(behind))
    in_order(receiver.taken("/p"))
    place.say("discard", "p", "--delivery", "life:1", code=1)


def test_events_are_sent_again_from_a_position_or_by_their_id(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    place.say("add", "erp", receiver.url("/erp"), "--types", "order.*", "--channels", "taobao")
    place.trade.receive()
    place.trade.take(view("1"))
    sender.start()
    wanted = [event.position for event in place.log.read(0, 1_000) if event.tag.startswith("order.")]
    assert 0 < len(wanted) < place.log.tracked().head
    place.until(lambda: positions(receiver.taken("/erp")) == wanted)
    place.say("replay", "erp", "--from", wanted[1])
    place.until(lambda: positions(receiver.taken("/erp")) == wanted + wanted[1:])
    place.say("replay", "erp", "--delivery", f"life:{wanted[0]}")
    place.until(lambda: positions(receiver.taken("/erp"))[-1] == wanted[0])
    in_order(receiver.taken("/erp"))
    for wrong, code in (("life:999", 1), ("other:1", 1), ("x", 2), ("life:0", 2), ("life:-1", 2)):
        place.say("replay", "erp", "--delivery", wrong, code=code)
    place.say("replay", "erp", "--from", 999, code=1)
    place.say("replay", "erp", code=2)


def test_what_a_subscriber_has_not_come_to_yet_is_not_sent_before_its_turn(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    place.say("add", "erp", receiver.url("/erp"), "--kinds", "order")
    place.say("pause", "erp")
    place.trade.take(view("1"))
    last = place.log.tracked().head
    place.say("replay", "erp", "--delivery", f"life:{last}", code=1)
    place.say("resume", "erp")
    sender.start()
    place.until(lambda: place.show("erp")["behind"] == 0 and not place.show("erp")["waiting"])
    in_order(receiver.taken("/erp"))
    place.say("replay", "erp", "--delivery", f"life:{positions(receiver.taken('/erp'))[0]}")


def test_of_two_secrets_both_sign_for_a_while(place: Place, receiver: Receiver, sender: Sending) -> None:
    first = place.say("add", "erp", receiver.url("/erp"))["secret"]
    second = place.say("rotate-secret", "erp")["secret"]
    assert place.say("show", "erp", "--secret")["secret"] == second != first
    sender.start()
    place.trade.receive()
    place.until(lambda: receiver.taken("/erp"))
    assert all(each.signed_with(first) and each.signed_with(second) for each in receiver.taken("/erp"))
    third = place.say("rotate-secret", "erp", "--overlap-hours", 0)["secret"]
    before = len(receiver.got)
    place.trade.receive()
    place.until(lambda: len(receiver.got) > before)
    last = receiver.got[-1]
    assert last.signed_with(third)
    assert not last.signed_with(first)
    assert not last.signed_with(second)
    for file in place.path.iterdir():
        if file.is_file() and not file.name.startswith("keys.db"):
            for secret in (first, second, third):
                assert secret.removeprefix("whsec_").encode() not in file.read_bytes(), file.name


def test_redirects_are_not_followed_and_long_answers_not_read(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    receiver.answers["/moved"] = lambda _, __: 307
    receiver.headers["/moved"] = {"location": receiver.url("/elsewhere")}
    receiver.bodies["/long"] = b"x" * (8 << 20)
    for name in ("moved", "long"):
        place.say("add", name, receiver.url(f"/{name}"))
    sender.start()
    place.trade.receive()
    place.until(lambda: len(receiver.of("/moved")) > 2 and place.show("long")["waiting"] == 0)
    assert not receiver.of("/elsewhere")
    last = place.say("deliveries", "moved")[0]
    assert (last["status"], last["reason"]) == (307, "answered 307, and no redirect is followed")
    assert place.say("deliveries", "long")[0]["status"] == 200


def test_a_subscriber_that_takes_nothing_stops_following_the_log_and_no_other(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    receiver.answers["/stuck"] = lambda _, __: 503
    for name in ("stuck", "good"):
        place.say("add", name, receiver.url(f"/{name}"), "--kinds", "warehouse" if name == "good" else "order")
    for number in range(WAITING_MAX // 4):
        place.trade.take(view(str(number)))
    place.trade.receive()
    sender.start()
    place.until(lambda: len(receiver.taken("/good")) > 0 and place.show("good")["behind"] == 0, 60)
    assert place.show("stuck")["waiting"] <= 2 * WAITING_MAX
    calls = itertools.count()
    place.until(lambda: next(calls) > 10)
    assert receiver.most_at_once["/stuck"] <= 8


def test_a_long_stream_that_is_refused_keeps_out_no_other(place: Place, receiver: Receiver, sender: Sending) -> None:
    """A warehouse's events are one stream: a day of them behind a refused one must not end the telling of orders."""
    receiver.answers["/erp"] = lambda _, event: 500 if event["subject"].startswith("warehouse-") else 200
    place.say("add", "erp", receiver.url("/erp"))
    with patch("runners.webhooks.WAITING_MAX", 3):
        sender.start()
        for _ in range(6):
            place.trade.receive()
        place.until(lambda: place.show("erp")["waiting"] == place.log.tracked().head)
        place.trade.take(view("1"))
        place.until(lambda: receiver.taken("/erp"), 10)


def test_a_log_that_was_restored_pauses_who_followed_the_other_one(
    place: Place, receiver: Receiver, sender: Sending
) -> None:
    place.say("add", "erp", receiver.url("/erp"))
    place.trade.take(view("1"))
    sender.start()
    head = place.log.tracked().head
    place.until(lambda: len(receiver.taken("/erp")) == head)
    place.log.begin_generation("after")
    place.until(lambda: place.show("erp")["state"] == "paused")
    assert "restored" in place.show("erp")["why"]
    place.say("replay", "erp", "--from", head)
    place.until(lambda: receiver.taken("/erp")[-1].id == f"after:{head}")
    assert len(receiver.taken("/erp")) == head + 1


def test_a_restored_copy_has_the_subscribers_and_sends_nothing(
    place: Place, receiver: Receiver, tmp_path: Path
) -> None:
    secret = place.say("add", "erp", receiver.url("/erp"), "--from", 1)["secret"]
    place.trade.receive()
    keys, copy = tmp_path / "keys.tar", tmp_path / "copy"
    said = orderspine("backup", tmp_path / "backup", "--keys", keys, "--data", place.path)
    assert said.code == 0, said.err
    said = orderspine("restore", tmp_path / "backup", "--keys", keys, "--data", copy, "--checkpoints", tmp_path / "cp")
    assert said.code == 0, said.err
    assert "webhooks" in said.out + said.err
    assert orderspine("webhooks", "show", "erp", "--secret", "--data", copy, "--json").json["secret"] == secret
    with sending(copy) as there:
        there.start()
        shown = ["webhooks", "show", "erp", "--data", copy, "--json"]
        place.until(lambda: orderspine(*shown).json["state"] == "paused")
    assert not receiver.got


def test_addresses_of_private_networks_are_not_called_where_that_is_off(tmp_path: Path, receiver: Receiver) -> None:
    place = Place(tmp_path / "data", webhooks_private=False)
    place.say("add", "direct", receiver.url("/x"), code=2)
    place.say("add", "named", f"http://localhost:{receiver.port}/x")
    place.trade.receive()
    said = place.say("test", "named", code=1)
    assert "webhooks_private" in said["reason"]
    with sending(place.path) as sender:
        place.say("replay", "named", "--from", 1)
        sender.start()
        place.until(lambda: place.show("named")["state"] == "paused")
    assert "webhooks_private" in place.show("named")["why"]
    assert not receiver.got
    place.log.close()


def test_a_try_says_what_came_back(place: Place, receiver: Receiver) -> None:
    secret = place.say("add", "erp", receiver.url("/erp"))["secret"]
    assert place.say("test", "erp")["status"] == 200
    (got,) = receiver.got
    assert got.event["type"] == "orderspine.test"
    assert got.signed_with(secret)
    receiver.answers["/erp"] = lambda _, __: 500
    assert place.say("test", "erp", code=1)["status"] == 500
    assert place.say("deliveries", "erp") == []


def test_subscribers_are_removed_paused_and_told_apart(place: Place, receiver: Receiver, sender: Sending) -> None:
    first = place.say("add", "erp", receiver.url("/erp"))["secret"]
    place.say("add", "erp", receiver.url("/other"), code=1)
    place.say("pause", "erp")
    place.trade.receive()
    sender.start()
    time.sleep(0.5)
    assert not receiver.got
    assert place.show("erp")["behind"] == 1
    place.say("remove", "erp")
    assert place.say("list") == []
    assert place.say("add", "erp", receiver.url("/erp"), "--from", 1)["secret"] != first
    place.until(lambda: positions(receiver.taken("/erp")) == [1])
    for words in (("remove", "x"), ("show", "x"), ("pause", "x")):
        place.say(*words, code=1)
    place.say("add", "b c", receiver.url("/"), code=2)
    place.say("add", "other", receiver.url("/"), "--types", "order.teleported", code=2)
    place.say("add", "other", receiver.url("/"), "--kinds", "orders", code=2)
    place.say("deliveries", "erp", "--dead", "--waiting", code=2)
    assert json.loads(receiver.got[0].body)["source"].startswith("/orderspine/main/warehouse-")
