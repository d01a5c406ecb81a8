"""The connections of a data directory and their secrets: clear errors, nothing readable by others, nothing told."""

import asyncio
import os
import stat
from pathlib import Path

import msgspec
import pytest

from adapters.platforms.connection import Connection, MissingSecret, Token, alone
from runners.connection_keys import FileKeys
from runners.connections import FILE, BadConnections, editing, load, save

SHOP = Connection("flagship", "taobao", "shop1", secrets={"app_secret": "env:SECRET"})


def write(data: Path, text: str, mode: int = 0o600) -> None:
    (data / FILE).write_text(text)
    (data / FILE).chmod(mode)


def keys_of(data: Path, **secrets: str) -> FileKeys:
    return FileKeys(data, msgspec.structs.replace(SHOP, secrets=secrets), {"SECRET": "s3cr3t\n", "EMPTY": " "})


def secret_file(data: Path, content: bytes = b"s3cr3t\n", mode: int = 0o600) -> str:
    file = data / "secret.txt"
    file.write_bytes(content)
    file.chmod(mode)
    return f"file:{file}"


def test_without_a_file_there_are_no_connections(tmp_path: Path) -> None:
    assert load(tmp_path) == ()


def test_what_is_saved_is_loaded_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    save(tmp_path, [SHOP])
    assert load(tmp_path) == (SHOP,)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [FILE], "nothing is left beside it"


def test_what_a_windows_editor_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, [SHOP])
    file = tmp_path / FILE
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert load(tmp_path) == (SHOP,)


def test_changes_are_written_only_when_they_are_right(tmp_path: Path) -> None:
    with editing(tmp_path) as connections:
        connections.append(SHOP)
    with pytest.raises(BadConnections, match="two connections named FLAGSHIP"), editing(tmp_path) as connections:
        connections.append(msgspec.structs.replace(SHOP, name="FLAGSHIP"))
    assert load(tmp_path) == (SHOP,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "must be a JSON list"),
        ("{}", "must be a JSON list"),
        ('"\udc80"', "must be a JSON list"),
        ('[{"name":"a","channel":"taobao","shop":"s"},{"name":"b"}]', "connection 2: Object missing required field"),
        ('[{"name":"a","channel":"taobao","shop":"s","pul":1}]', "connection 1: Object contains unknown field `pul`"),
        ('[{"name":"../a","channel":"taobao","shop":"s"}]', "use letters, digits, - and _"),
        ('[{"name":"a","channel":"ebay","shop":"s"}]', "channel 'ebay' has no interface to connect to; known: taobao"),
        ('[{"name":"a","channel":"taobao","shop":" "}]', "shop is empty"),
        ('[{"name":"a","channel":"taobao","shop":"s","base_url":"localhost:80"}]', "base_url must be an address"),
        ('[{"name":"a","channel":"taobao","shop":"s","socket_url":"http://x"}]', "wss://host/path"),
        ('[{"name":"a","channel":"taobao","shop":"s","base_url":"http://x:port/"}]', "no valid port"),
        ('[{"name":"a","channel":"taobao","shop":"s","base_url":"http://me:pw@x/"}]', "holds a user or password"),
        ('[{"name":"a","channel":"taobao","shop":"s","pull_every_s":-1}]', "pull_every_s -1"),
        ('[{"name":"a","channel":"taobao","shop":"s","pull_every_s":31536001}]', "at most a year"),
        ('[{"name":"a","channel":"taobao","shop":"s","options":{"app_secret":"hush"}}]', "option app_secret holds a"),
        ('[{"name":"a","channel":"taobao","shop":"s","secrets":{"app_secret":"hush"}}]', "secret app_secret must say"),
        ('[{"name":"a","channel":"taobao","shop":"s","secrets":{"k":"env:1 2"}}]', "secret k must say"),
        ('[{"name":"a","channel":"taobao","shop":"s","secrets":{"k":"file:"}}]', "secret k must say"),
    ],
)
def test_a_wrong_file_is_told_with_its_place_and_never_with_a_secret(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(BadConnections) as caught:
        load(tmp_path)
    assert sentence in str(caught.value)
    assert FILE in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_a_file_that_others_may_change_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "[]", 0o620)
    with pytest.raises(BadConnections, match="chmod 600"):
        load(tmp_path)


def test_secrets_come_from_the_environment_or_a_file_without_their_line_end(tmp_path: Path) -> None:
    assert keys_of(tmp_path, app_secret="env:SECRET").secret("app_secret") == "s3cr3t"
    place = secret_file(tmp_path)
    assert keys_of(tmp_path, app_secret=place).secret("app_secret") == "s3cr3t"
    assert keys_of(tmp_path, app_secret="file:secret.txt").secret("app_secret") == "s3cr3t", "from the data directory"


def test_a_link_to_an_own_file_is_followed_and_one_to_an_open_file_is_not(tmp_path: Path) -> None:
    secret_file(tmp_path)
    (tmp_path / "link").symlink_to("secret.txt")
    assert keys_of(tmp_path, k="file:link").secret("k") == "s3cr3t"
    (tmp_path / "secret.txt").chmod(0o640)
    with pytest.raises(MissingSecret, match="can be read or changed by others: `chmod 600"):
        keys_of(tmp_path, k="file:link").secret("k")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("env:UNSET", "the variable UNSET is not set for this process"),
        ("env:EMPTY", "the variable EMPTY is not set"),
        ("file:nowhere", "there is no file"),
        ("file:.", "is no plain file"),
        ("file:pipe", "is no plain file"),
        ("file:empty", "is empty"),
        ("file:binary", "is no UTF-8 text"),
        ("file:large", "that is no secret"),
    ],
)
def test_a_secret_that_is_not_there_is_told_with_what_to_do(tmp_path: Path, place: str, sentence: str) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, content in (("empty", b"\n"), ("binary", b"\xff\xfe"), ("large", b"x" * 70_000)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    with pytest.raises(MissingSecret, match="secret k of connection flagship") as caught:
        keys_of(tmp_path, k=place).secret("k")
    assert sentence in str(caught.value)


def test_a_secret_that_nobody_named_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingSecret, match="does not say where its secret app_secret is found"):
        keys_of(tmp_path).secret("app_secret")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    place = secret_file(tmp_path)
    os.chown(tmp_path / "secret.txt", 1, -1)
    with pytest.raises(MissingSecret, match="belongs to another user"):
        keys_of(tmp_path, k=place).secret("k")


def test_a_token_is_kept_for_its_owner_alone_and_read_anew_each_time(tmp_path: Path) -> None:
    keys, token = keys_of(tmp_path), Token("access", 5, "refresh", 9)
    assert keys.token() is None
    before = keys.stamp()
    keys.keep(token)
    assert keys.stamp() != before
    assert keys_of(tmp_path).token() == token
    assert stat.S_IMODE(keys.token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.token_file.parent.stat().st_mode) == 0o700
    keys.forget()
    assert keys.token() is None


def test_a_damaged_token_asks_for_a_new_one_and_is_not_shown(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    keys.keep(Token("access"))
    keys.token_file.write_text('{"access": hush')
    with pytest.raises(MissingSecret, match="channels authorise flagship") as caught:
        keys.token()
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, app_secret=secret_file(tmp_path))
    keys.keep(Token("hush", refresh="hush"))
    assert repr(keys) == "FileKeys('flagship')"
    assert "hush" not in repr(keys.token())
    assert "hush" not in str(keys.token())


async def test_one_at_a_time_refreshes_a_token(tmp_path: Path) -> None:
    inside = most = 0

    async def refresh() -> None:
        nonlocal inside, most
        async with alone(keys_of(tmp_path)):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(refresh() for _ in range(3)))
    assert most == 1
