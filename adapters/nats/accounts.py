"""The accounts of downstream services, as the NATS server's configuration has them.

Each subscriber has an account with neither imports nor exports: no subject, reply or delivery of it reaches the cell's
account or another subscriber's. What it is given is carried into it by the outlet, which has a user of its own there
(docs/adr/0008).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from adapters.nats.streams import kv_stream

CONNECTIONS_MAX = 32
CONSUMERS_MAX = 64
SUBSCRIPTIONS_MAX = 1_024
PAYLOAD_BYTES_MAX = 1024**2


class Member(NamedTuple):
    """A subscriber, as the broker knows it."""

    name: str
    password_hash: str
    """bcrypt; the password itself is known to the subscriber alone."""
    outlet_password: str
    """Of the outlet's user in this account."""
    feeds: tuple[str, ...]
    """Feeds that may be asked for."""
    buckets: tuple[str, ...]
    """Those of them that are key-value buckets too."""


def account_of(name: str) -> str:
    """Return the name of a subscriber's account."""
    return f"SUBSCRIBER_{name}"


def user_of(name: str) -> str:
    """Return the subscriber's user name."""
    return f"subscriber-{name}"


def outlet_of(name: str) -> str:
    """Return the user name of the outlet in a subscriber's account."""
    return f"outlet-{name}"


def read_subject(cell: str, feed: str) -> str:
    """Return the subject on which a feed is asked for."""
    return f"read.{cell}.{feed}"


def changes_subject(cell: str, model: str) -> str:
    """Return what the subjects of a read model's changes begin with; the document's key follows."""
    return f"changes.{cell}.{model}"


def accounts(cell: str, members: Sequence[Member]) -> dict[str, Any]:
    """Return the `accounts` of the subscribers, for the server's configuration."""
    return {account_of(member.name): _account(cell, member) for member in members}


def _account(cell: str, member: Member) -> dict[str, Any]:
    made: dict[str, Any] = {
        "limits": {
            "max_connections": CONNECTIONS_MAX,
            "max_subscriptions": SUBSCRIPTIONS_MAX,
            "max_payload": PAYLOAD_BYTES_MAX,
        },
        "users": [
            {
                "user": user_of(member.name),
                "password": member.password_hash,
                "permissions": {
                    "publish": {"allow": _may_publish(cell, member)},
                    "subscribe": {
                        "allow": ["_INBOX.>", *(f"{changes_subject(cell, model)}.>" for model in member.buckets)]
                    },
                },
            },
            {"user": outlet_of(member.name), "password": member.outlet_password},
        ],
    }
    if member.buckets:
        made["jetstream"] = {"max_streams": len(member.buckets), "max_consumers": CONSUMERS_MAX}
    return made


def _may_publish(cell: str, member: Member) -> list[str]:
    """Ask for feeds; of the buckets, read and watch: whatever is not named here is refused by the server."""
    allowed = [read_subject(cell, feed) for feed in member.feeds]
    if member.buckets:
        allowed.append("$JS.API.INFO")
    for model in member.buckets:
        stream = kv_stream(f"{cell}_{model}")
        allowed += [
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
            f"$JS.API.DIRECT.GET.{stream}.>",
            f"$JS.API.CONSUMER.CREATE.{stream}",
            f"$JS.API.CONSUMER.CREATE.{stream}.>",
            f"$JS.API.CONSUMER.INFO.{stream}.*",
            f"$JS.API.CONSUMER.DELETE.{stream}.*",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
            f"$JS.ACK.{stream}.>",
            f"$JS.FC.{stream}.>",
        ]
    return allowed
