"""The gateway takes orders in and shows them: each once, durable before the answer, and nothing personal comes out."""

import asyncio
import math
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from adapters.web.tokens import add_token
from domain.envelope import By, decode_envelope
from domain.ids import VIEWS_KEY
from domain.intake import IntakeQuarantined
from domain.mail import Mail
from domain.views import Differing, RecordCheck
from runners.bootstrap import API_TOKENS_FILE
from runners.waiting import raw_of, waiting
from tests.integration.gatewaying import SECRET, Gateway, decoded, order, orders, running_gateway, signed, until_async

NOW_MS = 1_770_600_000_000

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("gateway")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path_factory.mktemp("gateway") / "data") as running:
        running.start_projector()
        yield running


def of_order(gateway: Gateway, number: int) -> list[str]:
    """Return the tags of one order's events."""
    return [event.tag for event in gateway.cell.recorded() if event.stream == f"order-taobao:hardware:{number}"]


async def test_a_pushed_order_is_in_the_log_when_the_answer_comes(gateway: Gateway) -> None:
    answer = await gateway.push(order(1))
    assert answer.status_code == 200
    assert decoded(answer)["orders"] == [
        {"place": 1, "key": "order-taobao:hardware:1", "order_no": "1", "outcome": "accepted", "reason": ""}
    ]
    assert "order.received" in of_order(gateway, 1)


async def test_every_order_of_a_request_is_told_of(gateway: Gateway) -> None:
    answer = await gateway.push(b"[" + order(10) + b"," + order(10) + b',{"tid":11}]')
    assert answer.status_code == 200
    told = [(part["place"], part["outcome"], part["order_no"]) for part in decoded(answer)["orders"]]
    assert told == [(1, "accepted", "10"), (2, "repeated", "10"), (3, "hint", "11")]


async def test_what_cannot_be_taken_is_kept_beside_what_can(gateway: Gateway) -> None:
    answer = await gateway.push(b"[" + order(12) + b',"nonsense"]')
    assert answer.status_code == 207
    assert [part["outcome"] for part in decoded(answer)["orders"]] == ["accepted", "refused"]


async def test_bytes_that_nobody_understands_are_kept_whole(gateway: Gateway) -> None:
    sent = b'{"tid": 1, "buyer": "\xff\xfe'
    answer = await gateway.push(sent)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = decoded(answer)
    assert problem["where"] == "body"
    assert "UTF-8" in problem["detail"]
    assert [part["outcome"] for part in problem["orders"]] == ["quarantined"]
    (kept,) = [event for _, event in gateway.cell.events() if isinstance(event, IntakeQuarantined)][-1:]
    await until_async(lambda: any(item.id == kept.payload for item in waiting(gateway.cell.settings)), 20.0)
    item = next(item for item in waiting(gateway.cell.settings) if item.id == kept.payload)
    assert raw_of(gateway.cell.settings, item) == sent


async def test_durable_is_answered_before_the_commit_and_committed_all_the_same(gateway: Gateway) -> None:
    answer = await gateway.push(orders(20, 21), wait="durable")
    assert answer.status_code == 202
    assert [part["outcome"] for part in decoded(answer)["orders"]] == ["durable", "durable"]
    await until_async(lambda: "order.received" in of_order(gateway, 21))


async def test_the_same_purchase_by_push_and_by_webhook_is_one_order(gateway: Gateway) -> None:
    assert decoded(await gateway.push(order(30)))["orders"][0]["outcome"] == "accepted"
    assert (await gateway.webhook(order(30), "nonce-30")).status_code == 200
    assert of_order(gateway, 30).count("order.received") == 1
    assert of_order(gateway, 30).count("order.repeated") == 1


async def test_many_at_once_are_all_taken_and_each_gets_its_own_answer(gateway: Gateway) -> None:
    answers = await asyncio.gather(*(gateway.push(order(number)) for number in range(100, 160)))
    keys = [part["key"] for answer in answers for part in decoded(answer)["orders"]]
    assert keys == [f"order-taobao:hardware:{number}" for number in range(100, 160)]
    assert all(of_order(gateway, number).count("order.received") == 1 for number in range(100, 160))


async def test_a_document_larger_than_the_broker_takes_comes_in_whole(gateway: Gateway) -> None:
    large = order(40).replace("周末送货，谢谢".encode(), b"x" * 1_500_000)
    answer = await gateway.push(large)
    assert answer.status_code == 200, answer.text[:500]
    assert "order.received" in of_order(gateway, 40)


@pytest.mark.parametrize("body", [b"[" + b"1," * 30_000 + b"1]", b'{"orders":[' + b"{}," * 30_000 + b"{}]}"])
async def test_more_orders_than_anybody_sends_at_once_are_refused_before_any_is_taken(
    gateway: Gateway, body: bytes
) -> None:
    before = (await gateway.cell.info()).last_seq
    answer = await gateway.push(body + b" " * 64 * 1024)
    assert answer.status_code == 413
    assert "20,000" in decoded(answer)["detail"]
    assert (await gateway.cell.info()).last_seq == before


async def test_a_thousand_orders_in_one_request_are_each_told_of(gateway: Gateway) -> None:
    answer = await gateway.push(orders(*range(1_000, 2_000)))
    assert answer.status_code == 200
    told = decoded(answer)["orders"]
    assert [part["order_no"] for part in told] == [str(number) for number in range(1_000, 2_000)]
    assert {part["outcome"] for part in told} == {"accepted"}


# --- webhooks


async def test_a_webhook_becomes_an_order_and_gets_the_answer_of_its_platform(gateway: Gateway) -> None:
    answer = await gateway.webhook(order(50))
    assert (answer.status_code, answer.content) == (200, b'{"code":0}')
    assert "order.received" in of_order(gateway, 50)


async def test_a_connection_answers_by_its_channel_too_where_it_is_the_only_one(gateway: Gateway) -> None:
    assert (await gateway.webhook(order(51), name="taobao")).status_code == 200
    assert "order.received" in of_order(gateway, 51)
    assert (await gateway.webhook(order(52), name="nobody")).status_code == 404


async def test_the_same_push_again_is_answered_and_not_taken_in_again(gateway: Gateway) -> None:
    assert (await gateway.webhook(order(53), "nonce-53")).status_code == 200
    head = len(gateway.tags())
    answers = await asyncio.gather(*(gateway.webhook(order(53), "nonce-53") for _ in range(5)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b'{"code":0}')}
    assert len(gateway.tags()) == head
    assert await gateway.figure('orderspine_pushes_replayed_total{connection="shop-a"}') >= 5


async def test_the_same_push_many_times_at_once_is_taken_in_once(gateway: Gateway) -> None:
    answers = await asyncio.gather(*(gateway.webhook(order(54), "nonce-54") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert of_order(gateway, 54).count("order.received") == 1
    assert "order.repeated" not in of_order(gateway, 54)


async def test_another_push_under_a_used_nonce_is_not_lost(gateway: Gateway) -> None:
    """Not every platform signs its nonce: whoever can change it must not be able to hide an order with it."""
    await gateway.webhook(order(55), "nonce-55")
    assert (await gateway.webhook(order(56), "nonce-55")).status_code == 200
    assert "order.received" in of_order(gateway, 56)


@pytest.mark.parametrize("change", ["body", "signature", "missing"])
async def test_a_push_that_is_not_genuine_leaves_no_trace_but_a_count(gateway: Gateway, change: str) -> None:
    counted = 'orderspine_pushes_refused_total{connection="shop-a",reason="the signature is wrong"}'
    before, head = await gateway.figure(counted), gateway.cell.tracked()
    body, headers = order(57), signed(order(57))
    if change == "body":
        body = body[:-2] + b" }"
    elif change == "signature":
        headers["x-sign"] = "0" + headers["x-sign"][1:] if headers["x-sign"][0] != "0" else "1" + headers["x-sign"][1:]
    else:
        del headers["x-sign"]
    answer = await gateway.client.post("/webhooks/shop-a", content=body, headers=headers)
    assert answer.status_code == 401
    assert await gateway.figure(counted) == before + 1
    assert gateway.cell.tracked() == head
    assert (await gateway.cell.info()).last_seq == (head.position if head else 0)


async def test_a_receiver_that_chokes_refuses_and_tells_nothing_of_the_body(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await gateway.webhook(b"choke")).status_code == 401
    said = capsys.readouterr().out
    assert "webhook.not_judged" in said
    assert "ValueError" in said
    assert "choke" not in said


async def test_a_platform_that_checks_the_address_gets_its_echo(gateway: Gateway) -> None:
    answer = await gateway.client.get("/webhooks/shop-a", params={"token": SECRET, "echo": "e-1"})
    assert (answer.status_code, answer.text) == (200, "e-1")
    assert (await gateway.client.get("/webhooks/shop-a", params={"token": "no"})).status_code == 401


# --- who may


async def test_without_a_token_nothing_is_told_and_nothing_taken(gateway: Gateway) -> None:
    for headers in ({"authorization": ""}, {"authorization": "Bearer osp_wrong"}, {"authorization": "Basic x"}):
        answer = await gateway.push(order(60), headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert of_order(gateway, 60) == []
    assert await gateway.figure('orderspine_api_refused_total{reason="unknown token"}') >= 1


async def test_a_token_may_do_what_it_has_the_right_to(gateway: Gateway) -> None:
    file = gateway.cell.path / API_TOKENS_FILE
    reader, pusher = add_token(file, "reader", ("read",)), add_token(file, "pusher", ("push",))
    await asyncio.sleep(1.1)  # the file is looked at each second
    assert (await gateway.push(order(61), {"authorization": f"Bearer {reader}"})).status_code == 403
    assert (await gateway.push(order(61), {"authorization": f"Bearer {pusher}"})).status_code == 200
    listing = await gateway.client.get("/api/v1/orders", headers={"authorization": f"Bearer {pusher}"})
    assert listing.status_code == 403
    assert (await gateway.client.get("/api/v1/orders")).status_code == 200


# --- idempotency keys


async def test_the_same_request_under_a_key_gets_the_same_answer(gateway: Gateway) -> None:
    first = await gateway.push(order(70), {"idempotency-key": "key-70"})
    again = await gateway.push(order(70), {"idempotency-key": "key-70"})
    assert decoded(again) == decoded(first)
    assert decoded(again)["orders"][0]["outcome"] == "accepted"
    assert again.headers["idempotent-replayed"] == "true"
    assert "order.repeated" not in of_order(gateway, 70)


async def test_a_key_is_good_for_one_request_only(gateway: Gateway) -> None:
    await gateway.push(order(71), {"idempotency-key": "key-71"})
    answer = await gateway.push(order(72), {"idempotency-key": "key-71"})
    assert answer.status_code == 422
    assert decoded(answer)["type"] == "urn:orderspine:problem:key-used"
    assert of_order(gateway, 72) == []
    assert (await gateway.push(order(72), {"idempotency-key": "no key"})).status_code == 400


# --- the correlation id


async def test_the_correlation_id_leads_from_the_answer_to_the_events(gateway: Gateway) -> None:
    answer = await gateway.push(order(80), {"x-correlation-id": "trace-80"})
    assert answer.headers["x-correlation-id"] == "trace-80"
    assert decoded(answer)["correlation_id"] == "trace-80"
    events = [event for event in gateway.cell.recorded() if event.stream == "order-taobao:hardware:80"]
    assert {decode_envelope(event.envelope).correlation for event in events} == {"trace-80"}


async def test_an_id_that_could_do_harm_is_replaced(gateway: Gateway) -> None:
    answer = await gateway.push(order(81), {"x-correlation-id": 'x" onload="'})
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-correlation-id"])


async def test_the_log_tells_of_a_request_by_its_id_and_nothing_of_what_was_in_it(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    await gateway.push(order(82), {"x-correlation-id": "trace-82"}, shop="hardware")
    await gateway.client.get("/webhooks/shop-a", params={"token": SECRET, "echo": "e"})
    await gateway.client.get("/api/v1/orders", params={"text": "13800001111"})
    said = capsys.readouterr().out
    assert "trace-82" in said
    for secret in (SECRET, "13800001111", "王", "转塘", gateway.client.headers["authorization"]):
        assert secret not in said


# --- looking


async def test_a_pushed_order_is_listed_and_shown_without_anything_personal(gateway: Gateway) -> None:
    await gateway.push(order(90))
    address = "/api/v1/orders/taobao:hardware:90"
    for _ in range(400):
        shown = await gateway.client.get(address)
        if shown.status_code == 200:
            break
        await asyncio.sleep(0.05)
    found = decoded(shown)
    assert found["key"] == "order-taobao:hardware:90"
    assert found["items"][0]["sku"] == "SKU-6"
    assert found["amounts"]["currency"] == "CNY"
    assert (await gateway.client.get("/api/v1/orders/order-taobao:hardware:90")).content == shown.content
    listed = await gateway.client.get("/api/v1/orders", params={"text": "90"})
    assert [row["key"] for row in decoded(listed)["orders"]] == ["order-taobao:hardware:90"]
    for secret in ("王", "转塘", "uid-", "周末", '"customer"', '"sealed"'):
        assert secret not in shown.text
        assert secret not in listed.text


async def test_pages_hold_every_order_once_the_last_changed_first(gateway: Gateway) -> None:
    await gateway.push(orders(*range(200, 211)))
    await _read_to_the_end(gateway)
    seen: list[tuple[int, str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = decoded(await gateway.client.get("/api/v1/orders", params={"limit": 150, **cursor}))
        seen += [(row["position"], row["key"]) for row in page["orders"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == sorted(seen, reverse=True)
    keys = [key for _, key in seen]
    assert len(keys) == len(set(keys))
    streams = {event.stream for event in gateway.cell.recorded() if event.stream.startswith("order-")}
    assert set(keys) == streams


async def test_what_changed_since_a_time_is_found(gateway: Gateway) -> None:
    await gateway.push(order(220))
    events = [event for event in gateway.cell.recorded() if event.stream == "order-taobao:hardware:220"]
    at = decode_envelope(events[0].envelope).at
    await _read_to_the_end(gateway)
    moment = msgspec.to_builtins(_utc(at))
    listed = decoded(await gateway.client.get("/api/v1/orders", params={"changed_since": moment}))
    assert [row["order_no"] for row in listed["orders"]] == ["220"]
    later = msgspec.to_builtins(_utc(at + 3_600_000))
    assert decoded(await gateway.client.get("/api/v1/orders", params={"changed_since": later}))["orders"] == []


async def test_filters_narrow_the_list(gateway: Gateway) -> None:
    await gateway.push(order(230, "TRADE_FINISHED"))
    await _read_to_the_end(gateway)
    completed = decoded(await gateway.client.get("/api/v1/orders", params={"status": "completed"}))
    assert [row["order_no"] for row in completed["orders"]] == ["230"]
    assert decoded(await gateway.client.get("/api/v1/orders", params={"channel": "jd"}))["orders"] == []


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"status": "lost"}, "query status"),
        ({"limit": "0"}, "query limit"),
        ({"limit": "many"}, "query limit"),
        ({"cursor": "-1"}, "query cursor"),
        ({"changed_since": "yesterday"}, "query changed_since"),
        ({"changed_since": "2026-03-01T10:00:00"}, "query changed_since"),
        ({"chanel": "taobao"}, "query"),
        ({"status": ["paid", "shipped"]}, "query status"),
    ],
)
async def test_a_question_that_is_wrong_says_where(gateway: Gateway, asked: dict[str, Any], where: str) -> None:
    answer = await gateway.client.get("/api/v1/orders", params=asked)
    assert answer.status_code == 400
    problem = decoded(answer)
    assert problem["where"] == where
    assert problem["detail"]
    assert problem["advice"]
    assert problem["correlation_id"] == answer.headers["x-correlation-id"]


async def test_a_push_for_two_shops_is_taken_for_none(gateway: Gateway) -> None:
    """The shop is part of an order's identity for ever: which of two is meant is not guessed."""
    answer = await gateway.client.post("/api/v1/orders?channel=taobao&shop=one&shop=other", content=order(271))
    assert (answer.status_code, decoded(answer)["where"]) == (400, "query shop")


@pytest.mark.parametrize(
    "key", ["nothing", "taobao:hardware:404", "order-x", "order-taobao:hardware:404", "%00", "a:b"]
)
async def test_an_order_that_is_not_there_is_not_found(gateway: Gateway, key: str) -> None:
    assert (await gateway.client.get(f"/api/v1/orders/{key}")).status_code == 404


async def test_what_a_plain_curl_sends_is_taken(gateway: Gateway) -> None:
    answer = await gateway.push(order(240), {"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 200


# --- for whoever keeps it running


async def test_head_is_get_without_a_body(gateway: Gateway) -> None:
    answer = await gateway.client.head("/healthz")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "3")


async def test_figures_tell_how_things_stand(gateway: Gateway) -> None:
    ready = decoded(await gateway.client.get("/readyz"))
    assert (ready["broker"], ready["worker"], ready["refusal"]) == (True, True, "")
    figures = (await gateway.client.get("/metrics")).text
    for name in (
        "orderspine_http_requests_total{",
        "orderspine_http_request_seconds_bucket{",
        "# TYPE orderspine_pushes_refused_total ",
        "orderspine_mail_backlog ",
        "orderspine_log_head ",
        "orderspine_projection_lag_events ",
        "orderspine_disk_free_bytes ",
    ):
        assert name in figures
    assert (await gateway.client.get("/healthz")).text == "ok\n"


async def test_the_last_self_check_is_a_figure_and_none_is_no_number(gateway: Gateway) -> None:
    assert math.isnan(await gateway.figure("orderspine_differing_orders"))
    wrong = (Differing("orders", "order-taobao:hardware:1", "state"), Differing("desk", "order-taobao:hardware:1", "x"))
    for number, differ in enumerate((wrong, ())):
        check = RecordCheck(f"check-{number}", 20, 90, len({each.row for each in differ}), differ, 1)
        await gateway.cell.publish([Mail(VIEWS_KEY, check, NOW_MS, By("system", "self-check"), "self-check")])
        for _ in range(200):
            if (figure := await gateway.figure("orderspine_differing_orders")) == 1 - number:
                break
            await asyncio.sleep(0.05)
        assert figure == 1 - number


def _utc(ms: int) -> object:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(ms / 1000, UTC)


async def _read_to_the_end(gateway: Gateway) -> None:
    """Wait until the read models show all there is."""
    for _ in range(400):
        head = len(gateway.cell.recorded())
        if decoded(await gateway.client.get("/api/v1/orders", params={"limit": 1}))["position"] >= head:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the read models do not follow")
