"""Shopify: each payload of the platform becomes the order it is, or says why it is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.channels import load
from adapters.channels.shopify import Shopify
from domain.canonical import Amounts, Parcel, SourceTime, Translated, TranslationError
from domain.mapping_table import Times, read_mapping
from domain.ports import Aside, Sliced
from runners.reading import Reading

SAMPLES = Path(os.environ.get("ORDERSPINE_REFERENCE", "../shared/reference")) / "channels/samples/shopify"
SHOPIFY = Shopify()
SHOP = "example.myshopify.com"


def line(**fields: Any) -> dict[str, Any]:
    return {"id": 11, "sku": "DRL-01", "title": "Drill", "quantity": 2, "price": "49.00", **fields}


def order(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "created_at": "2026-11-11T00:05:00-05:00",
        "updated_at": "2026-11-11T00:05:20-05:00",
        "currency": "USD",
        "financial_status": "paid",
        "fulfillment_status": None,
        "total_price": "98.00",
        "line_items": list(lines) or [line()],
        **fields,
    }


def fulfillment(*lines: tuple[int, int], **fields: Any) -> dict[str, Any]:
    return {
        "id": 21,
        "order_id": 1,
        "status": "success",
        "created_at": "2026-11-12T09:00:00-05:00",
        "tracking_company": "UPS",
        "tracking_number": "1Z1",
        "line_items": [{"id": number, "quantity": units} for number, units in lines],
        **fields,
    }


def refund(*lines: tuple[int, int, str, object], **fields: Any) -> dict[str, Any]:
    return {
        "id": 31,
        "order_id": 1,
        "refund_line_items": [
            {"id": 41, "line_item_id": number, "quantity": units, "restock_type": kind, "subtotal": subtotal}
            for number, units, kind, subtotal in lines
        ],
        **fields,
    }


def translated(fields: dict[str, Any], shop: str = SHOP, shopify: Shopify = SHOPIFY) -> Translated:
    return shopify.translate(json.dumps(fields, ensure_ascii=False).encode(), shop)


def sample(name: str) -> bytes:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the reference samples are not here")
    return path.read_bytes()


def from_sample(name: str) -> Translated:
    (found,) = SHOPIFY.identify(sample(name), SHOP)
    assert isinstance(found, Sliced)
    return SHOPIFY.translate(found.raw, found.shop)


ORDERED = SourceTime("2026-11-11T00:05:00-05:00", 1794373500000, -300, "2026-11-11T13:05:00.000+08:00")
SENT = SourceTime("2026-11-12T09:00:00-05:00", 1794492000000, -300, "2026-11-12T22:00:00.000+08:00")


# ---- The reference samples, expected by hand -------------------------------------------------------------------------


def test_golden_paid_with_a_discount_over_two_lines() -> None:
    order, personal = (found := from_sample("orders_paid_multi_discount")).snapshot, found.personal
    assert (order.order_no, order.status, order.native_status) == ("5940139491002", "paid", "paid")
    # 2 x 49.00 + 9.50 = 107.50 of goods, 10.00 off, 5.00 shipping, 5.85 tax
    assert order.amounts == Amounts("USD", 10750, 1000, 500, 585, 10835, 10835)
    assert order.ordered_at == ORDERED
    assert [(one.sku, one.discount, one.amount) for one in order.lines] == [
        ("DRL-18V-01", 912, 8888),
        ("BIT-HSS-13", 88, 862),
    ]
    assert "amount_mismatch" not in order.attributes
    assert order.attributes["tax_lines"] == [{"title": "KY State Tax", "price": "5.85", "rate": "0.06"}]
    assert (order.region, order.attributes["ship_to_country"]) == ("Kentucky Louisville", "US")
    assert personal.messages == {"note": "Please leave at the door"}
    assert personal.attributes["note_attributes"] == [{"name": "engraving", "value": "Lao Wang"}]
    assert personal.customer_id == "207119551"
    for secret in ("Bob", "bob@example.com", "Lao Wang", "Chestnut", "555-625"):
        assert secret not in repr(order)


def test_golden_a_line_that_costs_nothing_is_a_gift() -> None:
    order = from_sample("orders_paid_with_free_gift").snapshot
    assert [(one.sku, one.gift, one.amount) for one in order.lines] == [
        ("DRL-18V-01", False, 4900),
        ("GFT-TAPE-5", True, 0),
    ]
    assert order.amounts == Amounts("USD", 5300, 400, 0, 294, 5194, 5194)


def test_golden_the_shops_currency_counts_and_the_customers_is_kept() -> None:
    order = from_sample("orders_paid_presentment_currency").snapshot
    assert order.amounts == Amounts("USD", 4900, 0, 0, 0, 4900, 4900)
    assert order.attributes["presentment_currency"] == "EUR"
    assert order.attributes["total_price_set"]["presentment_money"] == {"amount": "45.20", "currency_code": "EUR"}


def test_golden_created_before_it_is_paid() -> None:
    order = from_sample("orders_create_pending").snapshot
    assert (order.status, order.amounts.paid, order.amounts.payable) == ("awaiting_payment", 0, 11895)


def test_golden_cancelled_by_the_customer() -> None:
    order = from_sample("orders_cancelled").snapshot
    assert (order.status, order.cancel_reason, order.amounts.paid) == ("cancelled", "customer", 0)
    assert order.cancelled_at is not None
    assert order.cancelled_at.utc_ms == 1794380400000
    assert {one.state for one in order.lines} == {"cancelled"}


def test_golden_one_of_two_lines_came_back() -> None:
    order = from_sample("orders_updated_partial_refund").snapshot
    assert (order.status, order.native_status) == ("shipped", "partially_refunded/fulfilled")
    assert [(one.state, one.after_sale, one.after_sale_id) for one in order.lines] == [
        ("shipped", "", ""),
        ("shipped", "refunded", "509562969"),
    ]
    assert order.parcels == (Parcel("UPS", "1Z2345", (), SENT),)
    assert (order.shipped_at, order.amounts.payable) == (SENT, 11895)
    assert order.attributes["current_total_price"] == "108.88"


# ---- Cutting ---------------------------------------------------------------------------------------------------------


def test_a_slice_is_the_exact_bytes_of_its_order() -> None:
    body = b'{ "id" : 12 ,"line_items":[{"id":1, "x": 1.50}]}'
    for raw in (body, b"[" + body + b"]", b'{"order": ' + body + b"}", b'{"orders":[' + body + b"]}"):
        assert SHOPIFY.identify(raw, SHOP) == [Sliced(SHOP, "12", body)]


def test_the_shops_own_domain_names_it_where_nobody_else_does() -> None:
    url = "https://apple.myshopify.com/690933842/orders/1/authenticate?key=abc"
    body = json.dumps(order(order_status_url=url)).encode()
    assert SHOPIFY.identify(body, "") == [Sliced("apple.myshopify.com", "1", body)]
    assert SHOPIFY.translate(body, "").snapshot.shop == "apple.myshopify.com"
    foreign = json.dumps(order(order_status_url="https://shop.example.com/1/orders/1")).encode()
    (found,) = SHOPIFY.identify(foreign, "")
    assert isinstance(found, Aside)
    assert "name the shop" in found.reason


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (b"", "refused", "JSON"),
        (b'{"orders":[]}', "ignored", "empty page"),
        (b'{"errors":"[API] Invalid API key"}', "refused", "Invalid API key"),
        (b'{"id":1,"financial_status":"paid"}', "hint", "fetch it whole"),
        (b'{"admin_graphql_api_id":"gid://shopify/Order/1","id":1}', "hint", "fetch it whole"),
        (b'{"id":5,"order_id":1,"refund_line_items":[]}', "hint", "refund of order 1"),
        (b'{"id":5,"order_id":1,"status":"success","line_items":[]}', "hint", "fulfillment of order 1"),
        (b'{"fulfillment":{"id":5,"order_id":1,"line_items":[]}}', "hint", "fulfillment of order 1"),
        (b'{"id":5,"order_id":1,"kind":"capture"}', "hint", "change of order 1"),
        (b'{"id":5,"order_id":null}', "refused", "empty"),
        (b'{"fulfillment":{"line_items_by_fulfillment_order":[]}}', "refused", "a request to Shopify"),
        (b'{"data":{"orders":{}}}', "refused", "GraphQL"),
        (b'{"id":1.5,"line_items":[]}', "refused", "fraction"),
        (b'{"id":1,"id":2,"line_items":[]}', "refused", "twice"),
        (b'{"name":"x"}', "refused", "not an answer of Shopify"),
        (b"[" * 100_000, "refused", "JSON"),
    ],
)
def test_what_is_no_order_is_set_aside_with_its_reason(raw: bytes, kind: str, says: str) -> None:
    (found,) = SHOPIFY.identify(raw, SHOP)
    assert isinstance(found, Aside)
    assert found.kind == kind
    assert bool(found.order_no) == (kind == "hint")
    assert says in found.reason


# ---- Status: the first condition that holds --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("financial", "fulfillment", "fields", "status"),
    [
        ("paid", "fulfilled", {"cancelled_at": "2026-11-12T00:00:00-05:00"}, "shipped"),
        ("paid", None, {"cancelled_at": "2026-11-12T00:00:00-05:00"}, "cancelled"),
        ("refunded", None, {}, "cancelled"),
        ("refunded", "fulfilled", {}, "shipped"),
        ("paid", "fulfilled", {"closed_at": "2026-11-15T00:00:00-05:00"}, "completed"),
        ("paid", "fulfilled", {}, "shipped"),
        ("pending", "fulfilled", {}, "shipped"),
        ("paid", "partial", {}, "allocating"),
        ("paid", None, {"closed_at": "2026-11-15T00:00:00-05:00"}, "paid"),
        ("partially_refunded", None, {}, "paid"),
        ("paid", "restocked", {}, "paid"),
        ("authorized", None, {}, "awaiting_payment"),
        ("pending", None, {}, "awaiting_payment"),
        ("partially_paid", None, {}, "awaiting_payment"),
        ("voided", None, {}, "cancelled"),
    ],
)
def test_each_status_has_its_meaning(
    financial: str, fulfillment: str | None, fields: dict[str, Any], status: str
) -> None:
    found = translated(order(financial_status=financial, fulfillment_status=fulfillment, **fields)).snapshot
    assert found.status == status


def test_an_order_refunded_after_shipping_stays_shipped_with_its_lines_refunded() -> None:
    found = translated(order(financial_status="refunded", fulfillment_status="fulfilled")).snapshot
    assert found.attributes["closed_after_shipping"] is True
    assert [(one.state, one.after_sale) for one in found.lines] == [("shipped", "refunded")]


def test_with_manual_capture_an_authorized_payment_lets_the_goods_go() -> None:
    shopify = Shopify(manual_capture=True)
    found = translated(order(financial_status="authorized"), shopify=shopify.with_times(Times())).snapshot
    assert (found.status, found.amounts.paid) == ("paid", 0)


def test_a_mapping_switches_manual_capture_on_for_the_channel_or_one_shop() -> None:
    raw = json.dumps(order(financial_status="authorized", created_at="2026-11-11T00:05:00")).encode()
    text = (
        "[payment]\nmanual_capture = true\n[shops.by_itself.payment]\nmanual_capture = false\n"
        '[shops.east.times]\nzone = "+09:00"\n'
    )
    reading = Reading(SHOPIFY, read_mapping(text), "Asia/Shanghai")
    found = {}
    for shop in ("any", "by_itself", "east"):
        read = reading.read(raw, shop)
        assert isinstance(read, Translated)
        found[shop] = read.snapshot.status, read.snapshot.ordered_at.offset_min
    assert found == {"any": ("paid", 0), "by_itself": ("awaiting_payment", 0), "east": ("paid", 540)}
    plain = Reading(SHOPIFY, read_mapping(""), "Asia/Shanghai").read(raw, "any")
    assert isinstance(plain, Translated)
    assert plain.snapshot.status == "awaiting_payment"


def test_a_channel_that_says_itself_when_an_order_is_paid_cannot_be_told() -> None:
    reading = Reading(load()["taobao"], read_mapping("[payment]\nmanual_capture = true\n"), "Asia/Shanghai")
    with pytest.raises(TranslationError, match="which cannot be set for it"):
        reading.read(b"{}", "any")


def test_part_of_the_money_is_a_deposit() -> None:
    found = translated(order(financial_status="partially_paid", total_outstanding="60.00")).snapshot
    assert (found.amounts.paid, found.amounts.payable) == (3800, 9800)


def test_a_test_order_says_so() -> None:
    assert translated(order(test=True)).snapshot.attributes["test"] is True
    assert "test" not in translated(order(test=False)).snapshot.attributes


@pytest.mark.parametrize("fields", [{"tags": "VIP, Pre-Order"}, {"tags": "预售"}])
def test_a_presale_is_told_by_a_tag(fields: dict[str, Any]) -> None:
    assert translated(order(**fields)).snapshot.kind == "presale"
    assert translated(order(tags="VIP")).snapshot.kind == "normal"


def test_a_presale_is_told_by_a_property_of_a_line() -> None:
    assert translated(order(line(properties={"_preorder": "yes"}))).snapshot.kind == "presale"


# ---- Units: ordered, removed, sent, refunded -------------------------------------------------------------------------


def one_line(*lines: dict[str, Any], **fields: Any) -> Any:
    (found,) = translated(order(*lines, **fields)).snapshot.lines
    return found


def test_units_refunded_before_shipping_are_not_wanted_any_more() -> None:
    found = one_line(line(current_quantity=1), refunds=[refund((11, 1, "cancel", "49.00"))])
    assert (found.quantity, found.amount, found.state, found.after_sale) == (1, 4900, "open", "")
    assert found.attributes["ordered_quantity"] == 2


def test_a_line_refunded_whole_before_shipping_is_cancelled() -> None:
    found = one_line(line(current_quantity=0), refunds=[refund((11, 2, "cancel", 98.0))])
    assert (found.quantity, found.state, found.after_sale) == (2, "cancelled", "refunded")


def test_what_an_edit_removed_is_cancelled_without_a_refund() -> None:
    assert (one_line(line(current_quantity=0)).state, one_line(line(current_quantity=0)).after_sale) == (
        "cancelled",
        "",
    )
    found = one_line(line(current_quantity=1, discount_allocations=[{"amount": "8.00"}]))
    assert (found.quantity, found.amount, found.state) == (1, 4500, "open")


def test_units_that_came_back_are_an_after_sale_of_what_left() -> None:
    found = one_line(
        line(current_quantity=1, fulfillment_status="fulfilled"),
        fulfillment_status="fulfilled",
        refunds=[refund((11, 1, "return", "49.00"))],
    )
    assert (found.quantity, found.state, found.after_sale, found.after_sale_id) == (2, "shipped", "refunded", "31")


def test_money_given_back_without_goods_does_not_stop_the_shipping() -> None:
    found = one_line(line(current_quantity=2), refunds=[refund((11, 1, "no_restock", "10.00"))])
    assert (found.quantity, found.state, found.after_sale) == (2, "open", "refunded")


def test_an_open_return_is_an_open_after_sale() -> None:
    gone = {"fulfillment_status": "fulfilled"}
    assert one_line(line(), **gone, returns=[{"id": 1, "status": "OPEN"}]).after_sale == "open"
    assert one_line(line(), **gone, returns=[{"id": 1, "status": "closed"}]).after_sale == ""


def test_a_part_shipped_order_knows_its_lines_and_parcels() -> None:
    sent, waiting = line(fulfillment_status="fulfilled"), line(id=12)
    found = translated(order(sent, waiting, fulfillment_status="partial", fulfillments=[fulfillment((11, 2))])).snapshot
    assert [one.state for one in found.lines] == ["shipped", "open"]
    assert found.parcels == (Parcel("UPS", "1Z1", ("11",), SENT),)
    assert found.holds == ()


def test_a_line_that_left_in_part_holds_the_order() -> None:
    partial = line(fulfillment_status="partial")
    found = translated(order(partial, fulfillment_status="partial", fulfillments=[fulfillment((11, 1))])).snapshot
    assert (found.holds, found.lines[0].state) == (("line_partly_shipped",), "open")


def test_a_fulfillment_that_was_called_off_is_no_parcel() -> None:
    found = translated(order(fulfillments=[fulfillment((11, 2), status="cancelled")])).snapshot
    assert (found.parcels, found.lines[0].state) == ((), "open")
    assert found.attributes["fulfillments"][0]["tracking"] == ["1Z1"]


def test_each_tracking_number_is_a_parcel() -> None:
    found = translated(order(fulfillments=[fulfillment(tracking_numbers=["1Z1", "1Z2"])])).snapshot
    assert [one.tracking for one in found.parcels] == ["1Z1", "1Z2"]


def test_what_a_fulfillment_repeats_of_a_line_is_kept_once() -> None:
    whole = line()
    moved = {**whole, "fulfillment_status": "fulfilled", "x_new": 1}
    found = translated(order(whole, fulfillments=[fulfillment(line_items=[moved])]))
    assert found.personal.attributes["fulfillments[0].line_items[0]"] == {"fulfillment_status": "fulfilled", "x_new": 1}


# ---- Money -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "price", "total", "expected"),
    [
        ("JPY", "500", "1000", 1000),
        ("JPY", "500.00", "1000.00", 1000),
        ("KWD", "1.250", "2.500", 2500),
        ("EUR", "0.10", "0.20", 20),
    ],
)
def test_each_currency_has_its_own_decimals(currency: str, price: str, total: str, expected: int) -> None:
    found = translated(order(line(price=price), currency=currency, total_price=total)).snapshot
    assert found.amounts == Amounts(currency, expected, 0, 0, 0, expected, expected)


def test_tax_in_the_prices_is_not_added_again() -> None:
    found = translated(order(taxes_included=True, total_tax="15.65")).snapshot
    assert (found.amounts.tax, found.attributes["taxes_included"]) == (1565, True)
    assert "amount_mismatch" not in found.attributes


def test_a_discounted_charge_for_shipping_adds_up() -> None:
    shipping = [{"id": 5, "title": "Express", "price": "9.00", "discounted_price": "4.00"}]
    found = translated(order(shipping_lines=shipping, total_discounts="5.00", total_price="102.00")).snapshot
    assert found.amounts == Amounts("USD", 9800, 500, 900, 0, 10200, 10200)
    assert "amount_mismatch" not in found.attributes
    assert found.attributes["shipping_lines"][0]["discounted_price"] == "4.00"


def test_sums_that_do_not_agree_are_noted_with_their_figures() -> None:
    found = translated(order(total_price="90.00", total_line_items_price="97.00")).snapshot
    assert [(one["stated"], one["computed"]) for one in found.attributes["amount_mismatch"]] == [
        (9700, 9800),
        (9000, 9700),
    ]


def test_what_an_edit_added_is_owed() -> None:
    found = translated(order(current_total_price="147.00", total_outstanding="49.00")).snapshot
    assert (found.amounts.payable, found.amounts.paid) == (14700, 9800)
    assert found.attributes["total_price"] == "98.00"


# ---- What names a person ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("properties", [[{"name": "engraving", "value": "Bob"}], {"engraving": "Bob"}, ["Bob"], "Bob"])
def test_the_text_to_engrave_is_sealed_in_whatever_form_it_comes(properties: Any) -> None:
    found = translated(order(line(properties=properties)))
    assert "Bob" not in repr(found.snapshot)
    assert found.personal.line_attributes["11"]["properties"] == properties


def test_notes_that_are_no_persons_words_become_attributes() -> None:
    notes = [{"name": "推荐人ID", "value": "R1"}, {"name": "发票类型", "value": "vat"}]
    found = translated(order(line(properties=[{"name": "安装服务包", "value": "P1"}]), note_attributes=notes))
    assert (found.snapshot.attributes["referrer_id"], found.snapshot.attributes["invoice_type"]) == ("R1", "vat")
    assert found.snapshot.lines[0].attributes["service_package"] == "P1"
    assert "customized" not in found.snapshot.lines[0].attributes
    assert found.personal.attributes == {}


def test_an_amount_in_two_currencies_with_anything_else_in_it_is_sealed() -> None:
    money = {"amount": "98.00", "currency_code": "USD", "payer": "Bob"}
    found = translated(order(total_price_set={"shop_money": money, "presentment_money": money}))
    assert "Bob" not in repr(found.snapshot)
    assert found.personal.attributes["total_price_set"]["shop_money"] == money


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (order(financial_status="bartered"), "financial_status"),
        (order(financial_status=None), "financial_status"),
        (order(fulfillment_status="unfulfilled"), "fulfillment_status"),
        (order(line(fulfillment_status="lost")), "line_items[0].fulfillment_status"),
        (order(fulfillments=[fulfillment(status="lost")]), "fulfillments[0].status"),
        (order(refunds=[refund((11, 1, "burnt", "1.00"))]), "refunds[0].refund_line_items[0].restock_type"),
        (order(refunds=[refund((11, 0, "return", "1.00"))]), "refunds[0].refund_line_items[0].quantity"),
        (order(returns=[{"status": "lost"}]), "returns[0].status"),
        (order(created_at=None), "created_at"),
        (order(updated_at="2026-01-01T00:00:00Z"), "updated_at"),
        (order(currency="XXX"), "currency"),
        (order(currency=None), "currency"),
        (order(total_price=None), "total_price"),
        (order(total_price="-98.00"), "total_price"),
        (order(currency="JPY", total_price="98.50"), "total_price"),
        (order(line(price="49.001")), "line_items[0].price"),
        (order(line(quantity=0)), "line_items[0].quantity"),
        (order(line(current_quantity=3)), "line_items[0].current_quantity"),
        (order(line(id=None)), "line_items[0].id"),
        (order(line(), line()), "line_items[1].id"),
        (order(line_items=[]), "line_items"),
        (order(id=None), "id"),
        (order(note={"a": 1}), "note"),
    ],
)
def test_what_cannot_be_translated_names_its_place(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(TranslationError) as refused:
        translated(fields)
    assert refused.value.where == where
