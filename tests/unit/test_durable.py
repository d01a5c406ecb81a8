"""Files that are there whole or not at all, and whose they are."""

import os
from pathlib import Path

import pytest

from adapters.storage.durable import make_folder, opened, write_whole
from adapters.web.tokens import add_token
from runners import settings_file

Given = list[tuple[int, int, int]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Let root run this, in folders of a user; tell what is given to whom: inode, user, group."""
    found: Given = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        os, "fchown", lambda descriptor, user, group: found.append((os.fstat(descriptor).st_ino, user, group))
    )
    return found


def of(path: Path) -> tuple[int, int, int]:
    """Return what is told where a file was given to its folder's owner."""
    folder = path.parent.stat()
    return path.stat().st_ino, folder.st_uid, folder.st_gid


def test_what_root_writes_into_a_user_s_data_is_his(tmp_path: Path, given: Given) -> None:
    file = tmp_path / "channels.json"
    with settings_file.held(file):
        settings_file.write(file, {"shops": []})
    add_token(tmp_path / "api_tokens.json", "erp", ["read"])
    made = [tmp_path / name for name in (".channels.lock", "channels.json", ".api_tokens.json.lock", "api_tokens.json")]
    assert given == [of(each) for each in made]
    assert {each.stat().st_mode & 0o777 for each in made} == {0o600}
    make_folder(tmp_path / "tokens", 0o700)
    assert given[-1] == of(tmp_path / "tokens")


def test_what_root_did_not_make_is_not_given_away(tmp_path: Path, given: Given) -> None:
    (tmp_path / ".lock").touch()
    os.close(opened(tmp_path / ".lock", 0o600))
    make_folder(tmp_path, 0o700)
    (tmp_path / "theirs").symlink_to(tmp_path / ".lock")
    with pytest.raises(OSError, match="symbolic"):
        opened(tmp_path / "theirs", 0o600)
    write_whole(tmp_path / "for-me-alone.html", b"x", 0o600)
    assert given == []


def test_who_is_not_root_gives_nothing_away(tmp_path: Path, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    settings_file.write_durably(tmp_path / "notify.json", b"{}")
    assert given == []
