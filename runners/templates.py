"""By which template a file is cut: the one of the mapping that is in force now, by the log."""

from contextlib import closing
from typing import TYPE_CHECKING

from domain import mapping
from domain.catalogue import decode_event
from domain.ids import mapping_key
from domain.ports import Templated
from runners.bootstrap import LOG_FILE, open_log
from runners.reading import table_of, templated

if TYPE_CHECKING:
    from domain.ports import Channel
    from runners.settings import Settings


def cutting(settings: "Settings", channel: "Channel") -> "Channel":
    """Return a channel as it cuts files now.

    Between this look and the mail another mapping may come into force: what it would make another order of is noticed
    where it is translated.

    Raises:
        BadMapping: this build cannot read the mapping in force.
    """
    if not isinstance(channel, Templated):
        return channel
    return templated(channel, table_of(channel.name, in_force(settings, channel.name)))


def in_force(settings: "Settings", channel: str) -> mapping.InForce:
    """Return the mapping in force by the log; the shipped one where there is no log yet."""
    if not settings.postgres and not (settings.path / LOG_FILE).exists():
        return mapping.SHIPPED
    with closing(open_log(settings, read_only=True)) as log:
        state = mapping.State()
        for event in log.select(mapping_key(channel)):
            state = mapping.evolve(state, decode_event(event.tag, event.data))
    return state.in_force
