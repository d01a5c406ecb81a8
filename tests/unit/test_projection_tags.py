"""Projections that name the events they look at are not asked about others: these must change nothing there."""

from typing import Any

import pytest

from domain.catalogue import TYPES
from domain.ports import Recorded
from projections import PROJECTIONS
from projections.base import Projection


@pytest.mark.parametrize(
    "projection", [each for each in PROJECTIONS if each.tags is not None], ids=lambda each: each.name
)
def test_events_that_a_projection_does_not_name_change_nothing(projection: Projection[Any, Any]) -> None:
    assert projection.tags is not None
    assert projection.tags
    assert projection.tags <= TYPES.keys()
    others = [
        Recorded(place, f"order-a:b:{place}", 2, tag, b"", b"", None, b"")
        for place, tag in enumerate(sorted(TYPES.keys() - projection.tags), 1)
    ]
    assert projection.fold(others, {}) == {}
    assert not list(projection.keys(others))
    assert not list(projection.beyond(others, {}))
