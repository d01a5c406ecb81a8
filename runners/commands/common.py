"""What all verbs share: options, output, the words for states, and how things end."""

import sys
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter, validators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cyclopts import Token
    from rich.console import Console, RenderableType
    from rich.table import Table

    from runners.settings import Settings

R = TypeVar("R")


class Exit(IntEnum):
    """How a verb ended, for scripts."""

    OK = 0
    REFUSED = 1
    """A check failed, something was refused or quarantined, or the data know nothing of that name."""
    USAGE = 2
    """Wrong use: an option, a word this program does not know, a name that fits several, a file that is not there or
    cannot be written. Whatever the data are: with these words it is never done."""
    NOT_RUNNING = 3
    """It needs a running `orderspine up`."""
    DATA = 4
    """The data directory is in use, or cannot be read."""
    INTERRUPTED = 130


class Failure(Exception):
    """The end of a verb, with the sentence that says what, where and what to do."""

    def __init__(self, code: Exit, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.code = code


def _data_directory(_: object, tokens: "Sequence[Token]") -> Path:
    """Return the directory that was named; an empty name, which a script's unset variable leaves, is no directory.

    Raises:
        ValueError: the name is empty; as a path it would be the directory that one stands in.
    """
    if not tokens[0].value:
        raise ValueError("it is empty; name the data directory, or write . for the one you are in")
    return Path(tokens[0].value)


DataOption = Annotated[
    Path,
    Parameter(
        name="--data",
        env_var="ORDERSPINE_DATA",
        converter=_data_directory,
        help="Data directory: one merchant's order centre.",
    ),
]
JsonOption = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document on stdout.")]
CommandIdOption = Annotated[
    str,
    Parameter(
        name="--command-id",
        help="Id of this act; giving the same one again changes nothing. Made anew where it is left out.",
    ),
]
Rows = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1_000_000))]
"""How many rows are shown: as many as a person or a program can still take in one piece."""
NOT_NEGATIVE = validators.Number(gte=0)


def not_blank(_: object, text: str) -> None:
    """Check what is recorded and read by people: blanks say nothing.

    Raises:
        ValueError: there is nothing but blanks.
    """
    if not text.strip():
        raise ValueError("Must not be blank: it is recorded.")


ORDERS_MAX = 10_000_000
"""Most orders of one simulated day: thousands of times the merchant's peak, and days of work."""
Orders = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=ORDERS_MAX))]
Speed = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1e9))]
"""Seconds of a simulated day in one real second; 0 = as fast as they are taken."""
PIPE_COLUMNS = 160
ERRORS_SHOWN_MAX = 20
DATA_DEFAULT = Path(".orderspine")

STATES = {
    "awaiting_payment": "待付款 awaiting payment",
    "paid": "已付款 paid",
    "allocating": "配货中 allocating",
    "shipped": "已发货 shipped",
    "completed": "已完成 completed",
    "cancelled": "已取消 cancelled",
    "after_sale": "售后中 after-sale",
    "": "未知 not known yet",
}
OUTCOMES = {
    "accepted": "已接收 accepted",
    "repeated": "重复 repeated",
    "outdated": "过期 outdated",
    "refused": "拒绝 refused",
    "quarantined": "隔离 quarantined",
    "queued": "排队 queued",
    "hint": "提示 hint",
    "ignored": "忽略 ignored",
    "unmatched": "未匹配 unmatched",
}


def settings_of(data: Path, *, must_exist: bool = True) -> "Settings":
    """Return the settings of a data directory.

    Raises:
        Failure: there is none, it is of a newer build, or its settings are wrong.
    """
    from runners.lock import DataTooNew, DataUnreadable, check_build  # noqa: PLC0415
    from runners.settings import BadSetting, load_settings  # noqa: PLC0415

    quiet_log()
    if must_exist and not (data / "build.json").exists():
        raise Failure(
            Exit.DATA,
            f"there is no OrderSpine data in {data}: start it with `orderspine up --data {data}`, "
            "or name another directory with --data",
        )
    if not must_exist and not (data / "build.json").exists():
        say(f"there is no OrderSpine data in {data} yet: what is shown is what ships")
    try:
        check_build(data)
        return load_settings(data)
    except BadSetting as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except (DataTooNew, DataUnreadable) as error:
        raise Failure(Exit.DATA, str(error)) from error
    except OSError as error:
        raise Failure(Exit.DATA, f"{error.filename or data} cannot be read: {error.strerror}") from error


def rows_in(file: Path, read: "Callable[[bytes], tuple[list[R], list[str]]]", nothing: str) -> "tuple[list[R], bytes]":
    """Return the rows of a file, and its bytes; `read` returns rows, and what is wrong.

    Raises:
        Failure: it cannot be read, or a row is wrong; `nothing` says that none of it was done.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from error
    rows, errors = read(raw)
    if errors:
        shown = "\n  ".join(errors[:ERRORS_SHOWN_MAX])
        more = f"\n  and {len(errors) - ERRORS_SHOWN_MAX} more" if len(errors) > ERRORS_SHOWN_MAX else ""
        raise Failure(Exit.REFUSED, f"{file.name}: {nothing}, because of\n  {shown}{more}")
    return rows, raw


def time_of(option: str, text: str, zone: str, *, begins: bool = False) -> int:
    """Return a time that was given to an option, UTC ms; see `read_moment`.

    Raises:
        Failure: it cannot be told.
    """
    from runners.history import read_moment  # noqa: PLC0415

    try:
        return read_moment(text, zone, begins=begins)
    except ValueError as error:
        raise Failure(Exit.USAGE, f"{option}: {error}") from error


def check_new(file: Path) -> None:
    """Say at once that a file cannot be written because it is there: before there is any work to lose.

    Raises:
        Failure: something is there already.
    """
    if file.exists() or file.is_symlink():
        raise Failure(Exit.USAGE, f"{file} exists already; name another file")


def write_new(file: Path, content: bytes) -> None:
    """Write a new file, whole or not at all, for its owner's eyes only: what is in it may be a customer's.

    Raises:
        Failure: it is there already, or cannot be written.
    """
    from adapters.storage.durable import write_whole  # noqa: PLC0415

    check_new(file)
    try:
        write_whole(file, content, 0o600)
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be written: {error.strerror or error}") from error


def quiet_log() -> None:
    """Let the program's own log say on stderr, in a line, what is wrong, and nothing else."""
    import structlog  # noqa: PLC0415

    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(colors=False)],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def state_word(state: str) -> str:
    """Return a state's Chinese and English words."""
    return STATES.get(state, state)


def outcome_word(outcome: str) -> str:
    """Return an outcome's Chinese and English words."""
    return OUTCOMES.get(outcome, outcome)


class Printed:
    """Whether this run has printed its JSON document."""

    json = False


def print_json(document: Any) -> None:
    """Print one JSON document."""
    import msgspec  # noqa: PLC0415

    Printed.json = True
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> "Console":
    """Return a console for people."""
    from rich.console import Console  # noqa: PLC0415

    # A pipe has no width; a table cut to 80 columns would be hard to read there.
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, emoji=False, width=None if terminal else PIPE_COLUMNS)


@contextmanager
def progress_bar(what: str, *, json: bool) -> "Iterator[Callable[[int, int], None]]":
    """Show people on stderr how far it is; the caller is told (done, in all; 0 = nobody knows how much there is).

    Nothing is shown with --json, nor where stderr is no terminal.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    out = console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=out, transient=True, disable=json or not out.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def show(*what: "RenderableType") -> None:
    """Print for people, on stdout."""
    out = console()
    for piece in what:
        out.print(piece)


def say(text: str) -> None:
    """Print a remark for people, on stderr, as it is."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def table(*columns: str, title: str = "", right: tuple[str, ...] = ()) -> "Table":
    """Return an empty table; the columns named in `right` hold numbers."""
    from rich import box  # noqa: PLC0415
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    # A title is broken at its table's width: a narrow table would tear it apart.
    made = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", min_width=cell_len(title))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def moment(utc_ms: int, zone: str) -> str:
    """Return a moment, UTC ms, for people: to the second, in the merchant's zone."""
    from runners.history import local  # noqa: PLC0415

    return local(utc_ms, zone)[:19].replace("T", " ")


def moment_said(text: str, zone: str) -> str:
    """Return a moment that was written down as ISO 8601 as `moment` tells it; what is none stays as it is."""
    from datetime import datetime  # noqa: PLC0415

    try:
        return moment(round(datetime.fromisoformat(text).timestamp() * 1000), zone)
    except ValueError:
        return text


def escape(text: str) -> str:
    """Return text from outside as it may stand in a table."""
    from rich.markup import escape as escape_markup  # noqa: PLC0415

    return escape_markup(printable(text).replace("\n", " "))


def printable(text: str) -> str:
    """Return text from outside without what could steer a terminal; lines stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
