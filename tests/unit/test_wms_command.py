"""What a person types at `orderspine wms`: warehouses are written down as said, or refused with what to do."""

from pathlib import Path

import pytest

from adapters.wms.settings import FILE
from runners.lock import DataLock
from runners.wms_settings import load
from tests.integration.running import Said, orderspine

GOOD = {
    "--url": "https://wms.example/qimen",
    "--app-key": "12345678",
    "--customer-id": "C001",
    "--owner-code": "OWNER1",
    "--warehouse": "A=HZ01",
    "--secret": "env:NORTH_SECRET",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with DataLock(tmp_path / "data"):
        pass
    return tmp_path / "data"


def say(data: Path, *words: object) -> Said:
    return orderspine("wms", *words, "--data", data)


def add(data: Path, name: str = "north", *more: object, **changed: str) -> Said:
    given = GOOD | {f"--{option.replace('_', '-')}": value for option, value in changed.items()}
    return say(data, "add", name, *(word for pair in given.items() for word in pair), *more)


def test_what_is_added_is_listed_switched_and_removed(data: Path) -> None:
    assert add(data).code == 0
    (one,) = load(data)
    assert (one.name, one.warehouses, one.secret) == ("north", {"A": "HZ01"}, "env:NORTH_SECRET")
    assert (data / FILE).stat().st_mode & 0o077 == 0
    assert "north" in say(data, "list").out
    assert say(data, "disable", "north").code == 0
    assert not load(data)[0].enabled
    assert say(data, "enable", "north", "--json").json == {"name": "north", "enabled": True}
    assert say(data, "remove", "north").code == 0
    assert load(data) == ()
    assert "wms add --help" in say(data, "list").err


def test_a_warehouse_is_only_replaced_when_that_is_said(data: Path) -> None:
    assert add(data).code == 0
    again = add(data, customer_id="C002")
    assert (again.code, "--replace" in again.err, load(data)[0].customer_id) == (1, True, "C001")
    assert add(data, "north", "--replace", customer_id="C002").code == 0
    assert [each.customer_id for each in load(data)] == ["C002"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"url": "wms.example"}, "https://host/path"),
        ({"secret": "s3cr3t-itself"}, "env:VARIABLE or file:PATH"),
        ({"warehouse": "A"}, "NAME=VALUE"),
        ({"app_key": " "}, "app_key is empty"),
        ({"compare_every": "5"}, "at least 60"),
    ],
)
def test_what_means_nothing_is_refused_with_what_to_do(data: Path, changed: dict[str, str], told: str) -> None:
    said = add(data, **changed)
    assert said.code == 2
    assert told in said.err
    assert "s3cr3t" not in said.err
    assert "Traceback" not in said.err
    assert not (data / FILE).exists() or load(data) == ()


def test_one_warehouse_is_not_served_by_two(data: Path) -> None:
    assert add(data).code == 0
    said = add(data, "south")
    assert (said.code, "served by north" in said.err) == (2, True)
    assert [each.name for each in load(data)] == ["north"]


def test_who_is_not_there_is_told_with_those_who_are(data: Path) -> None:
    assert add(data).code == 0
    for verb in ("test", "remove", "compare", "enable", "disable"):
        said = say(data, verb, "south")
        assert (said.code, "there are: north" in said.err) == (1, True), verb


def test_a_missing_secret_is_told_with_where_it_should_be(data: Path) -> None:
    assert add(data).code == 0
    said = say(data, "test", "north")
    assert (said.code, "NORTH_SECRET" in said.err) == (1, True)
