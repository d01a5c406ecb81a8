"""What is handed in is cut into mail: orders to their orders, the rest to an intake, nothing dropped."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from domain.mail import AsideReport, ChannelPayload, Mail
from domain.ports import Aside, Sliced
from runners import handed_in
from runners.cutting import INLINE_BYTES_MAX, STORED_BYTES_MAX, Cutter, Source

NOW = 1_770_600_000_000


class Shelf:
    """A channel of lines `number` or `!reason`, recognised by its first byte."""

    def __init__(self, name: str, mark: bytes) -> None:
        self.name = name
        self._mark = mark

    def sniff(self, raw: bytes) -> bool:
        return raw.startswith(self._mark)

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        return [
            Aside("hint", line[1:].decode(), line, shop) if line.startswith(b"!") else Sliced(shop, line.decode(), line)
            for line in raw.removeprefix(self._mark).split(b"\n")
        ]

    def translate(self, raw: bytes, shop: str) -> Any:
        raise AssertionError((raw, shop))


class Page(Shelf):
    """A channel of arrays of numbers."""

    def __init__(self) -> None:
        super().__init__("page", b"[")

    def identify(self, raw: bytes, shop: str) -> list[Sliced | Aside]:
        return [Sliced(shop or "s", number, number.encode()) for number in json.loads(raw)]


class Kept:
    """A spool in memory."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def put(self, raw: bytes) -> str:
        self.kept.append(raw)
        return f"ref-{len(self.kept)}"


CHANNELS = {"one": Shelf("one", b"1"), "two": Shelf("two", b"2"), "also-two": Shelf("also-two", b"2")}


def cut(raw: bytes, *, spool: Kept | None = None, form: Any = "", **options: str) -> list[Mail]:
    cutter = Cutter(CHANNELS, spool or Kept(), **options)
    return list(cutter.cut(raw, Source("file", "f.csv", 1, form), NOW))


def aside(mails: Sequence[Mail]) -> AsideReport:
    (mail,) = mails
    assert isinstance(mail.body, AsideReport)
    return mail.body


def test_each_order_goes_to_its_own_actor_with_its_bytes_and_place() -> None:
    mails = cut(b"1A\nB", shop="s")
    assert [mail.to for mail in mails] == ["order-one:s:A", "order-one:s:B"]
    assert [mail.source_tag for mail in mails] == ["one/file/f.csv#1", "one/file/f.csv#2"]
    assert mails[0].body == ChannelPayload("one", "s", "A", b"A")
    assert {mail.observed_at for mail in mails} == {NOW}


def test_what_is_no_order_goes_to_the_intake_of_its_channel() -> None:
    (mail,) = cut(b"1!fetch it", shop="s")
    assert mail.to == "intake-one:s"
    assert mail.body == AsideReport("one", "s", "hint", "fetch it", b"!fetch it")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"3", "no channel recognises this"),
        (b"2A", "looks like several channels (also-two, two)"),
        (b"  \n", "an empty document"),
    ],
)
def test_bytes_of_no_one_channel_are_quarantined_whole(raw: bytes, reason: str) -> None:
    body = aside(cut(raw))
    assert (body.channel, body.kind, body.raw) == ("unknown", "quarantined", raw)
    assert reason in body.reason


def test_a_named_channel_is_not_guessed() -> None:
    assert [mail.to for mail in cut(b"2A", channel="two", shop="s")] == ["order-two:s:A"]


@pytest.mark.parametrize("raw", [b'{"a":', b"", b'{"a": 1} x', b"\xff{}", b"[NaN]", b"[" * 100_000])
def test_broken_json_is_quarantined_under_the_named_channel(raw: bytes) -> None:
    body = aside(cut(raw, form="json", channel="one", shop="s"))
    assert (body.channel, body.shop, body.kind, body.raw) == ("one", "s", "quarantined", raw)


def test_json_may_begin_with_a_byte_order_mark() -> None:
    assert "no channel" in aside(cut(b"\xef\xbb\xbf{}", form="json")).reason


def test_an_order_without_a_shop_is_quarantined_and_told_the_option() -> None:
    body = aside(cut(b"1A"))
    assert (body.kind, body.shop, body.raw) == ("quarantined", "unknown", b"A")
    assert "--shop" in body.reason


def test_an_order_number_too_long_for_a_key_is_quarantined() -> None:
    assert "longer than 200 bytes" in aside(cut(b"1" + b"x" * 201, shop="s")).reason


def test_a_large_slice_travels_as_a_reference() -> None:
    spool = Kept()
    raw = b"!" + b"x" * INLINE_BYTES_MAX
    body = aside(cut(b"1" + raw, spool=spool, shop="s"))
    assert (body.raw, body.ref) == (b"", "ref-1")
    assert spool.kept == [raw]


def test_what_is_too_large_to_keep_is_recorded_without_its_bytes_and_says_so() -> None:
    spool = Kept()
    body = aside(cut(b"1!" + b"x" * STORED_BYTES_MAX, spool=spool, shop="s"))
    assert (body.kind, spool.kept) == ("refused", [])
    assert "its bytes are NOT kept" in body.reason
    assert json.loads(body.raw)["bytes"] == STORED_BYTES_MAX + 1


def test_different_documents_too_large_to_keep_are_recorded_each() -> None:
    cutter = Cutter(CHANNELS, Kept())
    source = Source("file", "f", 1)
    first, second = (cutter.too_large(40 << 20, digest, source, NOW).body for digest in ("aa", "bb"))
    assert isinstance(first, AsideReport)
    assert isinstance(second, AsideReport)
    assert first.raw != second.raw


def test_the_parts_of_a_page_are_counted_and_those_of_a_line_are_all_of_that_line() -> None:
    def told(source: Source) -> list[tuple[str, tuple[int, ...]]]:
        cuts = Cutter({"page": Page()}, Kept(), channel="page").cut_rows(b'["7", "8"]', source, NOW)
        return [(cut.mail.source_tag, cut.rows) for cut in cuts]

    assert told(Source("file", "f", 1, "json")) == [("page/file/f#1", (1,)), ("page/file/f#2", (2,))]
    assert told(Source("file", "f", 3, "line")) == [("page/file/f#3", (3,)), ("page/file/f#3", (3,))]


# --- files


def test_a_file_of_lines_is_one_document_a_line_and_blank_lines_keep_their_number(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a":1}\r\n\n{"b":2}')
    assert [(doc.source.number, doc.raw) for doc in handed_in.documents_of(file)] == [(1, b'{"a":1}'), (3, b'{"b":2}')]


def test_a_line_too_large_is_passed_by_with_its_digest_and_the_next_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed_in, "STORED_BYTES_MAX", 10)
    monkeypatch.setattr(handed_in, "_READ_BYTES", 4)
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"x" * 50 + b"\n{}\n")
    first, second = handed_in.documents_of(file)
    assert (first.raw, first.size, first.source.number) == (None, 51, 1)
    assert (second.raw, second.source.number) == (b"{}", 2)


def test_a_file_too_large_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handed_in, "WHOLE_BYTES_MAX", 10)
    file = tmp_path / "a.json"
    file.write_bytes(b"x" * 50)
    (document,) = handed_in.documents_of(file)
    assert (document.raw, document.size) == (None, 50)
    assert len(document.digest) == 64


def test_folders_give_known_kinds_in_order_and_named_files_always(tmp_path: Path) -> None:
    for name in ("b.json", "a.CSV", "c.md", ".d.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "e.ndjson").write_text("")
    found = handed_in.files_under([tmp_path, tmp_path / "c.md", tmp_path / "b.json"])
    assert [file.name for file in found.taken] == ["a.CSV", "b.json", "e.ndjson", "c.md"]
    assert [file.name for file in found.passed] == ["c.md"]
    assert found.unread == []


def test_what_may_not_be_looked_into_is_told_and_keeps_nothing_else_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("locked", "listed", "open.json"):
        (tmp_path / name).mkdir()
    for file in ("locked/a.json", "listed/b.json", "listed/b.md", "open.json/c.json", "d.json"):
        (tmp_path / file).write_text("")
    scan, is_file = os.scandir, Path.is_file

    def scandir(place: str | Path) -> Any:
        if Path(place).name == "locked":
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    def asked(self: Path) -> bool:
        if self.parent.name in ("locked", "listed"):
            raise PermissionError(13, "Permission denied", str(self))
        return is_file(self)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "is_file", asked)
    found = handed_in.files_under([tmp_path, tmp_path / "locked" / "a.json"])
    assert [file.name for file in found.taken] == ["d.json", "c.json"]
    assert [file.name for file in found.passed] == ["b.md"]
    assert sorted((file.name, why) for file, why in found.unread) == [
        (name, "Permission denied") for name in ("a.json", "b.json", "locked")
    ]


def test_what_is_named_and_is_no_file_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    """A pipe, as in `cat orders.json | orderspine ingest /dev/stdin`."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="pipe is a pipe or a device: write what it gives to a file first"):
        handed_in.files_under([tmp_path / "pipe"])
    with pytest.raises(FileNotFoundError, match="none: no such file or folder"):
        handed_in.files_under([tmp_path / "none"])


def test_a_name_in_another_encoding_is_told_by_its_bytes(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + "/订单.json".encode("gbk")))
    try:
        file.write_text("{}")
    except OSError:
        pytest.skip("this file system takes no such name")
    (document,) = handed_in.documents_of(file)
    assert document.source.name == r"\xb6\xa9\xb5\xa5.json"


def test_what_breaks_its_channel_is_kept_and_holds_up_nothing() -> None:
    body = aside(cut(b"1secret \xff", channel="one"))
    assert (body.kind, body.channel, body.raw) == ("quarantined", "one", b"1secret \xff")
    assert "UnicodeDecodeError" in body.reason
    assert "secret" not in body.reason
