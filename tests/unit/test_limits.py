"""Every limit is the last thing that is taken: so much goes through whole, and one more is refused by its rule."""

from collections.abc import Callable
from typing import Any

import pytest

from domain import (
    acts,
    barcodes,
    buyers,
    conditions,
    finance,
    mapping_path,
    mapping_table,
    payments,
    picking,
    privacy,
    reorder,
    rule_table,
    rule_texts,
    shelf,
    skus,
    stock,
    talk,
)
from domain.acts import NotAWord, WordsTooLong, word
from domain.decider import Command, Decider, Event, fold
from domain.envelope import By
from domain.ids import KEY_LENGTH_MAX, PART_BYTES_MAX, BadId, checked_part, is_key
from domain.order import flaw_of, order
from domain.time_units import DAY_MS
from domain.warehouse import warehouse
from tests.colleagues import CHEN, WU, complain
from tests.spec import T0, line, normalized, snapshot

Try = Callable[[int], Any]

ORDER = normalized(snapshot())
PAIRS = skus.PAIRS_MAX
MANY = stock.QUANTITY_MAX
STOCK = (stock.StockReceived("d-0", (("S1", MANY), ("S2", 1)), T0), stock.StockReceived("d-1", (("S1", MANY),), T0))
SPOILT = (*STOCK, shelf.StockDamaged("d-2", "S1", MANY, "", T0))


def told(decider: Decider, command: Callable[[int], Command], *given: Event) -> Try:
    """Return what decides a command of some size."""
    state = fold(decider, given, decider.initial)
    return lambda size: decider.decide(command(size), state, T0)


def rules(*lines: str) -> Try:
    """Return what reads a rule with a number in it."""
    text = "\n".join(("format = 1", *lines))
    return lambda size: rule_table.read_rules(text.replace("SIZE", str(size)))


def forget(orders: int = 1, reason: int = 9) -> privacy.ForgetPerson:
    names = tuple(f"order-b2b:s:{number}" for number in range(orders))
    who = By("person", "li.wei", "service")
    return privacy.ForgetPerson("c-1", who, asked="customer", reason="x" * reason, orders=names)


def seller(**terms: Any) -> buyers.SetBuyer:
    return buyers.SetBuyer("c-1", "b2b:00aa", **terms)


def numbered(count: int, other: str = "S1") -> tuple[tuple[str, str], ...]:
    return tuple((str(number), other) for number in range(count))


def comment(**parts: Any) -> talk.Comment:
    return talk.Comment("c-1", WU, ("text",), **({"sealed": b"x"} | parts))


def money(number: int) -> payments.RecordPayment:
    return payments.RecordPayment("c-1", "9" * number, 100, "CNY", "paid", T0)


LIMITS: dict[str, tuple[int, type[Exception], Try]] = {
    # how much may be written
    "words of an act": (acts.SEALED_BYTES_MAX, WordsTooLong,
                        told(order, lambda size: comment(sealed=b"x" * size), *ORDER)),
    "a name": (40, NotAWord, lambda size: word("x" * size, "it")),
    "a link": (200, NotAWord, lambda size: acts.checked_links(("x" * size,))),
    "links": (acts.LINKS_MAX, NotAWord,
              told(order, lambda size: complain("c-1", CHEN, links=tuple(map(str, range(size)))), *ORDER)),
    "people called": (talk.MENTIONS_MAX, talk.BadMention,
                      told(order, lambda size: comment(mentions=tuple(f"p{n}" for n in range(size))), *ORDER)),
    "a condition": (conditions.TEXT_MAX, conditions.BadCondition,
                    lambda size: conditions.read_condition("units > 1".ljust(size))),
    "a rule book": (rule_table.TEXT_MAX, rule_table.BadRules,
                    lambda size: rule_table.read_rules("format = 1\n#".ljust(size, "x"))),
    "a text in a rule": (rule_texts.TEXT_MAX, rule_texts.BadText, lambda size: rule_texts.check_places("x" * size, ())),
    "a mapping": (mapping_table.TEXT_MAX, mapping_table.BadMapping,
                  lambda size: mapping_table.read_mapping("#".ljust(size, "x"), ())),
    "a path": (mapping_path.PATH_MAX, mapping_path.BadPath, lambda size: mapping_path.parse_path("x" * size)),
    "the steps of a path": (mapping_path.STEPS_MAX, mapping_path.BadPath,
                            lambda size: mapping_path.parse_path(".".join(["x"] * size))),
    "why people are forgotten": (privacy.REASON_MAX, privacy.NotToldWhy,
                                 told(privacy.privacy, lambda size: forget(reason=size))),
    "why a difference is none": (finance.REASON_LENGTH_MAX, finance.NoReason,
                                 told(finance.finance, lambda size: finance.ExplainDifference("c-1", "x", "x" * size),
                                      finance.DifferenceOpened("x", "order-t:s:1", "2026-02-09",
                                                               "amount_differs", 2, 1, "CNY"))),
    "the number of a payment": (payments.NUMBER_MAX, payments.BadPayment, told(order, money, *ORDER)),
    "a grade": (buyers.TEXT_MAX, buyers.BadTerms, told(buyers.buyers, lambda size: seller(grade="x" * size))),
    "a tag": (buyers.TEXT_MAX, buyers.BadTerms, told(buyers.buyers, lambda size: seller(tags=("x" * size,)))),
    "an arrival": (stock.ARRIVAL_MAX, stock.BadArrival,
                   told(warehouse, lambda size: stock.ExpectStock("d", "x" * size, (("S1", 1),), T0))),
    "a SKU received": (stock.SKU_MAX, stock.BadSku,
                       told(warehouse, lambda size: stock.ReceiveStock("d", (("S" * size, 1),)))),
    "a document": (stock.DOCUMENT_MAX, stock.BadDocument,
                   told(warehouse, lambda size: stock.ReceiveStock("d" * size, (("S1", 1),)))),
    "a barcode": (picking.CODE_MAX, barcodes.BadBarcode,
                  told(barcodes.barcodes, lambda size: barcodes.SetBarcodes("c-1", (("9" * size, "S1"),)))),
    "a SKU of a barcode": (stock.SKU_MAX, barcodes.BadBarcode,
                           told(barcodes.barcodes, lambda size: barcodes.SetBarcodes("c-1", (("9", "S" * size),)))),
    "an item": (skus.TEXT_MAX, skus.BadEntry,
                told(skus.skus, lambda size: skus.SetSkus("c-1", (("i" * size, "S1"),)))),
    "a part of a key": (PART_BYTES_MAX, BadId, lambda size: checked_part("x" * size, "it")),
    # how much goes at once
    "people forgotten": (privacy.STREAMS_MAX, privacy.TooMuchAtOnce,
                         told(privacy.privacy, lambda size: forget(orders=size))),
    "lines of a statement": (finance.LINES_MAX, finance.TooMuchAtOnce,
                             told(finance.finance, lambda size: finance.TakeLines("s", tuple(
                                 finance.Line(str(each), "paid", 1, "CNY", T0) for each in range(size))))),
    "orders judged": (finance.JUDGED_MAX, finance.TooMuchAtOnce,
                      told(finance.finance, lambda size: finance.JudgeOrders("m-1", "2026-02-09", 1, tuple(
                          finance.Judged(f"order-t:s:{each}", "2026-02-09") for each in range(size))))),
    "SKUs entered": (PAIRS, skus.BadEntry, told(skus.skus, lambda size: skus.SetSkus("c-1", numbered(size)))),
    "barcodes entered": (barcodes.PAIRS_MAX, barcodes.BadBarcode,
                         told(barcodes.barcodes, lambda size: barcodes.SetBarcodes("c-1", numbered(size)))),
    "prices of a buyer": (buyers.PRICES_MAX, buyers.BadTerms,
                          told(buyers.buyers, lambda size: seller(prices=tuple((f"S{n}", 1) for n in range(size))))),
    "SKUs counted": (shelf.COUNTED_MAX, shelf.BadCount,
                     told(warehouse, lambda size: shelf.CountStock("d", tuple((f"X{n}", 0) for n in range(size))),
                          *STOCK)),
    "fields of a mapping": (mapping_table.FIELDS_MAX, mapping_table.BadMapping,
                            lambda size: mapping_table.read_mapping("\n".join(
                                f'[[field]]\nfrom = "a{n}"\nto = "attributes.a{n}"' for n in range(size)))),
    "rules": (rule_table.RULES_MAX, rule_table.BadRules,
              lambda size: rule_table.read_rules("format = 1\n" + "\n".join(
                  f'[[tag]]\nid = "t{n}"\ntag = "x"' for n in range(size)))),
    # how many units there can be
    "units received": (MANY, stock.BadQuantity,
                       told(warehouse, lambda size: stock.ReceiveStock("d", (("S1", size),)))),
    "units adjusted": (MANY, stock.BadQuantity, told(warehouse, lambda size: stock.AdjustStock("d", "S1", size, ""))),
    "units taken off": (MANY, stock.BadQuantity,
                        told(warehouse, lambda size: stock.AdjustStock("d", "S1", -size, ""), *STOCK)),
    "units protected": (MANY, stock.BadQuantity,
                        told(warehouse, lambda size: stock.ProtectStock("d", "S1", size), *STOCK)),
    "units counted": (MANY, shelf.BadCount, told(warehouse, lambda size: shelf.CountStock("d", (("S1", size),)))),
    "units damaged": (MANY, stock.BadQuantity,
                      told(warehouse, lambda size: shelf.MarkDamaged("d", "S1", size, ""), *STOCK)),
    "units repaired": (MANY, stock.BadQuantity,
                       told(warehouse, lambda size: shelf.MarkDamaged("d", "S1", -size, ""), *SPOILT)),
    "a level": (MANY, stock.BadQuantity,
                told(warehouse, lambda size: reorder.SetReorderLevel("d", "S1", size, size))),
    "a target": (MANY, stock.BadQuantity, told(warehouse, lambda size: reorder.SetReorderLevel("d", "S1", 0, size))),
    # numbers in rules
    "units in a rule": (rule_table.UNITS_MAX, rule_table.BadRules,
                        rules("[[protect]]", 'id = "r"', 'skus = ["S"]', "keep = SIZE")),
    "people who approve": (rule_table.PEOPLE_MAX, rule_table.BadRules,
                           rules("[[approve]]", 'id = "r"', 'form = "credit"', 'role = "finance"', "people = SIZE")),
    "tries": (rule_table.TRIES_MAX, rule_table.BadRules,
              rules("[[act]]", 'id = "r"', 'effect = "ship_notice"', "tries = SIZE")),
    "days in a rule": (rule_table.DURATION_MAX_MS // DAY_MS, rule_table.BadRules,
                       rules("[[promise]]", 'id = "r"', 'ship_within = "SIZEd"')),
}  # fmt: skip


@pytest.mark.parametrize("what", LIMITS)
def test_as_much_as_the_limit_is_taken_and_one_more_is_refused(what: str) -> None:
    limit, refusal, attempt = LIMITS[what]
    attempt(limit)
    with pytest.raises(refusal):
        attempt(limit + 1)


def test_an_order_has_at_most_as_many_units_as_a_warehouse_counts() -> None:
    assert not flaw_of(snapshot(lines=(line("1", quantity=MANY - 1), line("2"))))
    assert flaw_of(snapshot(lines=(line("1", quantity=MANY), line("2"))))


def test_a_key_is_no_longer_than_any_is() -> None:
    assert is_key("order-a:b:" + "x" * (KEY_LENGTH_MAX - 10))
    assert not is_key("order-a:b:" + "x" * (KEY_LENGTH_MAX - 9))
