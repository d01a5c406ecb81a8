"""Whatever answers come, and whatever people do meanwhile: each order is told in its order, and nothing is lost."""

from collections import defaultdict
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runners.webhooks_store import Delivery, Result, Subscriber, Try, Wants, Webhooks

STREAMS = ("order-a", "order-b", "order-c")


class Telling(RuleBasedStateMachine):
    """A log that grows, a subscriber, and a sender that the machine plays."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Webhooks(Path(mkdtemp()))
        self.store.add(Subscriber("s", "http://x/", Wants(), "active", "", "life", 0, "k", "", 0, 1_000, 0))
        self.log: list[str] = []
        """Stream of each event; its position is its place, from 1."""
        self.arrived: dict[str, list[int]] = defaultdict(list)
        self.dropped: set[int] = set()

    def teardown(self) -> None:
        """In the end everything that was not dropped is there, each stream in its order."""
        self.store.resume("s", "life", len(self.log))
        self.follow()
        self.store.revive("s")
        while due := self.store.due("s", 10**15, 10):
            for each in due:
                self.answer(each, "taken")
        for stream in STREAMS:
            wanted = {place for place, name in enumerate(self.log, 1) if name == stream}
            assert wanted - set(self.arrived[stream]) <= self.dropped
            firsts = list(dict.fromkeys(self.arrived[stream]))
            late = [place for place in firsts if place in self.dropped]  # dropped, and asked for again later
            assert [place for place in firsts if place not in late] == sorted(set(firsts) - set(late))
        self.store.close()

    def follow(self) -> None:
        (known,) = self.store.subscribers()
        new = [Delivery("s", place, self.log[place - 1], "order.paid", 0)
               for place in range(known.position + 1, len(self.log) + 1)]  # fmt: skip
        if new:
            assert self.store.follow(known, len(self.log), new) is (known.state == "active")

    def answer(self, each: Delivery, how: str) -> None:
        (to,) = self.store.subscribers()
        tried = Try("s", f"life:{each.position}", each.position, each.tag, 1, 200, 1, each.tries + 1)
        if how == "taken":
            self.arrived[each.stream].append(each.position)
            self.store.settle([Result(tried, None, to)])
        else:
            left = each._replace(tries=each.tries + 1, first_ms=1, due_ms=5, dead=int(how == "dead"), reason="no")
            self.store.settle([Result(tried, left, to, "gone" if how == "gone" else "")])

    @rule(streams=st.lists(st.sampled_from(STREAMS), min_size=1, max_size=5))
    def happens(self, streams: list[str]) -> None:
        self.log += streams
        self.follow()

    @rule(answers=st.lists(st.sampled_from(("taken", "taken", "taken", "failed", "dead", "gone")), max_size=8))
    def sends(self, answers: list[str]) -> None:
        (known,) = self.store.subscribers()
        if known.state != "active":
            return
        due = self.store.due("s", 10, len(answers))
        assert len({each.stream for each in due}) == len(due)
        for each, how in zip(due, answers, strict=False):
            self.answer(each, how)

    @rule()
    def resumes(self) -> None:
        self.store.resume("s", "life", len(self.log))

    @rule()
    def revives(self) -> None:
        self.store.revive("s")

    @rule(place=st.integers(0, 30))
    def rewinds(self, place: int) -> None:
        self.store.rewind("s", "life", min(place, len(self.log)))

    @rule(place=st.integers(1, 30))
    def asks_again(self, place: int) -> None:
        (known,) = self.store.subscribers()
        if place <= known.position:
            self.store.again("s", Delivery("s", place, self.log[place - 1], "order.paid", 0))

    @rule(which=st.integers(0, 5))
    def discards(self, which: int) -> None:
        dead = self.store.deliveries("s", 100, dead=True)
        if which < len(dead):
            assert self.store.discard("s", dead[which].position) == 1
            self.dropped.add(dead[which].position)

    @invariant()
    def what_follows_a_dead_letter_is_dead_and_nothing_before_it(self) -> None:
        (known,) = self.store.subscribers()
        waiting = self.store.deliveries("s", 100, dead=False)
        for letter in self.store.deliveries("s", 100, dead=True):
            assert letter.position <= known.position or self.log[letter.position - 1] == letter.stream
            assert not [each for each in waiting if each.stream == letter.stream and each.position > letter.position]


TestTelling = Telling.TestCase
TestTelling.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
