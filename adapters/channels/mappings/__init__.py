"""The field mappings that ship with the channels: one TOML file each, named after its channel.

A merchant changes a mapping without touching these: `orderspine channels map CHANNEL --apply FILE`.
"""

from pathlib import Path

_HERE = Path(__file__).parent


def shipped(channel: str) -> str:
    """Return the text of the mapping that ships with a channel; "" where none does."""
    file = _HERE / f"{channel}.toml"
    # The name comes from a module of the merchant's: it must not lead anywhere else.
    if file.parent != _HERE or not channel.replace("_", "").isalnum() or not file.is_file():
        return ""
    return file.read_text(encoding="utf-8")
