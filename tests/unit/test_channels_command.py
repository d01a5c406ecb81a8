"""What a person types at `orderspine channels`: times and spans, as people mean them."""

from datetime import UTC, datetime

import pytest

from runners.commands import channels
from runners.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(str(tmp_path_factory.mktemp("data")), zone="Asia/Shanghai")


@pytest.mark.parametrize("begins", [True, False])
def test_a_date_is_wholly_inside_the_span_that_it_bounds(settings: Settings, begins: bool) -> None:
    found = channels._since("2026-11-10", settings, begins=begins)
    at = datetime.fromtimestamp(found / 1000, UTC).isoformat(timespec="milliseconds")
    assert at == ("2026-11-09T16:00:00.000+00:00" if begins else "2026-11-10T15:59:59.999+00:00")


def test_a_time_is_taken_as_it_is(settings: Settings) -> None:
    assert channels._since("2026-11-10 20:00:00", settings) == 1_794_312_000_000
