"""What came in and is no order's: recorded once, with its reason."""

import pytest

from domain.decider import Event
from domain.intake import (
    RECONCILED_KEYS_MAX,
    SEEN_MAX,
    DiscardAside,
    IntakeDiscarded,
    IntakeHinted,
    IntakeIgnored,
    IntakeQuarantined,
    IntakeReconciled,
    IntakeRefused,
    IntakeUnmatched,
    NothingQuarantined,
    RecordAside,
    RecordReconciled,
    RecordStockCompared,
    RecordUnmatched,
    StockCompared,
    WrongActor,
    intake,
)
from domain.order import ScanOut
from tests.spec import Spec


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("hint", IntakeHinted("o-1", "why", "p-1")),
        ("ignored", IntakeIgnored("why", "p-1")),
        ("refused", IntakeRefused("why", "p-1")),
        ("quarantined", IntakeQuarantined("why", "p-1")),
    ],
)
def test_an_aside_is_recorded_once(kind: str, event: Event) -> None:
    command = RecordAside(kind, "why", "p-1", "o-1")  # type: ignore[arg-type]
    Spec(intake).when(command).then(event).when(command).then_nothing()


def test_a_cancellation_without_its_order_is_recorded_once() -> None:
    command = RecordUnmatched("c-1", "C536379", "no such sale")
    Spec(intake).when(command).then(IntakeUnmatched("C536379", "no such sale", "c-1")).when(command).then_nothing()


def test_a_reconciliation_is_recorded_once_and_names_what_was_missed() -> None:
    command = RecordReconciled("c-1", "flagship", 10, 20, 5, 2, 1, 1, 1, 0, ("order-a:b:1", "order-a:b:2"), "asked")
    event = IntakeReconciled("flagship", 10, 20, 5, 2, 1, 1, 1, 0, "c-1", ("order-a:b:1", "order-a:b:2"), "asked")
    Spec(intake).when(command).then(event).when(command).then_nothing()


def test_the_record_of_a_reconciliation_stays_small() -> None:
    keys = tuple(f"order-a:b:{number}" for number in range(RECONCILED_KEYS_MAX + 5))
    command = RecordReconciled("c-1", "flagship", 10, 20, len(keys), 0, len(keys), 0, 0, 0, keys)
    (event,) = intake.decide(command, intake.initial, 0)
    assert isinstance(event, IntakeReconciled)
    assert (event.missed, event.keys) == (len(keys), keys[:RECONCILED_KEYS_MAX])


def test_a_comparison_of_stock_is_recorded_once_with_what_differs() -> None:
    command = RecordStockCompared("c-1", "A", 40, (("S1", 5, 4), ("S2", 0, 9)))
    event = StockCompared("A", 40, (("S1", 5, 4), ("S2", 0, 9)), 2, "c-1")
    Spec(intake).when(command).then(event).when(command).then_nothing()


def test_the_record_of_a_comparison_stays_small_and_counts_all() -> None:
    differ = tuple((f"S{number}", 1, 0) for number in range(RECONCILED_KEYS_MAX + 5))
    shown = differ[:RECONCILED_KEYS_MAX]
    Spec(intake).when(RecordStockCompared("c-1", "A", 2_000, differ)).then(
        StockCompared("A", 2_000, shown, len(differ), "c-1")
    )


def test_quarantined_bytes_can_be_given_up_once() -> None:
    spec = Spec(intake).given(IntakeQuarantined("why", "p-1"))
    spec.when(DiscardAside("p-1", "junk")).then(IntakeDiscarded("p-1", "junk"))
    spec.when(DiscardAside("p-1", "junk")).then_raises(NothingQuarantined)
    assert spec.when(RecordAside("quarantined", "why", "p-1")).then_nothing().state.quarantined.get("p-1") is None


def test_only_what_is_quarantined_can_be_given_up() -> None:
    Spec(intake).given(IntakeHinted("o-1", "", "p-1")).when(DiscardAside("p-1", "")).then_raises(NothingQuarantined)


def test_a_discard_of_something_unknown_changes_nothing() -> None:
    spec = Spec(intake).given(IntakeQuarantined("why", "p-1"))
    before = spec.state
    assert spec.given(IntakeDiscarded("p-9", "")).state is before


def test_memory_of_what_was_seen_is_bounded_and_keeps_the_newest() -> None:
    spec = Spec(intake).given(*(IntakeIgnored("", f"p-{number}") for number in range(SEEN_MAX + 1)))
    assert len(spec.state.seen) <= SEEN_MAX
    spec.when(RecordAside("ignored", "", f"p-{SEEN_MAX}")).then_nothing()


def test_bytes_that_wait_for_a_decision_are_known_however_much_came_in_behind_them() -> None:
    spec = Spec(intake).given(
        IntakeQuarantined("why", "p-1"), *(IntakeIgnored("", f"q-{number}") for number in range(SEEN_MAX + 1))
    )
    assert "p-1" not in spec.state.seen
    spec.when(RecordAside("quarantined", "why", "p-1")).then_nothing()
    spec.when(RecordAside("ignored", "", "p-0")).then_some(IntakeIgnored)


def test_a_command_for_another_kind_of_actor_is_refused() -> None:
    Spec(intake).when(ScanOut("c-1")).then_raises(WrongActor)
