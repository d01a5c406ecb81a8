"""JSON with halves of characters is read and taken apart like any other."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.channels.json_fields import decode, split_list, split_object
from adapters.channels.json_halves import spelled_out, split
from adapters.platforms.answers import answered, elements

HALF = r"\ud83d"
texts = st.lists(st.sampled_from([HALF, r"\udE00", r"\ud83d\ude00", "\\\\", "\\\\ud83d", r"\"", "é", "a", ","])).map(
    "".join
)
values: st.SearchStrategy[str] = st.recursive(
    texts.map('"{}"'.format) | st.sampled_from(["null", "true", "-0.10", "12345678901234567890123"]),
    lambda inner: (
        st.lists(inner).map(lambda each: f"[ {' , '.join(each)} ]")
        | st.dictionaries(texts, inner).map(lambda of: "{" + ",".join(f'"{k}" :\n{v}' for k, v in of.items()) + "}")
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (r'"a\ud83d"', r"a\ud83d"),
        (r'"\uDE00\uD83D"', r"\uDE00\uD83D"),
        (r'"\ud83d\ude00"', "😀"),
        (r'"\ud83d\ud83d\ude00"', "\\ud83d😀"),
        (r'"\\ud83d\ud83d"', r"\ud83d\ud83d"),
        (r'"\\\ud83d"', "\\\\ud83d"),
    ],
)
def test_a_half_is_the_text_of_its_escape_and_a_whole_character_is_itself(raw: str, text: str) -> None:
    assert decode(raw.encode()) == text


@given(values)
def test_what_stands_inside_is_taken_out_byte_by_byte(value: str) -> None:
    raw = f' [{value}, 1 ,"{HALF}"] '.encode()
    assert [bytes(each) for each in split_list(raw) or ()] == [value.encode(), b"1", f'"{HALF}"'.encode()]
    raw = f'{{"a":{value}\n,"{HALF}" : {{}} }}'.encode()
    assert [bytes(each) for each in (split_object(raw) or {}).values()] == [value.encode(), b"{}"]


@given(values)
def test_only_halves_are_changed(value: str) -> None:
    def plain(found: Any) -> Any:
        if isinstance(found, dict):
            return {plain(name): plain(inner) for name, inner in found.items()}
        if isinstance(found, list):
            return [plain(inner) for inner in found]
        return found.encode("utf-8", "backslashreplace").decode().lower() if isinstance(found, str) else found

    told = msgspec.json.decode(spelled_out(value.encode()))
    assert plain(told) == plain(json.loads(value))


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"[", b"{", b"[1", b"[1,]", b"{1:2}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"[1] 2", b"[NaN]", b"[\xff]"),
        *(b'"\\ud83d"', b"[" * 100_000, b'{["x"]:1}'),
    ],
)
def test_what_is_no_such_json_is_not_taken_apart(raw: bytes) -> None:
    half = f'"{HALF}"'.encode()
    for broken in (raw, b"[" + half + b"," + raw, b'{"x":' + half + b"," + raw):
        assert split(broken, "{}") is None
        assert split(broken, "[]") is None


def test_a_platforms_answer_with_half_a_character_is_an_answer() -> None:
    page = answered(f'{{"orders":[{{"name":"{HALF}"}},{{"id":7}}]}}'.encode(), "the platform")
    assert [bytes(one) for one in elements(page["orders"])] == [f'{{"name":"{HALF}"}}'.encode(), b'{"id":7}']
