"""The document of the feeds, judged by the schema that the AsyncAPI Initiative publishes for its version.

The schema comes with the initiative's own package, whose version and hash tests/published/package-lock.json fixes.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from runners.docs_contract import PAGE

LOCKED = Path(__file__).parents[1] / "published"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> jsonschema_rs.Validator:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    place = tmp_path_factory.mktemp("published")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCKED / name, place)
    got = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=place, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if got.returncode:
        pytest.skip(f"npm cannot get the published schema: {got.stderr[-200:]}")
    version = msgspec.yaml.decode(PAGE.read_bytes())["asyncapi"]
    schema = place / "node_modules" / "@asyncapi" / "specs" / "schemas" / f"{version}.json"
    return jsonschema_rs.validator_for(json.loads(schema.read_bytes()))


def test_the_document_is_what_the_published_schema_asks_for(judge: jsonschema_rs.Validator) -> None:
    judge.validate(msgspec.yaml.decode(PAGE.read_bytes()))


def _no_operation_is_an_object(document: Any) -> None:
    document["operations"] = dict.fromkeys(document["operations"], "receive")


def _an_action_is_made_up(document: Any) -> None:
    next(iter(document["operations"].values()))["action"] = "overhear"


def _a_channel_has_an_unknown_field(document: Any) -> None:
    next(iter(document["channels"].values()))["adress"] = "events.>"


def _a_message_has_no_proper_headers(document: Any) -> None:
    next(iter(document["components"]["messages"].values()))["headers"] = 7


def _a_server_speaks_nothing(document: Any) -> None:
    del next(iter(document["servers"].values()))["protocol"]


@pytest.mark.parametrize(
    "spoil",
    [
        _no_operation_is_an_object,
        _an_action_is_made_up,
        _a_channel_has_an_unknown_field,
        _a_message_has_no_proper_headers,
        _a_server_speaks_nothing,
    ],
)
def test_the_published_schema_is_followed_into_every_part(
    judge: jsonschema_rs.Validator, spoil: Callable[[Any], None]
) -> None:
    document = msgspec.yaml.decode(PAGE.read_bytes())
    spoil(document)
    assert not judge.is_valid(document)
