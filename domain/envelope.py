"""What every recorded event carries beside its facts: when, by whom, because of what."""

from typing import Literal

import msgspec


class By(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Who did it."""

    kind: Literal["channel", "rule", "system", "person"]
    id: str = ""
    """Name of the channel, rule or part of the system, or the person's id."""
    role: str = ""
    """A person's role: operations, keeper, service, finance …"""


class Envelope(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Not personal; stored beside each event and covered by its leaf hash. Times are UTC milliseconds."""

    at: int
    """The broker's time stamp of the message that caused the event."""
    observed_at: int
    """The edge's clock when it saw the cause; timers and plausibility rules go by it."""
    by: By
    message: str
    """Id of that message: `<incarnation>-<sequence>`."""
    causation: str
    """What caused this one: the message's id, or `<stream>@<version>` of an event of the same turn."""
    correlation: str
    """Id of the whole conversation; the first message's id where its author gave none."""
    source_tag: str = ""
    """Channel, pipe, and batch or message id of the source."""
    rules: int = 0
    """Version of the rule book that decided; 0 = the built-in plain rules."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the stored bytes."""
    return _encoder.encode(envelope)


def decode_envelope(data: bytes) -> Envelope:
    """Read stored bytes. Raises msgspec.DecodeError where they are damaged."""
    return _decoder.decode(data)
