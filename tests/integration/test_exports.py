"""Exports: what outside programs and rules say of the files, and that a file is there whole or not at all."""

import csv
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import lxml.etree
import msgspec
import pyarrow.parquet as pq
import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from adapters.storage.sqlite_log import SqliteEventLog
from benchmarks.export import peak_of
from benchmarks.replay import build_log
from domain.canonical import Parcel
from domain.envelope import By, decode_envelope, encode_envelope
from domain.ids import VIEWS_KEY, order_key
from domain.order import Lot, OrderNormalized, OrderPaid, OrderReceived, OrderRefused, OrderShipped, ScanOut
from domain.ports import LogDamaged, Record
from domain.views import RecordCheck
from projections.base import at_of, observed_at_of
from runners.bootstrap import LOG_FILE, READ_MODELS_FILE
from runners.cli import run
from runners.exporting.ocel import write_ocel_json, write_ocel_sqlite
from runners.exporting.reading import ORDERS_AT_ONCE, PAGE_EVENTS, Span, Ticks, by_order, pages
from runners.exporting.tables import names, write_table
from runners.exporting.whole_file import WholeFile
from runners.exporting.xes import write_xes
from runners.projector import Projector
from tests.integration.running import Running, Said, orderspine
from tests.trade import NOON_MS, SECRET, Trade, trade_day, view

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(300)]

SCHEMA = Path(os.environ.get("ORDERSPINE_SAMPLES", "../shared/data")) / "ocel2" / "schema_ocel2.json"
"""The published schema of OCEL 2.0, where it is at hand."""
ROOT = Path(__file__).parents[2]
BUILD = '{"schema": 1, "version": "0"}'


class Files:
    """A data directory, and what its exports are."""

    def __init__(self, data: Path, place: Path) -> None:
        self.data, self.place = data, place

    def export(self, *words: object) -> Said:
        return orderspine("export", *words, "--data", self.data)

    def made(self, name: str, *words: object) -> Path:
        """Export into a file and return it."""
        out = self.place / name
        said = self.export(*words, "--out", out)
        assert said.code == 0, said.err
        return out

    @property
    def log(self) -> list[tuple[str, str]]:
        """(stream, tag) of all events."""
        with sqlite3.connect(self.data / LOG_FILE) as db:
            return db.execute("SELECT stream, tag FROM events ORDER BY position").fetchall()

    @property
    def tags(self) -> Counter[str]:
        return Counter(tag for _, tag in self.log)

    @property
    def orders(self) -> set[str]:
        return {stream for stream, _ in self.log if stream.startswith("order-")}


def judged(*files: Path) -> dict[str, Any]:
    """Return what pm4py says of exports (JSON, SQLite, XES)."""
    words = [sys.executable, "-m", "tests.integration.ocel_judge", *map(str, files)]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A directory whose log knows all kinds of events, sealed ones among them, and what people did."""
    data = tmp_path_factory.mktemp("exports") / "data"
    data.mkdir()
    (data / "build.json").write_text(BUILD)
    log = SqliteEventLog(data / LOG_FILE, generation="life")
    trade = Trade(log)
    trade_day(trade, 7, 400)
    key = trade.take(view("lots"))
    lots = (Lot("SKU-1", "L1", 1, "1.84", "kgCO2e", "ISO 14067", "maker"), Lot("SKU-2", "L2", 1))
    trade.receive(500)
    trade.send(key, ScanOut("scan-lots", "SF-LOTS", "SF", lots=lots), by=By("person", "p1", "keeper"))
    trade.send(VIEWS_KEY, RecordCheck("check-1", 400, 900, 0, (), 1), by=By("person", "p1", "finance"))
    models = ReadModels(f"sqlite:///{data / READ_MODELS_FILE}")
    projector = Projector(log, models)
    while projector.run_once():
        pass
    projector.run_once()
    models.close()
    log.close()
    return Files(data, data.parent)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A simulated day, taken in by a running cell."""
    data = tmp_path_factory.mktemp("simulated") / "data"
    with Running(data, "--clock", "mail") as running:
        said = running.run("simulate", "--orders", 60, "--json")
        assert said.code == 0, said.err
    return Files(data, data.parent)


# --- what outside judges say


def test_a_simulated_day_opens_in_pm4py(simulated: Files) -> None:
    as_json = simulated.made("day.json", "ocel")
    as_sqlite = simulated.made("day.sqlite", "ocel")
    as_xes = simulated.made("day.xes", "xes")
    found = judged(as_json, as_sqlite, as_xes)
    tags = simulated.tags
    assert {"order.shipped", "order.pick_list_issued", "stock.picked_out"} <= tags.keys()
    for form in ("json", "sqlite"):
        assert found[form]["activities"] == tags
        assert found[form]["process"] == sorted(tags)
        assert found[form]["objects"]["order"] == len(simulated.orders)
        assert found[form]["begins"].keys() == {"order.received"}
        assert {"state", "on_hand", "reserved"} <= set(found[form]["changed"])
    assert found["json"]["orders"] == found["sqlite"]["orders"]
    assert found["json"]["relations"] == found["sqlite"]["relations"]
    assert found["json"]["between_objects"] == found["sqlite"]["between_objects"]
    # What follows what is as in the log, also where all of it happened in the same millisecond.
    assert found["json"]["orders"]["order.received > order.normalized"] == tags["order.received"]
    assert found["rules_broken"] == []
    assert found["rules_kept"] > 20
    assert found["cases"] == len(simulated.orders)
    assert found["case_events"] == sum(stream.startswith("order-") for stream, _ in simulated.log)
    followed: Counter[str] = Counter()
    last: dict[str, str] = {}
    for stream, tag in simulated.log:
        if stream.startswith("order-"):
            if stream in last:
                followed[f"{last[stream]} > {tag}"] += 1
            last[stream] = tag
    assert found["case_process"] == followed


@pytest.mark.skipif(not SCHEMA.exists(), reason="the published schema is not here")
def test_the_json_form_keeps_the_published_schema(traded: Files, simulated: Files) -> None:
    schema = json.loads(SCHEMA.read_bytes())
    for files in (traded, simulated):
        document = json.loads(files.made("schema.json", "ocel").read_bytes())
        jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())


def test_both_forms_hold_together(traded: Files) -> None:
    """Every event is there with its log's count; no relation leads nowhere; types tell of every attribute."""
    document = json.loads(traded.made("whole.json", "ocel").read_bytes())
    assert Counter(event["type"] for event in document["events"]) == traded.tags
    objects = {each["id"]: each for each in document["objects"]}
    assert len(objects) == len(document["objects"])
    for one in (*document["events"], *document["objects"]):
        for relation in one["relationships"]:
            assert relation["objectId"] in objects
    for event in document["events"]:
        assert event["relationships"], event
    for kinds, things in (("eventTypes", document["events"]), ("objectTypes", document["objects"])):
        declared = {each["name"]: {a["name"]: a["type"] for a in each["attributes"]} for each in document[kinds]}
        assert declared.keys() == {each["type"] for each in things}
        for each in things:
            for attribute in each["attributes"]:
                kind = declared[each["type"]][attribute["name"]]
                assert re.fullmatch(
                    {"integer": r"-?\d+", "boolean": "true|false", "string": "(?s).*"}[kind], attribute["value"]
                )
    times = [event["time"] for event in document["events"]]
    positions = [int(event["id"].partition(":")[2]) for event in document["events"]]
    assert positions == sorted(positions)
    assert len(times) == len(positions)
    with sqlite3.connect(traded.made("whole.sqlite", "ocel")) as db:
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table, many in (("event", len(document["events"])), ("object", len(objects))):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == many  # noqa: S608


def test_xes_keeps_the_rules_of_its_schema(traded: Files) -> None:
    """Structure, order and types as IEEE 1849-2016 has them; every event has what is said to be global."""
    file = traded.made("rules.xes", "xes")
    space = "{http://www.xes-standard.org/}"
    root = lxml.etree.parse(file).getroot()
    assert root.tag == f"{space}log"
    assert root.get("xes.version") == "1849.2016"
    assert root.get("xes.features") == ""
    values = {"string": ".*", "int": r"-?\d+", "boolean": "true|false", "date": r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d+Z"}
    order = ["extension", "global", "classifier", *values, "trace"]
    kinds = [child.tag.removeprefix(space) for child in root]
    assert [order.index(kind) for kind in kinds] == sorted(order.index(kind) for kind in kinds)
    prefixes = {child.get("prefix") for child in root.iter(f"{space}extension")}
    for thing in (*root.iter(f"{space}trace"), *root.iter(f"{space}event")):
        attributes = [child for child in thing if child.tag != f"{space}event"]
        keys = [child.get("key") for child in attributes]
        assert len(set(keys)) == len(keys)
        assert "concept:name" in keys
        assert {key.partition(":")[0] for key in keys if ":" in key} <= prefixes
        for child in attributes:
            assert set(child.attrib) == {"key", "value"}
            assert re.fullmatch(values[child.tag.removeprefix(space)], child.get("value"), re.DOTALL)
        if thing.tag.endswith("event"):
            assert {"time:timestamp", "lifecycle:transition", "org:resource"} <= set(keys)
    assert len(root.findall(f"{space}trace")) == len(traded.orders)


def test_lots_and_carbon_figures_are_told_to_partners(traded: Files) -> None:
    document = json.loads(traded.made("lots.jsonld", "epcis", "--base", "https://id.example.com/").read_bytes())
    assert document["@context"][0] == "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
    assert document["@context"][1] == {"orderspine": "https://id.example.com/vocabulary#"}
    assert (document["type"], document["schemaVersion"]) == ("EPCISDocument", "2.0")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["creationDate"])
    steps = [event["bizStep"] for event in document["epcisBody"]["eventList"]]
    assert steps == ["commissioning", "commissioning", "shipping"]
    assert document["epcisBody"]["eventList"][2]["eventTimeZoneOffset"] == "+08:00"
    later = json.loads(
        traded.made("none.jsonld", "epcis", "--base", "https://a.b", "--from", "2030-01-01").read_bytes()
    )
    assert later["epcisBody"]["eventList"] == []


def test_lines_are_the_log(traded: Files) -> None:
    lines = [json.loads(line) for line in traded.made("log.jsonl", "cloudevents").read_bytes().splitlines()]
    assert [(line["subject"], line["type"]) for line in lines] == traded.log
    assert [line["id"] for line in lines] == [f"life:{number}" for number in range(1, len(lines) + 1)]


# --- tables


def test_every_table_of_the_read_models_is_there_in_both_forms(traded: Files) -> None:
    for name in names():
        as_csv = traded.made(f"{name}.csv", "table", name)
        as_parquet = pq.read_table(traded.made(f"{name}.parquet", "table", name))
        with as_csv.open(encoding="utf-8-sig", newline="") as file:
            columns, *rows = csv.reader(file)
        assert as_parquet.column_names == columns
        assert [[str(value).lstrip("'") for value in row.values()] for row in as_parquet.to_pylist()] == [
            [value.lstrip("'") for value in row] for row in rows
        ]
        with sqlite3.connect(traded.data / READ_MODELS_FILE) as db:
            (table,) = (
                made
                for (made,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                if made.rpartition("_v")[0] == name
            )
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == len(rows)  # noqa: S608
            owned = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        assert set(columns) <= set(owned)
        assert not {"sealed", "person", "who", "picker"} & set(columns)


def test_what_was_exported_is_told_as_one_document_too(traded: Files) -> None:
    for name in names():
        said = traded.export("table", name, "--out", traded.place / f"told.{name}.csv", "--json")
        told = json.loads(said.out)
        assert (said.code, said.err) == (0, "")
        with Path(told["file"]).open(encoding="utf-8-sig", newline="") as file:
            columns, *rows = csv.reader(file)
        assert (told["columns"], told["rows"]) == (columns, len(rows))


def test_a_table_of_a_channel_has_its_rows_only(traded: Files) -> None:
    assert len(pq.read_table(traded.made("all.parquet", "table", "orders", "--channel", "taobao"))) == len(
        pq.read_table(traded.made("every.parquet", "table", "orders"))
    )
    assert len(pq.read_table(traded.made("no.parquet", "table", "orders", "--channel", "jd"))) == 0
    said = traded.export("table", "inventory", "--channel", "jd", "--out", traded.place / "x.csv")
    assert (said.code, "of no channel" in said.err) == (2, True)


def test_no_spreadsheet_takes_a_text_for_a_formula(tmp_path: Path) -> None:
    trade = Trade(MemoryEventLog())
    trade.take(view("=1+1"))
    models = ReadModels(f"sqlite:///{tmp_path / READ_MODELS_FILE}")
    Projector(trade.log, models).run_once()
    Projector(trade.log, models).run_once()
    write_table(models, "orders", tmp_path / "o.csv", "csv", frozenset(), _nothing)
    models.close()
    assert ",'=1+1," in (tmp_path / "o.csv").read_text(encoding="utf-8-sig")


# --- nothing personal


def test_nothing_personal_is_in_any_file(traded: Files) -> None:
    """What is sealed is nowhere; who works here is told by his role only, but where the log itself is exported."""
    told = [
        traded.made("p.json", "ocel"),
        traded.made("p.sqlite", "ocel"),
        traded.made("p.xes", "xes"),
        traded.made("p.jsonld", "epcis", "--base", "https://a.b"),
        *(traded.made(f"p.{name}.csv", "table", name) for name in names()),
    ]
    people = ["li.wei", "zhao", "wu", "chen", "p1"]
    with sqlite3.connect(traded.data / LOG_FILE) as db:
        everything = "".join(row[0] for row in db.execute("SELECT CAST(data || envelope AS TEXT) FROM events"))
    assert all(f'"{person}"' in everything for person in people)
    for file in (*told, traded.made("p.jsonl", "cloudevents")):
        assert SECRET not in file.read_bytes()
    for file in told:
        for person in people:
            assert not re.search(rf"[\"':,(]{person}[\"',)\s]".encode(), file.read_bytes()), (file, person)


# --- which events


def test_a_span_has_the_events_of_its_time(traded: Files) -> None:
    """By the time that each format shows, its ends included; what belonged to an order before is known."""
    log = SqliteEventLog(traded.data / LOG_FILE, read_only=True)
    events = log.read(0, 100_000)
    log.close()
    middle = [observed_at_of(event.envelope) for event in events][len(events) // 2]
    wanted = [event for event in events if observed_at_of(event.envelope) >= middle]
    clock = f"{(middle // 1000 + 8 * 3600) // 3600 % 24:02}:{middle // 60_000 % 60:02}:{middle // 1000 % 60:02}"
    assert middle % 1000 == 0
    begin = f"2026-02-09 {clock}"
    document = json.loads(traded.made("span.json", "ocel", "--from", begin).read_bytes())
    assert Counter(event["type"] for event in document["events"]) == Counter(event.tag for event in wanted)
    orders = {each["id"]: each for each in document["objects"] if each["type"] == "order"}
    named = {event.stream for event in wanted if event.stream.startswith("order-")}
    assert named <= orders.keys()
    for key in named:
        told = {each["name"] for each in orders[key]["attributes"]}
        assert {"channel", "shop", "order_no"} <= told
    lines = traded.made("span.jsonl", "cloudevents", "--to", begin).read_bytes().splitlines()
    assert len(lines) == sum(at_of(event.envelope) <= middle for event in events)
    said = traded.export("xes", "--out", traded.place / "x.xes", "--from", "2026-02-10", "--to", "2026-02-09")
    assert (said.code, "later than" in said.err) == (2, True)
    assert traded.export("xes", "--out", traded.place / "x.xes", "--from", "soon").code == 2


def test_a_channel_has_its_own_streams_only(traded: Files) -> None:
    document = json.loads(traded.made("channel.json", "ocel", "--channel", "taobao").read_bytes())
    expected = Counter(tag for stream, tag in traded.log if stream.partition("-")[2].startswith("taobao"))
    assert Counter(event["type"] for event in document["events"]) == expected
    none = json.loads(traded.made("none.json", "ocel", "--channel", "jd").read_bytes())
    assert none == {"eventTypes": [], "objectTypes": [], "events": [], "objects": []}


def test_orders_that_left_memory_are_read_again(traded: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping one order in memory, or all of them, is the same file."""
    log = SqliteEventLog(traded.data / LOG_FILE, read_only=True)
    kept = traded.place / "kept.json"
    write_ocel_json(log, kept, Span(), _nothing)
    monkeypatch.setattr("runners.exporting.ocel.ORDERS_KEPT", 0)
    monkeypatch.setattr("runners.exporting.ocel.NAMES_KEPT", 1)
    monkeypatch.setattr("runners.exporting.reading.PAGE_EVENTS", 7)
    again = traded.place / "again.json"
    write_ocel_json(log, again, Span(), _nothing)
    assert kept.read_bytes() == again.read_bytes()
    monkeypatch.setattr("runners.exporting.reading.ORDERS_AT_ONCE", 1)
    assert {stream for stream, _ in by_order(log, Span(), _nothing)} == traded.orders
    log.close()
    assert (ORDERS_AT_ONCE, PAGE_EVENTS) == (100, 1_000)


def test_a_span_is_a_part_of_the_whole_however_late_events_were_seen(
    traded: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edges report late: times go to and fro. An event in a span is told exactly as without one."""
    log = SqliteEventLog(traded.data / LOG_FILE, read_only=True)
    events = log.read(0, 100_000)
    log.close()
    chance = random.Random(3)
    late = MemoryEventLog()
    for event in events:
        envelope = decode_envelope(event.envelope)
        seen = msgspec.structs.replace(envelope, observed_at=NOON_MS + chance.randrange(4) * 1000)
        late.append([Record(event.stream, event.version, event.tag, encode_envelope(seen), event.data, None)])
    monkeypatch.setattr("runners.exporting.ocel.ORDERS_KEPT", 5)
    monkeypatch.setattr("runners.exporting.reading.PAGE_EVENTS", 13)
    write_ocel_json(late, tmp_path / "whole.json", Span(), _nothing)
    write_ocel_json(late, tmp_path / "part.json", Span(NOON_MS + 1000, NOON_MS + 2000), _nothing)
    whole, part = (json.loads((tmp_path / name).read_bytes())["events"] for name in ("whole.json", "part.json"))
    wanted = [event for event in whole if "01:20:01" <= event["time"][11:19] <= "01:20:02"]
    assert 100 < len(part) < len(whole)
    assert part == wanted


def test_texts_from_outside_never_break_a_file(tmp_path: Path) -> None:
    """Half characters, control characters, markup and quotes in what a channel calls its order and its lines."""
    log = MemoryEventLog()
    trade = Trade(log)
    wild = "a\ud800\x00\x1f\ufffe<&>\"'\n,;=\U0001f4e6"
    key = order_key("taobao", wild, wild)
    seen = view("n")
    line = msgspec.structs.replace(seen.lines[0], id="1 <&\x07>", sku="S<\x07>")
    trade.append(key, OrderReceived("taobao", "s", "n", "payload"))
    trade.append(key, OrderNormalized(msgspec.structs.replace(seen, lines=(line,)), "digest", "address"))
    trade.append(key, OrderRefused("x", "y", "<\x0b>&\"'\n"))
    write_ocel_json(log, tmp_path / "o.json", Span(), _nothing)
    write_xes(log, tmp_path / "o.xes", "main", Span(), _nothing)
    objects = {each["id"]: each for each in json.loads((tmp_path / "o.json").read_bytes())["objects"]}
    order = objects[key]
    number = next(each["value"] for each in order["attributes"] if each["name"] == "order_no")
    assert number == wild.replace("\ud800", "?")
    trace = lxml.etree.parse(tmp_path / "o.xes").getroot().find("{*}trace")
    assert trace is not None
    told = {child.get("key"): child.get("value") for child in trace}
    assert told["order_no"] == "a?\ufffd\ufffd\ufffd<&>\"'\n,;=\U0001f4e6"


def test_two_orders_in_one_parcel_are_both_of_it(tmp_path: Path) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    keys = [order_key("taobao", "s1", number) for number in ("1", "2")]
    for key in keys:
        trade.append(key, OrderNormalized(view(key[-1]), "digest", "address"), OrderPaid(1, "CNY", 1))
        trade.append(key, OrderShipped((Parcel("SF", "SF1"),), 1))
    write_ocel_json(log, tmp_path / "o.json", Span(), _nothing)
    objects = {each["id"]: each for each in json.loads((tmp_path / "o.json").read_bytes())["objects"]}
    for key in keys:
        assert {"objectId": "parcel-SF1", "qualifier": "sent in"} in objects[key]["relationships"]


def test_what_cannot_be_read_is_said_and_nothing_is_written(traded: Files, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for change, words in (
        ("UPDATE events SET tag = 'order.teleported' WHERE position = 9", "order.teleported"),
        ("UPDATE events SET data = CAST('{' AS BLOB) WHERE position = 9", "audit verify"),
    ):
        shutil.copytree(traded.data, data)
        with sqlite3.connect(data / LOG_FILE) as db:
            db.execute(change)
        said = orderspine("export", "ocel", "--out", tmp_path / "o.json", "--data", data)
        assert (said.code, words in said.err) == (4, True)
        assert [each.name for each in tmp_path.iterdir()] == ["data"]
        shutil.rmtree(data)


def _nothing(done: int, total: int) -> None:
    del done, total


def test_a_log_with_a_gap_is_not_exported(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "log.db")
    trade = Trade(log)
    trade.receive()
    trade.take(view("1"))
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("DELETE FROM events WHERE position = 2")
    with pytest.raises(LogDamaged):
        list(pages(log, _nothing))
    log.close()


def test_times_keep_the_order_of_the_log() -> None:
    ticks = Ticks()
    told = [ticks.of(ms) for ms in (NOON_MS, NOON_MS, NOON_MS + 1, NOON_MS)]
    assert told == [
        "2026-02-09T01:20:00.000000Z",
        "2026-02-09T01:20:00.000001Z",
        "2026-02-09T01:20:00.001000Z",
        "2026-02-09T01:20:00.000000Z",
    ]
    assert [ticks.of(NOON_MS) for _ in range(2_000)][-1] == "2026-02-09T01:20:00.000999Z"


def test_a_log_ten_times_as_long_needs_hardly_more_memory(tmp_path: Path) -> None:
    """The small version of `python -m benchmarks export`: what 8,000 events hold is several times what may be added."""
    peaks = []
    for orders in (100, 1_000):
        place = tmp_path / str(orders)
        place.mkdir()
        build_log(place, orders, 500).close()
        peaks.append(peak_of("ocel_json", place / LOG_FILE, tmp_path / "out")["kib"])
    written = (tmp_path / "out").stat().st_size
    assert written > 4_000_000
    assert peaks[1] - peaks[0] < 32 * 1024


# --- the example


def test_the_process_map_of_the_docs_is_drawn_from_an_export(traded: Files) -> None:
    """What follows what, how often and how late, as the log itself says; the picture is whole XML."""
    export = traded.made("map.json", "ocel")
    script = ROOT / "docs" / "examples" / "process_map.py"
    words = [sys.executable, "-W", "error", str(script), str(export), "--least", "0", "--edges", "1000"]
    drawn = subprocess.run(words, check=True, capture_output=True).stdout
    picture = lxml.etree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    texts = ["".join(each.itertext()) for each in picture.iter(f"{space}text")]
    assert texts[0] == f"{len(traded.orders)} × order"
    shown = {text.split(" · ")[0]: text for text in texts if text.startswith("order.")}
    counted = {tag: many for tag, many in traded.tags.items() if tag.startswith("order.")}
    beside = ("order.timer_", "order.effect_", "order.repeated", "order.outdated")
    assert shown.keys() == {tag for tag in counted if not tag.startswith(beside)}
    for tag in ("order.received", "order.shipped", "order.pick_list_issued"):
        assert shown[tag].split(" · ")[1].split(" ")[0] == f"{counted[tag]:,}"
    again: Counter[str] = Counter()
    last: dict[str, str] = {}
    for stream, tag in traded.log:
        if stream.startswith("order-") and not tag.startswith(beside):
            again[tag] += last.get(stream) == tag
            last[stream] = tag
    assert again.total()
    for tag, text in shown.items():
        assert text.endswith(f" ↻ {again[tag]}" if again[tag] else f" {counted[tag]:,}")
    # Rework is drawn apart.
    assert {path.get("stroke") for path in picture.iter(f"{space}path") if path.get("stroke")} == {"#38638c", "#b3382c"}
    lxml.etree.parse(script.with_suffix(".svg"))


# --- whole or not at all


def test_a_file_that_is_there_stays_unless_told_otherwise(traded: Files, tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    out.write_text("mine")
    said = traded.export("cloudevents", "--out", out)
    assert (said.code, out.read_text()) == (2, "mine")
    assert "--force" in said.err
    assert traded.export("cloudevents", "--out", out, "--force").code == 0
    assert out.read_text() != "mine"
    assert list(tmp_path.iterdir()) == [out]
    for other in (tmp_path, Path("/dev/null")):
        said = traded.export("cloudevents", "--out", other, "--force")
        assert (said.code, "a device" in said.err) == (2, True)
    (tmp_path / "link").symlink_to(out)
    assert traded.export("cloudevents", "--out", tmp_path / "link", "--force").code == 2
    (tmp_path / "link").unlink()
    said = traded.export("cloudevents", "--out", tmp_path / "absent" / "o.jsonl")
    assert (said.code, "no directory" in said.err) == (2, True)
    said = traded.export("cloudevents", "--out", "/proc/o.jsonl")
    assert (said.code, "/proc/o.jsonl cannot be written" in said.err) == (2, True)


def test_where_it_goes_wrong_nothing_is_left(traded: Files, tmp_path: Path) -> None:
    out = tmp_path / "o.sqlite"
    out.write_text("before")
    log = SqliteEventLog(traded.data / LOG_FILE, read_only=True)

    def fail(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    for write in (write_ocel_sqlite, write_ocel_json):
        with pytest.raises(KeyboardInterrupt), WholeFile(out, force=True) as whole:
            write(log, whole.part, Span(), fail)
        assert list(tmp_path.iterdir()) == [out]
        assert out.read_text() == "before"
    log.close()
    late = WholeFile(tmp_path / "late").__enter__()
    (tmp_path / "late").write_text("somebody else's")
    with pytest.raises(FileExistsError):
        late.__exit__(None, None, None)
    assert (tmp_path / "late").read_text() == "somebody else's"


def test_what_a_killed_export_left_is_in_no_later_ones_way(traded: Files, tmp_path: Path) -> None:
    out = tmp_path / "o.json"
    left = WholeFile(out).part
    for name in (left.name, f"{left.name}.db"):  # a process in a container has the number of the one before
        with closing(sqlite3.connect(tmp_path / name)) as db:
            db.execute("CREATE TABLE event_map_type (half)")
    assert run(["export", "ocel", "--out", str(out), "--data", str(traded.data)]) == 0
    assert list(tmp_path.iterdir()) == [out]


def test_an_export_that_is_killed_leaves_no_file_of_that_name(traded: Files, tmp_path: Path) -> None:
    out = tmp_path / "o.json"
    words = [sys.executable, "-m", "runners.cli", "export", "ocel", "--out", str(out), "--data", str(traded.data)]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(tmp_path.iterdir()):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()


def test_machines_get_a_document(traded: Files) -> None:
    out = traded.place / "machine.xes"
    said = traded.export("xes", "--out", out, "--json")
    assert said.json == {
        "file": str(out),
        "bytes": out.stat().st_size,
        "traces": len(traded.orders),
        "events": sum(stream.startswith("order-") for stream, _ in traded.log),
    }
    assert said.err == ""


@pytest.mark.parametrize("place", [".", "/", "/dev/null"])
def test_what_is_no_file_is_not_written_over(traded: Files, place: str) -> None:
    said = traded.export("xes", "--out", place, "--force")
    assert (said.code, f"{place} is a directory, a link or a device: name a file" in said.err) == (2, True)


def test_without_data_or_read_models_it_is_said(traded: Files, tmp_path: Path) -> None:
    assert orderspine("export", "xes", "--out", tmp_path / "x", "--data", tmp_path / "absent").code == 4
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "build.json").write_text(BUILD)
    SqliteEventLog(bare / LOG_FILE).close()
    said = orderspine("export", "table", "orders", "--out", tmp_path / "x", "--data", bare)
    assert (said.code, "no read models" in said.err) == (4, True)
    said = traded.export("table", "nothing", "--out", tmp_path / "x")
    assert (said.code, "inventory" in said.err) == (2, True)
    assert not list(tmp_path.glob("x*"))
