"""What people are told of an event: by rules, in fixed placeholders, once for each receiver."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import order
from domain.canonical import Parcel
from domain.catalogue import TYPES
from domain.cellular import BrokerReset, CellEffectFailed
from domain.decider import Event
from domain.notices import (
    DEFAULT_RULES,
    EFFECT,
    PLACEHOLDERS,
    VALUE_MAX,
    BadNotice,
    Context,
    Note,
    NoticeRule,
    Occurred,
    check_rules,
    in_force,
    notes_of,
    rules_of,
)
from domain.rule_table import BadRules, read_rules
from domain.rule_texts import NOTICE_PLACES
from tests.spec import T0, line, snapshot
from tests.unit.test_catalogue import SAMPLES, tag_of

STREAM = "order-taobao:shop1:o-1"
CONTEXT = Context("taobao:shop1:o-1", "taobao", "shop1", "o-1", snapshot("paid"), (), "https://h/o-1", "Asia/Shanghai")
ALL = {name: (name,) for name in ("operations", "service", "finance", "keeper", "warehouse", "customer")}
STOPPED = order.OrderIntercepted("i-1", "stock_short", "SKU1: 0 left", "receive some", "finance", T0)


def told(fact: Event, *rules: NoticeRule, tag: str = "", about: str = "") -> list[Note]:
    tag = tag or next(name for name, kind in TYPES.items() if kind is type(fact))
    return notes_of(rules or DEFAULT_RULES, Occurred(STREAM, 4, tag, fact, T0, about), CONTEXT, ALL)


def rule(text: str, *to: str, on: str = "order.intercepted", **more: object) -> NoticeRule:
    return NoticeRule("r", frozenset({on}), to or ("keeper",), "title", text, **more)  # type: ignore[arg-type]


def test_every_stopped_order_is_told_with_reason_evidence_and_advice_to_its_role() -> None:
    (note,) = told(STOPPED)
    assert note.receiver == "finance"
    assert note.title == "订单拦截 Order stopped: o-1 (stock_short)"
    for part in ("SKU1: 0 left", "receive some", "taobao:shop1:o-1", "https://h/o-1"):
        assert part in note.text


def test_a_moment_in_the_evidence_is_told_in_the_merchants_zone() -> None:
    late = msgspec.structs.replace(STOPPED, evidence="unpaid past its deadline (UTC ms 1770600000000)")
    (note,) = told(late)
    assert "unpaid past its deadline (2026-02-09T09:20:00+08:00)" in note.text


def test_a_title_of_several_lines_is_told_as_one() -> None:
    """A mail's subject cannot have two: the receiver of such a note was shut out, and all his other notes with it."""
    (note,) = told(
        STOPPED, NoticeRule("r", frozenset({"order.intercepted"}), ("keeper",), "\nstopped:\r\n {reason}\n", "")
    )
    assert note.title == "stopped: stock_short"


def test_an_act_that_was_given_up_is_told_once_whether_it_stops_the_order_or_not() -> None:
    failed = order.EffectFailed("ship_notice", "o@7", "unknown carrier")
    stopped = order.OrderIntercepted("effect_failed-ship_notice-7", "effect_failed", "x", "y", "operations", T0)
    assert [len(told(each)) for each in (failed, stopped)] == [1, 0]


@pytest.mark.parametrize("sample", SAMPLES)
def test_whatever_can_be_told_can_be_put_into_words(sample: str) -> None:
    tag = tag_of(sample)
    if not tag.startswith(("order.", "cell.")):
        pytest.skip("it is not told")
    everything = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    for note in told(SAMPLES[sample], rule(everything, on=tag), tag=tag):
        assert "None" not in note.text


@pytest.mark.parametrize("default", [each.id for each in DEFAULT_RULES])
def test_what_is_told_by_default_names_somebody_and_says_what_to_do(default: str) -> None:
    (meant,) = [each for each in DEFAULT_RULES if each.id == default]
    for tag in meant.on:
        fact = SAMPLES[tag]
        if isinstance(fact, order.EffectFailed) and not fact.final:
            fact = order.EffectFailed("ship_notice", "o@7", "unknown carrier")
        (note,) = told(fact, tag=tag)
        assert note.fields["role"] == note.receiver
        assert note.fields["advice"]


def test_values_come_from_the_event() -> None:
    text = "{warehouse}|{sku}|{short}|{tracking}|{carrier}|{amount}|{due}"
    picks = order.PickListIssued("p", "a", "A", (("S1", 2), ("S2", 1)))
    assert told(picks, rule(text, on="order.pick_list_issued"))[0].text.startswith("A|S1×2, S2×1|||")
    failed = order.ReservationFailed("a", "A", (("S1", 2, 1),))
    assert "S1: 2/1" in told(failed, rule(text, on="order.reservation_failed"))[0].text
    shipped = order.OrderShipped((Parcel("SF", "T1"), Parcel("YTO", "T2")), T0, "a", "c")
    assert "T1, T2|SF, YTO|" in told(shipped, rule(text, on="order.shipped"))[0].text
    paid = order.OrderPaid(19_900, "CNY", T0)
    assert "|199.00 CNY|" in told(paid, rule(text, on="order.paid"))[0].text
    timer = order.TimerSet("payment", 1_770_000_000_000)
    assert told(timer, rule(text, on="order.timer_set"))[0].text.endswith("2026-02-02 10:40:00 +0800")


def test_a_line_that_would_say_nothing_is_left_out() -> None:
    assert told(STOPPED, rule("a {tracking}\nb {reason}\nplain\n{due}"))[0].text == "b stock_short\nplain"


def test_a_receiver_is_told_once_of_an_event_by_the_first_rule_that_names_it() -> None:
    first, second = (
        rule("one", "keeper", "finance"),
        NoticeRule("s", frozenset({"order.intercepted"}), ("finance", "{role}", "service"), "t", "two"),
    )
    assert [(note.receiver, note.text) for note in told(STOPPED, first, second)] == [
        ("keeper", "one"), ("finance", "one"), ("service", "two"),
    ]  # fmt: skip


def test_the_same_note_has_the_same_key_and_others_have_others() -> None:
    rules = rule("x", "keeper", "finance")
    again = [note.key for note in told(STOPPED, rules)]
    assert again == [note.key for note in told(STOPPED, NoticeRule("r2", rules.on, rules.to, "other", "words"))]
    assert len(set(again)) == 2


def test_a_customer_is_told_only_by_a_rule_that_names_him() -> None:
    stopped = order.OrderIntercepted("i-1", "odd", "x", "y", "customer", T0)
    assert told(stopped) == []
    assert [note.receiver for note in told(stopped, rule("x", "customer"))] == ["customer"]


def test_the_rule_book_checks_the_same_placeholders() -> None:
    assert set(PLACEHOLDERS) == NOTICE_PLACES


def test_a_rule_books_row_takes_the_place_of_what_ships_under_its_name() -> None:
    row = 'format = 1\n[[notify]]\nid = "{}"\non = ["order.paid"]\nto = ["keeper"]\ntitle = "x"\n'
    assert [each.id for each in in_force(read_rules(row.format("new")))] == [
        "new",
        *(each.id for each in DEFAULT_RULES),
    ]
    replaced = in_force(read_rules(row.format("pick-list")))
    assert len(replaced) == len(DEFAULT_RULES)
    assert replaced[0].on == {"order.paid"}


def test_a_rule_book_cannot_ask_for_what_cannot_be_told() -> None:
    with pytest.raises(BadRules, match="of orders and of the cell"):
        read_rules('format = 1\n[[notify]]\nid = "n"\non = ["stock.received"]\nto = ["keeper"]\ntitle = "x"\n')


def test_a_condition_is_asked() -> None:
    rules = rule("x", when=lambda occurred, context: context.shop == "shop2" and occurred.version == 4)
    assert told(STOPPED, rules) == []


def test_a_rule_books_condition_is_asked_of_the_order_as_its_channel_saw_it() -> None:
    book = read_rules(
        'format = 1\n[[tag]]\nid = "big"\ntag = "big"\nwhen = "units >= 5"\n'
        '[[notify]]\nid = "n"\non = ["order.paid"]\nto = ["keeper"]\ntitle = "x"\nwhen = \'"big" in tags\'\n'
    )
    (meant,) = rules_of(book)
    paid = order.OrderPaid(500, "CNY", T0)
    told = {}
    for units in (4, 5):
        seen = msgspec.structs.replace(CONTEXT, snapshot=snapshot(lines=(line("1", quantity=units),)))
        told[units] = notes_of((meant,), Occurred(STREAM, 4, "order.paid", paid, T0), seen, ALL)
    assert (told[4], [note.receiver for note in told[5]]) == ([], ["keeper"])
    unseen = msgspec.structs.replace(CONTEXT, snapshot=None)
    assert notes_of((meant,), Occurred(STREAM, 4, "order.paid", paid, T0), unseen, ALL) == []


def test_an_amount_is_that_of_the_event_or_of_its_order_or_none() -> None:
    asks = rule("of {amount}\nplain", on="order.cancelled")
    occurred = Occurred(STREAM, 4, "order.cancelled", order.OrderCancelled("no more"), T0)
    unseen = msgspec.structs.replace(CONTEXT, snapshot=None)
    texts = [notes_of((asks,), occurred, context, ALL)[0].text for context in (CONTEXT, unseen)]
    assert texts == ["of 1.00 CNY\nplain", "plain"]


def test_nobody_is_told_of_what_will_be_tried_again_nor_of_notes_without_end() -> None:
    on = frozenset({"order.effect_failed", "order.effect_succeeded", "cell.effect_failed"})
    rules = NoticeRule("r", on, ("keeper",), "t", "x")
    assert told(order.EffectFailed("erp", "k", "busy", final=False), rules) == []
    assert len(told(order.EffectFailed("erp", "k", "no"), rules)) == 1
    assert len(told(order.EffectSucceeded("erp", "k"), rules)) == 1
    assert told(order.EffectSucceeded(EFFECT, "k@1/ops"), rules) == []
    assert len(told(order.EffectFailed(EFFECT, "k@1/ops", "no"), rules, about="order.intercepted")) == 1
    assert told(order.EffectFailed(EFFECT, "k@9/ops", "no"), rules, about="order.effect_failed") == []
    assert told(CellEffectFailed(EFFECT, "k@9/ops", "no"), rules, about="cell.effect_failed") == []


def test_lost_mail_is_told_to_operations() -> None:
    (note,) = told(BrokerReset("life-1", "life-2", 9, "directory wiped"))
    assert (note.receiver, "reconcile" in note.text) == ("operations", True)


@given(st.text(max_size=2_000))
def test_a_value_is_one_line_that_names_no_placeholder_again(value: str) -> None:
    stopped = order.OrderIntercepted("i", value, "{role}", "{x}", "keeper", T0)
    (note,) = told(stopped, rule("<{reason}>\n{evidence}{advice}"))
    lines = note.text.splitlines()
    assert lines[-1] == "{role}{x}"
    assert all(len(line) <= VALUE_MAX + 2 and line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (rule("{phone}"), r"no placeholder \{phone\}"),
        (rule("{order.__class__}"), "no placeholder"),
        (rule("{order!r}"), "stands alone"),
        (rule("{order:>9}"), "stands alone"),
        (rule("{"), "written twice"),
        (rule("x", "{who}"), "no placeholder"),
        (rule("x", on="order.teleported"), "no event order.teleported"),
        (rule("x", on="stock.received"), "no event stock.received"),
        (NoticeRule("r", frozenset(), ("a",), "t", ""), "needs events"),
        (NoticeRule("", frozenset({"order.paid"}), ("a",), "t", ""), "name of its own"),
    ],
)
def test_a_rule_that_means_nothing_says_so(wrong: NoticeRule, says: str) -> None:
    with pytest.raises(BadNotice, match=says):
        check_rules([wrong])


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(BadNotice, match="name of its own"):
        check_rules([rule("x"), rule("y")])


def test_units_are_those_of_the_event_or_else_what_is_still_wanted_of_the_order() -> None:
    lines = (line("1", quantity=2), line("2", quantity=3), line("3", quantity=7, state="cancelled"))
    context = msgspec.structs.replace(CONTEXT, snapshot=snapshot("paid", 1, lines))
    asks = rule("{units}", on="order.paid")
    paid = order.OrderPaid(500, "CNY", T0)
    assert notes_of((asks,), Occurred(STREAM, 4, "order.paid", paid, T0), context, ALL)[0].text == "5"
    picks = order.PickListIssued("p", "a", "A", (("S1", 2),))
    asks = rule("{units}", on="order.pick_list_issued")
    assert notes_of((asks,), Occurred(STREAM, 4, "order.pick_list_issued", picks, T0), context, ALL)[0].text == "2"
