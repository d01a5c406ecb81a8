"""Commands that come again are known, are answered as before, and do not fill the memory."""

import pytest

from domain import barcodes, buyers, mapping, order, rulebook, skus, trail
from domain.cell import DECIDERS
from domain.decider import RefusedBefore
from domain.handled import KEPT_MIN, Handled, MissingCommandId


def test_what_was_handled_is_known_and_what_was_refused_is_refused_alike() -> None:
    handled = Handled().with_("c-1").with_("c-2", "line 3: no")
    assert handled.has("c-1")
    assert not handled.has("c-3")
    with pytest.raises(RefusedBefore, match="line 3: no"):
        handled.has("c-2")


def test_a_command_without_an_id_is_refused_and_not_remembered() -> None:
    assert Handled().with_("", "no") == Handled()
    with pytest.raises(MissingCommandId):
        Handled().has("")


def test_old_commands_are_forgotten_before_memory_is() -> None:
    handled = Handled()
    for number in range(2 * KEPT_MIN + 1):
        handled = handled.with_(f"c-{number}")
    assert not handled.has(f"c-{KEPT_MIN}")
    assert all(handled.has(f"c-{number}") for number in range(KEPT_MIN + 1, 2 * KEPT_MIN + 1))
    assert len(handled.with_("new").commands) == KEPT_MIN + 1


REFUSALS = {
    "order": order.OrderRefused,
    "mapping": mapping.MappingRefused,
    "skus": skus.SkusRefused,
    "rulebook": rulebook.RulesRefused,
    "buyers": buyers.BuyersRefused,
    "trail": trail.TrailRefused,
    "goods": barcodes.BarcodesRefused,
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_that_names_no_command_changes_nothing(kind: str) -> None:
    actor = DECIDERS[kind]
    assert actor.evolve(actor.initial, REFUSALS[kind]("Ship", "WrongActor", "no")) == actor.initial
