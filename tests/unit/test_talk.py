"""The talk about an order: who is called, what is unread, and how often the word goes from role to role."""

from typing import Any

import pytest

from domain.acts import NobodyActs, UnknownRole, WordsMissing
from domain.cell import Taken, Untranslatable
from domain.decider import Event
from domain.envelope import By
from domain.order import OrderUnknown, ResendQuarantined, order
from domain.talk import MENTIONS_MAX, BadMention, Comment, MentionsRead, OrderCommented, ReadMentions, mentions_of
from tests.colleagues import CHEN, LI, SHOP, WU, ZHAO, comment, words
from tests.spec import Cell, Spec, normalized, snapshot, taking


def known(*more: Event) -> Spec:
    return Spec(order).given(*normalized(snapshot()), *more)


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("please look @finance", ("finance",)),
        ("请@财务看一下，@li.wei 也看看", ("finance", "li.wei")),
        ("@客服@仓管员 @仓储", ("service", "keeper", "warehouse")),
        ("@Finance, @FINANCE. @Li.Wei.", ("finance", "li.wei")),
        ("＠运营 please", ("operations",)),
        ("write to wang@qq.com or a.b@finance.example", ()),
        ("call @13812345678 or @a13812345678", ()),
        ("nobody @ home, @李四", ()),
        ("@sales @销售", ("sales",)),
    ],
)
def test_a_text_calls_roles_and_people_and_nobody_else(text: str, called: tuple[str, ...]) -> None:
    assert mentions_of(text) == called


def test_what_a_text_calls_can_be_said() -> None:
    known().when(comment("c-1", WU, "@财务 @x-1_2.y")).then_some(OrderCommented)


def test_a_comment_says_who_speaks_as_what_and_whom_he_calls() -> None:
    known().when(comment("c-1", WU, "is the credit fine? @finance @zhao")).then(
        OrderCommented(1, 1, "wu", "sales", ("finance", "zhao"), "c-1")
    )


def test_the_same_comment_again_is_no_second_message() -> None:
    known().when(comment("c-1", WU, "x")).then_some(OrderCommented).when(comment("c-1", WU, "x")).then_nothing()


def test_a_round_begins_where_another_role_speaks() -> None:
    spec = known()
    rounds = []
    for number, who in enumerate((WU, WU, LI, ZHAO, WU, By("person", "li.wei", "sales"), CHEN)):
        spec.when(comment(f"c-{number}", who, "x"))
        (said,) = spec._events
        assert isinstance(said, OrderCommented)
        rounds.append(said.round)
        spec.given(said)
    assert rounds == [1, 1, 2, 2, 3, 3, 4]
    assert (spec.state.people.talk.rounds, spec.state.people.talk.messages) == (4, 7)


@pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (comment("c-1", SHOP, "x"), NobodyActs),
        (comment("c-1", By("person", "wu"), "x"), UnknownRole),
        (Comment("c-1", WU), WordsMissing),
        (Comment("c-1", WU, ("note",), b"x"), WordsMissing),
        (Comment("c-1", WU, *words("x"), mentions=("Mr Wang, 5 Nanjing Road",)), BadMention),
        (Comment("c-1", WU, *words("x"), mentions=("a13812345678",)), BadMention),
        (Comment("c-1", WU, *words("x"), mentions=tuple(f"p{n}" for n in range(MENTIONS_MAX + 1))), BadMention),
    ],
)
def test_what_cannot_stand_in_the_record_is_refused(act: Any, refusal: type[Any]) -> None:
    known().when(act).then_raises(refusal)


def test_nobody_talks_about_an_order_that_does_not_exist() -> None:
    Spec(order).when(comment("c-1", WU, "x")).then_raises(OrderUnknown)


def test_people_talk_about_a_message_that_nobody_could_read_and_the_talk_stays_when_it_is_repaired() -> None:
    cell = Cell()
    key = "order-taobao:shop1:o-1"
    cell.channel(Untranslatable("no such status", "status", "correct it", "nonsense"), key)
    assert cell.send(key, comment("c-1", WU, "what is this? @engineer"), by=WU).outcome == "accepted"
    cell.payloads["nonsense"] = Taken(taking(snapshot()))
    item = cell.order().quarantined
    assert item is not None
    cell.send(key, ResendQuarantined("r-1", item.item))
    assert cell.order().status == "paid"
    assert cell.order().people.talk.unread == ((1, "engineer"),)


# --- read


CALLED = (
    OrderCommented(1, 1, "wu", "sales", ("finance", "li.wei")),
    OrderCommented(2, 1, "wu", "sales", ("finance", "service")),
)


def test_reading_takes_what_calls_the_person_and_his_role() -> None:
    spec = known(*CALLED).when(ReadMentions("r-1", LI, upto=2)).then(MentionsRead((1, 2), "li.wei", "finance", "r-1"))
    assert spec.state.people.talk.unread == ((2, "service"),)
    spec.when(ReadMentions("r-2", LI, upto=2)).then_nothing()


def test_another_of_the_role_reads_for_the_role_and_not_for_the_person() -> None:
    spec = known(*CALLED).when(ReadMentions("r-1", ZHAO, upto=9)).then(MentionsRead((1, 2), "zhao", "finance", "r-1"))
    assert spec.state.people.talk.unread == ((1, "li.wei"), (2, "service"))


def test_what_was_not_shown_yet_stays_unread() -> None:
    spec = known(*CALLED).when(ReadMentions("r-1", LI, upto=1)).then(MentionsRead((1,), "li.wei", "finance", "r-1"))
    assert spec.state.people.talk.unread == ((2, "finance"), (2, "service"))


def test_a_person_is_the_same_in_any_spelling() -> None:
    who = By("person", "Li.Wei", "keeper")
    known(*CALLED).when(ReadMentions("r-1", who, upto=9)).then(MentionsRead((1,), "li.wei", "keeper", "r-1"))


def test_only_people_read() -> None:
    known(*CALLED).when(ReadMentions("r-1", SHOP, upto=9)).then_raises(NobodyActs)


def test_the_words_stand_sealed_beside_the_event_and_nowhere_else() -> None:
    cell = Cell()
    cell.take(snapshot())
    key = next(iter(cell.living))
    said = comment("c-1", WU, "call Mr Wang @finance")
    cell.send(key, said, by=WU)
    record = cell.records[-1]
    assert (record.tag, record.sealed) == ("order.commented", said.sealed)
    cell.send(key, ReadMentions("r-1", upto=1), by=LI)
    assert (cell.records[-1].tag, cell.records[-1].sealed) == ("order.mentions_read", None)
