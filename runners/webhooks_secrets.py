"""What signs deliveries: secrets made from keys of the cell's vault, so that they are nowhere else.

A secret has an id. Its key lies in the vault under `webhook-<id>`; the secret that the subscriber is given is worked
out from it and can be shown again. To end one, its key is destroyed.
"""

import base64
import hashlib
import hmac
import secrets
from contextlib import suppress
from typing import Final

from adapters.storage.vault import DestroyingVault, KeysHeld

PREFIX: Final = "whsec_"
"""Begins a secret, as the Standard Webhooks specification has it; what follows is Base64 of 32 bytes."""
_LABEL: Final = b"orderspine webhook signature"


def new_secret(vault: DestroyingVault) -> str:
    """Make a secret, durably, and return its id."""
    made = secrets.token_hex(8)
    vault.keys([_stream(made)], create=True)
    return made


def key_of(vault: DestroyingVault, secret: str) -> bytes | None:
    """Return the 32 bytes that sign; None where they are gone (destroyed, or the vault is another one)."""
    found = vault.keys([_stream(secret)], create=False).get(_stream(secret))
    return None if found is None else hmac.new(found, _LABEL, hashlib.sha256).digest()


def shown(key: bytes) -> str:
    """Return a key as the subscriber is given it."""
    return PREFIX + base64.b64encode(key).decode()


def end_secrets(vault: DestroyingVault, *ended: str) -> None:
    """Destroy what these secrets are made from, for ever."""
    with suppress(KeysHeld):  # nobody signs with them any more; their bytes go with the next destroying
        vault.destroy(_stream(each) for each in ended if each)


def _stream(secret: str) -> str:
    return f"webhook-{secret}"
