"""A cell in miniature: commands in, recorded events out, for tests of whatever reads the log."""

import random
from collections.abc import Sequence

from domain import intake, order, picking, stock
from domain.canonical import Amounts, Line, Parcel, Snapshot, SourceTime, Status
from domain.care import CloseComplaint
from domain.catalogue import TAGS, encode_event
from domain.cell import DECIDERS, Held, Message, Missing, Prepared, Taken, Untranslatable, run_turn
from domain.envelope import By, Envelope, encode_envelope
from domain.finance import ExplainDifference, Finding, Judged, JudgeOrders, difference_id
from domain.ids import VIEWS_KEY, finance_key, intake_key, kind_of, order_key, parts_of, warehouse_key
from domain.mail import Body, ChannelPayload, Mail
from domain.ports import EventLog, Record
from domain.talk import ReadMentions
from domain.views import Differing, RecordCheck
from tests.colleagues import CHEN, LI, WU, ZHAO, approve, ask, attach, comment, complain, enquire, reject

NOON_MS = 1_770_600_000_000
LEDGER = warehouse_key("A")
STATUSES: Sequence[Status] = ("awaiting_payment", "paid", "shipped", "completed", "cancelled")
SECRET = b"\x07sealed, never in the clear\x07"


def instant(ms: int) -> SourceTime:
    return SourceTime(f"t{ms}", ms, 480, f"local-{ms}")


def view(
    order_no: str, status: Status = "paid", *, modified: int = 0, units: int = 1, after_sale: str = "", shop: str = "s1"
) -> Snapshot:
    """A channel's view of an order of two lines: `units` of SKU-1 at 10.00 and one SKU-2 at 5.00."""
    total = 1000 * units + 500
    lines = (
        Line("1", "SKU-1", units, "Tee", amount=1000 * units, after_sale=after_sale),  # type: ignore[arg-type]
        Line("2", "SKU-2", 1, "Mug", amount=500, attributes={"colour": "red"}),
    )
    paid = status not in ("awaiting_payment", "cancelled")
    return Snapshot(
        "taobao",
        shop,
        order_no,
        status,
        f"NATIVE_{status}",
        Amounts("CNY", goods=total, payable=total, paid=total if paid else 0),
        instant(NOON_MS),
        instant(NOON_MS + modified),
        lines,
        customer="c0ffee",
        paid_at=instant(NOON_MS + 1) if paid else None,
        parcels=(Parcel("SF", f"T-{order_no}"),) if status in ("shipped", "completed") else (),
        attributes={"source": "app"},
    )


class Trade:
    """Runs turns against a log."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.states: dict[str, Held] = {}
        self.mails = 0

    def send(self, to: str, body: Body, prepared: Prepared | None = None, by: By | None = None) -> None:
        self.mails += 1
        now = NOON_MS + 1000 * self.mails
        mail = Mail(to, body, now, by or By("channel", "taobao"), f"taobao/{self.mails}")
        message = Message(f"life-{self.mails}", now, mail)
        while True:
            try:
                turn = run_turn(message, self.states, prepared)
                break
            except Missing as missing:
                for stream in missing.streams:
                    self.states[stream] = Held(0, DECIDERS[kind_of(stream)].initial)
        self.states.update(turn.states)
        self.log.append(turn.records)

    def take(self, snapshot: Snapshot) -> str:
        key = order_key(snapshot.channel, snapshot.shop, snapshot.order_no)
        digest = f"{snapshot.status}-{snapshot.modified_at.utc_ms}-{snapshot.lines[0].quantity}"
        command = order.TakeSnapshot(snapshot, digest, "address", "payload", SECRET)
        self.send(key, ChannelPayload("taobao", snapshot.shop, snapshot.order_no), Taken(command))
        return key

    def receive(self, units: int = 100) -> None:
        self.send(
            LEDGER,
            stock.ReceiveStock(f"document-{self.mails}", (("SKU-1", units), ("SKU-2", units))),
            by=By("person", "k1", "keeper"),
        )

    def append(self, stream: str, *events: object, by: By | None = None) -> None:
        """Record events as they are, without a decision."""
        held = self.states.get(stream) or Held(0, DECIDERS[kind_of(stream)].initial)
        version, state = held
        envelope = encode_envelope(Envelope(NOON_MS, NOON_MS, by or By("rule", "test"), "m", "m", "m"))
        records = []
        for event in events:
            version += 1
            state = DECIDERS[kind_of(stream)].evolve(state, event)
            records.append(Record(stream, version, TAGS[type(event)], envelope, encode_event(event), None))  # type: ignore[index,arg-type]
        self.states[stream] = Held(version, state)
        self.log.append(records)


def money_day(trade: Trade, key: str, at: int = 1) -> None:
    """Let statements differ from what is known of an order, a colleague explain it, and a self-check find something."""
    shop = finance_key(*parts_of(key)[:2])
    less, late = Finding("amount_differs", 1500, 1400, "CNY"), Finding("settled_later", 1500, 0, "CNY", "", "by Monday")
    judged = (Judged(key, "2026-02-09", (less, late)),)
    trade.send(shop, JudgeOrders(f"judge-{at}", "2026-02-09", at, judged), by=By("system", "match"))
    trade.send(shop, ExplainDifference(f"explain-{at}", difference_id(key, less), AGREED), by=LI)
    trade.send(shop, JudgeOrders(f"again-{at}", "2026-02-09", at, (Judged(key, "2026-02-09", (less,)),)))
    differ = (Differing("orders_v6", key, "state"), Differing("orders_v6", key, "held"), Differing("channel", key, "x"))
    trade.send(VIEWS_KEY, RecordCheck(f"check-{at}", 20, 90, 1, differ, at), by=LI)


AGREED = "Mr Wang will pay the rest on Friday"
"""What a colleague wrote about a difference."""


def _act(command: str, who: By, chance: random.Random) -> Body:
    """Return something that a colleague could do."""
    acts: list[Body] = [
        comment(command, who, chance.choice(["x", "@finance", "@sales @li.wei"])),
        comment(command, who, "@财务 @zhao"),
        ReadMentions(command, who, upto=chance.randrange(4)),
        ask(command, who),
        approve(command, who),
        reject(command, who),
        attach(command, who, payload="payload"),
        complain(command, who),
        CloseComplaint(command, who, complaint="complaint-1", outcome="settled"),
        enquire(command, who),
    ]
    return chance.choice(acts)


def trade_day(trade: Trade, seed: int, acts: int) -> None:
    """Let `acts` random things befall a few orders: every kind of event comes up sooner or later."""
    chance = random.Random(seed)
    trade.receive(chance.choice([3, 500]))
    for _ in range(acts):
        number = f"{chance.randrange(max(acts // 6, 2))}"
        key = order_key("taobao", chance.choice(["s1", "s1", "s 2"]), number)
        person = By("person", "p1", "service")
        match chance.randrange(14):
            case 0 | 1 | 2 | 3 | 4:
                trade.take(
                    view(
                        number,
                        chance.choice(STATUSES),
                        modified=chance.randrange(50),
                        units=chance.randrange(1, 4),
                        after_sale=chance.choice(["", "", "open", "refunded"]),
                        shop=chance.choice(["s1", "s1", "s 2"]),
                    )
                )
            case 5 | 6:
                if chance.randrange(2):
                    scan = picking.ScanItem(f"item-{trade.mails}", chance.choice(["SKU-1", "SKU-2", "SKU-9"]))
                    trade.send(key, scan, by=person)
                    continue
                trade.send(key, order.ScanOut(f"scan-{trade.mails}", f"SF{trade.mails}", "SF"), by=person)
            case 7:
                trade.send(
                    key, order.CancelLines(f"cancel-{trade.mails}", (("1", 1),), "changed their mind"), by=person
                )
            case 8:
                failed = Untranslatable("no lines", "orders", "look", f"digest-{trade.mails}")
                trade.send(key, ChannelPayload("taobao", "s1", number), failed)
            case 9:
                waiting = trade.states.get(key)
                item = waiting.state.quarantined.item if waiting and waiting.state.quarantined else "none"
                if item != "none" and not waiting.state.queue:  # type: ignore[union-attr]
                    trade.send(key, order.DiscardQuarantined(f"discard-{trade.mails}", item, "junk"), by=person)
            case 10:
                trade.receive(chance.randrange(1, 50))
            case 11 | 12:
                who = chance.choice([WU, LI, ZHAO, CHEN])
                trade.send(key, _act(f"act-{trade.mails}", who, chance), by=who)
            case _:
                body = intake.RecordUnmatched(f"unmatched-{trade.mails}", "cancellation", "no such order")
                trade.send(intake_key("taobao", "s1"), body)
