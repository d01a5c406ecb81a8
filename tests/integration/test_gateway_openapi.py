"""The OpenAPI document is valid and true: whatever it allows, or does not, is answered as it says, never with a 500."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from adapters.web.openapi import EXAMPLE
from runners.contract import released
from tests.integration.gatewaying import Gateway, decoded, running_gateway

pytestmark = pytest.mark.xdist_group("gateway_openapi")

EXAMPLES = 15
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)


class Served(NamedTuple):
    """A gateway served in a thread: schemathesis asks from this one."""

    gateway: Gateway
    loop: asyncio.AbstractEventLoop
    url: str
    token: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = running_gateway(tmp_path_factory.mktemp("openapi") / "data")
    try:
        gateway = asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(60)
        gateway.start_projector()
        client = gateway.client
        yield Served(gateway, loop, str(client.base_url).rstrip("/"), client.headers["authorization"])
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def document(served: Served) -> dict[str, Any]:
    answer = asyncio.run_coroutine_threadsafe(served.gateway.client.get("/schema/openapi.json"), served.loop).result(10)
    assert answer.headers["content-type"].startswith("application/vnd.oai.openapi+json")
    found: dict[str, Any] = decoded(answer)
    return found


@pytest.fixture(scope="module")
def api(document: dict[str, Any], served: Served) -> Any:
    made = schemathesis.openapi.from_dict(document)
    made.config.base_url = served.url
    return made


def test_the_document_is_valid_openapi(api: Any) -> None:
    api.validate()


def test_every_operation_says_what_it_is_for_and_how_it_can_fail(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            if path.startswith("/api/"):
                assert operation["security"] == [{"token": []}]
                assert {"401", "403", "503"} <= operation["responses"].keys()
    problems = {
        schema["content"]["application/problem+json"]["schema"]["$ref"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, schema in operation["responses"].items()
        if status.startswith("4")
    }
    assert problems == {"#/components/schemas/Problem", "#/components/schemas/NotTaken"}


def test_the_examples_of_an_order_fit_its_schema_and_are_taken(document: dict[str, Any], served: Served) -> None:
    content = document["paths"]["/api/v1/orders"]["post"]["requestBody"]["content"]["application/json"]
    assert content["schema"]["oneOf"][0] == {"$ref": "#/components/schemas/GenericOrder"}
    validator = jsonschema_rs.validator_for({**content["schema"], "components": document["components"]})
    for example in content["examples"].values():
        validator.validate(example["value"])
    push = served.gateway.client.post("/api/v1/orders", json=EXAMPLE)
    answer = asyncio.run_coroutine_threadsafe(push, served.loop).result(20)
    assert answer.status_code == 200, answer.text
    assert decoded(answer)["orders"][0]["key"] == "order-generic:main-shop:SO-2026-0001"


@pytest.mark.parametrize(
    ("mode", "method", "path"),
    [
        (POSITIVE, "POST", "/api/v1/orders"),
        (NEGATIVE, "POST", "/api/v1/orders"),
        (POSITIVE, "GET", "/api/v1/orders"),
        (NEGATIVE, "GET", "/api/v1/orders"),
        (POSITIVE, "GET", "/api/v1/orders/{key}"),
        (NEGATIVE, "GET", "/api/v1/orders/{key}"),
        (POSITIVE, "GET", "/api/v1/schemas"),
        (NEGATIVE, "GET", "/api/v1/schemas"),
        (POSITIVE, "GET", "/api/v1/schemas/{name}"),
        (NEGATIVE, "GET", "/api/v1/schemas/{name}"),
        (POSITIVE, "GET", "/api/v1/schemas/{name}/{version}"),
        (POSITIVE, "POST", "/webhooks/{connection}"),
        (POSITIVE, "GET", "/webhooks/{connection}"),
        (POSITIVE, "GET", "/healthz"),
        (POSITIVE, "GET", "/readyz"),
        (POSITIVE, "GET", "/metrics"),
    ],
)
def test_whatever_is_asked_is_answered_as_the_document_says(
    api: Any, served: Served, mode: schemathesis.GenerationMode, method: str, path: str
) -> None:
    operation = api[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def asks(case: Any) -> None:
        answer = case.call(headers={"Authorization": served.token})
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        case.validate_response(answer, checks=list(CHECKS))

    asks()


def test_published_schemas_are_served_to_who_may_read(served: Served) -> None:
    def ask(path: str, **headers: str) -> httpx.Response:
        asked = served.gateway.client.get(f"/api/v1/schemas{path}", headers=headers)
        return asyncio.run_coroutine_threadsafe(asked, served.loop).result(20)

    names = {row["name"]: row for row in decoded(ask(""))["schemas"]}
    assert names.keys() == released().shapes.keys()
    for name, row in names.items():
        assert row["versions"][-1] == row["version"] == released().newest(name)
    newest = ask("/order.paid")
    assert newest.headers["content-type"] == "application/schema+json"
    assert decoded(newest) == decoded(ask("/order.paid/1")) == released().shapes["order.paid"]["1"]
    for wrong, advice in (("/order.teleported", "lists them"), ("/order.paid/2", "versions 1"), ("/order.paid/²", "1")):
        assert ask(wrong).status_code == 404
        assert advice in decoded(ask(wrong))["advice"]
    assert ask("/order.paid", authorization="Bearer osp_wrong").status_code == 401


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(body=st.binary(min_size=1, max_size=300), channel=st.sampled_from(["generic", "taobao", "douyin", "pos", "jd"]))
def test_no_bytes_at_all_are_lost(served: Served, body: bytes, channel: str) -> None:
    push = served.gateway.client.post("/api/v1/orders", params={"channel": channel, "shop": "s"}, content=body)
    answer = asyncio.run_coroutine_threadsafe(push, served.loop).result(20)
    assert answer.status_code in {200, 207, 422}, answer.text
    parts = msgspec.json.decode(answer.content)["orders"]
    assert parts
    assert all(part["outcome"] in {"refused", "quarantined", "ignored", "repeated", "hint"} for part in parts)
