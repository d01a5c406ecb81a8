"""Errors of the world as sentences for people; what only a bug can be stays an error with its traceback."""

import sqlite3

import psycopg
import sqlalchemy.exc

from adapters.channels import ChannelSetupError
from adapters.nats.errors import BrokerError
from adapters.storage.scan import Unreadable
from domain.ports import LogDamaged
from runners.commands.common import Exit, Failure
from runners.lock import DataInUse, DataTooNew, DataUnreadable
from runners.post import NoAnswer, NotRunning
from runners.settings import BadSetting

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NOT_WRITABLE = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})


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
        case Unreadable():
            if _code(error.__cause__) in _NOT_WRITABLE:
                return _unreadable(str(error), error.__cause__)
            advice = "`orderspine audit verify` says how far it can be read; restore it from a backup"
            return Failure(Exit.DATA, f"the log cannot be read: {error}; {advice}")
        case BrokerError():
            return Failure(Exit.NOT_RUNNING, f"the broker: {error}; is `orderspine up` running?")
        case sqlalchemy.exc.SQLAlchemyError():
            return of_read_models(error)
        case sqlite3.Error() | psycopg.Error():
            return _unreadable(str(error), error)
        case OSError():
            return Failure(Exit.DATA, f"{error.filename or 'the system'}: {error.strerror or error}")
        case _:
            return None


def of_read_models(error: sqlalchemy.exc.SQLAlchemyError) -> Failure:
    """Return how a program ends that cannot use the read models: nothing else is asked through SQLAlchemy."""
    if not _damaged(error):
        return _unreadable(words_of(error), getattr(error, "orig", None))
    return Failure(
        Exit.DATA,
        f"the read models cannot be read: {words_of(error)}. Nothing is lost, they are derived from the log: stop "
        "`orderspine up`, delete read_models.db, read_models.db-wal and read_models.db-shm in the data directory, and "
        "the next `orderspine up` builds them anew",
    )


def words_of(error: sqlalchemy.exc.SQLAlchemyError) -> str:
    """Return what the database said, without the statement and the link that SQLAlchemy adds for programmers."""
    return str(getattr(error, "orig", None) or (error.args[0] if error.args else type(error).__name__))


def _damaged(error: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Tell whether SQLite found its file to be damaged, or to be none of its own."""
    return _code(getattr(error, "orig", None)) in _DAMAGED


def _code(error: BaseException | None) -> int:
    """Return SQLite's primary result code; 0 for whatever is no error of SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _unreadable(words: str, error: BaseException | None) -> Failure:
    advice = "is the disk full, or the database away?"
    if _code(error) in _NOT_WRITABLE:  # SQLite keeps an index of its WAL beside a file, also for who only reads it
        advice = (
            "SQLite reads a file only where it may write beside it: run this as the user whom the data directory "
            "belongs to, or on a copy of your own (--data)"
        )
    return Failure(Exit.DATA, f"the data cannot be read: {words}; {advice}")
