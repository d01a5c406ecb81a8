"""What the sealer did last, in a file of the data directory: `status` and `/metrics` look at it."""

from pathlib import Path

import msgspec

from adapters.storage.durable import write_whole

SEALER_FILE = "sealer.json"


class SealerWord(msgspec.Struct, frozen=True):
    """How the last attempt to seal ended."""

    at_ms: int
    """When it was made, UTC ms."""
    position: int
    """Of the newest checkpoint that the sealer has seen; 0 = none."""
    refused: str = ""
    """Why the log was not signed; "" = it was, or nothing is new."""
    refused_since_ms: int = 0
    """When it was first refused, of all attempts in a row that were."""
    witness: str = ""
    """Why the witness does not follow; "" = it does, or there is none."""


def tell(data: Path, word: SealerWord) -> None:
    """Write it down; of refusals in a row the first one's time stays, and the position seen before.

    Raises:
        OSError: the directory cannot be written.
    """
    before = heard(data) or SealerWord(0, 0)
    if word.refused:
        word = msgspec.structs.replace(
            word,
            position=word.position or before.position,
            refused_since_ms=before.refused_since_ms if before.refused else word.at_ms,
        )
    write_whole(data / SEALER_FILE, msgspec.json.encode(word) + b"\n", 0o600)


def heard(data: Path) -> SealerWord | None:
    """Return the last word; None where there is none that can be read."""
    try:
        return msgspec.json.decode((data / SEALER_FILE).read_bytes(), type=SealerWord)
    except (OSError, msgspec.MsgspecError):
        return None
