"""Waves: what is picked together, what alone, and in which order its goods are fetched."""

from domain.waves import Stop, Waiting, next_wave, walk

ONE = Waiting("pick-1", "", (("T-10", 1), ("T-2", 2)))
TWO = Waiting("pick-2", "urgent", (("T-2", 1), ("螺丝", 1)))
FAST = Waiting("pick-3", "express", (("T-1", 1),))


def test_a_wave_is_the_first_so_many() -> None:
    assert next_wave([TWO, ONE], 1) == [TWO]
    assert next_wave([TWO, ONE], 5) == [TWO, ONE]
    assert next_wave([], 5) == []


def test_an_express_list_is_picked_at_once_and_alone_wherever_it_stands() -> None:
    assert next_wave([TWO, FAST, ONE], 5) == [FAST]


def test_a_walk_goes_to_each_sku_once_by_its_number() -> None:
    assert walk([ONE, TWO]) == [
        Stop("T-2", 3, (("pick-1", 2), ("pick-2", 1))),
        Stop("T-10", 1, (("pick-1", 1),)),
        Stop("螺丝", 1, (("pick-2", 1),)),
    ]
    assert walk([Waiting("p", "", (("10A", 1), ("A10", 1), ("9", 1)))])[0].sku == "9"
