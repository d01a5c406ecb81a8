"""`carriers.json` and `payments.json`: only what can work is written down, and never a secret."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.carriers.settings import TrackService
from adapters.payments.settings import PaymentService
from runners.services import CARRIERS, PAYMENTS, BadServices, Book

TRACK = TrackService("kuaidi", "https://orders.example.com", secrets={"key": "env:KEY", "salt": "file:salt"})
ACCOUNT = PaymentService("wxpay", "miniprogram", "wx1", keys={"S1": "/x.pem"}, secrets={"api_v3_key": "file:/k"})


@pytest.mark.parametrize(("book", "entry"), [(CARRIERS, TRACK), (PAYMENTS, ACCOUNT)])
def test_what_is_written_is_read_again_and_only_its_owner_can(tmp_path: Path, book: Book[Any], entry: Any) -> None:
    assert book.load(tmp_path) == ()
    with book.editing(tmp_path) as entries:
        entries.append(entry)
    assert book.load(tmp_path) == (entry,)
    path = tmp_path / book.file
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o666)
    with pytest.raises(BadServices, match="chmod 600"):
        book.load(tmp_path)


@pytest.mark.parametrize(
    ("book", "entry", "change", "word"),
    [
        (CARRIERS, TRACK, {"name": "a/b"}, "letters"),
        (CARRIERS, TRACK, {"kind": "pigeons"}, "kuaidi100"),
        (CARRIERS, TRACK, {"callback_url": "orders.example.com"}, "callback_url"),
        (CARRIERS, TRACK, {"callback_url": "https://x/?a=1"}, "callback_url"),
        (CARRIERS, TRACK, {"base_url": "ftp://x"}, "base_url"),
        (CARRIERS, TRACK, {"codes": {"SF": " "}}, "empty side"),
        (CARRIERS, TRACK, {"secrets": {"key": "env:KEY"}}, "salt"),
        (CARRIERS, TRACK, {"secrets": {"key": "hunter2", "salt": "env:S"}}, "env:VARIABLE"),
        (CARRIERS, TRACK, {"secrets": {"key": "env:K", "salt": "env:S", "more": "env:M"}}, "no secret more"),
        (PAYMENTS, ACCOUNT, {"kind": "cowries"}, "wechat_pay"),
        (PAYMENTS, ACCOUNT, {"channel": ""}, "channel"),
        (PAYMENTS, ACCOUNT, {"shop": " "}, "shop"),
        (PAYMENTS, ACCOUNT, {"order_no": "W"}, "order_no"),
        (PAYMENTS, ACCOUNT, {"keys": {}}, "--key"),
    ],
)
def test_what_cannot_work_is_not_written(
    tmp_path: Path, book: Book[Any], entry: Any, change: dict[str, Any], word: str
) -> None:
    with pytest.raises(BadServices, match=word) as found, book.editing(tmp_path) as entries:
        entries.append(msgspec.structs.replace(entry, **change))
    assert "hunter2" not in str(found.value)
    assert not (tmp_path / book.file).exists()


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadServices, match="twice"), CARRIERS.editing(tmp_path) as entries:
        entries += [TRACK, TRACK]


@pytest.mark.parametrize("text", ["{}", "[{}]", '[{"name":"a","callback_url":"https://x","more":1}]', "\xff"])
def test_a_file_of_another_form_says_how_it_is_made(tmp_path: Path, text: str) -> None:
    path = tmp_path / CARRIERS.file
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(BadServices, match="orderspine carriers add"):
        CARRIERS.load(tmp_path)
