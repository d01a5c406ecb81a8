"""What holds of all that people do on an order, whichever act it is."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.acts import Act, NobodyActs, UnknownRole, WordsMissing
from domain.approvals import ApprovalRequested, subject_of
from domain.envelope import By
from domain.mail import decode_body
from domain.order import DECIDE, order
from tests.spec import Spec, normalized, snapshot

BODIES = json.loads((Path(__file__).parents[1] / "fixtures" / "bodies.json").read_text())
ACTS = [
    act for body in BODIES.values() if isinstance(act := decode_body(json.dumps(body)), Act) and type(act) in DECIDE
]
"""One of each that an order decides, as it is stored."""
VIEW = snapshot()
ASKED = ApprovalRequested("credit", "credit", "finance", 1, subject=subject_of(VIEW.lines, VIEW.amounts))
NOBODY = [By("person", " ", "finance"), By("rule", "r-1", "finance"), By("system", "timer", "finance")]

every = pytest.mark.parametrize("act", ACTS, ids=lambda act: type(act).__name__)


def done(act: Act, **changes: Any) -> Spec:
    changed = msgspec.structs.replace(act, **({"who": By("person", "li.wei", "finance")} | changes))
    return Spec(order).given(*normalized(VIEW), ASKED).when(changed)


def test_there_is_an_act_of_each_kind() -> None:
    assert len(ACTS) == 10


@every
@pytest.mark.parametrize(("told", "sealed"), [(("text",), b""), ((), b"sealed")], ids=["not sealed", "not told"])
def test_no_act_loses_words_or_brings_words_that_it_does_not_name(
    act: Act, told: tuple[str, ...], sealed: bytes
) -> None:
    done(act, told=told, sealed=sealed).then_raises(WordsMissing)


@every
@pytest.mark.parametrize("who", NOBODY, ids=lambda who: who.kind)
def test_no_act_is_done_by_nobody(act: Act, who: By) -> None:
    done(act, who=who).then_raises(NobodyActs)


@every
@pytest.mark.parametrize("role", ["", "the boss"])
def test_no_act_is_done_by_somebody_of_whom_nobody_says_as_what(act: Act, role: str) -> None:
    done(act, who=By("person", "li.wei", role)).then_raises(UnknownRole)
