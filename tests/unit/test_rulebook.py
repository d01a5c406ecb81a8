"""Which rules are in force is told by events: numbered, explained, refused with a reason, in force from there on."""

import msgspec

from domain.decider import RefusedBefore
from domain.handled import MissingCommandId
from domain.ids import RULEBOOK_KEY
from domain.order import ScanOut
from domain.rule_parts import EMPTY
from domain.rule_table import read_rules
from domain.rulebook import (
    ChangeRules,
    MissingReason,
    RefusedRules,
    RulesChanged,
    RulesRefused,
    WrongActor,
    rulebook,
)
from tests.spec import T0, Cell, Spec
from tests.unit.test_mapping_actor import Shop, order

TEXT = 'format = 1\n[[lots]]\nid = "a"\n'


def changed(version: int, text: str, command: str) -> RulesChanged:
    (event,) = rulebook.decide(ChangeRules(command, text, "why"), rulebook.initial, T0)
    assert isinstance(event, RulesChanged)
    return msgspec.structs.replace(event, version=version)


def test_changes_are_numbered_and_said_once() -> None:
    spec = Spec(rulebook).when(ChangeRules("c-1", TEXT, "why")).then(changed(1, TEXT, "c-1"))
    spec.when(ChangeRules("c-1", "format = 1", "why")).then_nothing()
    spec.when(ChangeRules("c-2", TEXT, "why")).then_nothing()
    spec.when(ChangeRules("c-3", "", "back to nothing")).then_some(RulesChanged)
    spec.when(ChangeRules("c-4", "", "again")).then_nothing()
    assert (spec.state.in_force.version, spec.state.in_force.text) == (2, "")


def test_nothing_is_what_ships() -> None:
    spec = Spec(rulebook).when(ChangeRules("c-1", "", "why")).then_nothing()
    assert spec.state.in_force.book is EMPTY


def test_the_book_in_force_is_at_hand() -> None:
    state = Spec(rulebook).given(changed(1, TEXT, "c-1")).state
    assert state.in_force.book is state.in_force.book is read_rules(TEXT)
    assert len(state.in_force.digest) == 64


def test_a_bad_document_is_refused_with_its_line_and_changes_nothing() -> None:
    spec = Spec(rulebook).given(changed(1, TEXT, "c-1"))
    spec.when(ChangeRules("c-2", TEXT + "[[tag]]\n", "why")).then_raises(RefusedRules)
    assert spec._refusal is not None
    assert spec._refusal.reason.startswith("line 4: 'id' is missing")
    spec.when(ChangeRules("c-3", "", "  ")).then_raises(MissingReason)
    spec.when(ChangeRules("", "", "why")).then_raises(MissingCommandId)
    spec.when(ScanOut("c-4")).then_raises(WrongActor)


def test_a_refusal_is_remembered_by_its_command_and_answered_alike() -> None:
    refused = RulesRefused("ChangeRules", "RefusedRules", "line 3: no", "c-2")
    spec = Spec(rulebook).given(changed(1, TEXT, "c-1"), refused, RulesRefused("Tick", "WrongActor", "no"))
    spec.when(ChangeRules("c-2", "", "why")).then_raises(RefusedBefore)
    spec.when(ChangeRules("c-1", "", "why")).then_nothing()


def test_a_refusal_is_recorded_once() -> None:
    cell = Cell()
    bad = ChangeRules("c-1", "x =", "why")
    turn = cell.send(RULEBOOK_KEY, bad)
    assert (turn.outcome, cell.tags(RULEBOOK_KEY)) == ("refused", ["rules.refused"])
    assert "line 1" in turn.reason
    again = cell.send(RULEBOOK_KEY, bad)
    assert (again.outcome, again.reason) == ("refused", turn.reason)
    assert cell.tags(RULEBOOK_KEY) == ["rules.refused"]


def test_the_engine_has_it_at_hand_for_every_batch() -> None:
    shop = Shop()
    shop.send(order(1))
    assert shop.engine._states[RULEBOOK_KEY].version == 0
