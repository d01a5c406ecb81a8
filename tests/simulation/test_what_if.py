"""What-if with the rules that were in force leads to what was recorded, event by event, whatever went wrong."""

from collections.abc import Iterator

import pytest

from domain.catalogue import TAGS
from domain.order import OrderIntercepted
from domain.ports import Recorded
from domain.rule_table import read_rules
from runners.preparing import Preparer
from runners.what_if import WhatIf, what_if
from tests.fakes import Trace
from tests.simulation.run import quiet
from tests.simulation.world import World

NO_ROUTES = """
format = 1
[[warehouse]]
code = "A"
[[intercept]]
id = "all-of-them"
when = "units > 0"
reason = "looked_at"
evidence = "{units} units"
advice = "look at it"
role = "operations"
"""


@pytest.fixture(scope="module", params=[7, 47])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    quiet()
    made = World(request.param, Trace(), ruled=True)
    made.run(300)
    yield made
    assert made.outside is not None
    made.outside.close()


def run_again(world: World, text: str | None, after: int = 0, *, keys: bool = True) -> WhatIf:
    preparer = Preparer(world.channels, world.vault.digest_key())
    upto = world.log.tracked().head
    vault = world.vault if keys else None
    return what_if(world.log, text, after, upto, vault=vault, preparer=preparer if keys else None)


@pytest.mark.parametrize("share", [0, 0.4, 0.9])
def test_unchanged_rules_change_nothing(world: World, share: float) -> None:
    found = run_again(world, None, round(share * world.log.tracked().head))
    assert found.otherwise == []
    assert found.misread == 0
    assert found.rebuilt > 0
    assert found.figures["recorded"] == found.figures["instead"]


def test_a_rule_for_everybody_stops_everybody_it_sees_and_invents_no_answer(world: World) -> None:
    assert read_rules(NO_ROUTES).stops
    before = everything(world)
    found = run_again(world, NO_ROUTES)
    seen = {event.stream for event in before if event.tag == "order.pick_list_issued"}
    assert seen <= {each.key for each in found.otherwise}
    for each in found.otherwise:
        if each.key in seen and each.instead is not None and each.instead.tag == TAGS[OrderIntercepted]:
            assert "all-of-them" in each.rules
    stopped = found.figures["instead"].interceptions["looked_at"]
    assert stopped >= len(seen)
    # Nobody was asked about these, so nobody has decided: what left all the same was sent by its channel, or a till.
    assert found.unknown > 0
    assert everything(world) == before


def test_without_keys_views_come_from_the_log_and_it_is_said(world: World) -> None:
    found = run_again(world, None, keys=False)
    assert found.guessed > 0


def everything(world: World) -> list[Recorded]:
    return world.log.read(0, world.log.tracked().head)
