"""The file of subscribers: what it takes, what it refuses, what a filter lets through."""

from pathlib import Path

import pytest

from domain.ids import order_key, token_of
from runners.subscribers import BadSubscribers, Filter, Subscriber, editing, load
from tests.integration.running import orderspine

ONE = Subscriber("erp", ("events", "orders"), "$2a$04$x", "outlet", "2026-02-09T00:00:00Z")


def write(data: Path, *entries: Subscriber) -> None:
    with editing(data) as found:
        found.extend(entries)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert load(tmp_path) == ()
    write(tmp_path, ONE)
    assert load(tmp_path) == (ONE,)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Subscriber("a.b", ("events",), "", "", ""), "letters, digits"),
        (Subscriber("a>", ("events",), "", "", ""), "letters, digits"),
        (Subscriber("a", (), "", "", ""), "one or more of events, "),
        (Subscriber("a", ("mail",), "", "", ""), "one or more of events, "),
        (Subscriber("a", ("events", "events"), "", "", ""), "each once"),
        (Subscriber("a", ("events",), "", "", "", Filter(kinds=("ordr",))), "there is no kind 'ordr'"),
        (Subscriber("a", ("events",), "", "", "", Filter(types=("paid",))), "there is no type 'paid'"),
        (ONE, "twice"),
    ],
)
def test_what_means_nothing_is_not_written(tmp_path: Path, entry: Subscriber, reason: str) -> None:
    write(tmp_path, ONE)
    with pytest.raises(BadSubscribers, match=reason):
        write(tmp_path, entry)
    assert load(tmp_path) == (ONE,)


def test_a_file_that_others_can_write_lets_nobody_in(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    (tmp_path / "subscribers.json").chmod(0o666)
    with pytest.raises(BadSubscribers, match="chmod 600"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("only", "stream", "tag", "passes"),
    [
        (Filter(), "warehouse-A", "stock.received", True),
        (Filter(kinds=("order",)), "warehouse-A", "stock.received", False),
        (Filter(kinds=("order",)), "order-taobao:s1:1", "order.paid", True),
        (Filter(channels=("taobao",)), "order-taobao:s1:1", "order.paid", True),
        (Filter(channels=("taobao",)), "order-jd:taobao:1", "order.paid", False),
        (Filter(channels=("A",)), "warehouse-A", "stock.received", False),
        (Filter(channels=("taobao",)), "trail-taobao:x", "trail.noted", True),
        (Filter(channels=("taobao",)), "finance-taobao:s1", "finance.compared", True),
        (Filter(channels=("taobao",)), "finance-jd:s1", "finance.compared", False),
        (Filter(channels=("淘宝",)), order_key("淘宝", "s", "1"), "order.paid", True),
        (Filter(channels=("my-shop",)), order_key("my-shop", "s", "1"), "order.paid", True),
        (Filter(types=("order.paid",)), "order-jd:s:1", "order.shipped", False),
        (Filter(types=("order.paid", "order.shipped")), "order-jd:s:1", "order.shipped", True),
    ],
)
def test_a_filter_lets_through_what_it_names(only: Filter, stream: str, tag: str, passes: bool) -> None:
    assert only.lets(stream, tag) is passes


def test_documents_are_told_apart_by_their_keys_channel() -> None:
    only = Filter(channels=("a:b",))
    assert only.lets_document(token_of(order_key("a:b", "s", "1")), by_channel=True)
    assert not only.lets_document(token_of(order_key("a", "b", "1")), by_channel=True)
    assert only.lets_document("A=3ASKU-1", by_channel=False)


def test_a_feed_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    said = orderspine("subscribe", "mail", "--data", tmp_path)
    assert said.code == 2
    assert "there are events, " in said.err


def test_more_buckets_than_the_broker_has_room_for_are_refused(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text('{"schema":1,"version":"0"}')
    write(tmp_path, *(Subscriber(f"s{number}", ("orders",), "", "", "") for number in range(32)))
    said = orderspine("subscribers", "add", "one-more", "--feeds", "orders", "--data", tmp_path)
    assert (said.code, "room for 32 buckets" in said.err) == (1, True)
    said = orderspine("subscribers", "add", "one-more", "--feeds", "events", "--data", tmp_path)
    assert said.code == 0, said.err
    assert len(load(tmp_path)) == 33
