"""Errors of the world as sentences for people; what only a bug can be stays an error with its traceback."""

import sqlite3

import psycopg
import sqlalchemy.exc

from adapters.channels import ChannelSetupError
from adapters.nats.errors import BrokerError
from domain.ports import LogDamaged
from runners.commands.common import Exit, Failure
from runners.lock import DataInUse, DataTooNew, DataUnreadable
from runners.post import NoAnswer, NotRunning
from runners.settings import BadSetting


def explain(error: BaseException) -> Failure | None:
    """Return how a verb ends on this error; None = a bug."""
    match error:
        case BaseExceptionGroup():
            found = [failure for inner in error.exceptions if (failure := explain(inner)) is not None]
            return found[0] if len(found) == len(error.exceptions) else None
        case Failure():
            return error
        case NotRunning():
            return Failure(Exit.NOT_RUNNING, str(error))
        case NoAnswer():
            return Failure(Exit.NOT_RUNNING, str(error))
        case BadSetting() | ChannelSetupError():
            return Failure(Exit.USAGE, str(error))
        case DataInUse() | DataTooNew() | DataUnreadable():
            return Failure(Exit.DATA, str(error))
        case LogDamaged():
            return Failure(Exit.DATA, f"the log cannot be trusted: {error}; restore it from a backup")
        case BrokerError():
            return Failure(Exit.NOT_RUNNING, f"the broker: {error}; is `orderspine up` running?")
        case sqlite3.Error() | psycopg.Error() | sqlalchemy.exc.SQLAlchemyError():
            return Failure(Exit.DATA, f"the data cannot be read: {error}; is the disk full, or the database away?")
        case OSError():
            return Failure(Exit.DATA, f"{error.filename or 'the system'}: {error.strerror or error}")
        case _:
            return None
