"""`export`: the log and the read models in open formats, for process mining, data teams and partners."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    print_json,
    printable,
    progress_bar,
    say,
    settings_of,
    time_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from runners.exporting.reading import Progress, Span
    from runners.settings import Settings

app = App(
    name="export",
    help="OCEL, XES, CloudEvents, EPCIS and tables, for other tools; nothing personal is in any of them. 导出",
    help_epilogue=(
        "Examples:\n"
        "  orderspine export ocel --out day.json --from 2026-02-09 --to 2026-02-09\n"
        "  orderspine export ocel --out log.sqlite --channel taobao\n"
        "  orderspine export xes --out orders.xes\n"
        "  orderspine export cloudevents --out events.jsonl\n"
        "  orderspine export epcis --out shipped.jsonld --base https://id.example.com\n"
        "  orderspine export table orders --out orders.parquet"
    ),
)

OutOption = Annotated[Path, Parameter(name="--out", help="File to write; it is there whole or not at all.")]
ForceOption = Annotated[
    bool, Parameter(name="--force", negative="", help="Take the place of a file that is there already.")
]
FromOption = Annotated[
    str | None,
    Parameter(name="--from", help="From this time on: a date, `2026-02-09 22:03:00`, ISO 8601; merchant's zone."),
]
ToOption = Annotated[str | None, Parameter(name="--to", help="Up to this time, included; a date alone is its end.")]
ChannelOption = Annotated[
    tuple[str, ...],
    Parameter(name="--channel", negative="", help="Only what is of this channel; may be given several times."),
]


@Parameter(name="*")
@dataclass(frozen=True)
class OfLog:
    """The options that each export of the log has."""

    out: OutOption
    from_: FromOption = None
    to: ToOption = None
    channel: ChannelOption = ()
    force: ForceOption = False
    data: DataOption = DATA_DEFAULT
    json: JsonOption = False

    def written(self, write: "Callable[[Any, Path, Settings, Span, Progress], dict[str, Any]]") -> Exit:
        """Write the chosen part of the log to the file, whole or not at all.

        Raises:
            Failure: the options mean nothing, or the log cannot be read here.
        """
        from msgspec import DecodeError  # noqa: PLC0415

        from domain.catalogue import UnknownTag  # noqa: PLC0415
        from runners.bootstrap import open_log  # noqa: PLC0415

        settings = settings_of(self.data)
        span = _span(self.from_, self.to, self.channel, settings.zone)

        def write_log(file: Path, on: "Progress") -> dict[str, Any]:
            with closing(open_log(settings, read_only=True)) as log:
                try:
                    return write(log, file, settings, span, on)
                except UnknownTag as error:
                    raise Failure(
                        Exit.DATA, f"{error}; export with the version that wrote it, or a newer one"
                    ) from error
                except DecodeError as error:
                    raise Failure(
                        Exit.DATA, f"an event is damaged ({error}): `orderspine audit verify` tells more"
                    ) from error

        return _written(self.out, self.force, self.json, write_log)


@app.command
def ocel(
    *,
    form: Annotated[
        Literal["json", "sqlite"] | None,
        Parameter(name="--format", help="By the file's ending, where it is left out: .sqlite and .db, else JSON."),
    ] = None,
    export: OfLog,
) -> Exit:
    """Object-centric event log, OCEL 2.0: every event with its order, lines, goods, warehouse, parcel and others."""
    from runners.exporting.ocel import write_ocel_json, write_ocel_sqlite  # noqa: PLC0415

    sqlite = form == "sqlite" if form else export.out.suffix.lower() in (".sqlite", ".db")
    write = write_ocel_sqlite if sqlite else write_ocel_json
    return export.written(lambda log, file, _, span, on: write(log, file, span, on))


@app.command
def xes(*, export: OfLog) -> Exit:
    """Classic event log, XES (IEEE 1849): one trace for each order."""
    from runners.exporting.xes import write_xes  # noqa: PLC0415

    return export.written(lambda log, file, settings, span, on: write_xes(log, file, settings.cell, span, on))


@app.command
def cloudevents(*, export: OfLog) -> Exit:
    """The log as CloudEvents 1.0, one JSON document a line, as the EVENTS stream carries them."""
    from runners.exporting.cloud_events import write_cloud_events  # noqa: PLC0415

    return export.written(lambda log, file, settings, span, on: write_cloud_events(log, file, settings.cell, span, on))


@app.command
def epcis(
    *,
    base: Annotated[
        str,
        Parameter(help="Web address that your own identifiers begin with, for example https://id.example.com."),
    ],
    export: OfLog,
) -> Exit:
    """Shipments with lots and carbon figures, EPCIS 2.0 in JSON-LD."""
    from projections.epcis import BadBase, checked_base  # noqa: PLC0415
    from runners.exporting.epcis import write_epcis  # noqa: PLC0415

    try:
        own = checked_base(base)
    except BadBase as error:
        raise Failure(Exit.USAGE, f"--base: {error}") from error
    return export.written(
        lambda log, file, settings, span, on: write_epcis(log, file, settings.cell, settings.zone, own, span, on)
    )


@app.command
def table(
    name: Annotated[str, Parameter(name="TABLE", help="Of a read model: orders, inventory, pick_lists, desk …")],
    /,
    *,
    out: OutOption,
    form: Annotated[
        Literal["csv", "parquet"] | None,
        Parameter(name="--format", help="By the file's ending, where it is left out: .parquet, else CSV."),
    ] = None,
    channel: ChannelOption = (),
    force: ForceOption = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """One table of the read models as CSV or Parquet, without what is sealed."""
    from adapters.storage.read_models import NotBuilt  # noqa: PLC0415
    from runners.bootstrap import READ_MODELS_FILE, open_read_models  # noqa: PLC0415
    from runners.exporting.tables import UnknownTable, find_table, write_table  # noqa: PLC0415

    settings = settings_of(data)
    try:
        _, made = find_table(name)
    except UnknownTable as error:
        raise Failure(Exit.USAGE, str(error)) from error
    if channel and "channel" not in made.columns:
        raise Failure(Exit.USAGE, f"--channel: the table {name} is of no channel; leave it out")
    if not settings.postgres and not (settings.path / READ_MODELS_FILE).exists():
        raise Failure(Exit.DATA, "there are no read models here yet; let `orderspine up` run a while")
    chosen = form or ("parquet" if out.suffix.lower() == ".parquet" else "csv")

    def write(file: Path, on: "Progress") -> dict[str, Any]:
        with closing(open_read_models(settings)) as models:
            try:
                return write_table(models, name, file, chosen, frozenset(channel), on)
            except NotBuilt as error:
                raise Failure(Exit.DATA, str(error)) from error

    return _written(out, force, json, write)


def _span(begin: str | None, end: str | None, channels: tuple[str, ...], zone: str) -> "Span":
    from runners.exporting.reading import Span  # noqa: PLC0415

    from_ms = None if begin is None else time_of("--from", begin, zone, begins=True)
    to_ms = None if end is None else time_of("--to", end, zone)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise Failure(Exit.USAGE, f"--from {begin} is later than --to {end}")
    return Span(from_ms, to_ms, frozenset(channels))


def _written(out: Path, force: bool, json: bool, write: "Callable[[Path, Progress], dict[str, Any]]") -> Exit:
    """Write a file whole or not at all, and say what is in it."""
    from runners.exporting.whole_file import NoPlainFile, WholeFile  # noqa: PLC0415

    try:
        with WholeFile(out, force=force) as whole, progress_bar("exporting", json=json) as on:
            told = write(whole.part, on)
    except FileExistsError as error:
        raise Failure(Exit.USAGE, f"{out} is there already: name another file, or give --force") from error
    except NoPlainFile as error:
        raise Failure(Exit.USAGE, f"{out} is a directory, a link or a device: name a file") from error
    except OSError as error:
        if not out.parent.exists():
            raise Failure(Exit.USAGE, f"--out {out}: there is no directory {out.parent}") from error
        raise Failure(Exit.USAGE, f"{out} cannot be written: {error.strerror or error}") from error
    size = out.stat().st_size
    if json:
        print_json({"file": str(out), "bytes": size, **told})
        return Exit.OK
    counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in told.items() if isinstance(value, int))
    say(f"{printable(str(out))}: {counts}; {size:,} bytes")
    if told.get("left_out"):
        say(f"left out, as it is sealed or names people: {', '.join(told['left_out'])}")
    return Exit.OK
