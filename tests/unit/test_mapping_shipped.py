"""What ships with each channel: documents that are right, that find the channel's lines, and that change no order."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.channels import BUILT_IN, load
from adapters.channels.mappings import shipped
from domain.canonical import Translated
from domain.mapping import SHIPPED, InForce
from domain.mapping_table import read_mapping
from domain.order import ServiceOpened, TakeSnapshot, order
from domain.ports import Declares, Documents, KeepsTime, Sliced
from runners.reading import Readings

CHANNELS = load()
REFERENCE = Path(os.environ.get("ORDERSPINE_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
FOLDERS = {"wechat_shop": "wechat_miniprogram", "miniprogram": "wechat_miniprogram", "pos": "pos_csv"}


def slices(channel: str) -> list[bytes]:
    """Return the orders of the reference's samples."""
    folder = REFERENCE / "channels" / "samples" / FOLDERS.get(channel, channel)
    found = []
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        raw = file.read_bytes()
        if CHANNELS[channel].sniff(raw):
            found += [piece.raw for piece in CHANNELS[channel].identify(raw, "shop") if isinstance(piece, Sliced)]
    return found


def read(channel: str, raw: bytes, text: str = "") -> Any:
    readings = Readings(CHANNELS[channel], "Asia/Shanghai")
    return readings.by(InForce(1, text, text) if text else SHIPPED).read(raw, "shop")


def test_every_built_in_channel_ships_one() -> None:
    assert len(CHANNELS) == len(BUILT_IN)
    assert all(shipped(channel) for channel in CHANNELS)
    assert shipped("../taobao") == shipped("nobody") == ""


@pytest.mark.parametrize("channel", sorted(CHANNELS))
def test_it_is_right_also_with_its_examples(channel: str) -> None:
    it = CHANNELS[channel]
    harmless = it.harmless if isinstance(it, Declares) else ()
    table = read_mapping(shipped(channel), harmless)
    assert isinstance(it, KeepsTime) or not table.times.zone
    examples = "\n".join(line.removeprefix("# ") for line in shipped(channel).splitlines() if _is_example(line))
    assert examples
    rest = "\n".join(line for line in shipped(channel).splitlines() if not line.startswith("#"))
    assert read_mapping(f"{rest}\n{examples}", harmless)


def _is_example(line: str) -> bool:
    return line.startswith(("# [[", "# from =", "# to =", "# convert =", "# personal =", "# note ="))


@pytest.mark.parametrize("channel", sorted(CHANNELS))
def test_it_changes_no_order_and_finds_the_lines(channel: str) -> None:
    found = slices(channel)
    if not found:
        pytest.skip("no samples of it here")
    text = shipped(channel)
    lines = read_mapping(text).line_list
    assert lines
    source = next(line for line in text.splitlines() if line.startswith("path =")).partition('"')[2].rstrip('"')
    for raw in found:
        plain = CHANNELS[channel].translate(raw, "shop")
        assert read(channel, raw) == plain
        it = CHANNELS[channel]
        document = it.document(raw) if isinstance(it, Documents) else json.loads(raw)
        if not isinstance(plain, Translated) or not plain.snapshot.lines:
            continue
        every = f'[[field]]\nfrom = "{source}"\nto = "attributes.whole"\nconvert = "json"\npersonal = false\n'
        assert read(channel, raw, f"{text}\n{every}").snapshot.attributes["whole"], document
        some = sorted(name for name, value in _first_line(document, source).items() if isinstance(value, str) and value)
        field = f'[[field]]\nfrom = \'{source}."{some[0]}"\'\nto = "lines.attributes.probe"\npersonal = false\n'
        told = read(channel, raw, f"{text}\n{field}").snapshot
        assert "probe" in told.lines[0].attributes
        assert msgspec.structs.replace(told, lines=plain.snapshot.lines) == plain.snapshot


TILL = "小票号,门店编号,销售时间,行号,货号,数量,金额,安装服务包,发票类型,推荐人ID,推荐人"
SOLD = "7,S1,2026-11-11 09:12:33,{},A,1,10.00,{}"


def till(*rows: str) -> tuple[Translated, list[ServiceOpened]]:
    """What a till's file becomes by the shipped mapping, and the work orders that follow."""
    raw = "\n".join((TILL, *(SOLD.format(line, row) for line, row in enumerate(rows, 1)))).encode()
    (piece,) = CHANNELS["pos"].identify(raw, "shop")
    found = read("pos", piece.raw)
    assert isinstance(found, Translated)
    events = order.decide(TakeSnapshot(found.snapshot, "digest", "", "payload", b""), order.initial, 0)
    return found, [event for event in events if isinstance(event, ServiceOpened)]


def test_a_tills_service_invoice_and_referrer_have_their_places() -> None:
    found, opened = till("标准安装,电子发票,U-1001,王伟")
    attributes = found.snapshot.attributes
    assert attributes["service_package"] == ["标准安装"]
    assert attributes["invoice_type"] == "电子发票"
    assert attributes["referrer_id"] == "U-1001"
    assert "王伟" not in str(found.snapshot)
    assert found.personal.attributes["推荐人"] == "王伟"
    assert [(event.reference, event.service) for event in opened] == [
        ("order-pos:shop:20261111-7/service-1", "标准安装"),
    ]


@pytest.mark.parametrize(
    ("rows", "services"),
    [
        ((",,,", ",,,"), []),
        (("无,无,-,", "-,,,"), []),
        ((",,,", "标准安装,,,"), ["标准安装"]),
        (("标准安装,,,", "标准安装,,,"), ["标准安装"]),
        (("标准安装,,,", "延保三年,,,"), ["标准安装", "延保三年"]),
    ],
)
def test_each_service_on_a_receipt_opens_one_work_order(rows: Sequence[str], services: list[str]) -> None:
    found, opened = till(*rows)
    assert [event.service for event in opened] == services
    assert ("service_package" in found.snapshot.attributes) == bool(services)
    assert not {"invoice_type", "referrer_id"} & found.snapshot.attributes.keys()


def _first_line(document: Any, source: str) -> dict[str, Any]:
    for name in source.removesuffix("[]").split("."):
        document = document[name]
    first: dict[str, Any] = document[0] if isinstance(document, list) else document
    return first
