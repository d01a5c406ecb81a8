"""Which commands an actor has handled, and why it refused some of them: one that comes again changes nothing."""

import immutables
import msgspec

from domain.decider import DomainError, RefusedBefore

KEPT_MIN = 10_000
"""So many of the newest commands are always remembered; never more than twice as many."""


class MissingCommandId(DomainError):
    """Without an id of its author's a repeat could not be told from a new act."""


class Handled(msgspec.Struct, frozen=True):
    """The commands that were handled, the newest of them."""

    commands: "immutables.Map[str, tuple[int, str]]" = immutables.Map()
    """Command id → (running number, why it was refused, "" = it was not)."""
    count: int = 0

    def has(self, command_id: str) -> bool:
        """Tell whether a command was handled before.

        Raises:
            RefusedBefore: it was refused then.
            MissingCommandId: it has no id.
        """
        if not command_id:
            raise MissingCommandId("the message has no command id; its sender must give it one of its own")
        known = self.commands.get(command_id)
        if known is not None and known[1]:
            raise RefusedBefore(known[1])
        return known is not None

    def with_(self, command_id: str, refusal: str = "") -> "Handled":
        """Return this with one more command; the oldest are forgotten. What has no id is not remembered."""
        if not command_id:
            return self
        count = self.count + 1
        commands = self.commands.set(command_id, (count, refusal))
        if len(commands) > 2 * KEPT_MIN:
            commands = immutables.Map(sorted(commands.items(), key=lambda pair: pair[1])[-KEPT_MIN:])
        return Handled(commands, count)
