"""Our own contract: what is signed with the secret, fresh and whole gets in, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.platforms.own_contract import signature, signed_headers, verified_nonce
from domain.platforms import NotGenuine
from tests.platform_world import NOW_MS, NOW_S, pushed

SECRET = "the shop's own secret"
BODY = '{"event_id":"01J","order":{"order_no":"MP-1","buyer_message":"刻字：老王"}}'.encode()


def headers(body: bytes = BODY, *, at_s: int = NOW_S, nonce: str = "n-1", secret: str = SECRET) -> dict[str, str]:
    return {"X-Timestamp": str(at_s), "X-Nonce": nonce, "X-Signature": signature(secret, str(at_s), nonce, body)}


def test_the_signature_is_the_one_the_contract_describes() -> None:
    # printf '1794326730.n-1.{"a":1}' | openssl dgst -sha256 -hmac secret
    assert (
        signature("secret", "1794326730", "n-1", b'{"a":1}')
        == "5d357274eb674b1c90c9816a9e899ce1143c855628007266b5a79b5a70292317"
    )


def test_a_request_signed_with_the_secret_is_genuine_and_gives_its_nonce() -> None:
    assert verified_nonce(pushed(BODY, headers()), SECRET) == "n-1"


def test_what_we_sign_ourselves_is_genuine_and_never_has_the_same_nonce_twice() -> None:
    first, second = (signed_headers(SECRET, NOW_MS, BODY) for _ in range(2))
    assert verified_nonce(pushed(BODY, first), SECRET) != verified_nonce(pushed(BODY, second), SECRET)


@pytest.mark.parametrize("apart_s", [-300, 300])
def test_five_minutes_either_way_are_fresh(apart_s: int) -> None:
    verified_nonce(pushed(BODY, headers(at_s=NOW_S + apart_s)), SECRET)


@pytest.mark.parametrize("apart_s", [-301, 301, -NOW_S])
def test_a_second_more_is_not(apart_s: int) -> None:
    with pytest.raises(NotGenuine, match="timestamp"):
        verified_nonce(pushed(BODY, headers(at_s=NOW_S + apart_s)), SECRET)


@pytest.mark.parametrize("name", ["X-Timestamp", "X-Nonce", "X-Signature"])
def test_a_missing_or_odd_header_is_refused(name: str) -> None:
    for value in ("", " ", "é", "名", "a, a", "x" * 200, "1.5", "-1", "１７９４", "\x00"):
        with pytest.raises(NotGenuine):
            verified_nonce(pushed(BODY, {**headers(), name: value}), SECRET)
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(BODY, {k: v for k, v in headers().items() if k != name}), SECRET)


@given(at=st.integers(min_value=0, max_value=len(BODY) - 1), change=st.integers(min_value=1, max_value=255))
def test_any_changed_byte_of_the_body_is_refused(at: int, change: int) -> None:
    body = bytearray(BODY)
    body[at] ^= change
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(bytes(body), headers()), SECRET)


@given(at=st.integers(min_value=0, max_value=63), change=st.integers(min_value=1, max_value=127))
def test_any_changed_character_of_the_signature_is_refused(at: int, change: int) -> None:
    given_headers = headers()
    sign = given_headers["X-Signature"]
    given_headers["X-Signature"] = sign[:at] + chr(ord(sign[at]) ^ change) + sign[at + 1 :]
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(BODY, given_headers), SECRET)


def test_bytes_cannot_move_between_nonce_and_body_under_the_same_signature() -> None:
    body = b"1.5"
    sign = headers(body, nonce="n")["X-Signature"]
    moved = {"X-Timestamp": str(NOW_S), "X-Nonce": "n.1", "X-Signature": sign}
    assert signature(SECRET, str(NOW_S), "n.1", b"5") == sign
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(b"5", moved), SECRET)


def test_another_secret_does_not_open() -> None:
    with pytest.raises(NotGenuine):
        verified_nonce(pushed(BODY, headers(secret="the shop's own secreT")), SECRET)
