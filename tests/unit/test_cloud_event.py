"""CloudEvents: the attributes of recorded events, alike in headers and in lines."""

import json
import re

from adapters.storage.memory_log import MemoryEventLog
from projections.cloud_event import Clock, CloudEvents
from runners.relay import Feed
from tests.trade import Trade, trade_day, view


def test_a_line_is_what_the_stream_carries() -> None:
    """Every attribute and the data of every event of a day, in the JSON format and in the headers of EVENTS."""
    log = MemoryEventLog("life")
    trade = Trade(log)
    trade_day(trade, 1, 60)
    trade.take(view('1 / ü "quoted" \\ 单'))
    made, feed = CloudEvents("main", "life"), Feed("main", "life", 1 << 20)
    events = log.read(0, 10_000)
    for event, (_, payload, headers) in zip(events, feed.messages(log.told(0, 10_000)), strict=True):
        line = made.line(event)
        assert line.count(b"\n") == 1
        told = json.loads(line)
        pairs = (header.partition(": ") for header in headers.decode().split("\r\n") if header)
        carried = {name.removeprefix("ce-"): value for name, _, value in pairs}
        assert carried.pop("content-type") == told.pop("datacontenttype")
        assert told.pop("data") == json.loads(payload)
        assert told == carried
        # CloudEvents 1.0: names of attributes, and what must not be empty.
        assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in told)
        assert all(told[name] for name in ("id", "source", "type", "subject"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["time"])
    assert len({made.id_of(event) for event in events}) == len(events)


def test_events_that_are_too_long_for_the_stream_have_their_attributes() -> None:
    log = MemoryEventLog("life")
    Trade(log).receive()
    (_, payload, headers), *_ = Feed("main", "life", 1).messages(log.told(0, 1))
    assert payload == b""
    assert b"ce-id: life:1\r\n" in headers
    assert b"ce-dataref: /orderspine/main/log/1\r\n" in headers


def test_envelopes_that_begin_alike_have_each_its_own_time() -> None:
    envelopes = {
        b'{"at":59999,"by":1}': "00:00:59.999",
        b'{"at":59999,"by":2}': "00:00:59.999",
        b'{"at":5999,"by":2}': "00:00:05.999",
        b'{"at":60000,"by":2}': "00:01:00.000",
        b'{"by":2,"at":60001}': "00:01:00.001",
        b'{"by":2,"at":60010}': "00:01:00.010",
        b'{"at":0,"by":2}': "00:00:00.000",
    }
    clock = Clock()
    for _ in range(2):
        assert [clock.of(envelope) for envelope in envelopes] == [f"1970-01-01T{time}Z" for time in envelopes.values()]
