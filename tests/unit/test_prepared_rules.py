"""What is judged beside the worker is what the turn would have judged: the log is the same to the byte."""

from pathlib import Path

import pytest

from adapters.channels import load
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.vault import MemoryVault
from benchmarks.workload import SHOP, mails, trade
from domain.buyers import SetBuyer
from domain.cell import Taken
from domain.envelope import By
from domain.ids import BUYERS_KEY, RULEBOOK_KEY, buyer_of, order_key
from domain.mail import ChannelPayload, Mail, encode_mail
from domain.mapping import SHIPPED
from domain.rulebook import ChangeRules
from domain.rulebook import InForce as Rules
from domain.rulings import UNRULED
from runners.engine import Delivered, Engine
from runners.prepare import Job, do, ready
from runners.preparing import Preparer, Ready

BOOK = (Path(__file__).parents[2] / "docs" / "examples" / "rules.toml").read_text()
OTHER = BOOK.replace('ship_within = "48h"', 'ship_within = "47h"')
BOSS = By("person", "o-1", "operations")
NOW_MS = 1_794_326_400_000


class Desk:
    """An engine on its own log, fed in batches; what is prepared is judged by the book as it stood before the batch."""

    def __init__(self, *, beforehand: bool) -> None:
        self.log, vault = MemoryEventLog("t"), MemoryVault(b"seed")
        self.preparer = Preparer(load(), vault.digest_key())
        self.engine = Engine(self.log, vault, self.preparer)
        self.engine.take_over()
        self.engine.begin_life("life", 0, None, 0)
        self._beforehand = beforehand
        self._seq = 0

    def take(self, *batch: Mail) -> dict[int, Ready]:
        first = self._seq + 1
        self._seq += len(batch)
        opened = self.engine.open(
            [Delivered(first + at, NOW_MS + first, encode_mail(mail)) for at, mail in enumerate(batch)]
        )
        rules = self.engine.rules()
        prepared = {
            seq: ready(mail.to, do(self.preparer, _job(mail, body, opened.keys[mail.to]), SHIPPED, rules))
            for seq, mail, body in opened.jobs()
            if self._beforehand
        }
        decided = self.engine.decide(opened, beforehand=prepared)
        self.engine.committed(decided, self.engine.commit(decided))
        return prepared


def _job(mail: Mail, body: ChannelPayload, key: bytes) -> Job:
    return Job(body.channel, body.shop, mail.to, body.raw, key, mail.observed_at)


def rules(text: str, command: str) -> Mail:
    return Mail(RULEBOOK_KEY, ChangeRules(command, text, "as it should be"), NOW_MS, BOSS, "test")


def bought(number: int, later_ms: int = 0) -> Mail:
    order_no, raw = trade(number, "2026-11-05")
    body = ChannelPayload("taobao", SHOP, order_no, raw)
    return Mail(order_key("taobao", SHOP, order_no), body, NOW_MS + later_ms, By("channel", "taobao"), "taobao/test")


@pytest.mark.parametrize("first", [BOOK, OTHER])
def test_a_log_is_the_same_whoever_judged(first: str) -> None:
    inline, helped = Desk(beforehand=False), Desk(beforehand=True)
    opening = next(iter(mails(0)))
    batches = (
        (opening, rules(first, "r-1")),
        tuple(bought(number) for number in range(12)),
        # The book changes in the middle: what was judged by the older one is judged again.
        (*(bought(number) for number in range(12, 16)), rules(OTHER, "r-2"), *(bought(n) for n in range(16, 24))),
        (rules("", "r-3"), *(bought(number) for number in range(24, 28)), bought(3, 5)),
    )
    for batch in batches:
        inline.take(*batch)
        helped.take(*batch)
    assert helped.log.read(0, 10_000) == inline.log.read(0, 10_000)
    assert any(event.tag == "order.promised" for event in inline.log.read(0, 10_000))


def test_a_buyer_who_is_known_is_judged_in_the_turn() -> None:
    text = (
        'format = 1\n[[intercept]]\nid = "known"\nreason = "is_known"\nwhen = \'customer("grade") == "dealer"\'\n'
        'evidence = "a dealer"\nadvice = "look"\nrole = "operations"\n'
    )
    inline, helped = Desk(beforehand=False), Desk(beforehand=True)
    for desk in (inline, helped):
        desk.take(next(iter(mails(0))), rules(text, "r-1"))
    (prepared,) = helped.take(bought(1)).values()
    inline.take(bought(1))
    assert isinstance(prepared.prepared, Taken)
    assert prepared.prepared.command.ruling.rules == 1
    buyer = buyer_of("taobao", prepared.prepared.command.snapshot.customer)
    terms = Mail(BUYERS_KEY, SetBuyer("b-1", buyer, grade="dealer"), NOW_MS, BOSS, "test")
    again = bought(1, 9)
    assert isinstance(again.body, ChannelPayload)
    later = again.body.raw.replace(b'"modified":"2026-11-05 00:00:01"', b'"modified":"2026-11-05 00:09:01"')
    assert later != again.body.raw
    amended = Mail(again.to, ChannelPayload("taobao", SHOP, again.body.order_no, later), NOW_MS + 9, again.by, "t")
    for desk in (inline, helped):
        desk.take(terms, amended)
    assert helped.log.read(0, 100) == inline.log.read(0, 100)
    assert [event.tag for event in inline.log.read(0, 100)].count("order.intercepted") == 1


def test_a_book_that_this_build_cannot_read_says_nothing_beforehand() -> None:
    desk = Desk(beforehand=True)
    mail = bought(1)
    assert isinstance(mail.body, ChannelPayload)
    done = do(desk.preparer, _job(mail, mail.body, b"k" * 64), SHIPPED, Rules(1, "d", "format = 99"))
    told = ready(mail.to, done).prepared
    assert isinstance(told, Taken)
    assert told.command.ruling is UNRULED
