"""Any mail to any actor, also such that makes no sense: every turn comes to an end, and the same mail gives one log."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain import cellular, intake, mapping, order, rulebook, skus, stock
from domain.catalogue import decode_event
from domain.cell import DECIDERS, Held, Message, Prepared, Taken, Turn, Untranslatable, quarantine_turn
from domain.envelope import By
from domain.ids import CELL_KEY, RULEBOOK_KEY, kind_of, order_key
from domain.mail import AsideReport, ChannelPayload, Mail, decode_body, decode_mail, encode_body, encode_mail
from tests.properties.shadow import Shadow
from tests.properties.test_order_machine import honest_views, views
from tests.spec import CHANNEL, T0, WAREHOUSE, Cell, taking

KEYS = (
    *(order_key("taobao", "shop1", f"o-{number}") for number in (1, 2)),
    WAREHOUSE,
    "intake-taobao:shop1",
    "mapping-taobao",
    RULEBOOK_KEY,
    CELL_KEY,
)
UNREADABLE = "intake-cell:mail"

texts = st.sampled_from(("a", "b", "", "m-1", "order"))
quantities = st.lists(st.tuples(texts, st.integers(-2, 5)), max_size=2).map(tuple)
bodies = st.one_of(
    st.builds(order.ScanOut, texts, texts, texts),
    st.builds(order.Ship, texts, texts, texts),
    st.builds(order.CancelLines, texts, quantities, texts),
    st.builds(order.ResolveInterception, texts, texts, st.sampled_from(("release", "cancel")), texts),
    st.builds(order.TimerDue, st.sampled_from(("payment", "order")), st.just(T0)),
    st.builds(order.ResendQuarantined, texts, texts),
    st.builds(order.DiscardQuarantined, texts, texts, texts),
    st.builds(order.RecordEffect, texts, texts, texts, st.sampled_from(("succeeded", "failed")), texts),
    st.builds(stock.ReceiveStock, texts, quantities),
    st.builds(stock.AdjustStock, texts, texts, st.integers(-3, 3), texts),
    st.builds(stock.ProtectStock, texts, texts, st.integers(-3, 3)),
    st.builds(intake.RecordUnmatched, texts, texts, texts),
    st.builds(intake.DiscardAside, texts, texts),
    st.builds(
        mapping.ChangeMapping,
        texts,
        st.sampled_from(("", "x =", "[times]\nzone = 'Z'", "[[field]]")),
        texts,
        st.just(()),
    ),
    st.builds(
        skus.SetSkus,
        texts,
        st.lists(st.tuples(st.sampled_from(("item-1", "item-2", "")), texts), max_size=2).map(tuple),
    ),
    st.builds(skus.RemoveSkus, texts, st.just(("item-1",))),
    st.builds(rulebook.ChangeRules, texts, st.sampled_from(("", "x =", "format = 1", "format = 2")), texts),
    st.just(cellular.Tick()),
)
"""Everything that a stranger could put into the mail, addressed to anybody."""


@st.composite
def mails(draw: st.DrawFn) -> tuple[Mail, Prepared | None, bool]:
    """Draw a message, what the shell would make of its bytes, and whether it has killed the process before."""
    what = draw(st.sampled_from(("body", "body", "view", "view", "nonsense", "aside")))
    to = draw(st.sampled_from(KEYS))
    body: Any = draw(bodies)
    prepared: Prepared | None = None
    if what == "view":
        view = draw(st.one_of(views(), honest_views()))
        to, prepared = order_key("taobao", "shop1", view.order_no), Taken(taking(view))
        body = ChannelPayload("taobao", "shop1", view.order_no, b"raw")
    elif what == "nonsense":
        to, prepared = KEYS[0], Untranslatable("no such status", "status", "", draw(texts) + "payload")
        body = ChannelPayload("taobao", "shop1", "o-1", b"raw")
    elif what == "aside":
        to, prepared = KEYS[3], Untranslatable("", "", "", draw(texts))
        body = AsideReport("taobao", "shop1", draw(st.sampled_from(("hint", "refused", "quarantined"))), "why", b"x")
    mail = Mail(to, body, T0 + draw(st.integers(0, 10**9)), By("channel", "taobao"))
    return mail, prepared, draw(st.integers(0, 19)) == 0


def run(messages: list[tuple[Mail, Prepared | None, bool]]) -> tuple[Cell, list[Turn]]:
    """Run the messages through a new cell, with everything that must hold checked after each."""
    cell = Cell()
    shadow = Shadow(cell)
    turns = []
    for mail, prepared, kills in messages:
        cell.now_ms = mail.observed_at
        travelled = decode_mail(encode_mail(mail))
        if kills:
            turn = suspect(cell, travelled, prepared)
        elif prepared is not None and isinstance(travelled.body, ChannelPayload):
            turn = cell.channel(prepared, travelled.to)
        else:
            turn = cell.send(travelled.to, travelled.body, prepared, CHANNEL)
        shadow.follow(turn)
        turns.append(turn)
    return cell, turns


def suspect(cell: Cell, mail: Mail, prepared: Prepared | None) -> Turn:
    cell.sequence += 1
    for stream in (mail.to, UNREADABLE, RULEBOOK_KEY):
        cell.states.setdefault(stream, Held(0, DECIDERS[kind_of(stream)].initial))
    payload = prepared.payload if isinstance(prepared, Untranslatable) else ""
    if isinstance(prepared, Taken):
        payload = prepared.command.payload
    if payload and prepared is not None:
        cell.payloads[payload] = prepared
    message = Message(f"life-{cell.sequence}", T0, mail)
    return cell.keep(quarantine_turn(message, cell.states, "the process died", payload))


@settings(max_examples=settings().max_examples // 2)
@given(st.lists(mails(), max_size=25))
def test_every_message_comes_to_an_end_and_the_same_mail_gives_the_same_log(messages: list[Any]) -> None:
    cell, turns = run(messages)
    assert run(messages)[0].records == cell.records
    refused: set[tuple[str, str]] = set()
    for (mail, *_), turn in zip(messages, turns, strict=True):
        act = (mail.to, getattr(mail.body, "command_id", ""))
        assert turn.records or turn.outcome in ("repeated", "accepted") or act in refused
        if turn.outcome == "refused":
            refused.add(act)
        # What waited behind a quarantined message is refused in the turn that lets it go.
        told = ((record.stream, decode_event(record.tag, record.data)) for record in turn.records)
        refused |= {(stream, event.command) for stream, event in told if isinstance(event, order.OrderRefused)}


@given(bodies)
def test_a_body_that_waits_in_an_event_comes_out_as_it_went_in(body: Any) -> None:
    assert decode_body(encode_body(body)) == body
