"""The simulated world: the same seed leads to the same day, however the cell's answers come about."""

from collections import Counter
from typing import Any

from adapters.channels import load
from domain.order import CancelLines, ResolveInterception, ScanOut, Ship
from domain.ports import Sliced
from domain.stock import ReceiveStock
from runners.simulating.drive import FIRST_DAY_MS
from runners.simulating.feed import Happened
from runners.simulating.world import CHANNELS, Act, Handed, World, laid, number_of

HOUR = 3_600_000


def run(world: World, answers: dict[int, list[Happened]] | None = None) -> list[Handed | Act]:
    found: list[Handed | Act] = []
    while (at_ms := world.next_ms) is not None:
        edge = (at_ms // HOUR + 1) * HOUR
        found += world.until(edge)
        world.answer((answers or {}).pop(edge, []), edge)
    return found


def keys_of(handed: list[Handed | Act]) -> set[tuple[str, str, str]]:
    channels = load()
    return {
        (each.channel, piece.shop, piece.order_no)
        for each in handed
        if isinstance(each, Handed) and each.channel
        for piece in channels[each.channel].identify(each.raw, each.shop)
        if isinstance(piece, Sliced)
    }


def test_the_same_seed_leads_to_the_same_payloads_and_another_to_others() -> None:
    first, again, other = (run(World(seed, 80, FIRST_DAY_MS)) for seed in (7, 7, 8))
    assert first == again
    assert {x.raw for x in first if isinstance(x, Handed)} != {x.raw for x in other if isinstance(x, Handed)}


def test_every_order_reaches_the_cell_at_least_once_and_all_channels_trade() -> None:
    keys = keys_of(run(World(3, 120, FIRST_DAY_MS)))
    assert len(keys) == 120
    assert {channel for channel, _, _ in keys} == set(CHANNELS)


def test_some_views_come_twice() -> None:
    seen = Counter(each.raw for each in run(World(3, 200, FIRST_DAY_MS)) if isinstance(each, Handed))
    assert any(count > 1 for count in seen.values())


def test_goods_come_in_before_the_day_and_while_it_lasts() -> None:
    acts = [each for each in run(World(3, 60, FIRST_DAY_MS)) if isinstance(each, Act)]
    receipts = [act for act in acts if isinstance(act.command, ReceiveStock)]
    assert [act.at_ms - FIRST_DAY_MS for act in receipts] == [-HOUR, 14 * HOUR, 21 * HOUR + HOUR // 2]


def picked(key: str, position: int) -> Happened:
    return Happened(position, key, "order.pick_list_issued", {"pick_list": f"pick-{key}/1"})


def paid_key(world: World) -> tuple[str, int]:
    """Return an order of the world that is paid and not over a counter, and an hour after that."""
    for key, life in world.lives.items():
        if life.fate == "plain":
            return key, life.deal.ordered_ms + HOUR
    raise AssertionError("no plain order")


def test_a_pick_list_is_scanned_and_the_channel_says_shipped_afterwards() -> None:
    key, _ = paid_key(World(3, 40, FIRST_DAY_MS))
    world = World(3, 40, FIRST_DAY_MS)
    edge = FIRST_DAY_MS + 25 * HOUR
    before = world.until(edge)
    world.answer([picked(key, 1)], edge)
    after = run(world)
    scans = [x for x in after if isinstance(x, Act) and x.to == key and isinstance(x.command, ScanOut | Ship)]
    assert scans
    assert scans[-1].command.tracking  # type: ignore[union-attr]  # both have one
    assert world.lives[key].deal.status in ("shipped", "completed")
    assert before


def test_an_order_that_was_cancelled_meanwhile_is_not_scanned() -> None:
    key, _ = paid_key(World(3, 40, FIRST_DAY_MS))
    world = World(3, 40, FIRST_DAY_MS)
    edge = FIRST_DAY_MS + 25 * HOUR
    world.until(edge)
    world.answer([picked(key, 1), Happened(2, key, "order.cancelled", {})], edge)
    assert not [x for x in run(world) if isinstance(x, Act) and x.to == key]


def short(key: str) -> Happened:
    facts: dict[str, Any] = {"interception": "stock_short-1", "reason": "stock_short"}
    return Happened(1, key, "order.intercepted", facts)


def test_what_is_short_is_released_after_the_next_receipt_of_goods() -> None:
    key, _ = paid_key(World(3, 40, FIRST_DAY_MS))
    world = World(3, 40, FIRST_DAY_MS)
    world.until(FIRST_DAY_MS + 9 * HOUR)
    world.answer([short(key)], FIRST_DAY_MS + 9 * HOUR)
    decisions = [x for x in run(world) if isinstance(x, Act) and isinstance(x.command, ResolveInterception)]
    assert [x.to for x in decisions] == [key]
    assert decisions[0].at_ms >= FIRST_DAY_MS + 14 * HOUR


def test_people_call_off_what_they_have_ordered() -> None:
    acts = run(World(3, 400, FIRST_DAY_MS))
    assert any(isinstance(x, Act) and isinstance(x.command, CancelLines) for x in acts)


def test_order_numbers_have_nineteen_digits_and_grow_with_time() -> None:
    for channel in ("taobao", "douyin"):
        numbers = [number_of(channel, FIRST_DAY_MS + second * 1000, 7, 123_456) for second in range(50)]
        assert {len(number) for number in numbers} == {19}
        assert numbers == sorted(numbers)
        assert int(numbers[-1]) < 2**63


def test_a_pressed_day_keeps_what_has_not_happened() -> None:
    world = World(3, 5, FIRST_DAY_MS)
    deal = next(iter(world.lives.values())).deal
    pressed = laid(deal, lambda at_ms: at_ms + 1)
    assert pressed.ordered_ms == deal.ordered_ms + 1
    assert pressed.ended_ms == 0
