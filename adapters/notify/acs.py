"""Requests to Alibaba Cloud's interfaces, signed by its version 3, ACS3-HMAC-SHA256.

Signed are method, path, sorted query, the headers `host` and `x-acs-*` and the body's SHA-256; the time may be off by
15 minutes, and a nonce counts once. Source: "V3 request structure and signature",
www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature, with its fixed example.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote

_ALGORITHM: Final = "ACS3-HMAC-SHA256"
_NO_BODY: Final = hashlib.sha256(b"").hexdigest()


class Action(NamedTuple):
    """What is asked for."""

    host: str
    name: str
    version: str
    params: Mapping[str, str]


def query_of(params: Mapping[str, str]) -> str:
    """Return parameters as they are signed and sent: sorted, percent-encoded by RFC 3986."""
    return "&".join(f"{quote(name, safe='~')}={quote(params[name], safe='~')}" for name in sorted(params))


def signed_headers(action: Action, key_id: str, secret: str, now_ms: int, nonce: str) -> dict[str, str]:
    """Return the headers of a POST of parameters without a body."""
    headers = {
        "host": action.host,
        "x-acs-action": action.name,
        "x-acs-content-sha256": _NO_BODY,
        "x-acs-date": datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-version": action.version,
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"POST\n/\n{query_of(action.params)}\n{lines}\n{names}\n{_NO_BODY}"
    to_sign = f"{_ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"{_ALGORITHM} Credential={key_id},SignedHeaders={names},Signature={signature}"
    return headers
