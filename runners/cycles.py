"""How often Python looks for cycles of objects: ours have none to speak of, and reading a log makes millions."""

import gc

YOUNG = 100_000
"""Allocations between two looks. With Python's own number, an audit that folds a log spends a fifth of its time so."""


def look_rarely() -> None:
    """Have Python look for cycles rarely, and never again among what is there by now."""
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
