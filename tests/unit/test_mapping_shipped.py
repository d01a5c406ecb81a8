"""What ships with each channel: documents that are right, that find the channel's lines, and that change no order."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.channels import BUILT_IN, load
from adapters.channels.mappings import shipped
from domain.canonical import Translated
from domain.mapping import SHIPPED, InForce
from domain.mapping_table import read_mapping
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


def _first_line(document: Any, source: str) -> dict[str, Any]:
    for name in source.removesuffix("[]").split("."):
        document = document[name]
    first: dict[str, Any] = document[0] if isinstance(document, list) else document
    return first
