"""Signs what a merchant's own backend pushes: `X-Timestamp`, `X-Nonce`, `X-Signature`."""

from secrets import token_hex

from adapters.simulators import signatures


def headers(now_ms: int, body: bytes, secret: str, nonce: str = "") -> dict[str, str]:
    """Return the headers of a signed push."""
    timestamp, nonce = str(now_ms // 1000), nonce or token_hex(12)
    return {
        "content-type": "application/json",
        "x-timestamp": timestamp,
        "x-nonce": nonce,
        "x-signature": signatures.own(timestamp, nonce, body, secret),
    }
