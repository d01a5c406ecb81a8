"""What is published is what is recorded: schemas that are valid, files that are current, samples that fit for ever."""

import json
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from adapters.storage.memory_log import MemoryEventLog
from domain.catalogue import TAGS, TYPES, decode_event
from domain.ports import Recorded
from projections import PROJECTIONS
from projections.inventory import Inventory
from runners.cli import run
from runners.contract import DIALECT, RELEASED, documents_of, listed, named, released, tag_of
from runners.contract_shapes import Undescribed, contract, events_address
from runners.docs_contract import PAGE, breaches, main, merged, page, stored
from runners.documents import Marker
from runners.relay import Feed, subject_of
from tests.simulation import world
from tests.trade import Trade, money_day, trade_day, view

SAMPLES = Path(__file__).parents[1] / "fixtures" / "events"


@cache
def now() -> Any:
    return contract()


@cache
def judge(name: str, version: int) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(released().shapes[name][str(version)])


def tag_of_sample(path: Path) -> str:
    """Return the tag of a stored sample; behind it, a sample may have a name of its own."""
    known = {tag_of(name, int(version)) for name, versions in released().shapes.items() for version in versions}
    return path.stem if path.stem in known else path.stem.rpartition(".")[0]


def test_the_released_contract_holds_and_its_files_are_current() -> None:
    assert breaches(released(), now()) == []
    advice = "run `make docs` and commit what it writes"
    assert RELEASED.read_bytes() == stored(merged(released(), now())), advice
    assert PAGE.read_text(encoding="utf-8") == page(released()), advice
    assert main([]) == 0


def test_every_schema_is_a_valid_one() -> None:
    for versions in released().shapes.values():
        for schema in versions.values():
            assert schema["$schema"] == DIALECT
            jsonschema_rs.meta.validate(schema)


def test_every_event_and_every_bucket_has_a_schema_of_today() -> None:
    for tag in TYPES:
        name, version = named(tag)
        assert released().newest(name) == version
    for projection in PROJECTIONS:
        if projection.bucket:
            assert released().newest(projection.bucket) == projection.version


def test_the_document_leads_nowhere_empty() -> None:
    document = msgspec.yaml.decode(PAGE.read_bytes())
    for reference in set(references(document)):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, reference
            found = found[part]
    for channel in document["channels"].values():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == channel["parameters"].keys()
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": DIALECT, **schema["schema"]})


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for word, value in part.items():
            if word == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def test_a_schema_of_the_document_judges_as_the_released_one_does() -> None:
    document = msgspec.yaml.decode(PAGE.read_bytes())
    for path in SAMPLES.glob("*.json"):
        name, version = named(tag_of_sample(path))
        if version == released().newest(name):
            known = document["components"]["schemas"]
            parts = {own: part for own, part in known.items() if own == name or own.startswith(f"{name}.")}
            whole = {"$ref": f"#/components/schemas/{name}/schema", "components": {"schemas": parts}}
            jsonschema_rs.validator_for(whole).validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: str(path.stem))
def test_a_stored_sample_fits_its_schema(path: Path) -> None:
    judge(*named(tag_of_sample(path))).validate(json.loads(path.read_bytes()))


def test_every_released_version_of_an_event_has_a_stored_sample_that_loads() -> None:
    samples = {tag_of_sample(path): path for path in SAMPLES.glob("*.json")}
    events = {named(tag)[0] for tag in TYPES}
    for name in events & released().shapes.keys():
        for version in released().shapes[name]:
            tag = tag_of(name, int(version))
            assert type(decode_event(tag, samples[tag].read_bytes())) in TAGS, tag


def test_every_event_of_simulated_days_fits_its_schema_and_its_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    logs: list[MemoryEventLog] = []

    def noted(*arguments: Any, **options: Any) -> MemoryEventLog:
        logs.append(MemoryEventLog(*arguments, **options))
        return logs[-1]

    monkeypatch.setattr(world, "MemoryEventLog", noted)
    for seed in (2, 7):
        world.simulate(seed, 300)
    tags = set()
    for log in logs:
        for event in log.read(0, 1_000_000):
            tags.add(event.tag)
            assert fits(event) == [], event
    assert len(tags) > 25


def fits(event: Recorded) -> list[str]:
    """Return what is wrong with an event and the message it is published as."""
    name, version = named(event.tag)
    facts = json.loads(event.data)
    wrong: list[str] = [error.message for error in judge(name, version).iter_errors(facts)]
    subject, _, lines = Feed("main", "life", 1 << 20).messages([event[:6]])[0]
    headers = dict(line.split(": ", 1) for line in lines.decode().splitlines())
    wrong += [error.message for error in judge("event-headers", 1).iter_errors(headers)]
    verb = event.tag.partition(".")[2]
    if not re.fullmatch(pattern(events_address(event.tag), type=verb), subject):
        wrong.append(f"{subject} is not {events_address(event.tag)}")
    if subject != subject_of("main", event.stream, event.tag):
        wrong.append(subject)
    return wrong


def pattern(address: str, **known: str) -> str:
    parts = string.Formatter().parse(address)
    return "".join(re.escape(text) + (re.escape(known[word]) if word in known else r"[^.]+" if word else "")
                   for text, word, _, _ in parts)  # fmt: skip


def test_every_public_document_of_a_day_fits_its_schema() -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade_day(trade, 3, 200)
    money_day(trade, trade.take(view("1")))
    events = log.read(0, 1_000_000)
    seen = 0
    for projection in PROJECTIONS:
        changed = projection.fold(events, {})
        projection.changes(changed)
        public_ones = projection.public(changed)
        assert public_ones, projection.name
        for public in public_ones:
            document = {"generation": "life", **json.loads(public.json)}
            judge(projection.bucket, projection.version).validate(document)
            seen += 1
    assert seen > 20
    judge("checkpoint", 1).validate(json.loads(msgspec.json.encode(Marker("life", 7))))


def test_a_schema_refuses_what_is_not_so() -> None:
    paid = judge("order.paid", 1)
    good = {"amount": 100, "currency": "CNY", "paid_ms": 1}
    paid.validate(good)
    bad: list[Any] = [{**good, "amount": "100"}, {"currency": "CNY"}, {**good, "paid_ms": 1.5}, []]
    for wrong in bad:
        with pytest.raises(jsonschema_rs.ValidationError):
            paid.validate(wrong)


def test_a_public_bucket_without_a_described_shape_is_an_error() -> None:
    class New(Inventory):
        bucket = "secrets"

    with pytest.raises(Undescribed, match=r"'secrets'.*DOCUMENTS"):
        contract(projections=(New(),))


def test_shapes_are_listed_with_their_versions() -> None:
    found = {each.name: each for each in listed(released())}
    assert found["order.paid"].versions == (1,)
    assert found["order.paid"].about
    assert set(documents_of(released())) >= {"order.paid.1", "event-headers.1", "checkpoint.1"}


def test_schemas_are_shown_on_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["schemas", "--json"]) == 0
    assert {row["name"] for row in json.loads(capfd.readouterr().out)} == released().shapes.keys()
    for asked in (["order.paid"], ["order.paid", "--version", "1"]):
        assert run(["schemas", *asked]) == 0
        assert json.loads(capfd.readouterr().out) == released().shapes["order.paid"]["1"]


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["order.teleported"], 2, "`orderspine schemas` lists them"),
        (["order.paid", "--version", "9"], 2, "there are 1"),
        (["order.paid.v2"], 2, "no version 2"),
        (["--version", "1"], 2, "name it"),
    ],
)
def test_a_schema_that_is_not_there_is_told(
    capfd: pytest.CaptureFixture[str], asked: list[str], code: int, said: str
) -> None:
    assert run(["schemas", *asked]) == code
    assert said in capfd.readouterr().err
