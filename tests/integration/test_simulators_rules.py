"""The simulated platforms keep their own rules: signatures, times, windows, pages, limits, faults, notices."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.simulators import SHOP, SimLine, SimShop, Simulated, an_order, signatures
from adapters.simulators.faults import HOWS, Faults
from adapters.simulators.making import LINES
from adapters.simulators.numbers import CHANNELS, order_no
from adapters.simulators.pinduoduo import Pinduoduo
from adapters.simulators.shop import Tokens
from adapters.simulators.store import Store
from adapters.simulators.taobao_socket import SEND, Date, Value, read, write
from adapters.simulators.texts import from_wall, wall
from domain.ports import Aside, Channel
from tests.integration.simulated_calls import (
    NOW_MS,
    SECRET,
    TLS,
    douyin,
    jd,
    pinduoduo,
    posted,
    shopify,
    taobao,
    wechat,
)

REFERENCE = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples"
HOUR_MS = 3_600_000


def vectors(channel: str) -> dict[str, Any]:
    file = REFERENCE / channel / "signature_vectors.json"
    if not file.exists():
        pytest.skip("the reference samples are not here")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_the_published_signature_of_jd_comes_out() -> None:
    base = (
        '360buy_param_json{"end_date":null,"optional_fields":null,"order_state":"WAIT_SELLER_STOCK_OUT","page":"1",'
        '"page_size":"200","start_date":null}access_tokenyourtokenapp_keyyourappkeymethodjingdong.pop.order.search'
        "timestamp2021-05-07 09:20:39.683+0800v2.0"
    )
    assert signatures.wrapped_md5(base, "yourappSecret") == "D70825340F4084360B9362B60DFD7930"


def test_the_published_signature_of_pinduoduo_comes_out() -> None:
    params = {
        "type": "pdd.order.number.list.get",
        "client_id": "1",
        "access_token": "asd78172s8ds9a921j9qqwda12312w1w21211",
        "timestamp": "1480411125",
        "data_type": "XML",
        "order_status": "1",
        "page": "1",
        "page_size": "10",
        "sign": "ignored",
    }
    assert signatures.pinduoduo(params, "testSecret") == "E4DE3ED21002510DED352819E7AE6775"


def test_the_published_path_of_pinduoduos_socket_comes_out() -> None:
    digest = signatures.pinduoduo_socket("app", "1700000000000", "secret")
    assert digest == "OTgxODMwNDI2NWZiN2NiNzA2NzIxOTI0ZjJlMDMxMjE%3D"


def test_the_published_signature_of_a_wechat_message_comes_out() -> None:
    sign = signatures.wechat("token", "1714112445", "415670741", "EncryptValue")
    assert sign == "03de89c50e642c93033dd7f4ef86a8356e80e345"


def test_every_vector_of_the_reference_comes_out() -> None:
    for case in vectors("taobao")["cases"]:
        assert signatures.taobao(case["params"], vectors("taobao")["secret"]) == case["sign"]
    douyin = vectors("douyin")
    asked = douyin["request"]
    params = {"app_key": douyin["app_key"], "timestamp": str(asked["timestamp"]), "sign_method": "hmac-sha256"}
    found = signatures.douyin(asked["method"], params, asked["param_json"], douyin["app_secret"])
    assert found == asked["sign"]
    push = douyin["push"]
    found = signatures.douyin_event(douyin["app_key"], push["raw_body"].encode(), douyin["app_secret"])
    assert found == push["event-sign"]
    shopify = vectors("shopify")
    assert signatures.shopify(shopify["raw_body"].encode(), shopify["secret"]) == shopify["X-Shopify-Hmac-Sha256"]
    plain = vectors("wechat_miniprogram")["signature"]
    assert signatures.wechat(plain["token"], plain["timestamp"], plain["nonce"]) == plain["sign"]


def simulated(channel: str, shop: SimShop = SHOP) -> Simulated:
    return Simulated(channel, shop, now_ms=lambda: NOW_MS)


def code_of(answer: dict[str, Any]) -> Any:
    """Return a refusal's code, None where it is none."""
    error = answer.get("error_response")
    if error is not None:
        return error.get("sub_code") or error.get("code") or error.get("error_code")
    return answer.get("sub_code") or answer.get("errcode")


WINDOW = {"start_modified": wall(NOW_MS - HOUR_MS), "end_modified": wall(NOW_MS), "fields": "tid,modified"}
PDD_WINDOW = {
    "start_updated_at": str(NOW_MS // 1000 - 1_800),
    "end_updated_at": str(NOW_MS // 1000),
    "order_status": "5",
    "refund_status": "5",
    "is_lucky_flag": "0",
}
JD_ASKED = {
    "start_date": wall(NOW_MS - HOUR_MS),
    "end_date": wall(NOW_MS),
    "order_state": "WAIT_SELLER_STOCK_OUT",
    "optional_fields": "orderId,modified",
    "page": "1",
    "page_size": "10",
    "sortType": "1",
    "dateType": "0",
}


async def test_taobao_refuses_what_is_signed_wrongly_or_too_late() -> None:
    async with simulated("taobao") as sim:
        feed = "taobao.trades.sold.increment.get"
        assert (await taobao(sim, feed, sign="0" * 32, **WINDOW))["error_response"]["code"] == 25
        assert (await taobao(sim, feed, **{**WINDOW, "timestamp": wall(NOW_MS - 700_000)}))["error_response"][
            "code"
        ] == 31
        assert (await taobao(sim, feed, **{**WINDOW, "app_key": "1"}))["error_response"]["code"] == 29
        assert (await taobao(sim, feed, **{**WINDOW, "session": "x"}))["error_response"]["code"] == 27
        assert (await taobao(sim, "taobao.no.such", fields="tid"))["error_response"]["code"] == 22
        hmac = {**WINDOW, "sign_method": "hmac"}
        assert "trades_sold_increment_get_response" in await taobao(sim, feed, **hmac)
        assert [one.outcome for one in sim.requests][:2] == ["refused 25", "refused 31"]
        assert all("sign" not in one.params and "session" not in one.params for one in sim.requests)


async def test_taobaos_feed_has_windows_of_a_day_and_its_newest_first() -> None:
    async with simulated("taobao") as sim:
        sim.add(*(an_order("taobao", at, NOW_MS - HOUR_MS + at * 60_000) for at in range(1, 8)))
        feed = "taobao.trades.sold.increment.get"
        too_long = {**WINDOW, "start_modified": wall(NOW_MS - 25 * HOUR_MS)}
        assert (await taobao(sim, feed, **too_long))["error_response"]["sub_code"].startswith("isv.invalid-parameter")
        first = (await taobao(sim, feed, page_size="3", use_has_next="true", **WINDOW))[
            "trades_sold_increment_get_response"
        ]
        assert first["has_next"] is True
        assert "total_results" not in first
        times = [trade["modified"] for trade in first["trades"]["trade"]]
        assert times == sorted(times, reverse=True)
        assert set(first["trades"]["trade"][0]) == {"tid", "modified"}
        last = (await taobao(sim, feed, page_size="3", page_no="3", **WINDOW))["trades_sold_increment_get_response"]
        assert last["total_results"] == 7
        assert len(last["trades"]["trade"]) == 1
        beyond = (await taobao(sim, feed, page_size="3", page_no="9", **WINDOW))["trades_sold_increment_get_response"]
        assert "trades" not in beyond


async def test_a_change_shifts_the_pages_behind_it() -> None:
    async with simulated("taobao") as sim:
        orders = [an_order("taobao", at, NOW_MS - HOUR_MS + at * 60_000) for at in range(1, 7)]
        sim.add(*orders)
        feed = "taobao.trades.sold.increment.get"

        async def page(number: int) -> list[int]:
            window = {**WINDOW, "page_size": "2", "page_no": str(number)}
            found = (await taobao(sim, feed, **window))["trades_sold_increment_get_response"]
            return [trade["tid"] for trade in found["trades"]["trade"]]

        second = await page(2)
        sim.change(orders[0].order_no, modified_ms=NOW_MS)
        assert (await page(2))[1] == second[0]


async def test_a_trade_gives_only_the_fields_that_are_asked_for() -> None:
    async with simulated("taobao") as sim:
        order = an_order("taobao", 1, NOW_MS - HOUR_MS)
        sim.add(order)
        found = await taobao(sim, "taobao.trade.fullinfo.get", tid=order.order_no, fields="tid,status,orders.oid")
        assert set(found["trade_fullinfo_get_response"]["trade"]) == {"tid", "status", "orders"}
        unknown = await taobao(sim, "taobao.trade.fullinfo.get", tid="1", fields="tid")
        assert unknown["error_response"]["sub_code"] == "isv.trade-not-exist"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"tid": "1"}, "B01"),
        ({"company_code": "NOBODY"}, "B56"),
        ({"is_split": "1"}, "CD25"),
        ({"is_split": "1", "sub_tid": "1"}, "P38"),
    ],
)
async def test_taobao_refuses_wrong_ship_notices(changed: dict[str, str], code: str) -> None:
    async with simulated("taobao") as sim:
        order = an_order("taobao", 1, NOW_MS - HOUR_MS)
        sim.add(order)
        notice = {"tid": order.order_no, "out_sid": "SF1", "company_code": "SF", **changed}
        assert code_of(await taobao(sim, "taobao.logistics.online.send", **notice)).endswith(f":{code}")
        assert sim.shipments == []


async def test_taobao_ships_once_and_in_parts() -> None:
    async with simulated("taobao") as sim:
        order = an_order("taobao", 1, NOW_MS - HOUR_MS)
        sim.add(order)
        ids = [str(int(order.order_no) + at * 10**9) for at in (1, 2)]
        send, notice = "taobao.logistics.online.send", {"tid": order.order_no, "out_sid": "SF1", "company_code": "SF"}
        part = {**notice, "is_split": "1", "sub_tid": ids[0]}
        assert "error_response" not in await taobao(sim, send, **part)
        assert code_of(await taobao(sim, send, **part)).endswith(":B27")
        assert code_of(await taobao(sim, send, **notice)).endswith(":CD22")
        assert "error_response" not in await taobao(sim, send, **{**part, "sub_tid": ids[1]})
        assert code_of(await taobao(sim, send, **notice)).endswith(":B27")
        found = sim.store.get(order.order_no)
        assert found is not None
        assert (found.status, found.shipped_ms) == ("shipped", NOW_MS)
        assert found.modified_ms >= NOW_MS


async def test_without_a_waybill_a_taobao_trade_stays_as_it_is() -> None:
    async with simulated("taobao") as sim:
        order = an_order("taobao", 1, NOW_MS - HOUR_MS)
        sim.add(order)
        await taobao(sim, "taobao.logistics.online.send", tid=order.order_no, company_code="SF")
        assert sim.store.get(order.order_no) == order


async def test_pinduoduo_refuses_what_is_signed_wrongly_and_windows_longer_than_half_an_hour() -> None:
    async with simulated("pinduoduo") as sim:
        feed = "pdd.order.number.list.increment.get"
        assert (await pinduoduo(sim, feed, **PDD_WINDOW, sign="0" * 32))["error_response"]["error_code"] == 20004
        too_long = {**PDD_WINDOW, "start_updated_at": str(NOW_MS // 1000 - 1_801)}
        assert (await pinduoduo(sim, feed, **too_long))["error_response"]["error_code"] == 50001
        late = await pinduoduo(sim, feed, **{**PDD_WINDOW, "timestamp": str(NOW_MS // 1000 - 700)})
        assert late["error_response"]["error_code"] == 10001
        sim.expire_tokens()
        ended = await pinduoduo(sim, feed, **PDD_WINDOW)
        assert ended["error_response"]["error_code"] == 10019


async def test_an_ordinary_unpaid_order_is_not_in_pinduoduos_feed() -> None:
    async with simulated("pinduoduo") as sim:
        at_ms = NOW_MS - 1_000_000
        sim.add(an_order("pinduoduo", 1, at_ms, "awaiting_payment"))
        sim.add(an_order("pinduoduo", 2, at_ms, "awaiting_payment", presale=True, deposit_fen=100))
        sim.add(an_order("pinduoduo", 3, at_ms, "paid", hold="risk_review"))
        found = await pinduoduo(sim, "pdd.order.number.list.increment.get", **PDD_WINDOW)
        orders = found["order_sn_increment_get_response"]["order_sn_list"]
        assert sorted(one["order_sn"][-1] for one in orders) == ["2", "3"]
        reviewed = next(one for one in orders if one["order_sn"].endswith("3"))
        assert (reviewed["receiver_name"], reviewed["risk_control_status"]) == ("", 1)


async def test_jds_answers_fail_inside_a_success() -> None:
    async with simulated("jd") as sim:
        sim.add(*(an_order("jd", at, NOW_MS - HOUR_MS + at * 60_000) for at in range(1, 4)))
        search = "jingdong.pop.order.search"
        found = (await jd(sim, search, JD_ASKED))["jingdong_pop_order_search_responce"]
        assert found["code"] == "0"
        page = found["searchorderinfo_result"]
        assert page["orderTotal"] == 3
        assert set(page["orderInfoList"][0]) == {"orderId", "modified"}
        too_long = {**JD_ASKED, "start_date": wall(NOW_MS - 32 * 24 * HOUR_MS)}
        failed = (await jd(sim, search, too_long))["jingdong_pop_order_search_responce"]
        assert failed["code"] == "0"
        assert failed["searchorderinfo_result"]["apiResult"]["success"] is False
        assert "orderInfoList" not in failed["searchorderinfo_result"]
        no_fields = (await jd(sim, search, {**JD_ASKED, "optional_fields": ""}))["jingdong_pop_order_search_responce"]
        assert no_fields["searchorderinfo_result"]["apiResult"]["success"] is False
        assert (await jd(sim, search, JD_ASKED, sign="0" * 32))["error_response"]["code"] == "22"
        assert (await jd(sim, search, JD_ASKED, timestamp="2021-05-07 09:20:39"))["error_response"]["code"] == "24"
        assert (await jd(sim, search, JD_ASKED, access_token="x"))["error_response"]["code"] == "19"


async def test_douyin_refuses_by_its_own_codes() -> None:
    async with simulated("douyin") as sim:
        now_s = NOW_MS // 1000
        good = {"update_time_start": now_s - 3_600, "update_time_end": now_s, "page": 0, "size": 10}
        search = "order.searchList"
        assert (await douyin(sim, search, good))["data"]["shop_order_list"] is None
        assert code_of(await douyin(sim, search, good, sign="0" * 64)) == "isv.signature-invalid"
        assert code_of(await douyin(sim, search, good, timestamp=str(now_s - 700))) == "isv.timestamp-invalid"
        assert code_of(await douyin(sim, search, {**good, "size": 101})) == "isv.parameter-invalid:20008"
        assert code_of(await douyin(sim, search, {**good, "page": 501, "size": 100})) == "isv.parameter-invalid:20013"
        ago = {**good, "update_time_start": now_s - 91 * 86_400}
        assert code_of(await douyin(sim, search, ago)) == "isv.parameter-invalid:20022"
        sim.expire_tokens()
        # What was given out is remembered: it has ended, which is another answer than never having been.
        assert code_of(await douyin(sim, search, good)) == "isv.access-token-expired"
        assert code_of(await douyin(sim, search, good, access_token="x")) == "isv.access-token-no-existed"


async def test_douyin_gives_the_first_success_of_a_request_id_again() -> None:
    async with simulated("douyin") as sim:
        order = an_order("douyin", 1, NOW_MS - HOUR_MS)
        sim.add(order)
        line = str(int(order.order_no) + 1)
        asked = {
            "order_id_list": [order.order_no],
            "shipped_order_info": [{"shipped_order_id": line, "shipped_num": 2}],
            "logistics_code": "SF1",
            "company_code": "shunfeng",
            "request_id": "r1",
        }
        pack = "order.logisticsAddSinglePack"
        first = await douyin(sim, pack, asked)
        assert (await douyin(sim, pack, asked))["data"] == first["data"]
        assert len(sim.shipments) == 1
        assert code_of(await douyin(sim, pack, {**asked, "request_id": "r2"})) == "isv.business-failed:70023"
        too_many = [{"shipped_order_id": str(int(line) + 1), "shipped_num": 4}]
        wrong = {**asked, "request_id": "r3", "shipped_order_info": too_many}
        assert code_of(await douyin(sim, pack, wrong)) == "isv.business-failed:60016"
        unknown = {**asked, "request_id": "r4", "company_code": "nobody"}
        assert code_of(await douyin(sim, pack, unknown)) == "isv.parameter-invalid:60018"


async def test_wechat_lists_numbers_behind_a_cursor_that_belongs_to_its_question() -> None:
    async with simulated("wechat_shop") as sim:
        sim.add(*(an_order("wechat_shop", at, NOW_MS - HOUR_MS + at * 60_000) for at in range(1, 6)))
        now_s = NOW_MS // 1000
        span = {"start_time": now_s - 3_600, "end_time": now_s}
        path = "/channels/ec/order/list/get"
        first = await wechat(sim, path, {"update_time_range": span, "page_size": 2})
        assert (first["errcode"], first["has_more"], len(first["order_id_list"])) == (0, True, 2)
        key = first["next_key"]
        second = await wechat(sim, path, {"update_time_range": span, "page_size": 2, "next_key": key})
        assert not set(first["order_id_list"]) & set(second["order_id_list"])
        other = {"update_time_range": {**span, "end_time": now_s - 1}, "page_size": 2, "next_key": key}
        assert (await wechat(sim, path, other))["errcode"] == 606006
        too_long = {"update_time_range": {**span, "start_time": now_s - 8 * 86_400}, "page_size": 2}
        assert (await wechat(sim, path, too_long))["errcode"] == 31042
        assert (await wechat(sim, path, {"update_time_range": span}, "nobody"))["errcode"] == 40001


async def test_a_stable_token_stays_the_same_until_it_is_forced_or_ends() -> None:
    async with simulated("wechat_shop") as sim:
        asked = {"grant_type": "client_credential", "appid": SHOP.app_key, "secret": SECRET}
        first = await posted(sim, "/cgi-bin/stable_token", json.dumps(asked))
        assert await posted(sim, "/cgi-bin/stable_token", json.dumps(asked)) == first
        forced = await posted(sim, "/cgi-bin/stable_token", json.dumps({**asked, "force_refresh": True}))
        assert forced["access_token"] != first["access_token"]
        wrong = await posted(sim, "/cgi-bin/stable_token", json.dumps({**asked, "secret": "x"}))
        assert wrong["errcode"] == 40125


async def test_shipping_twice_is_109001_at_the_wechat_shop() -> None:
    async with simulated("wechat_shop") as sim:
        order = an_order("wechat_shop", 1, NOW_MS - HOUR_MS, lines=LINES[:1])
        sim.add(order)
        detail = await wechat(sim, "/channels/ec/order/get", {"order_id": order.order_no})
        product = detail["order"]["order_detail"]["product_infos"][0]
        goods = {"product_id": product["product_id"], "sku_id": product["sku_id"], "product_cnt": 2}
        parcel = {"deliver_type": 1, "delivery_id": "SF", "waybill_id": "SF1", "product_infos": [goods]}
        asked = {"order_id": order.order_no, "delivery_list": [parcel]}
        send = "/channels/ec/order/delivery/send"
        wrong = {
            "order_id": order.order_no,
            "delivery_list": [{**parcel, "product_infos": [{**goods, "product_cnt": 3}]}],
        }
        assert (await wechat(sim, send, wrong))["errcode"] == 109005
        assert (await wechat(sim, send, asked))["errcode"] == 0
        assert (await wechat(sim, send, asked))["errcode"] == 109001


async def test_shopify_pages_by_a_cursor_and_takes_no_filter_beside_it() -> None:
    async with simulated("shopify") as sim:
        sim.add(*(an_order("shopify", at, NOW_MS - HOUR_MS + at * 60_000) for at in range(1, 6)))
        path, asked = "/admin/api/2026-07/orders.json", {"status": "any", "limit": "2", "order": "updated_at asc"}
        first = await shopify(sim, path, asked)
        assert [one["order_number"] for one in first.json()["orders"]] == [1, 2]
        link = first.headers["link"]
        assert link.endswith('rel="next"')
        ahead = httpx.URL(link[1 : link.index(">")])
        second = await shopify(sim, path, dict(ahead.params))
        assert [one["order_number"] for one in second.json()["orders"]] == [3, 4]
        beside = await shopify(sim, path, {**dict(ahead.params), "status": "any"})
        assert beside.status_code == 400
        assert (await shopify(sim, path, asked, "nobody")).status_code == 401
        sim.fail_next(1, "limited")
        limited = await shopify(sim, path, asked)
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "2.0")


@pytest.mark.parametrize("how", HOWS)
async def test_each_fault_happens_once_and_takes_effect_or_not_as_its_name_says(how: str) -> None:
    async with simulated("pinduoduo") as sim:
        order = an_order("pinduoduo", 1, NOW_MS - HOUR_MS)
        sim.add(order)
        sim.fail_next(1, how, "logistics")  # type: ignore[arg-type]
        notice = {"order_sn": order.order_no, "logistics_id": "44", "tracking_number": "SF1"}
        send = "pdd.logistics.online.send"
        try:
            async with asyncio.timeout(0.3 if "timeout" in how else 5):
                found = await pinduoduo(sim, send, **notice)
        except (httpx.TransportError, TimeoutError, json.JSONDecodeError):
            found = {}
        assert not found.get("logistics_online_send_response")
        effect = how.endswith("_after") or how in ("cut_after", "wrong_json")
        assert len(sim.shipments) == int(effect)
        assert "order_info_get_response" in await pinduoduo(sim, "pdd.order.information.get", order_sn=order.order_no)
        if not effect:
            assert "logistics_online_send_response" in await pinduoduo(sim, send, **notice)


def test_asking_too_often_is_refused_and_passes() -> None:
    now_s = [0.0]
    faults = Faults(lambda: now_s[0])
    assert not any(faults.too_often() for _ in range(100))
    faults.limit(4)
    assert [faults.too_often() for _ in range(6)] == [False, False, False, False, True, True]
    now_s[0] += 0.5
    assert [faults.too_often() for _ in range(3)] == [False, False, True]
    now_s[0] += 60
    assert [faults.too_often() for _ in range(5)] == [False, False, False, False, True]


def test_a_refresh_token_and_a_code_work_once() -> None:
    now = [NOW_MS]
    tokens = Tokens(lambda: now[0], 60, 600)
    first = tokens.current
    second = tokens.refreshed(first.refresh)
    assert second is not None
    assert (tokens.state(first.access), tokens.state(second.access)) == ("expired", "ok")
    assert tokens.refreshed(first.refresh) is None
    now[0] += 61_000
    assert tokens.state(second.access) == "expired"
    now[0] += 600_000
    assert tokens.refreshed(second.refresh) is None
    code = tokens.code()
    assert tokens.exchange(code) is not None
    assert tokens.exchange(code) is None
    assert tokens.state("never given") == "unknown"


def test_a_change_moves_the_modified_time_on_even_if_the_clock_stands() -> None:
    store = Store(lambda: NOW_MS)
    kinds: list[str] = []
    store.watchers.append(lambda _, kind: kinds.append(kind))
    order = store.add(an_order("taobao", 1, NOW_MS - 1, "awaiting_payment"))
    first = store.change(order.order_no, status="paid", paid_ms=NOW_MS)
    second = store.change(order.order_no, message="hello")
    assert order.modified_ms < first.modified_ms < second.modified_ms
    store.ship(order.order_no, "SF", "SF1", [0])
    store.ship(order.order_no, "SF", "SF2")
    assert kinds == ["created", "paid", "changed", "partly_shipped", "shipped"]
    found = store.get(order.order_no)
    assert found is not None
    assert [parcel.lines for parcel in found.parcels] == [(0,), (1,)]


def test_order_numbers_are_the_platforms_own_and_never_the_same() -> None:
    for channel in CHANNELS:
        numbers = {order_no(channel, seq, NOW_MS) for seq in range(1, 500)}
        assert len(numbers) == 499
    assert order_no("pinduoduo", 5, NOW_MS).startswith("261111-")
    with pytest.raises(ValueError, match="no channel"):
        order_no("nobody", 1, NOW_MS)


def test_wall_clock_times_are_those_of_utc_plus_8() -> None:
    assert wall(0) == "1970-01-01 08:00:00"
    assert from_wall(wall(NOW_MS)) == NOW_MS


def test_a_frame_of_the_message_socket_is_read_as_it_was_written() -> None:
    values: dict[str, Value] = {
        "id": 2**53 + 1,
        "topic": "t",
        "content": "中文",
        "none": None,
        "time": Date(NOW_MS),
        "raw": b"\x00\x01",
    }
    assert read(write(SEND, values, token="abc")) == (SEND, values, "abc")
    with pytest.raises(ValueError, match=r"no frame|broken off"):
        read(write(SEND, values)[:-9])


def test_only_what_there_is_can_be_simulated() -> None:
    with pytest.raises(ValueError, match="no platform"):
        Simulated("nobody")
    with pytest.raises(ValueError, match="nothing goes wrong"):
        Pinduoduo(SHOP, lambda: NOW_MS).faults.plan(1, "earthquake")  # type: ignore[arg-type]


async def test_a_platform_without_pushes_or_socket_says_so() -> None:
    async with simulated("jd") as sim:
        order = an_order("jd", 1, NOW_MS, lines=(SimLine("A", 1, 1, "a"),))
        sim.add(order)
        with pytest.raises(ValueError, match="posts no messages"):
            sim.push(order.order_no)
        with pytest.raises(ValueError, match="no message socket"):
            sim.announce(order.order_no)
        with pytest.raises(KeyError):
            sim.push("1")


async def test_the_program_says_where_it_is_and_ends_when_it_is_told_to() -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "adapters.simulators", "--channel", "pinduoduo", "--orders", "5", "--every-s", "0.05"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(30):
            told = json.loads(await program.stdout.readline())
        assert told["connection"]["channel"] == "pinduoduo"
        assert told["connection"]["socket_url"].startswith("ws://127.0.0.1:")
        async with httpx.AsyncClient(verify=TLS, trust_env=False) as client:
            answer = await client.post(told["connection"]["base_url"] + "/api/router", data={"type": "x"})
        assert answer.json()["error_response"]["error_code"] == 10001
        await asyncio.sleep(0.2)
        program.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            _, errors = await program.communicate()
        assert (program.returncode, errors) == (0, b"")
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


@pytest.mark.parametrize("channel", ["taobao", "pinduoduo", "jd"])
def test_a_webhook_for_a_platform_that_posts_nothing_is_refused_at_once(channel: str) -> None:
    words = (
        sys.executable,
        "-m",
        "adapters.simulators",
        "--channel",
        channel,
        "--every-s",
        "1",
        "--webhook",
        "http://x",
    )
    ended = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"error: --webhook: {channel} posts no messages (these do: douyin, generic" in ended.stderr


AFTER_SALES = ("jd", "pinduoduo", "wechat_shop")


async def after_sales(sim: Simulated, channel: str) -> list[dict[str, Any]]:
    """Return the answers in which a platform lists its after-sales, and then each one, where it has both."""
    now_s = NOW_MS // 1000
    match channel:
        case "jd":
            return [await jd(sim, "jingdong.pop.afs.soa.refundapply.queryPageList", {"pageIndex": 1, "pageSize": 10})]
        case "pinduoduo":
            window = {"start_updated_at": str(now_s - 1_000), "end_updated_at": str(now_s + 60)}
            listed = await pinduoduo(sim, "pdd.refund.list.increment.get", **window)
            number = listed["refund_increment_get_response"]["refund_list"][0]["order_sn"]
            return [listed, await pinduoduo(sim, "pdd.refund.information.get", order_sn=number)]
    asked = {"begin_update_time": now_s - 3_600, "end_update_time": now_s + 60}
    listed = await wechat(sim, "/channels/ec/aftersale/getaftersalelist", asked)
    one = {"after_sale_order_id": listed["after_sale_order_id_list"][0]}
    return [await wechat(sim, "/channels/ec/aftersale/getaftersaleorder", one)]


@pytest.mark.parametrize("channel", AFTER_SALES)
async def test_the_channel_sees_an_after_sale_as_a_hint_of_its_order(channel: str) -> None:
    async with simulated(channel) as sim:
        order = an_order(channel, 1, NOW_MS - HOUR_MS, lines=(SimLine("A-1", 1, 32_900, "a"),))
        sim.add(order)
        sim.change(order.order_no, lines=(SimLine("A-1", 1, 32_900, "a", after_sale="open"),))
        found: Channel = import_module(f"adapters.channels.{channel}").channel("Asia/Shanghai")
        for answer in await after_sales(sim, channel):
            parts = found.identify(json.dumps(answer, ensure_ascii=False).encode(), "shop")
            hints = [part.order_no for part in parts if isinstance(part, Aside) and part.kind == "hint"]
            assert hints == [order.order_no], parts


async def test_a_refund_is_in_yuan_where_it_is_listed_and_in_fen_where_it_is_asked_for() -> None:
    async with simulated("pinduoduo") as sim:
        line = SimLine("A-1", 1, 32_900, "a", after_sale="open")
        sim.add(an_order("pinduoduo", 1, NOW_MS - 200_000, lines=(line,)))
        listed, one = await after_sales(sim, "pinduoduo")
        assert listed["refund_increment_get_response"]["refund_list"][0]["refund_amount"] == "329.00"
        assert one["refund_information_get_response"]["refund_amount"] == 32_900


async def test_taobao_and_douyin_list_after_sales_too() -> None:
    for channel in ("taobao", "douyin"):
        async with simulated(channel) as sim:
            order = an_order(channel, 1, NOW_MS - HOUR_MS, lines=(SimLine("A-1", 1, 32_900, "a", after_sale="open"),))
            sim.add(order)
            if channel == "taobao":
                window = {"start_modified": wall(NOW_MS - HOUR_MS), "end_modified": wall(NOW_MS)}
                listed = await taobao(sim, "taobao.refunds.receive.get", **window)
                (found,) = listed["refunds_receive_get_response"]["refunds"]["refund"]
                assert (str(found["tid"]), found["status"]) == (order.order_no, "WAIT_SELLER_AGREE")
            else:
                asked = {"update_start_time": NOW_MS // 1000 - 3_600, "page": 0, "size": 10}
                (item,) = (await douyin(sim, "afterSale.List", asked))["data"]["items"]
                assert item["order_info"]["shop_order_id"] == order.order_no
