"""The event catalogue that people read says what the code says."""

from domain.catalogue import TYPES
from runners.docs_events import PAGE, axis_of, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs` and commit docs/events.md"


def test_every_event_has_a_meaning_and_an_axis() -> None:
    text = page()
    for tag, kind in TYPES.items():
        assert axis_of(tag)
        assert (kind.__doc__ or "").rstrip().endswith(".")
        assert f"### `{tag}`" in text
