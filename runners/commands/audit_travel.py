"""`audit as-of`, `audit snapshot`, `audit diff`: read models and states as they were, and what changed in between."""

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from runners.commands.common import (
    DATA_DEFAULT,
    NOT_NEGATIVE,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    print_json,
    say,
    settings_of,
    show,
    state_word,
    table,
    time_of,
)
from runners.naming import orders_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adapters.storage.scan import Scan
    from runners.history import Clock
    from runners.moments import Counting
    from runners.settings import Settings
    from runners.snapshots import Snapshots

VerboseOption = Annotated[
    bool, Parameter(name=["--verbose", "-v"], negative="", help="Also say how many events were read from the log.")
]
ClockOption = Annotated[
    Literal["at", "observed_at"],
    Parameter(help="Which time counts: when it was recorded, or when the edge saw it (historic runs; reads all)."),
]
COLUMNS_SHOWN_MAX = 8
_TEXT_MAX = 60


def as_of(
    read_model: Annotated[str, Parameter(help="orders, inventory, intake, desk or after_sales.")],
    /,
    *,
    at: Annotated[
        str | None, Parameter(help="A time, ISO 8601, or a date for the end of that day; merchant's zone.")
    ] = None,
    position: Annotated[int | None, Parameter(help="A position in the log instead.", validator=NOT_NEGATIVE)] = None,
    key: Annotated[
        str | None, Parameter(help="Only this order's rows: its key, channel:shop:number, or its number.")
    ] = None,
    where: Annotated[
        list[str] | None, Parameter(negative="", help="COLUMN=VALUE that rows must have; may be given several times.")
    ] = None,
    limit: Annotated[Rows, Parameter(help="Most rows of each table that are shown; --json shows all.")] = 50,
    clock: ClockOption = "at",
    verbose: VerboseOption = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """A read model as it was (时间旅行).

    Rows of one order, or of one warehouse (--where warehouse=A), are folded from its own events; anything else from the
    nearest snapshot (`audit snapshot`) and the events behind it.
    """
    import msgspec  # noqa: PLC0415

    from projections import PROJECTIONS  # noqa: PLC0415
    from runners.as_of import UnknownColumn  # noqa: PLC0415
    from runners.as_of import as_of as rows_as_of  # noqa: PLC0415
    from runners.history import local  # noqa: PLC0415

    projection = next((each for each in PROJECTIONS if each.name == read_model), None)
    if projection is None:
        names = ", ".join(each.name for each in PROJECTIONS)
        raise Failure(Exit.USAGE, f"there is no read model {read_model!r}; there are {names}")
    settings = settings_of(data)
    wanted = dict(_pair(each) for each in where or ())
    if key is not None:
        wanted["key"] = stream_of(settings, key)
    with opened(settings) as (log, snapshots):
        upto = moment_of(log, settings, at, position, clock)
        try:
            found = rows_as_of(log, projection, upto, wanted, snapshots)
        except UnknownColumn as error:
            raise Failure(Exit.USAGE, str(error)) from error
        read = log.rows
    if json:
        print_json({**msgspec.to_builtins(found), "rows": _readable(found.rows), "events_read": read})
        return Exit.OK
    when = f", {local(found.at, settings.zone)}" if found.at else ""
    for name, rows in found.rows.items():
        if not rows:
            continue
        columns = list(rows[0])[:COLUMNS_SHOWN_MAX]
        made = table(*columns, title=f"{name} as of position {found.position}{when}")
        for row in rows[:limit]:
            made.add_row(*(escape(_short(row[column])) for column in columns))
        show(made)
        if len(rows) > limit:
            say(f"{name}: {len(rows) - limit:,} more rows (--limit, --json)")
    if not any(found.rows.values()):
        say(f"there was nothing like it at position {found.position}{when}")
    if verbose:
        say(f"{read:,} events were read, folded from the {found.folded_from}")
    return Exit.OK


def snapshot(
    *,
    every: Annotated[
        int | None,
        Parameter(
            help="Events between two snapshots; `snapshot_every` if left out.",
            validator=validators.Number(gte=100, lte=100_000_000),
        ),
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Keep the read models as they were, so that looks back are fast: what `up` does by itself, at once.

    Of the snapshots the newest four are kept, and older ones the further apart the older they are. They can be removed
    at any time: everything in them comes from the log.
    """
    from runners.background import LOWEST, give_way  # noqa: PLC0415
    from runners.snapshots import EVERY_EVENTS, NoRoom  # noqa: PLC0415

    give_way(LOWEST)
    settings = settings_of(data)
    every = every or settings.snapshot_every or EVERY_EVENTS
    with opened(settings) as (log, snapshots):
        try:
            made, dropped = snapshots.make(
                log, every, bytes_max=settings.snapshot_bytes_max, spare=settings.disk_spare_bytes
            )
        except (NoRoom, OSError) as error:
            raise Failure(Exit.DATA, f"no snapshot could be made: {error}") from error
        held = snapshots.all()
    size = sum(each.file.stat().st_size for each in held)
    if json:
        names = [f"{each.name}.v{each.version}.{each.position}" for each in held]
        print_json({"made": len(made), "dropped": len(dropped), "kept": names, "bytes": size})
    else:
        say(f"{len(made)} made, {len(dropped)} dropped; {len(held)} are kept, {size / 1e6:,.1f} MB")
        if not held:
            say(f"the log has fewer than {every:,} events: it needs none")
    return Exit.OK


def diff(
    key: Annotated[
        str | None, Parameter(help="An order (or warehouse, intake); without, all orders and stock.")
    ] = None,
    /,
    *,
    from_: Annotated[str, Parameter(name="--from", help="A time (a date: its beginning), or a position as `@1200`.")],
    to: Annotated[str, Parameter(help="A time (a date: its end), or a position; the end of the log if left out.")] = "",
    limit: Annotated[Rows, Parameter(help="Most rows shown; --json shows all.")] = 50,
    clock: ClockOption = "at",
    verbose: VerboseOption = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """What changed between two moments: in one order, or in all orders' states and all stock."""
    import msgspec  # noqa: PLC0415

    from runners.log_diff import diff_actor, diff_cell  # noqa: PLC0415

    settings = settings_of(data)
    stream = None if key is None else stream_of(settings, key)
    with opened(settings) as (log, snapshots):
        after, upto = window_of(log, settings, from_, to, clock)
        found: Any
        if stream is None:
            found = diff_cell(log, after, upto, snapshots)
        else:
            found = diff_actor(log, stream, after, upto, settings.zone)
        read = log.rows
    if json:
        print_json({**msgspec.to_builtins(found), "events_read": read})
        return Exit.OK
    if stream is not None:
        title = f"{orders_named(stream)} between positions {after} and {upto}"
        _show_changes([(field, *pair) for field, pair in found.changes.items()], title, limit)
        for step in found.events[:limit]:
            who = f"{step.by.kind} {step.by.id}".strip()
            say(f"{step.position} {step.at} {step.label} · {who}")
        if len(found.events) > limit:
            say(f"{len(found.events) - limit:,} more events (--limit, --json)")
    else:
        states = table("state", "before", "after", right=("before", "after"))
        for state, (before, now) in found.states.items():
            states.add_row(state_word(state), f"{before:,}", f"{now:,}")
        show(states)
        for title, moved in (("orders", found.orders), ("stock", found.stock)):
            rows = [
                (f"{orders_named(each.key)} {name}", *pair) for each in moved for name, pair in each.changes.items()
            ]
            _show_changes(rows, f"{len(moved):,} {title} changed", limit)
    if verbose:
        say(f"{read:,} events were read")
    return Exit.OK


# --- parts


def stream_of(settings: "Settings", key: str, find: "Callable[[Scan, str], str] | None" = None) -> str:
    """Return the stream that a person means by a key; `find` instead of `find_stream`.

    Raises:
        Failure: none is meant, or several.
    """
    from domain.ids import BadId  # noqa: PLC0415
    from runners.audited import scan_of  # noqa: PLC0415
    from runners.history import SeveralKeys, UnknownKey, find_stream  # noqa: PLC0415

    try:
        with closing(scan_of(settings)()) as scan:
            return (find or find_stream)(scan, key)
    except (SeveralKeys, BadId) as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except UnknownKey as error:
        raise Failure(Exit.REFUSED, str(error)) from error


@contextmanager
def opened(settings: "Settings") -> "Iterator[tuple[Counting, Snapshots]]":
    """Open the log for reading, and find its snapshots of read models."""
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.moments import Counting  # noqa: PLC0415
    from runners.snapshots import FOLDER, Snapshots  # noqa: PLC0415

    with closing(open_log(settings, read_only=True)) as log:
        yield Counting(log), Snapshots(settings.path / FOLDER, log.tracked().generation)


def moment_of(
    log: "Counting", settings: "Settings", at: str | None, position: int | None, clock: "Clock" = "at"
) -> int:
    """Return the position that a person means by a time or a position; the end of the log where he says neither.

    Raises:
        Failure: both are given, or the time is none.
    """
    from runners.moments import position_at  # noqa: PLC0415

    head = log.tracked().head
    if at is not None and position is not None:
        raise Failure(Exit.USAGE, "give --at or --position, not both")
    if position is not None and position > head:
        raise Failure(Exit.REFUSED, f"the log ends at position {head:,}")
    if at is None:
        return head if position is None else position
    return position_at(log, time_of("--at", at, settings.zone), clock)


def window_of(log: "Counting", settings: "Settings", from_: str, to: str, clock: "Clock") -> tuple[int, int]:
    """Return the positions (after, upto) that a person means by two moments, each a time or `@position`.

    Raises:
        Failure: one of them is none, or they are the wrong way round.
    """
    from runners.moments import position_at  # noqa: PLC0415

    head = log.tracked().head
    found: list[int] = []
    for option, text, begins in (("--from", from_, True), ("--to", to, False)):
        if not text:
            found.append(head)
        elif text.startswith("@") and text[1:].isascii() and text[1:].isdigit():
            found.append(min(int(text[1:]), head))
        else:
            found.append(position_at(log, time_of(option, text, settings.zone, begins=begins) - begins, clock))
    if found[0] > found[1]:
        raise Failure(Exit.USAGE, f"--from is behind --to: positions {found[0]:,} and {found[1]:,}")
    return found[0], found[1]


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise Failure(Exit.USAGE, f"--where {text!r}: write COLUMN=VALUE")
    return name, value


def _readable(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return rows with the JSON documents in them opened."""
    import msgspec  # noqa: PLC0415

    def opened_up(value: Any) -> Any:
        if isinstance(value, str) and value[:1] in ("{", "["):
            try:
                return msgspec.json.decode(value)
            except msgspec.DecodeError:
                return value
        return value

    return {
        name: [{key: opened_up(value) for key, value in row.items()} for row in found] for name, found in rows.items()
    }


def _show_changes(rows: list[tuple[str, Any, Any]], title: str, limit: int) -> None:
    made = table("what", "before", "after", title=title)
    for what, before, after in rows[:limit]:
        made.add_row(escape(what), escape(_short(before)), escape(_short(after)))
    show(made)
    if len(rows) > limit:
        say(f"{len(rows) - limit:,} more changes (--limit, --json)")


def _short(value: Any) -> str:
    import msgspec  # noqa: PLC0415

    if value is None:
        return "—"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
