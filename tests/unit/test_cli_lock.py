"""One program at a time in a data directory, and none that is older than the data."""

import errno
import os
from pathlib import Path

import msgspec
import pytest

from runners.lock import SCHEMA, DataInUse, DataLock, DataTooNew, DataUnreadable, check_build, holder_of


def test_a_second_holder_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with DataLock(tmp_path), pytest.raises(DataInUse, match=f"process {os.getpid()}, since "), DataLock(tmp_path):
        pass


def test_a_directory_is_free_again_after_its_holder(tmp_path: Path) -> None:
    with DataLock(tmp_path):
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.pid == os.getpid()
    assert holder_of(tmp_path) is None
    with DataLock(tmp_path):
        pass


def test_nobody_holds_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "none") is None


def test_the_directory_says_which_build_wrote_it(tmp_path: Path) -> None:
    with DataLock(tmp_path / "new"):
        build = msgspec.json.decode((tmp_path / "new" / "build.json").read_bytes())
    assert build["schema"] == SCHEMA
    assert build["version"]


def test_an_older_build_refuses_newer_data_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    written = msgspec.json.encode({"schema": SCHEMA + 1, "version": "99.0"})
    (tmp_path / "build.json").write_bytes(written)
    with pytest.raises(DataTooNew, match=r"written by OrderSpine 99\.0"), DataLock(tmp_path):
        pass
    assert (tmp_path / "build.json").read_bytes() == written
    assert holder_of(tmp_path) is None


def test_a_damaged_build_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text("{")
    with pytest.raises(DataUnreadable, match=r"build\.json is damaged"):
        check_build(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataUnreadable, match="cannot be used"), DataLock(tmp_path / "file" / "data"):
        pass


def test_a_full_disk_is_said_with_the_file_that_it_kept_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DataUnreadable, match=r"/lock cannot be written: No space left on device"), DataLock(tmp_path):
        pass
