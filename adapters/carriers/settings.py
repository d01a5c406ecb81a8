"""`carriers.json`: the track services a merchant uses, and where their secrets are found. It holds no secret."""

import msgspec

FILE = "carriers.json"


class TrackService(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One track service."""

    name: str
    """What people and addresses call it: letters, digits, `-`, `_`; unique in the file."""
    callback_url: str
    """Where the gateway is reached from outside, https; `/tracks/NAME/ORDER` is put behind it."""
    kind: str = "kuaidi100"
    base_url: str = ""
    """Of its interface; "" = its own."""
    enabled: bool = True
    codes: dict[str, str] = {}
    """Our code of a carrier → the service's, beside (and before) those it is known to have."""
    sender_phone: str = ""
    """The merchant's own telephone on the labels: SF's parcels are followed only with it."""
    secrets: dict[str, str] = {}
    """`key` (the service's authorisation) and `salt` (ours, for its signatures) → `env:VARIABLE` or `file:PATH`."""
