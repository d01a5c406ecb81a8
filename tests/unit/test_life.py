"""A life is told message by message: what caused what, by which rule as it was then, and what answered it later."""

from html.parser import HTMLParser
from typing import Any

import pytest

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.sealing import payload_digest, seal
from adapters.storage.vault import MemoryVault
from domain.approvals import ApprovalGiven, ApprovalRequested
from domain.catalogue import TAGS, encode_event
from domain.decider import Event
from domain.envelope import By, Envelope, encode_envelope
from domain.intake import IntakeQuarantined
from domain.order import (
    EffectSucceeded,
    InterceptionResolved,
    OrderAmended,
    OrderIntercepted,
    OrderNormalized,
    OrderPromised,
    OrderReceived,
    OrderRefused,
    OrderReserved,
)
from domain.ports import Payload, Record
from domain.rulebook import RulesChanged
from domain.stock import StockReserved
from runners.history import ERASED
from runners.life import GONE, Life, Node, life, rule_text
from runners.life_page import page
from tests.trade import NOON_MS, view

ORDER = "order-taobao:s1:1"
ZONE = "Asia/Shanghai"
FIRST = """# ours
format = 1

[[promise]]
id = "soon"
ship_within = "12h"

[[intercept]]
id = 'many'
when = "units > 5"
"""
SECOND = FIRST.replace("12h", "48h")
HOSTILE = (
    "</pre><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\u202egnp.exe\x1b[2J\" onclick='x"
)
CHANNEL, RULE, CHEN = By("channel", "taobao"), By("rule", "fulfilment"), By("person", "chen", "finance")


class Written:
    """A log written event by event."""

    def __init__(self) -> None:
        self.log = MemoryEventLog()
        self.vault = MemoryVault(b"life")
        self._versions: dict[str, int] = {}

    def put(
        self,
        message: int,
        stream: str,
        event: Event,
        because: str = "",
        by: By = CHANNEL,
        *,
        rules: int = 0,
        source: str = "",
    ) -> str:
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        name = f"life-{message}"
        at = NOON_MS + message * 1_000
        envelope = Envelope(at, at - 5, by, name, because or name, name, source, rules)
        self.log.append(
            [Record(stream, version, TAGS[type(event)], encode_envelope(envelope), encode_event(event), None)]
        )
        return f"{stream}@{version}"

    def told(self, **options: Any) -> Life:
        return life(self.log, ORDER, ZONE, **options)


@pytest.fixture
def written() -> Written:
    made = Written()
    snapshot = view("1")
    lines = (("SKU-1", 1),)
    made.put(1, "rulebook-main", RulesChanged(1, FIRST, "d1", "begin", "c1"), by=CHEN)
    made.put(2, ORDER, OrderReceived("taobao", "s1", "1", ""), rules=1, source=HOSTILE)
    made.put(2, ORDER, OrderNormalized(snapshot, "d", "a"), rules=1)
    promised = made.put(2, ORDER, OrderPromised("soon", 1, NOON_MS + 43_200_000), rules=1)
    reserved = made.put(2, "warehouse-A", StockReserved(f"{ORDER}/1", ORDER, lines), promised, RULE)
    made.put(2, ORDER, OrderReserved(f"{ORDER}/1", "A", lines), reserved, RULE, rules=1)
    made.put(3, "rulebook-main", RulesChanged(2, SECOND, "d2", "slower", "c2"), by=CHEN)
    stopped = OrderIntercepted("many-1", "many_units", HOSTILE, "ask", "service", NOON_MS, "many", 2)
    made.put(4, ORDER, OrderAmended(snapshot, "d3", "a", ("lines",), ""), rules=2)
    made.put(4, ORDER, OrderPromised("soon", 2, NOON_MS + 99), rules=2)
    made.put(4, ORDER, stopped, rules=2)
    made.put(4, ORDER, ApprovalRequested("craft", "craft", "workshop", 1), rules=2)
    made.put(5, ORDER, EffectSucceeded("notify", f"{ORDER}@7/robot", "r1"), by=By("system", "effects"))
    made.put(6, ORDER, InterceptionResolved("many-1", "release", command="c9"), by=CHEN)
    made.put(7, ORDER, ApprovalGiven("craft", 1, "chen", "finance", 1, complete=True, command="c10"), by=CHEN)
    made.put(8, ORDER, OrderRefused("ScanOut", "OrderOnHold", "held", "c11"), by=CHEN)
    return made


def nodes(told: list[Node]) -> list[Node]:
    return [each for node in told for each in (node, *nodes(node.caused))]


def test_what_a_message_led_to_is_a_tree_over_streams(written: Written) -> None:
    first = written.told().turns[0]
    assert [node.tag for node in first.caused] == ["order.received", "order.normalized", "order.promised"]
    (ledger,) = first.caused[2].caused
    assert (ledger.stream, ledger.tag) == ("warehouse-A", "stock.reserved")
    (back,) = ledger.caused
    assert (back.stream, back.tag, back.changes["status"]) == (
        ORDER,
        "order.reserved",
        ("awaiting_payment", "allocating"),
    )


def test_who_sent_a_message_is_told_also_where_rules_did_the_rest(written: Written) -> None:
    assert [turn.by for turn in written.told().turns] == [CHANNEL, CHANNEL, By("system", "effects"), CHEN, CHEN, CHEN]


def test_rules_stand_beside_events_as_they_were_then(written: Written) -> None:
    promised = [node for turn in written.told().turns for node in nodes(turn.caused) if node.tag == "order.promised"]
    assert [(rule.id, rule.version) for node in promised for rule in node.rules] == [("soon", 1), ("soon", 2)]
    assert "12h" in promised[0].rules[0].text
    assert "48h" in promised[1].rules[0].text
    assert "many" not in promised[0].rules[0].text


def test_what_a_refusal_calls_a_rule_is_none_of_the_book(written: Written) -> None:
    refused = written.told().turns[-1].caused[0]
    assert (refused.tag, refused.rules) == ("order.refused", [])


@pytest.mark.parametrize(
    "document", [FIRST, '{"format": 1, "promise": [{"id": "soon", "ship_within": "12h"}]}'], ids=["toml", "json"]
)
def test_a_rule_is_found_in_either_form_of_a_book(document: str) -> None:
    assert "12h" in rule_text(document, "soon")
    assert rule_text(document, "late") == ""
    assert rule_text("", "soon") == ""


def test_answers_stand_beside_what_asked_for_them(written: Written) -> None:
    found = {node.version: node for turn in written.told().turns for node in nodes(turn.caused) if node.stream == ORDER}
    assert [(each.version, each.tag) for each in found[7].answers] == [
        (9, "order.effect_succeeded"),
        (10, "order.resolved"),
    ]
    assert [(each.version, each.by) for each in found[8].answers] == [(11, CHEN)]
    assert found[9].answered == found[10].answered == [7]
    assert found[11].answered == [8]


def test_bytes_are_shown_where_they_and_their_key_are_there() -> None:
    written = Written()
    key = written.vault.keys((ORDER,), create=True)[ORDER]
    sealed = seal(key, ORDER, b'{"tid":1,"buyer":"\xe7\x8e\x8b"}')
    payload = Payload(payload_digest(sealed), ORDER, sealed)
    written.log.append([], payloads=[payload])
    written.put(1, ORDER, OrderReceived("taobao", "s1", "1", payload.digest.hex()))
    written.put(1, ORDER, OrderNormalized(view("1"), "d", "a"))
    shown = written.told(vault=written.vault, payloads=True).turns[0].caused
    assert shown[0].payload is not None
    assert '"buyer": "王"' in shown[0].payload
    assert written.told(vault=written.vault).turns[0].caused[0].payload is None
    assert written.told(payloads=True).turns[0].caused[0].payload is None
    erased = written.told(vault=MemoryVault(b"other"), payloads=True).turns[0].caused[0]
    assert erased.payload == ERASED
    written.put(2, ORDER, OrderAmended(view("1"), "d2", "a", (), "ab" * 32))
    assert written.told(vault=written.vault, payloads=True).turns[1].caused[0].payload == GONE


def test_a_message_that_stands_for_bytes_that_were_not_kept_is_no_digest() -> None:
    written = Written()
    written.put(1, "intake-cell:mail", IntakeQuarantined("warehouse-A: unreadable", "life-1", "{}", "warehouse-A"))
    told = life(written.log, "intake-cell:mail", ZONE, vault=written.vault, payloads=True)
    (node,) = told.turns[0].caused
    assert (node.digest, node.payload, node.facts["payload"]) == ("", None, "life-1")


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_is_whole_and_nothing_from_outside_acts_in_it(written: Written) -> None:
    made = page(written.told(), zone=ZONE, made_at="2026-02-09T12:00:00+08:00", revealed=False)
    seen = Page(made)
    assert seen.open == []
    assert {tag for tag, _ in seen.elements}.isdisjoint({"script", "img", "link", "iframe", "object", "form", "base"})
    for tag, attributes in seen.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")]
        href = attributes.get("href") or "#"
        assert href.startswith("#"), (tag, href)
    policy = [attributes.get("content") or "" for _, attributes in seen.elements if attributes.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "url(" not in made
    assert "@import" not in made
    assert "\u202e" not in made
    assert "\x1b" not in made
    text = "".join(seen.texts)
    assert "<script>alert(1)</script>" in text  # shown as it is, as words
    for wanted in (
        "已承诺时效 promised",
        "拦截 intercepted",
        "规则 rule soon",
        'ship_within = "48h"',
        "chen",
        "warehouse-A",
    ):
        assert wanted in text
    anchors = {attributes["id"] for _, attributes in seen.elements if attributes.get("id")}
    links = {attributes["href"] for tag, attributes in seen.elements if tag == "a"}
    assert links <= {f"#{anchor}" for anchor in anchors}
    assert links
    assert "@media print" in made
    assert "prefers-color-scheme: dark" in made


def test_a_page_with_personal_data_says_so(written: Written) -> None:
    options = {"zone": ZONE, "made_at": "now"}
    assert "Contains personal data" in page(written.told(), revealed=True, **options)
    assert "Contains personal data" not in page(written.told(), revealed=False, **options)
