"""Public documents of every read model: stable keys; no name and no words in those of desk, finance and checks."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.approvals import ApprovalRejected, ApprovalRequested
from domain.care import ComplaintClosed, OrderComplained
from domain.ids import decode_id, order_key
from domain.order import OrderIntercepted
from domain.talk import MentionsRead, OrderCommented
from projections import PROJECTIONS
from projections.base import Projection
from projections.checks import Checks
from projections.desk import Desk
from projections.finance import Finance
from runners.commands.subscribers import FEED_NAMES
from runners.projector import Projector
from runners.subscribers import FEEDS
from tests.colleagues import CHEN, LI, WU
from tests.trade import AGREED, NOON_MS, Trade, money_day, trade_day, view

KV_KEY = re.compile(r"[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*")
PEOPLE = ("li.wei", "zhao", "wu", "chen", "qian", "p1")


def documents(log: MemoryEventLog, projection: Projection[Any, Any]) -> dict[str, dict[str, Any]]:
    """What the projection publishes of a whole log."""
    changed = projection.fold(log.read(0, 1_000_000), {})
    projection.changes(changed)
    return {public.key: json.loads(public.json) for public in projection.public(changed)}


@pytest.fixture
def trade() -> Trade:
    made = Trade(MemoryEventLog("life"))
    made.receive()
    made.take(view("1"))
    return made


def log_of(trade: Trade) -> MemoryEventLog:
    assert isinstance(trade.log, MemoryEventLog)
    return trade.log


KEY = order_key("taobao", "s1", "1")
TOKEN = "taobao=3As1=3A1"


def test_every_read_model_has_a_feed_that_the_command_line_names() -> None:
    assert sorted(each.bucket for each in PROJECTIONS) == sorted(each.name for each in PROJECTIONS)
    assert sorted(FEED_NAMES.split(", ")) == sorted(FEEDS)


@pytest.mark.parametrize("seed", range(3))
def test_keys_are_legal_and_the_same_from_events_and_from_rows(trade: Trade, seed: int) -> None:
    trade_day(trade, seed, 150)
    money_day(trade, trade.take(view("店 7.*>", shop="s 2")))
    read_models = ReadModels("sqlite://")
    Projector(trade.log, read_models).run()
    for projection in PROJECTIONS:
        folded = documents(log_of(trade), projection)
        loaded = projection.load(read_models.load_all(projection))
        projection.changes(loaded)
        stored = {public.key: json.loads(public.json) for public in projection.public(loaded)}
        assert stored == folded, projection.name
        assert stored, projection.name
        for key, document in stored.items():
            assert KV_KEY.fullmatch(key), key
            assert key != "_checkpoint"
            assert document["position"] > 0
            if projection.by_channel:
                assert decode_id(decode_id(key).partition(":")[0]) == "taobao"
    read_models.close()


def test_the_desk_tells_roles_what_waits_and_names_nobody(trade: Trade) -> None:
    trade.append(
        KEY,
        ApprovalRequested("credit", "credit", "finance", 1, due_ms=NOON_MS + 9, asked_by="wu"),
        OrderCommented(1, 1, "wu", "sales", ("finance", "zhao")),
        OrderIntercepted("i-1", "stock_short", "S1: 0 left", "ask li.wei", "keeper", NOON_MS),
        OrderComplained("complaint-1", "late", "phone", person="chen", role="service"),
        by=WU,
    )
    (shown,) = documents(log_of(trade), Desk()).values()
    assert [(each["kind"], each["item"], each["role"], each["what"]) for each in shown["waiting"]] == [
        ("approval", "credit", "finance", "credit"),
        ("mention", "1", "finance", ""),
        ("mention", "1", "", ""),
        ("interception", "i-1", "keeper", "stock_short"),
        ("complaint", "complaint-1", "service", "late"),
    ]
    assert (shown["order"], shown["messages"], shown["rounds"], shown["complaints"]) == (KEY, 1, 1, 1)
    assert shown["waiting"][0]["due_ms"] == NOON_MS + 9
    assert not names_in(shown)


def test_what_waits_no_more_is_gone_from_the_desks_document_and_the_order_stays(trade: Trade) -> None:
    trade.append(KEY, OrderCommented(1, 1, "wu", "sales", ("zhao",)), OrderComplained("c-1", "late", "phone"), by=WU)
    trade.append(KEY, ApprovalRequested("credit", "credit", "finance", 1), ApprovalRejected("credit", 1, "li", "x"))
    trade.append(KEY, MentionsRead((1,), "zhao", "finance"), ComplaintClosed("c-1", "settled", "chen", "service"))
    shown = documents(log_of(trade), Desk())[TOKEN]
    assert [(each["item"], each["role"], each["state"]) for each in shown["waiting"]] == [
        ("credit", "operations", "rejected")
    ]
    assert (shown["complaints"], shown["position"]) == (1, log_of(trade).tracked().head)


def test_a_difference_is_told_without_what_people_wrote_of_it(trade: Trade) -> None:
    money_day(trade, KEY)
    shown = documents(log_of(trade), Finance())
    less, late = sorted(shown.values(), key=lambda each: str(each["reason"]))
    assert {key: key.startswith("taobao=3As1=3Ad-") for key in shown} == dict.fromkeys(shown, True)
    assert (less["reason"], less["state"], less["ours"], less["theirs"]) == ("amount_differs", "explained", 1500, 1400)
    assert (late["reason"], late["state"], late["evidence"]) == ("settled_later", "resolved", "by Monday")
    assert (less["order"], less["updated_by"]) == (KEY, "person")
    assert AGREED not in json.dumps(shown)
    assert not names_in(shown)


def test_a_check_is_told_in_sums_without_orders_and_without_who_asked(trade: Trade) -> None:
    money_day(trade, KEY)
    head = log_of(trade).tracked().head
    assert documents(log_of(trade), Checks()) == {
        f"check-{head}": {
            "position": head,
            "at_ms": NOON_MS + 1000 * trade.mails,
            "by_whom": "person",
            "as_of": 1,
            "orders": 20,
            "rows_compared": 90,
            "differing_orders": 1,
            "differing": 3,
            "views": {"orders_v6": 2, "channel": 1},
        }
    }


@pytest.mark.parametrize("seed", range(4))
def test_no_colleague_is_named_whatever_a_day_brings(trade: Trade, seed: int) -> None:
    trade_day(trade, seed, 200)
    money_day(trade, KEY)
    assert any(event.tag == "order.commented" for event in trade.log.read(0, 100_000))
    for projection in (Desk(), Finance(), Checks()):
        assert not names_in(documents(log_of(trade), projection))


def names_in(value: Any) -> set[str]:
    """Names of colleagues among the texts of a document, as words of their own."""
    if isinstance(value, Mapping):
        return {name for each in value.values() for name in names_in(each)}
    if isinstance(value, list):
        return {name for each in value for name in names_in(each)}
    words = re.split(r"[^a-z0-9.]+", value) if isinstance(value, str) else []
    return {*PEOPLE, CHEN.id, LI.id} & set(words)
