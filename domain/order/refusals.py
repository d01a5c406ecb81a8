"""The rules that an order can break, each by its name."""

from domain.decider import DomainError


class OrderUnknown(DomainError):
    """No channel has sent this order yet."""


class NothingToShip(DomainError):
    """The order is not in a state from which goods may leave."""


class WhichAllocation(DomainError):
    """The order goes out in several parcels, and the message does not say which of them."""


class NotProcessed(DomainError):
    """A processing area has not confirmed its work on these goods."""


class LotsMissing(DomainError):
    """Goods into the EU leave only with their lot and carbon figure."""


class NoParcel(DomainError):
    """A parcel that nobody could follow: its number or its carrier is missing."""


class OrderOnHold(DomainError):
    """A hold or an open interception blocks shipping."""


class UnknownLine(DomainError):
    """The order has no such line, or not so many units of it."""


class NoSuchInterception(DomainError):
    """There is no open interception of that id."""


class NothingToWaive(DomainError):
    """Only an order that is stopped for want of its gifts can go without them."""


class NoSuchQuarantine(DomainError):
    """There is no quarantined message of that id."""


class IllegalTransition(DomainError):
    """The transition table has no such step."""


class QueueFull(DomainError):
    """Too many messages wait behind one."""


class StillUnmapped(DomainError):
    """A line has no SKU yet, so there is nothing that a warehouse could pick."""


class UnnamedEffect(DomainError):
    """Without the effect's name and key nobody can tell what succeeded or failed."""


class MissingCommandId(DomainError):
    """Without an id of its author's a repeat could not be told from a new act."""


class WrongActor(DomainError):
    """An order knows no such command."""
