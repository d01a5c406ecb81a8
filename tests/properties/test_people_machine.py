"""Any colleague, any act, at any time: nothing ships unapproved, nobody counts twice, and rounds are counted right."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from domain import approvals, care, order, talk
from domain.canonical import Status
from domain.catalogue import decode_event
from domain.cell import Taken, Turn, Untranslatable
from domain.ids import order_key
from domain.rulings import Form, Ruling
from tests.colleagues import CHEN, LI, QIAN, SHOP, WU, ZHAO, approve, ask, attach, comment, complain, enquire, reject
from tests.properties.shadow import Shadow
from tests.spec import Cell, line, snapshot, taking

KEY = order_key("taobao", "shop1", "o-1")
STAFF = (WU, LI, ZHAO, QIAN)
FORMS = (
    Form("large", "credit", "finance", people=2, due_within_ms=3_600_000, escalate_to="operations"),
    Form("abroad", "customs", "operations", ("hs_code",), ("invoice",)),
)
people = st.sampled_from((*STAFF, *STAFF, CHEN, SHOP))
names = st.sampled_from(("credit", "credit", "customs", "craft"))
statuses: st.SearchStrategy[Status] = st.sampled_from(
    ("awaiting_payment", "paid", "paid", "paid", "shipped", "cancelled")
)


class Asked:
    """One asking, as its events tell of it."""

    def __init__(self, event: approvals.ApprovalRequested) -> None:
        self.event = event
        self.yes: list[str] = []
        self.blocks = True


class PeopleMachine(RuleBasedStateMachine):
    """One order, and people who know nothing of manners."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()
        self.shadow = Shadow(self.cell)
        self.sent: list[tuple[Any, Any]] = []
        self.ids = 0
        self.read = 0
        self.asked: dict[str, Asked] = {}
        self.spoken: list[str] = []
        self.unread: list[tuple[int, str]] = []
        self.complaints: set[str] = set()

    def new_id(self) -> str:
        self.ids += 1
        return f"c-{self.ids}"

    def put(self, body: Any, who: Any) -> Turn:
        self.sent.append((body, who))
        turn = self.cell.send(KEY, body, by=who)
        self.look(turn)
        return turn

    def look(self, turn: Turn) -> None:
        self.shadow.follow(turn)
        for record in self.cell.records[self.read :]:
            self.follow(decode_event(record.tag, record.data))
        self.read = len(self.cell.records)
        held = self.cell.states.get(KEY)
        if held is not None and held.version:
            self.check(held.state)

    def follow(self, event: Any) -> None:
        match event:
            case approvals.ApprovalRequested():
                before = self.asked.get(event.approval)
                assert event.attempt == (before.event.attempt + 1 if before else 1)
                self.asked[event.approval] = Asked(event)
            case approvals.ApprovalGiven():
                asked = self.asked[event.approval]
                asked.yes.append(event.person)
                asked.blocks = not event.complete
                assert event.person != asked.event.asked_by, "who asked has approved"
                assert len(set(asked.yes)) == len(asked.yes) == event.yes, "somebody counts twice"
                assert event.complete is (event.yes == asked.event.people)
                assert set(asked.event.fields) <= set(event.filled)
            case approvals.ApprovalWithdrawn():
                self.asked[event.approval].blocks = False
            case order.PickListIssued():
                assert not self.blocked(), "the warehouse was asked to pick what nobody approved"
            case order.OrderShipped() | order.PartiallyShipped() if event.command:
                assert not self.blocked(), "goods left that nobody approved"
            case talk.OrderCommented():
                self.spoken.append(event.role)
                turns = sum(a != b for a, b in zip(["", *self.spoken], self.spoken, strict=False))
                assert (event.message, event.round) == (len(self.spoken), turns)
                self.unread += [(event.message, each) for each in event.mentions]
            case talk.MentionsRead():
                mine = (event.person, event.role)
                gone = [each for each in self.unread if each[0] in event.messages and each[1] in mine]
                assert gone, "nothing was read"
                self.unread = [each for each in self.unread if each not in gone]
            case care.OrderComplained():
                self.complaints.add(event.complaint)
            case care.ComplaintClosed():
                self.complaints.remove(event.complaint)

    def blocked(self) -> bool:
        return any(asked.blocks for asked in self.asked.values())

    def check(self, state: order.Order) -> None:
        assert bool(approvals.blocking(state.people.approvals)) is self.blocked()
        assert not self.blocked() or (
            order.on_hold(state) and state.status in ("awaiting_payment", "paid", "allocating")
        )
        assert sorted(state.people.talk.unread) == sorted(self.unread)
        assert set(state.people.care.open) == self.complaints
        due = approvals.next_due(state.people.approvals)
        assert dict(state.timers).get("approval") == due

    # --- rules

    @initialize(units=st.integers(0, 9))
    def begin(self, units: int) -> None:
        self.cell.receive(("S1", units))
        self.shadow.follow(self.tell("paid", 1, 1, ()))

    def tell(self, status: Status, minute: int, units: int, forms: tuple[Form, ...]) -> Turn:
        view = snapshot(status, minute, (line("1", quantity=units),))
        turn = self.cell.channel(Taken(taking(view, ruling=Ruling(1, forms=forms))), KEY)
        self.look(turn)
        return turn

    @rule(
        status=statuses,
        minute=st.integers(1, 40),
        units=st.integers(1, 3),
        forms=st.sets(st.sampled_from(FORMS)).map(lambda few: tuple(sorted(few, key=lambda form: form.rule))),
    )
    def the_channel_tells(self, status: Status, minute: int, units: int, forms: tuple[Form, ...]) -> None:
        self.tell(status, minute, units, forms)

    @rule(who=people, form=names, count=st.integers(1, 2), due=st.booleans())
    def somebody_asks(self, who: Any, form: str, count: int, due: bool) -> None:
        more: dict[str, Any] = {"due_within_ms": 60_000, "escalate_to": "operations"} if due else {}
        self.put(ask(self.new_id(), who, form, people=count, **more), who)

    @rule(who=people, name=names)
    def somebody_asks_again(self, who: Any, name: str) -> None:
        self.put(ask(self.new_id(), who, name, role=""), who)

    @rule(who=people, name=names, filled=st.booleans())
    def somebody_says_yes(self, who: Any, name: str, filled: bool) -> None:
        self.put(approve(self.new_id(), who, name, *(("hs_code",) if filled else ())), who)

    @precondition(lambda self: self.blocked())
    @rule(which=st.integers(0, 3), picks=st.lists(st.integers(0, 1), min_size=1, max_size=3))
    def people_who_may_say_yes(self, which: int, picks: list[int]) -> None:
        waiting = [asked.event for asked in self.asked.values() if asked.blocks]
        event = waiting[which % len(waiting)]
        fitting = [who for who in (*STAFF, *STAFF) if who.role == event.role]
        for kind in event.documents:
            self.put(attach(self.new_id(), WU, kind, "payload-9"), WU)
        for pick in picks:
            self.put(approve(self.new_id(), fitting[pick], event.approval, *event.fields), fitting[pick])

    @rule(who=st.sampled_from((LI, ZHAO)), count=st.integers(1, 2))
    def finance_asks_finance(self, who: Any, count: int) -> None:
        self.put(ask(self.new_id(), who, "craft", people=count), who)

    @rule(who=people, name=names)
    def somebody_says_no(self, who: Any, name: str) -> None:
        self.put(reject(self.new_id(), who, name), who)

    @rule(who=people, kind=st.sampled_from(("invoice", "drawing")), content=st.integers(0, 2))
    def somebody_attaches(self, who: Any, kind: str, content: int) -> None:
        self.put(attach(self.new_id(), who, kind, f"payload-{content}"), who)

    @rule(who=people, number=st.integers(1, 4))
    def somebody_detaches(self, who: Any, number: int) -> None:
        self.put(approvals.DetachDocument(self.new_id(), who, document=f"invoice-{number}"), who)

    @rule(who=people, text=st.sampled_from(("x", "@finance", "@li.wei @zhao", "@销售 @sales")))
    def somebody_speaks(self, who: Any, text: str) -> None:
        self.put(comment(self.new_id(), who, text), who)

    @rule(who=people, upto=st.integers(0, 9))
    def somebody_reads(self, who: Any, upto: int) -> None:
        self.put(talk.ReadMentions(self.new_id(), who, upto=upto), who)

    @rule(who=people)
    def the_customer_complains_and_asks(self, who: Any) -> None:
        self.put(complain(self.new_id(), who), who)
        self.put(enquire(self.new_id(), who), who)

    @rule(who=people, number=st.integers(1, 3))
    def somebody_closes_a_complaint(self, who: Any, number: int) -> None:
        closing = care.CloseComplaint(self.new_id(), who, complaint=f"complaint-{number}", outcome="settled")
        self.put(closing, who)

    @rule(late=st.booleans())
    def time_comes(self, late: bool) -> None:
        due = self.shadow.timers.get((KEY, "approval"), self.cell.now_ms) - (0 if late else 1)
        self.cell.now_ms = max(self.cell.now_ms, due)
        self.put(order.TimerDue("approval", due), WU)

    @rule(tracking=st.sampled_from(("", "T1")))
    def the_keeper_scans(self, tracking: str) -> None:
        self.put(order.ScanOut(self.new_id(), tracking, tracking and "SF"), QIAN)

    @rule()
    def somebody_cancels(self) -> None:
        if self.ids % 5 == 0:
            self.put(order.CancelLines(self.new_id(), (), "changed mind"), CHEN)

    @rule(decision=st.sampled_from(("release", "release", "cancel")))
    def somebody_resolves(self, decision: Any) -> None:
        for name, _ in self.cell.order().interceptions[:1]:
            self.put(order.ResolveInterception(self.new_id(), name, decision), QIAN)

    @rule(settle=st.booleans())
    def a_message_is_nonsense_or_settled(self, settle: bool) -> None:
        waiting = self.cell.order().quarantined
        if waiting is not None and settle:
            self.put(order.DiscardQuarantined(self.new_id(), waiting.item, "junk"), QIAN)
        elif self.ids % 3 == 0:
            self.look(self.cell.channel(Untranslatable("no status", "status", "correct it", f"n-{self.ids}"), KEY))

    @rule(index=st.integers(0, 10_000))
    def something_comes_again(self, index: int) -> None:
        if self.sent:
            body, who = self.sent[index % len(self.sent)]
            handled = getattr(body, "command_id", "") in self.cell.order().commands
            before = len(self.cell.records)
            self.look(self.cell.send(KEY, body, by=who))
            assert not handled or len(self.cell.records) == before

    @rule(hours=st.integers(1, 50))
    def time_passes(self, hours: int) -> None:
        self.cell.now_ms += hours * 3_600_000


TestPeopleMachine = PeopleMachine.TestCase
TestPeopleMachine.settings = settings(max_examples=settings().max_examples, stateful_step_count=60)
