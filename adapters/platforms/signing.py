"""Signatures of the platforms that sign sorted parameters: Taobao, JD and Pinduoduo do it alike."""

import hashlib
import hmac
from collections.abc import Mapping


def base_of(params: Mapping[str, str]) -> str:
    """Return what is signed: names and values of all parameters, sorted by name, nothing between them."""
    return "".join(name + params[name] for name in sorted(params))


def md5_between(secret: str, params: Mapping[str, str]) -> str:
    """Return MD5 over the parameters with the secret on both sides, upper-case hex."""
    # The platforms demand MD5.
    return hashlib.md5(f"{secret}{base_of(params)}{secret}".encode(), usedforsecurity=False).hexdigest().upper()


def hmac_md5(secret: str, params: Mapping[str, str]) -> str:
    """Return HMAC-MD5 over the parameters, upper-case hex."""
    return hmac.new(secret.encode(), base_of(params).encode(), hashlib.md5).hexdigest().upper()
