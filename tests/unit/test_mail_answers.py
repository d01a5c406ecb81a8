"""What a worker answers is read by the sender as it was written."""

import msgspec
import pytest

from domain.mail import Replies, Reply, decode_replies, encode_replies


@pytest.mark.parametrize("replies", [(), (Reply(7, "accepted"), Reply(8, "refused", "the order is on hold: 冻结"))])
def test_answers_arrive_as_they_were_written(replies: tuple[Reply, ...]) -> None:
    assert decode_replies(encode_replies(Replies(41, replies))) == Replies(41, replies)


@pytest.mark.parametrize("data", [b"", b"\x00", b"not an answer", encode_replies(Replies(41, ()))[:-1]])
def test_what_is_no_answer_is_told(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_replies(data)
