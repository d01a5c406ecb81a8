"""Whose a delivery order is follows from the log alone: a file that is lost or of an older log is made again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.storage.sqlite_log import SqliteEventLog
from domain.wms import code_of
from runners.wms_index import FILE, DeliveryIndex
from tests.audit_log import Story, key_of, open_story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    for story in open_story(tmp_path):
        story.receive("opening")
        yield story


def pick_list(number: int) -> str:
    return f"pick-{key_of(number)}/1"


def index_of(story: Story, path: Path) -> DeliveryIndex:
    return DeliveryIndex(path, story.log)


def test_a_pick_list_is_known_as_soon_as_it_is_committed(story: Story, tmp_path: Path) -> None:
    index = index_of(story, tmp_path)
    assert index.find(code_of(pick_list(1))) is None
    story.take(1, "paid")
    story.take(2, "awaiting_payment")
    found = index.find(code_of(pick_list(1)))
    assert found == (key_of(1), pick_list(1), f"{key_of(1)}/1", "A")
    assert index.find(code_of(pick_list(1), 7)) == found, "whatever its revision"
    assert [index.find(code) for code in (code_of(pick_list(2)), "", ".", "x" * 5_000, "'; DROP TABLE")] == [None] * 5
    index.close()


def test_a_lost_file_is_made_again(story: Story, tmp_path: Path) -> None:
    for number in range(1, 6):
        story.take(number, "paid")
    index = index_of(story, tmp_path)
    index.follow()
    index.close()
    for file in tmp_path.glob(f"{FILE}*"):
        file.unlink()
    index = index_of(story, tmp_path)
    assert all(index.find(code_of(pick_list(number))) for number in range(1, 6))
    index.close()


def test_it_goes_on_where_it_was_and_begins_anew_with_another_log(story: Story, tmp_path: Path) -> None:
    story.take(1, "paid")
    index = index_of(story, tmp_path)
    index.follow()
    index.close()
    story.take(2, "paid")
    index = index_of(story, tmp_path)
    assert index.find(code_of(pick_list(1)))
    assert index.find(code_of(pick_list(2)))
    index.close()
    log = SqliteEventLog(tmp_path / "restored.db")
    for restored in (Story(log, story.vault),):
        restored.receive("opening")
        restored.take(3, "paid")
    index = DeliveryIndex(tmp_path, log)
    assert [bool(index.find(code_of(pick_list(number)))) for number in (1, 2, 3)] == [False, False, True]
    index.close()
    log.close()
