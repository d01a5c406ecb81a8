"""Numbers that no platform sends and no machine holds: wherever they stand, a channel refuses them and does not break.

A page that broke its channel would be pulled again and again, and nothing behind it.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from domain.canonical import Return, Translated, TranslationError
from domain.ports import Aside, Sliced
from tests.channel_samples import ORDERED_MS, SAMPLES, Sample, encoded

NUMBERS = ("1e9999999999999999999999", "-1e-9999999999999999999999", "1" * 5_000, "1e400")
MARK = "\N{WHITE CHESS KING}"


def marked(value: Any) -> Iterator[Any]:
    """Return copies of a value with one of its leaves marked in each."""
    if isinstance(value, dict):
        for name, inner in value.items():
            for each in marked(inner):
                yield {**value, name: each}
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            for each in marked(inner):
                yield [*value[:place], each, *value[place + 1 :]]
    else:
        yield MARK


@pytest.mark.parametrize("number", NUMBERS, ids=[number[:12] for number in NUMBERS])
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_no_number_breaks_a_channel(sample: Sample, number: str) -> None:
    order = sample.make(1, "paid", ORDERED_MS, ORDERED_MS)
    page = json.loads(sample.page([encoded(order)]))
    for document in (*marked(order), *marked(page)):
        raw = json.dumps(document, ensure_ascii=False).replace(f'"{MARK}"', number).encode()
        parts = sample.channel.identify(raw, "shop")
        assert parts
        assert all(isinstance(part, Sliced | Aside) for part in parts)
        for body in (raw, *(part.raw for part in parts if isinstance(part, Sliced))):
            with suppress(TranslationError):
                assert isinstance(sample.channel.translate(body, "shop"), Translated | Return)
