"""What a worker answers is read by the sender as it was written."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.mail import Replies, Reply, cut_replies, decode_replies, encode_replies


@pytest.mark.parametrize("replies", [(), (Reply(7, "accepted"), Reply(8, "refused", "the order is on hold: 冻结"))])
def test_answers_arrive_as_they_were_written(replies: tuple[Reply, ...]) -> None:
    assert decode_replies(encode_replies(Replies(41, replies))) == Replies(41, replies)


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(10, 500))
def test_an_answer_is_cut_so_that_messages_hold_it(lengths: list[int], most: int) -> None:
    replies = tuple(Reply(at, "refused", "x" * length) for at, length in enumerate(lengths))
    parts = list(cut_replies(Replies(41, replies), most))
    read = [decode_replies(part) for part in parts]
    assert {part.position for part in read} == {41}
    assert tuple(reply for part in read for reply in part.replies) == replies
    assert all(len(part) <= most or len(its.replies) == 1 for part, its in zip(parts, read, strict=True))


@pytest.mark.parametrize("data", [b"", b"\x00", b"not an answer", encode_replies(Replies(41, ()))[:-1]])
def test_what_is_no_answer_is_told(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_replies(data)
