"""What rules say of an order: first fits, strongest, best tier; nothing given twice, nothing for nothing."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.canonical import Amounts, Line
from domain.rule_parts import EMPTY
from domain.rule_table import read_rules
from domain.rules import judge
from domain.rulings import UNRULED, Facts, Form, Found, Gift, Kit, Promise, Route, Ruling, Saving
from tests.spec import T0, line, snapshot

HOUR = 3_600_000
FULL = (Path(__file__).parents[2] / "docs" / "examples" / "rules.toml").read_text()


def book(*rules: str) -> Any:
    """Return a book of rules written in short: `kind; key = value; …`; each gets an id, r1 and so on."""
    text = "format = 1\n" + ('warehouse = [{code = "A"}, {code = "B"}]\n' if "'B'" in str(rules) else "")
    for number, rule in enumerate(rules, 1):
        kind, *keys = rule.split("; ")
        text += "\n".join([f"[[{kind}]]", f'id = "r{number}"', *keys, ""])
    return read_rules(text)


def facts(*lines: Line, **more: Any) -> Facts:
    view = snapshot(lines=lines or (line("1"),))
    view = msgspec.structs.replace(
        view, **{key: more.pop(key) for key in set(more) & {*view.__struct_fields__} - {"customer"}}
    )
    return Facts(view, now_ms=T0, taken_ms=T0, **more) if "now_ms" not in more else Facts(view, **more)


def sold(sku: str, units: int, amount: int, **more: Any) -> Line:
    return Line(f"l-{sku}", sku, units, amount=amount, **more)


def test_an_empty_book_says_nothing() -> None:
    assert judge(EMPTY, facts(), 7) == UNRULED
    assert judge(book("notify; on = ['order.paid']; to = ['x']; title = 'x'"), facts(), 7) == UNRULED


def test_a_ruling_names_the_version_of_the_book_even_where_nothing_applies() -> None:
    assert judge(book("lots; when = 'units > 9'"), facts(), 7) == Ruling(7)


def test_tags_see_those_before_them_and_are_given_once() -> None:
    rules = book("tag; tag = 'a'", "tag; tag = 'b'; when = '\"a\" in tags'", "tag; tag = 'a'",
                 "tag; tag = 'c'; when = 'units > 9'", "lots; when = '\"b\" in tags'")  # fmt: skip
    assert judge(rules, facts(), 1) == Ruling(1, tags=("a", "b"), lots=True)


def test_the_widest_time_counts_in_which_an_order_is_suspected() -> None:
    rules = book(
        "duplicate; within = '10m'", "duplicate; within = '1h'", "duplicate; within = '2h'; when = 'units > 9'"
    )
    assert judge(rules, facts(), 1) == Ruling(1, suspect_within_ms=HOUR)
    assert read_rules("format = 1\n[[warehouse]]\ncode = 'B'").codes == ("B",)


@pytest.mark.parametrize(
    ("rule", "asks"),
    [
        ('lots; when = \'customer ("grade") == "x"\'', True),
        ('promotion; every = 1; gift = {}; buy = \'customer("grade") == "x"\'', True),
        ("lots; when = 'channel == \"customer(\"'", False),
    ],
)
def test_a_book_knows_whether_it_asks_for_the_buyer(rule: str, asks: bool) -> None:
    assert book(rule).asks_buyer is asks


# --- routes


def routed(*rules: str, lines: tuple[Line, ...] = (line("1"), line("2"))) -> Ruling:
    return judge(book(*rules), facts(*lines), 1)


def test_the_first_route_that_fits_a_line_takes_it() -> None:
    ruling = routed("route; lines = 'sku == \"S2\"'; warehouses = ['B']; area = 'x'; processing = true",
                    "route; warehouses = ['A']; split = 'never'", "route; warehouses = ['B']",
                    "route; lines = 'sku == \"S1\"'; warehouses = ['B']")  # fmt: skip
    assert ruling.routes == (
        Route("r1", ("2",), ("B",), "lines", "x", processing=True),
        Route("r2", (), ("A",), "never"),
    )


def test_a_route_for_lines_leaves_those_that_are_taken() -> None:
    of_one, of_both = "route; lines = 'sku == \"S1\"'; area = 'x'", "route; lines = 'quantity > 0'; area = 'y'"
    ruling = routed(of_one, of_both, of_one, "route; area = 'z'", "route; lines = 'gift'; area = 'w'")
    assert [(each.rule, each.lines) for each in ruling.routes] == [("r1", ("1",)), ("r2", ("2",))]
    assert [each.rule for each in routed(of_one, of_one, "route; area = 'z'").routes] == ["r1", "r3"]


@pytest.mark.parametrize(
    ("rules", "priority"),
    [
        (("route; priority = 'urgent'", "route; priority = 'express'", "route; priority = 'urgent'"), "express"),
        (("route; priority = 'express'; when = 'units > 9'", "route; priority = 'urgent'"), "urgent"),
        (("route; priority = 'express'; lines = 'gift'", "route; area = 'x'"), ""),
    ],
)
def test_the_strongest_priority_of_all_routes_that_fit_counts(rules: tuple[str, ...], priority: str) -> None:
    assert routed(*rules).priority == priority


def test_a_route_that_says_nothing_of_where_takes_no_line() -> None:
    ruling = routed("route; priority = 'express'", "route; warehouses = ['B']; priority = 'urgent'")
    assert (ruling.priority, [each.rule for each in ruling.routes]) == ("express", ["r2"])


# --- kits, stock, lots


def test_a_kit_s_lines_are_named_with_its_parts_by_the_first_rule_that_fits() -> None:
    rules = book("kit; sku = 'K'; parts = {A = 9}; when = 'units > 99'", "kit; sku = 'K'; parts = {A = 1, B = 2}",
                 "kit; sku = 'K'; parts = {C = 1}", "kit; sku = 'L'; parts = {C = 1}")  # fmt: skip
    ruling = judge(rules, facts(line("1", "K"), line("2"), line("3", "K", state="cancelled"), line("4", "K")), 1)
    assert ruling.kits == (Kit("1", (("A", 1), ("B", 2))), Kit("4", (("A", 1), ("B", 2))))


def test_stock_is_kept_of_the_goods_that_the_order_could_take() -> None:
    rules = book("protect; skus = ['S1', 'A', 'G', 'other']; keep = 5", "protect; skus = ['S1']; keep = 9",
                 "protect; skus = ['S1', 'A']; keep = 3", "protect; skus = ['S1']; keep = 99; when = 'units > 9'",
                 "kit; sku = 'K'; parts = {A = 1}",
                 "promotion; every = 1; gift = {sku = 'G'}")  # fmt: skip
    ruling = judge(rules, facts(line("1"), line("2", "K")), 1)
    assert ruling.keep == (("S1", 9), ("A", 5), ("G", 5))


# --- promotions


def given(rule: str, *lines: Line, **more: Any) -> tuple[tuple[Gift, ...], tuple[Saving, ...]]:
    ruling = judge(book("kit; sku = 'K'; parts = {A = 1, B = 2}", rule), facts(*lines, **more), 1)
    return ruling.gifts, ruling.savings


@pytest.mark.parametrize(
    ("rule", "units", "gift"),
    [
        ("every = 2; gift = {sku = 'G', units = 1}", 1, 0),
        ("every = 2; gift = {sku = 'G', units = 1}", 5, 2),
        ("every = 2; gift = {sku = 'G', units = 3}", 4, 6),
        ("every = 1; gift = {sku = 'G'}; most = 3", 9, 3),
        ("over = 4; gift = {sku = 'G'}", 3, 0),
        ("over = 4; gift = {sku = 'G'}", 8, 1),
        ("over = 4; gift = {sku = 'G'}; every = true", 8, 2),
        ("tiers = [{over = 9, gift = {sku = 'G', units = 5}}, {over = 3, gift = {sku = 'G'}}]", 2, 0),
        ("tiers = [{over = 9, gift = {sku = 'G', units = 5}}, {over = 3, gift = {sku = 'G'}}]", 8, 1),
        ("tiers = [{over = 9, gift = {sku = 'G', units = 5}}, {over = 3, gift = {sku = 'G'}}]", 99, 5),
        ("tiers = [{over = 9, gift = {sku = 'G', units = 5}}, {over = 3, gift = {sku = 'G'}}]; each = true", 99, 6),
    ],
)
def test_gifts_by_units(rule: str, units: int, gift: int) -> None:
    lines = (sold("X", units, 100), sold("Y", 50, 100), sold("Z", 50, 0, gift=True))
    gifts, savings = given(f'promotion; buy = \'sku in ("X", "Z")\'; {rule}', *lines)
    assert (sum(each.units for each in gifts), savings) == (gift, ())
    assert [(each.rule, each.sku) for each in gifts] == [("r2", "G")] * bool(gift), "one gift, which goes by one name"


def test_what_one_rule_gives_of_a_sku_is_one_gift() -> None:
    rule = "promotion; every = 1; gift = {units = 1}"
    gifts, _ = given(rule, sold("A", 3, 1), sold("K", 2, 1))
    assert gifts == (Gift("r2", "A", 5), Gift("r2", "B", 4)), "by itself, and in a kit"
    tiers = "tiers = [{over = 1, gift = {sku = 'G'}}, {over = 2, gift = {sku = 'G', units = 2, warehouse = 'B'}}]"
    gifts, _ = given(f"promotion; each = true; {tiers}", sold("X", 9, 1))
    assert gifts == (Gift("r2", "G", 3, "B"),)


def test_buying_gives_the_same_goods_each_sku_for_itself_and_no_more_than_is_said() -> None:
    lines = (sold("X", 3, 1), sold("Y", 4, 1), Line("x", "X", 1), Line("no", "", 9), sold("W", 1, 1), sold("K", 2, 1))
    rule = "promotion; every = 2; gift = {units = 1, warehouse = 'B'}"
    gifts, _ = given(rule, *lines)
    assert gifts == (Gift("r2", "X", 2, "B"), Gift("r2", "Y", 2, "B"), Gift("r2", "A", 1, "B"), Gift("r2", "B", 2, "B"))
    gifts, _ = given(f"{rule}; most = 3", *lines)
    assert [(each.sku, each.units) for each in gifts] == [("X", 2), ("Y", 1)]


@pytest.mark.parametrize(
    ("rule", "saved"),
    [
        ("over = 'CNY(100)'; save = 'CNY(20)'", 2_000),
        ("over = 'CNY(100.01)'; save = 'CNY(20)'", 2_000),
        ("over = 'CNY(250.01)'; save = 'CNY(20)'", 0),
        ("over = 'CNY(100)'; save = 'CNY(20)'; every = true", 4_000),
        ("over = 'CNY(10)'; save = 'CNY(1)'; every = true; most = 7", 700),
        ("over = 'CNY(100)'; save = 'freight'", 1_200),
        ("over = 'CNY(100)'; save = 'freight'; every = true", 1_200),
        ("over = 'CNY(100)'; save = 'CNY(9999)'", 26_200),
        ("over = 1; save = 'CNY(20)'", 2_000),
        ("over = 1; save = 'USD(20)'", 0),
        ("over = 'USD(1)'; save = 'USD(1)'", 0),
        ("tiers = [{over = 'CNY(100)', save = 'CNY(5)'}, {over = 'CNY(200)', save = 'CNY(15)'}]", 1_500),
        ("tiers = [{over = 'CNY(100)', save = 'CNY(5)'}, {over = 'CNY(200)', save = 'CNY(15)'}]; each = true", 2_000),
    ],
)
def test_savings(rule: str, saved: int) -> None:
    amounts = Amounts("CNY", goods=25_000, freight=1_200, payable=26_200)
    _, savings = given(f"promotion; {rule}", sold("X", 3, 25_000), sold("Y", 1, 9_000, gift=True), amounts=amounts)
    assert savings == ((Saving("r2", saved),) if saved else ())


def test_no_more_is_saved_than_is_to_be_paid() -> None:
    rules = book(*["promotion; over = 1; save = 'CNY(70)'"] * 3)
    ruling = judge(rules, facts(sold("X", 1, 10_000)), 1)
    assert ruling.savings == (Saving("r1", 7_000), Saving("r2", 3_000))


def test_a_promotion_applies_by_when_the_order_was_taken_in_other_rules_by_now() -> None:
    window = "from = 2026-01-01T00:00:00Z; until = 2026-01-02T00:00:00Z"
    begin = 1_767_225_600_000
    rules = book(f"promotion; every = 1; gift = {{sku = 'G'}}; {window}", f"lots; {window}; when = 'units > 0'")

    def said(taken_ms: int, now_ms: int) -> tuple[bool, bool]:
        ruling = judge(rules, facts(taken_ms=taken_ms, now_ms=now_ms), 1)
        return bool(ruling.gifts), ruling.lots

    assert said(begin, begin + 24 * HOUR) == (True, False)
    assert said(begin - 1, begin) == (False, True)
    assert said(begin + 24 * HOUR - 1, begin - 1) == (True, False)
    assert said(begin + 24 * HOUR, begin + 24 * HOUR - 1) == (False, True)
    open_ended = book("lots; from = 2026-01-01T00:00:00Z", "tag; tag = 'x'; until = '2026-01-01T08:00:00+08:00'")
    assert judge(open_ended, facts(now_ms=begin), 1) == Ruling(1, lots=True)
    assert judge(open_ended, facts(now_ms=begin - 1), 1) == Ruling(1, tags=("x",))


# --- risks, promises, approvals


def test_evidence_is_filled_from_the_order() -> None:
    places = (
        "{channel} {shop} {order_no} {status} {native_status} {region} {payable} {paid} {goods} {freight} {discount} "
        "{units} {line_count} {skus} {tags} {flaws} {holds}"
    )
    stop = f"intercept; reason = 'big'; advice = 'look'; role = 'desk'; evidence = '{places}'"
    rules = book("tag; tag = 'x'", stop, stop.replace(places, "plain"), f"{stop}; when = 'units > 99'")
    lines = tuple(sold(f"S{number}", 1, 1) for number in range(7))
    amounts = Amounts("CNY", 12_345, 100, 200, 0, 12_445, 1)
    ruling = judge(rules, facts(*lines, amounts=amounts, flaws=("no_name",), holds=("locked",), region="沪"), 1)
    filled = (
        "taobao shop1 o-1 paid NATIVE_paid 沪 CNY 124.45 CNY 0.01 CNY 123.45 CNY 2.00 CNY 1.00 7 7 "
        "S0, S1, S2, S3, S4 and 2 more x no_name locked"
    )
    assert ruling.found == (Found("r2", "big", filled, "look", "desk"), Found("r3", "big", "plain", "look", "desk"))
    odd = judge(book(stop.replace(places, "{payable}")), facts(amounts=Amounts("XTS", payable=5)), 1)
    assert odd.found[0].evidence == "5 minor units of XTS"


@pytest.mark.parametrize(("skus", "told"), [(1, "S0"), (5, "S0, S1, S2, S3, S4"), (6, "S0, S1, S2, S3, S4 and 1 more")])
def test_evidence_names_the_first_few_and_counts_those_it_leaves_out(skus: int, told: str) -> None:
    rules = book("intercept; reason = 'big'; advice = 'look'; role = 'desk'; evidence = '{skus}'")
    (found,) = judge(rules, facts(*(sold(f"S{number}", 1, 1) for number in range(skus))), 1).found
    assert found.evidence == told


def test_the_first_promise_and_the_first_form_of_each_kind_count() -> None:
    rules = book("promise; ship_within = '1h'; when = 'units > 9'",
                 "promise; ship_within = '2h'; deliver_within = '1d'",
                 "promise; ship_within = '3h'", "approve; form = 'credit'; role = 'a'; when = 'units > 9'",
                 "approve; form = 'credit'; role = 'b'; people = 2; fields = ['f']; documents = ['d']; "
                 "due_within = '4h'; escalate_to = 'c'",
                 "approve; form = 'credit'; role = 'd'", "approve; form = 'craft'; role = 'e'")  # fmt: skip
    ruling = judge(rules, facts(), 1)
    assert ruling.promise == Promise("r2", 2 * HOUR, 24 * HOUR)
    assert ruling.forms == (Form("r5", "credit", "b", ("f",), ("d",), 2, 4 * HOUR, "c"), Form("r7", "craft", "e"))
    assert judge(book("promise; ship_within = '1h'; when = 'units > 9'"), facts(), 1).promise is None


# --- the merchant's whole book

DOUBLE_11 = 1_794_326_400_000
"""2026-11-11 00:00 in Shanghai."""


def full(*lines: Line, channel: str = "taobao", grade: str = "", **more: Any) -> Ruling:
    attributes = more.pop("attributes", {})
    now_ms = more.pop("now_ms", T0)
    view = {"channel": channel, "attributes": attributes}
    customer = more.pop("customer", {"grade": grade} if grade else {})
    return judge(read_rules(FULL), facts(*lines, **view, customer=customer, now_ms=now_ms, taken_ms=now_ms, **more), 3)


def test_full_a_plain_order_has_only_its_promise() -> None:
    assert full() == Ruling(
        3,
        promise=Promise("promise-everyone", 48 * HOUR),
    )
    assert full(channel="generic").suspect_within_ms == HOUR // 2


def test_full_rush_goes_from_a_and_engraving_waits_in_c() -> None:
    lines = (sold("DRL-1", 1, 100), sold("PLATE-ENG", 1, 100))
    ruling = full(*lines, attributes={"service": "rush"})
    assert ruling.tags == ("急件", "定制刻字")
    assert ruling.routes == (
        Route("engraving-in-c", ("l-PLATE-ENG",), ("C",), area="engraving", processing=True),
        Route("rush-from-a", (), ("A", "B")),
    )
    assert (ruling.priority, ruling.promise) == ("urgent", Promise("promise-rush", 4 * HOUR))
    assert [each.form for each in ruling.forms] == ["craft"]


def test_full_hour_delivery_is_express_from_one_place() -> None:
    ruling = full(channel="douyin", attributes={"delivery": "hour"})
    assert ruling.routes == (Route("hour-from-a", (), ("A",), "never"),)
    assert (ruling.priority, ruling.promise) == ("express", Promise("promise-hour", HOUR // 3, HOUR))


def test_full_gifts_savings_and_free_shipping() -> None:
    assert full(sold("BIT-1", 7, 700)).gifts == (Gift("bits-buy-2-get-1", "BIT-1", 3),)
    amounts = Amounts("CNY", goods=40_000, freight=1_000, payable=41_000)
    ruling = full(sold("X", 1, 40_000), channel="miniprogram", amounts=amounts)
    assert ruling.savings == (Saving("mini-save-20-of-199", 4_000), Saving("mini-free-shipping", 1_000))
    tiers = [full(sold("X", 1, amount), now_ms=DOUBLE_11).gifts for amount in (29_899, 29_900, 59_900)]
    assert tiers == [
        (),
        (Gift("double-11-gifts", "GIFT-GLOVES", 1),),
        (Gift("double-11-gifts", "GIFT-TOOLBAG", 1, "B"),),
    ]
    assert full(sold("X", 1, 59_900), now_ms=DOUBLE_11 - 1).gifts == ()


@pytest.mark.parametrize(
    ("grade", "terms", "payable", "people"),
    [("dealer", "credit", 1_000_001, 2), ("dealer", "credit", 1_000_000, 1), ("dealer", "cash", 9_000_000, 0)],
)
def test_full_credit_over_ten_thousand_needs_four_eyes(grade: str, terms: str, payable: int, people: int) -> None:
    ruling = full(grade=grade, attributes={"terms": terms}, amounts=Amounts("CNY", payable=payable))
    assert [each.people for each in ruling.forms] == ([people] if people else [])


def test_full_the_eu_needs_lots_and_papers() -> None:
    ruling = full(channel="shopify", attributes={"country": "DE"})
    assert ruling.lots
    assert [(each.form, each.documents) for each in ruling.forms] == [
        ("customs", ("commercial_invoice", "packing_list"))
    ]
    abroad = full(channel="shopify", attributes={"country": "US"})
    assert (abroad.lots, [each.form for each in abroad.forms]) == (False, ["customs"])


def test_full_campaign_stock_is_left_to_the_live_show() -> None:
    assert full(sold("DRL-18V-01", 1, 1), now_ms=DOUBLE_11).keep == (("DRL-18V-01", 300),)
    assert full(sold("DRL-18V-01", 1, 1), channel="douyin", now_ms=DOUBLE_11).keep == ()
    kit = full(sold("SET-DRILL", 1, 1), now_ms=DOUBLE_11)
    assert kit.keep == (("DRL-18V-01", 300), ("BAT-18V-2", 300))


def test_full_risks_are_told_with_what_was_seen() -> None:
    many = full(sold("X", 201, 100), amounts=Amounts("CNY", payable=100))
    assert [(each.reason, each.evidence) for each in many.found] == [("large_quantity", "201 units of X for CNY 1.00")]
    credit = {"credit_left": -1, "price_differs": True}
    buyer = full(customer=credit, attributes={"terms": "credit"}, amounts=Amounts("CNY", payable=100))
    assert [(each.rule, each.role) for each in buyer.found] == [("price-list", "sales"), ("over-credit", "finance")]
    cheap = full(sold("X", 5, 100, unit_price=20), amounts=Amounts("CNY", goods=100))
    assert [each.reason for each in cheap.found] == ["price_suspicious"]


def test_the_same_facts_give_the_same_ruling_and_it_can_be_stored() -> None:
    ruling = full(sold("BIT-1", 7, 70_000), sold("SET-DRILL", 1, 1), attributes={"service": "rush"}, now_ms=DOUBLE_11)
    again = full(sold("BIT-1", 7, 70_000), sold("SET-DRILL", 1, 1), attributes={"service": "rush"}, now_ms=DOUBLE_11)
    assert again == ruling
    assert msgspec.json.decode(msgspec.json.encode(ruling), type=Ruling) == ruling
