"""What customers say of an order: complaints that stay open until they are closed, enquiries that are counted."""

from typing import Any

import pytest

from domain.acts import LINKS_MAX, NobodyActs, NotAWord, UnknownRole, WordsMissing
from domain.care import (
    CAUSES,
    REPEAT_WITHIN_MS,
    TOPICS,
    CloseComplaint,
    Complain,
    ComplaintClosed,
    Enquire,
    NoSuchComplaint,
    OrderComplained,
    OrderEnquired,
    UnknownCause,
    UnknownTopic,
)
from domain.decider import Event
from domain.envelope import By
from domain.order import OrderUnknown, order
from tests.colleagues import CHEN, SHOP, complain, enquire, words
from tests.spec import T0, Spec, normalized, snapshot

SYSTEM = By("system", "worker")


def known(*more: Event) -> Spec:
    return Spec(order).given(*normalized(snapshot()), *more)


def closing(command: str, who: By = CHEN, complaint: str = "complaint-1") -> CloseComplaint:
    return CloseComplaint(command, who, complaint=complaint, outcome="settled")


def test_a_complaint_says_what_it_is_about_and_how_it_came() -> None:
    known().when(complain("c-1", links=("2", "T1", "2"))).then(
        OrderComplained("complaint-1", "late", "phone", False, ("2", "T1"), "chen", "service", "c-1")
    )


def test_a_missing_gift_is_about_a_gift_and_other_causes_may_be() -> None:
    known().when(complain("c-1", cause="gift_missing")).then(
        OrderComplained("complaint-1", "gift_missing", "phone", True, (), "chen", "service", "c-1")
    )
    known().when(complain("c-1", cause="damaged", gift=True)).then(
        OrderComplained("complaint-1", "damaged", "phone", True, (), "chen", "service", "c-1")
    )


def test_a_channel_brings_a_complaint_by_itself() -> None:
    known().when(complain("c-1", SHOP)).then(OrderComplained("complaint-1", "late", "phone", command="c-1"))


def test_complaints_are_closed_one_by_one_and_once() -> None:
    spec = known().when(complain("c-1")).then_some(OrderComplained).when(complain("c-1")).then_nothing()
    spec.when(complain("c-2", cause="damaged")).then_some(OrderComplained)
    spec.when(closing("c-3")).then(ComplaintClosed("complaint-1", "settled", "chen", "service", "c-3"))
    spec.when(closing("c-4")).then_raises(NoSuchComplaint)
    assert spec.state.people.care.open == ("complaint-2",)
    spec.when(complain("c-5"))
    assert isinstance(spec._events[0], OrderComplained)
    assert spec._events[0].complaint == "complaint-3"


def test_an_enquiry_within_a_day_of_the_last_on_its_topic_is_a_repeat() -> None:
    spec = known()
    counted = []
    for number, (topic, hours) in enumerate(
        (("logistics", 0), ("logistics", 24), ("invoice", 25), ("logistics", 48), ("logistics", 73), ("logistics", 72))
    ):
        spec.when(enquire(f"e-{number}", topic=topic), T0 + hours * REPEAT_WITHIN_MS // 24)
        (asked,) = spec._events
        assert isinstance(asked, OrderEnquired)
        counted.append(asked.repeats)
        spec.given(asked)
    assert counted == [0, 1, 0, 2, 0, 1]


def test_who_sends_an_enquiry_tells_whether_the_customer_found_out_by_himself() -> None:
    known().when(enquire("e-1", SHOP)).then(OrderEnquired("logistics", "phone", True, 0, T0, command="e-1"))
    known().when(enquire("e-1", links=("T1",))).then(
        OrderEnquired("logistics", "phone", False, 0, T0, ("T1",), "chen", "service", "e-1")
    )


@pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (complain("c-1", SYSTEM), NobodyActs),
        (complain("c-1", By("person", "chen")), UnknownRole),
        (complain("c-1", cause="weather"), UnknownCause),
        (complain("c-1", links=("two words",)), NotAWord),
        (complain("c-1", links=tuple(map(str, range(LINKS_MAX + 1)))), NotAWord),
        (Complain("c-1", CHEN, cause="late", channel="Mr Wang, by phone"), NotAWord),
        (Complain("c-1", CHEN, *words("x")[:1], cause="late", channel="phone"), WordsMissing),
        (closing("c-1"), NoSuchComplaint),
        (closing("c-1", SHOP), NobodyActs),
        (CloseComplaint("c-1", CHEN, *words("x")[:1], complaint="complaint-1", outcome="settled"), WordsMissing),
        (enquire("c-1", SYSTEM), NobodyActs),
        (enquire("c-1", topic="weather"), UnknownTopic),
        (Enquire("c-1", CHEN, topic="logistics", channel=""), NotAWord),
    ],
)
def test_what_cannot_be_counted_is_refused(act: Any, refusal: type[Any]) -> None:
    known().when(act).then_raises(refusal)


def test_nobody_complains_of_an_order_that_does_not_exist() -> None:
    Spec(order).when(complain("c-1")).then_raises(OrderUnknown)


def test_every_cause_and_topic_has_the_merchants_word() -> None:
    assert all((*CAUSES.values(), *TOPICS.values()))
